//! What a rank computes in a masked all-reduce, step by step.
//!
//! `cargo bench -p casemate-train --bench all_reduce [-- VALUES]`
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a tool that stops on the first failure and reads the clock"
)]

use std::time::Instant;

use casemate_crypto::{random, signature::SigningKey, suite};
use casemate_train::{
    Channel, Identity, Initiator, Order, Responder, Roster,
    all_reduce::{Agreed, Lanes, Mode, Reduction, Rendezvous, Ring},
};

const NOW: u64 = 1_800_000_000;
const RUNS: usize = 9;
const NAMES: [&str; 2] = ["zero", "one"];

fn fill(out: &mut [u8]) -> Result<(), casemate_crypto::Error> {
    random::fill(out)
}

fn channel(roster: &Roster, keys: &[SigningKey], from: usize, to: usize) -> (Channel, Channel) {
    let identity = |rank: usize| Identity {
        name: NAMES[rank],
        key: &keys[rank],
    };
    let (one, hello) = Initiator::start(roster, identity(from), NAMES[to], NOW, &mut fill).unwrap();
    let (two, answer) = Responder::answer(roster, identity(to), &hello, NOW, &mut fill).unwrap();
    let (one, finish) = one
        .finish(roster, &keys[from], &answer, Order::Strict)
        .unwrap();
    (one, two.finish(roster, &finish, Order::Strict).unwrap())
}

fn rings() -> Vec<Ring> {
    let keys = [(); 2].map(|()| SigningKey::generate(&suite::MLDSA65_ED25519).unwrap());
    let members: Vec<_> = NAMES
        .iter()
        .zip(&keys)
        .map(|(name, key)| (*name, key.verifying_key()))
        .collect();
    let roster = Roster::new([1; 16], 1, NOW, NOW + 1, &members).unwrap();
    let names = NAMES.map(str::to_owned);
    let (mut a_after, mut b_before) = channel(&roster, &keys, 0, 1);
    let (mut b_after, mut a_before) = channel(&roster, &keys, 1, 0);
    let begin = |rank| Rendezvous::new(&roster, &names, rank, Mode::Pairs, &mut fill).unwrap();
    let (mut a, mut b) = (begin(0), begin(1));
    let to_b = a.message(&mut a_after.sender).unwrap();
    let to_a = b.message(&mut b_after.sender).unwrap();
    a.receive(&mut a_before.receiver, &to_a).unwrap();
    b.receive(&mut b_before.receiver, &to_b).unwrap();
    vec![
        a.finish(&a_before.export, &a_after.export).unwrap(),
        b.finish(&b_before.export, &b_after.export).unwrap(),
    ]
}

#[derive(Default)]
struct Times(Vec<(&'static str, Vec<f64>)>);

impl Times {
    fn time<T>(&mut self, what: &'static str, step: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let done = step();
        let spent = begun.elapsed().as_secs_f64() * 1e3;
        match self.0.iter_mut().find(|(name, _)| *name == what) {
            Some((_, times)) => times.push(spent),
            None => self.0.push((what, vec![spent])),
        }
        done
    }
}

fn main() {
    let arguments = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'));
    let count: usize = arguments
        .map(|argument| argument.parse().unwrap())
        .next()
        .unwrap_or(10_000_000);
    let mut values: Vec<f32> = (0..count)
        .map(|at| f32::from(u16::try_from(at % 1999).unwrap()) / 999.5 - 1.0)
        .collect();
    let rings = rings();
    for lanes in [Lanes::Two, Lanes::Three] {
        let mut times = Times::default();
        let words = lanes.words(count);
        let mut masked = [vec![0u64; words], vec![0u64; words]];
        for _ in 0..RUNS {
            let (reductions, messages): (Vec<_>, Vec<_>) = rings
                .iter()
                .map(|ring| {
                    times.time("announce", || {
                        Reduction::begin(ring, lanes, &values, b"").unwrap()
                    })
                })
                .unzip();
            let all: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
            let mut unmaskers = Vec::new();
            for ((reduction, ring), out) in reductions.into_iter().zip(&rings).zip(&mut masked) {
                let Agreed::Sum(mut masker, unmasker) = reduction.agree(ring, &all).unwrap() else {
                    panic!("nothing to sum");
                };
                times.time("mask", || masker.next(&values, out).unwrap());
                unmaskers.push(unmasker);
            }
            let [first, second] = &mut masked;
            times.time("plain sum of words", || {
                for (one, two) in first.iter_mut().zip(&*second) {
                    *one = one.wrapping_add(*two);
                }
            });
            times.time("unmask", || unmaskers[0].next(first, &mut values).unwrap());
        }
        println!("{count} values, {} lanes, median ms", lanes.count());
        for (what, mut spent) in times.0 {
            spent.sort_by(f64::total_cmp);
            println!("  {what:20} {:8.1}", spent[spent.len() / 2]);
        }
    }
}
