//! The parts that only recipients can read: the publisher part and the recipient part
//! (`spec/sealed-artifact.md`, sections 5.5 and 5.6).

use std::collections::BTreeMap;

use casemate_cbor::{Reader, encode, expect_same};
use casemate_crypto::{
    Purpose, Secret,
    hpke::{Aead, AeadKey, Kdf, TAG_BYTES},
    random,
};

use super::{Header, check_limit};
use crate::{
    error::{Malformed, OpenError, SealError},
    limits::{NAME_BYTES_MAX, PRIVATE_BYTES_MAX},
};

const PRIVATE: &str = "publisher part";
const RECIPIENT_PART: &str = "recipient part";
const SALT_BYTES: usize = 32;
/// The nonce can be constant, because each key has a fresh salt and encrypts once.
const NONCE: [u8; 12] = [0; 12];

/// The publisher part: what the publisher tells the recipients besides the content. The publisher's
/// signature covers it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Private {
    /// Name of the sealed file; may be empty.
    pub name: String,
    /// Free-form metadata.
    pub metadata: BTreeMap<String, String>,
}

impl Private {
    fn encode(&self, content_len: u64) -> Vec<u8> {
        // The deterministic order is that of the encoded keys: shorter first, then bytewise.
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

    pub(super) fn decode(bytes: &[u8], content_len: u64) -> Result<Self, OpenError> {
        let d = &mut Reader::new(bytes, PRIVATE);
        d.map_of(3)?;
        d.key(0)?;
        let name = d.text()?.to_owned();
        check_limit("name", name.len(), NAME_BYTES_MAX)?;
        d.key(1)?;
        if d.uint()? != content_len {
            return Err(Malformed::PrivateLength.into());
        }
        d.key(2)?;
        let count = d.map()?;
        let mut metadata = BTreeMap::new();
        for _ in 0..count {
            let key = d.text()?.to_owned();
            metadata.insert(key, d.text()?.to_owned());
        }
        let private = Self { name, metadata };
        expect_same(bytes, &private.encode(content_len), PRIVATE)?;
        Ok(private)
    }
}

fn key(
    artifact_key: &Secret<32>,
    purpose: Purpose,
    salt: &[u8],
) -> Result<AeadKey, casemate_crypto::Error> {
    let kdf = Kdf::HkdfSha384;
    let prk = kdf.extract(salt, &[artifact_key.expose()])?;
    let key = kdf.expand(&prk, &[purpose.as_bytes()], 32)?;
    AeadKey::new(Aead::Aes256Gcm, key.expose())
}

fn seal_part(
    plaintext: &[u8],
    artifact_key: &Secret<32>,
    purpose: Purpose,
    aad: &[u8],
) -> Result<Vec<u8>, SealError> {
    let salt = random::bytes::<SALT_BYTES>()?;
    let sealed = key(artifact_key, purpose, &salt)?.seal(&NONCE, aad, plaintext)?;
    Ok([salt.as_slice(), &sealed].concat())
}

fn open_part(
    sealed: &[u8],
    artifact_key: &Secret<32>,
    purpose: Purpose,
    aad: &[u8],
) -> Result<Vec<u8>, OpenError> {
    let (salt, ciphertext) = sealed
        .split_at_checked(SALT_BYTES)
        .ok_or(OpenError::Rejected)?;
    key(artifact_key, purpose, salt)
        .and_then(|key| key.open(&NONCE, aad, ciphertext))
        .map_err(OpenError::secret)
}

/// Encrypts the publisher part; its ciphertext enters the root.
pub(crate) fn seal_publisher_part(
    private: &Private,
    header: &Header,
    artifact_key: &Secret<32>,
) -> Result<Vec<u8>, SealError> {
    let plaintext = private.encode(header.content_len());
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
    let purpose = Purpose::ARTIFACT_PUBLISHER;
    seal_part(&plaintext, artifact_key, purpose, &header.digest())
}

/// Decrypts the publisher part.
pub(crate) fn open_publisher_part(
    sealed: &[u8],
    header: &Header,
    artifact_key: &Secret<32>,
) -> Result<Private, OpenError> {
    let purpose = Purpose::ARTIFACT_PUBLISHER;
    let plaintext = open_part(sealed, artifact_key, purpose, &header.digest())?;
    Private::decode(&plaintext, header.content_len())
}

/// Encodes the recipient part, which so far contains nothing but the binding.
fn encode_recipient_part() -> Vec<u8> {
    encode(|e| e.map(0).map(drop))
}

/// Binds the recipients, which `aad` covers, to the artifact key.
pub(crate) fn seal_recipient_part(
    artifact_key: &Secret<32>,
    aad: &[u8],
) -> Result<Vec<u8>, SealError> {
    let purpose = Purpose::ARTIFACT_RECIPIENTS;
    seal_part(&encode_recipient_part(), artifact_key, purpose, aad)
}

/// Checks that nobody without the artifact key changed the recipients, which `aad` covers.
pub(crate) fn open_recipient_part(
    sealed: &[u8],
    artifact_key: &Secret<32>,
    aad: &[u8],
) -> Result<(), OpenError> {
    let plaintext = open_part(sealed, artifact_key, Purpose::ARTIFACT_RECIPIENTS, aad)?;
    Reader::new(&plaintext, RECIPIENT_PART).map_of(0)?;
    let again = encode_recipient_part();
    Ok(expect_same(&plaintext, &again, RECIPIENT_PART)?)
}
