//! Verifier keys (C2SP signed-note, "Verifier keys").

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use casemate_crypto::signature::LogVerifyingKey;

use crate::{AuditError, malformed};

pub(crate) const ED25519: u8 = 0x01;
pub(crate) const MLDSA44: u8 = 0x06;
/// The length of a name is one byte in what ML-DSA-44 signs.
const NAME_BYTES_MAX: usize = 128;
const WHAT: &str = "pair of verifier keys";

/// The name of a log and its two keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKeys {
    name: String,
    keys: LogVerifyingKey,
}

/// Checks the name of a log.
pub(crate) fn check_name(name: &str) -> Result<(), AuditError> {
    let is_plain = (1..=NAME_BYTES_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'+');
    if is_plain {
        Ok(())
    } else {
        Err(malformed(
            "name of a log",
            "it must have 1 to 128 ASCII characters, without spaces and `+`",
        ))
    }
}

/// Returns the key ID of a signature line.
pub(crate) fn key_id(name: &str, kind: u8, key: &[u8]) -> [u8; 4] {
    let hash = digest(&SHA256, &[name.as_bytes(), b"\n", &[kind], key].concat());
    let mut id = [0; 4];
    id.iter_mut()
        .zip(hash.as_ref())
        .for_each(|(to, from)| *to = *from);
    id
}

impl VerifierKeys {
    /// Assembles the keys of a log.
    ///
    /// # Errors
    ///
    /// [`AuditError::Malformed`] if the name is not valid.
    pub fn new(name: &str, keys: LogVerifyingKey) -> Result<Self, AuditError> {
        check_name(name)?;
        Ok(Self {
            name: name.to_owned(),
            keys,
        })
    }

    /// Reads two lines of text.
    ///
    /// # Errors
    ///
    /// [`AuditError::Malformed`].
    pub fn from_text(text: &str) -> Result<Self, AuditError> {
        let mut lines = text.lines();
        let (Some(first), Some(second), None) = (lines.next(), lines.next(), lines.next()) else {
            return Err(malformed(WHAT, "it must have two lines"));
        };
        let (name, ed25519) = read(first, ED25519)?;
        let (other, mldsa44) = read(second, MLDSA44)?;
        if name != other {
            return Err(malformed(WHAT, "its two keys have different names"));
        }
        Self::new(name, LogVerifyingKey::new(&ed25519, &mldsa44)?)
    }

    /// Returns the keys as two lines of text.
    pub fn to_text(&self) -> String {
        let line = |kind: u8, key: &[u8]| {
            let id = u32::from_be_bytes(key_id(&self.name, kind, key));
            let encoded = STANDARD.encode([&[kind], key].concat());
            format!("{}+{id:08x}+{encoded}\n", self.name)
        };
        let (first, second) = (self.keys.ed25519(), self.keys.mldsa44());
        [line(ED25519, first), line(MLDSA44, second)].concat()
    }

    /// Returns the name of the log.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) const fn keys(&self) -> &LogVerifyingKey {
        &self.keys
    }
}

fn read(line: &str, kind: u8) -> Result<(&str, Vec<u8>), AuditError> {
    let rule = "each line must be `name+key id+base64` of the right type";
    let bad = || malformed(WHAT, rule);
    let mut parts = line.splitn(3, '+');
    let (Some(name), Some(id), Some(encoded)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(bad());
    };
    let key = STANDARD.decode(encoded).map_err(|_| bad())?;
    let key = key.strip_prefix(&[kind]).ok_or_else(bad)?;
    let expected = u32::from_be_bytes(key_id(name, kind, key));
    if id != format!("{expected:08x}") {
        return Err(bad());
    }
    Ok((name, key.to_vec()))
}
