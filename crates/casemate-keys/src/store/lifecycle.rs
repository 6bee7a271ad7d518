//! Versions of keys: rotation, states, limits.

use casemate_audit::What;
use casemate_crypto::encoding::{KeyId, KeyKind, PrivateKey, PublicKey};

use super::{
    KeyStore,
    change::{appending, bury, generate, usage_row},
    read::{KeyEntry, entry},
    session::{Edit, Session},
};
use crate::{
    KeyName, Role, State, Status, StoreError, Usage, VersionNumber, Versions,
    engine::Engine,
    log::Event,
    record::Record,
    row::RowId,
    status::{End, SUCCESSORS_MAX},
    tombstone::Tombstone,
    versions::{Due, RotationPolicy, Version},
};

/// A new version, and the one before it.
#[derive(Debug)]
pub struct Rotated {
    /// The new version.
    pub new: KeyEntry,
    /// The version that was active.
    pub old: Option<KeyEntry>,
}

/// The key of a new version.
enum NewKey<'a> {
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

    fn kind(&self) -> Result<(KeyKind, Role), StoreError> {
        match self {
            Self::Private(key) => Ok((key.public_key()?.kind(), Role::Private)),
            Self::Public(key) => Ok((key.kind(), Role::Public)),
        }
    }
}

impl<E: Engine> KeyStore<E> {
    /// Generates the next version of a key, in the suite of the current one unless another is
    /// given. A staged version is pre-active: nothing uses it before [`Self::activate`].
    ///
    /// # Errors
    ///
    /// [`StoreError::NoKey`], [`StoreError::NoPrivateKey`] for
    /// someone else's key, [`StoreError::VersionsFull`], [`StoreError::OtherKind`], or the engine's
    /// error.
    pub fn rotate(
        &mut self,
        name: &KeyName,
        suite: Option<&str>,
        now: u64,
        staged: bool,
    ) -> Result<Rotated, StoreError> {
        let current = self.current(name)?;
        if current.role != Role::Private {
            return Err(StoreError::NoPrivateKey(name.to_string()));
        }
        let key = generate(suite.unwrap_or(current.suite))?;
        self.append(name, &NewKey::Private(&key), now, Status::default(), staged)
    }

    /// Stores a key made elsewhere as the next version of a name.
    ///
    /// # Errors
    ///
    /// As [`Self::rotate`], and [`StoreError::KeyTaken`].
    pub fn append_private(
        &mut self,
        name: &KeyName,
        key: &PrivateKey,
        now: u64,
        status: Status,
    ) -> Result<Rotated, StoreError> {
        self.append(name, &NewKey::Private(key), now, status, false)
    }

    /// Stores someone else's key as the next version of a name.
    ///
    /// # Errors
    ///
    /// As [`Self::append_private`].
    pub fn append_public(
        &mut self,
        name: &KeyName,
        key: &PublicKey,
        now: u64,
        status: Status,
    ) -> Result<Rotated, StoreError> {
        self.append(name, &NewKey::Public(key), now, status, false)
    }

    fn current(&self, name: &KeyName) -> Result<KeyEntry, StoreError> {
        let missing = || StoreError::NoKey(name.to_string());
        self.by_name(name)?.ok_or_else(missing)
    }

    fn append(
        &mut self,
        name: &KeyName,
        key: &NewKey<'_>,
        now: u64,
        status: Status,
        staged: bool,
    ) -> Result<Rotated, StoreError> {
        let (new, old) = self.commit(|session| {
            let mut versions = known_name(session, name)?;
            let before = versions.active().copied();
            if let Some(newest) = versions.current() {
                let newest = entry(session, newest.row(), newest.state)?;
                if (newest.kind, newest.role) != key.kind()? {
                    return Err(StoreError::OtherKind(name.to_string()));
                }
            }
            let state = if staged {
                State::PreActive
            } else {
                State::Active
            };
            let signs = key.kind()?.0 != KeyKind::Kem;
            let status = match before {
                // A compromised key vouches for nothing, but whoever opens the key store may.
                Some(before)
                    if signs
                        && status.successor_of.is_none()
                        && !is_compromised(session, before.key)? =>
                {
                    Status {
                        successor_of: Some(before.key),
                        ..status
                    }
                }
                _ => status,
            };
            let (record, id) = key.record(&versions, now, status)?;
            let mut edit = appending(session, &mut versions, &record, id, state)?;
            if let Some(before) = before.filter(|_| signs && !staged) {
                supersede(
                    session,
                    &mut edit,
                    &before,
                    status.valid_from.unwrap_or(now),
                )?;
            }
            Ok((edit, ((id, state), before)))
        })?;
        let session = self.session()?;
        let old = old.map(|version| {
            let state = if staged {
                State::Active
            } else {
                State::DecryptOnly
            };
            entry(&session, version.row(), state)
        });
        Ok(Rotated {
            new: entry(&session, new.0, new.1)?,
            old: old.transpose()?,
        })
    }

    /// Makes a pre-active version the active one.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoVersion`], [`StoreError::Transition`], or the engine's error.
    pub fn activate(
        &mut self,
        name: &KeyName,
        number: VersionNumber,
        now: u64,
    ) -> Result<KeyEntry, StoreError> {
        self.set_state(name, number, State::Active, now)
    }

