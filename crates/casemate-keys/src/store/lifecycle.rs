//! Versions of keys: rotation, states, limits.

use casemate_audit::What;
use casemate_crypto::encoding::{KeyId, KeyKind, PrivateKey, PublicKey};

use super::{
    KeyStore,
    change::{Made, NewKey, appending, bury, generate, usage_row},
    read::{KeyEntry, entry, names},
    session::{Edit, Session},
};
use crate::{
    KeyName, Role, State, Status, StoreError, Usage, VersionNumber, Versions,
    engine::Engine,
    log::Event,
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

impl<E: Engine> KeyStore<E> {
    /// Generates the next version of a key, in the suite of the current one unless another is
    /// given. A staged version is pre-active: nothing uses it before [`Self::set_state`] makes it
    /// active.
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
        let made = Made {
            now,
            status: Status::NONE,
            what: What::Rotated,
        };
        self.append(name, &NewKey::Private(&key), made, staged)
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
        self.append(
            name,
            &NewKey::Private(key),
            Made::elsewhere(now, status),
            false,
        )
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
        self.append(
            name,
            &NewKey::Public(key),
            Made::elsewhere(now, status),
            false,
        )
    }

    fn current(&self, name: &KeyName) -> Result<KeyEntry, StoreError> {
        let missing = || StoreError::NoKey(name.to_string());
        self.by_name(name)?.ok_or_else(missing)
    }

    fn append(
        &mut self,
        name: &KeyName,
        key: &NewKey<'_>,
        made: Made,
        staged: bool,
    ) -> Result<Rotated, StoreError> {
        self.commit(|session| {
            let mut versions = known_name(session, name)?;
            let before = versions.active().copied();
            if let Some(newest) = versions.current() {
                let newest = entry(session, newest.row(), newest.state)?;
                if (newest.kind, newest.role) != key.kind()? {
                    return Err(StoreError::OtherKind(name.to_string()));
                }
            }
            let signs = key.kind()?.0 != KeyKind::Kem;
            let mut status = made.status;
            // A compromised key vouches for nothing, but whoever opens the key store may.
            if let Some(before) = before
                && signs
                && status.successor_of.is_none()
                && !is_compromised(session, before.key)?
            {
                status.successor_of = Some(before.key);
            }
            let (state, old_state) = if staged {
                (State::PreActive, State::Active)
            } else {
                (State::Active, State::DecryptOnly)
            };
            let made = Made { status, ..made };
            let (mut edit, new) = appending(session, &mut versions, key, (made, state))?;
            let old = before.map(|version| entry(session, version.row(), old_state));
            let mut old = old.transpose()?;
            if let (Some(before), Some(old)) = (before.filter(|_| signs && !staged), &mut old) {
                let from = status.valid_from.unwrap_or(made.now);
                old.status = supersede(session, &mut edit, &before, from)?;
            }
            Ok((edit, Rotated { new, old }))
        })
    }

    /// Moves a version to another state. A version that becomes active replaces the one that was.
    /// Destroying a version deletes its key.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoVersion`], [`StoreError::Transition`], or the engine's error.
    pub fn set_state(
        &mut self,
        name: &KeyName,
        number: VersionNumber,
        to: State,
        now: u64,
    ) -> Result<KeyEntry, StoreError> {
        self.commit(|session| {
            let mut versions = known_name(session, name)?;
            let active = versions.active().copied();
            let before = *versions.version(number)?;
            let version = versions.set_state(number, to, now)?;
            let found = entry(session, version.row(), to)?;
            let mut edit = Edit::default();
            let row = session.root().name_row(name)?;
            edit.rows.insert(row, Some(versions.encode()));
            edit.tell(Event::of_key(What::State, name, number, version.key).about(to.as_str()));
            if to == State::Destroyed {
                bury(session, &mut edit, &before)?;
            }
            if let Some(active) = active.filter(|_| to == State::Active) {
                let record = session.record(active.row())?;
                if record.public_key(active.row())?.kind() != KeyKind::Kem {
                    supersede(session, &mut edit, &active, now)?;
                }
            }
            Ok((edit, found))
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
            let event = match versions.current() {
                Some(current) => Event::of_key(What::Policy, name, current.number, current.key),
                None => Event::new(What::Policy),
            };
            edit.tell(event.about(policy.to_string()));
            Ok((edit, versions))
        })
    }

    /// Returns the names whose active version has reached a limit, and the limit.
    ///
    /// # Errors
    ///
    /// As [`Self::names`].
    pub fn due(&self, now: u64) -> Result<Vec<(Versions, Due)>, StoreError> {
        let session = self.session()?;
        let mut due = Vec::new();
        for versions in names(&session)? {
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

/// Records that a signing key was replaced now, unless it has ended already. Returns its status.
fn supersede(
    session: &Session<'_>,
    edit: &mut Edit,
    version: &Version,
    now: u64,
) -> Result<Status, StoreError> {
    let id = version.row();
    let mut record = session.record(id)?;
    if record.status.end.is_none() {
        record.status.end = Some(End::Superseded { at: now });
        edit.rows.insert(id, Some(record.encode()));
    }
    Ok(record.status)
}

/// Returns whether a key, or one that it descends from, is compromised.
pub(super) fn is_compromised(session: &Session<'_>, key: KeyId) -> Result<bool, StoreError> {
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
