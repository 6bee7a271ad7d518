//! Hybrid classical and post-quantum cryptography from published constructions.
//!
//! | task | type |
//! |---|---|
//! | encrypt to a public key | [`hpke::HpkeSuite`] over a [`kem::KemPublicKey`] |
//! | sign and verify | [`signature::SigningKey`], [`signature::VerifyingKey`] |
//! | agree on a key, or sign, for another program | [`hybrid`] |
//! | sign HTTP messages | [`signature::HttpSigningKey`] |
//! | hash a transcript | [`hash::sha384`] |
//! | mask numbers | [`keystream::Keystream`] |
//! | read and write key files | [`encoding::PublicKey`], [`encoding::PrivateKey`] |
//! | name an algorithm | [`algorithm`] |
//! | decide what may be used | [`policy::Policy`] over the tables of [`suite`] |
//! | look up an algorithm and the policies that allow it | [`catalogue::Algorithm`] |
//!
//! This crate implements no primitives: they come from AWS-LC through `aws-lc-rs` and
//! `casemate-awslc`, and SLH-DSA from the `slh-dsa` crate. A hybrid KEM is secure if either half
//! is; a composite signature verifies only if both halves do. Private keys are seeds.
//!
//! Seal a message to a hybrid public key, and sign it with both halves of a composite:
//!
//! ```
//! use casemate_crypto::{
//!     Purpose,
//!     hpke::HpkeSuite,
//!     kem::KemPrivateKey,
//!     signature::SigningKey,
//!     suite::{MLDSA65_ED25519, MLKEM768_X25519},
//! };
//!
//! let key = KemPrivateKey::generate(&MLKEM768_X25519)?;
//! let hpke = HpkeSuite::of(&MLKEM768_X25519)?;
//! let (enc, ciphertext) = hpke.seal(key.public_key(), b"info", b"", b"weights")?;
//! assert_eq!(hpke.open(&enc, &key, b"info", b"", &ciphertext)?, b"weights");
//!
//! let signer = SigningKey::generate(&MLDSA65_ED25519)?;
//! let signature = signer.sign(Purpose::MODEL, b"weights")?;
//! signer.verifying_key().verify(Purpose::MODEL, b"weights", &signature)?;
//! # Ok::<(), casemate_crypto::Error>(())
//! ```

pub mod algorithm;
pub mod catalogue;
pub mod encoding;
mod error;
pub mod generator;
pub mod hash;
pub mod holder;
pub mod hpke;
pub mod hybrid;
pub mod kem;
pub mod keystream;
pub mod policy;
mod purpose;
pub mod random;
mod secret;
pub mod sharing;
pub mod signature;
pub mod suite;

pub use error::Error;
pub use purpose::Purpose;
pub use secret::{Secret, SecretBytes};
