//! age files (`age-encryption.org/v1`) with the hybrid recipient type `mlkem768x25519`.
//!
//! Use it for small secrets and recovery files that must be readable without Casemate. An
//! `age1pq1…` recipient has the same bytes as a public key of the suite `mlkem768-x25519`, so one
//! key can receive both sealed artifacts and age files; the two uses have different HPKE suites and
//! labels. The `age` crate implements the file format. This crate implements the recipient type,
//! because that one does not support hybrid recipients with software keys.
//!
//! ```
//! use casemate_age::{Encoding, decrypt, encrypt};
//! use casemate_crypto::{kem::KemPrivateKey, suite::MLKEM768_X25519};
//!
//! let key = KemPrivateKey::generate(&MLKEM768_X25519)?;
//! let (mut file, mut text) = (Vec::new(), Vec::new());
//! encrypt(&[key.public_key()], &b"recovery"[..], &mut file, Encoding::Armor)?;
//! decrypt(&[&key], &file[..], &mut text)?;
//! assert_eq!(text, b"recovery");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Source
//!
//! C2SP `age.md`, "The hybrid recipient type".

mod error;
#[cfg(feature = "files")]
mod file;
mod key;
#[cfg(feature = "files")]
mod stanza;

pub use error::AgeError;
#[cfg(feature = "files")]
pub use file::{Encoding, decrypt, encrypt};
pub use key::{identity_from_text, is_recipient, recipient_from_text, recipient_to_text};

/// Maximum length of a header, in bytes, enough for about sixty hybrid recipients. Parsing time
/// grows quadratically.
pub const HEADER_BYTES_MAX: u64 = 128 * 1024;
/// Most recipients of a file; they keep the header below [`HEADER_BYTES_MAX`].
pub const RECIPIENTS_MAX: usize = 64;
