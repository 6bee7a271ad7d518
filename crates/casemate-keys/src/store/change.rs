//! Changes of keys: each is atomic, and retried after a conflict with another process.

use casemate_audit::What;
use casemate_crypto::encoding::{KeyId, KeyKind, PrivateKey, PublicKey};

use super::{
    KeyStore,
    bindings::bindings,
    read::{KeyEntry, entry_of, version_of},
    session::{Edit, Session},
};
use crate::{
    KeyName, Role, State, Status, StoreError, Versions,
    engine::{Engine, EngineError},
    log::Event,
    record::Record,
    row::{RowId, RowKind},
    status::End,
    tombstone::Tombstone,
    versions::{RotationPolicy, Version},
};

/// Maximum number of retries after conflicts.
pub(super) const CONFLICTS_MAX: usize = 64;

impl<E: Engine> KeyStore<E> {
    /// Returns the change that [`Self::add_private`] would commit, for measuring the sealing alone,
    /// which begins when `prepared` is called.
    ///
    /// # Errors
    ///
    /// As [`Self::add_private`].
    #[cfg(feature = "hazmat")]
    pub fn change_adding(
        &self,
        name: &KeyName,
        key: &PrivateKey,
        now: u64,
        prepared: &dyn Fn(),
    ) -> Result<crate::engine::Change, StoreError> {
        let session = self.session()?;
        let (made, key) = (Made::at(now), NewKey::Private(key));
        let edit = adding(&session, name, &key, made)?.0;
        prepared();
        Ok(session.change(edit, &self.actor)?.1)
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
        let key = generate(suite)?;
        self.add(name, &NewKey::Private(&key), Made::at(now))
    }

    /// Generates and stores keys of one suite in one change: all of them or none.
    ///
    /// # Errors
    ///
    /// As [`Self::generate`].
    pub fn generate_all(
        &mut self,
        names: &[KeyName],
        suite: &str,
        now: u64,
    ) -> Result<(), StoreError> {
        let keys: Vec<_> = names
            .iter()
            .map(|_| generate(suite))
            .collect::<Result<_, _>>()?;
        self.commit(|session| {
            let mut edit = Edit::default();
            for (name, key) in names.iter().zip(&keys) {
                if edit.rows.contains_key(&session.root().name_row(name)?) {
                    return Err(StoreError::NameTaken(name.to_string()));
                }
                let (one, _) = adding(session, name, &NewKey::Private(key), Made::at(now))?;
                edit.rows.extend(one.rows);
                edit.events.extend(one.events);
            }
            Ok((edit, ()))
        })
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
        self.add(name, &NewKey::Private(key), Made::elsewhere(now, status))
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
        self.add(name, &NewKey::Public(key), Made::elsewhere(now, status))
    }

    fn add(&mut self, name: KeyName, key: &NewKey<'_>, made: Made) -> Result<KeyEntry, StoreError> {
        self.commit(move |session| adding(session, &name, key, made))
    }

    /// Changes the status of a key.
    ///
    /// # Errors
    ///
    /// [`StoreError::MissingRow`] if it was removed, [`StoreError::DamagedRow`], or the engine's
    /// error.
    pub fn set_status(&mut self, key: KeyId, status: Status) -> Result<KeyEntry, StoreError> {
        self.commit(|session| {
            let id = known(session, key)?;
            let record = Record {
                status,
                ..session.record(id)?
            };
            let state = version_of(session, &record, id)?.state;
            let mut edit = Edit::default();
            edit.rows.insert(id, Some(record.encode()));
            let about = status.to_string();
            edit.tell(Event::of_key(What::Status, &record.name, record.version, key).about(about));
            Ok((edit, entry_of(record, id, state)?))
        })
    }

    /// Removes every version of a name. Private keys cannot be recovered, and neither can content
    /// that is sealed to no other recipient.
    ///
    /// The numbers of the versions stay known, so that the name never means another key by the same
    /// number. Returns the keys that could not be read: as nothing is known of their validity, they
    /// count as compromised.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoKey`], or the engine's error.
    pub fn remove(&mut self, name: &KeyName) -> Result<Vec<KeyId>, StoreError> {
        self.commit(|session| {
            let row = session.root().name_row(name)?;
            let missing = || StoreError::NoKey(name.to_string());
            let mut versions = session.versions(name)?.ok_or_else(missing)?;
            versions.current().ok_or_else(missing)?;
            let mut edit = Edit::default();
            let mut unread = Vec::new();
            for version in &mut versions.versions {
                if version.state == State::Destroyed {
                    continue;
                }
                let key = version.key;
                edit.tell(Event::of_key(What::Removed, name, version.number, key));
                match bury(session, &mut edit, version) {
                    Err(StoreError::DamagedRow(_) | StoreError::MissingRow(_)) => {
                        bury_unread(&mut edit, name, version);
                        unread.push(key);
                    }
                    done => done?,
                }
                version.state = State::Destroyed;
            }
            versions.policy = RotationPolicy::NONE;
            edit.rows.insert(row, Some(versions.encode()));
            for binding in bindings(session, name)? {
                let row = session.root().binding_row(&binding.place, name)?;
                edit.rows.insert(row, None);
            }
            Ok((edit, unread))
        })
    }

