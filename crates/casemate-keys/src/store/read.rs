//! Reads keys.

use std::collections::BTreeMap;

use casemate_audit::What;
use casemate_crypto::encoding::{KeyId, KeyKind, PrivateKey, PublicKey};

use super::{KeyStore, Session};
use crate::{
    Binding, KeyName, State, StoreError, Usage, VersionNumber, Versions,
    engine::Engine,
    log::{Event, LogKeys},
    record::Record,
    row::{Role, RowId, RowKind},
    sealed,
    status::Status,
    tombstone::Tombstone,
    tree::Entry,
    versions::Version,
};

/// A version of a key.
#[derive(Debug)]
pub struct KeyEntry {
    /// The user's name for it.
    pub name: KeyName,
    /// Its version.
    pub version: VersionNumber,
    /// What the version may be used for.
    pub state: State,
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
    /// Keys, by name and version.
    pub keys: Vec<KeyEntry>,
    /// One error for each row that is damaged, missing or not in the index.
    pub damage: Vec<StoreError>,
}

/// Sorts what is damaged from what stops the listing.
fn damage_of<T>(
    result: Result<T, StoreError>,
    damage: &mut Vec<StoreError>,
) -> Result<Option<T>, StoreError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error @ (StoreError::Crypto(_) | StoreError::Engine(_))) => Err(error),
        Err(error) => {
            damage.push(error);
            Ok(None)
        }
    }
}

impl<E: Engine> KeyStore<E> {
    /// Lists the keys by name, and the damage.
    ///
    /// # Errors
    ///
    /// [`StoreError::Crypto`] and the engine's error; damage is part of the listing.
    pub fn list(&self) -> Result<Listing, StoreError> {
        list(&self.session()?)
    }

    /// Returns the version that a name stands for: the active one, or else the newest.
    ///
    /// # Errors
    ///
    /// [`StoreError::DamagedRow`], [`StoreError::MissingRow`], [`StoreError::Nodes`].
    pub fn by_name(&self, name: &KeyName) -> Result<Option<KeyEntry>, StoreError> {
        let session = self.session()?;
        let versions = session.versions(name)?;
        let current = versions.as_ref().and_then(Versions::current);
        current
            .map(|version| entry(&session, version.row(), version.state))
            .transpose()
    }

    /// Returns a version of a name.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoVersion`], also for a destroyed one, and as [`Self::by_name`].
    pub fn by_version(
        &self,
        name: &KeyName,
        number: VersionNumber,
    ) -> Result<Option<KeyEntry>, StoreError> {
        let session = self.session()?;
        let Some(versions) = session.versions(name)? else {
            return Ok(None);
        };
        let version = versions.version(number)?;
        if version.state == State::Destroyed {
            return Err(StoreError::NoVersion {
                name: name.to_string(),
                version: number,
            });
        }
        entry(&session, version.row(), version.state).map(Some)
    }

    /// Returns the validity and the state of every key. Signing keys that were destroyed or removed
    /// have the state that they had before. Any damage is an error: the key that cannot be read may
    /// be the one that is compromised.
    ///
    /// # Errors
    ///
    /// The first damage, and as [`Self::list`].
    pub fn statuses(&self) -> Result<Vec<(KeyId, Status, State)>, StoreError> {
        let session = self.session()?;
        let listing = list(&session)?;
        if let Some(damage) = listing.damage.into_iter().next() {
            return Err(damage);
        }
        let keys = listing.keys.iter();
        let mut statuses: Vec<_> = keys.map(|key| (key.id, key.status, key.state)).collect();
        for (id, plaintext) in session.rows_of(RowKind::Tombstone)? {
            let gone = Tombstone::decode(&plaintext, id)?;
            statuses.push((id.key(), gone.status, gone.last));
        }
        Ok(statuses)
    }

    /// Returns the versions of a name.
    ///
    /// # Errors
    ///
    /// As [`Self::by_name`].
    pub fn versions(&self, name: &KeyName) -> Result<Option<Versions>, StoreError> {
        self.session()?.versions(name)
    }

    /// Returns every name with its versions, in the order of the names.
    ///
    /// # Errors
    ///
    /// The first damage of a name's row, and as [`Self::list`].
    pub fn names(&self) -> Result<Vec<Versions>, StoreError> {
        names(&self.session()?)
    }

    /// Finds a version by its key id.
    ///
    /// # Errors
    ///
    /// [`StoreError::DamagedRow`], [`StoreError::MissingRow`], [`StoreError::Nodes`].
    pub fn by_id(&self, key: KeyId) -> Result<Option<KeyEntry>, StoreError> {
        let session = self.session()?;
        let Some(id) = session.row_of_key(key)? else {
            return Ok(None);
        };
        let record = session.record(id)?;
        let version = version_of(&session, &record, id)?;
        entry_of(record, id, version.state).map(Some)
    }

