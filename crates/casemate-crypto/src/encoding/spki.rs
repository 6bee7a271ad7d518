//! `SubjectPublicKeyInfo` (RFC 5280, section 4.1): algorithm without parameters, raw key bits.

use der::{
    Decode, Encode,
    asn1::{AnyRef, BitStringRef},
};
use spki::{AlgorithmIdentifierRef, ObjectIdentifier, SubjectPublicKeyInfo};

use super::{EncodingError, PublicKey};
use crate::{
    kem::KemPublicKey,
    signature::{HttpVerifyingKey, VerifyingKey},
    suite::{KemSuite, SignatureSuite},
};

pub(super) const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
pub(super) const ML_DSA_65: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.18");

const MALFORMED: EncodingError = EncodingError::Der {
    what: "SubjectPublicKeyInfo",
};

type Spki<'a> = SubjectPublicKeyInfo<AnyRef<'a>, BitStringRef<'a>>;

fn parse(der: &[u8]) -> Result<(ObjectIdentifier, &[u8]), EncodingError> {
    let info = Spki::from_der(der).map_err(|_| MALFORMED)?;
    if info.algorithm.parameters.is_some() {
        return Err(MALFORMED);
    }
    let key = info.subject_public_key.as_bytes().ok_or(MALFORMED)?;
    Ok((info.algorithm.oid, key))
}

pub(super) fn read(der: &[u8]) -> Result<PublicKey, EncodingError> {
    let (oid, key) = parse(der)?;
    if let Some(suite) = KemSuite::by_oid(oid) {
        return Ok(PublicKey::Kem(KemPublicKey::new(suite, key)?));
    }
    if let Some(suite) = SignatureSuite::by_oid(oid) {
        return Ok(PublicKey::Sign(VerifyingKey::new(suite, key)?));
    }
    Err(EncodingError::UnknownAlgorithm { oid })
}

pub(super) fn read_http(ed25519: &[u8], mldsa65: &[u8]) -> Result<PublicKey, EncodingError> {
    let keys = [(ed25519, ED25519), (mldsa65, ML_DSA_65)].map(|(der, expected)| {
        let (oid, key) = parse(der)?;
        if oid == expected {
            Ok(key)
        } else {
            Err(EncodingError::UnknownAlgorithm { oid })
        }
    });
    let [ed25519, mldsa65] = keys;
    Ok(PublicKey::Http(HttpVerifyingKey::new(ed25519?, mldsa65?)?))
}

pub(super) fn write(oid: ObjectIdentifier, key: &[u8]) -> Result<Vec<u8>, EncodingError> {
    let info = Spki {
        algorithm: AlgorithmIdentifierRef {
            oid,
            parameters: None,
        },
        subject_public_key: BitStringRef::from_bytes(key).map_err(|_| MALFORMED)?,
    };
    info.to_der().map_err(|_| MALFORMED)
}
