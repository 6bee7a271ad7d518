//! Recovers the root key.

use casemate_crypto::Secret;

use super::Header;
use crate::{
    StoreError, StoreSecret,
    error::{Answers, Locked},
    name::SlotName,
    root::RootKey,
    slot::{Answer, KeeperError, Openers, Slot, Takes},
};

/// A root key, and the slots that gave it.
pub(crate) struct Unlocked {
    pub(crate) root: RootKey,
    pub(crate) through: Vec<SlotName>,
}

impl Header {
    /// Recovers the root key through the first slot or group that the openers open.
    ///
    /// Slots that need nothing from outside come first, and keepers are asked only afterwards.
    pub(crate) fn unlock(&self, openers: Openers<'_>) -> Result<Unlocked, StoreError> {
        let mut answers = Answers::default();
        let singles = |needs_keeper| {
            let slots = self.slots.iter();
            slots.filter(move |slot| {
                slot.membership.is_none() && slot.needs_keeper() == needs_keeper
            })
        };
        for slot in singles(false).chain(singles(true)) {
            if let Some(root) = self.try_single(slot, openers, &mut answers)? {
                let through = vec![slot.name.clone()];
                return Ok(Unlocked { root, through });
            }
        }
        for group in &self.groups {
            let mut shares = Vec::new();
            let mut through = Vec::new();
            for slot in self.members(&group.name) {
                if shares.len() >= usize::from(group.threshold) {
                    break;
                }
                let (Some(member), answer) = (
                    &slot.membership,
                    slot.open(openers, &self.store_id, Some(&group.sharing))?,
                ) else {
                    continue;
                };
                if let Some(share) = answers.note(slot, answer) {
                    shares.push((member.share, share));
                    through.push(slot.name.clone());
                }
            }
            if shares.len() < usize::from(group.threshold) {
                answers.short(group, shares.len(), self.members(&group.name).count());
                continue;
            }
            match group.open(&shares, &self.store_id)? {
                Some(root) => {
                    let root = self.committed(root)?;
                    return Ok(Unlocked { root, through });
                }
                None => return Err(StoreError::MixedShares(group.name.to_string())),
            }
        }
        Err(self.locked(openers, answers))
    }

    fn try_single(
        &self,
        slot: &Slot,
        openers: Openers<'_>,
        answers: &mut Answers,
    ) -> Result<Option<RootKey>, StoreError> {
        let answer = slot.open(openers, &self.store_id, None)?;
        let opened = answers.note(slot, answer);
        opened.map(|root| self.committed(root)).transpose()
    }

    /// Returns a root key if the header commits to it.
    fn committed(&self, root: Secret<32>) -> Result<RootKey, StoreError> {
        let root = RootKey::new(root, self.store_id);
        if root.is_committed(&self.commitment)? {
            return Ok(root);
        }
        Err(StoreError::Commitment)
    }

    /// Returns the error for a key store that stays locked: a short one if there is one secret and
    /// one slot, as in most key stores.
    fn locked(&self, openers: Openers<'_>, answers: Answers) -> StoreError {
        if let ([secret], [slot], []) = (openers.secrets, &*self.slots, &*self.groups) {
            match (secret, slot.method.takes()) {
                (StoreSecret::Passphrase(_), Takes::Passphrase) => {
                    return StoreError::WrongPassphrase;
                }
                (StoreSecret::Key(_), Takes::Key) => return StoreError::WrongKey,
                (_, Takes::Passphrase) => return StoreError::NeedsPassphrase,
                (_, Takes::Key) => return StoreError::NeedsKey,
                (_, Takes::Other) => {}
            }
        }
        StoreError::Locked(Locked::from(answers))
    }

    /// Tries one slot, and checks that it has the payload it should have.
    pub(crate) fn test(
        &self,
        name: &SlotName,
        openers: Openers<'_>,
        root: &RootKey,
    ) -> Result<(), StoreError> {
        let slot = self.slot(name)?;
        let group = slot.membership.as_ref().map(|member| &member.group);
        let group = group.map(|name| self.group(name)).transpose()?;
        let sharing = group.map(|group| &group.sharing);
        match slot.open(openers, &self.store_id, sharing)? {
            Answer::Payload(payload) => {
                let is_right = sharing.is_some() || payload.ct_eq(root.secret());
                if is_right {
                    Ok(())
                } else {
                    Err(StoreError::Commitment)
                }
            }
            Answer::NotAsked | Answer::Failed(KeeperError::NotMine) => {
                Err(StoreError::SlotNotAsked(name.to_string()))
            }
            Answer::Wrong => Err(StoreError::SlotWrong(name.to_string())),
            Answer::Failed(error) => Err(StoreError::Keeper(error)),
        }
    }
}
