//! Keys: what there is, and changes of it.

use base64ct::{Base64Url, Encoding as _};
use casemate_crypto::{
    encoding::KeyId,
    signature::HTTP_SUITE_NAME,
    suite::{KemSuite, SignatureSuite},
};
use casemate_keys::{Binding, KeyEntry, KeyName, Rotated, State, StoreError, VersionNumber};
use http::StatusCode;
use hyper::body::Bytes;

use super::Answered;
use crate::{
    grants::{Operation, Target},
    problem::Problem,
    service::{Call, decimal},
    wire::{
        self, BINDINGS_MAX, BindingChange, BindingList, Bound, Create, Key, KeyList, KeyStatus,
        Named, OneMore, Rotate, Rotation, SetState, StatusList, VersionOf,
    },
    worker::ServedStore,
};

/// Most keys in an answer.
const KEYS_MAX: usize = 1024;
/// Most damage in an answer.
const DAMAGE_MAX: usize = 64;
/// Rows of a key store from which no more bindings are taken.
const BOUND_ROWS_MAX: u64 = 200_000;
/// Longest place of a binding, in bytes.
const PLACE_BYTES_MAX: usize = 1024;

fn name_of(text: &str) -> Result<KeyName, Problem> {
    text.parse().map_err(|_| Problem::no_key())
}

fn wire_key(entry: &KeyEntry) -> Result<Key, Problem> {
    Key::of(entry).ok_or_else(Problem::internal)
}

/// Returns the keys after `after`, which is a name and a version, as many as one answer has.
pub(super) async fn list(call: &Call<'_>) -> Result<Answered, Problem> {
    let after = call.text("after")?.map(place_in_list).transpose()?;
    let service = call.service;
    let turn = call.long_turn()?;
    let read = |store: &ServedStore| store.list();
    let listing = service.listing.get(&service.worker, call.client, read);
    let listing = listing.await?;
    let is_next = |entry: &&KeyEntry| match &after {
        None => true,
        Some((name, version)) => (&entry.name, entry.version) > (name, *version),
    };
    let may_read = |name: &KeyName| call.permits(Operation::Read, Target::Key(name));
    let keys = listing.keys.iter().filter(is_next);
    let mut keys = keys.filter(|entry| may_read(&entry.name));
    let page: Vec<_> = keys
        .by_ref()
        .take(KEYS_MAX)
        .map(wire_key)
        .collect::<Result<_, _>>()?;
    let more = keys.next().is_some();
    let damage = if after.is_none() && call.permits(Operation::Read, Target::All) {
        let texts = listing.damage.iter().map(ToString::to_string);
        texts.take(DAMAGE_MAX).collect()
    } else {
        Vec::new()
    };
    let list = KeyList {
        keys: page,
        damage,
        more,
    };
    let json = serde_json::to_vec(&list).map_err(|_| Problem::internal())?;
    Ok(Answered::long(json, turn))
}

fn place_in_list(text: &str) -> Result<(KeyName, VersionNumber), Problem> {
    let bad = || Problem::bad("`after` must be a name and a version, such as `model@2`");
    let (name, version) = text.split_once('@').ok_or_else(bad)?;
    let name = name.parse().map_err(|_| bad())?;
    Ok((name, version_of(version).ok_or_else(bad)?))
}

fn version_of(text: &str) -> Option<VersionNumber> {
    decimal(text)?.try_into().ok()
}

pub(super) async fn named(call: &Call<'_>, name: &str) -> Result<Answered, Problem> {
    let name = name_of(name)?;
    call.require(Operation::Read, Target::Key(&name))?;
    let found = call.store(move |store| {
        let Some(versions) = store.versions(&name)? else {
            return Ok(None);
        };
        let mut keys = Vec::new();
        for version in &versions.versions {
            if version.state != State::Destroyed {
                keys.extend(store.by_version(&name, version.number)?);
            }
        }
        Ok(Some((versions, keys)))
    });
    let (versions, keys) = found.await?.ok_or_else(Problem::no_key)?;
    Answered::ok(&Named {
        versions: versions.versions.iter().map(VersionOf::of).collect(),
        keys: keys.iter().map(wire_key).collect::<Result<_, _>>()?,
    })
}