    /// Moves a version to another state. Destroying it deletes its key.
    ///
    /// # Errors
    ///
    /// As [`Self::activate`].
    pub fn set_state(
        &mut self,
        name: &KeyName,
        number: VersionNumber,
        to: State,
        now: u64,
    ) -> Result<KeyEntry, StoreError> {
        let before = self.session()?;
        let version = *known_name(&before, name)?.version(number)?;
        let found = entry(&before, version.row(), version.state);
        drop(before);
        self.commit(|session| {
            let mut versions = known_name(session, name)?;
            let active = versions.active().copied();
            let version = versions.set_state(number, to, now)?;
            let mut edit = Edit::default();
            let row = session.root().name_row(name)?;
            edit.rows.insert(row, Some(versions.encode()));
            edit.tell(Event::of_key(What::State, name, number, version.key).about(to.as_str()));
            if to == State::Destroyed {
                bury(session, &mut edit, &version)?;
            }
            if let Some(active) = active.filter(|_| to == State::Active) {
                let record = session.record(active.row())?;
                if record.public_key(active.row())?.kind() != KeyKind::Kem {
                    supersede(session, &mut edit, &active, now)?;
                }
            }
            Ok((edit, ()))
        })?;
        Ok(KeyEntry {
            state: to,
            ..found?
        })
    }

    /// Returns whether a key, or one that it descends from, is compromised.
    ///
    /// # Errors
    ///
    /// [`StoreError::DamagedRow`], [`StoreError::MissingRow`], [`StoreError::Nodes`].
    pub fn is_compromised(&self, key: KeyId) -> Result<bool, StoreError> {
        is_compromised(&self.session()?, key)
    }

    /// Sets when a key is to be rotated.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoKey`], or the engine's error.
    pub fn set_policy(
        &mut self,
        name: &KeyName,
        policy: RotationPolicy,
    ) -> Result<Versions, StoreError> {
        self.commit(|session| {
            let versions = Versions {
                policy,
                ..known_name(session, name)?
            };
            let mut edit = Edit::default();
            let row = session.root().name_row(name)?;
            edit.rows.insert(row, Some(versions.encode()));
            let about = format!("{name}: {policy:?}");
            edit.tell(Event::new(What::Policy).about(about));
            Ok((edit, versions))
        })
    }

    /// Returns the names whose active version has reached a limit, and the limit.
    ///
    /// # Errors
    ///
    /// As [`Self::names`].
    pub fn due(&self, now: u64) -> Result<Vec<(Versions, Due)>, StoreError> {
        let names = self.names()?;
        let session = self.session()?;
        let mut due = Vec::new();
        for versions in names {
            let Some(active) = versions.active() else {
                continue;
            };
            let usage = session.usage(active.key)?;
            if let Some(limit) = versions.policy.due(active, usage, now) {
                due.push((versions, limit));
            }
        }
        Ok(due)
    }

    /// Reserves uses of the active version of a name before they are made. Returns what of it is
    /// counted so far; nothing is written for a key without limits of uses or bytes.
    ///
    /// # Errors
    ///
    /// [`StoreError::UsedUp`] once a limit has been reached, or the engine's error.
    pub fn reserve(&self, name: &KeyName, block: Usage) -> Result<Usage, StoreError> {
        let session = self.session()?;
        let counts = session
            .versions(name)?
            .is_some_and(|versions| versions.policy.counts());
        drop(session);
        if !counts {
            return Ok(Usage::default());
        }
        self.commit(|session| {
            let versions = known_name(session, name)?;
            let missing = || StoreError::NoKey(name.to_string());
            let active = versions.active().ok_or_else(missing)?;
            let used = session.usage(active.key)?.plus(block);
            if let Some(limit) = versions.policy.exceeded(used) {
                return Err(StoreError::UsedUp {
                    name: name.to_string(),
                    limit: limit.to_string(),
                });
            }
            let mut edit = Edit::default();
            edit.rows.insert(usage_row(active.key), Some(used.encode()));
            let about = format!("{} uses, {} bytes", block.uses, block.bytes);
            let event = Event::of_key(What::Reserved, name, active.number, active.key);
            edit.tell(event.about(about));
            Ok((edit, used))
        })
    }
}

fn known_name(session: &Session<'_>, name: &KeyName) -> Result<Versions, StoreError> {
    let missing = || StoreError::NoKey(name.to_string());
    session.versions(name)?.ok_or_else(missing)
}

/// Records that a signing key was replaced now, unless it has ended already.
fn supersede(
    session: &Session<'_>,
    edit: &mut Edit,
    version: &Version,
    now: u64,
) -> Result<(), StoreError> {
    let id = version.row();
    let record = session.record(id)?;
    if record.status.end.is_none() {
        let status = Status {
            end: Some(End::Superseded { at: now }),
            ..record.status
        };
        let record = Record { status, ..record };
        edit.rows.insert(id, Some(record.encode()));
    }
    Ok(())
}

/// Returns whether a key, or one that it descends from, is compromised.
fn is_compromised(session: &Session<'_>, key: KeyId) -> Result<bool, StoreError> {
    let mut next = Some(key);
    for _ in 0..SUCCESSORS_MAX {
        let Some(key) = next else {
            return Ok(false);
        };
        let gone = Tombstone::row(key);
        let status = if let Some(row) = session.row_of_key(key)? {
            session.record(row)?.status
        } else if let Some(plaintext) = session.row(gone)? {
            Tombstone::decode(&plaintext, gone)?.status
        } else {
            return Ok(false);
        };
        if matches!(status.end, Some(End::Compromised { .. })) {
            return Ok(true);
        }
        next = status.successor_of;
    }
    Ok(true)
}
