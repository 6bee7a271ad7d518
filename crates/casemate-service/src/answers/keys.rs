//! Keys: what there is, and changes of it.

use casemate_crypto::{
    encoding::{KeyId, PublicKey},
    signature::HTTP_SUITE_NAME,
    suite::{KemSuite, SignatureSuite},
};
use casemate_keys::{KeyEntry, KeyName, Rotated, State, VersionNumber};
use http::StatusCode;

use super::Answered;
use crate::{
    grants::{Operation, Target},
    problem::Problem,
    service::Call,
    wire::{
        self, BINDINGS_MAX, BindingChange, BindingList, Bound, Create, Key, KeyList, KeyStatus,
        Named, OneMore, Rotate, Rotation, SetState, StatusList, VersionOf,
    },
};

fn name_of(text: &str) -> Result<KeyName, Problem> {
    text.parse().map_err(|_| Problem::no_key())
}

fn wire_key(entry: &KeyEntry) -> Result<Key, Problem> {
    Key::of(entry).ok_or_else(Problem::internal)
}

pub(super) async fn list(call: &Call<'_>) -> Result<Answered, Problem> {
    let listing = call.service.worker.call(|store| store.list()).await?;
    let may_read = |name: &KeyName| call.permits(Operation::Read, Target::Key(name));
    let keys = listing.keys.iter().filter(|entry| may_read(&entry.name));
    let damage = if call.permits(Operation::Read, Target::All) {
        listing.damage.iter().map(ToString::to_string).collect()
    } else {
        Vec::new()
    };
    Answered::ok(&KeyList {
        keys: keys.map(wire_key).collect::<Result<_, _>>()?,
        damage,
    })
}

pub(super) async fn named(call: &Call<'_>, name: &str) -> Result<Answered, Problem> {
    let name = name_of(name)?;
    call.require(Operation::Read, Target::Key(&name))?;
    let found = call.service.worker.call(move |store| {
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
    let id: KeyId = id.parse().map_err(|_| Problem::no_key())?;
    let found = call
        .service
        .worker
        .call(move |store| store.by_id(id))
        .await?;
    let entry = found.ok_or_else(Problem::no_key)?;
    call.require(Operation::Read, Target::Key(&entry.name))?;
    Answered::ok(&wire_key(&entry)?)
}

pub(super) async fn statuses(call: &Call<'_>) -> Result<Answered, Problem> {
    // Whoever verifies must know of every key that is compromised.
    call.require(Operation::Read, Target::Any)?;
    let statuses = call.service.worker.call(|store| store.statuses()).await?;
    let statuses = statuses.into_iter();
    Answered::ok(&StatusList {
        statuses: statuses
            .map(|(id, status, state)| KeyStatus::of(id, status, state))
            .collect(),
    })
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
    let made = call
        .service
        .worker
        .call(move |store| store.on_behalf_of(by, |store| store.generate(name, &suite, now)));
    Answered::json(StatusCode::CREATED, &wire_key(&made.await?)?)
}

pub(super) async fn rotate(call: &Call<'_>, name: &str) -> Result<Answered, Problem> {
    let name = name_of(name)?;
    let Rotate { suite, staged } = call.read()?;
    call.require(Operation::Rotate, Target::Key(&name))?;
    if let Some(suite) = &suite {
        check_suite(call, suite)?;
    }
    let (now, by) = (call.service.now(), call.by());
    let rotated = call.service.worker.call(move |store| {
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
    let number: VersionNumber = number.parse().map_err(|_| Problem::no_key())?;
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
    if destroys {
        check_destroyable(call, &name, number).await?;
        let asked = service
            .pending
            .ask(&name, number, call.client, service.now());
        let is_second = asked.map_err(|_| {
            let detail = "too many versions wait for a second client";
            Problem::new(StatusCode::CONFLICT, detail)
        })?;
        if !is_second {
            return Answered::json(StatusCode::ACCEPTED, &OneMore { waiting: 1 });
        }
    }
    let (now, by, changed) = (service.now(), call.by(), name.clone());
    let done = service.worker.call(move |store| {
        store.on_behalf_of(by, |store| store.set_state(&changed, number, state, now))
    });
    let entry = done.await?;
    service.cache.forget(entry.id);
    if destroys {
        service.pending.done(&name, number);
    }
    Answered::ok(&wire_key(&entry)?)
}

/// Refuses to wait for a second client for what cannot be done anyway.
async fn check_destroyable(
    call: &Call<'_>,
    name: &KeyName,
    number: VersionNumber,
) -> Result<(), Problem> {
    let wanted = name.clone();
    let found = call.service.worker.call(move |store| {
        let Some(versions) = store.versions(&wanted)? else {
            return Ok(None);
        };
        versions.version(number).map(|version| Some(version.state))
    });
    match found.await? {
        None => Err(Problem::no_key()),
        Some(state @ (State::Active | State::Destroyed)) => {
            let detail = format!("version {number} of `{name}` is {state}");
            Err(Problem::new(StatusCode::CONFLICT, detail))
        }
        Some(_) => Ok(()),
    }
}

pub(super) async fn bindings(call: &Call<'_>, name: &str) -> Result<Answered, Problem> {
    let name = name_of(name)?;
    call.require(Operation::Bind, Target::Key(&name))?;
    let found = call.service.worker.call(move |store| store.bindings(&name));
    let bindings = found.await?.into_iter().map(Bound::of).collect();
    Answered::ok(&BindingList { bindings })
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
    let done = call.service.worker.call(move |store| {
        store.on_behalf_of(by, |store| {
            store.bind(&bind)?;
            store.unbind(&name, &unbind)
        })
    });
    done.await?;
    Answered::ok(&serde_json::json!({}))
}

/// Returns whether a public key is of a KEM.
pub(super) const fn is_kem(key: &PublicKey) -> bool {
    matches!(key, PublicKey::Kem(_))
}
