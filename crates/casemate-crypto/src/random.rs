//! The system's random number generator.

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

/// Returns `N` random bytes for public use, such as an identifier or a salt.
///
/// # Errors
///
/// [`Error::Randomness`] if the generator fails.
pub fn bytes<const N: usize>() -> Result<[u8; N], Error> {
    let mut out = [0; N];
    fill(&mut out)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_draws_differ_and_neither_is_one_byte_over_and_over() {
        let [first, second] = [(), ()].map(|()| bytes::<32>().unwrap());
        assert_ne!(first, second);
        for draw in [first, second] {
            assert!(draw.iter().any(|byte| *byte != draw[0]), "{draw:?}");
        }
    }
}