pub(super) async fn by_id(call: &Call<'_>, id: &str) -> Result<Answered, Problem> {
    let id = exact_id(id).ok_or_else(Problem::no_key)?;
    let found = call.store(move |store| store.by_id(id)).await?;
    let entry = found.ok_or_else(Problem::no_key)?;
    call.require(Operation::Read, Target::Key(&entry.name))?;
    Answered::ok(&wire_key(&entry)?)
}

pub(super) async fn statuses(call: &Call<'_>) -> Result<Answered, Problem> {
    // Whoever verifies must know of every key that is compromised.
    call.require(Operation::Read, Target::Any)?;
    let service = call.service;
    let turn = call.long_turn()?;
    let read = |store: &ServedStore| {
        let statuses = store.statuses()?.into_iter();
        let list = StatusList {
            statuses: statuses
                .map(|(id, status, state)| KeyStatus::of(id, status, state))
                .collect(),
        };
        let json = serde_json::to_vec(&list).map_err(|_| casemate_crypto::Error::Internal)?;
        Ok(Bytes::from(json))
    };
    let json = service.statuses.get(&service.worker, call.client, read);
    let json = json.await?;
    Ok(Answered::long(Bytes::clone(&json), turn))
}

/// Checks that the policy allows new keys of a suite.
fn check_suite(call: &Call<'_>, suite: &str) -> Result<(), Problem> {
    let policy = &call.service.policy;
    let forbidden =
        |error: &dyn std::error::Error| Problem::new(StatusCode::FORBIDDEN, error.to_string());
    if let Some(suite) = KemSuite::by_name(suite) {
        return policy.check_kem(suite).map_err(|error| forbidden(&error));
    }
    if let Some(suite) = SignatureSuite::by_name(suite) {
        return policy
            .check_signature(suite)
            .map_err(|error| forbidden(&error));
    }
    if suite == HTTP_SUITE_NAME {
        return policy.check_http().map_err(|error| forbidden(&error));
    }
    Err(Problem::bad("the suite is unknown"))
}

pub(super) async fn create(call: &Call<'_>) -> Result<Answered, Problem> {
    let Create { name, suite } = call.read()?;
    let name: KeyName = name.parse().map_err(Problem::from)?;
    call.require(Operation::Create, Target::Key(&name))?;
    check_suite(call, &suite)?;
    let (now, by) = (call.service.now(), call.by());
    let made =
        call.store(move |store| store.on_behalf_of(by, |store| store.generate(name, &suite, now)));
    Answered::json(StatusCode::CREATED, &wire_key(&made.await?)?)
}

pub(super) async fn rotate(call: &Call<'_>, name: &str) -> Result<Answered, Problem> {
    let name = name_of(name)?;
    let Rotate { suite, staged } = call.read()?;
    call.require(Operation::Rotate, Target::Key(&name))?;
    let wanted = name.clone();
    let current = call.store(move |store| store.by_name(&wanted)).await?;
    let current = current.ok_or_else(Problem::no_key)?;
    check_suite(call, suite.as_deref().unwrap_or(current.suite))?;
    let (now, by) = (call.service.now(), call.by());
    let rotated = call.store(move |store| {
        store.on_behalf_of(by, |store| {
            store.rotate(&name, suite.as_deref(), now, staged)
        })
    });
    let Rotated { new, old } = rotated.await?;
    Answered::ok(&Rotation {
        new: wire_key(&new)?,
        old: old.as_ref().map(wire_key).transpose()?,
    })
}

pub(super) async fn set_state(
    call: &Call<'_>,
    name: &str,
    number: &str,
) -> Result<Answered, Problem> {
    let name = name_of(name)?;
    let number = version_of(number).ok_or_else(Problem::no_key)?;
    let SetState { state } = call.read()?;
    let state = wire::state_of(&state).ok_or_else(|| Problem::bad("there is no such state"))?;
    let destroys = state == State::Destroyed;
    let operation = if destroys {
        Operation::Destroy
    } else {
        Operation::State
    };
    call.require(operation, Target::Key(&name))?;
    let service = call.service;
    let mut pending = None;
    if destroys {
        let key = destroyable(call, &name, number).await?;
        let (grants, now) = (&service.grants, service.now());
        let may = |client| grants.permits(client, Operation::Destroy, Target::Key(&name), now);
        let asked = service.pending.ask(key, call.client, may, now);
        let is_second = asked.map_err(|_| {
            let detail = "too many versions wait for a second client";
            Problem::new(StatusCode::CONFLICT, detail)
        })?;
        if !is_second {
            return Answered::json(StatusCode::ACCEPTED, &OneMore { waiting: 1 });
        }
        pending = Some(key);
    }
    let (now, by) = (service.now(), call.by());
    let done = call.store(move |store| {
        store.on_behalf_of(by, |store| store.set_state(&name, number, state, now))
    });
    let entry = done.await?;
    service.cache.forget(entry.id);
    if let Some(key) = pending {
        service.pending.done(key);
    }
    Answered::ok(&wire_key(&entry)?)
}

