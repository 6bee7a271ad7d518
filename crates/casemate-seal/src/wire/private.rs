//! The private part (`spec/sealed-artifact.md`, section 5.5).

use std::collections::BTreeMap;

use casemate_crypto::{
    Purpose, Secret,
    hpke::{Aead, AeadKey, Kdf, TAG_BYTES},
    random,
};
use minicbor::Decoder;

use super::{cbor, check_limit, encode, expect_deterministic, expect_key, expect_map};
use crate::{
    error::{Malformed, OpenError, SealError},
    limits::{NAME_BYTES_MAX, PRIVATE_BYTES_MAX},
};

const PRIVATE: &str = "private part";
const SALT_BYTES: usize = 32;
/// Every key encrypts once, because its salt is fresh, so the nonce can be constant.
const NONCE: [u8; 12] = [0; 12];

/// What only recipients may read beside the content.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Private {
    /// Name of the file that was sealed; may be empty.
    pub name: String,
    /// Free metadata.
    pub metadata: BTreeMap<String, String>,
}

impl Private {
    fn encode(&self, content_len: u64) -> Vec<u8> {
        // Deterministic order is that of the encoded keys: shorter first, then bytewise.
        let mut entries: Vec<_> = self.metadata.iter().collect();
        entries.sort_by_key(|(key, _)| (key.len(), key.as_bytes()));
        encode(|e| {
            e.map(3)?.u8(0)?.str(&self.name)?.u8(1)?.u64(content_len)?;
            e.u8(2)?.map(entries.len() as u64)?;
            for (key, value) in entries {
                e.str(key)?.str(value)?;
            }
            Ok(())
        })
    }

    fn decode(bytes: &[u8], content_len: u64) -> Result<Self, OpenError> {
        let mut decoder = Decoder::new(bytes);
        let d = &mut decoder;
        expect_map(d, 3, PRIVATE)?;
        expect_key(d, 0, PRIVATE)?;
        let name = d.str().map_err(cbor(PRIVATE))?.to_owned();
        check_limit("name", name.len(), NAME_BYTES_MAX)?;
        expect_key(d, 1, PRIVATE)?;
        if d.u64().map_err(cbor(PRIVATE))? != content_len {
            return Err(Malformed::PrivateLength.into());
        }
        expect_key(d, 2, PRIVATE)?;
        let count = d
            .map()
            .map_err(cbor(PRIVATE))?
            .ok_or(Malformed::Cbor(PRIVATE))?;
        let mut metadata = BTreeMap::new();
        for _ in 0..count {
            let key = d.str().map_err(cbor(PRIVATE))?.to_owned();
            metadata.insert(key, d.str().map_err(cbor(PRIVATE))?.to_owned());
        }
        let private = Self { name, metadata };
        expect_deterministic(bytes, &private.encode(content_len), PRIVATE)?;
        Ok(private)
    }
}

fn key(artifact_key: &Secret<32>, salt: &[u8]) -> Result<AeadKey, casemate_crypto::Error> {
    let kdf = Kdf::HkdfSha384;
    let prk = kdf.extract(salt, &[artifact_key.expose()])?;
    let key = kdf.expand(&prk, &[Purpose::ARTIFACT_PRIVATE.as_bytes()], 32)?;
    AeadKey::new(Aead::Aes256Gcm, key.expose())
}

pub(crate) fn seal_private(
    private: &Private,
    content_len: u64,
    artifact_key: &Secret<32>,
    aad: &[u8],
) -> Result<Vec<u8>, SealError> {
    let plaintext = private.encode(content_len);
    let limit = PRIVATE_BYTES_MAX
        .saturating_sub(SALT_BYTES)
        .saturating_sub(TAG_BYTES);
    for (field, actual, limit) in [
        ("name", private.name.len(), NAME_BYTES_MAX),
        ("metadata", plaintext.len(), limit),
    ] {
        if actual > limit {
            return Err(SealError::FieldTooLong {
                field,
                actual,
                limit,
            });
        }
    }
    let salt = random::bytes::<SALT_BYTES>()?;
    let sealed = key(artifact_key, &salt)?.seal(&NONCE, aad, &plaintext)?;
    Ok([salt.as_slice(), &sealed].concat())
}

pub(crate) fn open_private(
    sealed: &[u8],
    content_len: u64,
    artifact_key: &Secret<32>,
    aad: &[u8],
) -> Result<Private, OpenError> {
    let (salt, ciphertext) = sealed
        .split_at_checked(SALT_BYTES)
        .ok_or(OpenError::Rejected)?;
    let plaintext = key(artifact_key, salt)
        .and_then(|key| key.open(&NONCE, aad, ciphertext))
        .map_err(OpenError::secret)?;
    Private::decode(&plaintext, content_len)
}
