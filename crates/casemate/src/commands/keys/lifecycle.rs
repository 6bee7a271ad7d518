//! `casemate keys rotate`, `activate`, `disable`, `enable`, `destroy` and `policy`.

use casemate_environment::KeyReference;
use casemate_gateway::unix_seconds;
use casemate_keys::{
    KeyName, Keys, Rotated, RotationPolicy, State, StoreError, VersionNumber, Versions,
};
use serde_json::{Value, json};

use super::{
    check_policy,
    entry::{entry_json, print_entry},
    suite_for,
};
use crate::{
    args::PolicyOptions,
    context::{Context, Store},
    fault::{Fault, Outcome},
    printer::{bytes_text, count_text, time_text},
};

pub(super) fn rotate(
    context: &Context<'_>,
    key: &str,
    suite: Option<&str>,
    staged: bool,
) -> Result<(), Fault> {
    let name = name_of(key)?;
    let mut store = context.keys()?;
    let rotated = rotate_one(context, &mut *store, &name, suite, staged)?;
    context
        .printer
        .data(&rotated_json(&rotated), &rotated_text(&rotated, staged));
    if staged {
        context.printer.note(&format!(
            "nothing uses it yet; once every machine has loaded it, run `casemate keys activate {name}@{}`",
            rotated.new.version
        ));
    }
    Ok(())
}

fn rotate_one(
    context: &Context<'_>,
    store: &mut dyn Keys,
    name: &KeyName,
    suite: Option<&str>,
    staged: bool,
) -> Result<Rotated, Fault> {
    if let Some(current) = store.by_name(name)? {
        match suite {
            Some(suite) => suite_for(context, current.kind, suite)?,
            None => check_policy(context, &current.public)?,
        }
    }
    Ok(store.rotate(name, suite, unix_seconds(), staged)?)
}

pub(super) fn rotate_due(context: &Context<'_>) -> Result<(), Fault> {
    let mut store = context.key_store()?;
    let due = store.due(unix_seconds())?;
    let mut done = Vec::new();
    let mut lines = Vec::new();
    for (versions, limit) in due {
        let rotated = rotate_one(context, &mut store, &versions.name, None, false)?;
        lines.push(format!(
            "{}: now version {} (reached its limit of {limit})",
            versions.name, rotated.new.version
        ));
        done.push(rotated_json(&rotated));
    }
    if lines.is_empty() {
        lines.push("no key is due".to_owned());
    }
    let json = json!({ "schema": "casemate.keys-rotated/1", "rotated": done });
    context.printer.data(&json, &lines.join("\n"));
    Ok(())
}

fn rotated_json(rotated: &Rotated) -> Value {
    json!({
        "schema": "casemate.key-rotated/1",
        "new": entry_json(&rotated.new),
        "old": rotated.old.as_ref().map(entry_json),
    })
}

fn rotated_text(rotated: &Rotated, staged: bool) -> String {
    let new = &rotated.new;
    let what = if staged { "pre-active" } else { "active" };
    let mut text = format!("{}@{} is {what}: key {}", new.name, new.version, new.id);
    if let Some(old) = rotated.old.as_ref().filter(|_| !staged) {
        let line = format!(
            "\n{}@{} is decrypt-only: key {}",
            old.name, old.version, old.id
        );
        text.push_str(&line);
    }
    text
}

/// Returns the name that a command gives, which must not have a version.
fn name_of(named: &str) -> Result<KeyName, Fault> {
    match named.parse()? {
        KeyReference::Name(name) => Ok(name),
        _ => Err(Fault::usage(format!("`{named}` is not the name of a key"))
            .hint("give the name alone, without a version, an id or a path")),
    }
}

/// Returns the version that a command names.
fn version(named: &str) -> Result<(KeyName, VersionNumber), Fault> {
    match named.parse()? {
        KeyReference::Version(name, version) => Ok((name, version)),
        _ => Err(Fault::usage(format!("`{named}` does not name a version"))
            .hint("write the name and the version, such as `model@2`; `casemate keys list` shows both")),
    }
}

pub(super) fn set_state(context: &Context<'_>, named: &str, to: State) -> Result<(), Fault> {
    let (name, version) = version(named)?;
    let mut store = context.keys()?;
    let missing = || StoreError::NoKey(name.to_string());
    let state = store
        .versions(&name)?
        .ok_or_else(missing)?
        .version(version)?
        .state;
    let wrong = |message: String, hint: &str| Err(Fault::usage(message).hint(hint));
    match (state, to) {
        (State::Active, State::Active) => {
            return wrong(
                format!("`{named}` is already active"),
                "`casemate keys list` shows the states",
            );
        }
        (State::Active, State::Disabled) => {
            return wrong(
                format!("`{named}` is the active version, and nothing could be sealed without it"),
                "rotate the key first with `casemate keys rotate`",
            );
        }
        (State::Disabled, State::DecryptOnly)
        | (_, State::Active | State::Disabled | State::Destroyed | State::PreActive) => {}
        (_, State::DecryptOnly) => {
            return wrong(
                format!("`{named}` is not disabled"),
                "`casemate keys list` shows the states",
            );
        }
    }
    let entry = store.set_state(&name, version, to, unix_seconds())?;
    print_entry(context, &entry);
    Ok(())
}

