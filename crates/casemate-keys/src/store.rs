//! The key store, over any engine.

mod change;

use std::fmt;

use casemate_crypto::encoding::{KeyId, KeyKind, PrivateKey, PublicKey};

use crate::{
    KeyName, StoreError,
    engine::{Change, Engine, RecordId, Role, Snapshot},
    header::Header,
    index::Index,
    record::Record,
    root::RootKey,
    secret::StoreSecret,
    slot::PassphraseCost,
    status::Status,
};

/// A key in the key store.
#[derive(Debug)]
pub struct KeyEntry {
    /// The user's name for it.
    pub name: KeyName,
    /// Its key id.
    pub id: KeyId,
    /// Whether the private half is stored.
    pub role: Role,
    /// What it is for.
    pub kind: KeyKind,
    /// Name of its suite.
    pub suite: &'static str,
    /// When it was stored, in seconds since 1970-01-01 UTC.
    pub created: u64,
    /// Its validity.
    pub status: Status,
    /// Its public half.
    pub public: PublicKey,
}

/// The content of the key store: the intact keys, and the errors of the others.
#[derive(Debug, Default)]
pub struct Listing {
    /// Keys, by name.
    pub keys: Vec<KeyEntry>,
    /// One error for each record that is damaged, missing or not in the index.
    pub damage: Vec<StoreError>,
}

/// An unlocked key store.
pub struct KeyStore<E> {
    engine: E,
    header: Header,
    /// The slot that was opened.
    slot: usize,
    root: RootKey,
    index: Index,
    snapshot: Snapshot,
}

impl<E: Engine> KeyStore<E> {
    /// Creates an empty key store that `secret` opens; `cost` applies to passphrases only.
    ///
    /// # Errors
    ///
    /// [`StoreError::Exists`], [`StoreError::PassphraseTooShort`], or the engine's error.
    pub fn create(
        mut engine: E,
        secret: &StoreSecret,
        cost: PassphraseCost,
        now: u64,
    ) -> Result<Self, StoreError> {
        if engine.load()?.is_some() {
            return Err(StoreError::Exists);
        }
        let (header, root) = Header::create(secret, cost, now)?;
        let index = Index {
            generation: 1,
            ..Index::default()
        };
        let encoded = header.encode();
        let change = Change {
            index: index.seal(&encoded, &root)?,
            header: Some(encoded),
            ..Change::default()
        };
        engine.commit(0, &change)?;
        let snapshot = engine.load()?.ok_or(StoreError::Missing)?;
        Ok(Self {
            engine,
            header,
            slot: 0,
            root,
            index,
            snapshot,
        })
    }

    /// Opens a key store and verifies its index.
    ///
    /// # Errors
    ///
    /// [`StoreError::Missing`], [`StoreError::WrongPassphrase`], [`StoreError::WrongKey`],
    /// [`StoreError::NeedsPassphrase`], [`StoreError::NeedsKey`], [`StoreError::Index`],
    /// [`StoreError::Header`], or the engine's error. Damage to single records is not an error
    /// here; [`Self::list`] reports it.
    pub fn unlock(engine: E, secret: &StoreSecret) -> Result<Self, StoreError> {
        let snapshot = engine.load()?.ok_or(StoreError::Missing)?;
        let header = Header::decode(&snapshot.header)?;
        let (root, slot) = header.unlock(secret)?;
        let index = open_index(&snapshot, &root)?;
        Ok(Self {
            engine,
            header,
            slot,
            root,
            index,
            snapshot,
        })
    }

    /// Returns the root key, for constant-time measurements.
    #[cfg(feature = "hazmat")]
    pub fn root_secret(&self) -> &casemate_crypto::Secret<32> {
        self.root.secret()
    }

    /// Returns the content of the engine, for copying it to another one.
    #[cfg(feature = "hazmat")]
    pub const fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Returns whether the header commits to `root`, for measuring the comparison alone.
    ///
    /// # Errors
    ///
    /// [`StoreError::Header`], [`StoreError::Crypto`].
    #[cfg(feature = "hazmat")]
    pub fn is_committed_to(&self, root: &casemate_crypto::Secret<32>) -> Result<bool, StoreError> {
        let header = Header::decode(&self.snapshot.header)?;
        let secret = casemate_crypto::Secret::copy_from("root key", root.expose())?;
        Ok(RootKey::new(secret, header.store_id).is_committed(&header.commitment)?)
    }

