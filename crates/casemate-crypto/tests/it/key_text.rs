//! Hostile key files: wrong labels, wrong blocks, cut, grown or changed text and bytes. None may
//! panic, all are refused.

use casemate_crypto::encoding::{EncodingError, KEY_FILE_BYTES_MAX, PrivateKey, PublicKey};
use der::pem::{LineEnding, decode_vec, encode_string};

use crate::key_files::{generate, suite_names};

pub(crate) const PUBLIC: &str = "PUBLIC KEY";
pub(crate) const PRIVATE: &str = "PRIVATE KEY";

pub(crate) fn pem(label: &str, der: &[u8]) -> Vec<u8> {
    encode_string(label, LineEnding::LF, der)
        .unwrap()
        .into_bytes()
}

pub(crate) fn der(pem: &[u8]) -> Vec<u8> {
    decode_vec(pem).unwrap().1
}

/// Suites whose key is one block.
pub(crate) fn single_suites() -> impl Iterator<Item = &'static str> {
    suite_names()
        .into_iter()
        .filter(|suite| !suite.starts_with("http-"))
}

/// The private and the public file of a fresh key.
pub(crate) fn files_of(suite: &str) -> (Vec<u8>, Vec<u8>) {
    let private = generate(suite);
    let public = private.public_key().unwrap().to_pem().unwrap().into_bytes();
    (private.to_pem().unwrap().expose().to_vec(), public)
}

/// The two blocks of a file.
fn blocks(file: &[u8]) -> [Vec<u8>; 2] {
    let text = str::from_utf8(file).unwrap();
    let second = text.rfind("-----BEGIN ").unwrap();
    let (first, second) = file.split_at(second);
    [first.to_vec(), second.to_vec()]
}

pub(crate) fn refused_private(file: &[u8]) -> EncodingError {
    PrivateKey::from_pem(file).unwrap_err()
}

pub(crate) fn refused_public(file: &[u8]) -> EncodingError {
    PublicKey::from_pem(file).unwrap_err()
}

#[test]
fn a_file_of_the_other_kind_is_refused_by_its_label() {
    for suite in suite_names() {
        let (private, public) = files_of(suite);
        assert_eq!(
            refused_private(&public).to_string(),
            "PEM block is labelled `PUBLIC KEY`, expected `PRIVATE KEY`"
        );
        assert_eq!(
            refused_public(&private).to_string(),
            "PEM block is labelled `PRIVATE KEY`, expected `PUBLIC KEY`"
        );
    }
    let certificate = pem("CERTIFICATE", &der(&files_of("mldsa87").1));
    let refused = refused_public(&certificate);
    assert!(matches!(refused, EncodingError::Label { found, .. } if found == "CERTIFICATE"));
}

#[test]
fn only_ed25519_then_mldsa65_make_a_pair() {
    let (private, public) = files_of("http-ed25519-mldsa65");
    let [ed25519, mldsa65] = blocks(&private);
    let [ed25519_public, mldsa65_public] = blocks(&public);
    let (kem, kem_public) = files_of("mlkem1024-p384");
    for (first, second, oid) in [
        (&mldsa65, &ed25519, "2.16.840.1.101.3.4.3.18"),
        (&ed25519, &ed25519, "1.3.101.112"),
        (&ed25519, &kem, "1.3.6.1.5.5.7.6.63"),
        (&kem, &mldsa65, "1.3.6.1.5.5.7.6.63"),
        (&kem, &kem, "1.3.6.1.5.5.7.6.63"),
    ] {
        let refused = refused_private(&[first.as_slice(), second].concat());
        assert_eq!(
            refused.to_string(),
            format!("algorithm {oid} is not supported")
        );
    }
    for (first, second, oid) in [
        (&mldsa65_public, &ed25519_public, "2.16.840.1.101.3.4.3.18"),
        (&kem_public, &kem_public, "1.3.6.1.5.5.7.6.63"),
    ] {
        let refused = refused_public(&[first.as_slice(), second].concat());
        assert_eq!(
            refused.to_string(),
            format!("algorithm {oid} is not supported")
        );
    }
}

#[test]
fn half_a_pair_and_three_blocks_are_no_key() {
    let (private, public) = files_of("http-ed25519-mldsa65");
    for (half, oid) in blocks(&private)
        .iter()
        .zip(["1.3.101.112", "2.16.840.1.101.3.4.3.18"])
    {
        let expected = format!("algorithm {oid} is not supported");
        assert_eq!(refused_private(half).to_string(), expected);
        let three = refused_private(&[private.as_slice(), half].concat());
        assert!(
            matches!(three, EncodingError::Blocks { blocks: 3 }),
            "{three}"
        );
    }
    for half in &blocks(&public) {
        let refused = refused_public(half);
        assert!(
            matches!(refused, EncodingError::UnknownAlgorithm { .. }),
            "{refused}"
        );
        let three = refused_public(&[public.as_slice(), half].concat());
        assert!(
            matches!(three, EncodingError::Blocks { blocks: 3 }),
            "{three}"
        );
    }
}

#[test]
fn bytes_after_the_structure_are_refused() {
    for suite in single_suites() {
        let (private, public) = files_of(suite);
        let grown = pem(PRIVATE, &[der(&private).as_slice(), &[0]].concat());
        let refused = refused_private(&grown);
        assert!(
            matches!(refused, EncodingError::Der { what: "PKCS#8" }),
            "{suite}: {refused}"
        );
        let grown = pem(PUBLIC, &[der(&public).as_slice(), &[0]].concat());
        let refused = refused_public(&grown);
        let what = "malformed SubjectPublicKeyInfo";
        assert_eq!(refused.to_string(), what, "{suite}");
    }
}

