//! PKCS#8 private keys (RFC 5958), always stored as seeds.

use casemate_awslc::{MlDsa, MlDsaSigningKey, MlKem, MlKemDecapsulationKey};
use der::{
    Decode, Encode, Tag, TagMode, TagNumber, Tagged,
    asn1::{AnyRef, ContextSpecificRef, OctetStringRef},
};
use pkcs8::PrivateKeyInfoRef;
use sec1::{EcParameters, EcPrivateKey};
use spki::{AlgorithmIdentifierRef, ObjectIdentifier};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{EncodingError, PrivateKey, spki as spki_ids};
use crate::{
    Error, SecretBytes,
    algorithm::{Curve, TradSignature},
    kem::KemPrivateKey,
    signature::{HttpSigningKey, PrivateParts, SigningKey},
    suite::{KemConstruction, KemSuite, SignatureConstruction, SignatureSuite},
};

const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");

const MALFORMED: EncodingError = EncodingError::Der { what: "PKCS#8" };
const MALFORMED_CHOICE: EncodingError = EncodingError::Der {
    what: "ML-KEM or ML-DSA private key",
};
const MALFORMED_EC: EncodingError = EncodingError::Der {
    what: "ECPrivateKey",
};

fn parse(der: &[u8]) -> Result<(ObjectIdentifier, &[u8]), EncodingError> {
    let info = PrivateKeyInfoRef::from_der(der).map_err(|_| MALFORMED)?;
    // Version 2 may carry a public key, which nothing would compare with the private key, and
    // attributes, which nothing reads.
    let again = info.to_der().map(SecretBytes::new).map_err(|_| MALFORMED)?;
    let key = info.private_key.as_bytes();
    // The key is the last field and was copied verbatim, so it is enough to compare everything
    // before it, which includes the total length. The key itself is not compared.
    let framing = again
        .expose()
        .len()
        .checked_sub(key.len())
        .ok_or(MALFORMED)?;
    let plain = again.expose().get(..framing) == der.get(..framing);
    if info.algorithm.parameters.is_some() || info.public_key.is_some() || !plain {
        return Err(MALFORMED);
    }
    Ok((info.algorithm.oid, key))
}

pub(super) fn read(der: &[u8]) -> Result<PrivateKey, EncodingError> {
    let (oid, key) = parse(der)?;
    if let Some(suite) = KemSuite::by_oid(oid) {
        let (seed, scalar) = kem_halves(suite, key)?;
        let scalar = scalar.as_ref().map(SecretBytes::expose);
        let key = KemPrivateKey::from_components(suite, seed.expose(), scalar)?;
        return Ok(PrivateKey::Kem(key));
    }
    if let Some(suite) = SignatureSuite::by_oid(oid) {
        let (seed, trad) = sign_halves(suite, key)?;
        let trad = trad.as_ref().map(SecretBytes::expose);
        let key = SigningKey::from_components(suite, seed.expose(), trad)?;
        return Ok(PrivateKey::Sign(key));
    }
    Err(EncodingError::UnknownAlgorithm { oid })
}

/// The unexpanded content of a key file: the post-quantum half and, in a hybrid, the classical
/// half.
type Halves = (SecretBytes, Option<SecretBytes>);

fn kem_halves(suite: &'static KemSuite, key: &[u8]) -> Result<Halves, EncodingError> {
    let trad = match suite.construction {
        KemConstruction::Pure(set) => return Ok((read_ml_kem(set, key)?, None)),
        KemConstruction::Hybrid { trad, .. } => trad,
    };
    let (seed, trad_key) = key
        .split_at_checked(MlKem::SEED_BYTES)
        .ok_or(Error::InvalidPrivateKey { suite: suite.name })?;
    let scalar = match trad {
        Curve::X25519 => SecretBytes::new(trad_key.to_vec()),
        Curve::P256 => read_ec_private_key(P256, trad_key)?,
        Curve::P384 => read_ec_private_key(P384, trad_key)?,
    };
    Ok((SecretBytes::new(seed.to_vec()), Some(scalar)))
}

