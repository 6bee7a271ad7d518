//! The succession of one HTTP signing pair by another (`spec/inference.md`, section 3).

use casemate_crypto::{
    Purpose,
    encoding::{KeyId, PublicKey},
    signature::{HttpSigningKey, HttpVerifyingKey},
};
use serde::{Deserialize, Serialize};

use super::{KeyDocumentError, Signatures};

/// A statement, signed by both pairs, that one succeeds the other.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Succession {
    /// The old pair's key id, 64 hex digits.
    pub(super) from: String,
    /// The new public pair, PEM.
    to: String,
    signatures: Both,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Both {
    from: Signatures,
    to: Signatures,
}

fn message(from: &KeyId, to: &KeyId) -> Vec<u8> {
    Purpose::SUCCESSION.with(&[from.as_bytes(), to.as_bytes()].map(|id| &id[..]).concat())
}

impl Succession {
    /// Signs with both pairs.
    ///
    /// # Errors
    ///
    /// [`KeyDocumentError::Crypto`].
    pub fn create(from: &HttpSigningKey, to: &HttpSigningKey) -> Result<Self, KeyDocumentError> {
        let (old, new) = (from.verifying_key(), to.verifying_key());
        let message = message(&old.id()?, &new.id()?);
        let new = PublicKey::Http(HttpVerifyingKey::new(new.ed25519(), new.mldsa65())?);
        Ok(Self {
            from: old.id()?.to_hex(),
            to: new.to_pem().map_err(|_| KeyDocumentError::Malformed)?,
            signatures: Both {
                from: Signatures::sign(from, &message)?,
                to: Signatures::sign(to, &message)?,
            },
        })
    }

    /// Returns the new pair if the statement is about `from` and both pairs signed it.
    pub(super) fn verify(&self, from: &HttpVerifyingKey) -> Option<HttpVerifyingKey> {
        let from_id = from.id().ok()?;
        let PublicKey::Http(to) = PublicKey::from_pem(self.to.as_bytes()).ok()? else {
            return None;
        };
        let message = message(&from_id, &to.id().ok()?);
        let held = self.from == from_id.to_hex()
            && self.signatures.from.hold(from, &message)
            && self.signatures.to.hold(&to, &message);
        held.then_some(to)
    }
}