/// Returns the key of a version that may be destroyed: nobody waits for what cannot be done.
async fn destroyable(
    call: &Call<'_>,
    name: &KeyName,
    number: VersionNumber,
) -> Result<KeyId, Problem> {
    let wanted = name.clone();
    let found = call.store(move |store| {
        let Some(versions) = store.versions(&wanted)? else {
            return Ok(None);
        };
        versions.version(number).copied().map(Some)
    });
    let version = found.await?.ok_or_else(Problem::no_key)?;
    match version.state {
        state @ (State::Active | State::Destroyed) => {
            let detail = format!("version {number} of `{name}` is {state}");
            Err(Problem::new(StatusCode::CONFLICT, detail))
        }
        State::PreActive | State::DecryptOnly | State::Disabled => Ok(version.key),
    }
}

/// Returns the bindings after `after`, which is the base64 of a place, as many as one answer has.
pub(super) async fn bindings(call: &Call<'_>, name: &str) -> Result<Answered, Problem> {
    let name = name_of(name)?;
    // Whoever destroys a version must be able to see what is sealed to it.
    if !call.permits(Operation::Destroy, Target::Key(&name)) {
        call.require(Operation::Bind, Target::Key(&name))?;
    }
    let after = call.text("after")?.map(place_of).transpose()?;
    let turn = call.long_turn()?;
    let service = call.service;
    let read = |store: &ServedStore| {
        let mut all = store.all_bindings()?;
        all.sort_by(|a, b| (&a.name, &a.place).cmp(&(&b.name, &b.place)));
        Ok(all)
    };
    let all = service.bindings.get(&service.worker, call.client, read);
    let all = all.await?;
    let is_next =
        |one: &&Binding| one.name == name && after.as_ref().is_none_or(|after| one.place > *after);
    let mut rest = all.iter().filter(is_next);
    let page = rest.by_ref().take(KEYS_MAX).cloned().map(Bound::of);
    let list = BindingList {
        bindings: page.collect(),
        more: rest.next().is_some(),
    };
    let json = serde_json::to_vec(&list).map_err(|_| Problem::internal())?;
    Ok(Answered::long(json, turn))
}

fn place_of(text: &str) -> Result<String, Problem> {
    let bytes = Base64Url::decode_vec(text).ok();
    let place = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    place.ok_or_else(|| Problem::bad("`after` must be the base64url of a place"))
}

pub(super) async fn bind(call: &Call<'_>, name: &str) -> Result<Answered, Problem> {
    let name = name_of(name)?;
    let BindingChange { bind, unbind } = call.read()?;
    if bind.len().saturating_add(unbind.len()) > BINDINGS_MAX {
        let detail = format!("a request has at most {BINDINGS_MAX} bindings");
        return Err(Problem::bad(detail));
    }
    call.require(Operation::Bind, Target::Key(&name))?;
    let bind: Vec<_> = bind.into_iter().map(|place| place.read(&name)).collect();
    let by = call.by();
    let done = call.store(move |store| {
        let Some(versions) = store.versions(&name)? else {
            return Err(StoreError::NoKey(name.to_string()));
        };
        for binding in &bind {
            versions.version(binding.version)?;
            if binding.place.len() > PLACE_BYTES_MAX {
                return Err(StoreError::PlaceTooLong(binding.place.len()));
            }
        }
        // Every listing reads all rows, so that clients must not make them without end.
        if !bind.is_empty() && store.content()?.0 > BOUND_ROWS_MAX {
            return Err(StoreError::Full(BOUND_ROWS_MAX));
        }
        store.on_behalf_of(by, |store| store.rebind(&name, &bind, &unbind))
    });
    done.await?;
    Answered::ok(&serde_json::json!({}))
}

/// Reads a key id as it is written everywhere: in lower case.
pub(super) fn exact_id(text: &str) -> Option<KeyId> {
    let id: KeyId = text.parse().ok()?;
    (id.to_hex() == text).then_some(id)
}
