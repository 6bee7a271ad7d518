//! Detached signatures of models: `spec/model-signature.md`, interoperable with `OpenSSF` Model Signing v1.0.
//!
//! | task | entry |
//! |---|---|
//! | sign a file or a folder | [`sign`] with [`Signing`] |
//! | verify | [`verify`] with [`Trusted`] |
//! | classical keys for other tools | [`EcdsaKey`], [`EcdsaPublicKey`] |

mod bundle;
mod ecdsa;
mod error;
mod files;
mod hash;
mod statement;

use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use casemate_crypto::{
    Purpose,
    signature::{SigningKey, VerifyingKey},
};

pub use bundle::BUNDLE_BYTES_MAX;
pub use ecdsa::{EcdsaKey, EcdsaPublicKey};
pub use error::OmsError;

use bundle::{Bundle, Signature, pae};
use files::Scope;
use statement::{Serialization, Statement};

/// Called with the number of bytes just hashed; may be called from several threads.
pub type Progress<'a> = &'a (dyn Fn(u64) + Sync);

/// Left out of every signature: what belongs to the repository and not to the model.
const GIT_PATHS: [&str; 4] = [".git", ".gitattributes", ".github", ".gitignore"];

/// How to sign.
#[derive(Clone, Copy, Debug)]
pub struct Signing<'a> {
    /// The publisher's key.
    pub signer: Option<&'a SigningKey>,
    /// A classical key of its own, for tools that know no other.
    pub classical: Option<&'a EcdsaKey>,
    /// Paths below the model to leave out.
    pub ignore: &'a [PathBuf],
}

/// Whom a verifier trusts. Every key that is given must have signed.
#[derive(Clone, Copy, Debug)]
pub struct Trusted<'a> {
    /// The publisher's key.
    pub signer: Option<&'a VerifyingKey>,
    /// The publisher's classical key.
    pub classical: Option<&'a EcdsaPublicKey>,
}

/// What was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The model's name, as its publisher has it; never use it as a path.
    pub name: String,
    /// Files and shards that were compared.
    pub resources: usize,
    /// Paths that the publisher left out.
    pub ignored: Vec<String>,
}

/// Hashes the model at `path`, a file or a folder, and signs what it holds. Gives the bundle's bytes.
///
/// # Errors
///
/// [`OmsError`]; [`OmsError::NoSigner`] if there is neither key.
pub fn sign(
    path: &Path,
    signing: &Signing<'_>,
    progress: Progress<'_>,
) -> Result<Vec<u8>, OmsError> {
    let mut ignored: Vec<String> = GIT_PATHS.map(str::to_owned).into();
    for path in signing.ignore {
        let text = path
            .to_str()
            .ok_or_else(|| OmsError::NotUtf8(path.clone()))?;
        ignored.push(text.trim_end_matches('/').to_owned());
    }
    let serialization = Serialization::files(ignored);
    let scope = Scope::new(path, &serialization)?;
    let resources = scope.resources(&serialization, progress)?;
    let name = files::name_of(path)?;
    let payload = Statement::new(name, resources, serialization).encode();
    let signed = pae(&payload);
    let mut signatures = Vec::new();
    if let Some(key) = signing.classical {
        signatures.push(Signature::classical(key.sign(&signed)?));
    }
    let mut hint = signing.classical.map(EcdsaKey::hint).transpose()?;
    if let Some(key) = signing.signer {
        let id = key.verifying_key().id()?.to_hex();
        let signature = key.sign(Purpose::MODEL, &signed)?;
        hint.get_or_insert_with(|| id.clone());
        signatures.push(Signature::of(id, signature));
    }
    let hint = hint.ok_or(OmsError::NoSigner)?;
    Bundle::new(hint, &payload, signatures).encode()
}

/// Verifies the bundle, and that the model at `path` holds exactly what was signed.
///
/// # Errors
///
/// [`OmsError`], naming the rule or the file.
pub fn verify(
    path: &Path,
    bundle: &[u8],
    trusted: &Trusted<'_>,
    progress: Progress<'_>,
) -> Result<Verified, OmsError> {
    let bundle = Bundle::decode(bundle)?;
    let payload = bundle.payload()?;
    let signed = pae(&payload);
    if let Some(key) = trusted.classical {
        bundle.check_hint(&key.hint()?)?;
        let first = bundle.signatures.first().ok_or(OmsError::BadSignature)?;
        key.verify(&signed, &first.bytes()?)?;
    }
    if let Some(key) = trusted.signer {
        let id = key.id()?.to_hex();
        let signature = bundle.signature_of(&id)?;
        key.verify(Purpose::MODEL, &signed, &signature)
            .map_err(|_| OmsError::BadSignature)?;
    }
    if trusted.signer.is_none() && trusted.classical.is_none() {
        return Err(OmsError::NoSigner);
    }
    let statement = Statement::decode(&payload)?;
    let scope = Scope::new(path, &statement.predicate.serialization)?;
    let found = scope.resources(&statement.predicate.serialization, progress)?;
    statement.compare(&found)?;
    Ok(Verified {
        name: statement.name().to_owned(),
        resources: found.len(),
        ignored: statement.predicate.serialization.ignore_paths,
    })
}

/// The key ids that a bundle names, of composite signatures that nobody has verified.
///
/// # Errors
///
/// As [`verify`], for the bundle's form.
pub fn signers(bundle: &[u8]) -> Result<Vec<String>, OmsError> {
    let bundle = Bundle::decode(bundle)?;
    let named = bundle.signatures.iter().filter_map(Signature::keyid);
    Ok(named.map(str::to_owned).collect())
}

/// SHA-384 of what the signatures of a bundle cover, by which a trust file lists a signature.
///
/// # Errors
///
/// As [`verify`], for the bundle's form.
pub fn message_digest(bundle: &[u8]) -> Result<[u8; 48], OmsError> {
    let signed = pae(&Bundle::decode(bundle)?.payload()?);
    let mut digest = [0; 48];
    digest.copy_from_slice(digest::digest(&digest::SHA384, &signed).as_ref());
    Ok(digest)
}

/// Reads a bundle and its statement without verifying anything, for fuzzing.
#[doc(hidden)]
pub fn parse(bundle: &[u8]) -> Result<usize, OmsError> {
    let payload = Bundle::decode(bundle)?.payload()?;
    Ok(Statement::decode(&payload)?.predicate.resources.len())
}
