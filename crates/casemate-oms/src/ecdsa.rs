//! Classical keys, for signatures that other tools understand.

use std::fmt;

use aws_lc_rs::{
    digest,
    encoding::{AsDer, PublicKeyX509Der},
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1,
        ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1, ECDSA_P521_SHA512_ASN1_SIGNING,
        EcdsaKeyPair, EcdsaSigningAlgorithm, EcdsaVerificationAlgorithm, KeyPair as _,
        UnparsedPublicKey,
    },
};
use der::{
    Decode as _,
    asn1::ObjectIdentifier,
    pem::{self, LineEnding},
};
use spki::SubjectPublicKeyInfoRef;
use zeroize::Zeroizing;

use crate::OmsError;

const PUBLIC_LABEL: &str = "PUBLIC KEY";
const CURVES: [&EcdsaSigningAlgorithm; 3] = [
    &ECDSA_P256_SHA256_ASN1_SIGNING,
    &ECDSA_P384_SHA384_ASN1_SIGNING,
    &ECDSA_P521_SHA512_ASN1_SIGNING,
];
/// `id-ecPublicKey` (RFC 5480).
const EC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");

/// A private ECDSA key.
pub struct EcdsaKey(EcdsaKeyPair);

impl EcdsaKey {
    /// Reads a private key in PEM: PKCS#8 (RFC 5958) or SEC 1 (RFC 5915), on P-256, P-384 or P-521,
    /// not encrypted.
    ///
    /// # Errors
    ///
    /// [`OmsError::Key`].
    pub fn from_pem(text: &[u8]) -> Result<Self, OmsError> {
        let (label, der) = pem::decode_vec(block(text)).map_err(|_| OmsError::Key)?;
        let der = Zeroizing::new(der);
        let read = |curve| match label {
            "PRIVATE KEY" => EcdsaKeyPair::from_pkcs8(curve, &der).ok(),
            "EC PRIVATE KEY" => EcdsaKeyPair::from_private_key_der(curve, &der).ok(),
            _ => None,
        };
        let mut keys = CURVES.into_iter().filter_map(read);
        keys.next().map(Self).ok_or(OmsError::Key)
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, OmsError> {
        let signature = self
            .0
            .sign(&SystemRandom::new(), message)
            .map_err(|_| casemate_crypto::Error::Internal)?;
        Ok(signature.as_ref().to_vec())
    }

    pub(crate) fn hint(&self) -> Result<String, OmsError> {
        let spki: PublicKeyX509Der<'_> = self
            .0
            .public_key()
            .as_der()
            .map_err(|_| casemate_crypto::Error::Internal)?;
        hint_of(spki.as_ref())
    }
}

impl fmt::Debug for EcdsaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EcdsaKey(..)")
    }
}

/// A public ECDSA key.
#[derive(Debug)]
pub struct EcdsaPublicKey {
    spki: Vec<u8>,
    point: Vec<u8>,
    algorithm: &'static EcdsaVerificationAlgorithm,
}

impl EcdsaPublicKey {
    /// Reads a public key in PEM (RFC 5480), on P-256, P-384 or P-521.
    ///
    /// # Errors
    ///
    /// [`OmsError::Key`].
    pub fn from_pem(text: &[u8]) -> Result<Self, OmsError> {
        let (label, spki) = pem::decode_vec(block(text)).map_err(|_| OmsError::Key)?;
        if label != PUBLIC_LABEL {
            return Err(OmsError::Key);
        }
        let found = SubjectPublicKeyInfoRef::from_der(&spki).map_err(|_| OmsError::Key)?;
        let curve = found
            .algorithm
            .parameters_oid()
            .map_err(|_| OmsError::Key)?;
        let algorithm = match curve {
            P256 => &ECDSA_P256_SHA256_ASN1,
            P384 => &ECDSA_P384_SHA384_ASN1,
            P521 => &ECDSA_P521_SHA512_ASN1,
            _ => return Err(OmsError::Key),
        };
        let point = found.subject_public_key.as_bytes().ok_or(OmsError::Key)?;
        if found.algorithm.oid != EC_KEY {
            return Err(OmsError::Key);
        }
        Ok(Self {
            point: point.to_vec(),
            spki: spki.clone(),
            algorithm,
        })
    }

    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), OmsError> {
        UnparsedPublicKey::new(self.algorithm, &self.point)
            .verify(message, signature)
            .map_err(|_| OmsError::BadSignature)
    }

    pub(crate) fn hint(&self) -> Result<String, OmsError> {
        hint_of(&self.spki)
    }
}

/// Returns the PEM block in a file that may begin with other text; `openssl ecparam` writes
/// parameters before the key.
fn block(text: &[u8]) -> &[u8] {
    let parameters = b"-----END EC PARAMETERS-----";
    let after = text
        .windows(parameters.len())
        .position(|window| window == parameters)
        .and_then(|at| text.get(at.saturating_add(parameters.len())..));
    after.unwrap_or(text).trim_ascii_start()
}

/// Returns the SHA-256 of the key's PEM in hex, which OMS tools use as the key's name.
fn hint_of(spki: &[u8]) -> Result<String, OmsError> {
    let pem = pem::encode_string(PUBLIC_LABEL, LineEnding::LF, spki).map_err(|_| OmsError::Key)?;
    Ok(hex::encode(digest::digest(&digest::SHA256, pem.as_bytes())))
}
