//! Recipients (`spec/sealed-artifact.md`, section 5.2).

use casemate_cbor::{CborError, Encoder, Reader, Written, encode};
use casemate_crypto::{
    encoding::KeyId,
    hpke::TAG_BYTES,
    suite::{HpkeTriple, KemSuite},
};

use super::key_id;
use crate::{
    error::{Malformed, OpenError},
    limits::RECIPIENTS_MAX,
};

pub(super) const RECIPIENTS: &str = "recipients";
/// Length of the encrypted artifact key, in bytes.
pub(crate) const WRAPPED_KEY_BYTES: usize = 32 + TAG_BYTES;

/// The artifact key, encrypted to one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipientRecord {
    /// Suite of the recipient's key.
    pub suite: &'static KemSuite,
    /// Key id of the recipient.
    pub key: KeyId,
    pub(crate) enc: Vec<u8>,
    pub(crate) ct: Vec<u8>,
}

pub(super) fn write(recipients: &[RecipientRecord], e: &mut Encoder<&mut Vec<u8>>) -> Written {
    e.array(recipients.len() as u64)?;
    for record in recipients {
        let HpkeTriple { kem, kdf, aead } = record.suite.hpke;
        e.array(6)?.u16(kem)?.u16(kdf)?.u16(aead)?;
        e.bytes(record.key.as_bytes())?
            .bytes(&record.enc)?
            .bytes(&record.ct)?;
    }
    Ok(())
}

/// Returns the encoding whose hash the recipient part is bound to.
pub(crate) fn encode_recipients(recipients: &[RecipientRecord]) -> Vec<u8> {
    encode(|e| write(recipients, e))
}

pub(super) fn read(d: &mut Reader<'_>) -> Result<Vec<RecipientRecord>, OpenError> {
    let count = d.array()?;
    if count == 0 {
        return Err(d.refused().into());
    }
    if count > RECIPIENTS_MAX as u64 {
        let limit = RECIPIENTS_MAX as u64;
        return Err(OpenError::Limit {
            what: "number of recipients",
            actual: count,
            limit,
        });
    }
    let mut records = Vec::<RecipientRecord>::new();
    for _ in 0..count {
        let record = read_one(d)?;
        if records.iter().any(|other| other.key == record.key) {
            return Err(Malformed::DuplicateRecipient(record.key).into());
        }
        records.push(record);
    }
    Ok(records)
}

fn read_one(d: &mut Reader<'_>) -> Result<RecipientRecord, OpenError> {
    d.array_of(6)?;
    let numbers = [d.uint()?, d.uint()?, d.uint()?];
    // Registered numbers have 16 bits; a larger one is unknown.
    let known = match numbers.map(u16::try_from) {
        [Ok(kem), Ok(kdf), Ok(aead)] => KemSuite::by_hpke(HpkeTriple { kem, kdf, aead }),
        _ => None,
    };
    let suite = known.ok_or_else(|| {
        let [kem, kdf, aead] = numbers;
        OpenError::UnknownSuite(format!("HPKE {kem:04x},{kdf:04x},{aead:04x}"))
    })?;
    let key = key_id(d)?;
    let enc = d.bytes()?.to_vec();
    expect_len("encapsulated key", &enc, suite.ciphertext_bytes)?;
    let ct = d.bytes()?.to_vec();
    expect_len("wrapped artifact key", &ct, WRAPPED_KEY_BYTES)?;
    Ok(RecipientRecord {
        suite,
        key,
        enc,
        ct,
    })
}

fn expect_len(field: &'static str, bytes: &[u8], expected: usize) -> Result<(), OpenError> {
    if bytes.len() == expected {
        return Ok(());
    }
    Err(CborError::Length {
        field,
        actual: bytes.len(),
        expected,
    }
    .into())
}
