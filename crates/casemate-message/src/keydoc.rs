//! The signed key document (`spec/inference.md`, section 3).

mod succession;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use casemate_crypto::{
    Purpose,
    encoding::KeyId,
    signature::{HttpSignatures, HttpSigningKey, HttpVerifyingKey},
};
use serde::{Deserialize, Serialize};

use crate::{
    attempt::RecordId,
    limits::{KEY_DOCUMENT_BYTES_MAX, KEY_DOCUMENT_SECONDS_MAX},
    ohttp::{KeyConfig, OhttpError},
};
pub use succession::Succession;

const SCHEMA: &str = "casemate.gateway-keys/1";
/// The option to send trailers with a request.
pub const TRAILERS: &str = "trailers";
/// The members of the payload that this version knows.
const KNOWN: [&str; 10] = [
    "key_configs",
    "not_before",
    "not_after",
    "signer",
    "record",
    "serial",
    "features",
    "succession",
    "attestation",
    "critical",
];

/// Why a key document was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyDocumentError {
    /// Not a key document, or of another version.
    #[error("not a key document of this version")]
    Malformed,
    /// Not signed by the pinned gateway, or changed.
    #[error("the key document is not signed by the pinned gateway key")]
    BadSignature,
    /// It claims a succession without the signatures that prove it.
    #[error("the key document has a succession without valid signatures by both key pairs")]
    Succession,
    /// Not yet or no longer valid.
    #[error("the key document is valid from {not_before} to {not_after}, but the clock says {now}")]
    Expired {
        /// First second, since 1970 UTC.
        not_before: u64,
        /// Last second.
        not_after: u64,
        /// The current time.
        now: u64,
    },
    /// Its validity is too long.
    #[error(
        "the key document is valid for {seconds} seconds; at most {KEY_DOCUMENT_SECONDS_MAX} are allowed"
    )]
    TooLong {
        /// Its validity, in seconds.
        seconds: u64,
    },
    /// It has a critical member that this version does not know.
    #[error("the key document has a critical member that this version does not know")]
    Critical,
    /// The gateway has already shown a later key set, or a different one with the same serial.
    #[error("the key document with serial {serial} contradicts an earlier one with serial {seen}")]
    Stale {
        /// Its serial.
        serial: u64,
        /// The serial seen before.
        seen: u64,
    },
    /// Its key configurations are not valid.
    #[error(transparent)]
    KeyConfig(#[from] OhttpError),
    /// Signing failed.
    #[error(transparent)]
    Crypto(#[from] casemate_crypto::Error),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    schema: String,
    payload: String,
    ed25519: String,
    #[serde(rename = "ml-dsa-65")]
    mldsa65: String,
}

/// Both signatures of a pair over one byte string.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signatures {
    ed25519: String,
    #[serde(rename = "ml-dsa-65")]
    mldsa65: String,
}

impl Signatures {
    fn sign(key: &HttpSigningKey, message: &[u8]) -> Result<Self, casemate_crypto::Error> {
        let made = key.sign(message, message)?;
        Ok(Self {
            ed25519: BASE64.encode(made.ed25519),
            mldsa65: BASE64.encode(made.mldsa65),
        })
    }

    /// Returns whether both are valid signatures by `key`; text that is not base64 is not a
    /// signature.
    fn hold(&self, key: &HttpVerifyingKey, message: &[u8]) -> bool {
        let decode = |text: &str| BASE64.decode(text).unwrap_or_default();
        let signatures = HttpSignatures {
            ed25519: decode(&self.ed25519),
            mldsa65: decode(&self.mldsa65),
        };
        key.verify(message, message, &signatures).is_ok()
    }
}

#[derive(Serialize, Deserialize)]
struct Payload {
    key_configs: String,
    not_before: u64,
    not_after: u64,
    signer: String,
    record: String,
    serial: u64,
    features: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    succession: Option<Succession>,
    /// This version knows no attestation type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attestation: Option<Attestation>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    critical: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Attestation {
    #[serde(rename = "type")]
    kind: String,
    evidence: String,
}

/// The statement that a gateway signs about its keys.
#[derive(Debug)]
pub struct Statement<'a> {
    /// Its key configurations, `application/ohttp-keys`.
    pub key_configs: &'a [u8],
    /// First second of validity, since 1970 UTC.
    pub not_before: u64,
    /// Last second of validity, since 1970 UTC.
    pub not_after: u64,
    /// Its replay record.
    pub record: RecordId,
    /// Number of the key set within this record.
    pub serial: u64,
    /// The succession from or to the signer.
    pub succession: Option<&'a Succession>,
}

/// Signs a gateway's statement.
///
/// # Errors
///
/// [`KeyDocumentError::Crypto`].
pub fn create(
    statement: &Statement<'_>,
    signer: &HttpSigningKey,
) -> Result<Vec<u8>, KeyDocumentError> {
    let payload = Payload {
        key_configs: BASE64.encode(statement.key_configs),
        not_before: statement.not_before,
        not_after: statement.not_after,
        signer: signer.verifying_key().id()?.to_hex(),
        record: BASE64.encode(statement.record.0),
        serial: statement.serial,
        features: vec![TRAILERS.to_owned()],
        succession: statement.succession.cloned(),
        attestation: None,
        critical: Vec::new(),
    };
    let payload = serde_json::to_vec(&payload).map_err(|_| KeyDocumentError::Malformed)?;
    let Signatures { ed25519, mldsa65 } =
        Signatures::sign(signer, &Purpose::KEY_DOCUMENT.with(&payload))?;
    let document = Document {
        schema: SCHEMA.to_owned(),
        payload: BASE64.encode(payload),
        ed25519,
        mldsa65,
    };
    serde_json::to_vec(&document).map_err(|_| KeyDocumentError::Malformed)
}

