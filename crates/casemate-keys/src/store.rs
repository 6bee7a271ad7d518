//! The rules of the store, over any engine.

use std::fmt;

use casemate_crypto::{
    SecretBytes,
    encoding::{KeyId, KeyKind, PrivateKey, PublicKey},
};

use crate::{
    KeyName, StoreError,
    engine::{Change, Engine, RecordId, Role, Snapshot},
    header::Header,
    index::{Index, IndexEntry, RECORDS_MAX},
    record::Record,
    root::RootKey,
    secret::StoreSecret,
    slot::PassphraseCost,
};

/// A key of the store.
#[derive(Debug)]
pub struct KeyEntry {
    /// The user's name for it.
    pub name: KeyName,
    /// Its id.
    pub id: KeyId,
    /// Whether the private half is here.
    pub role: Role,
    /// What it is for.
    pub kind: KeyKind,
    /// Name of its suite.
    pub suite: &'static str,
    /// When it was stored, in seconds since 1970 UTC.
    pub created: u64,
    /// Its public half.
    pub public: PublicKey,
}

/// What the store holds: the good keys, and what is wrong with the others.
#[derive(Debug, Default)]
pub struct Listing {
    /// Keys, by name.
    pub keys: Vec<KeyEntry>,
    /// One error for each record that is damaged, missing or not listed.
    pub damage: Vec<StoreError>,
}

/// An unlocked key store.
pub struct KeyStore<E> {
    engine: E,
    root: RootKey,
    index: Index,
    snapshot: Snapshot,
}

impl<E: Engine> KeyStore<E> {
    /// Makes a new, empty store that `secret` opens; `cost` counts for a passphrase only.
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
        let change = Change {
            header: Some(header.encode()),
            index: index.seal(&root)?,
            ..Change::default()
        };
        engine.commit(0, &change)?;
        let snapshot = engine.load()?.ok_or(StoreError::Missing)?;
        Ok(Self {
            engine,
            root,
            index,
            snapshot,
        })
    }

    /// Opens a store and checks its index.
    ///
    /// # Errors
    ///
    /// [`StoreError::Missing`], [`StoreError::WrongPassphrase`], [`StoreError::WrongKey`], [`StoreError::NeedsPassphrase`],
    /// [`StoreError::NeedsKey`], [`StoreError::Index`], [`StoreError::Header`], or the
    /// engine's error. Damage to single records is no error here; [`Self::list`] names it.
    pub fn unlock(engine: E, secret: &StoreSecret) -> Result<Self, StoreError> {
        let snapshot = engine.load()?.ok_or(StoreError::Missing)?;
        let root = Header::decode(&snapshot.header)?.unlock(secret)?;
        let index = Index::open(&snapshot.index, &root)?;
        Ok(Self {
            engine,
            root,
            index,
            snapshot,
        })
    }

    /// The root key, for measuring what handles it.
    #[cfg(feature = "hazmat")]
    pub fn root_secret(&self) -> &casemate_crypto::Secret<32> {
        self.root.secret()
    }

    /// What the engine holds, for putting it into another one.
    #[cfg(feature = "hazmat")]
    pub const fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Whether the store's header commits to `root`, for measuring the comparison alone.
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
            .filter_map(|id| RecordId::from_bytes(id));
        let foreign = foreign
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
    /// If there is none, the error of the first damaged record, which may be the one asked for.
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

    /// The private half of a key.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoPrivateKey`] for somebody else's key; [`StoreError::DamagedRecord`].
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

    /// What [`Self::add_private`] would commit, for measuring the sealing alone.
    ///
    /// # Errors
    ///
    /// As [`Self::add_private`].
    #[cfg(feature = "hazmat")]
    pub fn change_adding(
        &self,
        name: KeyName,
        key: &PrivateKey,
        now: u64,
    ) -> Result<Change, StoreError> {
        let id = RecordId {
            key: key.public_key()?.id()?,
            role: Role::Private,
        };
        let pem = key.to_pem()?;
        let record = Record {
            name,
            created: now,
            pem,
        };
        Ok(self.sealed_change(&record, id)?.0)
    }

    /// Makes and stores a new key of the suite with this name.
    ///
    /// # Errors
    ///
    /// [`StoreError::UnknownSuite`], [`StoreError::NameTaken`], [`StoreError::Full`], or the engine's error.
    pub fn generate(
        &mut self,
        name: KeyName,
        suite: &str,
        now: u64,
    ) -> Result<KeyEntry, StoreError> {
        let unknown = || StoreError::UnknownSuite(suite.chars().take(80).collect());
        let key = PrivateKey::generate(suite)?.ok_or_else(unknown)?;
        self.add_private(name, &key, now)
    }

    /// Stores a private key that was made elsewhere.
    ///
    /// # Errors
    ///
    /// [`StoreError::NameTaken`], [`StoreError::KeyTaken`], [`StoreError::Full`], or the engine's error.
    pub fn add_private(
        &mut self,
        name: KeyName,
        key: &PrivateKey,
        now: u64,
    ) -> Result<KeyEntry, StoreError> {
        let id = RecordId {
            key: key.public_key()?.id()?,
            role: Role::Private,
        };
        self.add(
            &Record {
                name,
                created: now,
                pem: key.to_pem()?,
            },
            id,
        )
    }

    /// Stores somebody else's public key.
    ///
    /// # Errors
    ///
    /// As [`Self::add_private`].
    pub fn add_public(
        &mut self,
        name: KeyName,
        key: &PublicKey,
        now: u64,
    ) -> Result<KeyEntry, StoreError> {
        let id = RecordId {
            key: key.id()?,
            role: Role::Public,
        };
        let pem = SecretBytes::new(key.to_pem()?.into_bytes());
        self.add(
            &Record {
                name,
                created: now,
                pem,
            },
            id,
        )
    }

    fn add(&mut self, record: &Record, id: RecordId) -> Result<KeyEntry, StoreError> {
        let listing = self.list()?;
        if let Some(taken) = listing.keys.iter().find(|entry| entry.name == record.name) {
            return Err(StoreError::NameTaken(taken.name.to_string()));
        }
        if let Some(taken) = listing.keys.iter().find(|entry| entry.id == id.key) {
            return Err(StoreError::KeyTaken(taken.name.to_string()));
        }
        if self.index.entries.len() >= RECORDS_MAX {
            return Err(StoreError::Full(RECORDS_MAX));
        }
        let (change, index) = self.sealed_change(record, id)?;
        self.engine.commit(self.snapshot.generation, &change)?;
        self.snapshot = self.engine.load()?.ok_or(StoreError::Missing)?;
        self.index = index;
        self.entry(id)
    }

    /// The change that adds a record, and the index after it.
    fn sealed_change(&self, record: &Record, id: RecordId) -> Result<(Change, Index), StoreError> {
        let generation = self.snapshot.generation.saturating_add(1);
        let sealed = record.seal(&self.root, id, generation)?;
        let mut index = self.index.clone();
        index.generation = generation;
        index
            .entries
            .insert(id, IndexEntry::new(generation, &sealed));
        let change = Change {
            index: index.seal(&self.root)?,
            put: vec![(id.to_bytes(), sealed)],
            ..Change::default()
        };
        Ok((change, index))
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
            public,
        })
    }
}

impl<E> fmt::Debug for KeyStore<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyStore")
            .field("keys", &self.index.entries.len())
            .finish_non_exhaustive()
    }
}
