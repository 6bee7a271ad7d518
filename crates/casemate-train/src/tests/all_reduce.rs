//! Masked all-reduce: what comes out, what is hidden, and what is noticed.

mod refused;
mod sums;
mod vectors;

use std::sync::LazyLock;

use super::*;
use crate::all_reduce::{
    Agreed, AllReduceError, Exchange, Lanes, Mode, Prepared, Reduction, Rendezvous, Ring,
};

const RANKS: usize = 5;
const UNTOUCHED: f32 = 12345.0;

static KEYS: LazyLock<Vec<SigningKey>> =
    LazyLock::new(|| (0..RANKS).map(|_| signing_key()).collect());
static RANKED: LazyLock<Roster> = LazyLock::new(|| {
    let names: Vec<String> = (0..RANKS).map(name).collect();
    let members = names.iter().zip(KEYS.iter());
    let members: Vec<_> = members
        .map(|(name, key)| (name.as_str(), key.verifying_key()))
        .collect();
    Roster::new(JOB, 1, NOW, NOW + 1000, &members).unwrap()
});

fn name(rank: usize) -> String {
    format!("rank-{rank}")
}

/// The rank after this one.
fn after(rank: usize, ranks: usize) -> usize {
    let next = rank.wrapping_add(1);
    if next == ranks { 0 } else { next }
}

fn names(ranks: usize) -> Vec<String> {
    (0..ranks).map(name).collect()
}

fn identity(name: &str, rank: usize) -> Identity<'_> {
    Identity {
        name,
        key: &KEYS[rank],
    }
}

/// The channel from one rank to another: both its ends.
fn channel(from: usize, to: usize) -> (Channel, Channel) {
    let [one, two] = [from, to].map(name);
    let (initiator, hello) =
        Initiator::start(&RANKED, identity(&one, from), &two, NOW, &mut fill).unwrap();
    let (responder, answer) =
        Responder::answer(&RANKED, identity(&two, to), &hello, NOW, &mut fill).unwrap();
    let (one, finish) = initiator
        .finish(&RANKED, &KEYS[from], &answer, Order::Strict)
        .unwrap();
    (
        one,
        responder.finish(&RANKED, &finish, Order::Strict).unwrap(),
    )
}

/// The channels of each rank to those before and after it.
fn channels_of(ranks: usize) -> Vec<(Channel, Channel)> {
    let (after, mut before): (Vec<_>, Vec<_>) = (0..ranks)
        .map(|rank| channel(rank, after(rank, ranks)))
        .unzip();
    before.rotate_right(1);
    before.into_iter().zip(after).collect()
}

fn rendezvous(names: &[String], rank: usize, mode: Mode) -> Rendezvous {
    Rendezvous::new(&RANKED, names, rank, mode, &mut fill).unwrap()
}

fn rings(ranks: usize, mode: Mode) -> Vec<Ring> {
    let names = names(ranks);
    let mut channels = channels_of(ranks);
    let mut all: Vec<_> = (0..ranks)
        .map(|rank| rendezvous(&names, rank, mode))
        .collect();
    for _ in 1..ranks {
        let mut messages: Vec<_> = all
            .iter_mut()
            .zip(&mut channels)
            .map(|(one, (_, after))| one.message(&mut after.sender).unwrap())
            .collect();
        messages.rotate_right(1);
        for ((one, (before, _)), message) in all.iter_mut().zip(&mut channels).zip(messages) {
            one.receive(&mut before.receiver, &message).unwrap();
        }
    }
    all.into_iter()
        .zip(&channels)
        .map(|(one, (before, after))| one.finish(&before.export, &after.export).unwrap())
        .collect()
}

fn refs(messages: &[Vec<u8>]) -> Vec<&[u8]> {
    messages.iter().map(Vec::as_slice).collect()
}

/// A reduction up to the masked words of each rank.
struct Masked {
    reductions: Vec<Reduction>,
    words: Vec<Vec<u64>>,
    tags: Vec<Vec<u8>>,
}

