//! References to keys.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use casemate_crypto::encoding::{EncodingError, KEY_FILE_BYTES_MAX, KeyId, PublicKey};
use casemate_keys::{KeyEntry, KeyName, Keys, VersionNumber};

use crate::{EnvironmentError, error::shown, read_limited};

/// Number of digits in a shortened key id, for display only.
const SHORT_ID_DIGITS: usize = 16;

/// A key as a user names it. The kind of reference depends on the text alone, never on the files in
/// the working directory.
#[derive(Clone, Debug)]
pub enum KeyReference {
    /// A public key file: text with a `/`.
    File(PathBuf),
    /// All 64 hex digits of a key id.
    Id(KeyId),
    /// A name in the key store, which stands for its active version.
    Name(KeyName),
    /// One version of a name, such as `model@2`.
    Version(KeyName, VersionNumber),
    /// An age recipient, `age1pq1...`: the key itself, as validated text.
    Recipient(String),
}

/// Length of an X25519 recipient `age1...`, the shortest kind, in characters.
const CLASSICAL_RECIPIENT_CHARS: usize = 62;

impl FromStr for KeyReference {
    type Err = EnvironmentError;

    fn from_str(text: &str) -> Result<Self, EnvironmentError> {
        if text.contains('/') {
            return Ok(Self::File(PathBuf::from(text)));
        }
        if casemate_age::is_recipient(text) {
            casemate_age::recipient_from_text(text)?;
            return Ok(Self::Recipient(text.to_owned()));
        }
        // Key names are never this long.
        if text.starts_with("age1") && text.len() >= CLASSICAL_RECIPIENT_CHARS {
            return Err(EnvironmentError::ClassicalRecipient(shown(text)));
        }
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(id));
        }
        let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_hex && text.len() == SHORT_ID_DIGITS {
            return Err(EnvironmentError::ShortId(text.to_owned()));
        }
        let bad = || EnvironmentError::BadReference(shown(text));
        if let Some((name, version)) = text.split_once('@') {
            let name = name.parse().map_err(|_| bad())?;
            return Ok(Self::Version(
                name,
                version_number(version).ok_or_else(bad)?,
            ));
        }
        text.parse().map(Self::Name).map_err(|_| bad())
    }
}

/// Reads the number of a version as it is written: without a sign, a space or a leading zero.
fn version_number(text: &str) -> Option<VersionNumber> {
    let number: VersionNumber = text.parse().ok()?;
    (number > 0 && number.to_string() == text).then_some(number)
}

/// Shows the reference as the user wrote it, and a key id in full.
impl fmt::Display for KeyReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Id(id) => f.write_str(&id.to_hex()),
            Self::Name(name) => name.fmt(f),
            Self::Version(name, version) => write!(f, "{name}@{version}"),
            Self::Recipient(text) => f.write_str(text),
        }
    }
}

impl KeyReference {
    /// Returns the public key. Paths are relative to `base`; `store` is used only for names and
    /// ids.
    ///
    /// # Errors
    ///
    /// [`EnvironmentError::UnknownKey`], the errors of reading a file, and those of `store`.
    pub fn public<'s, F>(
        &self,
        base: &Path,
        store: impl FnOnce() -> Result<&'s dyn Keys, F>,
    ) -> Result<PublicKey, F>
    where
        F: From<EnvironmentError>,
    {
        match self {
            Self::Recipient(text) => {
                let key = casemate_age::recipient_from_text(text);
                Ok(PublicKey::Kem(key.map_err(EnvironmentError::from)?))
            }
            Self::File(path) => Ok(read_public(&base.join(path))?),
            Self::Id(_) | Self::Name(_) | Self::Version(..) => {
                Ok(self.entry(base, store()?)?.public)
            }
        }
    }

    /// Returns the key store's entry for a name or an id.
    ///
    /// # Errors
    ///
    /// [`EnvironmentError::UnknownKey`], [`EnvironmentError::BadReference`] for a file or a
    /// recipient, and the store's own errors.
    pub fn entry(&self, base: &Path, store: &dyn Keys) -> Result<KeyEntry, EnvironmentError> {
        let found = match self {
            Self::Id(id) => store.by_id(*id)?,
            Self::Name(name) => store.by_name(name)?,
            Self::Version(name, version) => store.by_version(name, *version)?,
            Self::File(_) | Self::Recipient(_) => {
                return Err(EnvironmentError::BadReference(shown(&self.to_string())));
            }
        };
        found.ok_or_else(|| {
            let named = self.to_string();
            let is_file = base.join(&named).is_file();
            EnvironmentError::UnknownKey { named, is_file }
        })
    }
}

