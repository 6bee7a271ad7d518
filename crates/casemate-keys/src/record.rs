//! The row of a key (`spec/key-store.md`, section 3.1).

use casemate_cbor::{CborError, Reader};
use casemate_crypto::{
    SecretBytes,
    encoding::{PrivateKey, PublicKey},
};

use crate::{
    KeyName, StoreError,
    row::{Role, RowId},
    status::Status,
    versions::VersionNumber,
};

/// The content of a key's row.
pub(crate) struct Record {
    pub(crate) name: KeyName,
    pub(crate) version: VersionNumber,
    pub(crate) created: u64,
    pub(crate) public: Vec<u8>,
    pub(crate) private: Option<SecretBytes>,
    pub(crate) status: Status,
}

impl Record {
    /// Returns the record of a private key.
    pub(crate) fn of_private(
        name: KeyName,
        version: VersionNumber,
        key: &PrivateKey,
        created: u64,
        status: Status,
    ) -> Result<(Self, RowId), StoreError> {
        let public = key.public_key()?;
        let record = Self {
            private: Some(key.to_pem()?),
            ..Self::of_public(name, version, &public, created, status)?.0
        };
        Ok((record, RowId::of_key(public.id()?, Role::Private)))
    }

    /// Returns the record of someone else's public key.
    pub(crate) fn of_public(
        name: KeyName,
        version: VersionNumber,
        key: &PublicKey,
        created: u64,
        status: Status,
    ) -> Result<(Self, RowId), StoreError> {
        let record = Self {
            name,
            version,
            created,
            public: key.to_pem()?.into_bytes(),
            private: None,
            status,
        };
        Ok((record, RowId::of_key(key.id()?, Role::Public)))
    }

    pub(crate) fn encode(&self) -> SecretBytes {
        let entries = 4_u64
            .saturating_add(u64::from(self.private.is_some()))
            .saturating_add(self.status.entries());
        let private = self.private.as_ref().map_or(0, |pem| pem.expose().len());
        // Reserve all of it: growing would leave a copy behind.
        let room = private
            .saturating_add(self.public.len())
            .saturating_add(512);
        let mut plaintext = Vec::with_capacity(room);
        casemate_cbor::encode_into(&mut plaintext, |e| {
            e.map(entries)?.u8(0)?.str(self.name.as_str())?;
            e.u8(1)?.u32(self.version)?;
            e.u8(2)?.u64(self.created)?;
            e.u8(3)?.bytes(&self.public)?;
            if let Some(pem) = &self.private {
                e.u8(4)?.bytes(pem.expose())?;
            }
            self.status.write(e)
        });
        SecretBytes::new(plaintext)
    }

    pub(crate) fn decode(plaintext: &SecretBytes, id: RowId) -> Result<Self, StoreError> {
        Self::read(plaintext, id).map_err(|_| StoreError::DamagedRow(id))
    }

    fn read(plaintext: &SecretBytes, id: RowId) -> Result<Self, CborError> {
        let d = &mut Reader::new(plaintext.expose(), "row");
        let is_private = Role::of(id.kind()) == Some(Role::Private);
        let entries = d.map()?;
        let others = if is_private { 5 } else { 4 };
        d.key(0)?;
        let name = d.text()?.parse().map_err(|_| d.refused())?;
        d.key(1)?;
        let version = d.uint32()?;
        d.key(2)?;
        let created = d.uint()?;
        d.key(3)?;
        let public = d.bytes()?.to_vec();
        let private = if is_private {
            d.key(4)?;
            Some(SecretBytes::new(d.bytes()?.to_vec()))
        } else {
            None
        };
        let status = Status::read_last(d, entries, others, 5)?;
        d.end()?;
        Ok(Self {
            name,
            version,
            created,
            public,
            private,
            status,
        })
    }

    /// Returns the public key, which must match the row's id.
    pub(crate) fn public_key(&self, id: RowId) -> Result<PublicKey, StoreError> {
        let key = PublicKey::from_pem(&self.public)?;
        if key.id()? == id.key() {
            Ok(key)
        } else {
            Err(StoreError::DamagedRow(id))
        }
    }

    /// Returns the private key, which must match the row's id.
    pub(crate) fn private_key(&self, id: RowId) -> Result<PrivateKey, StoreError> {
        let pem = self
            .private
            .as_ref()
            .ok_or_else(|| StoreError::NoPrivateKey(self.name.to_string()))?;
        let key = PrivateKey::from_pem(pem.expose())?;
        if key.public_key()?.id()? == id.key() {
            Ok(key)
        } else {
            Err(StoreError::DamagedRow(id))
        }
    }
}
