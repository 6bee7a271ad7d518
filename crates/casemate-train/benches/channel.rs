//! A channel beside AES-256-GCM alone, and its handshake: `cargo bench -p casemate-train`.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    reason = "a tool that stops on the first failure and reads the clock"
)]

use std::time::Instant;

use casemate_crypto::{
    hpke::{Aead, AeadKey},
    policy::Policy,
    random,
    signature::SigningKey,
    suite::MLDSA65_ED25519,
};
use casemate_train::{Identity, Initiator, OVERHEAD_BYTES, Order, Responder, Roster, Terms};

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

fn main() {
    let [owner, a, b] = [(); 3].map(|()| SigningKey::generate(&MLDSA65_ED25519).unwrap());
    let members = [("a", a.verifying_key()), ("b", b.verifying_key())];
    let signed = Roster::new([7; 16], 1, 1, 9, &members)
        .unwrap()
        .sign(&owner)
        .unwrap();
    let policy = Policy::by_name("hybrid").unwrap();
    let terms = Terms {
        signer: owner.verifying_key(),
        now: 5,
        epoch_min: 1,
        policy: &policy,
    };
    let roster = Roster::open(&signed, &terms).unwrap();
    let (own_a, own_b) = (
        Identity { name: "a", key: &a },
        Identity { name: "b", key: &b },
    );
    let mut fill = |out: &mut [u8]| random::fill(out);
    let mut times = [(); 3].map(|()| Vec::new());
    for _ in 0..101 {
        let started = Instant::now();
        let (initiator, hello) = Initiator::start(&roster, own_a, "b", &mut fill).unwrap();
        let begun = started.elapsed();
        let started = Instant::now();
        let (responder, answer) = Responder::answer(&roster, own_b, &hello, &mut fill).unwrap();
        let answered = started.elapsed();
        let started = Instant::now();
        let (_, finish) = initiator
            .finish(&roster, own_a, &answer, Order::Strict)
            .unwrap();
        let finished = started.elapsed();
        let started = Instant::now();
        responder.finish(&roster, &finish, Order::Strict).unwrap();
        let sides = [begun + finished, answered + started.elapsed()];
        for (times, side) in times.iter_mut().zip(sides) {
            times.push(side.as_secs_f64() * 1e3);
        }
    }
    for (side, times) in ["initiator", "responder"].iter().zip(&mut times) {
        times.sort_by(f64::total_cmp);
        println!("handshake, {side}: {:.3} ms", times[times.len() / 2]);
    }
    let key = AeadKey::new(Aead::Aes256Gcm, &[1; 32]).unwrap();
    for len in [4 << 10, 64 << 10, 1 << 20, 16 << 20, 64 << 20] {
        let (initiator, hello) = Initiator::start(&roster, own_a, "b", &mut fill).unwrap();
        let (responder, answer) = Responder::answer(&roster, own_b, &hello, &mut fill).unwrap();
        let (mut sending, finish) = initiator
            .finish(&roster, own_a, &answer, Order::Strict)
            .unwrap();
        let mut receiving = responder.finish(&roster, &finish, Order::Strict).unwrap();
        let content = vec![7; len];
        let mut message = vec![0; len + OVERHEAD_BYTES];
        let mut opened = vec![0; len];
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
                    sending
                        .sender
                        .seal_into(&content, b"layer", &mut message)
                        .unwrap();
                    receiving
                        .receiver
                        .open_into(&message, b"layer", &mut opened)
                        .unwrap();
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
}
