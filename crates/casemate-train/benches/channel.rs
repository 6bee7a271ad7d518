//! A channel beside AES-256-GCM alone, and its handshake: `cargo bench -p casemate-train`.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    reason = "a tool that stops on the first failure and reads the clock"
)]

use std::time::{Duration, Instant};

use casemate_crypto::{
    Error, Purpose,
    hpke::{Aead, AeadKey},
    random,
    signature::SigningKey,
    suite::MLDSA65_ED25519,
};
use casemate_train::{Channel, Identity, Initiator, OVERHEAD_BYTES, Order, Responder, Roster};

const SAMPLES: usize = 31;

/// Returns the medians of actions that take turns, in microseconds.
fn medians<const N: usize>(mut actions: [&mut dyn FnMut(); N]) -> [f64; N] {
    let mut samples = [(); N].map(|()| Vec::new());
    for _ in 0..SAMPLES {
        for (action, samples) in actions.iter_mut().zip(&mut samples) {
            let started = Instant::now();
            action();
            samples.push(started.elapsed().as_secs_f64() * 1e6);
        }
    }
    samples.map(|mut samples| {
        samples.sort_by(f64::total_cmp);
        samples[SAMPLES / 2]
    })
}

fn fill(out: &mut [u8]) -> Result<(), Error> {
    random::fill(out)
}

/// A roster of `a` and `b`, and their keys.
struct Job {
    roster: Roster,
    a: SigningKey,
    b: SigningKey,
}

impl Job {
    fn new() -> Self {
        let [a, b] = [(); 2].map(|()| SigningKey::generate(&MLDSA65_ED25519).unwrap());
        let members = [("a", a.verifying_key()), ("b", b.verifying_key())];
        let roster = Roster::new([7; 16], 1, 1, 9, &members).unwrap();
        Self { roster, a, b }
    }

    /// Returns both ends, and the time that each took to get there.
    fn establish(&self) -> ([Channel; 2], [Duration; 2]) {
        let Self { roster, a, b } = self;
        let (own_a, own_b) = (
            Identity { name: "a", key: a },
            Identity { name: "b", key: b },
        );
        let started = Instant::now();
        let (initiator, hello) = Initiator::start(roster, own_a, "b", 5, &mut fill).unwrap();
        let begun = started.elapsed();
        let started = Instant::now();
        let (responder, answer) = Responder::answer(roster, own_b, &hello, 5, &mut fill).unwrap();
        let answered = started.elapsed();
        let started = Instant::now();
        let (sending, finish) = initiator.finish(roster, a, &answer, Order::Strict).unwrap();
        let finished = started.elapsed();
        let started = Instant::now();
        let receiving = responder.finish(roster, &finish, Order::Strict).unwrap();
        let times = [begun + finished, answered + started.elapsed()];
        ([sending, receiving], times)
    }
}

fn handshakes(job: &Job) {
    let message = [1; 97];
    let signature = job.a.sign(Purpose::TRAIN_HANDSHAKE, &message).unwrap();
    let mut times = [(); 3].map(|()| Vec::new());
    for _ in 0..101 {
        let (_, [initiator, responder]) = job.establish();
        let started = Instant::now();
        job.b.sign(Purpose::TRAIN_HANDSHAKE, &message).unwrap();
        let key = job.a.verifying_key();
        key.verify(Purpose::TRAIN_HANDSHAKE, &message, &signature)
            .unwrap();
        let all = [initiator, responder, started.elapsed()];
        for (times, time) in times.iter_mut().zip(all) {
            times.push(time.as_secs_f64() * 1e3);
        }
    }
    let sides = [
        "initiator",
        "responder",
        "one signature and one verification alone",
    ];
    for (side, times) in sides.iter().zip(&mut times) {
        times.sort_by(f64::total_cmp);
        println!("handshake, {side}: {:.3} ms", times[times.len() / 2]);
    }
}

fn messages(job: &Job, len: usize) {
    let key = AeadKey::new(Aead::Aes256Gcm, &[1; 32]).unwrap();
    let ([mut sending, mut receiving], _) = job.establish();
    let content = vec![7; len];
    let (mut message, mut opened) = (vec![0; len + OVERHEAD_BYTES], vec![0; len]);
    let (mut raw, mut tag, mut number) = (vec![0; len], [0; 16], 0_u64);
    let mut plain = vec![0; len];
    let rounds = ((16 << 20) / len).max(1);
    let [alone, channel] = medians([
        &mut || {
            for _ in 0..rounds {
                number += 1;
                let mut nonce = [0; 12];
                nonce[4..].copy_from_slice(&number.to_be_bytes());
                key.seal_into(&nonce, b"", &content, &mut raw, &mut tag)
                    .unwrap();
                key.open_into(&nonce, b"", &raw, &tag, &mut plain).unwrap();
            }
        },
        &mut || {
            for _ in 0..rounds {
                let (sender, receiver) = (&mut sending.sender, &mut receiving.receiver);
                sender.seal_into(&content, b"layer", &mut message).unwrap();
                receiver.open_into(&message, b"layer", &mut opened).unwrap();
            }
        },
    ]);
    let rate = |us: f64| (2 * len * rounds) as f64 / us / 1e3;
    println!(
        "{:>6} KiB: AES-256-GCM {:.2} GB/s, channel {:.2} GB/s, ratio {:.3}, {:.5} % more bytes",
        len >> 10,
        rate(alone),
        rate(channel),
        alone / channel,
        OVERHEAD_BYTES as f64 * 100.0 / len as f64
    );
}

fn main() {
    let job = Job::new();
    handshakes(&job);
    for len in [4 << 10, 64 << 10, 1 << 20, 16 << 20, 64 << 20] {
        messages(&job, len);
    }
}
