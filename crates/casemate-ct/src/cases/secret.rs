//! Comparison of secrets, and the hash that expands seeds.

use casemate_awslc::shake256;
use casemate_crypto::Secret;

use super::{plain_bytes, secret_bytes};
use crate::{
    case::{Case, Outcome, same},
    mark::reveal,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::clean("secret comparison", compare),
        Case::clean("shake256 of a seed", expand),
    ]
}

/// Compares secrets of the length of a key, and of a length that no compiler turns into a single
/// vector comparison, which would hide an early exit.
fn compare() -> Outcome {
    compare_len::<32>()?;
    compare_len::<300>()
}

/// Compares equal secrets, secrets that differ in the first byte, and secrets that differ in the
/// last byte.
fn compare_len<const N: usize>() -> Outcome {
    for (at, equal) in [(None, true), (Some(0), false), (Some(N - 1), false)] {
        let (first, mut second) = (secret_bytes(N), plain_bytes(N));
        if let Some(byte) = at.and_then(|at: usize| second.get_mut(at)) {
            *byte ^= 1;
        }
        let first = Secret::<N>::copy_from("first", &first)?;
        let second = Secret::<N>::copy_from("second", &second)?;
        // The result of the comparison is public.
        let mut verdict = [u8::from(first.ct_eq(&second))];
        reveal("the verdict", &mut verdict)?;
        same("the verdict", &verdict, &[u8::from(equal)])?;
    }
    Ok(())
}

fn expand() -> Outcome {
    let (mut marked, mut plain) = ([0; 112], [0; 112]);
    shake256(&[&secret_bytes(32)], &mut marked)?;
    shake256(&[&plain_bytes(32)], &mut plain)?;
    reveal("the expanded seed", &mut marked)?;
    same("the expanded seed", &marked, &plain)
}
