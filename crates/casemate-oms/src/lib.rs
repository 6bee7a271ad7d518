//! Detached signatures of models: `spec/model-signature.md`, interoperable with `OpenSSF` Model
//! Signing v1.0.
//!
//! | task | entry |
//! |---|---|
//! | sign a file or a folder | [`sign`] with [`Signing`] |
//! | verify a whole model | [`ModelSignature::verify`] with [`Trusted`] |
//! | verify a model as it is read | [`ModelSignature::open`], then [`CheckedFile`] |
//! | classical keys for other tools | [`EcdsaKey`], [`EcdsaPublicKey`] |
//!
//! ```no_run
//! use casemate_crypto::{algorithm::HashAlgorithm, signature::SigningKey, suite::MLDSA87_P384};
//! use casemate_oms::{ModelSignature, Signing, Trusted, sign};
//!
//! let publisher = SigningKey::generate(&MLDSA87_P384)?;
//! let model = "model".as_ref();
//! let signing = Signing {
//!     signer: Some(&publisher),
//!     classical: None,
//!     ignore: &[],
//!     output: None,
//!     follow_links: false,
//!     segment_hash: HashAlgorithm::Blake3,
//! };
//! let bundle = sign(model, &signing, &|_| ())?;
//! let trusted = Trusted { signer: Some(publisher.verifying_key()), classical: None };
//! ModelSignature::decode(&bundle)?.verify(model, &[], &trusted, &|_| ())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bundle;
mod checked;
mod ecdsa;
mod error;
mod files;
mod hash;
mod json;
mod segments;
mod statement;

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use casemate_crypto::{
    Purpose,
    algorithm::HashAlgorithm,
    signature::{SigningKey, VerifyingKey},
};

pub use bundle::BUNDLE_BYTES_MAX;
pub use checked::{CheckedFile, CheckedSegment, SignedFile, SignedModel};
pub use ecdsa::{EcdsaKey, EcdsaPublicKey};
pub use error::OmsError;

use bundle::{Bundle, Signature, pae};
use files::{Found, Ignored, PassedOver, Scope, below};
use hash::Hash;
use segments::Layout;
use statement::{IGNORED_MAX, Serialization, Statement};

/// A progress callback, called from several threads while a model is hashed.
pub type Progress<'a> = &'a (dyn Fn(Step) + Sync);

/// A progress report of hashing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The total number of bytes to hash; reported first.
    Total(u64),
    /// The number of bytes hashed since the last report.
    Hashed(u64),
}

/// Ignored in every signature: files that belong to the repository, not to the model.
const GIT_PATHS: [&str; 4] = [".git", ".gitattributes", ".github", ".gitignore"];

/// How to sign.
#[derive(Clone, Copy, Debug)]
pub struct Signing<'a> {
    /// The publisher's key.
    pub signer: Option<&'a SigningKey>,
    /// A separate classical key, for tools that support no other.
    pub classical: Option<&'a EcdsaKey>,
    /// Paths inside the model to ignore.
    pub ignore: &'a [PathBuf],
    /// Where the signature will be written. If that is inside the model, the signature does not
    /// cover itself.
    pub output: Option<&'a Path>,
    /// Whether to sign the targets of links to files instead of refusing links.
    pub follow_links: bool,
    /// The hash over the segments of large files.
    pub segment_hash: HashAlgorithm,
}

/// The expected signers. Every given key must have signed.
#[derive(Clone, Copy, Debug)]
pub struct Trusted<'a> {
    /// The publisher's key.
    pub signer: Option<&'a VerifyingKey>,
    /// The publisher's classical key.
    pub classical: Option<&'a EcdsaPublicKey>,
}

/// The result of verifying a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The model's name, as given by its publisher; never use it as a path.
    pub name: String,
    /// Number of files and shards that were compared.
    pub resources: usize,
    /// Paths that the publisher ignored.
    pub ignored: Vec<String>,
}

