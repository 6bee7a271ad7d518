//! Recipients and identities as text: Bech32 without its length limit.

use bech32::{Bech32, Checksum, Hrp, primitives::decode::CheckedHrpstring};
use casemate_crypto::{
    kem::{KemPrivateKey, KemPublicKey},
    suite::MLKEM768_X25519,
};
use zeroize::Zeroizing;

use crate::AgeError;

const RECIPIENT_PREFIX: &str = "age1pq";
const RECIPIENT_HRP: Hrp = Hrp::parse_unchecked(RECIPIENT_PREFIX);
const IDENTITY_PREFIX: &str = "AGE-SECRET-KEY-PQ-";
const IDENTITY_HRP: Hrp = Hrp::parse_unchecked("age-secret-key-pq-");

const NOT_A_RECIPIENT: AgeError = AgeError::NotAKey {
    what: "recipient",
    prefix: RECIPIENT_PREFIX,
};
const NOT_AN_IDENTITY: AgeError = AgeError::NotAKey {
    what: "identity",
    prefix: IDENTITY_PREFIX,
};

/// Bech32 (BIP 173) for texts of any length, as age uses it.
#[derive(Clone, Copy)]
enum LongBech32 {}

impl Checksum for LongBech32 {
    type MidstateRepr = <Bech32 as Checksum>::MidstateRepr;
    const CODE_LENGTH: usize = usize::MAX;
    const CHECKSUM_LENGTH: usize = Bech32::CHECKSUM_LENGTH;
    const GENERATOR_SH: [Self::MidstateRepr; 5] = Bech32::GENERATOR_SH;
    const TARGET_RESIDUE: Self::MidstateRepr = Bech32::TARGET_RESIDUE;
}

/// Returns whether a text has the prefix of a hybrid recipient.
pub fn is_recipient(text: &str) -> bool {
    text.strip_prefix(RECIPIENT_PREFIX)
        .is_some_and(|rest| rest.starts_with('1'))
}

/// Encodes a public key as `age1pq1…`.
///
/// # Errors
///
/// [`AgeError::Key`] if the key is not of the suite `mlkem768-x25519`.
pub fn recipient_to_text(key: &KemPublicKey) -> Result<String, AgeError> {
    if key.suite() != &MLKEM768_X25519 {
        return Err(AgeError::Key);
    }
    bech32::encode_lower::<LongBech32>(RECIPIENT_HRP, key.as_bytes()).map_err(|_| AgeError::Key)
}

/// Reads `age1pq1…`, in lower case as age writes it.
///
/// # Errors
///
/// [`AgeError::NotAKey`] if the text is anything else; [`AgeError::Key`] if it does not have the
/// length of a key.
pub fn recipient_from_text(text: &str) -> Result<KemPublicKey, AgeError> {
    if !is_recipient(text) {
        return Err(NOT_A_RECIPIENT);
    }
    let bytes = decode(text, RECIPIENT_HRP).ok_or(NOT_A_RECIPIENT)?;
    KemPublicKey::new(&MLKEM768_X25519, &bytes).map_err(|_| AgeError::Key)
}

/// Reads the single identity `AGE-SECRET-KEY-PQ-1…` in a file, ignoring empty lines and lines that
/// begin with `#`.
///
/// # Errors
///
/// As [`recipient_from_text`]; [`AgeError::NotAKey`] also for a file with no identity or more than
/// one.
pub fn identity_from_text(text: &str) -> Result<KemPrivateKey, AgeError> {
    let mut lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return Err(NOT_AN_IDENTITY);
    };
    if !line.starts_with(IDENTITY_PREFIX) {
        return Err(NOT_AN_IDENTITY);
    }
    let seed = Zeroizing::new(decode(line, IDENTITY_HRP).ok_or(NOT_AN_IDENTITY)?);
    KemPrivateKey::from_seed(&MLKEM768_X25519, &seed).map_err(|_| AgeError::Key)
}

/// Returns the bytes of a Bech32 text with this prefix.
fn decode(text: &str, hrp: Hrp) -> Option<Vec<u8>> {
    let checked = CheckedHrpstring::new::<LongBech32>(text).ok()?;
    if checked.hrp() != hrp {
        return None;
    }
    let bytes: Vec<u8> = checked.byte_iter().collect();
    // Bits beyond the last byte must be zero (BIP 173); otherwise one key would have several
    // encodings.
    let again = Zeroizing::new(bech32::encode_lower::<LongBech32>(hrp, &bytes).ok()?);
    again.eq_ignore_ascii_case(text).then_some(bytes)
}
