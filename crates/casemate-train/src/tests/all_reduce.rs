//! Masked all-reduce: what comes out, what is hidden, and what is noticed.

mod refused;
mod sums;
mod vectors;

use std::sync::LazyLock;

use super::*;
use crate::all_reduce::{
    Agreed, AllReduceError, Exchange, Lanes, Masker, Mode, Reduction, Rendezvous, Ring, Unmasker,
};

const RANKS: usize = 5;

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
    unmaskers: Vec<Unmasker>,
    length: usize,
    words: Vec<Vec<u64>>,
    tags: Vec<Vec<u8>>,
}

fn announce(rings: &[Ring], lanes: Lanes, vectors: &[Vec<f32>]) -> (Vec<Reduction>, Vec<Vec<u8>>) {
    let begun = rings.iter().zip(vectors);
    begun
        .map(|(ring, vector)| Reduction::begin(ring, lanes, vector, b"").unwrap())
        .unzip()
}

fn agree(reduction: Reduction, ring: &Ring, announced: &[Vec<u8>]) -> (Masker, Unmasker) {
    match reduction.agree(ring, &refs(announced)).unwrap() {
        Agreed::Sum(masker, unmasker) => (masker, unmasker),
        Agreed::Constant(value) => panic!("the result is {value}"),
    }
}

/// Masks in pieces of so many times the least number of values.
fn mask(rings: &[Ring], lanes: Lanes, vectors: &[Vec<f32>], piece: usize) -> Masked {
    let (reductions, announced) = announce(rings, lanes, vectors);
    let piece = lanes.piece().wrapping_mul(piece);
    let (mut unmaskers, mut words, mut tags) = (Vec::new(), Vec::new(), Vec::new());
    for ((reduction, ring), vector) in reductions.into_iter().zip(rings).zip(vectors) {
        let mut masked = vec![0; reduction.words()];
        let (mut masker, unmasker) = agree(reduction, ring, &announced);
        let pieces = vector
            .chunks(piece)
            .zip(masked.chunks_mut(lanes.words(piece)));
        pieces.for_each(|(values, words)| masker.next(values, words).unwrap());
        tags.push(masker.finish(ring).unwrap());
        unmaskers.push(unmasker);
        words.push(masked);
    }
    Masked {
        unmaskers,
        length: vectors[0].len(),
        words,
        tags,
    }
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
    let (mut found, mut results) = (Vec::new(), Vec::new());
    for ((mut unmasker, ring), words) in masked.unmaskers.into_iter().zip(rings).zip(&mut received)
    {
        let mut out = vec![0.0; masked.length];
        unmasker.next(words, &mut out).unwrap();
        let (confirmation, result) = unmasker.finish(ring, &refs(&masked.tags)).unwrap();
        found.push((confirmation, out));
        results.push(result);
    }
    let confirmed = found.into_iter().zip(rings);
    let confirmed = confirmed.map(|((confirmation, out), ring)| {
        let confirmed = confirmation.confirm(ring, &refs(&results));
        confirmed.map(|()| out)
    });
    confirmed.collect()
}

fn reduce(rings: &[Ring], lanes: Lanes, vectors: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let masked = mask(rings, lanes, vectors, 1);
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
