//! The Diffie-Hellman half of a hybrid KEM.

use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey};
use zeroize::Zeroizing;

use crate::{Error, SecretBytes, algorithm::Curve};

fn agreement_of(curve: Curve) -> &'static agreement::Algorithm {
    match curve {
        Curve::X25519 => &agreement::X25519,
        Curve::P256 => &agreement::ECDH_P256,
        Curve::P384 => &agreement::ECDH_P384,
    }
}

/// A private scalar with its public key.
pub(crate) struct CurveKey {
    curve: Curve,
    key: PrivateKey,
    scalar: SecretBytes,
    public: Vec<u8>,
}

impl CurveKey {
    /// Derives a scalar from a uniform seed: `RandomScalar` of
    /// draft-irtf-cfrg-concrete-hybrid-kems.
    ///
    /// X25519 uses the seed unchanged. A NIST curve uses the first window of the seed that lies in
    /// `1..n`; the probability that there is none is below 2^-128.
    pub(crate) fn from_seed(curve: Curve, seed: &[u8]) -> Result<Self, Error> {
        seed.chunks_exact(curve.scalar_bytes())
            .find_map(|window| Self::from_scalar(curve, window).ok())
            .ok_or(Error::Rejected)
    }

    /// Reads a scalar, big-endian for the NIST curves.
    ///
    /// Refuses a scalar of the wrong length and, on a NIST curve, one outside `1..n`.
    pub(crate) fn from_scalar(curve: Curve, scalar: &[u8]) -> Result<Self, Error> {
        if scalar.len() != curve.scalar_bytes() {
            return Err(Error::Rejected);
        }
        let key = PrivateKey::from_private_key(agreement_of(curve), scalar)
            .map_err(|_| Error::Rejected)?;
        let public = key.compute_public_key()?.as_ref().to_vec();
        Ok(Self {
            curve,
            key,
            scalar: SecretBytes::new(scalar.to_vec()),
            public,
        })
    }

    pub(crate) fn scalar(&self) -> &SecretBytes {
        &self.scalar
    }

    pub(crate) fn public(&self) -> &[u8] {
        &self.public
    }

    /// Computes the shared secret: the u-coordinate, or the x-coordinate of the point.
    ///
    /// Refuses points that are not on the curve and, for X25519, an all-zero result.
    pub(crate) fn agree(&self, peer: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        // AWS-LC also reads compressed points; the standards used here allow only the uncompressed
        // form.
        if peer.len() != self.curve.point_bytes() {
            return Err(Error::Rejected);
        }
        agreement::agree(
            &self.key,
            UnparsedPublicKey::new(agreement_of(self.curve), peer),
            Error::Rejected,
            |secret| Ok(Zeroizing::new(secret.to_vec())),
        )
    }
}
