//! The measurements, grouped by layer.

mod artifact;
mod hpke;
mod kem;
mod key_file;
mod leaky;
mod request;
mod secret;
mod store;

use crate::{case::Case, mark};

/// Returns every case, the deliberate leaks first.
pub(crate) fn all() -> Vec<Case> {
    [
        leaky::cases(),
        secret::cases(),
        kem::cases(),
        hpke::cases(),
        key_file::cases(),
        artifact::cases(),
        store::cases(),
        request::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Returns `len` bytes without a word-sized pattern, marked secret.
fn secret_bytes(len: usize) -> Vec<u8> {
    let mut bytes = plain_bytes(len);
    mark::secret(&mut bytes);
    bytes
}

/// Returns the same values as [`secret_bytes`], not marked.
fn plain_bytes(len: usize) -> Vec<u8> {
    (1..=u8::MAX)
        .cycle()
        .map(|i| i.wrapping_mul(167) ^ 0x35)
        .take(len)
        .collect()
}
