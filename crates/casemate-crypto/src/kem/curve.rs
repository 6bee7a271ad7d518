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
    /// Draws a scalar from a uniform seed: `RandomScalar` of draft-irtf-cfrg-concrete-hybrid-kems.
    ///
    /// X25519 takes the seed as it is. A NIST curve takes the first window of the seed that lies in `1..n`;
    /// that none does has a probability below 2^-128.
    pub(crate) fn from_seed(curve: Curve, seed: &[u8]) -> Result<Self, Error> {
        seed.chunks_exact(curve.scalar_bytes())
            .find_map(|window| Self::from_scalar(curve, window).ok())
            .ok_or(Error::Rejected)
    }

    /// Reads a scalar, big-endian for the NIST curves.
    ///
    /// Refuses a scalar outside `1..n` on a NIST curve, and any other length.
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

    /// The shared secret: the u-coordinate, or the point's x-coordinate.
    ///
    /// Refuses points off the curve and, on X25519, an all-zero result.
    pub(crate) fn agree(&self, peer: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        // aws-lc also reads compressed points; the standards here know the uncompressed form only.
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
