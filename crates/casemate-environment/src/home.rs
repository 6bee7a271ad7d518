//! The location of the user's key store.

use std::{
    env,
    path::{Path, PathBuf},
};

use crate::EnvironmentError;

/// Returns the folder of the key store: the one given, `CASEMATE_HOME`, or `casemate` in the user's
/// data folder.
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

/// Returns the path of the key store in a home folder.
pub fn store_path(home: &Path) -> PathBuf {
    home.join("keys.db")
}
