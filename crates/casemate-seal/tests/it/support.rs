//! Keys and artifacts for the tests.

use std::sync::{LazyLock, Mutex};

use casemate_crypto::{
    kem::{KemPrivateKey, KemPublicKey},
    signature::SigningKey,
    suite,
};
use casemate_seal::{
    HashAlgorithm, OpenError, Opened, Private, ReadAt, SealError, SealOptions, SegmentSize,
    folder::{FolderOptions, Since},
    seal,
};

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
    let recipients = [KEM.public_key()];
    let options = SealOptions {
        signer,
        hash,
        private: &private,
        ..options(&recipients)
    };
    seal_in_memory(content, &options).unwrap()
}

/// The options of an artifact in the smallest segments, signed by `SIGNER`.
pub(crate) fn options<'a>(recipients: &'a [&'a KemPublicKey]) -> SealOptions<'a> {
    static PRIVATE: LazyLock<Private> = LazyLock::new(Private::default);
    SealOptions {
        recipients,
        signer: Some(&SIGNER),
        segment_size: SegmentSize::new(SEGMENT as u64).unwrap(),
        hash: HashAlgorithm::Blake3,
        created: 1_700_000_000,
        content_type: "application/octet-stream",
        private: &PRIVATE,
        revision: None,
        owner: None,
        public_part: &[],
        digest_content: false,
    }
}

/// Seals in memory.
pub(crate) fn seal_in_memory(
    content: &[u8],
    options: &SealOptions<'_>,
) -> Result<Vec<u8>, SealError> {
    let sink = Mutex::new(Vec::new());
    let sealed = seal(&content.to_vec(), &sink, options, &|_| ())?;
    let artifact = sink.into_inner().unwrap();
    assert_eq!(sealed.artifact_len, artifact.len() as u64);
    Ok(artifact)
}

/// The options of a folder in the smallest segments.
pub(crate) fn folder_options<'a>(
    recipients: &'a [&'a KemPublicKey],
    signer: &'a SigningKey,
    since: Option<Since<'a>>,
) -> FolderOptions<'a> {
    FolderOptions {
        owner: None,
        expires: None,
        recipients,
        signer: Some(signer),
        segment_size: SegmentSize::new(SEGMENT as u64).unwrap(),
        hash: HashAlgorithm::Blake3,
        created: 1_700_000_000,
        content_type: |_| "application/octet-stream",
        since,
    }
}

/// Reads the content in every way that there is, and gives what all of them give.
pub(crate) fn read_every_way<R: ReadAt>(opened: &Opened<R>) -> Result<Vec<u8>, OpenError> {
    let whole = opened.read_all(u64::MAX, &|_| ()).map(|c| c.to_vec());
    let sink = Mutex::new(Vec::new());
    let copied = opened.copy_to(&sink, &|_| ());
    let mut ways = vec![copied.map(|()| sink.into_inner().unwrap())];
    let segments = opened.artifact().header().segments();
    let parts = (0..segments).map(|index| opened.read_segment(index).map(|c| c.to_vec()));
    ways.push(parts.collect::<Result<Vec<_>, _>>().map(|c| c.concat()));
    // Empty content has nothing to read at an offset.
    if opened.content_len() > 0 {
        ways.push(read_in_steps(opened, opened.segment_bytes() / 3));
        ways.push(read_in_steps(opened, opened.segment_bytes() * 2 + 1));
    }
    for way in ways {
        match (&whole, &way) {
            (Ok(expected), Ok(found)) => assert_eq!(expected, found),
            (Err(expected), Err(found)) => assert_eq!(
                std::mem::discriminant(expected),
                std::mem::discriminant(found),
                "{expected} or {found}"
            ),
            _ => panic!("one way gives {:?}, another {:?}", whole.err(), way.err()),
        }
    }
    whole
}

/// Reads pieces of `step` bytes, each twice: a failure must not leave behind what the next read
/// takes for content.
fn read_in_steps<R: ReadAt>(opened: &Opened<R>, step: u64) -> Result<Vec<u8>, OpenError> {
    let mut content = Vec::new();
    let mut failed = None;
    let mut at = 0;
    while at < opened.content_len() {
        let len = step.min(opened.content_len() - at);
        let mut out = vec![0; len as usize];
        let (first, again) = (opened.read_at(&mut out, at), opened.read_at(&mut out, at));
        assert_eq!(first.is_ok(), again.is_ok());
        failed = failed.or_else(|| first.err());
        content.extend(out);
        at += len;
    }
    failed.map_or(Ok(content), Err)
}