/// Hashes and signs the model at `path`, a file or a folder, and returns the bytes of a
/// [`ModelSignature`].
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
    ignored.extend(texts(signing.ignore)?);
    for left_out in signing.ignore {
        // A misspelt path would stay in the signed list, and a file added there later would be
        // ignored.
        if !path.join(left_out).exists() {
            return Err(OmsError::NothingToIgnore(left_out.clone()));
        }
    }
    let own = signing.output.and_then(|output| path_inside(output, path));
    ignored.extend(texts(own.as_slice())?);
    if ignored.len() > IGNORED_MAX {
        return Err(OmsError::Limit {
            what: "number of paths to ignore",
            actual: ignored.len() as u64,
            limit: IGNORED_MAX as u64,
        });
    }
    let serialization = Serialization::files(ignored, signing.follow_links);
    let scope = Scope::new(path, &serialization, &PassedOver::default())?;
    let hash = match signing.segment_hash {
        HashAlgorithm::Blake3 => Hash::Blake3,
        HashAlgorithm::Sha384 => Hash::Sha384,
    };
    let layout = Layout::of(hash, &scope.files().map(|file| file.len));
    let tables = |file: &Found| Some(layout).filter(|layout| file.len > layout.segment_len);
    let resources = scope.resources(&serialization, &tables, progress)?;
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
    Bundle::new(hint, payload, signatures).encode()
}

/// Converts paths inside the model to the form used in the statement.
fn texts(paths: &[PathBuf]) -> Result<Vec<String>, OmsError> {
    let text = |path: &PathBuf| {
        let text = path
            .to_str()
            .ok_or_else(|| OmsError::NotUtf8(path.clone()))?;
        below(text).ok_or_else(|| OmsError::NotBelow(path.clone()))
    };
    paths.iter().map(text).collect()
}

/// Refuses an `output` that exists, unless it is a signature and may be replaced.
///
/// Call this before hashing, which can take an hour; the writer must check again.
///
/// # Errors
///
/// [`OmsError::Exists`], [`OmsError::NotReplaced`] or [`OmsError::Io`].
pub fn check_output(output: &Path, replace: bool) -> Result<(), OmsError> {
    let file = match File::open(output) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(OmsError::io(output)(error)),
    };
    if !replace {
        return Err(OmsError::Exists(output.to_owned()));
    }
    let is_file = file.metadata().is_ok_and(|found| found.is_file());
    let mut bytes = Vec::new();
    let limit = BUNDLE_BYTES_MAX as u64;
    if is_file {
        let read = file.take(limit.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(OmsError::io(output))?;
    }
    if bytes.len() <= BUNDLE_BYTES_MAX && Bundle::decode(&bytes).is_ok() {
        return Ok(());
    }
    Err(OmsError::NotReplaced(output.to_owned()))
}