pub(super) fn destroy(
    context: &Context<'_>,
    named: &str,
    yes: bool,
    even_if_used: bool,
) -> Result<(), Fault> {
    let (name, version) = version(named)?;
    let store = context.keys()?;
    let missing = || StoreError::NoKey(name.to_string());
    let versions = store.versions(&name)?.ok_or_else(missing)?;
    if versions.version(version)?.state == State::Active {
        let message = format!("`{named}` is the active version");
        return Err(Fault::new(Outcome::NotPermitted, message).hint(format!(
            "rotate the key first with `casemate keys rotate {name}`, or remove the whole key with `casemate keys remove {name} --destroy`"
        )));
    }
    let bound = if even_if_used {
        Vec::new()
    } else {
        store.bindings(&name)?
    };
    let bound = bound.into_iter();
    let bound: Vec<_> = bound.filter(|binding| binding.version == version).collect();
    if let Some(first) = bound.first() {
        let message = format!(
            "{} was sealed to `{named}` when it was last looked at, and {} more",
            first.place,
            count_text(bound.len().saturating_sub(1), "artifact")
        );
        return Err(Fault::new(Outcome::NotPermitted, message).hint(
            "rewrap them first with `casemate keys rewrap`, or pass --even-if-used to lose them",
        ));
    }
    if !yes {
        let message = format!("destroying `{named}` cannot be undone");
        return Err(Fault::new(Outcome::NotPermitted, message)
            .hint("rewrap everything sealed to it first, then pass --yes"));
    }
    set_state(context, named, State::Destroyed)
}

pub(super) fn policy(context: &Context<'_>, options: &PolicyOptions) -> Result<(), Fault> {
    let name = name_of(&options.key)?;
    let mut store = context.key_store()?;
    let PolicyOptions {
        max_age,
        max_uses,
        max_bytes,
        deadline,
        none,
        ..
    } = options;
    let missing = || StoreError::NoKey(name.to_string());
    let known = store.versions(&name)?.ok_or_else(missing)?;
    let limits = RotationPolicy {
        age: max_age.or(known.policy.age),
        uses: max_uses.or(known.policy.uses),
        bytes: max_bytes.or(known.policy.bytes),
        deadline: deadline.or(known.policy.deadline),
    };
    let versions = if *none {
        store.set_policy(&name, RotationPolicy::default())?
    } else if limits == known.policy {
        known
    } else {
        store.set_policy(&name, limits)?
    };
    show_policy(context, &store, &versions)
}

/// Returns a time as a user writes it.
fn age_text(seconds: u64) -> String {
    match (seconds.checked_rem(86_400), seconds.checked_div(86_400)) {
        (Some(0), Some(days)) => count_text(days, "day"),
        _ => count_text(seconds.checked_div(3_600).unwrap_or_default(), "hour"),
    }
}

fn show_policy(context: &Context<'_>, store: &Store, versions: &Versions) -> Result<(), Fault> {
    let RotationPolicy {
        age,
        uses,
        bytes,
        deadline,
    } = versions.policy;
    let active = versions.active();
    let usage = active.map(|version| store.usage(version.key)).transpose()?;
    let usage = usage.unwrap_or_default();
    let due = active.and_then(|version| versions.policy.due(version, usage, unix_seconds()));
    let json = json!({
        "schema": "casemate.key-policy/1",
        "name": versions.name.as_str(),
        "version": active.map(|version| version.number),
        "max_age": age,
        "max_uses": uses,
        "max_bytes": bytes,
        "deadline": deadline,
        "uses": usage.uses,
        "bytes": usage.bytes,
        "due": due.map(|due| due.to_string()),
    });
    let mut lines = Vec::new();
    if let Some(age) = age {
        lines.push(format!("age       {}", age_text(age.get())));
    }
    if let Some(limit) = uses {
        lines.push(format!("uses      {} of {limit}", usage.uses));
    }
    if let Some(limit) = bytes {
        let (used, limit) = (bytes_text(usage.bytes), bytes_text(limit.get()));
        lines.push(format!("bytes     {used} of {limit}"));
    }
    if let Some(deadline) = deadline {
        lines.push(format!("deadline  {}", time_text(deadline.get())));
    }
    if lines.is_empty() {
        lines.push("no limits".to_owned());
    }
    if let Some(due) = due {
        lines.push(format!("due       reached its limit of {due}"));
    }
    context.printer.data(&json, &lines.join("\n"));
    Ok(())
}