    /// Makes a change and commits it, retrying after conflicts. Nothing is written for none.
    pub(super) fn commit<T>(
        &self,
        make: impl Fn(&Session<'_>) -> Result<(Edit, T), StoreError>,
    ) -> Result<T, StoreError> {
        for _ in 0..CONFLICTS_MAX {
            let session = self.session()?;
            let (edit, result) = make(&session)?;
            if edit.is_empty() {
                return Ok(result);
            }
            let (expected, change) = session.change(edit, &self.actor)?;
            drop(session);
            match self.engine.commit(expected, &change) {
                Err(EngineError::Conflict) => {}
                done => {
                    done?;
                    return Ok(result);
                }
            }
        }
        Err(EngineError::Conflict.into())
    }
}

pub(super) fn generate(suite: &str) -> Result<PrivateKey, StoreError> {
    let unknown = || StoreError::UnknownSuite(suite.chars().take(80).collect());
    PrivateKey::generate(suite)?.ok_or_else(unknown)
}

pub(super) const fn usage_row(key: KeyId) -> RowId {
    RowId::new(*key.as_bytes(), RowKind::Usage)
}

/// Returns the row of a key, or the error for a key that is not there.
fn known(session: &Session<'_>, key: KeyId) -> Result<RowId, StoreError> {
    let missing = StoreError::MissingRow(RowId::new(*key.as_bytes(), RowKind::Public));
    session.row_of_key(key)?.ok_or(missing)
}

/// A key that is stored.
pub(super) enum NewKey<'a> {
    Private(&'a PrivateKey),
    Public(&'a PublicKey),
}

impl NewKey<'_> {
    fn record(
        &self,
        versions: &Versions,
        now: u64,
        status: Status,
    ) -> Result<(Record, RowId), StoreError> {
        let (name, number) = (versions.name.clone(), versions.next());
        match self {
            Self::Private(key) => Record::of_private(name, number, key, now, status),
            Self::Public(key) => Record::of_public(name, number, key, now, status),
        }
    }

    pub(super) fn kind(&self) -> Result<(KeyKind, Role), StoreError> {
        match self {
            Self::Private(key) => Ok((key.public_key()?.kind(), Role::Private)),
            Self::Public(key) => Ok((key.kind(), Role::Public)),
        }
    }
}

/// How a key came to be.
#[derive(Clone, Copy)]
pub(super) struct Made {
    pub(super) now: u64,
    pub(super) status: Status,
    pub(super) what: What,
}

impl Made {
    /// It was generated now.
    const fn at(now: u64) -> Self {
        Self {
            now,
            status: Status::NONE,
            what: What::Created,
        }
    }

    /// It was made elsewhere.
    pub(super) const fn elsewhere(now: u64, status: Status) -> Self {
        Self {
            now,
            status,
            what: What::Imported,
        }
    }
}

/// Returns the edit that adds a key under a name that has none, and its entry.
fn adding(
    session: &Session<'_>,
    name: &KeyName,
    key: &NewKey<'_>,
    made: Made,
) -> Result<(Edit, KeyEntry), StoreError> {
    // A name keeps the numbers of the versions that were removed.
    let versions = session.versions(name)?;
    let mut versions = versions.unwrap_or_else(|| Versions::new(name.clone()));
    if versions.current().is_some() {
        return Err(StoreError::NameTaken(name.to_string()));
    }
    appending(session, &mut versions, key, (made, State::Active))
}

/// Returns the edit that appends a version, and its entry.
pub(super) fn appending(
    session: &Session<'_>,
    versions: &mut Versions,
    key: &NewKey<'_>,
    (made, state): (Made, State),
) -> Result<(Edit, KeyEntry), StoreError> {
    let (mut record, id) = key.record(versions, made.now, made.status)?;
    if let Some(taken) = session.row_of_key(id.key())? {
        let taken = session.record(taken)?.name;
        return Err(StoreError::KeyTaken(taken.to_string()));
    }
    let mut edit = Edit::default();
    let gone = Tombstone::row(id.key());
    if let Some(plaintext) = session.row(gone)? {
        let before = Tombstone::decode(&plaintext, gone)?.status;
        if matches!(before.end, Some(End::Compromised { .. })) {
            return Err(StoreError::WasCompromised(id.key()));
        }
        record.status.end = record.status.end.or(before.end);
        edit.rows.insert(gone, None);
    }
    versions.push(Version {
        number: record.version,
        key: id.key(),
        role: Role::of(id.kind()).ok_or(StoreError::DamagedRow(id))?,
        state,
        since: record.created,
    })?;
    let name = &versions.name;
    edit.tell(Event::of_key(made.what, name, record.version, id.key()).about(state.as_str()));
    let row = session.root().name_row(name)?;
    edit.rows.insert(row, Some(versions.encode()));
    edit.rows.insert(id, Some(record.encode()));
    Ok((edit, entry_of(record, id, state)?))
}

/// Deletes the row of a key. Of a signing key, the status stays known: what it signed may still be
/// around.
pub(super) fn bury(
    session: &Session<'_>,
    edit: &mut Edit,
    version: &Version,
) -> Result<(), StoreError> {
    let id = version.row();
    let record = session.record(id)?;
    if record.public_key(id)?.kind() != KeyKind::Kem {
        let tombstone = Tombstone {
            name: record.name,
            version: record.version,
            last: version.state,
            status: record.status,
        };
        let row = Tombstone::row(version.key);
        edit.rows.insert(row, Some(tombstone.encode()));
    }
    edit.rows.insert(id, None);
    // Most keys are not counted.
    edit.rows.insert(usage_row(version.key), None);
    Ok(())
}

/// Deletes the row of a key that cannot be read. It may be one that was compromised.
fn bury_unread(edit: &mut Edit, name: &KeyName, version: &Version) {
    let tombstone = Tombstone {
        name: name.clone(),
        version: version.number,
        last: version.state,
        status: Status {
            end: Some(End::Compromised { at: version.since }),
            ..Status::default()
        },
    };
    let row = Tombstone::row(version.key);
    edit.rows.insert(row, Some(tombstone.encode()));
    edit.rows.insert(version.row(), None);
    edit.rows.insert(usage_row(version.key), None);
}
