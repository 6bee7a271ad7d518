//! The parts that only recipients can read: the publisher part and the recipient part
//! (`spec/sealed-artifact.md`, sections 5.5 and 5.6).

use std::collections::BTreeMap;

use casemate_crypto::{
    Purpose, Secret,
    hpke::{Aead, AeadKey, Kdf, TAG_BYTES},
    random,
};
use minicbor::Decoder;

use super::{Header, cbor, check_limit, encode, expect_deterministic, expect_key, expect_map};
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
    let mut decoder = Decoder::new(&plaintext);
    expect_map(&mut decoder, 0, RECIPIENT_PART)?;
    expect_deterministic(&plaintext, &encode_recipient_part(), RECIPIENT_PART)
}
