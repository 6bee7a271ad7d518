//! What is an address, and what a path.

use std::path::PathBuf;

use url::Url;

/// Returns whether `text` is an address in an object store, not a path.
pub fn is_address(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| {
        !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric())
    })
}

/// Returns the path in a `file://` address; `None` for other addresses.
pub fn local_path(address: &str) -> Option<PathBuf> {
    let url = Url::parse(address).ok()?;
    (url.scheme() == "file")
        .then(|| url.to_file_path().ok())
        .flatten()
}
