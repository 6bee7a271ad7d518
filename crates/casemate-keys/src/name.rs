//! Names of keys.

use std::{fmt, str::FromStr};

use crate::StoreError;

const LENGTH_MAX: usize = 64;

/// A user's name for a key: 1 to 64 characters from `a-z 0-9 . _ -`, starting with a letter or
/// digit, and not a key id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyName(String);

impl KeyName {
    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyName {
    type Err = StoreError;

    fn from_str(name: &str) -> Result<Self, StoreError> {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
        let starts_well = name
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_alphanumeric());
        let is_id =
            [16, 64].contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        if starts_well && name.len() <= LENGTH_MAX && name.bytes().all(allowed) && !is_id {
            return Ok(Self(name.to_owned()));
        }
        Err(StoreError::BadName(name.chars().take(LENGTH_MAX).collect()))
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_and_never_look_like_key_ids() {
        for name in ["a", "publisher-2026", "0.model_key", &"x".repeat(64)] {
            assert_eq!(name.parse::<KeyName>().unwrap().as_str(), name);
        }
        let id = "0123456789abcdef";
        for name in [
            "",
            "-a",
            ".a",
            "A",
            "a b",
            "a/b",
            "ä",
            &"x".repeat(65),
            id,
            &id.repeat(4),
        ] {
            let refused = name.parse::<KeyName>().unwrap_err();
            assert!(matches!(refused, StoreError::BadName(_)), "{name}");
        }
    }
}
