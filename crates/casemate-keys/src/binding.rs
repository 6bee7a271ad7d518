//! Which version of a key an artifact is sealed to (`spec/key-store.md`, section 3.3).

use casemate_cbor::{CborError, Reader, encode};
use casemate_crypto::SecretBytes;

use crate::{KeyName, StoreError, row::RowId, versions::VersionNumber};

const PLACE_BYTES_MAX: usize = 4096;

/// Which version of a key an artifact was sealed to when it was last looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// An absolute path or an address.
    pub place: String,
    /// Name of the key.
    pub name: KeyName,
    /// Its version.
    pub version: VersionNumber,
    /// When it was looked at, in seconds since 1970-01-01 UTC.
    pub seen: u64,
}

impl Binding {
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        if (1..=PLACE_BYTES_MAX).contains(&self.place.len()) {
            Ok(())
        } else {
            Err(StoreError::PlaceTooLong(self.place.len()))
        }
    }

    pub(crate) fn encode(&self) -> SecretBytes {
        SecretBytes::new(encode(|e| {
            e.map(4)?.u8(0)?.str(&self.place)?;
            e.u8(1)?.str(self.name.as_str())?;
            e.u8(2)?.u32(self.version)?.u8(3)?.u64(self.seen)?;
            Ok(())
        }))
    }

    pub(crate) fn decode(plaintext: &SecretBytes, id: RowId) -> Result<Self, StoreError> {
        Self::read(plaintext).map_err(|_| StoreError::DamagedRow(id))
    }

    fn read(plaintext: &SecretBytes) -> Result<Self, CborError> {
        let d = &mut Reader::new(plaintext.expose(), "binding");
        d.map_of(4)?;
        d.key(0)?;
        let place = d.text()?.to_owned();
        d.key(1)?;
        let name = d.text()?.parse().map_err(|_| d.refused())?;
        d.key(2)?;
        let version = d.uint32()?;
        d.key(3)?;
        let seen = d.uint()?;
        d.end()?;
        Ok(Self {
            place,
            name,
            version,
            seen,
        })
    }
}
