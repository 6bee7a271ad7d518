//! What is still known of a key that is gone (`spec/key-store.md`, section 3.4).

use casemate_cbor::{CborError, Reader, encode};
use casemate_crypto::{SecretBytes, encoding::KeyId};

use crate::{
    KeyName, State, StoreError,
    row::{RowId, RowKind},
    status::Status,
    versions::VersionNumber,
};

/// A signing key that was destroyed or removed. Its signatures are judged as before.
pub(crate) struct Tombstone {
    pub(crate) name: KeyName,
    pub(crate) version: VersionNumber,
    /// The state that it had: signatures of a disabled key stay refused.
    pub(crate) last: State,
    pub(crate) status: Status,
}

impl Tombstone {
    pub(crate) const fn row(key: KeyId) -> RowId {
        RowId::new(*key.as_bytes(), RowKind::Tombstone)
    }

    pub(crate) fn encode(&self) -> SecretBytes {
        SecretBytes::new(encode(|e| {
            let entries = self.status.entries().saturating_add(3);
            e.map(entries)?.u8(0)?.str(self.name.as_str())?;
            e.u8(1)?.u32(self.version)?;
            e.u8(2)?.u64(self.last.number())?;
            self.status.write(e)
        }))
    }

    pub(crate) fn decode(plaintext: &SecretBytes, id: RowId) -> Result<Self, StoreError> {
        Self::read(plaintext).map_err(|_| StoreError::DamagedRow(id))
    }

    fn read(plaintext: &SecretBytes) -> Result<Self, CborError> {
        let d = &mut Reader::new(plaintext.expose(), "tombstone");
        let entries = d.map()?;
        d.key(0)?;
        let name = d.text()?.parse().map_err(|_| d.refused())?;
        d.key(1)?;
        let version = d.uint32()?;
        d.key(2)?;
        let last = State::from_number(d.uint()?).ok_or_else(|| d.refused())?;
        let status = Status::read_last(d, entries, 3, 5)?;
        d.end()?;
        Ok(Self {
            name,
            version,
            last,
            status,
        })
    }
}
