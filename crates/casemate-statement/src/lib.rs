//! Signed statements about keys (`spec/key-statements.md`): a signing key that succeeds another,
//! and a rotation that left nothing sealed to old versions.
//!
//! ```
//! use casemate_crypto::{signature::SigningKey, suite::MLDSA65_ED25519};
//! use casemate_statement::Succession;
//!
//! let [old, new] = [SigningKey::generate(&MLDSA65_ED25519)?, SigningKey::generate(&MLDSA65_ED25519)?];
//! let file = Succession::sign(&old, &new, "publisher", 1_800_000_000)?;
//! let known = Succession::verify(&file, old.verifying_key())?;
//! assert_eq!(known.next().id()?, new.verifying_key().id()?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod envelope;
mod rotation;
mod succession;

pub use rotation::{Place, Rotation, Unreachable};
pub use succession::Succession;

/// Maximum length of a statement's file, in bytes.
pub const STATEMENT_BYTES_MAX: usize = 1 << 20;

/// Why a statement was refused.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// It is not a statement.
    #[error("it is not a key statement: {0}")]
    Malformed(String),
    /// It is a statement of another kind.
    #[error("it is another kind of statement, `{0}`")]
    OtherKind(String),
    /// A signature is missing.
    #[error("it is not signed by key {0}")]
    Unsigned(casemate_crypto::encoding::KeyId),
    /// A signature does not verify.
    #[error("its signature by key {0} does not verify")]
    BadSignature(casemate_crypto::encoding::KeyId),
    /// It breaks a rule of its kind.
    #[error("it is not valid: {0}")]
    Rule(&'static str),
    /// A key is not usable.
    #[error(transparent)]
    Key(#[from] casemate_crypto::encoding::EncodingError),
    /// A cryptographic operation failed.
    #[error(transparent)]
    Crypto(#[from] casemate_crypto::Error),
}
