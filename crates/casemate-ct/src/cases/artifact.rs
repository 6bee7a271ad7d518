//! Sealed artifacts: unwrapping, wrapping and using the artifact key.

use std::{collections::BTreeMap, error::Error, sync::Mutex};

use casemate_crypto::{
    Secret,
    kem::{KemPrivateKey, KemPublicKey},
    suite::MLKEM1024_P384,
};
use casemate_seal::{Artifact, HashAlgorithm, Private, SealOptions, SegmentSize, hazmat, seal};

use super::{plain_bytes, secret_bytes};
use crate::{
    case::{Case, Outcome, same},
    mark::{self, reveal, reveal_in_place},
};

/// More than one segment, and a short last one.
const CONTENT_BYTES: usize = 70_000;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::clean("artifact key unwrapped", unwrap),
        Case::clean("artifact key wrapped", wrap),
        Case::clean("artifact opened", decrypt),
        Case::clean("artifact sealed", seal_content),
    ]
}

fn sealed(content: &[u8], recipient: &KemPublicKey) -> Result<Vec<u8>, Box<dyn Error>> {
    let sink = Mutex::new(Vec::new());
    let private = Private {
        name: "weights".to_owned(),
        metadata: BTreeMap::new(),
    };
    let options = SealOptions {
        recipients: &[recipient],
        signer: None,
        segment_size: SegmentSize::new(65536)?,
        hash: HashAlgorithm::default(),
        created: 1,
        content_type: "application/octet-stream",
        private: &private,
        revision: None,
        owner: None,
        public_part: &[],
        digest_content: false,
    };
    seal(&content, &sink, &options, &|_| ())?;
    Ok(sink.into_inner().unwrap_or_default())
}

/// Unwraps the artifact key with the recipient's secret seed.
fn unwrap() -> Outcome {
    let suite = &MLKEM1024_P384;
    let key = KemPrivateKey::from_seed(suite, &secret_bytes(suite.seed_bytes))?;
    reveal_in_place("the public key", key.public_key().as_bytes())?;
    let public = KemPublicKey::new(suite, key.public_key().as_bytes())?;
    let artifact = Artifact::read(sealed(&plain_bytes(10), &public)?)?;
    let artifact_key = hazmat::unwrap(&artifact, &key)?;
    reveal_in_place("the artifact key", artifact_key.expose())?;
    let content = hazmat::decrypt(&artifact, artifact_key)?;
    same("the content", &content, &plain_bytes(10))
}

/// Encrypts a secret artifact key to a recipient, and the recipient part with that key.
fn wrap() -> Outcome {
    let recipient = KemPrivateKey::generate(&MLKEM1024_P384)?;
    let artifact = Artifact::read(sealed(&plain_bytes(10), recipient.public_key())?)?;
    let artifact_key = Secret::copy_from("artifact key", &secret_bytes(32))?;
    let [wrapped, bound] = hazmat::wrap(&artifact, &artifact_key, recipient.public_key())?;
    reveal_in_place("the wrapped artifact key", &wrapped)?;
    // A public salt precedes the ciphertext.
    reveal_in_place("the recipient part", bound.get(32..).unwrap_or_default())
}

/// Decrypts content with a secret artifact key.
fn decrypt() -> Outcome {
    let (recipient, content) = (
        KemPrivateKey::generate(&MLKEM1024_P384)?,
        plain_bytes(CONTENT_BYTES),
    );
    let artifact = Artifact::read(sealed(&content, recipient.public_key())?)?;
    let artifact_key = hazmat::unwrap(&artifact, &recipient)?;
    mark::secret_in_place(artifact_key.expose());
    let mut found = hazmat::decrypt(&artifact, artifact_key)?;
    reveal("the content", &mut found)?;
    same("the content", &found, &content)
}

/// Seals secret content.
fn seal_content() -> Outcome {
    let recipient = KemPrivateKey::generate(&MLKEM1024_P384)?;
    let mut artifact = sealed(&secret_bytes(CONTENT_BYTES), recipient.public_key())?;
    mark::public(&mut artifact);
    let artifact = Artifact::read(artifact)?;
    let artifact_key = hazmat::unwrap(&artifact, &recipient)?;
    let content = hazmat::decrypt(&artifact, artifact_key)?;
    same("the content", &content, &plain_bytes(CONTENT_BYTES))
}