    /// Returns the private half of a key.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoPrivateKey`] if only the public half is stored; [`StoreError::NotInUse`] if
    /// the version is disabled; [`StoreError::DamagedRow`].
    pub fn private_key(&self, entry: &KeyEntry) -> Result<PrivateKey, StoreError> {
        if entry.role != Role::Private {
            return Err(StoreError::NoPrivateKey(entry.name.to_string()));
        }
        let id = RowId::of_key(entry.id, Role::Private);
        let read = |session: &Session<'_>| {
            let record = session.record(id)?;
            // The entry may be older than the key store.
            let state = version_of(session, &record, id)?.state;
            if !state.opens() {
                return Err(StoreError::NotInUse {
                    name: entry.name.to_string(),
                    version: entry.version,
                    state,
                });
            }
            record.private_key(id)
        };
        let event = Event::of_key(What::PrivateKey, &entry.name, entry.version, entry.id);
        self.logged(&event, read)
    }

    /// Returns how often a key was used, or may have been used.
    ///
    /// # Errors
    ///
    /// [`StoreError::DamagedRow`], [`StoreError::MissingRow`], [`StoreError::Nodes`].
    pub fn usage(&self, key: KeyId) -> Result<Usage, StoreError> {
        self.session()?.usage(key)
    }
}

/// Returns every name in one state of the key store, in the order of the names.
pub(super) fn names(session: &Session<'_>) -> Result<Vec<Versions>, StoreError> {
    let rows = session.rows_of(RowKind::Name)?.into_iter();
    let names = rows.map(|(id, plaintext)| Versions::decode(&plaintext, id));
    let mut names: Vec<_> = names.collect::<Result<_, _>>()?;
    names.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(names)
}

/// Lists the keys of one state of the key store.
fn list(session: &Session<'_>) -> Result<Listing, StoreError> {
    let mut listing = Listing::default();
    let (mut expected, unchecked) = session.listed()?;
    let mut names = BTreeMap::new();
    let mut records = Vec::new();
    let mut failed = None;
    session.each_row(&mut |id, value| {
        if failed.is_some() {
            return;
        }
        let read = read_row(session, expected.remove(&id), id, value, unchecked);
        match damage_of(read, &mut listing.damage) {
            Err(error) => failed = Some(error),
            Ok(Some(Row::Name(versions))) => _ = names.insert(versions.name.clone(), versions),
            Ok(Some(Row::Key(record))) => records.push((id, record)),
            Ok(Some(Row::Other) | None) => {}
        }
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    listing
        .damage
        .extend(expected.into_keys().map(StoreError::MissingRow));
    if unchecked > 0 {
        listing.damage.push(StoreError::Nodes(unchecked));
    }
    for (id, record) in records {
        let version = names.get(&record.name).and_then(|all| all.by_key(id.key()));
        // Without its name's row, which is reported, nothing says what the key may be used for.
        let Some(version) = version else { continue };
        let entry = entry_of(record, id, version.state);
        if let Some(entry) = damage_of(entry, &mut listing.damage)? {
            listing.keys.push(entry);
        }
    }
    listing
        .keys
        .sort_by(|a, b| (&a.name, a.version).cmp(&(&b.name, b.version)));
    Ok(listing)
}

/// What a listing makes of a row.
enum Row {
    Name(Versions),
    Key(Record),
    Other,
}

fn read_row(
    session: &Session<'_>,
    entry: Option<Entry>,
    id: RowId,
    value: &[u8],
    unchecked: u64,
) -> Result<Row, StoreError> {
    let Some(entry) = entry else {
        // It may be one that a damaged node lists.
        return if unchecked > 0 {
            Ok(Row::Other)
        } else {
            Err(StoreError::ForeignRow(id))
        };
    };
    let plaintext = sealed::open(value, session.root(), &entry)?;
    match id.kind() {
        RowKind::Name => Versions::decode(&plaintext, id).map(Row::Name),
        RowKind::Private | RowKind::Public => Record::decode(&plaintext, id).map(Row::Key),
        RowKind::Usage => Usage::decode(&plaintext, id).map(|_| Row::Other),
        RowKind::Binding => Binding::decode(&plaintext, id).map(|_| Row::Other),
        RowKind::LogKeys => LogKeys::decode(&plaintext).map(|_| Row::Other),
        RowKind::Tombstone => Tombstone::decode(&plaintext, id).map(|_| Row::Other),
    }
}

pub(super) fn version_of(
    session: &Session<'_>,
    record: &Record,
    id: RowId,
) -> Result<Version, StoreError> {
    let row = session.root().name_row(&record.name)?;
    let versions = session
        .versions(&record.name)?
        .ok_or(StoreError::MissingRow(row))?;
    let version = versions.by_key(id.key());
    version.copied().ok_or(StoreError::DamagedRow(row))
}

pub(super) fn entry(
    session: &Session<'_>,
    id: RowId,
    state: State,
) -> Result<KeyEntry, StoreError> {
    entry_of(session.record(id)?, id, state)
}

pub(super) fn entry_of(record: Record, id: RowId, state: State) -> Result<KeyEntry, StoreError> {
    let public = record.public_key(id)?;
    Ok(KeyEntry {
        role: Role::of(id.kind()).ok_or(StoreError::DamagedRow(id))?,
        id: id.key(),
        name: record.name,
        version: record.version,
        state,
        kind: public.kind(),
        suite: public.suite_name(),
        created: record.created,
        status: record.status,
        public,
    })
}
