//! Entries of the audit log as a key store keeps them (`spec/key-store.md`, section 4.3).

use aws_lc_rs::hmac;
use casemate_audit::{Entry, What, leaf_hash};
use casemate_cbor::{CborError, Reader};
use casemate_crypto::{SecretBytes, encoding::KeyId, signature::LogSigningKey};
use subtle::ConstantTimeEq as _;

use crate::{KeyName, StoreError, row::RowId, versions::VersionNumber};

const TAG_BYTES: usize = 32;

/// Who uses a key store, and the clock of its entries.
#[derive(Clone, Debug)]
pub struct Actor {
    /// Who, such as `uid 1000, casemate open`.
    pub by: String,
    /// Returns the time, in seconds since 1970-01-01 UTC.
    pub clock: fn() -> u64,
}

impl Default for Actor {
    fn default() -> Self {
        Self {
            by: "unknown".to_owned(),
            clock: || 0,
        }
    }
}

/// What a change tells the log.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    what: What,
    key: Option<String>,
    id: Option<KeyId>,
    about: Option<String>,
    /// Who did it, if not whoever uses the key store.
    by: Option<String>,
}

impl Event {
    pub(crate) const fn new(what: What) -> Self {
        Self {
            what,
            key: None,
            id: None,
            about: None,
            by: None,
        }
    }

    /// Tells of a version of a key.
    pub(crate) fn of_key(what: What, name: &KeyName, version: VersionNumber, id: KeyId) -> Self {
        Self {
            key: Some(format!("{name}@{version}")),
            id: Some(id),
            ..Self::new(what)
        }
    }

    /// Adds what else there is to say.
    pub(crate) fn about(self, about: impl Into<String>) -> Self {
        Self {
            about: Some(about.into()),
            ..self
        }
    }

    /// Says who did it, if not whoever uses the key store.
    pub(crate) fn by(self, by: impl Into<String>) -> Self {
        Self {
            by: Some(by.into()),
            ..self
        }
    }

    pub(crate) fn encode(self, actor: &Actor) -> Result<Vec<u8>, StoreError> {
        let entry = Entry {
            time: (actor.clock)(),
            what: self.what,
            by: self.by.unwrap_or_else(|| actor.by.clone()),
            key: self.key,
            id: self.id.map(|id| id.to_hex()),
            about: self.about,
        };
        Ok(entry.encode()?)
    }
}

/// Returns the value of an entry: its tag and the entry.
pub(crate) fn tagged(key: &hmac::Key, number: u64, entry: &[u8]) -> Vec<u8> {
    [tag_of(key, number, entry).as_slice(), entry].concat()
}

fn tag_of(key: &hmac::Key, number: u64, entry: &[u8]) -> Vec<u8> {
    let message = [&number.to_be_bytes(), entry].concat();
    let tag = hmac::sign(key, &message);
    tag.as_ref().iter().take(TAG_BYTES).copied().collect()
}

/// Returns the entry of a value, if its tag is right.
pub(crate) fn untagged<'v>(key: &hmac::Key, number: u64, value: &'v [u8]) -> Option<&'v [u8]> {
    let (tag, entry) = value.split_at_checked(TAG_BYTES)?;
    let is_right = tag_of(key, number, entry).ct_eq(tag);
    bool::from(is_right).then_some(entry)
}

/// Returns the hash of an entry in the log's tree.
pub(crate) fn hash_of(entry: &[u8]) -> [u8; 32] {
    leaf_hash(entry)
}

/// The name and keys of a log.
pub(crate) struct LogKeys {
    pub(crate) origin: String,
    pub(crate) key: LogSigningKey,
}

impl LogKeys {
    pub(crate) fn encode(&self) -> SecretBytes {
        // Reserve all of it: growing would leave a copy behind.
        let mut plaintext = Vec::with_capacity(self.origin.len().saturating_add(128));
        let [ed25519, mldsa44] = self.key.seeds();
        casemate_cbor::encode_into(&mut plaintext, |e| {
            e.map(3)?.u8(0)?.str(&self.origin)?;
            e.u8(1)?.bytes(ed25519)?.u8(2)?.bytes(mldsa44)?;
            Ok(())
        });
        SecretBytes::new(plaintext)
    }

    pub(crate) fn decode(plaintext: &SecretBytes) -> Result<Self, StoreError> {
        let damaged = StoreError::DamagedRow(RowId::LOG_KEYS);
        let Ok((origin, ed25519, mldsa44)) = read(plaintext) else {
            return Err(damaged);
        };
        Ok(Self {
            origin,
            key: LogSigningKey::from_seeds(ed25519, mldsa44)?,
        })
    }
}

fn read(plaintext: &SecretBytes) -> Result<(String, &[u8], &[u8]), CborError> {
    let d = &mut Reader::new(plaintext.expose(), "log keys");
    d.map_of(3)?;
    d.key(0)?;
    let origin = d.text()?.to_owned();
    d.key(1)?;
    let ed25519 = d.bytes()?;
    d.key(2)?;
    let mldsa44 = d.bytes()?;
    d.end()?;
    Ok((origin, ed25519, mldsa44))
}
