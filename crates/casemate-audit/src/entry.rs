//! Entries (`spec/audit-log.md`, section 1).

use serde::{Deserialize, Serialize};

use crate::{AuditError, malformed};

/// Longest entry, in bytes.
pub(crate) const ENTRY_BYTES_MAX: usize = 4096;
const BY_CHARS_MAX: usize = 128;
const ABOUT_CHARS_MAX: usize = 512;

/// What an entry records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// The log began.
    Enabled,
    /// The key store was opened.
    Opened,
    /// A private key was given to a process.
    PrivateKey,
    /// A service opened something for a client.
    Unwrapped,
    /// A service signed something for a client.
    Signed,
    /// A key was made.
    Created,
    /// A key made elsewhere was stored.
    Imported,
    /// A key got a new version.
    Rotated,
    /// A key was removed.
    Removed,
    /// A version changed its state.
    State,
    /// A key's validity changed.
    Status,
    /// A key's rotation policy changed.
    Policy,
    /// A slot was added.
    SlotAdded,
    /// A slot was removed.
    SlotRemoved,
    /// The secret of a slot was changed.
    SlotChanged,
    /// The members of a group changed.
    GroupChanged,
    /// The root key was replaced.
    RootReplaced,
    /// Uses of a key were counted.
    Reserved,
    /// What is sealed to a key was recorded.
    Bound,
}

/// An entry of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// When, in seconds since 1970-01-01 UTC.
    pub time: u64,
    /// What happened.
    pub what: What,
    /// Who did it.
    pub by: String,
    /// The version of a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Its key id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// More about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
}

impl Entry {
    /// Encodes the entry. Text that is too long is cut.
    ///
    /// # Errors
    ///
    /// [`AuditError::Malformed`] if it is too long even so.
    pub fn encode(&self) -> Result<Vec<u8>, AuditError> {
        let cut = |text: &str, most: usize| text.chars().take(most).collect::<String>();
        let entry = Self {
            by: cut(&self.by, BY_CHARS_MAX),
            about: self.about.as_deref().map(|text| cut(text, ABOUT_CHARS_MAX)),
            ..self.clone()
        };
        let bad = |rule| malformed("entry", rule);
        let encoded = serde_json::to_vec(&entry).map_err(|_| bad("it cannot be encoded"))?;
        if encoded.len() > ENTRY_BYTES_MAX {
            return Err(bad("it is longer than 4,096 bytes"));
        }
        Ok(encoded)
    }

    /// Decodes an entry.
    ///
    /// # Errors
    ///
    /// [`AuditError::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, AuditError> {
        let bad = |rule| malformed("entry", rule);
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(bad("it is longer than 4,096 bytes"));
        }
        let entry: Self =
            serde_json::from_slice(bytes).map_err(|_| bad("it is not the JSON of an entry"))?;
        let chars = |text: &str| text.chars().count();
        let about = entry.about.as_deref().map_or(0, chars);
        if chars(&entry.by) > BY_CHARS_MAX || about > ABOUT_CHARS_MAX {
            return Err(bad("a text in it is too long"));
        }
        // The comparison covers order, white space and repeated names.
        if serde_json::to_vec(&entry).is_ok_and(|again| again == bytes) {
            Ok(entry)
        } else {
            Err(bad("it is not in its canonical form"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            time: 7,
            what: What::PrivateKey,
            by: "uid 1000, casemate open".to_owned(),
            key: Some("model@2".to_owned()),
            id: Some("ab".repeat(32)),
            about: None,
        }
    }

    #[test]
    fn an_entry_has_one_form() {
        let encoded = entry().encode().unwrap();
        let expected = format!(
            "{{\"time\":7,\"what\":\"private-key\",\"by\":\"uid 1000, casemate open\",\"key\":\"model@2\",\"id\":\"{}\"}}",
            "ab".repeat(32)
        );
        assert_eq!(String::from_utf8(encoded.clone()).unwrap(), expected);
        assert_eq!(Entry::decode(&encoded).unwrap(), entry());
        for good in [
            expected.replace("casemate open", &"o".repeat(118)),
            expected.replace("\"}", &format!("\",\"about\":\"{}\"}}", "a".repeat(512))),
        ] {
            Entry::decode(good.as_bytes()).unwrap();
        }
        for bad in [
            expected.replace(":7", ": 7"),
            expected.replace("private-key", "other"),
            expected.replace("{\"time\":7,", "{\"time\":7,\"time\":7,"),
            expected.replace("{\"time\":7,", "{\"more\":7,\"time\":7,"),
            expected.replace("casemate open", &"o".repeat(119)),
            expected.replace("\"}", &format!("\",\"about\":\"{}\"}}", "a".repeat(513))),
            format!("{expected} "),
            String::new(),
        ] {
            assert!(Entry::decode(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn long_text_is_cut_and_what_is_still_too_long_refused() {
        let long = Entry {
            by: "x".repeat(500),
            about: Some("y".repeat(5000)),
            ..entry()
        };
        let decoded = Entry::decode(&long.encode().unwrap()).unwrap();
        assert_eq!((decoded.by.len(), decoded.about.unwrap().len()), (128, 512));
        let key = Some("k".repeat(5000));
        Entry { key, ..entry() }.encode().unwrap_err();
    }
}
