//! Shamir's secret sharing over GF(2^8), each byte on its own.

use vsss_rs::Gf256;
use zeroize::Zeroizing;

use crate::{Error, Secret, generator::Generator};

/// Most holders of shares.
const HOLDERS_MAX: usize = 255;

/// Splits a secret into `holders` shares, of which `needed` restore it. The share of place `x`,
/// from 1, is at `x - 1`. `key` determines the polynomials and must be fresh.
///
/// # Errors
///
/// [`Error::Threshold`] unless `needed` is 2 to `holders` and there are at most 255 holders.
pub fn split<const N: usize>(
    secret: &Secret<N>,
    needed: usize,
    holders: usize,
    key: &Secret<32>,
) -> Result<Vec<Secret<N>>, Error> {
    // The library has no sharing in which one share is enough.
    if needed < 2 || needed > holders || holders > HOLDERS_MAX {
        return Err(Error::Threshold { needed, holders });
    }
    let mut generator = Generator::new(key)?;
    let shares = Gf256::split_bytes(needed, holders, secret.expose(), &mut generator);
    let shares = Zeroizing::new(shares.map_err(|_| Error::Internal)?);
    generator.check()?;
    let place_and_share = shares.iter().map(|share| share.split_first());
    place_and_share
        .map(|split| {
            let (_, share) = split.ok_or(Error::Internal)?;
            Secret::copy_from("share", share)
        })
        .collect()
}

/// Restores secrets from their shares in the same places. Each share is of all the secrets, one
/// after the other. Too few shares restore another secret.
///
/// # Errors
///
/// [`Error::Internal`] if two shares have the same place, or different lengths.
pub fn combine(shares: &[(u8, &[u8])]) -> Result<Zeroizing<Vec<u8>>, Error> {
    let shares: Vec<Vec<u8>> = shares
        .iter()
        .map(|(place, share)| [&[*place], *share].concat())
        .collect();
    let shares = Zeroizing::new(shares);
    let combined = Gf256::combine_bytes(shares.as_slice());
    Ok(Zeroizing::new(combined.map_err(|_| Error::Internal)?))
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "an overflow fails the test")]
mod tests {
    use super::*;

    fn secret(byte: u8) -> Secret<64> {
        Secret::take(&mut [byte; 64])
    }

    fn places<'a>(shares: &'a [Secret<64>], which: &[usize]) -> Vec<(u8, &'a [u8])> {
        let one = |at: &usize| {
            (
                u8::try_from(*at).unwrap() + 1,
                shares[*at].expose().as_slice(),
            )
        };
        which.iter().map(one).collect()
    }

    #[test]
    fn enough_shares_restore_the_secret_and_fewer_or_wrong_ones_do_not() {
        let key = Secret::random().unwrap();
        let shares = split(&secret(7), 3, 5, &key).unwrap();
        for which in [[0, 1, 2], [4, 2, 0], [1, 3, 4]] {
            assert_eq!(*combine(&places(&shares, &which)).unwrap(), [7; 64]);
        }
        assert_ne!(*combine(&places(&shares, &[0, 1])).unwrap(), [7; 64]);
        let mut wrong = places(&shares, &[0, 1, 2]);
        wrong[1].0 = 5;
        assert_ne!(*combine(&wrong).unwrap(), [7; 64]);
        split(&secret(7), 1, 5, &key).unwrap_err();
        split(&secret(7), 6, 5, &key).unwrap_err();
    }

    #[test]
    fn all_255_places_can_be_used_and_other_keys_give_other_shares() {
        let (one, two) = (Secret::random().unwrap(), Secret::random().unwrap());
        let shares = split(&secret(9), 2, 255, &one).unwrap();
        assert_eq!(*combine(&places(&shares, &[0, 254])).unwrap(), [9; 64]);
        let others = split(&secret(9), 2, 255, &two).unwrap();
        assert_ne!(shares[3].expose(), others[3].expose());
        split(&secret(9), 2, 256, &one).unwrap_err();
    }
}
