//! Changes of slots, while the key store is in use.

use casemate_audit::What;

use super::{
    KeyStore,
    change::CONFLICTS_MAX,
    session::{Edit, Session},
};
use crate::{
    Binding, PassphraseCost, StoreError, StoreSecret, Versions,
    engine::{Engine, EngineError},
    header::{Header, Slots},
    log::Event,
    name::SlotName,
    root::RootKey,
    row::RowKind,
    slot::{NewSlot, Openers, Slot, Takes},
};

impl<E: Engine> KeyStore<E> {
    /// Returns the slots and groups.
    ///
    /// # Errors
    ///
    /// The engine's error.
    pub fn slots(&self) -> Result<Slots, StoreError> {
        Ok(self.session()?.state().header.describe())
    }

    /// Returns whether the key store opens without any token, account or service.
    ///
    /// # Errors
    ///
    /// The engine's error.
    pub fn opens_offline(&self) -> Result<bool, StoreError> {
        Ok(self.session()?.state().header.opens_offline())
    }

    /// Adds a slot, which opens the key store alone or as a member of a group.
    ///
    /// # Errors
    ///
    /// [`StoreError::SlotTaken`], [`StoreError::NoGroup`], [`StoreError::SlotsFull`],
    /// [`StoreError::Keeper`], or the engine's error.
    pub fn add_slot(
        &mut self,
        name: &SlotName,
        new: NewSlot<'_>,
        group: Option<&SlotName>,
        now: u64,
    ) -> Result<(), StoreError> {
        // The slot is made once: asking a service again after a conflict would leave traces.
        let slot = Slot::create(name.clone(), new, now, &self.root)?;
        let event = Event::new(What::SlotAdded).about(name.as_str());
        self.change_header(Some(&event), Offline::Any, |header, root| {
            header.with_new(slot.clone(), group, root)
        })?;
        Ok(())
    }

    /// Removes a slot. Earlier copies of the key store still open with it.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoSlot`], [`StoreError::LastSlot`], [`StoreError::GroupTooSmall`],
    /// [`StoreError::NoOfflineSlot`] unless `offline` allows it, or the engine's error.
    pub fn remove_slot(&mut self, name: &SlotName, offline: Offline) -> Result<(), StoreError> {
        self.change_header(None, offline, |header, root| header.without(name, root))?;
        Ok(())
    }

    /// Makes a group of slots, or gives a group other members. Returns the slots that left the
    /// group, which are removed: alone, they would open the key store.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoSlot`], [`StoreError::InOtherGroup`], [`StoreError::Crypto`] if the
    /// threshold does not fit the members, [`StoreError::NoOfflineSlot`], or the engine's error.
    pub fn set_group(
        &mut self,
        name: &SlotName,
        threshold: u8,
        members: &[SlotName],
        offline: Offline,
    ) -> Result<Vec<SlotName>, StoreError> {
        let names: Vec<_> = members.iter().map(SlotName::as_str).collect();
        let about = format!("{name}: {threshold} of {}", names.join(", "));
        let event = Event::new(What::GroupChanged).about(about);
        self.change_header(Some(&event), offline, |header, root| {
            header.with_group(name, threshold, members, root)
        })
    }

    /// Removes a group, so that each of its slots opens the key store alone.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoGroup`], or the engine's error.
    pub fn remove_group(&mut self, name: &SlotName) -> Result<(), StoreError> {
        let event = Event::new(What::GroupChanged).about(format!("{name}: removed"));
        self.change_header(Some(&event), Offline::Any, |header, root| {
            header.without_group(name, root)
        })?;
        Ok(())
    }

    /// Tries one slot, and checks that it gives what it should.
    ///
    /// # Errors
    ///
    /// [`StoreError::SlotNotAsked`], [`StoreError::SlotWrong`], [`StoreError::Keeper`].
    pub fn test_slot(&self, name: &SlotName, openers: Openers<'_>) -> Result<(), StoreError> {
        let session = self.session()?;
        session.state().header.test(name, openers, &self.root)
    }

    /// Changes the header, and returns the slots that are no longer in it.
    fn change_header(
        &mut self,
        event: Option<&Event>,
        offline: Offline,
        change: impl Fn(&Header, &RootKey) -> Result<Header, StoreError>,
    ) -> Result<Vec<SlotName>, StoreError> {
        self.commit(|session| {
            let before = &session.state().header;
            let header = change(before, session.root())?;
            let loses = before.opens_offline() && !header.opens_offline();
            if loses && offline == Offline::Required {
                return Err(StoreError::NoOfflineSlot);
            }
            let removed = before.slots_missing_in(&header);
            let mut edit = Edit {
                header: Some(header),
                ..Edit::default()
            };
            let gone = |name: &SlotName| Event::new(What::SlotRemoved).about(name.as_str());
            event
                .into_iter()
                .cloned()
                .chain(removed.iter().map(gone))
                .for_each(|event| edit.tell(event));
            Ok((edit, removed))
        })
    }

