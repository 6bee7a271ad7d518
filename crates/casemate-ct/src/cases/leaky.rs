//! Code that leaks on purpose. If the check does not report these cases, it detects nothing.

use std::hint::black_box;

use super::{plain_bytes, secret_bytes};
use crate::case::{Case, Outcome};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::leaky("leaky comparison", compare_until_different),
        Case::leaky("leaky table", look_up),
        Case::leaky("leaky search", search_text),
    ]
}

/// Stops at the first difference.
#[expect(
    clippy::unnecessary_wraps,
    reason = "every case has this signature; memcheck reports through the exit code"
)]
fn compare_until_different() -> Outcome {
    let (secret, guess) = (secret_bytes(32), plain_bytes(32));
    let equal = secret
        .iter()
        .zip(&guess)
        .all(|(a, b)| black_box(*a) == black_box(*b));
    black_box(equal);
    Ok(())
}

/// Reads a table at an index that depends on the secret.
#[expect(
    clippy::unnecessary_wraps,
    reason = "every case has this signature; memcheck reports through the exit code"
)]
fn look_up() -> Outcome {
    let table: [u8; 256] = std::array::from_fn(|i| i.to_le_bytes()[0].rotate_left(3));
    let sum = secret_bytes(32)
        .iter()
        .filter_map(|byte| black_box(&table).get(usize::from(*byte)))
        .fold(0, |sum: u8, entry| sum.wrapping_add(*entry));
    black_box(sum);
    Ok(())
}

/// Searches for a string in secret text, whose characters determine how far the search skips.
#[expect(
    clippy::unnecessary_wraps,
    reason = "every case has this signature; memcheck reports through the exit code"
)]
fn search_text() -> Outcome {
    let mut text = String::from("-----BEGIN PRIVATE KEY-----\nbWVhc3VyZW1lbnRzRU5E\n-----END");
    // Marking does not change the characters.
    crate::mark::secret_in_place(text.get(28..48).unwrap_or_default().as_bytes());
    black_box(black_box(&mut text).find("-----END "));
    Ok(())
}
