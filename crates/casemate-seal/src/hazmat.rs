//! The individual steps of opening and sealing that handle the artifact key, for constant-time
//! measurements.
//!
//! Nothing in this module checks the publisher of an artifact. Programs use
//! [`crate::Artifact::open`].

use casemate_crypto::{
    Secret,
    kem::{KemPrivateKey, KemPublicKey},
};
use zeroize::Zeroizing;

use crate::{Artifact, OpenError, ReadAt, SealError, writer};

/// Recovers the artifact key.
///
/// # Errors
///
/// As [`Artifact::open`].
pub fn unwrap<R: ReadAt>(
    artifact: &Artifact<R>,
    key: &KemPrivateKey,
) -> Result<Secret<32>, OpenError> {
    artifact.artifact_key(key)
}

/// Encrypts the artifact key to `recipient`, binds the recipients to it, and returns both
/// ciphertexts.
///
/// # Errors
///
/// As [`crate::seal`].
pub fn wrap<R: ReadAt>(
    artifact: &Artifact<R>,
    artifact_key: &Secret<32>,
    recipient: &KemPublicKey,
) -> Result<[Vec<u8>; 2], SealError> {
    let (header, root) = (artifact.header(), artifact.root());
    let mut made = writer::wrap(artifact_key, header, root, Vec::new(), &[recipient])?;
    let record = made.recipients.pop();
    let wrapped = record.map(|record| record.ct).unwrap_or_default();
    Ok([wrapped, made.recipient_part])
}

/// Decrypts the content.
///
/// # Errors
///
/// As [`Artifact::open`] and [`crate::Opened::read_all`].
pub fn decrypt<R: ReadAt>(
    artifact: &Artifact<R>,
    artifact_key: Secret<32>,
) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    artifact
        .open_body(artifact_key)?
        .read_all(u64::MAX, &|_| ())
}
