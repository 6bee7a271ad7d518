//! The tail's CBOR (`spec/sealed-artifact.md`, section 5).
//!
//! To check determinism, the decoded value is encoded again and compared. That one comparison
//! covers shortest integers, key order, definite lengths and trailing bytes.

mod header;
mod owner;
mod private;
mod recipients;

use casemate_crypto::{encoding::KeyId, suite::SignatureSuite};
use minicbor::{Decoder, Encoder, data::Type};

pub(crate) use header::is_content_type;
pub use header::{ArtifactId, Header};
pub use owner::{Delegation, ListSigner, RecipientList};
pub use private::Private;
pub(crate) use private::{
    open_publisher_part, open_recipient_part, seal_publisher_part, seal_recipient_part,
};
pub use recipients::RecipientRecord;
pub(crate) use recipients::encode_recipients;

use crate::{
    error::{Malformed, OpenError},
    limits::{
        HEADER_BYTES_MAX, PRIVATE_BYTES_MAX, PUBLIC_PART_BYTES_MAX, RECIPIENT_PART_BYTES_MAX,
        SIGNATURE_BYTES_MAX,
    },
};

/// The result of encoding into a vector, which cannot fail.
pub(crate) type CborResult = Result<(), minicbor::encode::Error<core::convert::Infallible>>;

/// Runs `build` on a fresh encoder.
pub(crate) fn encode(build: impl FnOnce(&mut Encoder<&mut Vec<u8>>) -> CborResult) -> Vec<u8> {
    let mut out = Vec::new();
    let encoded = build(&mut Encoder::new(&mut out));
    debug_assert!(encoded.is_ok(), "writing to a vector cannot fail");
    out
}

/// Maps a decoding error to the structure being read.
pub(crate) fn cbor(what: &'static str) -> impl FnOnce(minicbor::decode::Error) -> OpenError {
    move |_| OpenError::Malformed(Malformed::Cbor(what))
}

/// Reads a map header that must announce exactly `len` entries.
pub(crate) fn expect_map(
    decoder: &mut Decoder<'_>,
    len: u64,
    what: &'static str,
) -> Result<(), OpenError> {
    let found = decoder.map().map_err(cbor(what))?;
    if found == Some(len) {
        Ok(())
    } else {
        Err(Malformed::Cbor(what).into())
    }
}

/// Reads an array header that must announce exactly `len` elements.
pub(crate) fn expect_array(
    decoder: &mut Decoder<'_>,
    len: u64,
    what: &'static str,
) -> Result<(), OpenError> {
    let found = decoder.array().map_err(cbor(what))?;
    if found == Some(len) {
        Ok(())
    } else {
        Err(Malformed::Cbor(what).into())
    }
}

/// Reads a map key that must be `key`.
pub(crate) fn expect_key(
    decoder: &mut Decoder<'_>,
    key: u64,
    what: &'static str,
) -> Result<(), OpenError> {
    let found = decoder.u64().map_err(cbor(what))?;
    if found == key {
        Ok(())
    } else {
        Err(Malformed::Cbor(what).into())
    }
}

/// Checks that encoding again yields `encoded`.
pub(crate) fn expect_deterministic(
    encoded: &[u8],
    again: &[u8],
    what: &'static str,
) -> Result<(), OpenError> {
    if encoded == again {
        Ok(())
    } else {
        Err(Malformed::NotDeterministic(what).into())
    }
}

pub(crate) fn check_limit(
    what: &'static str,
    actual: usize,
    limit: usize,
) -> Result<(), OpenError> {
    if actual <= limit {
        return Ok(());
    }
    Err(OpenError::Limit {
        what,
        actual: actual as u64,
        limit: limit as u64,
    })
}

/// Reads a key id of 32 bytes.
pub(crate) fn key_id(decoder: &mut Decoder<'_>, what: &'static str) -> Result<KeyId, OpenError> {
    let bytes = decoder.bytes().map_err(cbor(what))?;
    let id = bytes.try_into().map_err(|_| Malformed::FieldLength {
        field: "key id",
        actual: bytes.len(),
        expected: KeyId::BYTES,
    })?;
    Ok(KeyId::from_bytes(id))
}

/// The publisher's signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureRecord {
    /// Suite of the signing key.
    pub suite: &'static SignatureSuite,
    /// Id of the signing key.
    pub key: KeyId,
    /// The signature; never use it as an identity, because composites are not strongly unforgeable.
    pub signature: Vec<u8>,
}

