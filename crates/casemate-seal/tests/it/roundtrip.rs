//! What was sealed comes back, whole and in parts.

use std::collections::BTreeMap;

use casemate_crypto::{kem::KemPrivateKey, signature::SigningKey, suite};
use casemate_seal::{
    Artifact, HashAlgorithm, OpenError, Origin, Private, SealError, SealOptions, SegmentSize,
};
use proptest::prelude::*;

use crate::support::{
    KEM, OTHER_KEM, OTHER_SIGNER, SEGMENT, SIGNER, content, options, read_every_way,
    seal_in_memory, sealed, sealed_with,
};

#[test]
fn content_of_every_interesting_length_comes_back() {
    for len in [
        0,
        1,
        SEGMENT - 1,
        SEGMENT,
        SEGMENT + 1,
        3 * SEGMENT,
        3 * SEGMENT + 7,
    ] {
        for hash in [HashAlgorithm::Blake3, HashAlgorithm::Sha384] {
            let plain = content(len);
            let bytes = sealed_with(&plain, hash, Some(&SIGNER));
            let artifact = Artifact::read(&bytes).unwrap();
            let opened = artifact
                .open(&KEM, Origin::SignedBy(SIGNER.verifying_key()))
                .unwrap();
            assert_eq!(read_every_way(&opened).unwrap(), plain, "{len} bytes");
            artifact.verify_segments(&|_| ()).unwrap();
        }
    }
}

#[test]
fn the_overhead_is_what_the_specification_says() {
    let bytes = sealed(&content(2 * SEGMENT + 1));
    let artifact = Artifact::read(&bytes).unwrap();
    assert_eq!(
        artifact.header().body_len(),
        74 + (2 * SEGMENT + 1 + 3 * 32) as u64
    );
    assert_eq!(artifact.artifact_len(), bytes.len() as u64);
    assert_eq!(artifact.leftover_len(), 0);
    assert_eq!(artifact.header().segments(), 3);
    assert_eq!(artifact.header().created(), 1_700_000_000);
}

#[test]
fn every_suite_seals_and_opens_for_every_recipient() {
    let keys: Vec<_> = suite::KEM_SUITES
        .into_iter()
        .map(|suite| KemPrivateKey::generate(suite).unwrap())
        .collect();
    let recipients: Vec<_> = keys.iter().map(KemPrivateKey::public_key).collect();
    for suite in suite::SIGNATURE_SUITES {
        let signer = SigningKey::generate(suite).unwrap();
        let metadata = BTreeMap::from([
            ("b".to_owned(), "1".to_owned()),
            ("aa".to_owned(), "2".to_owned()),
        ]);
        let private = Private {
            name: "weights".to_owned(),
            metadata,
        };
        let options = SealOptions {
            signer: Some(&signer),
            segment_size: SegmentSize::default(),
            content_type: "model/onnx",
            private: &private,
            ..options(&recipients)
        };
        let bytes = seal_in_memory(&content(1000), &options).unwrap();
        let artifact = Artifact::read(&bytes).unwrap();
        for key in &keys {
            let opened = artifact
                .open(key, Origin::SignedBy(signer.verifying_key()))
                .unwrap();
            assert_eq!(opened.private(), &private);
            assert_eq!(*opened.read_all(1000, &|_| ()).unwrap(), content(1000));
        }
    }
}

#[test]
fn a_key_that_is_no_recipient_and_a_signer_that_is_not_trusted_are_named() {
    let bytes = sealed(b"content");
    let artifact = Artifact::read(&bytes).unwrap();
    let refused = artifact.open(&OTHER_KEM, Origin::Unchecked).unwrap_err();
    assert!(
        matches!(refused, OpenError::NotARecipient { .. }),
        "{refused}"
    );
    let other = Origin::SignedBy(OTHER_SIGNER.verifying_key());
    let refused = artifact.open(&KEM, other).unwrap_err();
    assert!(
        matches!(refused, OpenError::OtherSigner { .. }),
        "{refused}"
    );

    let unsigned = sealed_with(b"content", HashAlgorithm::Blake3, None);
    let artifact = Artifact::read(&unsigned).unwrap();
    let refused = artifact
        .open(&KEM, Origin::SignedBy(SIGNER.verifying_key()))
        .unwrap_err();
    assert!(matches!(refused, OpenError::Unsigned), "{refused}");
    assert_eq!(
        artifact
            .open(&KEM, Origin::Unchecked)
            .unwrap()
            .content_len(),
        7
    );
}

#[test]
fn sealing_without_or_with_doubled_recipients_is_refused() {
    let mut options = options(&[]);
    let refused = seal_in_memory(&content(1), &options).unwrap_err();
    assert!(matches!(refused, SealError::NoRecipient), "{refused}");
    let twice = [KEM.public_key(), KEM.public_key()];
    options.recipients = &twice;
    let refused = seal_in_memory(&content(1), &options).unwrap_err();
    assert!(
        matches!(refused, SealError::DuplicateRecipient(_)),
        "{refused}"
    );
    let one = [KEM.public_key()];
    options.recipients = &one;
    let long = "x".repeat(256);
    options.content_type = &long;
    let refused = seal_in_memory(&content(1), &options).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "content type of 256 bytes exceeds the limit of 255"
    );
    for bad in [
        "",
        "model",
        "/x",
        "x/",
        "a/b\nsigned by",
        "a/\u{1b}[8m",
        "ä/b",
    ] {
        options.content_type = bad;
        let refused = seal_in_memory(&content(1), &options).unwrap_err();
        assert!(
            matches!(refused, SealError::ContentType(_)),
            "{bad:?}: {refused}"
        );
    }
}

#[test]
fn memory_is_not_filled_past_the_callers_limit() {
    let bytes = sealed(b"content");
    let artifact = Artifact::read(&bytes).unwrap();
    let opened = artifact.open(&KEM, Origin::Unchecked).unwrap();
    assert_eq!(opened.read_all(7, &|_| ()).unwrap().as_slice(), b"content");
    let refused = opened.read_all(6, &|_| ()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "content length of 7 exceeds the limit of 6"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_range_reads_as_the_content_does(
        len in 0usize..3 * SEGMENT,
        from in 0usize..3 * SEGMENT,
        take in 0usize..2 * SEGMENT,
    ) {
        let plain = content(len);
        let bytes = sealed(&plain);
        let artifact = Artifact::read(&bytes).unwrap();
        let opened = artifact.open(&KEM, Origin::Unchecked).unwrap();
        let mut out = vec![0; take];
        let read = opened.read_at(&mut out, from as u64);
        if let Some(expected) = plain.get(from..from + take) {
            read.unwrap();
            prop_assert_eq!(out, expected);
        } else {
            let limited = matches!(read.unwrap_err(), OpenError::Limit { .. });
            prop_assert!(limited);
        }
    }
}
