//! The schemas of the messages.

use serde_json::{Map, Value, json};

use crate::wire::{BINDINGS_MAX, REWRAP_MAX};

pub(super) fn text() -> Value {
    json!({ "type": "string" })
}

fn bytes() -> Value {
    json!({ "type": "string", "contentEncoding": "base64" })
}

pub(super) fn key_id() -> Value {
    json!({ "type": "string", "pattern": "^[0-9a-f]{64}$" })
}

pub(super) fn number() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

fn state() -> Value {
    json!({ "enum": ["pre-active", "active", "decrypt-only", "disabled", "destroyed"] })
}

fn list(of: &Value) -> Value {
    json!({ "type": "array", "items": of })
}

pub(super) fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// Returns an object's schema: members that it must have, and others.
fn object(required: &[(&str, Value)], optional: &[(&str, Value)]) -> Value {
    let all = required.iter().chain(optional);
    let properties: Map<_, _> = all
        .map(|(name, schema)| ((*name).to_owned(), schema.clone()))
        .collect();
    let names: Vec<_> = required.iter().map(|(name, _)| *name).collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": names,
        "additionalProperties": false,
    })
}

fn validity() -> [(&'static str, Value); 5] {
    [
        ("valid_from", number()),
        ("valid_until", number()),
        ("superseded", number()),
        ("compromised", number()),
        ("successor_of", key_id()),
    ]
}

fn key_schemas() -> Vec<(&'static str, Value)> {
    let key = [
        ("name", text()),
        ("version", number()),
        ("state", state()),
        ("id", key_id()),
        ("kind", json!({ "enum": ["kem", "sign", "http"] })),
        ("suite", text()),
        ("private", json!({ "type": "boolean" })),
        ("created", number()),
        ("public", text()),
    ];
    let version = [
        ("version", number()),
        ("id", key_id()),
        ("private", json!({ "type": "boolean" })),
        ("state", state()),
        ("since", number()),
    ];
    let status = [("id", key_id()), ("state", state())];
    vec![
        ("Key", object(&key, &validity())),
        (
            "KeyList",
            object(
                &[
                    ("keys", list(&reference("Key"))),
                    ("damage", list(&text())),
                    ("more", json!({ "type": "boolean" })),
                ],
                &[],
            ),
        ),
        ("Version", object(&version, &[])),
        (
            "Named",
            object(
                &[
                    ("versions", list(&reference("Version"))),
                    ("keys", list(&reference("Key"))),
                ],
                &[],
            ),
        ),
        ("KeyStatus", object(&status, &validity())),
        (
            "Statuses",
            object(&[("statuses", list(&reference("KeyStatus")))], &[]),
        ),
        ("Waiting", object(&[("waiting", number())], &[])),
        ("Empty", object(&[], &[])),
    ]
}

fn change_schemas() -> Vec<(&'static str, Value)> {
    vec![
        (
            "Create",
            object(&[("name", text()), ("suite", text())], &[]),
        ),
        (
            "Rotate",
            object(
                &[],
                &[("suite", text()), ("staged", json!({ "type": "boolean" }))],
            ),
        ),
        (
            "Rotation",
            object(
                &[
                    ("new", reference("Key")),
                    (
                        "old",
                        json!({ "oneOf": [reference("Key"), { "type": "null" }] }),
                    ),
                ],
                &[],
            ),
        ),
        ("SetState", object(&[("state", state())], &[])),
    ]
}

fn binding_schemas() -> Vec<(&'static str, Value)> {
    let place = [("place", text()), ("version", number()), ("seen", number())];
    let bind = json!({ "type": "array", "items": reference("Place"), "maxItems": BINDINGS_MAX });
    let unbind = json!({ "type": "array", "items": text(), "maxItems": BINDINGS_MAX });
    vec![
        ("Place", object(&place, &[])),
        (
            "Bindings",
            object(
                &[
                    ("bindings", list(&reference("Place"))),
                    ("more", json!({ "type": "boolean" })),
                ],
                &[],
            ),
        ),
        ("Bind", object(&[], &[("bind", bind), ("unbind", unbind)])),
    ]
}

fn use_schemas() -> Vec<(&'static str, Value)> {
    let open = [
        ("key", key_id()),
        ("kdf", number()),
        ("aead", number()),
        ("enc", bytes()),
        ("info", bytes()),
        ("aad", bytes()),
        ("ciphertext", bytes()),
    ];
    let pair = [("ed25519", bytes()), ("mldsa65", bytes())];
    let sign_http = [
        ("key", key_id()),
        ("ed25519", bytes()),
        ("mldsa65", bytes()),
    ];
    let context = json!({ "type": "string", "minLength": 1, "maxLength": 256 });
    let unwrap = [("wrapped", bytes()), ("context", context.clone())];
    let items = json!({ "type": "array", "items": reference("Unwrap"), "maxItems": REWRAP_MAX });
    let rewrapped = object(&[], &[("wrapped", bytes()), ("error", text())]);
    let entry = [("index", number()), ("entry", json!({ "type": "object" }))];
    let data_key = [
        ("key", key_id()),
        ("plaintext", bytes()),
        ("wrapped", bytes()),
    ];
    let problem = [("title", text()), ("status", number()), ("detail", text())];
    vec![
        ("Open", object(&open, &[])),
        ("Plaintext", object(&[("plaintext", bytes())], &[])),
        (
            "Sign",
            object(
                &[
                    ("key", key_id()),
                    ("context", bytes()),
                    ("message", bytes()),
                ],
                &[],
            ),
        ),
        ("Signature", object(&[("signature", bytes())], &[])),
        ("SignHttp", object(&sign_http, &[])),
        ("HttpSignature", object(&pair, &[])),
        (
            "NewDataKey",
            object(&[("name", text()), ("context", context)], &[]),
        ),
        ("DataKey", object(&data_key, &[])),
        ("Unwrap", object(&unwrap, &[])),
        ("Rewrap", object(&[("items", items)], &[])),
        ("Rewrapped", object(&[("items", list(&rewrapped))], &[])),
        (
            "Entries",
            object(&[("entries", list(&object(&entry, &[])))], &[]),
        ),
        ("Problem", object(&problem, &[])),
    ]
}

/// Returns every schema by its name.
pub(super) fn all() -> Map<String, Value> {
    key_schemas()
        .into_iter()
        .chain(change_schemas())
        .chain(binding_schemas())
        .chain(use_schemas())
        .map(|(name, schema)| (name.to_owned(), schema))
        .collect()
}
