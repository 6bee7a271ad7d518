//! Shows keys.

use std::fmt::Write as _;

use casemate_keys::{End, KeyEntry, Role, Status};
use serde_json::{Value, json};

use crate::{context::Context, printer::time_text};

pub(super) const fn half(role: Role) -> &'static str {
    match role {
        Role::Private => "private",
        Role::Public => "public",
    }
}

pub(super) fn entry_json(entry: &KeyEntry) -> Value {
    json!({
        "name": entry.name.as_str(),
        "version": entry.version,
        "state": entry.state.as_str(),
        "id": entry.id.to_hex(),
        "kind": entry.kind.as_str(),
        "suite": entry.suite,
        "half": half(entry.role),
        "created": entry.created,
        "valid_from": entry.status.valid_from,
        "valid_until": entry.status.valid_until,
        "end": end_of(&entry.status).map(|(word, _)| word),
        "ended": end_of(&entry.status).map(|(_, at)| at),
        "successor_of": entry.status.successor_of.map(|id| id.to_hex()),
    })
}

/// Returns how and when a key ended.
pub(super) const fn end_of(status: &Status) -> Option<(&'static str, u64)> {
    match status.end {
        Some(End::Superseded { at }) => Some(("superseded", at)),
        Some(End::Compromised { at }) => Some(("compromised", at)),
        None => None,
    }
}

pub(super) fn print_entry(context: &Context<'_>, entry: &KeyEntry) {
    let KeyEntry {
        name,
        version,
        state,
        id,
        kind,
        suite,
        role,
        created,
        ..
    } = entry;
    let mut text = format!(
        "name     {name}\nversion  {version}, {state}\nkey id   {}\nkind     {}\nsuite    {suite}\nhalf     {}\ncreated  {}",
        id.to_hex(),
        kind.as_str(),
        half(*role),
        time_text(*created)
    );
    let Status {
        valid_from,
        valid_until,
        successor_of,
        ..
    } = entry.status;
    for (what, date) in [("from   ", valid_from), ("until  ", valid_until)] {
        if let Some(date) = date {
            _ = write!(text, "\n{what}  {}", time_text(date));
        }
    }
    if let Some((word, at)) = end_of(&entry.status) {
        _ = write!(text, "\nended    {word}, {}", time_text(at));
    }
    if let Some(id) = successor_of {
        _ = write!(text, "\nafter    {id}");
    }
    let mut json = entry_json(entry);
    if let Some(object) = json.as_object_mut() {
        object.insert("schema".to_owned(), "casemate.key/1".into());
    }
    context.printer.data(&json, &text);
}
