//! How often a key was used (`spec/key-store.md`, section 3.2).

use casemate_cbor::{CborError, Reader, encode};
use casemate_crypto::SecretBytes;

use crate::{StoreError, row::RowId};

/// How often a version of a key was used, or may have been used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Artifacts sealed, or signatures made.
    pub uses: u64,
    /// Bytes sealed or signed.
    pub bytes: u64,
}

impl Usage {
    pub(crate) const fn plus(self, other: Self) -> Self {
        Self {
            uses: self.uses.saturating_add(other.uses),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }

    pub(crate) fn encode(self) -> SecretBytes {
        SecretBytes::new(encode(|e| {
            e.map(2)?.u8(0)?.u64(self.uses)?.u8(1)?.u64(self.bytes)?;
            Ok(())
        }))
    }

    pub(crate) fn decode(plaintext: &SecretBytes, id: RowId) -> Result<Self, StoreError> {
        Self::read(plaintext).map_err(|_| StoreError::DamagedRow(id))
    }

    fn read(plaintext: &SecretBytes) -> Result<Self, CborError> {
        let d = &mut Reader::new(plaintext.expose(), "usage");
        d.map_of(2)?;
        d.key(0)?;
        let uses = d.uint()?;
        d.key(1)?;
        let bytes = d.uint()?;
        d.end()?;
        Ok(Self { uses, bytes })
    }
}
