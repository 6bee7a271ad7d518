//! Where the user's key store is.

use std::{
    env,
    path::{Path, PathBuf},
};

use crate::EnvironmentError;

/// The directory of the key store: the one given, `CASEMATE_HOME`, or `casemate` in the user's data directory.
///
/// # Errors
///
/// [`EnvironmentError::NoHome`].
pub fn home(given: Option<&Path>) -> Result<PathBuf, EnvironmentError> {
    if let Some(home) = given {
        return Ok(home.to_owned());
    }
    let set = |name| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let data = || set("XDG_DATA_HOME").or_else(|| Some(set("HOME")?.join(".local/share")));
    set("CASEMATE_HOME")
        .or_else(|| Some(data()?.join("casemate")))
        .ok_or(EnvironmentError::NoHome)
}

/// The key store in a home directory.
pub fn store_path(home: &Path) -> PathBuf {
    home.join("keys.db")
}
