//! Hybrid classical and post-quantum cryptography from published constructions.
//!
//! | task | type |
//! |---|---|
//! | encrypt to a public key | [`hpke::HpkeSuite`] over a [`kem::KemPublicKey`] |
//! | sign and verify | [`signature::SigningKey`], [`signature::VerifyingKey`] |
//! | agree on a key, or sign, for another program | [`hybrid`] |
//! | sign HTTP messages | [`signature::HttpSigningKey`] |
//! | read and write key files | [`encoding::PublicKey`], [`encoding::PrivateKey`] |
//! | name an algorithm | [`algorithm`] |
//! | decide what may be used | [`policy::Policy`] over the tables of [`suite`] |
//! | look up an algorithm and the policies that allow it | [`catalogue::Algorithm`] |
//!
//! This crate implements no primitives: they come from AWS-LC through `aws-lc-rs` and
//! `casemate-awslc`, and SLH-DSA from the `slh-dsa` crate. A hybrid KEM is secure if either half
//! is; a composite signature verifies only if both halves do. Private keys are seeds.

pub mod algorithm;
pub mod catalogue;
pub mod encoding;
mod error;
pub mod hpke;
pub mod hybrid;
pub mod kem;
pub mod policy;
mod purpose;
pub mod random;
mod secret;
pub mod signature;
pub mod suite;

pub use error::Error;
pub use purpose::Purpose;
pub use secret::{Secret, SecretBytes};
