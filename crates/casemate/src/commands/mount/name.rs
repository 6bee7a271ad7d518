//! Names under which single files appear.

use std::path::Path;

/// Returns the last component of a path if it is plain ASCII, else `content`.
pub(super) fn plain_name(path: &Path) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .filter(|name| !name.starts_with(['-', '.']) && name.chars().all(plain));
    name.unwrap_or("content").to_owned()
}