/// A verified key document.
#[derive(Debug)]
pub struct VerifiedKeys {
    /// The configuration to use.
    pub config: KeyConfig,
    /// The pair that signed: the pinned pair or its successor.
    pub signer: HttpVerifyingKey,
    /// The id of that pair.
    pub signer_id: KeyId,
    /// First second of validity, since 1970 UTC.
    pub not_before: u64,
    /// Last second of validity, since 1970 UTC.
    pub not_after: u64,
    /// The gateway's replay record.
    pub record: RecordId,
    /// Number of the key set within this record.
    pub serial: u64,
    /// The pair that the signer names as its successor.
    pub successor: Option<KeyId>,
    /// Options that the gateway offers.
    pub features: Vec<String>,
}

impl VerifiedKeys {
    /// Refuses keys that contradict keys seen earlier with the same record.
    ///
    /// # Errors
    ///
    /// [`KeyDocumentError::Stale`].
    pub fn follow(&self, seen: &Self) -> Result<(), KeyDocumentError> {
        let same_record = (self.signer_id, self.record) == (seen.signer_id, seen.record);
        let same_keys = self.config.encode_list() == seen.config.encode_list();
        let stale = self.serial < seen.serial || (self.serial == seen.serial && !same_keys);
        if same_record && stale {
            return Err(KeyDocumentError::Stale {
                serial: self.serial,
                seen: seen.serial,
            });
        }
        Ok(())
    }

    /// Returns whether the document is valid at `now`, in seconds since 1970 UTC.
    pub fn is_valid_at(&self, now: u64) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }
}

/// Verifies a key document against the pinned gateway key.
///
/// # Errors
///
/// [`KeyDocumentError`] for the first check that failed.
pub fn verify(
    document: &[u8],
    pinned: &HttpVerifyingKey,
    now: u64,
) -> Result<VerifiedKeys, KeyDocumentError> {
    let malformed = || KeyDocumentError::Malformed;
    if document.len() > KEY_DOCUMENT_BYTES_MAX {
        return Err(malformed());
    }
    let document: Document = serde_json::from_slice(document).map_err(|_| malformed())?;
    if document.schema != SCHEMA {
        return Err(malformed());
    }
    let bytes = BASE64.decode(&document.payload).map_err(|_| malformed())?;
    let signatures = Signatures {
        ed25519: document.ed25519,
        mldsa65: document.mldsa65,
    };
    let (payload, signer) = if signatures.hold(pinned, &Purpose::KEY_DOCUMENT.with(&bytes)) {
        let payload: Payload = serde_json::from_slice(&bytes).map_err(|_| malformed())?;
        (
            payload,
            HttpVerifyingKey::new(pinned.ed25519(), pinned.mldsa65())?,
        )
    } else {
        read_descended(&bytes, &signatures, pinned)?
    };
    let signer_id = signer.id()?;
    if payload.signer != signer_id.to_hex() {
        return Err(KeyDocumentError::BadSignature);
    }
    check_critical(&payload)?;
    let keys = VerifiedKeys {
        successor: successor(&payload, &signer)?,
        config: KeyConfig::decode_list(
            &BASE64
                .decode(&payload.key_configs)
                .map_err(|_| malformed())?,
        )?,
        signer,
        signer_id,
        not_before: payload.not_before,
        not_after: payload.not_after,
        record: RecordId(
            BASE64
                .decode(&payload.record)
                .ok()
                .and_then(|bytes| bytes.try_into().ok())
                .ok_or_else(malformed)?,
        ),
        serial: payload.serial,
        features: payload.features,
    };
    check_dates(&keys, now)?;
    Ok(keys)
}

/// Returns the payload of a document signed by the pinned pair's successor, and that successor.
///
/// The succession is read before the document's signature is checked, because it names the signer.
/// Its own signatures prove it.
fn read_descended(
    bytes: &[u8],
    signatures: &Signatures,
    pinned: &HttpVerifyingKey,
) -> Result<(Payload, HttpVerifyingKey), KeyDocumentError> {
    let bad = || KeyDocumentError::BadSignature;
    let payload: Payload = serde_json::from_slice(bytes).map_err(|_| bad())?;
    let succession = payload.succession.as_ref().ok_or_else(bad)?;
    let successor = succession.verify(pinned).ok_or_else(bad)?;
    if !signatures.hold(&successor, &Purpose::KEY_DOCUMENT.with(bytes)) {
        return Err(bad());
    }
    Ok((payload, successor))
}

/// Returns the successor that the signer announces; a succession to the signer itself announces
/// none.
fn successor(
    payload: &Payload,
    signer: &HttpVerifyingKey,
) -> Result<Option<KeyId>, KeyDocumentError> {
    match &payload.succession {
        Some(succession) if succession.from == payload.signer => {
            let to = succession.verify(signer);
            Ok(Some(to.ok_or(KeyDocumentError::Succession)?.id()?))
        }
        _ => Ok(None),
    }
}

fn check_critical(payload: &Payload) -> Result<(), KeyDocumentError> {
    let known = |name: &String| KNOWN.contains(&name.as_str());
    if payload.critical.iter().all(known) {
        Ok(())
    } else {
        Err(KeyDocumentError::Critical)
    }
}

fn check_dates(keys: &VerifiedKeys, now: u64) -> Result<(), KeyDocumentError> {
    let (not_before, not_after) = (keys.not_before, keys.not_after);
    if !keys.is_valid_at(now) {
        return Err(KeyDocumentError::Expired {
            not_before,
            not_after,
            now,
        });
    }
    let seconds = not_after.saturating_sub(not_before);
    if seconds > KEY_DOCUMENT_SECONDS_MAX {
        return Err(KeyDocumentError::TooLong { seconds });
    }
    Ok(())
}
