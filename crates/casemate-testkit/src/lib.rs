//! Test support shared by the crates' tests: the published vectors of `vectors/public`, readers for
//! hex and JSON, raw CBOR, and the names in a folder.
//!
//! A missing vector fails the test that needs it.
//!
//! ```
//! use casemate_testkit::{hex_at, public_json};
//!
//! let vectors = public_json("xwing/test-vectors.json");
//! assert_eq!(hex_at(&vectors[0], "seed").len(), 32);
//! ```
#![expect(clippy::disallowed_methods, reason = "tests read their environment")]
#![expect(
    clippy::missing_panics_doc,
    reason = "a test helper fails the test it serves"
)]
#![expect(clippy::print_stderr, reason = "a skipped test says why")]

pub mod cbor;

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
};

use flate2::read::GzDecoder;
use serde_json::Value;

/// Prints why a test cannot run here. With `cargo xtask test --strict` the test fails instead.
pub fn skip(reason: &str) {
    assert!(
        env::var_os("CASEMATE_STRICT").is_none(),
        "--strict forbids skips: {reason}"
    );
    eprintln!("skipped: {reason}");
}

/// Returns the path of a file or folder of the published vectors.
pub fn public_vectors(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../vectors/public")
        .join(name);
    assert!(path.exists(), "vectors/public/{name} is missing");
    path
}

/// Returns the names in a folder, in order.
pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a readable folder");
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("an entry").file_name().into_string())
        .collect::<Result<_, _>>()
        .expect("names in UTF-8");
    names.sort();
    names
}

/// Reads a JSON file of the published vectors, which is stored compressed.
pub fn public_json(name: &str) -> Value {
    let file = File::open(public_vectors(&format!("{name}.gz"))).expect("a readable file");
    serde_json::from_reader(GzDecoder::new(file)).expect("JSON")
}

/// Returns the decoded hex string at `key`.
pub fn hex_at(value: &Value, key: &str) -> Vec<u8> {
    hex::decode(str_at(value, key)).expect("hex")
}

/// Returns the string at `key`.
pub fn str_at<'a>(value: &'a Value, key: &str) -> &'a str {
    value
        .get(key)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("no string `{key}`"))
}

/// Returns the array at `key`.
pub fn array_at<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value
        .get(key)
        .and_then(Value::as_array)
        .unwrap_or_else(|| panic!("no array `{key}`"))
}