    /// Returns the slot whose passphrase or key file opened the key store.
    fn secret_slot(&self) -> Result<Slot, StoreError> {
        let Some(slot) = &self.slot else {
            let names: Vec<_> = self.through.iter().map(SlotName::as_str).collect();
            return Err(StoreError::NotASecret(format!(
                "slots {}",
                names.join(", ")
            )));
        };
        match slot.method.takes() {
            Takes::Passphrase | Takes::Key => Ok(slot.clone()),
            Takes::Other => Err(StoreError::NotASecret(format!("slot {}", slot.name))),
        }
    }

    /// Replaces the secret of the slot that opened the key store. The old secret still opens
    /// earlier copies of the key store.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotASecret`], [`StoreError::PassphraseTooShort`], [`StoreError::Replaced`], or
    /// the engine's error.
    pub fn change_secret(
        &mut self,
        secret: &StoreSecret,
        cost: PassphraseCost,
        now: u64,
    ) -> Result<(), StoreError> {
        let slot = self.secret_slot()?;
        let new = NewSlot::Secret(secret, cost);
        let new = Slot::create(slot.name.clone(), new, now, &self.root)?;
        let event = Event::new(What::SlotChanged).about(slot.name.as_str());
        self.change_header(Some(&event), Offline::Any, |header, _| {
            still_has(header, &slot)?;
            header.with_replaced(&new)
        })?;
        self.slot = Some(new);
        Ok(())
    }

    /// Replaces the root key with one that only `secret` opens, encrypts every row again, and
    /// returns the names of the other slots, which are gone.
    ///
    /// The private keys stay the same, so an earlier copy of the key store still reveals them.
    ///
    /// # Errors
    ///
    /// As [`Self::change_secret`], and the error of a damaged row, which cannot be kept.
    pub fn replace_root(
        &mut self,
        secret: &StoreSecret,
        cost: PassphraseCost,
        now: u64,
    ) -> Result<Vec<SlotName>, StoreError> {
        let slot = self.secret_slot()?;
        let new = NewSlot::Secret(secret, cost);
        let (header, root) = Header::create(*self.root.store_id(), slot.name.clone(), new, now)?;
        for _ in 0..CONFLICTS_MAX {
            let session = self.session()?;
            let before = session.state().header.clone();
            still_has(&before, &slot)?;
            let header = Header {
                created: before.created,
                ..header.clone()
            };
            let edit = encrypting_anew(&session, header.clone(), &root)?;
            let (expected, change) = session.replacement(edit, &root, &self.actor)?;
            drop(session);
            match self.engine.commit(expected, &change) {
                Err(EngineError::Conflict) => {}
                done => {
                    done?;
                    self.root = root;
                    self.slot = header.slots.first().cloned();
                    let names = before.slots.into_iter().map(|slot| slot.name);
                    return Ok(names.filter(|name| *name != slot.name).collect());
                }
            }
        }
        Err(EngineError::Conflict.into())
    }
}

/// Checks that no other process changed the slot that opened the key store.
fn still_has(header: &Header, slot: &Slot) -> Result<(), StoreError> {
    if header.slots.contains(slot) {
        Ok(())
    } else {
        Err(StoreError::Replaced)
    }
}

/// Whether a change may leave the key store without a slot that opens offline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offline {
    /// Refuse it.
    Required,
    /// Allow it.
    Any,
}

/// Returns the edit that writes every row again. Rows of names and bindings get new ids, which the
/// root key determines.
fn encrypting_anew(
    session: &Session<'_>,
    header: Header,
    root: &RootKey,
) -> Result<Edit, StoreError> {
    let (listed, unchecked) = session.listed()?;
    if unchecked > 0 {
        return Err(StoreError::Nodes(unchecked));
    }
    let mut edit = Edit {
        header: Some(header),
        ..Edit::default()
    };
    edit.tell(Event::new(What::RootReplaced));
    for id in listed.into_keys() {
        let plaintext = session.row(id)?.ok_or(StoreError::MissingRow(id))?;
        let new_id = match id.kind() {
            RowKind::Name => root.name_row(&Versions::decode(&plaintext, id)?.name)?,
            RowKind::Binding => {
                let binding = Binding::decode(&plaintext, id)?;
                root.binding_row(&binding.place, &binding.name)?
            }
            _ => id,
        };
        if new_id != id {
            edit.rows.insert(id, None);
        }
        edit.rows.insert(new_id, Some(plaintext));
    }
    Ok(edit)
}
