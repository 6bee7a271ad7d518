//! Changes of the key store: each is atomic, and retried after a conflict with another process.

use casemate_crypto::{
    SecretBytes,
    encoding::{KeyId, PrivateKey, PublicKey},
};

use super::{KeyEntry, KeyStore, open_index};
use crate::{
    KeyName, PassphraseCost, Status, StoreError, StoreSecret,
    engine::{Change, Engine, EngineError, RecordId, Role},
    header::Header,
    index::{Index, IndexEntry, RECORDS_MAX},
    record::Record,
    root::RootKey,
};

/// Maximum number of retries after conflicts.
const CONFLICTS_MAX: usize = 64;

impl<E: Engine> KeyStore<E> {
    /// Returns the change that [`Self::add_private`] would commit, for measuring the sealing alone.
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
        let (record, id) = private_record(name, key, now, Status::default())?;
        self.putting(&record, id)
    }

    /// Generates and stores a key of the suite with this name.
    ///
    /// # Errors
    ///
    /// [`StoreError::UnknownSuite`], [`StoreError::NameTaken`], [`StoreError::Full`], or the
    /// engine's error.
    pub fn generate(
        &mut self,
        name: KeyName,
        suite: &str,
        now: u64,
    ) -> Result<KeyEntry, StoreError> {
        let unknown = || StoreError::UnknownSuite(suite.chars().take(80).collect());
        let key = PrivateKey::generate(suite)?.ok_or_else(unknown)?;
        self.add_private(name, &key, now, Status::default())
    }

    /// Stores a private key generated elsewhere.
    ///
    /// # Errors
    ///
    /// [`StoreError::NameTaken`], [`StoreError::KeyTaken`], [`StoreError::Full`], or the engine's
    /// error.
    pub fn add_private(
        &mut self,
        name: KeyName,
        key: &PrivateKey,
        now: u64,
        status: Status,
    ) -> Result<KeyEntry, StoreError> {
        let (record, id) = private_record(name, key, now, status)?;
        self.add(&record, id)
    }

    /// Stores a public key of someone else.
    ///
    /// # Errors
    ///
    /// As [`Self::add_private`].
    pub fn add_public(
        &mut self,
        name: KeyName,
        key: &PublicKey,
        now: u64,
        status: Status,
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
                status,
            },
            id,
        )
    }

    fn add(&mut self, record: &Record, id: RecordId) -> Result<KeyEntry, StoreError> {
        self.commit(|store| {
            let listing = store.list()?;
            if let Some(taken) = listing.keys.iter().find(|entry| entry.name == record.name) {
                return Err(StoreError::NameTaken(taken.name.to_string()));
            }
            if let Some(taken) = listing.keys.iter().find(|entry| entry.id == id.key) {
                return Err(StoreError::KeyTaken(taken.name.to_string()));
            }
            if store.index.entries.len() >= RECORDS_MAX {
                return Err(StoreError::Full(RECORDS_MAX));
            }
            store.putting(record, id)
        })?;
        self.entry(id)
    }

    /// Changes the status of a key.
    ///
    /// # Errors
    ///
    /// [`StoreError::MissingRecord`] if it was removed, [`StoreError::DamagedRecord`], or the
    /// engine's error.
    pub fn set_status(&mut self, key: KeyId, status: Status) -> Result<KeyEntry, StoreError> {
        let id = self.commit(|store| {
            let id = store.listed(key)?;
            let record = Record {
                status,
                ..store.record(id)?
            };
            Ok((store.putting(&record, id)?, id))
        })?;
        self.entry(id)
    }

    /// Removes a key. A private key cannot be recovered, and neither can content that is sealed to
    /// no other recipient.
    ///
    /// # Errors
    ///
    /// [`StoreError::MissingRecord`] if there is no such key, or the engine's error.
    pub fn remove(&mut self, key: KeyId) -> Result<(), StoreError> {
        self.commit(|store| {
            let id = store.listed(key)?;
            let mut index = store.next_index();
            index.entries.remove(&id);
            Ok(Change {
                index: index.seal(&store.snapshot.header, &store.root)?,
                delete: vec![id.to_bytes()],
                ..Change::default()
            })
        })
    }

    /// Replaces the secret that opened the key store. The old secret still opens earlier copies of
    /// the key store.
    ///
    /// # Errors
    ///
    /// [`StoreError::PassphraseTooShort`], [`StoreError::Replaced`], or the engine's error.
    pub fn change_secret(
        &mut self,
        secret: &StoreSecret,
        cost: PassphraseCost,
    ) -> Result<(), StoreError> {
        let header = self.header.with_slot(self.slot, secret, cost, &self.root)?;
        let before = self.snapshot.header.clone();
        self.commit(|store| {
            if store.snapshot.header != before {
                return Err(StoreError::Replaced);
            }
            let encoded = header.encode();
            Ok(Change {
                index: store.next_index().seal(&encoded, &store.root)?,
                header: Some(encoded),
                ..Change::default()
            })
        })
    }

    /// Replaces the root key with one that only `secret` opens, and encrypts every record again.
    ///
    /// The private keys stay the same, so an earlier copy of the key store still reveals them.
    ///
    /// # Errors
    ///
    /// As [`Self::change_secret`], and the error of a damaged record, which cannot be kept.
    pub fn replace_root(
        &mut self,
        secret: &StoreSecret,
        cost: PassphraseCost,
    ) -> Result<(), StoreError> {
        let (header, root) = self.header.renewed(secret, cost)?;
        let before = self.snapshot.header.clone();
        let encoded = header.encode();
        for _ in 0..CONFLICTS_MAX {
            if self.snapshot.header != before {
                return Err(StoreError::Replaced);
            }
            let (change, index) = self.encrypting_anew(&encoded, &root)?;
            match self.engine.commit(self.snapshot.generation, &change) {
                Err(EngineError::Conflict) => self.reload()?,
                done => {
                    done?;
                    self.snapshot = self.engine.load()?.ok_or(StoreError::Missing)?;
                    (self.header, self.root, self.index, self.slot) = (header, root, index, 0);
                    return Ok(());
                }
            }
        }
        Err(EngineError::Conflict.into())
    }

    fn encrypting_anew(
        &self,
        header: &[u8],
        root: &RootKey,
    ) -> Result<(Change, Index), StoreError> {
        if let Some(damage) = self.list()?.damage.into_iter().next() {
            return Err(damage);
        }
        let mut index = self.next_index();
        let mut put = Vec::with_capacity(index.entries.len());
        for (id, entry) in &mut index.entries {
            let sealed = self.record(*id)?.seal(root, *id, index.generation)?;
            *entry = IndexEntry::new(index.generation, &sealed);
            put.push((id.to_bytes(), sealed));
        }
        let change = Change {
            header: Some(header.to_vec()),
            index: index.seal(header, root)?,
            put,
            ..Change::default()
        };
        Ok((change, index))
    }

    /// Makes a change and commits it, retrying after conflicts.
    fn commit<C, T>(
        &mut self,
        make: impl Fn(&Self) -> Result<C, StoreError>,
    ) -> Result<T, StoreError>
    where
        C: Into<Made<T>>,
    {
        for _ in 0..CONFLICTS_MAX {
            let Made(change, result) = make(self)?.into();
            match self.engine.commit(self.snapshot.generation, &change) {
                Err(EngineError::Conflict) => self.reload()?,
                done => {
                    done?;
                    self.reload()?;
                    return Ok(result);
                }
            }
        }
        Err(EngineError::Conflict.into())
    }

    /// Reloads the content of the engine, which must be the same key store with the same root key.
    fn reload(&mut self) -> Result<(), StoreError> {
        let snapshot = self.engine.load()?.ok_or(StoreError::Missing)?;
        let header = Header::decode(&snapshot.header)?;
        if header.commitment != self.header.commitment {
            return Err(StoreError::Replaced);
        }
        self.index = open_index(&snapshot, &self.root)?;
        (self.header, self.snapshot) = (header, snapshot);
        Ok(())
    }

    /// Returns the index for the next generation.
    fn next_index(&self) -> Index {
        Index {
            generation: self.snapshot.generation.saturating_add(1),
            ..self.index.clone()
        }
    }

    /// Returns the change that writes a record.
    fn putting(&self, record: &Record, id: RecordId) -> Result<Change, StoreError> {
        let mut index = self.next_index();
        let sealed = record.seal(&self.root, id, index.generation)?;
        let entry = IndexEntry::new(index.generation, &sealed);
        index.entries.insert(id, entry);
        Ok(Change {
            index: index.seal(&self.snapshot.header, &self.root)?,
            put: vec![(id.to_bytes(), sealed)],
            ..Change::default()
        })
    }

    /// Returns the record that the index lists for a key.
    fn listed(&self, key: KeyId) -> Result<RecordId, StoreError> {
        let ids = Role::ALL.map(|role| RecordId { key, role });
        let mut listed = ids.iter().filter(|id| self.index.entries.contains_key(id));
        listed
            .next()
            .copied()
            .ok_or(StoreError::MissingRecord(RecordId {
                key,
                role: Role::Public,
            }))
    }
}

/// A change, and the value to return once it is committed.
struct Made<T>(Change, T);

impl From<Change> for Made<()> {
    fn from(change: Change) -> Self {
        Self(change, ())
    }
}

impl<T> From<(Change, T)> for Made<T> {
    fn from((change, result): (Change, T)) -> Self {
        Self(change, result)
    }
}

fn private_record(
    name: KeyName,
    key: &PrivateKey,
    now: u64,
    status: Status,
) -> Result<(Record, RecordId), StoreError> {
    let id = RecordId {
        key: key.public_key()?.id()?,
        role: Role::Private,
    };
    let record = Record {
        name,
        created: now,
        pem: key.to_pem()?,
        status,
    };
    Ok((record, id))
}
