//! Test support shared by the crates' tests.
//!
//! The large public vector sets live beside the checkout and are not part of it. A test that needs one calls
//! [`public_vectors`] and returns early, with the reason printed, when the folder is not there.
#![expect(
    clippy::missing_panics_doc,
    reason = "a test helper fails the test it serves"
)]
#![expect(clippy::print_stderr, reason = "a skipped test says why")]

use std::{fs, path::PathBuf};

use serde_json::Value;

/// The file or folder `name` of the public vectors, or `None` after printing why the test is skipped.
pub fn public_vectors(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/vectors")
        .join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: public vectors `{name}` are not beside this checkout");
    None
}

/// Reads a JSON vector file of the public vectors.
pub fn public_json(name: &str) -> Option<Value> {
    let path = public_vectors(name)?;
    Some(serde_json::from_slice(&fs::read(path).expect("vector file")).expect("JSON"))
}

/// The hex string at `key`.
pub fn hex_at(value: &Value, key: &str) -> Vec<u8> {
    hex::decode(str_at(value, key)).expect("hex")
}

/// The string at `key`.
pub fn str_at<'a>(value: &'a Value, key: &str) -> &'a str {
    value
        .get(key)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("no string `{key}`"))
}

/// The array at `key`.
pub fn array_at<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value
        .get(key)
        .and_then(Value::as_array)
        .unwrap_or_else(|| panic!("no array `{key}`"))
}
