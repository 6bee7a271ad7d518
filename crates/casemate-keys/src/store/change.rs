//! Changes of keys: each is atomic, and retried after a conflict with another process.

use casemate_audit::What;
use casemate_crypto::encoding::{KeyId, KeyKind, PrivateKey, PublicKey};

use super::{
    KeyStore,
    read::{KeyEntry, entry, version_of},
    session::{Edit, Session},
};
use crate::{
    KeyName, State, Status, StoreError, Versions,
    engine::{Engine, EngineError},
    log::Event,
    record::Record,
    row::{RowId, RowKind},
    tombstone::Tombstone,
    versions::Version,
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
        name: KeyName,
        key: &PrivateKey,
        now: u64,
        prepared: &dyn Fn(),
    ) -> Result<crate::engine::Change, StoreError> {
        let new = Record::of_private(name, 1, key, now, Status::default())?;
        let session = self.session()?;
        let edit = adding(&session, &new.0, new.1)?;
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
        self.add_private(name, &key, now, Status::default())
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
        let mut records = Vec::with_capacity(names.len());
        for name in names {
            let key = generate(suite)?;
            records.push(Record::of_private(
                name.clone(),
                1,
                &key,
                now,
                Status::default(),
            )?);
        }
        self.commit(|session| {
            let mut edit = Edit::default();
            for (record, id) in &records {
                let row = session.root().name_row(&record.name)?;
                if edit.rows.contains_key(&row) {
                    return Err(StoreError::NameTaken(record.name.to_string()));
                }
                let one = adding(session, record, *id)?;
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
        let (record, id) = Record::of_private(name, 1, key, now, status)?;
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
        let (record, id) = Record::of_public(name, 1, key, now, status)?;
        self.add(&record, id)
    }

    fn add(&mut self, record: &Record, id: RowId) -> Result<KeyEntry, StoreError> {
        self.commit(|session| Ok((adding(session, record, id)?, ())))?;
        entry(&self.session()?, id, State::Active)
    }

    /// Changes the status of a key.
    ///
    /// # Errors
    ///
    /// [`StoreError::MissingRow`] if it was removed, [`StoreError::DamagedRow`], or the engine's
    /// error.
    pub fn set_status(&mut self, key: KeyId, status: Status) -> Result<KeyEntry, StoreError> {
        let (id, state) = self.commit(|session| {
            let id = known(session, key)?;
            let record = Record {
                status,
                ..session.record(id)?
            };
            let state = version_of(session, &record, id)?.state;
            let mut edit = Edit::default();
            edit.rows.insert(id, Some(record.encode()));
            let about = format!("{status:?}");
            edit.tell(Event::of_key(What::Status, &record.name, record.version, key).about(about));
            Ok((edit, (id, state)))
        })?;
        entry(&self.session()?, id, state)
    }

    /// Removes every version of a name. Private keys cannot be recovered, and neither can content
    /// that is sealed to no other recipient.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoKey`], or the engine's error.
    pub fn remove(&mut self, name: &KeyName) -> Result<(), StoreError> {
        self.commit(|session| {
            let row = session.root().name_row(name)?;
            let missing = || StoreError::NoKey(name.to_string());
            let versions = session.versions(name)?.ok_or_else(missing)?;
            let mut edit = Edit::default();
            edit.tell(Event::new(What::Removed).about(name.as_str()));
            edit.rows.insert(row, None);
            for version in &versions.versions {
                if version.state != State::Destroyed {
                    bury(session, &mut edit, version)?;
                }
            }
            Ok((edit, ()))
        })
    }

    /// Makes a change and commits it, retrying after conflicts.
    pub(super) fn commit<T>(
        &self,
        make: impl Fn(&Session<'_>) -> Result<(Edit, T), StoreError>,
    ) -> Result<T, StoreError> {
        for _ in 0..CONFLICTS_MAX {
            let session = self.session()?;
            let (edit, result) = make(&session)?;
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

/// Returns the edit that adds the first version of a name.
fn adding(session: &Session<'_>, record: &Record, id: RowId) -> Result<Edit, StoreError> {
    if let Some(taken) = session.versions(&record.name)? {
        return Err(StoreError::NameTaken(taken.name.to_string()));
    }
    let mut versions = Versions::new(record.name.clone());
    appending(session, &mut versions, record, id, State::Active)
}

/// Returns the edit that appends a version.
pub(super) fn appending(
    session: &Session<'_>,
    versions: &mut Versions,
    record: &Record,
    id: RowId,
    state: State,
) -> Result<Edit, StoreError> {
    if let Some(taken) = session.row_of_key(id.key())? {
        let taken = session.record(taken)?.name;
        return Err(StoreError::KeyTaken(taken.to_string()));
    }
    versions.push(Version {
        number: record.version,
        key: id.key(),
        role: crate::Role::of(id.kind()).ok_or(StoreError::DamagedRow(id))?,
        state,
        since: record.created,
    })?;
    let mut edit = Edit::default();
    let what = if record.version == 1 {
        What::Created
    } else {
        What::Rotated
    };
    edit.tell(Event::of_key(what, &record.name, record.version, id.key()).about(state.as_str()));
    let row = session.root().name_row(&versions.name)?;
    edit.rows.insert(row, Some(versions.encode()));
    edit.rows.insert(id, Some(record.encode()));
    Ok(edit)
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
