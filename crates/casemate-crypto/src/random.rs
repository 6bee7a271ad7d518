//! The system's random generator.

use aws_lc_rs::rand;

use crate::Error;

/// Fills `out` with random bytes.
///
/// # Errors
///
/// [`Error::Randomness`] if the generator fails.
pub fn fill(out: &mut [u8]) -> Result<(), Error> {
    rand::fill(out).map_err(|_| Error::Randomness)
}

/// Returns `N` random bytes that are public, such as an identifier or a salt.
///
/// # Errors
///
/// [`Error::Randomness`] if the generator fails.
pub fn bytes<const N: usize>() -> Result<[u8; N], Error> {
    let mut out = [0; N];
    fill(&mut out)?;
    Ok(out)
}