    /// Lists the keys by name, and the damage.
    ///
    /// # Errors
    ///
    /// [`StoreError::Crypto`] only; damage is part of the listing.
    pub fn list(&self) -> Result<Listing, StoreError> {
        let mut listing = Listing::default();
        for id in self.index.entries.keys() {
            match self.entry(*id) {
                Ok(entry) => listing.keys.push(entry),
                Err(StoreError::Crypto(error)) => return Err(error.into()),
                Err(damage) => listing.damage.push(damage),
            }
        }
        let listed = |id: &RecordId| self.index.entries.contains_key(id);
        let foreign = self
            .snapshot
            .records
            .keys()
            .filter_map(|id| RecordId::from_bytes(id))
            .filter(|id| !listed(id))
            .map(StoreError::ForeignRecord);
        listing.damage.extend(foreign);
        listing.keys.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(listing)
    }

    /// Finds a key by its name.
    ///
    /// # Errors
    ///
    /// If no key has the name, the error of the first damaged record, which may be the requested
    /// one.
    pub fn by_name(&self, name: &KeyName) -> Result<Option<KeyEntry>, StoreError> {
        let listing = self.list()?;
        let mut keys = listing.keys.into_iter();
        match keys.find(|entry| entry.name == *name) {
            Some(entry) => Ok(Some(entry)),
            None => listing.damage.into_iter().next().map_or(Ok(None), Err),
        }
    }

    /// Finds a key by its id.
    ///
    /// # Errors
    ///
    /// [`StoreError::DamagedRecord`], [`StoreError::MissingRecord`].
    pub fn by_id(&self, key: KeyId) -> Result<Option<KeyEntry>, StoreError> {
        let mut ids = Role::ALL.map(|role| RecordId { key, role }).into_iter();
        let listed = ids.find(|id| self.index.entries.contains_key(id));
        listed.map(|id| self.entry(id)).transpose()
    }

    /// Returns the private half of a key.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoPrivateKey`] if only the public half is stored;
    /// [`StoreError::DamagedRecord`].
    pub fn private_key(&self, entry: &KeyEntry) -> Result<PrivateKey, StoreError> {
        if entry.role != Role::Private {
            return Err(StoreError::NoPrivateKey(entry.name.to_string()));
        }
        let id = RecordId {
            key: entry.id,
            role: Role::Private,
        };
        Ok(PrivateKey::from_pem(self.record(id)?.pem.expose())?)
    }

    fn record(&self, id: RecordId) -> Result<Record, StoreError> {
        let entry = self
            .index
            .entries
            .get(&id)
            .ok_or(StoreError::MissingRecord(id))?;
        let sealed = self
            .snapshot
            .records
            .get(&id.to_bytes())
            .ok_or(StoreError::MissingRecord(id))?;
        if !entry.matches(sealed) {
            return Err(StoreError::DamagedRecord(id));
        }
        Record::open(sealed, &self.root, id, entry.generation)
    }

    fn entry(&self, id: RecordId) -> Result<KeyEntry, StoreError> {
        let record = self.record(id)?;
        let public = record.public_key(id)?;
        Ok(KeyEntry {
            name: record.name,
            id: id.key,
            role: id.role,
            kind: public.kind(),
            suite: public.suite_name(),
            created: record.created,
            status: record.status,
            public,
        })
    }
}

fn open_index(snapshot: &Snapshot, root: &RootKey) -> Result<Index, StoreError> {
    let Snapshot {
        header,
        index,
        generation,
        records,
    } = snapshot;
    let index = Index::open(header, index, *generation, root)?;
    // One error for each record would hide what happened.
    if records.is_empty() && !index.entries.is_empty() {
        return Err(StoreError::Emptied(index.entries.len()));
    }
    Ok(index)
}

impl<E> fmt::Debug for KeyStore<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyStore")
            .field("keys", &self.index.entries.len())
            .finish_non_exhaustive()
    }
}
