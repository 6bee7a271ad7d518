//! The header (`spec/key-store.md`, section 2).

mod change;
mod unlock;

use casemate_cbor::{Reader, encode};
use casemate_crypto::Secret;

use crate::{
    StoreError,
    group::{Group, GroupInfo},
    name::SlotName,
    root::{COMMITMENT_BYTES, RootKey, STORE_ID_BYTES},
    slot::{NewSlot, Slot, SlotInfo, WORK_MAX},
};
pub(crate) use unlock::Unlocked;

pub(crate) const VERSION: u64 = 2;
const SLOTS_MAX: u64 = 32;
const GROUPS_MAX: u64 = 8;

/// The data needed to recover the root key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) store_id: [u8; STORE_ID_BYTES],
    pub(crate) created: u64,
    pub(crate) groups: Vec<Group>,
    pub(crate) slots: Vec<Slot>,
    pub(crate) commitment: [u8; COMMITMENT_BYTES],
}

/// Everything that opens a key store, without secrets.
#[derive(Clone, Debug)]
pub struct Slots {
    /// The slots, by name.
    pub slots: Vec<SlotInfo>,
    /// The groups, by name.
    pub groups: Vec<GroupInfo>,
}

impl Header {
    /// Creates the header and the root key of a new key store.
    pub(crate) fn create(
        store_id: [u8; STORE_ID_BYTES],
        name: SlotName,
        new: NewSlot<'_>,
        created: u64,
    ) -> Result<(Self, RootKey), StoreError> {
        let root = RootKey::new(Secret::random()?, store_id);
        let header = Self {
            store_id,
            created,
            groups: Vec::new(),
            slots: vec![Slot::create(name, new, created, &root)?],
            commitment: root.commitment()?,
        };
        Ok((header, root))
    }

    /// Describes the slots and groups.
    pub(crate) fn describe(&self) -> Slots {
        let group = |group: &Group| GroupInfo {
            name: group.name.clone(),
            threshold: group.threshold,
            members: self.members(&group.name).count(),
        };
        Slots {
            slots: self.slots.iter().map(Slot::info).collect(),
            groups: self.groups.iter().map(group).collect(),
        }
    }

    pub(crate) fn members<'a>(&'a self, group: &'a SlotName) -> impl Iterator<Item = &'a Slot> {
        self.slots.iter().filter(move |slot| {
            let membership = slot.membership.as_ref();
            membership.is_some_and(|member| member.group == *group)
        })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        encode(|e| {
            e.map(6)?
                .u8(0)?
                .u64(VERSION)?
                .u8(1)?
                .bytes(&self.store_id)?;
            e.u8(2)?.u64(self.created)?;
            e.u8(3)?.array(self.groups.len() as u64)?;
            for group in &self.groups {
                group.write(e)?;
            }
            e.u8(4)?.array(self.slots.len() as u64)?;
            for slot in &self.slots {
                slot.write(e)?;
            }
            e.u8(5)?.bytes(&self.commitment)?;
            Ok(())
        })
    }

    /// Returns the version of a header, whatever else it has.
    pub(crate) fn version_of(bytes: &[u8]) -> Result<u64, StoreError> {
        let d = &mut Reader::new(bytes, "header");
        d.map()?;
        d.key(0)?;
        Ok(d.uint()?)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let version = Self::version_of(bytes)?;
        if version != VERSION {
            return Err(StoreError::Version(version));
        }
        let d = &mut Reader::new(bytes, "header");
        d.map_of(6)?;
        d.key(0)?;
        d.uint()?;
        d.key(1)?;
        let store_id = d.fixed("id")?;
        d.key(2)?;
        let created = d.uint()?;
        d.key(3)?;
        let count = d.array()?;
        if count > GROUPS_MAX {
            return Err(StoreError::Header("there are more than 8 groups"));
        }
        let groups = (0..count)
            .map(|_| Group::read(d))
            .collect::<Result<Vec<_>, _>>()?;
        d.key(4)?;
        let count = d.array()?;
        if !(1..=SLOTS_MAX).contains(&count) {
            return Err(StoreError::Header("there must be 1 to 32 slots"));
        }
        let slots = (0..count)
            .map(|_| Slot::read(d))
            .collect::<Result<Vec<_>, _>>()?;
        d.key(5)?;
        let header = Self {
            store_id,
            created,
            groups,
            slots,
            commitment: d.fixed("commitment")?,
        };
        header.check()?;
        // This comparison covers shortest forms and trailing bytes.
        if header.encode() == bytes {
            return Ok(header);
        }
        Err(StoreError::Header("not in deterministic encoding"))
    }

    /// Checks the rules that concern several slots.
    fn check(&self) -> Result<(), StoreError> {
        if self.slots.len() as u64 > SLOTS_MAX || self.groups.len() as u64 > GROUPS_MAX {
            return Err(StoreError::SlotsFull);
        }
        if !self.slots.is_sorted_by(|a, b| a.name < b.name)
            || !self.groups.is_sorted_by(|a, b| a.name < b.name)
        {
            return Err(StoreError::Header(
                "slots are not in the order of their names",
            ));
        }
        for group in &self.groups {
            let mut shares: Vec<u8> = self
                .members(&group.name)
                .filter_map(|slot| slot.membership.as_ref())
                .map(|member| member.share)
                .collect();
            if shares.len() < usize::from(group.threshold) {
                return Err(StoreError::Header(
                    "a group has fewer slots than it needs to open",
                ));
            }
            shares.sort_unstable();
            if !shares.is_sorted_by(|a, b| a < b) {
                return Err(StoreError::Header("two slots have the same share"));
            }
        }
        let has_group = |slot: &Slot| {
            slot.membership.as_ref().is_none_or(|member| {
                let mut groups = self.groups.iter();
                groups.any(|group| group.name == member.group)
            })
        };
        if !self.slots.iter().all(has_group) {
            return Err(StoreError::Header(
                "a slot belongs to a group that is missing",
            ));
        }
        // Refuse slots whose total cost is too high before trying any of them.
        let sum = self
            .slots
            .iter()
            .fold(0_u64, |sum, slot| sum.saturating_add(slot.work()));
        if sum > WORK_MAX {
            return Err(StoreError::Header(
                "the total cost of its slots exceeds the limit",
            ));
        }
        Ok(())
    }
}
