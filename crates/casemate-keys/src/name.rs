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

/// Returns whether a name has 1 to 64 of the allowed characters and begins with one of `a-z 0-9`.
fn is_plain(name: &str) -> bool {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
    let starts_well = name
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric());
    starts_well && name.len() <= LENGTH_MAX && name.bytes().all(allowed)
}

impl FromStr for KeyName {
    type Err = StoreError;

    fn from_str(name: &str) -> Result<Self, StoreError> {
        let is_id =
            [16, 64].contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_plain(name) && !is_id {
            return Ok(Self(name.to_owned()));
        }
        Err(StoreError::BadName(name.chars().take(LENGTH_MAX).collect()))
    }
}

/// The name of a slot or of a group of slots: 1 to 64 characters from `a-z 0-9 . _ -`, starting
/// with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SlotName(String);

impl SlotName {
    /// Returns the name of the slot that a new key store has.
    pub fn main() -> Self {
        Self("main".to_owned())
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SlotName {
    type Err = StoreError;

    fn from_str(name: &str) -> Result<Self, StoreError> {
        if is_plain(name) {
            return Ok(Self(name.to_owned()));
        }
        let shown = name.chars().take(LENGTH_MAX).collect();
        Err(StoreError::BadSlotName(shown))
    }
}

impl fmt::Display for SlotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
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
