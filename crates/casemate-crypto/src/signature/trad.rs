//! The classical half of a composite signature.

use aws_lc_rs::{
    agreement,
    rand::SystemRandom,
    signature::{
        ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA384_ASN1_SIGNING, ED25519, EcdsaKeyPair,
        Ed25519KeyPair, KeyPair, ParsedPublicKey,
    },
};

use crate::{Error, SecretBytes, algorithm::TradSignature};

enum Inner {
    Ed25519(Ed25519KeyPair),
    EcdsaP384(EcdsaKeyPair),
}

/// A classical signing key.
pub(crate) struct TradSigningKey {
    inner: Inner,
    secret: SecretBytes,
}

impl TradSigningKey {
    pub(crate) fn generate(algorithm: TradSignature) -> Result<Self, Error> {
        match algorithm {
            TradSignature::Ed25519 => {
                let seed = crate::Secret::<32>::random()?;
                Self::from_secret(algorithm, seed.expose())
            }
            TradSignature::EcdsaP384 => {
                use aws_lc_rs::encoding::{AsBigEndian, EcPrivateKeyBin};
                let key = agreement::PrivateKey::generate(&agreement::ECDH_P384)?;
                let scalar: EcPrivateKeyBin<'_> = key.as_be_bytes()?;
                Self::from_secret(algorithm, scalar.as_ref())
            }
        }
    }

    pub(crate) fn from_secret(algorithm: TradSignature, secret: &[u8]) -> Result<Self, Error> {
        let inner = match algorithm {
            TradSignature::Ed25519 => {
                Inner::Ed25519(Ed25519KeyPair::from_seed_unchecked(secret).map_err(rejected)?)
            }
            TradSignature::EcdsaP384 => {
                if secret.len() != algorithm.private_key_bytes() {
                    return Err(Error::Rejected);
                }
                let scalar = agreement::PrivateKey::from_private_key(&agreement::ECDH_P384, secret)
                    .map_err(rejected)?;
                let pair = EcdsaKeyPair::from_private_key_and_public_key(
                    &ECDSA_P384_SHA384_ASN1_SIGNING,
                    secret,
                    scalar.compute_public_key()?.as_ref(),
                );
                Inner::EcdsaP384(pair.map_err(rejected)?)
            }
        };
        Ok(Self {
            inner,
            secret: SecretBytes::new(secret.to_vec()),
        })
    }

    pub(crate) fn secret(&self) -> &SecretBytes {
        &self.secret
    }

    pub(crate) fn public_key(&self) -> &[u8] {
        match &self.inner {
            Inner::Ed25519(pair) => pair.public_key().as_ref(),
            Inner::EcdsaP384(pair) => pair.public_key().as_ref(),
        }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let signature = match &self.inner {
            Inner::Ed25519(pair) => pair.try_sign(message)?,
            Inner::EcdsaP384(pair) => pair.sign(&SystemRandom::new(), message)?,
        };
        Ok(signature.as_ref().to_vec())
    }
}

/// A classical public key, parsed once.
pub(crate) struct TradPublicKey(ParsedPublicKey);

impl TradPublicKey {
    pub(crate) fn new(algorithm: TradSignature, bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() != algorithm.public_key_bytes() {
            return Err(Error::Rejected);
        }
        let parsed = match algorithm {
            TradSignature::Ed25519 => ParsedPublicKey::new(&ED25519, bytes),
            TradSignature::EcdsaP384 => ParsedPublicKey::new(&ECDSA_P384_SHA384_ASN1, bytes),
        };
        parsed.map(Self).map_err(rejected)
    }

    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), Error> {
        self.0
            .verify_sig(message, signature)
            .map_err(|_| Error::BadSignature)
    }
}

fn rejected<E>(_: E) -> Error {
    Error::Rejected
}
