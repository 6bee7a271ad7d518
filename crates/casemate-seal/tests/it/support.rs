//! Keys and artifacts for the tests.

use std::sync::{LazyLock, Mutex};

use casemate_crypto::{kem::KemPrivateKey, signature::SigningKey, suite};
use casemate_seal::{HashAlgorithm, Private, SealOptions, SegmentSize, seal};

pub(crate) static KEM: LazyLock<KemPrivateKey> =
    LazyLock::new(|| KemPrivateKey::generate(&suite::MLKEM1024_P384).unwrap());
pub(crate) static OTHER_KEM: LazyLock<KemPrivateKey> =
    LazyLock::new(|| KemPrivateKey::generate(&suite::MLKEM768_X25519).unwrap());
pub(crate) static SIGNER: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::generate(&suite::MLDSA87_P384).unwrap());
pub(crate) static OTHER_SIGNER: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::generate(&suite::MLDSA87_P384).unwrap());

pub(crate) const SEGMENT: usize = 65_536;

/// Content in which every segment differs.
pub(crate) fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at / 251 + at) as u8).collect()
}

/// Seals to `KEM`, signed by `SIGNER`, in the smallest segments.
pub(crate) fn sealed(content: &[u8]) -> Vec<u8> {
    sealed_with(content, HashAlgorithm::Blake3, Some(&SIGNER))
}

pub(crate) fn sealed_with(
    content: &[u8],
    hash: HashAlgorithm,
    signer: Option<&SigningKey>,
) -> Vec<u8> {
    let private = Private {
        name: "model.onnx".to_owned(),
        ..Private::default()
    };
    let options = SealOptions {
        recipients: &[KEM.public_key()],
        signer,
        segment_size: SegmentSize::new(SEGMENT as u64).unwrap(),
        hash,
        created: 1_700_000_000,
        content_type: "application/octet-stream",
        private: &private,
        revision: None,
        digest_content: false,
    };
    let sink = Mutex::new(Vec::new());
    let result = seal(&content.to_vec(), &sink, &options, &|_| ()).unwrap();
    let artifact = sink.into_inner().unwrap();
    assert_eq!(result.artifact_len, artifact.len() as u64);
    artifact
}
