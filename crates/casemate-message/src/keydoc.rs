//! The signed key document (`spec/inference.md`, section 3).

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use casemate_crypto::{
    Purpose,
    signature::{HttpSignatures, HttpSigningKey, HttpVerifyingKey},
};
use serde::{Deserialize, Serialize};

use crate::{
    limits::KEY_DOCUMENT_BYTES_MAX,
    ohttp::{KeyConfig, OhttpError},
};

const SCHEMA: &str = "casemate.gateway-keys/1";

/// Why a key document was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyDocumentError {
    /// Not a key document, or of another version.
    #[error("not a key document of this version")]
    Malformed,
    /// Signed by another gateway than the pinned one, or changed.
    #[error("the key document is not signed by the pinned gateway key")]
    BadSignature,
    /// Not yet or no longer valid.
    #[error("the key document is valid from {not_before} to {not_after}, the clock says {now}")]
    Expired {
        /// First second, since 1970 UTC.
        not_before: u64,
        /// Last second.
        not_after: u64,
        /// The clock.
        now: u64,
    },
    /// The key configurations in it are no good.
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

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Payload {
    key_configs: String,
    not_before: u64,
    not_after: u64,
    signer: String,
}

/// Signs a gateway's key configurations.
///
/// # Errors
///
/// [`KeyDocumentError::Crypto`].
pub fn create(
    key_configs: &[u8],
    not_before: u64,
    not_after: u64,
    signer: &HttpSigningKey,
) -> Result<Vec<u8>, KeyDocumentError> {
    let key_configs = BASE64.encode(key_configs);
    let signer_id = signer.verifying_key().id()?.to_hex();
    let payload = Payload {
        key_configs,
        not_before,
        not_after,
        signer: signer_id,
    };
    let payload = serde_json::to_vec(&payload).map_err(|_| KeyDocumentError::Malformed)?;
    let signed = Purpose::KEY_DOCUMENT.with(&payload);
    let signatures = signer.sign(&signed, &signed)?;
    let document = Document {
        schema: SCHEMA.to_owned(),
        payload: BASE64.encode(payload),
        ed25519: BASE64.encode(signatures.ed25519),
        mldsa65: BASE64.encode(signatures.mldsa65),
    };
    serde_json::to_vec(&document).map_err(|_| KeyDocumentError::Malformed)
}

/// A verified key document.
#[derive(Debug)]
pub struct VerifiedKeys {
    /// The configuration to use.
    pub config: KeyConfig,
    /// Last second in which it may be used, since 1970 UTC.
    pub not_after: u64,
}

/// Checks a key document against the pinned gateway key.
///
/// # Errors
///
/// [`KeyDocumentError`], naming the first check that failed.
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
    let decode = |text: &str| BASE64.decode(text).map_err(|_| malformed());
    let payload = decode(&document.payload)?;
    let signatures = HttpSignatures {
        ed25519: decode(&document.ed25519)?,
        mldsa65: decode(&document.mldsa65)?,
    };
    let signed = Purpose::KEY_DOCUMENT.with(&payload);
    pinned
        .verify(&signed, &signed, &signatures)
        .map_err(|_| KeyDocumentError::BadSignature)?;
    let payload: Payload = serde_json::from_slice(&payload).map_err(|_| malformed())?;
    if payload.signer != pinned.id()?.to_hex() {
        return Err(KeyDocumentError::BadSignature);
    }
    let Payload {
        not_before,
        not_after,
        ..
    } = payload;
    if !(not_before..=not_after).contains(&now) {
        return Err(KeyDocumentError::Expired {
            not_before,
            not_after,
            now,
        });
    }
    Ok(VerifiedKeys {
        config: KeyConfig::decode_list(&decode(&payload.key_configs)?)?,
        not_after,
    })
}
