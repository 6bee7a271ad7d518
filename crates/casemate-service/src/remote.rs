//! The keys of a service, as a client uses them.

mod held;
mod transport;

use std::{fmt, sync::Arc};

use base64ct::{Base64Url, Encoding as _};
use casemate_crypto::encoding::{KeyId, PrivateKey};
use casemate_keys::{
    Binding, KeyEntry, KeyName, Keys, Listing, Role, Rotated, RotationPolicy, State, Status,
    StoreError, Usage, Version, VersionNumber, Versions,
};
use http::StatusCode;
use serde::{Serialize, de::DeserializeOwned};

use crate::wire::{
    BINDINGS_MAX, BindingChange, BindingList, Bound, Create, Key, KeyList, Named, Rotate, Rotation,
    SetState, StatusList, VersionOf,
};
use transport::Transport;
pub use transport::{Remote, RemoteError};

/// Most keys of a service.
const KEYS_MAX: usize = 4_194_304;
/// Maximum length of a chain of successors.
const SUCCESSORS_MAX: usize = 64;

/// The keys of a key service.
pub struct RemoteKeys {
    transport: Arc<Transport>,
}

impl fmt::Debug for RemoteKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RemoteKeys").finish_non_exhaustive()
    }
}

fn service(error: RemoteError) -> StoreError {
    StoreError::Service(Box::new(error))
}

fn malformed<T>(found: Option<T>) -> Result<T, StoreError> {
    found.ok_or_else(|| service(RemoteError::Malformed))
}

/// A key that the service does not have is none; everything else is an error.
fn found<T>(result: Result<T, RemoteError>) -> Result<Option<T>, StoreError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(RemoteError::Refused { status, .. }) if status == StatusCode::NOT_FOUND => Ok(None),
        Err(error) => Err(service(error)),
    }
}

impl RemoteKeys {
    /// Prepares to use a service. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`RemoteError::Url`], [`RemoteError::Tls`].
    pub fn new(remote: Remote<'_>) -> Result<Self, RemoteError> {
        let transport = Arc::new(Transport::new(remote)?);
        Ok(Self { transport })
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, RemoteError> {
        self.transport.get(path)?.read()
    }

    fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, RemoteError> {
        self.transport.post(path, body)?.read()
    }

    fn named(&self, name: &KeyName) -> Result<Option<(Versions, Vec<KeyEntry>)>, StoreError> {
        let Some(named) = found(self.get::<Named>(&format!("/v1/keys/{name}")))? else {
            return Ok(None);
        };
        let versions = named.versions.iter().map(VersionOf::read);
        let versions: Vec<_> = malformed(versions.collect::<Option<_>>())?;
        let keys = named.keys.into_iter().map(Key::read);
        let keys: Vec<_> = malformed(keys.collect::<Option<_>>())?;
        let is_of = |entry: &KeyEntry| {
            let mut versions = versions.iter();
            let version = versions.find(|version| version.number == entry.version);
            entry.name == *name
                && version.is_some_and(|version| {
                    (version.key, version.role, version.state)
                        == (entry.id, entry.role, entry.state)
                })
        };
        let is_sorted = versions.is_sorted_by(|a: &Version, b| a.number < b.number);
        if !is_sorted || !keys.iter().all(is_of) {
            return malformed(None);
        }
        let versions = Versions {
            name: name.clone(),
            versions,
            // The service rotates by it.
            policy: RotationPolicy::default(),
        };
        Ok(Some((versions, keys)))
    }
}

impl Keys for RemoteKeys {
    fn list(&self) -> Result<Listing, StoreError> {
        let mut listing = Listing::default();
        let mut path = "/v1/keys".to_owned();
        loop {
            let list: KeyList = self.get(&path).map_err(service)?;
            let damage = list.damage.into_iter();
            let damage = damage.map(|text| service(RemoteError::Damaged(text)));
            listing.damage.extend(damage);
            let keys: Option<Vec<_>> = list.keys.into_iter().map(Key::read).collect();
            listing.keys.extend(malformed(keys)?);
            let is_sorted = listing
                .keys
                .is_sorted_by(|a, b| (&a.name, a.version) < (&b.name, b.version));
            let last = listing.keys.last();
            match last.filter(|_| list.more) {
                _ if !is_sorted || listing.keys.len() > KEYS_MAX => return malformed(None),
                Some(last) => path = format!("/v1/keys?after={}@{}", last.name, last.version),
                None if list.more => return malformed(None),
                None => return Ok(listing),
            }
        }
    }

    fn by_name(&self, name: &KeyName) -> Result<Option<KeyEntry>, StoreError> {
        let Some((versions, keys)) = self.named(name)? else {
            return Ok(None);
        };
        let Some(current) = versions.current() else {
            return Ok(None);
        };
        let mut keys = keys.into_iter();
        malformed(keys.find(|entry| entry.version == current.number)).map(Some)
    }

    fn by_version(
        &self,
        name: &KeyName,
        number: VersionNumber,
    ) -> Result<Option<KeyEntry>, StoreError> {
        let Some((versions, keys)) = self.named(name)? else {
            return Ok(None);
        };
        versions.version(number)?;
        let mut keys = keys.into_iter();
        let entry = keys.find(|entry| entry.version == number);
        entry.map(Some).ok_or_else(|| StoreError::NoVersion {
            name: name.to_string(),
            version: number,
        })
    }

    fn by_id(&self, key: KeyId) -> Result<Option<KeyEntry>, StoreError> {
        let path = format!("/v1/key-ids/{}", key.to_hex());
        let Some(entry) = found(self.get::<Key>(&path))? else {
            return Ok(None);
        };
        let entry = malformed(entry.read())?;
        malformed((entry.id == key).then_some(Some(entry)))
    }