fn read_public(path: &Path) -> Result<PublicKey, EnvironmentError> {
    let bytes = read_limited(path, KEY_FILE_BYTES_MAX)?;
    public_from_bytes(bytes.expose()).map_err(|source| EnvironmentError::KeyFile {
        path: path.to_owned(),
        source,
    })
}

/// Reads a public key file: PEM, or one age recipient.
///
/// # Errors
///
/// [`EncodingError`] if it is neither.
pub fn public_from_bytes(bytes: &[u8]) -> Result<PublicKey, EncodingError> {
    let recipient = str::from_utf8(bytes)
        .ok()
        .map(str::trim)
        .filter(|text| casemate_age::is_recipient(text))
        .and_then(|text| casemate_age::recipient_from_text(text).ok());
    match recipient {
        Some(key) => Ok(PublicKey::Kem(key)),
        None => PublicKey::from_pem(bytes),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use casemate_crypto::SecretBytes;
    use casemate_keys::{KeyStore, MemoryEngine, PassphraseCost, StoreSecret};

    use super::*;

    fn store() -> KeyStore<MemoryEngine> {
        let secret = StoreSecret::read(SecretBytes::new(b"correct horse".to_vec())).unwrap();
        let cost = PassphraseCost::default();
        let mut store = KeyStore::create(MemoryEngine::default(), &secret, cost, 1).unwrap();
        let name = "publisher".parse().unwrap();
        store.generate(name, "mldsa65-ed25519", 1).unwrap();
        store
    }

    fn resolve(text: &str, base: &Path) -> Result<KeyId, EnvironmentError> {
        let store = store();
        let reference: KeyReference = text.parse()?;
        let key = reference.public(base, || Ok::<&dyn Keys, EnvironmentError>(&store))?;
        Ok(key.id().map_err(casemate_keys::StoreError::from)?)
    }

    #[test]
    fn what_a_reference_is_depends_on_its_text_alone() {
        let parse = |text: &str| text.parse::<KeyReference>();
        let id = "0123456789abcdef".repeat(4);
        assert!(matches!(parse("publisher"), Ok(KeyReference::Name(_))));
        assert!(matches!(parse("publisher.pub"), Ok(KeyReference::Name(_))));
        assert!(matches!(parse(&id), Ok(KeyReference::Id(_))));
        assert!(matches!(parse(&id.to_uppercase()), Ok(KeyReference::Id(_))));
        for file in ["./a", "/a", "a/b", "../a", "~/a"] {
            assert!(matches!(parse(file), Ok(KeyReference::File(_))), "{file}");
        }
        assert!(matches!(
            parse(&id[..16]),
            Err(EnvironmentError::ShortId(_))
        ));
        assert!(matches!(
            parse("publisher@12"),
            Ok(KeyReference::Version(_, 12))
        ));
        for bad in [
            "",
            "Publisher",
            "a b",
            "-",
            "ä",
            &id[..63].to_uppercase(),
            "a@",
            "@1",
            "a@0",
            "a@01",
            "a@+1",
            "a@1@2",
            "a@4294967296",
        ] {
            let refused = parse(bad).map(|_| ()).unwrap_err();
            assert!(
                matches!(refused, EnvironmentError::BadReference(_)),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_file_with_the_name_of_a_key_is_not_that_key() {
        let folder = tempfile::tempdir().unwrap();
        let planted = casemate_crypto::encoding::PrivateKey::generate("mldsa65-ed25519")
            .unwrap()
            .unwrap()
            .public_key()
            .unwrap();
        let pem = planted.to_pem().unwrap();
        for name in ["publisher", "vendor"] {
            fs::write(folder.path().join(name), &pem).unwrap();
        }
        let planted = planted.id().unwrap();
        assert_ne!(resolve("publisher", folder.path()).unwrap(), planted);
        assert_eq!(resolve("./publisher", folder.path()).unwrap(), planted);
        let refused = resolve("vendor", folder.path()).unwrap_err();
        assert!(matches!(
            refused,
            EnvironmentError::UnknownKey { is_file: true, .. }
        ));
        let missing = resolve("nobody", folder.path()).unwrap_err();
        assert!(matches!(
            missing,
            EnvironmentError::UnknownKey { is_file: false, .. }
        ));
    }
}
