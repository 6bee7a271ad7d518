//! The key store, over any engine.

mod bindings;
mod change;
mod lifecycle;
mod log;
mod migrate;
mod read;
mod session;
mod slots;
mod uses;

use std::{cell::RefCell, fmt, sync::Arc};

use casemate_crypto::{Secret, hash::HASH_BYTES, random};

use crate::{
    StoreError,
    engine::{Change, Engine, EngineError, Head},
    header::{Header, Slots, Unlocked},
    index::Index,
    log::Actor,
    name::SlotName,
    root::RootKey,
    secret::StoreSecret,
    slot::{NewSlot, Openers, PassphraseCost, Slot},
};
pub use lifecycle::Rotated;
pub use log::{LogVerified, VisitLog};
pub use read::{KeyEntry, Listing};
use session::{Session, State};
pub use slots::Offline;
pub use uses::KeyUse;

/// An unlocked key store.
///
/// Every method works on the newest state, also if another process made it.
pub struct KeyStore<E> {
    engine: E,
    root: RootKey,
    /// The slots that opened it.
    through: Vec<SlotName>,
    /// The single slot that opened it, as it was then.
    slot: Option<Slot>,
    /// The state that was verified last.
    state: RefCell<Arc<State>>,
    /// Who uses it.
    actor: Actor,
}

impl<E: Engine> KeyStore<E> {
    /// Creates an empty key store that `secret` opens; `cost` applies to passphrases only.
    ///
    /// # Errors
    ///
    /// [`StoreError::Exists`], [`StoreError::PassphraseTooShort`], or the engine's error.
    pub fn create(
        engine: E,
        secret: &StoreSecret,
        cost: PassphraseCost,
        now: u64,
    ) -> Result<Self, StoreError> {
        let new = NewSlot::Secret(secret, cost);
        Self::create_with(engine, SlotName::main(), new, now)
    }

    /// Creates an empty key store that one slot opens.
    ///
    /// # Errors
    ///
    /// As [`Self::create`], and [`StoreError::Keeper`].
    pub fn create_with(
        engine: E,
        name: SlotName,
        new: NewSlot<'_>,
        now: u64,
    ) -> Result<Self, StoreError> {
        if engine.view()?.head()?.is_some() {
            return Err(StoreError::Exists);
        }
        let (header, root) = Header::create(random::bytes()?, name.clone(), new, now)?;
        let index = Index {
            generation: 1,
            root: None,
            log: None,
        };
        let encoded = header.encode();
        let change = Change {
            index: index.seal(&encoded, &root)?,
            header: Some(encoded),
            put: Vec::new(),
        };
        engine.commit(0, &change)?;
        Self::opened(engine, root, vec![name])
    }

