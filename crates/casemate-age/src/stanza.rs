//! The stanza `-> mlkem768x25519 ENC` with a body of 32 bytes.

use std::collections::HashSet;

use age::{DecryptError, EncryptError, Identity, Recipient};
use age_core::{
    format::{FILE_KEY_BYTES, FileKey, Stanza},
    secrecy::ExposeSecret,
};
use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use casemate_crypto::{
    Error,
    hpke::{HpkeSuite, TAG_BYTES},
    kem::{KemPrivateKey, KemPublicKey},
    suite::{HpkeTriple, MLKEM768_X25519},
};

use crate::AgeError;

const TAG: &str = "mlkem768x25519";
const INFO: &[u8] = b"age-encryption.org/mlkem768x25519";
/// The label that prevents mixing with classical recipients, which would make the file only as
/// strong as they are.
const LABEL: &str = "postquantum";
const BODY_BYTES: usize = FILE_KEY_BYTES + TAG_BYTES;

/// Returns the HPKE suite MLKEM768-X25519, HKDF-SHA256, ChaCha20-Poly1305.
fn suite() -> Result<HpkeSuite, AgeError> {
    let kem = MLKEM768_X25519.hpke.kem;
    let triple = HpkeTriple {
        kem,
        kdf: 0x0001,
        aead: 0x0003,
    };
    HpkeSuite::by_triple(triple).ok_or(AgeError::Key)
}

/// Wraps a file key to one public key.
pub(crate) struct HybridRecipient<'a> {
    key: &'a KemPublicKey,
    suite: HpkeSuite,
}

impl<'a> HybridRecipient<'a> {
    pub(crate) fn new(key: &'a KemPublicKey) -> Result<Self, AgeError> {
        if key.suite() != &MLKEM768_X25519 {
            return Err(AgeError::Key);
        }
        let suite = suite()?;
        Ok(Self { key, suite })
    }
}

impl Recipient for HybridRecipient<'_> {
    fn wrap_file_key(
        &self,
        file_key: &FileKey,
    ) -> Result<(Vec<Stanza>, HashSet<String>), EncryptError> {
        let sealed = self
            .suite
            .seal(self.key, INFO, b"", file_key.expose_secret());
        let (enc, body) = sealed.map_err(|error| EncryptError::Io(std::io::Error::other(error)))?;
        let stanza = Stanza {
            tag: TAG.to_owned(),
            args: vec![BASE64_STANDARD_NO_PAD.encode(enc)],
            body,
        };
        Ok((vec![stanza], HashSet::from([LABEL.to_owned()])))
    }
}

/// Unwraps a file key with one private key.
pub(crate) struct HybridIdentity<'a> {
    key: &'a KemPrivateKey,
    suite: HpkeSuite,
}

impl<'a> HybridIdentity<'a> {
    pub(crate) fn new(key: &'a KemPrivateKey) -> Result<Self, AgeError> {
        if key.suite() != &MLKEM768_X25519 {
            return Err(AgeError::Key);
        }
        let suite = suite()?;
        Ok(Self { key, suite })
    }

    /// Unwraps the file key; returns `None` if the stanza is for another recipient.
    fn unwrap(&self, stanza: &Stanza) -> Result<Option<FileKey>, DecryptError> {
        let [encoded] = stanza.args.as_slice() else {
            return Err(DecryptError::InvalidHeader);
        };
        // The base64 engine refuses padding and bits beyond the last byte, as the format requires.
        let enc = BASE64_STANDARD_NO_PAD
            .decode(encoded)
            .ok()
            .filter(|enc| enc.len() == MLKEM768_X25519.ciphertext_bytes)
            .ok_or(DecryptError::InvalidHeader)?;
        // A longer file key could decrypt with two keys (a partitioning oracle), so check the
        // length first.
        if stanza.body.len() != BODY_BYTES {
            return Err(DecryptError::InvalidHeader);
        }
        let Ok(mut context) = self.suite.setup_recipient(&enc, self.key, INFO) else {
            return Err(DecryptError::InvalidHeader);
        };
        match context.open(b"", &stanza.body) {
            Ok(key) => {
                let key = zeroize::Zeroizing::new(key);
                FileKey::try_init_with_mut(|out| {
                    let key = key
                        .get(..FILE_KEY_BYTES)
                        .ok_or(DecryptError::InvalidHeader)?;
                    out.copy_from_slice(key);
                    Ok(())
                })
                .map(Some)
            }
            Err(Error::Rejected) => Ok(None),
            Err(_) => Err(DecryptError::InvalidHeader),
        }
    }
}

impl Identity for HybridIdentity<'_> {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, DecryptError>> {
        if stanza.tag != TAG {
            return None;
        }
        self.unwrap(stanza).transpose()
    }
}