/// Returns the path of `file` relative to the model, if it is inside: a signature written there
/// cannot cover itself.
pub fn path_inside(file: &Path, model: &Path) -> Option<PathBuf> {
    let folder = file
        .parent()
        .filter(|path| !path.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."))
        .canonicalize()
        .ok()?;
    let below = folder
        .strip_prefix(model.canonicalize().ok()?)
        .ok()?
        .to_owned();
    Some(below.join(file.file_name()?))
}

/// A detached signature whose form was checked, but not its signatures.
#[derive(Debug)]
pub struct ModelSignature {
    bundle: Bundle,
    /// The message that the signatures cover.
    signed: Vec<u8>,
}

impl ModelSignature {
    /// Reads the bytes of a bundle.
    ///
    /// # Errors
    ///
    /// [`OmsError::Bundle`], [`OmsError::Method`] or [`OmsError::Limit`].
    pub fn decode(bytes: &[u8]) -> Result<Self, OmsError> {
        let bundle = Bundle::decode(bytes)?;
        let signed = pae(&bundle.payload);
        Ok(Self { bundle, signed })
    }

    /// Returns the key ids of the composite signatures, not yet verified.
    pub fn signers(&self) -> impl Iterator<Item = &str> {
        self.bundle.signatures.iter().filter_map(Signature::keyid)
    }

    /// Verifies only the signature by one key; a bundle may have several.
    ///
    /// # Errors
    ///
    /// [`OmsError::OtherSigner`] or [`OmsError::BadSignature`].
    pub fn verify_signer(&self, key: &VerifyingKey) -> Result<(), OmsError> {
        let signature = self.bundle.signature_of(&key.id()?.to_hex())?;
        key.verify(Purpose::MODEL, &self.signed, &signature)
            .map_err(|_| OmsError::BadSignature)
    }

    /// Returns the SHA-384 of the message that the signatures cover, which identifies it in a trust
    /// list.
    pub fn message_digest(&self) -> [u8; 48] {
        casemate_crypto::hash::sha384(&self.signed)
    }

    /// Verifies the signatures, and that the model at `path` is exactly what was signed. Unsigned
    /// files below `ignore` are skipped.
    ///
    /// # Errors
    ///
    /// [`OmsError`], which names the broken rule or the file.
    pub fn verify(
        &self,
        path: &Path,
        ignore: &[PathBuf],
        trusted: &Trusted<'_>,
        progress: Progress<'_>,
    ) -> Result<Verified, OmsError> {
        let (statement, scope) = self.statement(path, ignore, trusted)?;
        let segments = statement.segments();
        let table = |file: &Found| segments.get(file.name.as_str());
        // Check before hashing: a replaced file may be far too long to read.
        for file in scope.files() {
            if table(file).is_some_and(|table| table.file_len != file.len) {
                return Err(OmsError::Changed(statement::shown(&file.name)));
            }
        }
        let tables = |file: &Found| Some(table(file)?.layout);
        let found = scope.resources(&statement.predicate.serialization, &tables, progress)?;
        statement.compare(&found)?;
        Ok(Verified {
            name: statement.name().to_owned(),
            resources: found.len(),
            ignored: statement.predicate.serialization.ignore_paths,
        })
    }

    /// Verifies the signatures, and that the model at `path` has exactly the signed files. Their
    /// content is verified as it is read. Unsigned files below `ignore` are skipped.
    ///
    /// # Errors
    ///
    /// [`OmsError`], which names the broken rule or the file; [`OmsError::NotByParts`] if the
    /// publisher signed it without segment tables.
    pub fn open(
        &self,
        path: &Path,
        ignore: &[PathBuf],
        trusted: &Trusted<'_>,
    ) -> Result<SignedModel, OmsError> {
        let (statement, scope) = self.statement(path, ignore, trusted)?;
        SignedModel::new(&scope, statement)
    }

    /// Verifies the signatures, and returns the statement and the files found in the model.
    fn statement(
        &self,
        path: &Path,
        ignore: &[PathBuf],
        trusted: &Trusted<'_>,
    ) -> Result<(Statement, Scope), OmsError> {
        let Self { bundle, signed } = self;
        if let Some(key) = trusted.classical {
            bundle.check_hint(&key.hint()?)?;
            let first = bundle.signatures.first().ok_or(OmsError::BadSignature)?;
            key.verify(signed, &first.bytes()?)?;
        }
        if let Some(key) = trusted.signer {
            self.verify_signer(key)?;
        }
        if trusted.signer.is_none() && trusted.classical.is_none() {
            return Err(OmsError::NoSigner);
        }
        let statement = Statement::decode(&bundle.payload)?;
        let passed_over = PassedOver {
            ignored: Ignored::new(&texts(ignore)?),
            signed: statement.names(),
        };
        let scope = Scope::new(path, &statement.predicate.serialization, &passed_over)?;
        Ok((statement, scope))
    }
}

/// Reads a bundle and its statement without verifying anything, for fuzzing.
#[doc(hidden)]
pub fn parse(bundle: &[u8]) -> Result<usize, OmsError> {
    parse_statement(&Bundle::decode(bundle)?.payload)
}

/// Reads a statement alone, for fuzzing.
#[doc(hidden)]
pub fn parse_statement(payload: &[u8]) -> Result<usize, OmsError> {
    Ok(Statement::decode(payload)?.predicate.resources.len())
}
