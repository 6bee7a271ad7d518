//! One sealed record (`spec/key-store.md`, section 3).

use casemate_cbor::{CborError, Reader, encode};
use casemate_crypto::{
    SecretBytes,
    encoding::{PrivateKey, PublicKey},
    random,
};
use zeroize::Zeroizing;

use crate::{
    KeyName, StoreError,
    engine::{RecordId, Role},
    root::RootKey,
    status::Status,
};

const NONCE_BYTES: usize = 12;

/// The content of a record.
pub(crate) struct Record {
    pub(crate) name: KeyName,
    pub(crate) created: u64,
    pub(crate) pem: SecretBytes,
    pub(crate) status: Status,
}

impl Record {
    pub(crate) fn seal(
        &self,
        root: &RootKey,
        id: RecordId,
        generation: u64,
    ) -> Result<Vec<u8>, StoreError> {
        let plaintext = Zeroizing::new(encode(|e| {
            let entries = self.status.entries().saturating_add(3);
            e.map(entries)?.u8(0)?.str(self.name.as_str())?;
            e.u8(1)?
                .u64(self.created)?
                .u8(2)?
                .bytes(self.pem.expose())?;
            self.status.write(e)
        }));
        let (key, aad) = root.record(id, generation)?;
        let nonce = random::bytes::<NONCE_BYTES>()?;
        Ok([nonce.as_slice(), &key.seal(&nonce, &aad, &plaintext)?].concat())
    }

    pub(crate) fn open(
        sealed: &[u8],
        root: &RootKey,
        id: RecordId,
        generation: u64,
    ) -> Result<Self, StoreError> {
        let damaged = || StoreError::DamagedRecord(id);
        let (key, aad) = root.record(id, generation)?;
        let (nonce, ciphertext) = sealed.split_at_checked(NONCE_BYTES).ok_or_else(damaged)?;
        let plaintext = key.open(nonce, &aad, ciphertext).map_err(|_| damaged())?;
        let plaintext = Zeroizing::new(plaintext);
        Self::decode(&plaintext).map_err(|_| damaged())
    }

    fn decode(plaintext: &[u8]) -> Result<Self, CborError> {
        let d = &mut Reader::new(plaintext, "record");
        let entries = d.map()?;
        if ![3, 4].contains(&entries) {
            return Err(d.refused());
        }
        d.key(0)?;
        let name = d.text()?.parse().map_err(|_| d.refused())?;
        d.key(1)?;
        let created = d.uint()?;
        d.key(2)?;
        let pem = SecretBytes::new(d.bytes()?.to_vec());
        let status = if entries == 4 {
            d.key(3)?;
            Status::read(d)?
        } else {
            Status::default()
        };
        d.end()?;
        Ok(Self {
            name,
            created,
            pem,
            status,
        })
    }

    /// Returns the public key, which must match the record's id.
    pub(crate) fn public_key(&self, id: RecordId) -> Result<PublicKey, StoreError> {
        let key = match id.role {
            Role::Private => PrivateKey::from_pem(self.pem.expose())?.public_key()?,
            Role::Public => PublicKey::from_pem(self.pem.expose())?,
        };
        if key.id()? == id.key {
            Ok(key)
        } else {
            Err(StoreError::DamagedRecord(id))
        }
    }
}