fn announce(
    rings: &mut [Ring],
    lanes: Lanes,
    vectors: &[Vec<f32>],
) -> (Vec<Reduction>, Vec<Vec<u8>>) {
    let begun = rings.iter_mut().zip(vectors);
    begun
        .map(|(ring, vector)| Reduction::begin(ring, lanes, vector).unwrap())
        .unzip()
}

fn mask(rings: &mut [Ring], lanes: Lanes, vectors: &[Vec<f32>], ahead: bool) -> Masked {
    let prepared: Vec<_> = rings
        .iter()
        .map(|ring| {
            let words = lanes.words(vectors[0].len());
            ahead.then(|| prepare(ring, words))
        })
        .collect();
    let (mut reductions, announced) = announce(rings, lanes, vectors);
    let mut words = Vec::new();
    let mut tags = Vec::new();
    for (((reduction, ring), vector), prepared) in reductions
        .iter_mut()
        .zip(&*rings)
        .zip(vectors)
        .zip(prepared)
    {
        assert_eq!(
            reduction.agree(ring, &refs(&announced)).unwrap(),
            Agreed::Sum
        );
        let mut masked = vec![0; reduction.words()];
        tags.push(reduction.mask(ring, vector, prepared, &mut masked).unwrap());
        words.push(masked);
    }
    Masked {
        reductions,
        words,
        tags,
    }
}

fn prepare(ring: &Ring, words: usize) -> Prepared {
    ring.prepare(ring.next_number(), words)
        .unwrap()
        .make()
        .unwrap()
}

fn sum(words: &[Vec<u64>]) -> Vec<u64> {
    let zeros = vec![0u64; words[0].len()];
    words.iter().fold(zeros, |sum, words| {
        sum.iter()
            .zip(words)
            .map(|(one, two)| one.wrapping_add(*two))
            .collect()
    })
}

/// Ends a reduction in which each rank received these words.
fn finish(
    rings: &[Ring],
    masked: Masked,
    mut received: Vec<Vec<u64>>,
) -> Vec<Result<Vec<f32>, AllReduceError>> {
    let Masked {
        mut reductions,
        tags,
        ..
    } = masked;
    let mut results = Vec::new();
    let mut outs = Vec::new();
    for ((reduction, ring), words) in reductions.iter_mut().zip(rings).zip(&mut received) {
        let mut out = vec![UNTOUCHED; reduction.length()];
        results.push(
            reduction
                .unmask(ring, &refs(&tags), words, &mut out)
                .unwrap(),
        );
        outs.push(out);
    }
    let confirmed = reductions.into_iter().zip(rings).zip(outs);
    let confirmed = confirmed.map(|((reduction, ring), out)| {
        let confirmed = reduction.confirm(ring, &refs(&results));
        if matches!(confirmed, Err(AllReduceError::Sum)) {
            assert!(
                out.iter()
                    .all(|value| value.to_bits() == UNTOUCHED.to_bits())
            );
        }
        confirmed.map(|()| out)
    });
    confirmed.collect()
}

fn reduce(rings: &mut [Ring], lanes: Lanes, vectors: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let masked = mask(rings, lanes, vectors, false);
    let received = vec![sum(&masked.words); rings.len()];
    let found = finish(rings, masked, received);
    found.into_iter().map(Result::unwrap).collect()
}

/// A number from -1 to 1, as the generator of the vectors has it.
fn value(rank: usize, at: usize) -> f32 {
    let mixed = rank
        .wrapping_mul(7919)
        .wrapping_add(at.wrapping_mul(104_729));
    let number = i16::try_from(mixed % 2003).unwrap().wrapping_sub(1001);
    f32::from(number) / 1024.0
}

fn vectors(ranks: usize, length: usize) -> Vec<Vec<f32>> {
    let vector = |rank| (0..length).map(|at| value(rank, at)).collect();
    (0..ranks).map(vector).collect()
}

fn mean(vectors: &[Vec<f32>], at: usize) -> f64 {
    let sum: f64 = vectors.iter().map(|vector| f64::from(vector[at])).sum();
    sum / f64::from(u32::try_from(vectors.len()).unwrap())
}

#[track_caller]
fn assert_error<T: std::fmt::Debug>(refused: Result<T, AllReduceError>, rule: &str) {
    assert_text(&refused.unwrap_err(), rule);
}
