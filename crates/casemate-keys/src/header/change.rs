//! Headers with other slots.

use super::Header;
use crate::{
    StoreError,
    group::Group,
    name::SlotName,
    root::RootKey,
    slot::{Payload, Slot},
};

impl Header {
    pub(crate) fn slot(&self, name: &SlotName) -> Result<&Slot, StoreError> {
        let mut slots = self.slots.iter();
        slots
            .find(|slot| slot.name == *name)
            .ok_or_else(|| StoreError::NoSlot(name.to_string()))
    }

    /// Returns the header with one more slot, alone or in a group.
    pub(crate) fn with_new(
        &self,
        slot: Slot,
        group: Option<&SlotName>,
        root: &RootKey,
    ) -> Result<Self, StoreError> {
        if self.slots.iter().any(|other| other.name == slot.name) {
            return Err(StoreError::SlotTaken(slot.name.to_string()));
        }
        let mut changed = self.clone();
        changed.slots.push(slot.clone());
        if let Some(name) = group {
            let threshold = changed.group(name)?.threshold;
            let mut members: Vec<Slot> = changed.members(name).cloned().collect();
            members.push(slot);
            changed.share(name, threshold, &members, root)?;
        }
        changed.settled()
    }

    /// Returns the header with another slot in place of the one of that name, which opens the key
    /// store alone.
    pub(crate) fn with_replaced(&self, new: &Slot) -> Result<Self, StoreError> {
        if self.slot(&new.name)?.membership.is_some() {
            return Err(StoreError::Replaced);
        }
        let mut changed = self.clone();
        changed.slots.retain(|slot| slot.name != new.name);
        changed.slots.push(new.clone());
        changed.settled()
    }

    /// Returns the header without a slot. The other members of its group get new shares.
    pub(crate) fn without(&self, name: &SlotName, root: &RootKey) -> Result<Self, StoreError> {
        let member = self.slot(name)?.membership.clone();
        let mut changed = self.clone();
        changed.slots.retain(|slot| slot.name != *name);
        if changed.slots.is_empty() {
            return Err(StoreError::LastSlot);
        }
        if let Some(member) = member {
            let threshold = changed.group(&member.group)?.threshold;
            let members: Vec<Slot> = changed.members(&member.group).cloned().collect();
            if members.len() < usize::from(threshold) {
                return Err(StoreError::GroupTooSmall {
                    group: member.group.to_string(),
                    threshold,
                });
            }
            changed.share(&member.group, threshold, &members, root)?;
        }
        changed.settled()
    }

    /// Returns the header with a group of these slots and no other members. Slots that leave the
    /// group are removed: alone, they would open the key store.
    pub(crate) fn with_group(
        &self,
        name: &SlotName,
        threshold: u8,
        members: &[SlotName],
        root: &RootKey,
    ) -> Result<Self, StoreError> {
        let mut changed = self.clone();
        let mut joining = Vec::new();
        for member in members {
            let slot = changed.slot(member)?;
            if let Some(other) = &slot.membership
                && other.group != *name
            {
                return Err(StoreError::InOtherGroup {
                    slot: member.to_string(),
                    group: other.group.to_string(),
                });
            }
            if joining.iter().any(|slot: &Slot| slot.name == *member) {
                return Err(StoreError::SlotTaken(member.to_string()));
            }
            joining.push(slot.clone());
        }
        let leaves = |slot: &Slot| {
            let member = slot.membership.as_ref();
            member.is_some_and(|member| member.group == *name) && !members.contains(&slot.name)
        };
        changed.slots.retain(|slot| !leaves(slot));
        changed.share(name, threshold, &joining, root)?;
        changed.settled()
    }

    /// Returns the header without a group. Each of its slots opens the key store alone again.
    pub(crate) fn without_group(
        &self,
        name: &SlotName,
        root: &RootKey,
    ) -> Result<Self, StoreError> {
        self.group(name)?;
        let mut changed = self.clone();
        changed.release(name, root)?;
        changed.groups.retain(|group| group.name != *name);
        changed.settled()
    }

    /// Returns the names of the slots that are not in `other`.
    pub(crate) fn slots_missing_in(&self, other: &Self) -> Vec<SlotName> {
        let slots = self.slots.iter();
        slots
            .filter(|slot| other.slot(&slot.name).is_err())
            .map(|slot| slot.name.clone())
            .collect()
    }

    pub(crate) fn group(&self, name: &SlotName) -> Result<&Group, StoreError> {
        let mut groups = self.groups.iter();
        groups
            .find(|group| group.name == *name)
            .ok_or_else(|| StoreError::NoGroup(name.to_string()))
    }

    /// Makes every member of a group a slot of its own.
    fn release(&mut self, group: &SlotName, root: &RootKey) -> Result<(), StoreError> {
        for slot in &mut self.slots {
            let is_member = slot
                .membership
                .as_ref()
                .is_some_and(|member| member.group == *group);
            if is_member {
                let payload = Payload {
                    secret: root.secret(),
                    sharing: None,
                };
                *slot = slot.with_payload(None, payload, root)?;
            }
        }
        Ok(())
    }

    /// Shares a new group key among these slots.
    fn share(
        &mut self,
        name: &SlotName,
        threshold: u8,
        members: &[Slot],
        root: &RootKey,
    ) -> Result<(), StoreError> {
        let (group, members) = Group::create(name.clone(), threshold, members, root)?;
        self.groups.retain(|other| other.name != *name);
        self.groups.push(group);
        for member in members {
            self.slots.retain(|slot| slot.name != member.name);
            self.slots.push(member);
        }
        Ok(())
    }

    /// Puts slots and groups in order, and checks the rules.
    fn settled(mut self) -> Result<Self, StoreError> {
        self.slots.sort_by(|a, b| a.name.cmp(&b.name));
        self.groups.sort_by(|a, b| a.name.cmp(&b.name));
        self.check()?;
        Ok(self)
    }

    /// Returns whether the key store opens without any token, account or service.
    pub(crate) fn opens_offline(&self) -> bool {
        let single = |slot: &Slot| slot.membership.is_none() && slot.is_offline();
        let group = |group: &Group| {
            let offline = self.members(&group.name).filter(|slot| slot.is_offline());
            offline.count() >= usize::from(group.threshold)
        };
        self.slots.iter().any(single) || self.groups.iter().any(group)
    }
}
