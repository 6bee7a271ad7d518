//! Private keys that the service holds.

use std::sync::Arc;

use base64ct::{Base64, Encoding as _};
use casemate_crypto::{
    SecretBytes,
    encoding::{PrivateKey, PublicKey},
    holder::{HolderError, HpkeHolder, HpkeMessage, HttpSigningHolder, SigningHolder},
    kem::KemPrivateKey,
    signature::{HttpSignatures, HttpSigningKey, SigningKey},
};
use casemate_keys::{KeyEntry, StoreError};
use http::StatusCode;

use super::transport::{RemoteError, Transport};
use crate::wire::{HttpSignature, Open, Sign, SignHttp, Signed};

/// One key of the service.
struct Held {
    transport: Arc<Transport>,
    id: String,
}

/// Returns a key that the service uses on our behalf.
pub(super) fn key(transport: &Arc<Transport>, entry: &KeyEntry) -> Result<PrivateKey, StoreError> {
    let held = Box::new(Held {
        transport: Arc::clone(transport),
        id: entry.id.to_hex(),
    });
    // Keys are not copied, but read again from their encoding.
    let public = PublicKey::from_pem(entry.public.to_pem()?.as_bytes())?;
    Ok(match public {
        PublicKey::Kem(public) => PrivateKey::Kem(KemPrivateKey::held(public, held)),
        PublicKey::Sign(public) => PrivateKey::Sign(SigningKey::held(public, held)),
        PublicKey::Http(public) => PrivateKey::Http(HttpSigningKey::held(public, held)),
    })
}

fn failed(error: RemoteError) -> HolderError {
    match error {
        RemoteError::Refused { status, .. } if status == StatusCode::UNPROCESSABLE_ENTITY => {
            HolderError::Rejected
        }
        other => HolderError::Failed(crate::problem::chain(&other)),
    }
}

impl HpkeHolder for Held {
    fn open(&self, message: &HpkeMessage<'_>) -> Result<SecretBytes, HolderError> {
        let triple = message.suite.triple();
        let body = Open {
            key: self.id.clone(),
            kdf: triple.kdf,
            aead: triple.aead,
            enc: message.enc.to_vec(),
            info: message.info.to_vec(),
            aad: message.aad.to_vec(),
            ciphertext: message.ciphertext.to_vec(),
        };
        let answer = self.transport.post("/v1/open", &body).map_err(failed)?;
        plaintext(answer.expose()).ok_or_else(|| failed(RemoteError::Malformed))
    }
}

/// Reads what was opened without making copies that are not wiped.
fn plaintext(json: &[u8]) -> Option<SecretBytes> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Plaintext<'a> {
        plaintext: &'a str,
    }
    let read: Plaintext<'_> = serde_json::from_slice(json).ok()?;
    Base64::decode_vec(read.plaintext)
        .ok()
        .map(SecretBytes::new)
}

impl SigningHolder for Held {
    fn sign(&self, context: &[u8], message: &[u8]) -> Result<Vec<u8>, HolderError> {
        let body = Sign {
            key: self.id.clone(),
            context: context.to_vec(),
            message: message.to_vec(),
        };
        let answer = self.transport.post("/v1/sign", &body);
        let answer: Result<Signed, _> = answer.and_then(|answer| answer.read());
        Ok(answer.map_err(failed)?.signature)
    }
}

impl HttpSigningHolder for Held {
    fn sign(
        &self,
        ed25519_base: &[u8],
        mldsa65_base: &[u8],
    ) -> Result<HttpSignatures, HolderError> {
        let body = SignHttp {
            key: self.id.clone(),
            ed25519: ed25519_base.to_vec(),
            mldsa65: mldsa65_base.to_vec(),
        };
        let answer = self.transport.post("/v1/sign-http", &body);
        let answer: Result<HttpSignature, _> = answer.and_then(|answer| answer.read());
        let HttpSignature { ed25519, mldsa65 } = answer.map_err(failed)?;
        Ok(HttpSignatures { ed25519, mldsa65 })
    }
}
