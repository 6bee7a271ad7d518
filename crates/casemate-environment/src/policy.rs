//! References to policies.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use casemate_crypto::policy::{POLICY_BYTES_MAX, Policy};

use crate::{EnvironmentError, error::shown, read_limited};

/// A policy as a user names it: a bare word for a built-in profile, or a path with a `/` for a
/// file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyReference {
    /// A built-in profile.
    Name(String),
    /// A policy file.
    File(PathBuf),
}

impl FromStr for PolicyReference {
    type Err = EnvironmentError;

    fn from_str(text: &str) -> Result<Self, EnvironmentError> {
        if text.contains('/') {
            return Ok(Self::File(PathBuf::from(text)));
        }
        Ok(Self::Name(text.to_owned()))
    }
}

impl fmt::Display for PolicyReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

impl PolicyReference {
    /// Finds the profile, or reads the file.
    ///
    /// # Errors
    ///
    /// [`EnvironmentError::UnknownPolicy`], [`EnvironmentError::Io`], [`EnvironmentError::Policy`]
    /// and the other errors of reading a file.
    pub fn resolve(&self) -> Result<Policy, EnvironmentError> {
        match self {
            Self::Name(name) => {
                let built_in = Policy::built_in()?;
                let found = built_in.into_iter().find(|policy| policy.name() == name);
                found.ok_or_else(|| EnvironmentError::UnknownPolicy {
                    named: shown(name),
                    is_file: Path::new(name).is_file(),
                })
            }
            Self::File(path) => {
                let text = read_limited(path, POLICY_BYTES_MAX)?;
                let text = str::from_utf8(text.expose())
                    .map_err(|_| EnvironmentError::NotUtf8(path.clone()))?;
                Ok(Policy::from_toml(text)?)
            }
        }
    }
}

/// Returns the policy that applies: the one given, `CASEMATE_POLICY`, the one `PQC_KEY_MANAGEMENT`
/// implies, or `hybrid`.
///
/// # Errors
///
/// As [`PolicyReference::resolve`]; [`EnvironmentError::Classical`] and
/// [`EnvironmentError::Variable`] for unsupported values of the variables.
pub fn policy(given: Option<&str>) -> Result<Policy, EnvironmentError> {
    if let Some(given) = given {
        return given.parse::<PolicyReference>()?.resolve();
    }
    if let Some(set) = variable("CASEMATE_POLICY")? {
        return set.parse::<PolicyReference>()?.resolve();
    }
    match variable("PQC_KEY_MANAGEMENT")?.as_deref() {
        None | Some("hybrid") => Ok(Policy::by_name("hybrid")?),
        Some("pq") => Ok(Policy::by_name("cnsa2")?),
        Some("classical") => Err(EnvironmentError::Classical),
        Some(other) => Err(EnvironmentError::Variable {
            variable: "PQC_KEY_MANAGEMENT",
            value: shown(other),
        }),
    }
}

/// Returns an environment variable that is set and not empty.
fn variable(variable: &'static str) -> Result<Option<String>, EnvironmentError> {
    match env::var(variable) {
        Ok(value) if value.is_empty() => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(env::VarError::NotPresent) => Ok(None),
        // Ignoring it would silently apply a different policy.
        Err(env::VarError::NotUnicode(value)) => Err(EnvironmentError::Variable {
            variable,
            value: shown(&value.to_string_lossy()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_word_is_a_built_in_profile_and_never_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ours");
        let text = r#"
            name = "ours"
            description = "d"
            kem = ["mlkem1024-p384"]
            signature = ["mldsa87-p384"]
            tls = ["X25519MLKEM768"]
            hash = "blake3"
        "#;
        std::fs::write(&path, text).unwrap();
        let resolve = |text: &str| text.parse::<PolicyReference>().unwrap().resolve();
        assert_eq!(resolve("cnsa2").unwrap().name(), "cnsa2");
        assert_eq!(resolve(path.to_str().unwrap()).unwrap().name(), "ours");
        let refused = resolve("ours").unwrap_err();
        assert!(
            matches!(refused, EnvironmentError::UnknownPolicy { named, .. } if named == "ours")
        );
        let missing = resolve("./cnsa2").unwrap_err();
        assert!(matches!(missing, EnvironmentError::Io { .. }));
    }
}
