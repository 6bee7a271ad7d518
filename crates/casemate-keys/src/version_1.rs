//! Key stores of version 1, which are read only to migrate them (`spec/key-store.md`, section 5).

use std::collections::BTreeMap;

use casemate_cbor::{CborError, Reader};
use casemate_crypto::{
    Purpose, Secret, SecretBytes,
    encoding::{PrivateKey, PublicKey},
    hash::{HASH_BYTES, sha384},
    hpke::{Aead, AeadKey},
    random,
};
use zeroize::Zeroizing;

use crate::{
    KeyName, SlotName, StoreError, StoreSecret,
    engine::Page,
    header::Header,
    record::Record,
    root::{COMMITMENT_BYTES, RootKey, STORE_ID_BYTES, TAG_BYTES, derive},
    row::{Role, RowId},
    slot::{
        Method, NONCE_BYTES, Openers, PassphraseCost, SALT_BYTES, Slot, WRAPPED_BYTES, of_store_key,
    },
    status::Status,
};

/// The header of a key store of version 1.
pub(crate) struct Header1 {
    store_id: [u8; STORE_ID_BYTES],
    created: u64,
    method: Method,
    /// The parameters as they were authenticated.
    parameters: Vec<u8>,
    nonce: [u8; NONCE_BYTES],
    wrapped: [u8; WRAPPED_BYTES],
    commitment: [u8; COMMITMENT_BYTES],
}

impl Header1 {
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let d = &mut Reader::new(bytes, "header");
        d.map_of(5)?;
        d.key(0)?;
        d.uint()?;
        d.key(1)?;
        let store_id = d.fixed("id")?;
        d.key(2)?;
        let created = d.uint()?;
        d.key(3)?;
        // No command ever made a second one.
        if d.array()? != 1 {
            return Err(StoreError::Header("there must be one slot"));
        }
        let elements = d.array()?;
        let (method, parameters) = match (d.uint()?, elements) {
            (1, 7) => {
                let salt: [u8; SALT_BYTES] = d.fixed("salt")?;
                let cost = PassphraseCost {
                    memory_kib: d.uint32()?,
                    passes: d.uint32()?,
                    lanes: d.uint32()?,
                }
                .check()?;
                let parameters = casemate_cbor::encode(|e| {
                    e.array(5)?.u8(1)?.bytes(&salt)?;
                    e.u32(cost.memory_kib)?.u32(cost.passes)?.u32(cost.lanes)?;
                    Ok(())
                });
                (Method::Passphrase { salt, cost }, parameters)
            }
            (2, 3) => {
                let parameters = casemate_cbor::encode(|e| e.array(1)?.u8(2).map(drop));
                let salt = random::bytes()?;
                (Method::StoreKey { salt }, parameters)
            }
            _ => return Err(StoreError::Header("unknown kind of slot")),
        };
        let nonce = d.fixed("nonce")?;
        let wrapped = d.fixed("wrapped key")?;
        d.key(4)?;
        let commitment = d.fixed("commitment")?;
        d.end()?;
        Ok(Self {
            store_id,
            created,
            method,
            parameters,
            nonce,
            wrapped,
            commitment,
        })
    }

    /// Recovers the root key, and makes the header of version 2.
    pub(crate) fn unlock(&self, openers: Openers<'_>) -> Result<(RootKey, Header), StoreError> {
        let mut refused = None;
        for secret in openers.secrets {
            let (slot_key, key) = match (&self.method, secret) {
                (Method::Passphrase { salt, cost }, StoreSecret::Passphrase(passphrase)) => {
                    let key = cost.derive(passphrase, salt)?;
                    let copy = SecretBytes::new(key.expose().to_vec());
                    refused = Some(StoreError::WrongPassphrase);
                    (key, copy)
                }
                (Method::StoreKey { salt }, StoreSecret::Key(given)) => {
                    let info = Purpose::STORE_KEY_SLOT_1.as_bytes();
                    let key = derive(given.secret(), &self.store_id, info, 32)?;
                    refused = Some(StoreError::WrongKey);
                    (of_store_key(given, salt)?, key)
                }
                _ => continue,
            };
            let aad = [self.store_id.as_slice(), &self.parameters].concat();
            let key = AeadKey::new(Aead::Aes256Gcm, key.expose())?;
            let Ok(root) = key.open(&self.nonce, &aad, &self.wrapped) else {
                continue;
            };
            let root = Zeroizing::new(root);
            let root = RootKey::new(Secret::copy_from("root key", &root)?, self.store_id);
            if !root.is_committed(&self.commitment)? {
                return Err(StoreError::Commitment);
            }
            let slot = Slot::of_method(
                SlotName::main(),
                self.method.clone(),
                &slot_key,
                self.created,
                &root,
            )?;
            let header = Header {
                store_id: self.store_id,
                created: self.created,
                groups: Vec::new(),
                slots: vec![slot],
                commitment: self.commitment,
            };
            return Ok((root, header));
        }
        Err(refused.unwrap_or(match self.method {
            Method::Passphrase { .. } => StoreError::NeedsPassphrase,
            _ => StoreError::NeedsKey,
        }))
    }
}