    /// Opens a key store and verifies its index. A key store of version 1 is migrated.
    ///
    /// # Errors
    ///
    /// [`StoreError::Missing`], [`StoreError::WrongPassphrase`], [`StoreError::WrongKey`],
    /// [`StoreError::NeedsPassphrase`], [`StoreError::NeedsKey`], [`StoreError::Locked`],
    /// [`StoreError::Index`], [`StoreError::Header`], [`StoreError::NotMigrated`], or the engine's
    /// error. Damage to single rows is not an error here; [`Self::list`] reports it.
    pub fn unlock<'a>(engine: E, openers: impl Into<Openers<'a>>) -> Result<Self, StoreError> {
        Self::unlock_as(engine, openers, Actor::default())
    }

    /// As [`Self::unlock`], by someone whom the audit log names, if there is one.
    ///
    /// # Errors
    ///
    /// As [`Self::unlock`], and [`StoreError::LogReadOnly`].
    pub fn unlock_as<'a>(
        engine: E,
        openers: impl Into<Openers<'a>>,
        actor: Actor,
    ) -> Result<Self, StoreError> {
        let mut store = Self::unlocked(engine, openers.into())?;
        store.actor = actor;
        store.note_opened()?;
        Ok(store)
    }

    fn unlocked(engine: E, openers: Openers<'_>) -> Result<Self, StoreError> {
        let mut head = engine.view()?.head()?.ok_or(StoreError::Missing)?;
        if Header::version_of(&head.header)? == 1 {
            match migrate::migrate(&engine, &head, openers) {
                Ok(root) => return Self::opened(engine, root, vec![SlotName::main()]),
                // Another process migrated it.
                Err(StoreError::Engine(EngineError::Conflict)) => {
                    head = engine.view()?.head()?.ok_or(StoreError::Missing)?;
                }
                Err(error) => return Err(error),
            }
        }
        let header = Header::decode(&head.header)?;
        let Unlocked { root, through } = header.unlock(openers)?;
        let slot = match through.as_slice() {
            [name] => header.slot(name).ok().cloned(),
            _ => None,
        };
        // As it was when it opened: another process may have changed it meanwhile.
        Ok(Self {
            slot,
            ..Self::opened(engine, root, through)?
        })
    }

    fn opened(engine: E, root: RootKey, through: Vec<SlotName>) -> Result<Self, StoreError> {
        let view = engine.view()?;
        let head = view.head()?.ok_or(StoreError::Missing)?;
        let state = State::open(&*view, head, &root)?;
        drop(view);
        let slot = match through.as_slice() {
            [name] => state.header.slot(name).ok().cloned(),
            _ => None,
        };
        Ok(Self {
            engine,
            root,
            through,
            slot,
            state: RefCell::new(Arc::new(state)),
            actor: Actor::default(),
        })
    }

    /// Does something that the audit log says `by` did.
    ///
    /// # Errors
    ///
    /// The errors of `work`.
    pub fn on_behalf_of<T>(
        &mut self,
        by: String,
        work: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let before = std::mem::replace(&mut self.actor.by, by);
        let done = work(self);
        self.actor.by = before;
        done
    }

    /// Returns the slots that opened it: one, or several of a group.
    pub fn opened_through(&self) -> &[SlotName] {
        &self.through
    }

    /// Begins to read the newest state.
    fn session(&self) -> Result<Session<'_>, StoreError> {
        let view = self.engine.view()?;
        let head = view.head()?.ok_or(StoreError::Missing)?;
        let known = Arc::clone(&self.state.borrow());
        let is_other = known.head != head;
        if is_other && head.generation <= known.head.generation {
            return Err(StoreError::WentBack);
        }
        let state = if is_other {
            let newest = Arc::new(State::verify(head, &self.root)?);
            self.state.replace(Arc::clone(&newest));
            newest
        } else {
            known
        };
        Ok(Session::new(view, &self.root, state, &self.state))
    }

    /// Copies the whole key store into an empty engine, and opens the copy. It opens with the
    /// same slots.
    ///
    /// # Errors
    ///
    /// The first damage of a row or of the log, which the copy would have as well, or the engines'
    /// errors.
    pub fn copy_to<F: Engine>(&self, target: F) -> Result<KeyStore<F>, StoreError> {
        target.fill(&*self.engine.view()?)?;
        let copy = self.reopened(target)?;
        if let Some(damage) = copy.list()?.damage.into_iter().next() {
            return Err(damage);
        }
        if copy.has_log()? {
            copy.verify_log(&mut |_, _, _| Ok::<(), StoreError>(()))?;
        }
        Ok(copy)
    }

    /// Opens a copy of this key store without asking its slots.
    ///
    /// # Errors
    ///
    /// [`StoreError::Replaced`] if it has another root key, and as [`Self::unlock`].
    pub fn reopened<F: Engine>(&self, engine: F) -> Result<KeyStore<F>, StoreError> {
        let secret = Secret::copy_from("root key", self.root.secret().expose())?;
        let root = RootKey::new(secret, *self.root.store_id());
        let mut store = KeyStore::opened(engine, root, self.through.clone())?;
        store.actor = self.actor.clone();
        Ok(store)
    }

    /// Returns the number of changes so far.
    ///
    /// # Errors
    ///
    /// The engine's error.
    pub fn generation(&self) -> Result<u64, StoreError> {
        Ok(self.session()?.state().index.generation)
    }

    /// Returns how many rows there are, and the hash of all of them, which is another one after
    /// every change but the growth of the log.
    ///
    /// # Errors
    ///
    /// The engine's error.
    pub fn content(&self) -> Result<(u64, [u8; HASH_BYTES]), StoreError> {
        let root = self.session()?.state().index.root;
        Ok(root.map_or((0, [0; HASH_BYTES]), |root| (root.rows, root.hash)))
    }

    /// Returns the engine.
    pub const fn engine(&self) -> &E {
        &self.engine
    }

    /// Returns the root key, for constant-time measurements.
    #[cfg(feature = "hazmat")]
    pub fn root_secret(&self) -> &Secret<32> {
        self.root.secret()
    }

    /// Returns whether the header commits to `root`, for measuring the comparison alone.
    ///
    /// # Errors
    ///
    /// [`StoreError::Header`], [`StoreError::Crypto`].
    #[cfg(feature = "hazmat")]
    pub fn is_committed_to(&self, root: &Secret<32>) -> Result<bool, StoreError> {
        let header = self.session()?.state().header.clone();
        let secret = Secret::copy_from("root key", root.expose())?;
        Ok(RootKey::new(secret, header.store_id).is_committed(&header.commitment)?)
    }
}

/// Reads which slots a key store has, without opening it. Nothing proves that they are authentic.
///
/// # Errors
///
/// [`StoreError::Missing`], [`StoreError::Header`], [`StoreError::Version`],
/// [`StoreError::SlotsOfVersion1`], or the engine's error.
pub fn slots_of(engine: &impl Engine) -> Result<Slots, StoreError> {
    let Head { header, .. } = engine.view()?.head()?.ok_or(StoreError::Missing)?;
    if Header::version_of(&header)? == 1 {
        return Err(StoreError::SlotsOfVersion1);
    }
    Ok(Header::decode(&header)?.describe())
}

impl<E> fmt::Debug for KeyStore<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyStore")
            .field("rows", &self.state.borrow().index.rows())
            .finish_non_exhaustive()
    }
}
