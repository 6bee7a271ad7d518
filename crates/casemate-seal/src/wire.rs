//! The tail's CBOR (`spec/sealed-artifact.md`, section 5).
//!
//! Determinism is checked by encoding the decoded value again.

mod header;
mod owner;
mod private;
mod recipients;
#[cfg(test)]
mod tests;

use casemate_cbor::{CborError, Reader, encode, expect_same};
use casemate_crypto::{encoding::KeyId, suite::SignatureSuite};

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
    error::OpenError,
    limits::{
        HEADER_BYTES_MAX, PRIVATE_BYTES_MAX, PUBLIC_PART_BYTES_MAX, RECIPIENT_PART_BYTES_MAX,
        SIGNATURE_BYTES_MAX,
    },
};

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

/// Reads a key id.
pub(crate) fn key_id(d: &mut Reader<'_>) -> Result<KeyId, CborError> {
    d.fixed("key id").map(KeyId::from_bytes)
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
        let d = &mut Reader::new(bytes, TAIL);
        d.map_of(8)?;
        d.key(0)?;
        let header = d.bytes()?;
        check_limit("header", header.len(), HEADER_BYTES_MAX)?;
        d.key(1)?;
        let recipients = d.within(recipients::RECIPIENTS, recipients::read)?;
        d.key(2)?;
        let publisher_part = d.bytes()?;
        check_limit("publisher part", publisher_part.len(), PRIVATE_BYTES_MAX)?;
        d.key(3)?;
        let hashes = d.bytes()?;
        d.key(4)?;
        let signature = d.within(SIGNATURE, |d| d.nullable(read_signature))?;
        d.key(5)?;
        let recipient_part = d.bytes()?;
        let limit = RECIPIENT_PART_BYTES_MAX;
        check_limit("recipient part", recipient_part.len(), limit)?;
        d.key(6)?;
        let list = d.within(owner::LIST, |d| d.nullable(RecipientList::read))?;
        d.key(7)?;
        let public_part = d.bytes()?;
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
        expect_same(bytes, &tail.encode(), TAIL)?;
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

fn read_signature(d: &mut Reader<'_>) -> Result<SignatureRecord, OpenError> {
    d.array_of(3)?;
    let oid = d.text()?;
    let suite = casemate_crypto::suite::SIGNATURE_SUITES
        .into_iter()
        .find(|suite| suite.oid.to_string() == oid)
        .ok_or_else(|| OpenError::UnknownSuite(printable(oid)))?;
    let key = key_id(d)?;
    let signature = d.bytes()?;
    check_limit(SIGNATURE, signature.len(), SIGNATURE_BYTES_MAX)?;
    Ok(SignatureRecord {
        suite,
        key,
        signature: signature.to_vec(),
    })
}