/// A record of version 1.
pub(crate) struct Record1 {
    pub(crate) name: KeyName,
    created: u64,
    pem: SecretBytes,
    status: Status,
}

impl Record1 {
    /// Makes it the first version of its name.
    pub(crate) fn migrated(&self, id: RowId) -> Result<Record, StoreError> {
        let name = self.name.clone();
        let (record, found) = if Role::of(id.kind()) == Some(Role::Private) {
            let key = PrivateKey::from_pem(self.pem.expose())?;
            Record::of_private(name, 1, &key, self.created, self.status)?
        } else {
            let key = PublicKey::from_pem(self.pem.expose())?;
            Record::of_public(name, 1, &key, self.created, self.status)?
        };
        if found == id {
            Ok(record)
        } else {
            Err(StoreError::DamagedRow(id))
        }
    }
}

/// Verifies the index of version 1 and decrypts every record in it. A damaged record is an error:
/// it could not be kept.
pub(crate) fn read_records(
    root: &RootKey,
    header: &[u8],
    index: &[u8],
    generation: u64,
    records: Page,
) -> Result<BTreeMap<RowId, Record1>, StoreError> {
    let (listed, tag, untagged) = read_index(index).map_err(|_| StoreError::Index)?;
    if !root.tag_matches(header, &untagged, &tag)? || listed.generation != generation {
        return Err(StoreError::Index);
    }
    let mut stored: BTreeMap<Vec<u8>, Vec<u8>> = records.into_iter().collect();
    let mut found = BTreeMap::new();
    for (id, written, hash) in listed.entries {
        let sealed = stored
            .remove(id.to_bytes().as_slice())
            .ok_or(StoreError::MissingRow(id))?;
        let damaged = || StoreError::DamagedRow(id);
        if sha384(&sealed) != hash {
            return Err(damaged());
        }
        let (key, aad) = root.record_1(id, written)?;
        let (nonce, ciphertext) = sealed.split_at_checked(NONCE_BYTES).ok_or_else(damaged)?;
        let plaintext = key.open(nonce, &aad, ciphertext).map_err(|_| damaged())?;
        let plaintext = SecretBytes::from(Zeroizing::new(plaintext));
        found.insert(id, read_record(&plaintext).map_err(|_| damaged())?);
    }
    if let Some(id) = stored.keys().find_map(|id| RowId::from_bytes(id)) {
        return Err(StoreError::ForeignRow(id));
    }
    Ok(found)
}

struct Listed {
    generation: u64,
    entries: Vec<(RowId, u64, [u8; HASH_BYTES])>,
}

/// Returns the entries, the tag, and the encoding that the tag is over.
fn read_index(bytes: &[u8]) -> Result<(Listed, [u8; TAG_BYTES], Vec<u8>), CborError> {
    let d = &mut Reader::new(bytes, "index");
    d.map_of(3)?;
    d.key(0)?;
    let generation = d.uint()?;
    d.key(1)?;
    let count = d.array()?;
    let mut entries = Vec::new();
    for _ in 0..count {
        d.array_of(3)?;
        let id = RowId::from_bytes(d.bytes()?).ok_or_else(|| d.refused())?;
        entries.push((id, d.uint()?, d.fixed("hash")?));
    }
    d.key(2)?;
    let tag = d.fixed("tag")?;
    d.end()?;
    let untagged = casemate_cbor::encode(|e| {
        e.map(2)?.u8(0)?.u64(generation)?;
        e.u8(1)?.array(entries.len() as u64)?;
        for (id, written, hash) in &entries {
            e.array(3)?
                .bytes(&id.to_bytes())?
                .u64(*written)?
                .bytes(hash)?;
        }
        Ok(())
    });
    let listed = Listed {
        generation,
        entries,
    };
    Ok((listed, tag, untagged))
}

fn read_record(plaintext: &SecretBytes) -> Result<Record1, CborError> {
    let d = &mut Reader::new(plaintext.expose(), "record");
    let entries = d.map()?;
    d.key(0)?;
    let name = d.text()?.parse().map_err(|_| d.refused())?;
    d.key(1)?;
    let created = d.uint()?;
    d.key(2)?;
    let pem = SecretBytes::new(d.bytes()?.to_vec());
    let status = Status::read_last(d, entries, 3, 3)?;
    d.end()?;
    Ok(Record1 {
        name,
        created,
        pem,
        status,
    })
}