fn sign_halves(suite: &'static SignatureSuite, key: &[u8]) -> Result<Halves, EncodingError> {
    match suite.construction {
        SignatureConstruction::Pure(set) => Ok((read_ml_dsa(set, key)?, None)),
        // RFC 9909, section 6: the octets of the private key, unwrapped.
        SignatureConstruction::HashBased(_) => Ok((SecretBytes::new(key.to_vec()), None)),
        SignatureConstruction::Composite { trad, .. } => {
            let (seed, trad_key) = key
                .split_at_checked(MlDsa::SEED_BYTES)
                .ok_or(Error::InvalidPrivateKey { suite: suite.name })?;
            let secret = match trad {
                TradSignature::Ed25519 => SecretBytes::new(trad_key.to_vec()),
                TradSignature::EcdsaP384 => read_ec_private_key(P384, trad_key)?,
            };
            Ok((SecretBytes::new(seed.to_vec()), Some(secret)))
        }
    }
}

pub(super) fn read_http(ed25519: &[u8], mldsa65: &[u8]) -> Result<PrivateKey, EncodingError> {
    let (ed25519, mldsa65) = http_halves(ed25519, mldsa65)?;
    let key = HttpSigningKey::from_seeds(ed25519.expose(), mldsa65.expose())?;
    Ok(PrivateKey::Http(key))
}

fn http_halves(
    ed25519: &[u8],
    mldsa65: &[u8],
) -> Result<(SecretBytes, SecretBytes), EncodingError> {
    let (oid, wrapped) = parse(ed25519)?;
    if oid != spki_ids::ED25519 {
        return Err(EncodingError::UnknownAlgorithm { oid });
    }
    // RFC 8410, section 7: the seed is wrapped in an OCTET STRING of its own.
    let seed = <&OctetStringRef>::from_der(wrapped).map_err(|_| MALFORMED)?;
    let (oid, choice) = parse(mldsa65)?;
    if oid != spki_ids::ML_DSA_65 {
        return Err(EncodingError::UnknownAlgorithm { oid });
    }
    let mldsa65 = read_ml_dsa(MlDsa::MlDsa65, choice)?;
    Ok((SecretBytes::new(seed.as_bytes().to_vec()), mldsa65))
}

/// Returns the unexpanded secrets of a private key file, in the order of
/// [`PrivateKey::secret_parts`], for measuring the reading alone.
///
/// # Errors
///
/// As [`PrivateKey::from_pem`].
#[cfg(feature = "hazmat")]
pub fn file_secrets(pem: &[u8]) -> Result<Vec<SecretBytes>, EncodingError> {
    let blocks = super::pem::decode(pem, super::pem::PRIVATE_LABEL)?;
    let (first, second) = match blocks.as_slice() {
        [one] => {
            let (oid, key) = parse(one.expose())?;
            match (KemSuite::by_oid(oid), SignatureSuite::by_oid(oid)) {
                (Some(suite), _) => kem_halves(suite, key)?,
                (_, Some(suite)) => sign_halves(suite, key)?,
                _ => return Err(EncodingError::UnknownAlgorithm { oid }),
            }
        }
        [ed25519, mldsa65] => {
            let (ed25519, mldsa65) = http_halves(ed25519.expose(), mldsa65.expose())?;
            (ed25519, Some(mldsa65))
        }
        _ => {
            let blocks = blocks.len();
            return Err(EncodingError::Blocks { blocks });
        }
    };
    Ok(std::iter::once(first).chain(second).collect())
}