    fn statuses(&self) -> Result<Vec<(KeyId, Status, State)>, StoreError> {
        let all: StatusList = self.get("/v1/statuses").map_err(service)?;
        let all = all.statuses.into_iter().map(crate::wire::KeyStatus::read);
        malformed(all.collect())
    }

    fn private_key(&self, entry: &KeyEntry) -> Result<PrivateKey, StoreError> {
        if entry.role != Role::Private {
            return Err(StoreError::NoPrivateKey(entry.name.to_string()));
        }
        if !entry.state.opens() {
            return Err(StoreError::NotInUse {
                name: entry.name.to_string(),
                version: entry.version,
                state: entry.state,
            });
        }
        held::key(&self.transport, entry)
    }

    fn is_compromised(&self, key: KeyId) -> Result<bool, StoreError> {
        let statuses = self.statuses()?;
        let mut next = Some(key);
        for _ in 0..SUCCESSORS_MAX {
            let Some(key) = next else { return Ok(false) };
            let status = statuses.iter().find(|(id, ..)| *id == key);
            let Some((_, status, _)) = status else {
                return Ok(false);
            };
            if matches!(status.end, Some(casemate_keys::End::Compromised { .. })) {
                return Ok(true);
            }
            next = status.successor_of;
        }
        Ok(true)
    }

    fn reserve(&self, _: &KeyName, _: Usage) -> Result<Usage, StoreError> {
        // The service counts every use that it makes of a signing key.
        Ok(Usage::default())
    }

    fn generate(&mut self, name: KeyName, suite: &str, _: u64) -> Result<KeyEntry, StoreError> {
        let body = Create {
            name: name.to_string(),
            suite: suite.to_owned(),
        };
        let made: Key = self.post("/v1/keys", &body).map_err(service)?;
        let made = malformed(made.read())?;
        let is_ours = made.name == name && made.suite == suite && made.role == Role::Private;
        malformed(is_ours.then_some(made))
    }

    fn rotate(
        &mut self,
        name: &KeyName,
        suite: Option<&str>,
        _: u64,
        staged: bool,
    ) -> Result<Rotated, StoreError> {
        let body = Rotate {
            suite: suite.map(str::to_owned),
            staged,
        };
        let path = format!("/v1/keys/{name}/rotate");
        let Rotation { new, old } = self.post(&path, &body).map_err(service)?;
        let old = old.map(|old| malformed(old.read())).transpose()?;
        let new = malformed(new.read())?;
        let state = if staged {
            State::PreActive
        } else {
            State::Active
        };
        let is_ours = new.name == *name
            && new.state == state
            && suite.is_none_or(|suite| new.suite == suite)
            && old
                .as_ref()
                .is_none_or(|old| old.name == *name && old.version < new.version);
        malformed(is_ours.then_some(Rotated { new, old }))
    }

    fn set_state(
        &mut self,
        name: &KeyName,
        number: VersionNumber,
        to: State,
        _: u64,
    ) -> Result<KeyEntry, StoreError> {
        let path = format!("/v1/keys/{name}/versions/{number}/state");
        let body = SetState {
            state: to.as_str().to_owned(),
        };
        let answer = self.transport.post(&path, &body).map_err(service)?;
        if answer.status() == StatusCode::ACCEPTED {
            return Err(service(RemoteError::Waiting));
        }
        let entry: Key = answer.read().map_err(service)?;
        let entry = malformed(entry.read())?;
        let is_ours = (&entry.name, entry.version, entry.state) == (name, number, to);
        malformed(is_ours.then_some(entry))
    }

    fn versions(&self, name: &KeyName) -> Result<Option<Versions>, StoreError> {
        Ok(self.named(name)?.map(|(versions, _)| versions))
    }

    fn bind(&self, bindings: &[Binding]) -> Result<(), StoreError> {
        for batch in bindings.chunk_by(|a, b| a.name == b.name) {
            let Some(first) = batch.first() else { continue };
            let path = format!("/v1/keys/{}/bindings", first.name);
            for batch in batch.chunks(BINDINGS_MAX) {
                let body = BindingChange {
                    bind: batch.iter().cloned().map(Bound::of).collect(),
                    unbind: Vec::new(),
                };
                let _: serde_json::Value = self.post(&path, &body).map_err(service)?;
            }
        }
        Ok(())
    }

    fn unbind(&self, name: &KeyName, places: &[String]) -> Result<(), StoreError> {
        let path = format!("/v1/keys/{name}/bindings");
        for batch in places.chunks(BINDINGS_MAX) {
            let body = BindingChange {
                bind: Vec::new(),
                unbind: batch.to_vec(),
            };
            let _: serde_json::Value = self.post(&path, &body).map_err(service)?;
        }
        Ok(())
    }

    fn bindings(&self, name: &KeyName) -> Result<Vec<Binding>, StoreError> {
        let mut bindings: Vec<Binding> = Vec::new();
        let mut path = format!("/v1/keys/{name}/bindings");
        loop {
            let list: BindingList = self.get(&path).map_err(service)?;
            bindings.extend(list.bindings.into_iter().map(|place| place.read(name)));
            let is_sorted = bindings.is_sorted_by(|a, b| a.place < b.place);
            let last = bindings.last();
            match last.filter(|_| list.more) {
                _ if !is_sorted || bindings.len() > KEYS_MAX => return malformed(None),
                Some(last) => {
                    let after = Base64Url::encode_string(last.place.as_bytes());
                    path = format!("/v1/keys/{name}/bindings?after={after}");
                }
                None if list.more => return malformed(None),
                None => return Ok(bindings),
            }
        }
    }
}
