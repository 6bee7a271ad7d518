//! Uses of private keys by a service, for its clients.

use std::collections::{BTreeMap, btree_map::Entry};

use casemate_audit::What;
use casemate_crypto::encoding::{KeyId, KeyKind};

use super::{
    KeyStore,
    change::usage_row,
    lifecycle::is_compromised,
    read::{KeyEntry, entry_of, version_of},
    session::{Edit, Session},
};
use crate::{
    KeyName, Role, State, StoreError, Usage,
    engine::{Engine, EngineError},
    log::Event,
    row::{RowId, RowKind},
    versions::RotationPolicy,
};

/// A use of a private key.
#[derive(Clone, Debug)]
pub struct KeyUse {
    /// The key.
    pub key: KeyId,
    /// Whom it is used for.
    pub by: String,
    /// What it is used on.
    pub about: String,
    /// Bytes that are signed; nothing for what is opened.
    pub bytes: u64,
}

/// What is known of a key that is used.
struct Known {
    entry: KeyEntry,
    policy: RotationPolicy,
    used: Usage,
    /// For a signing key, whether it, or one that it succeeds, is compromised.
    is_compromised: bool,
}

impl<E: Engine> KeyStore<E> {
    /// Checks that each of these keys may be used now, counts the uses that policies limit, and
    /// records all of them in one change. Returns, in the same order, the name of the key, or why
    /// it must not be used.
    ///
    /// # Errors
    ///
    /// An error of the key store, in which case no key must be used.
    pub fn record_uses(
        &self,
        uses: &[KeyUse],
        now: u64,
    ) -> Result<Vec<Result<KeyName, StoreError>>, StoreError> {
        // A log never ends, so with one there is something to write.
        let may_write_nothing = self.state.borrow().index.log.is_none();
        if may_write_nothing {
            let session = self.session()?;
            let has_log = session.state().index.log.is_some();
            let (edit, results) = recording(&session, uses, now)?;
            if !has_log && edit.rows.is_empty() {
                return Ok(results);
            }
        }
        match self.commit(|session| recording(session, uses, now)) {
            Err(StoreError::Engine(EngineError::ReadOnly)) => Err(StoreError::LogReadOnly),
            done => done,
        }
    }
}

type Results = Vec<Result<KeyName, StoreError>>;

fn recording(
    session: &Session<'_>,
    uses: &[KeyUse],
    now: u64,
) -> Result<(Edit, Results), StoreError> {
    let mut edit = Edit::default();
    let mut known = BTreeMap::new();
    let mut results = Vec::with_capacity(uses.len());
    for one in uses {
        let found = match known.entry(one.key) {
            Entry::Occupied(found) => found.into_mut(),
            Entry::Vacant(place) => match look_up(session, one.key) {
                Ok(found) => place.insert(found),
                Err(error @ (StoreError::Crypto(_) | StoreError::Engine(_))) => return Err(error),
                // Other keys keep working.
                Err(error) => {
                    results.push(Err(error));
                    continue;
                }
            },
        };
        results.push(permit(found, one, now, &mut edit));
    }
    Ok((edit, results))
}

fn look_up(session: &Session<'_>, key: KeyId) -> Result<Known, StoreError> {
    let missing = RowId::new(*key.as_bytes(), RowKind::Private);
    let id = session.row_of_key(key)?;
    let id = id.ok_or(StoreError::MissingRow(missing))?;
    let record = session.record(id)?;
    let version = version_of(session, &record, id)?;
    let versions = session.versions(&record.name)?;
    let policy = versions.map_or(RotationPolicy::NONE, |versions| versions.policy);
    let entry = entry_of(record, id, version.state)?;
    let signs = entry.kind != KeyKind::Kem;
    Ok(Known {
        used: if policy.counts() && signs {
            session.usage(key)?
        } else {
            Usage::default()
        },
        is_compromised: signs && is_compromised(session, key)?,
        policy,
        entry,
    })
}

/// Permits a use and notes it, or says why it is not permitted.
fn permit(
    found: &mut Known,
    one: &KeyUse,
    now: u64,
    edit: &mut Edit,
) -> Result<KeyName, StoreError> {
    let entry = &found.entry;
    let name = || entry.name.to_string();
    if entry.role != Role::Private {
        return Err(StoreError::NoPrivateKey(name()));
    }
    let signs = entry.kind != KeyKind::Kem;
    let is_usable = if signs {
        entry.state == State::Active
    } else {
        entry.state.opens()
    };
    if !is_usable {
        return Err(StoreError::NotInUse {
            name: name(),
            version: entry.version,
            state: entry.state,
        });
    }
    let what = if signs {
        let why = match entry.status.check_now(entry.id, now) {
            Ok(()) if found.is_compromised => Some(crate::Withdrawn::Compromised(entry.id)),
            done => done.err(),
        };
        if let Some(why) = why {
            return Err(StoreError::NotValid { name: name(), why });
        }
        What::Signed
    } else {
        What::Unwrapped
    };
    if signs && found.policy.counts() {
        let used = found.used.plus(Usage {
            uses: 1,
            bytes: one.bytes,
        });
        if let Some(limit) = found.policy.exceeded(used) {
            return Err(StoreError::UsedUp {
                name: name(),
                limit: limit.to_string(),
            });
        }
        found.used = used;
        edit.rows.insert(usage_row(one.key), Some(used.encode()));
    }
    let event = Event::of_key(what, &entry.name, entry.version, one.key);
    edit.tell(event.about(one.about.as_str()).by(one.by.as_str()));
    Ok(found.entry.name.clone())
}