/// The file with `junk` before, between and after its two blocks.
fn with_junk(file: &[u8], junk: &[u8]) -> [Vec<u8>; 3] {
    let [first, second] = blocks(file);
    [
        [junk, file].concat(),
        [&first, junk, &second].concat(),
        [file, junk].concat(),
    ]
}

#[test]
fn white_space_around_blocks_is_allowed_and_anything_else_refused() {
    let (private, public) = files_of("http-ed25519-mldsa65");
    for file in with_junk(&private, b" \r\n\t\n") {
        let read = PrivateKey::from_pem(&file).unwrap();
        assert_eq!(read.to_pem().unwrap().expose(), private);
    }
    for file in with_junk(&public, b" \r\n\t\n") {
        let read = PublicKey::from_pem(&file).unwrap();
        assert_eq!(read.to_pem().unwrap().as_bytes(), public);
    }
    for junk in [
        b"x".as_slice(),
        b"# comment\n",
        b"-----",
        &[0],
        &[0xff],
        b"\xef\xbb\xbf",
    ] {
        for file in with_junk(&private, junk) {
            let refused = refused_private(&file);
            assert!(
                matches!(refused, EncodingError::NotPem),
                "{junk:?}: {refused}"
            );
        }
        for file in with_junk(&public, junk) {
            let refused = refused_public(&file);
            assert!(
                matches!(refused, EncodingError::NotPem),
                "{junk:?}: {refused}"
            );
        }
    }
}

#[test]
fn a_file_at_the_limit_is_read_and_one_byte_more_is_refused() {
    let (private, public) = files_of("mlkem1024-p384");
    let pad = |file: &[u8], len: usize| [file, &vec![b'\n'; len - file.len()]].concat();
    let read = PrivateKey::from_pem(&pad(&private, KEY_FILE_BYTES_MAX)).unwrap();
    assert_eq!(read.to_pem().unwrap().expose(), private);
    let read = PublicKey::from_pem(&pad(&public, KEY_FILE_BYTES_MAX)).unwrap();
    assert_eq!(read.to_pem().unwrap().as_bytes(), public);
    let expected = "key file of 65537 bytes exceeds the limit of 65536";
    let refused = refused_private(&pad(&private, KEY_FILE_BYTES_MAX + 1));
    assert_eq!(refused.to_string(), expected);
    let refused = refused_public(&pad(&public, KEY_FILE_BYTES_MAX + 1));
    assert_eq!(refused.to_string(), expected);
}

#[test]
fn empty_and_blank_files_are_no_key() {
    for blank in [
        b"".as_slice(),
        b"\n \t\r\n",
        b"-----BEGIN PRIVATE KEY-----\n-----END",
        &[0xff],
    ] {
        assert!(
            matches!(refused_private(blank), EncodingError::NotPem),
            "{blank:?}"
        );
        assert!(
            matches!(refused_public(blank), EncodingError::NotPem),
            "{blank:?}"
        );
    }
}

/// DER cut anywhere says so itself, whatever the lengths inside claim.
#[test]
fn der_cut_at_any_length_is_refused() {
    for suite in single_suites() {
        let (private, public) = files_of(suite);
        let whole = der(&private);
        for len in 0..whole.len() {
            let refused = refused_private(&pem(PRIVATE, &whole[..len]));
            let what = matches!(refused, EncodingError::Der { .. } | EncodingError::NotPem);
            assert!(what, "{suite} at {len}: {refused}");
        }
        let whole = der(&public);
        for len in 0..whole.len() {
            let refused = refused_public(&pem(PUBLIC, &whole[..len]));
            let what = matches!(refused, EncodingError::Der { .. } | EncodingError::NotPem);
            assert!(what, "{suite} at {len}: {refused}");
        }
    }
}

#[test]
fn text_cut_at_any_length_is_refused() {
    for suite in suite_names() {
        let (private, _) = files_of(suite);
        let first = blocks(&private)[0].len();
        for len in 0..private.len() - 1 {
            let refused = refused_private(&private[..len]);
            // An HTTP pair cut between its blocks is half a pair.
            let half = (len == first || len + 1 == first) && suite.starts_with("http-");
            let what = match refused {
                EncodingError::NotPem => !half,
                EncodingError::UnknownAlgorithm { .. } => half,
                _ => false,
            };
            assert!(what, "{suite} at {len}: {refused}");
        }
    }
}

/// There is one encoding of a key: whatever is accepted is written again as the same bytes.
#[test]
fn a_changed_byte_is_refused_or_is_part_of_another_key() {
    for suite in single_suites() {
        let (private, public) = files_of(suite);
        let mut refusals = [0; 2];
        let whole = der(&private);
        for byte in 0..whole.len() {
            let mut changed = whole.clone();
            changed[byte] ^= 1 << (byte % 8);
            match PrivateKey::from_pem(&pem(PRIVATE, &changed)) {
                Ok(key) => assert_eq!(
                    der(key.to_pem().unwrap().expose()),
                    changed,
                    "{suite} {byte}"
                ),
                Err(_) => refusals[0] += 1,
            }
        }
        let whole = der(&public);
        for byte in 0..whole.len() {
            let mut changed = whole.clone();
            changed[byte] ^= 1 << (byte % 8);
            match PublicKey::from_pem(&pem(PUBLIC, &changed)) {
                Ok(key) => assert_eq!(der(key.to_pem().unwrap().as_bytes()), changed, "{suite}"),
                Err(_) => refusals[1] += 1,
            }
        }
        assert!(
            refusals.iter().all(|count| *count >= 16),
            "{suite}: {refusals:?}"
        );
    }
}