/// Reads the seed out of the `CHOICE { seed, expandedKey, both }` of RFC 9881 and RFC 9935.
///
/// If both are present, the expanded key must be the expansion of the seed.
fn read_choice<const N: usize>(
    choice: &[u8],
    expand: impl FnOnce(&[u8; N]) -> Result<Zeroizing<Vec<u8>>, casemate_awslc::Error>,
) -> Result<SecretBytes, EncodingError> {
    let any = AnyRef::from_der(choice).map_err(|_| MALFORMED_CHOICE)?;
    let (seed, expanded) = match any.tag() {
        Tag::ContextSpecific {
            constructed: false,
            number: TagNumber(0),
        } => (any.value(), None),
        Tag::OctetString => return Err(EncodingError::ExpandedOnly),
        Tag::Sequence => {
            let both = any.sequence(|reader| -> der::Result<_> {
                let seed = <&OctetStringRef>::decode(reader)?;
                let expanded = <&OctetStringRef>::decode(reader)?;
                Ok((seed.as_bytes(), Some(expanded.as_bytes())))
            });
            both.map_err(|_| MALFORMED_CHOICE)?
        }
        _ => return Err(MALFORMED_CHOICE),
    };
    let seed: &[u8; N] = seed.try_into().map_err(|_| MALFORMED_CHOICE)?;
    if let Some(expanded) = expanded {
        let from_seed = expand(seed).map_err(Error::from)?;
        if !bool::from(from_seed.as_slice().ct_eq(expanded)) {
            return Err(EncodingError::SeedMismatch);
        }
    }
    Ok(SecretBytes::new(seed.to_vec()))
}

fn read_ml_kem(set: MlKem, choice: &[u8]) -> Result<SecretBytes, EncodingError> {
    read_choice(choice, |seed| {
        MlKemDecapsulationKey::from_seed(set, seed)?.expanded()
    })
}

fn read_ml_dsa(set: MlDsa, choice: &[u8]) -> Result<SecretBytes, EncodingError> {
    read_choice(choice, |seed| {
        MlDsaSigningKey::from_seed(set, seed)?.expanded()
    })
}

/// Reads the seed of a FIPS 203 or FIPS 204 key of any parameter set, for the test vectors of RFC
/// 9881 and RFC 9935.
///
/// # Errors
///
/// As [`PrivateKey::from_pem`].
#[cfg(feature = "hazmat")]
pub fn fips_seed(pem: &[u8]) -> Result<SecretBytes, EncodingError> {
    let blocks = super::pem::decode(pem, super::pem::PRIVATE_LABEL)?;
    let [block] = blocks.as_slice() else {
        return Err(EncodingError::Blocks {
            blocks: blocks.len(),
        });
    };
    let (oid, choice) = parse(block.expose())?;
    match oid.to_string().strip_prefix("2.16.840.1.101.3.4.") {
        Some("4.1") => read_ml_kem(MlKem::MlKem512, choice),
        Some("4.2") => read_ml_kem(MlKem::MlKem768, choice),
        Some("4.3") => read_ml_kem(MlKem::MlKem1024, choice),
        Some("3.17") => read_ml_dsa(MlDsa::MlDsa44, choice),
        Some("3.18") => read_ml_dsa(MlDsa::MlDsa65, choice),
        Some("3.19") => read_ml_dsa(MlDsa::MlDsa87, choice),
        _ => Err(EncodingError::UnknownAlgorithm { oid }),
    }
}

/// Reads `ECPrivateKey` (RFC 5915) with `namedCurve` and, as the LAMPS drafts demand, without
/// `publicKey`.
fn read_ec_private_key(curve: ObjectIdentifier, der: &[u8]) -> Result<SecretBytes, EncodingError> {
    let key = EcPrivateKey::from_der(der).map_err(|_| MALFORMED_EC)?;
    if key.parameters != Some(EcParameters::NamedCurve(curve)) || key.public_key.is_some() {
        return Err(MALFORMED_EC);
    }
    Ok(SecretBytes::new(key.private_key.to_vec()))
}