/// The whole tail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    pub(crate) header: Vec<u8>,
    pub(crate) recipients: Vec<RecipientRecord>,
    pub(crate) publisher_part: Vec<u8>,
    pub(crate) hashes: Vec<u8>,
    pub(crate) signature: Option<SignatureRecord>,
    pub(crate) recipient_part: Vec<u8>,
    pub(crate) list: Option<RecipientList>,
    pub(crate) public_part: Vec<u8>,
}

const TAIL: &str = "tail";
const SIGNATURE: &str = "signature";

impl Tail {
    pub(crate) fn encode(&self) -> Vec<u8> {
        encode(|e| {
            e.map(8)?.u8(0)?.bytes(&self.header)?.u8(1)?;
            recipients::write(&self.recipients, e)?;
            e.u8(2)?
                .bytes(&self.publisher_part)?
                .u8(3)?
                .bytes(&self.hashes)?
                .u8(4)?;
            match &self.signature {
                None => e.null()?,
                Some(record) => e
                    .array(3)?
                    .str(&record.suite.oid.to_string())?
                    .bytes(record.key.as_bytes())?
                    .bytes(&record.signature)?,
            };
            e.u8(5)?.bytes(&self.recipient_part)?.u8(6)?;
            match &self.list {
                None => e.null().map(drop)?,
                Some(list) => list.write(e)?,
            }
            e.u8(7)?.bytes(&self.public_part).map(drop)
        })
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, OpenError> {
        let mut decoder = Decoder::new(bytes);
        let d = &mut decoder;
        expect_map(d, 8, TAIL)?;
        expect_key(d, 0, TAIL)?;
        let header = d.bytes().map_err(cbor(TAIL))?;
        check_limit("header", header.len(), HEADER_BYTES_MAX)?;
        expect_key(d, 1, TAIL)?;
        let recipients = recipients::read(d)?;
        expect_key(d, 2, TAIL)?;
        let publisher_part = d.bytes().map_err(cbor(TAIL))?;
        check_limit("publisher part", publisher_part.len(), PRIVATE_BYTES_MAX)?;
        expect_key(d, 3, TAIL)?;
        let hashes = d.bytes().map_err(cbor(TAIL))?;
        expect_key(d, 4, TAIL)?;
        let signature = read_signature(d)?;
        expect_key(d, 5, TAIL)?;
        let recipient_part = d.bytes().map_err(cbor(TAIL))?;
        let limit = RECIPIENT_PART_BYTES_MAX;
        check_limit("recipient part", recipient_part.len(), limit)?;
        expect_key(d, 6, TAIL)?;
        let list = RecipientList::read(d)?;
        expect_key(d, 7, TAIL)?;
        let public_part = d.bytes().map_err(cbor(TAIL))?;
        check_limit("public part", public_part.len(), PUBLIC_PART_BYTES_MAX)?;
        let tail = Self {
            header: header.to_vec(),
            recipients,
            publisher_part: publisher_part.to_vec(),
            hashes: hashes.to_vec(),
            signature,
            recipient_part: recipient_part.to_vec(),
            list,
            public_part: public_part.to_vec(),
        };
        expect_deterministic(bytes, &tail.encode(), TAIL)?;
        Ok(tail)
    }
}

/// Truncates and escapes untrusted text for display.
fn printable(text: &str) -> String {
    text.chars()
        .filter(char::is_ascii_graphic)
        .take(64)
        .collect()
}

fn read_signature(d: &mut Decoder<'_>) -> Result<Option<SignatureRecord>, OpenError> {
    if d.datatype().map_err(cbor(SIGNATURE))? == Type::Null {
        d.null().map_err(cbor(SIGNATURE))?;
        return Ok(None);
    }
    expect_array(d, 3, SIGNATURE)?;
    let oid = d.str().map_err(cbor(SIGNATURE))?;
    let suite = casemate_crypto::suite::SIGNATURE_SUITES
        .into_iter()
        .find(|suite| suite.oid.to_string() == oid)
        .ok_or_else(|| OpenError::UnknownSuite(printable(oid)))?;
    let key = key_id(d, SIGNATURE)?;
    let signature = d.bytes().map_err(cbor(SIGNATURE))?;
    check_limit(SIGNATURE, signature.len(), SIGNATURE_BYTES_MAX)?;
    Ok(Some(SignatureRecord {
        suite,
        key,
        signature: signature.to_vec(),
    }))
}
