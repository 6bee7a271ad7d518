//! The header (`spec/key-store.md`, section 2).

use casemate_cbor::{Reader, encode};
use casemate_crypto::{Secret, random};

use crate::{
    StoreError, StoreSecret,
    root::{RootKey, STORE_ID_BYTES},
    slot::{PassphraseCost, Slot, WORK_MAX},
};

const VERSION: u64 = 1;
const SLOTS_MAX: u64 = 16;
const COMMITMENT_BYTES: usize = 32;

/// The data needed to recover the root key.
#[derive(Clone)]
pub(crate) struct Header {
    pub(crate) store_id: [u8; STORE_ID_BYTES],
    created: u64,
    slots: Vec<Slot>,
    pub(crate) commitment: [u8; COMMITMENT_BYTES],
}

impl Header {
    /// Creates the header and the root key of a new key store.
    pub(crate) fn create(
        secret: &StoreSecret,
        cost: PassphraseCost,
        created: u64,
    ) -> Result<(Self, RootKey), StoreError> {
        let store_id = random::bytes()?;
        let root = RootKey::new(Secret::random()?, store_id);
        let slots = vec![Slot::new(secret, cost, &root, &store_id)?];
        let commitment = commitment_of(&root)?;
        Ok((
            Self {
                store_id,
                created,
                slots,
                commitment,
            },
            root,
        ))
    }

    /// Returns the header of the same key store, with one slot replaced.
    pub(crate) fn with_slot(
        &self,
        at: usize,
        secret: &StoreSecret,
        cost: PassphraseCost,
        root: &RootKey,
    ) -> Result<Self, StoreError> {
        let mut slots = self.slots.clone();
        let slot = slots.get_mut(at).ok_or(StoreError::Replaced)?;
        *slot = Slot::new(secret, cost, root, &self.store_id)?;
        check_costs(&slots)?;
        Ok(Self {
            slots,
            ..self.clone()
        })
    }

    /// Returns the header of the same key store with a new root key, which only `secret` opens.
    pub(crate) fn renewed(
        &self,
        secret: &StoreSecret,
        cost: PassphraseCost,
    ) -> Result<(Self, RootKey), StoreError> {
        let root = RootKey::new(Secret::random()?, self.store_id);
        let header = Self {
            slots: vec![Slot::new(secret, cost, &root, &self.store_id)?],
            commitment: commitment_of(&root)?,
            ..self.clone()
        };
        Ok((header, root))
    }

    /// Recovers the root key through the first slot that the secret opens, and returns the index of
    /// that slot.
    pub(crate) fn unlock(&self, secret: &StoreSecret) -> Result<(RootKey, usize), StoreError> {
        let wrong = || match secret {
            StoreSecret::Passphrase(_) => StoreError::WrongPassphrase,
            StoreSecret::Key(_) => StoreError::WrongKey,
        };
        // An error from a slot of the right kind is more informative than one from a slot of the
        // other kind.
        let mut refused = None;
        for (at, slot) in self.slots.iter().enumerate() {
            match slot.open(secret, &self.store_id) {
                Ok(Some(found)) => {
                    let root = RootKey::new(found, self.store_id);
                    return if root.is_committed(&self.commitment)? {
                        Ok((root, at))
                    } else {
                        Err(wrong())
                    };
                }
                Ok(None) => refused = Some(wrong()),
                Err(error) => _ = refused.get_or_insert(error),
            }
        }
        Err(refused.unwrap_or_else(wrong))
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        encode(|e| {
            e.map(5)?
                .u8(0)?
                .u64(VERSION)?
                .u8(1)?
                .bytes(&self.store_id)?;
            e.u8(2)?
                .u64(self.created)?
                .u8(3)?
                .array(self.slots.len() as u64)?;
            for slot in &self.slots {
                slot.write(e)?;
            }
            e.u8(4)?.bytes(&self.commitment)?;
            Ok(())
        })
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let d = &mut Reader::new(bytes, "header");
        let entries = d.map()?;
        d.key(0)?;
        let version = d.uint()?;
        if version != VERSION {
            return Err(StoreError::Version(version));
        }
        if entries != 5 {
            return Err(d.refused().into());
        }
        d.key(1)?;
        let store_id = d.fixed("id")?;
        d.key(2)?;
        let created = d.uint()?;
        d.key(3)?;
        let count = d.array()?;
        if !(1..=SLOTS_MAX).contains(&count) {
            return Err(StoreError::Header("there must be 1 to 16 slots"));
        }
        let slots = (0..count)
            .map(|_| Slot::read(d))
            .collect::<Result<Vec<_>, _>>()?;
        check_costs(&slots)?;
        d.key(4)?;
        let header = Self {
            store_id,
            created,
            slots,
            commitment: d.fixed("commitment")?,
        };
        // This comparison covers shortest forms and trailing bytes.
        if header.encode() == bytes {
            return Ok(header);
        }
        Err(StoreError::Header("not in deterministic encoding"))
    }
}

fn commitment_of(root: &RootKey) -> Result<[u8; COMMITMENT_BYTES], StoreError> {
    let commitment = root.commitment()?;
    commitment
        .try_into()
        .map_err(|_| StoreError::Crypto(casemate_crypto::Error::Internal))
}

/// Refuses slots whose total cost is too high, before trying any of them.
fn check_costs(slots: &[Slot]) -> Result<(), StoreError> {
    let sum = slots
        .iter()
        .fold(0_u64, |sum, slot| sum.saturating_add(slot.work()));
    if sum > WORK_MAX {
        return Err(StoreError::Header(
            "the total cost of its slots exceeds the limit",
        ));
    }
    Ok(())
}