fn write_ec_private_key(
    curve: ObjectIdentifier,
    scalar: &SecretBytes,
) -> Result<SecretBytes, EncodingError> {
    let key = EcPrivateKey {
        private_key: scalar.expose(),
        parameters: Some(EcParameters::NamedCurve(curve)),
        public_key: None,
    };
    key.to_der().map(SecretBytes::new).map_err(|_| MALFORMED_EC)
}

fn write_seed_choice(seed: &[u8]) -> Result<SecretBytes, EncodingError> {
    let octets = OctetStringRef::new(seed).map_err(|_| MALFORMED_CHOICE)?;
    let choice = ContextSpecificRef {
        tag_number: TagNumber(0),
        tag_mode: TagMode::Implicit,
        value: &octets,
    };
    choice
        .to_der()
        .map(SecretBytes::new)
        .map_err(|_| MALFORMED_CHOICE)
}

fn write_info(oid: ObjectIdentifier, key: &[u8]) -> Result<SecretBytes, EncodingError> {
    let private_key = OctetStringRef::new(key).map_err(|_| MALFORMED)?;
    let algorithm = AlgorithmIdentifierRef {
        oid,
        parameters: None,
    };
    let info = PrivateKeyInfoRef::new(algorithm, private_key);
    info.to_der().map(SecretBytes::new).map_err(|_| MALFORMED)
}

/// Returns the PKCS#8 structures of a key: one, or two for an HTTP signing pair.
pub(super) fn write(key: &PrivateKey) -> Result<Vec<SecretBytes>, EncodingError> {
    match key {
        PrivateKey::Kem(key) => {
            let (seed, scalar) = key.secrets()?;
            let bytes = match (key.suite().construction, scalar) {
                (KemConstruction::Hybrid { trad, .. }, Some(scalar)) => {
                    concat(seed.expose(), trad_kem_bytes(trad, scalar)?.expose())
                }
                _ => write_seed_choice(seed.expose())?,
            };
            Ok(vec![write_info(key.suite().oid, bytes.expose())?])
        }
        PrivateKey::Sign(key) => {
            let oid = key.suite().oid;
            let info = match key.private_parts()? {
                PrivateParts::Composite(seed, secret) => {
                    let trad = trad_sign_bytes(key.suite(), secret)?;
                    write_info(oid, concat(seed.expose(), trad.expose()).expose())
                }
                PrivateParts::Pure(seed) => {
                    write_info(oid, write_seed_choice(seed.expose())?.expose())
                }
                PrivateParts::HashBased(secret) => write_info(oid, secret.expose()),
            };
            Ok(vec![info?])
        }
        PrivateKey::Http(key) => {
            let (ed25519, mldsa65) = key.seeds()?;
            let seed = OctetStringRef::new(ed25519).map_err(|_| MALFORMED)?;
            let ed25519 = SecretBytes::new(seed.to_der().map_err(|_| MALFORMED)?);
            let mldsa65 = write_seed_choice(mldsa65.expose())?;
            Ok(vec![
                write_info(spki_ids::ED25519, ed25519.expose())?,
                write_info(spki_ids::ML_DSA_65, mldsa65.expose())?,
            ])
        }
    }
}

fn trad_kem_bytes(curve: Curve, scalar: &SecretBytes) -> Result<SecretBytes, EncodingError> {
    match curve {
        Curve::X25519 => Ok(SecretBytes::new(scalar.expose().to_vec())),
        Curve::P256 => write_ec_private_key(P256, scalar),
        Curve::P384 => write_ec_private_key(P384, scalar),
    }
}

fn trad_sign_bytes(
    suite: &SignatureSuite,
    secret: &SecretBytes,
) -> Result<SecretBytes, EncodingError> {
    match suite.construction {
        SignatureConstruction::Composite {
            trad: TradSignature::EcdsaP384,
            ..
        } => write_ec_private_key(P384, secret),
        _ => Ok(SecretBytes::new(secret.expose().to_vec())),
    }
}

fn concat(first: &[u8], second: &[u8]) -> SecretBytes {
    SecretBytes::new([first, second].concat())
}
