//! Key files: the examples of RFC 9881 and RFC 9935, and our own round trips.

use std::{collections::BTreeMap, fs, path::Path};

use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{Ed25519KeyPair, KeyPair},
};
use casemate_crypto::{
    SecretBytes,
    encoding::{EncodingError, KeyId, PrivateKey, PublicKey, file_secrets, fips_seed},
    kem::KemPrivateKey,
    signature::{HTTP_SUITE_NAME, HttpSigningKey},
    suite::{KEM_SUITES, MLKEM768_X25519, SIGNATURE_SUITES},
};
use casemate_testkit::public_vectors;
use der::pem::decode_vec;

const ML_DSA: &str = "lamps-mldsa-certs-rfc9881";
const ML_KEM: &str = "lamps-mlkem-certs-rfc9935";

/// Every suite a key can be made for.
pub(crate) fn suite_names() -> Vec<&'static str> {
    let kems = KEM_SUITES.into_iter().map(|suite| suite.name);
    let signatures = SIGNATURE_SUITES.into_iter().map(|suite| suite.name);
    kems.chain(signatures).chain([HTTP_SUITE_NAME]).collect()
}

pub(crate) fn generate(suite: &str) -> PrivateKey {
    PrivateKey::generate(suite).unwrap().unwrap()
}

/// The files of a folder whose names begin and end so, with their content.
fn files(folder: &Path, prefix: &str, suffix: &str) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let named = entries.map(|entry| (entry.file_name().into_string().unwrap(), entry.path()));
    named
        .filter(|(name, _)| name.starts_with(prefix) && name.ends_with(suffix))
        .map(|(name, path)| (name, fs::read(path).unwrap()))
        .collect()
}

fn bytes_up_to(len: u8) -> Vec<u8> {
    (0..len).collect()
}

#[test]
fn seed_and_both_files_of_the_rfcs_give_their_seed_and_expanded_ones_are_refused() {
    for (folder, prefix, seed) in [
        (ML_DSA, "ML-DSA-", bytes_up_to(32)),
        (ML_KEM, "ML-KEM-", bytes_up_to(64)),
    ] {
        let folder = public_vectors(folder);
        for suffix in ["-seed.priv", "-both.priv"] {
            let good = files(&folder, prefix, suffix);
            assert_eq!(good.len(), 3, "{prefix}*{suffix}");
            for (name, pem) in good {
                assert_eq!(fips_seed(&pem).unwrap().expose(), seed, "{name}");
            }
        }
        let expanded = files(&folder, prefix, "-expanded.priv");
        assert_eq!(expanded.len(), 3, "{prefix}");
        for (name, pem) in expanded {
            let refused = fips_seed(&pem).unwrap_err();
            assert!(
                matches!(refused, EncodingError::ExpandedOnly),
                "{name}: {refused}"
            );
        }
    }
}

/// The `both` files among the bad ones disagree with their seed. The others are in expanded form
/// and differ from a good key in one byte (hash of the public key, a coefficient); that form is
/// refused before anything inside is looked at.
#[test]
fn every_bad_file_of_the_rfcs_is_refused_for_its_own_reason() {
    let mismatch = "the expanded private key does not match its seed";
    let expanded = "the private key is in expanded form and has no seed";
    for (folder, reasons) in [
        (
            ML_DSA,
            [("44-1", mismatch), ("44-2", expanded), ("44-3", expanded)].as_slice(),
        ),
        (
            ML_KEM,
            &[
                ("512-1", mismatch),
                ("512-2", expanded),
                ("512-3", expanded),
                ("512-4", mismatch),
            ],
        ),
    ] {
        let folder = public_vectors(folder);
        let bad = files(&folder, "bad-", ".priv");
        assert_eq!(bad.len(), reasons.len());
        for ((name, pem), (suffix, reason)) in bad.iter().zip(reasons) {
            assert!(name.ends_with(&format!("{suffix}.priv")), "{name}");
            assert_eq!(fips_seed(pem).unwrap_err().to_string(), *reason, "{name}");
        }
    }
}

#[test]
fn the_pure_suites_read_and_rewrite_the_files_of_the_rfcs() {
    for (folder, name, suite, id) in [
        (
            ML_DSA,
            "ML-DSA-87",
            "mldsa87",
            "07e57c4f14dbad1267f621ec3777b4e2e6c4fbc4c22fbb87510ff8e0b3c6a642",
        ),
        (
            ML_KEM,
            "ML-KEM-1024",
            "mlkem1024",
            "d2b7480ae006a14b37c1e8a8e45ea39022e32a9b1a7b90d594c84d869c6ac420",
        ),
    ] {
        let folder = public_vectors(folder);
        let read = |suffix| fs::read(folder.join(format!("{name}{suffix}"))).unwrap();
        let public = PublicKey::from_pem(&read(".pub")).unwrap();
        assert_eq!(public.suite_name(), suite);
        assert_eq!(public.to_pem().unwrap().as_bytes(), read(".pub"), "{name}");
        assert_eq!(public.id().unwrap().to_hex(), id, "{name}");

        for form in ["-seed.priv", "-both.priv"] {
            let private = PrivateKey::from_pem(&read(form)).unwrap();
            assert_eq!(
                private.to_pem().unwrap().expose(),
                read("-seed.priv"),
                "{name}{form}"
            );
            assert_eq!(
                private.public_key().unwrap().id().unwrap(),
                public.id().unwrap()
            );
        }
        let refused = PrivateKey::from_pem(&read("-expanded.priv")).unwrap_err();
        assert!(
            matches!(refused, EncodingError::ExpandedOnly),
            "{name}: {refused}"
        );
    }
}

#[test]
fn a_parameter_set_outside_the_registry_is_named_in_the_refusal() {
    let folder = public_vectors(ML_DSA);
    let pem = fs::read(folder.join("ML-DSA-44.pub")).unwrap();
    let refused = PublicKey::from_pem(&pem).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "algorithm 2.16.840.1.101.3.4.3.17 is not supported"
    );
}

#[test]
fn keys_of_every_suite_come_back_from_their_files() {
    for suite in suite_names() {
        let private = generate(suite);
        let pem = private.to_pem().unwrap();
        let again = PrivateKey::from_pem(pem.expose()).unwrap();
        assert_eq!(again.to_pem().unwrap().expose(), pem.expose(), "{suite}");

        let public = private.public_key().unwrap();
        let public_pem = public.to_pem().unwrap();
        let public_again = PublicKey::from_pem(public_pem.as_bytes()).unwrap();
        assert_eq!(public_again.to_pem().unwrap(), public_pem, "{suite}");
        assert_eq!(public_again.suite_name(), suite);
        assert_eq!(public_again.kind(), public.kind(), "{suite}");
        assert_eq!(
            public_again.id().unwrap(),
            again.public_key().unwrap().id().unwrap()
        );

        let other = generate(suite).public_key().unwrap();
        assert_ne!(other.id().unwrap(), public.id().unwrap(), "{suite}");
    }
}

#[test]
fn a_key_read_from_its_file_does_the_work_of_the_first() {
    for suite in suite_names() {
        let private = generate(suite);
        let again = PrivateKey::from_pem(private.to_pem().unwrap().expose()).unwrap();
        match (&private, &again) {
            (PrivateKey::Kem(first), PrivateKey::Kem(second)) => {
                let (ct, secret) = first.public_key().encapsulate().unwrap();
                assert!(second.decapsulate(&ct).unwrap().ct_eq(&secret), "{suite}");
            }
            (PrivateKey::Sign(first), PrivateKey::Sign(second)) => {
                let signature = second.sign_with_context(b"c", b"m").unwrap();
                let verified = first
                    .verifying_key()
                    .verify_with_context(b"c", b"m", &signature);
                assert_eq!(verified, Ok(()), "{suite}");
            }
            (PrivateKey::Http(first), PrivateKey::Http(second)) => {
                let signatures = second.sign(b"m", b"n").unwrap();
                assert_eq!(
                    first.verifying_key().verify(b"m", b"n", &signatures),
                    Ok(())
                );
            }
            pair => panic!("{suite} came back as another kind: {pair:?}"),
        }
    }
}

#[test]
fn a_public_key_names_its_kind_and_suite() {
    for (suite, kind) in [
        ("mlkem768-x25519", "kem"),
        ("mlkem1024", "kem"),
        ("mldsa87", "sign"),
        ("http-ed25519-mldsa65", "http"),
    ] {
        let public = generate(suite).public_key().unwrap();
        assert_eq!((public.kind().as_str(), public.suite_name()), (kind, suite));
    }
}

#[test]
fn an_unknown_suite_name_makes_no_key() {
    for name in ["", "rsa2048", "MLKEM1024-P384", "mlkem1024-p384 "] {
        assert!(PrivateKey::generate(name).unwrap().is_none(), "{name}");
    }
}

#[test]
fn the_ed25519_block_of_an_http_pair_is_plain_rfc_8410() {
    let seed = [0x42; 32];
    let key = HttpSigningKey::from_seeds(&seed, &[2; 32]).unwrap();
    let public = key.verifying_key().ed25519().to_vec();
    let pem = PrivateKey::Http(key).to_pem().unwrap();
    let text = str::from_utf8(pem.expose()).unwrap();
    let end = text.find("-----BEGIN PRIVATE KEY-----\n").unwrap();
    let second = text[end + 1..]
        .find("-----BEGIN PRIVATE KEY-----\n")
        .unwrap()
        + end
        + 1;
    let (_, der) = decode_vec(&text.as_bytes()[..second]).unwrap();

    assert_eq!(der.len(), 48);
    assert_eq!(hex::encode(&der[..16]), "302e020100300506032b657004220420");
    assert_eq!(der[16..], seed);
    let theirs = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).unwrap();
    assert_eq!(theirs.public_key().as_ref(), public);
}

#[test]
fn a_key_id_is_the_hash_of_the_spki_and_stays_the_same() {
    let key = KemPrivateKey::from_seed(&MLKEM768_X25519, &[7; 32]).unwrap();
    let public = PrivateKey::Kem(key).public_key().unwrap();
    let (_, spki) = decode_vec(public.to_pem().unwrap().as_bytes()).unwrap();
    let id = public.id().unwrap();
    assert_eq!(id.as_bytes().as_slice(), digest(&SHA256, &spki).as_ref());
    assert_eq!(
        id.to_hex(),
        "2e9cee0b3fb157931cb668f264998057c86e7668b33c10ea503d3c9fe1523fff"
    );
    assert_eq!(id.to_hex().parse::<KeyId>().unwrap(), id);
    assert_eq!(format!("{id}"), id.to_hex());
    assert_eq!(KeyId::from_bytes(*id.as_bytes()), id);
}

#[test]
fn the_id_of_an_http_pair_covers_both_of_its_keys() {
    let id = |ed25519: u8, mldsa65: u8| {
        let key = HttpSigningKey::from_seeds(&[ed25519; 32], &[mldsa65; 32]).unwrap();
        PrivateKey::Http(key).public_key().unwrap().id().unwrap()
    };
    assert_eq!(id(1, 2), id(1, 2));
    assert_ne!(id(1, 2), id(3, 2));
    assert_ne!(id(1, 2), id(1, 3));
}

#[test]
fn a_key_id_is_read_from_all_64_digits_and_nothing_else() {
    let digits = "ab".repeat(32);
    assert_eq!(digits.parse::<KeyId>().unwrap().to_hex(), digits);
    for wrong in [
        "",
        &digits[..16],
        &digits[1..],
        &format!("{digits}00"),
        &digits.replace('a', "g"),
    ] {
        let refused = wrong.parse::<KeyId>().unwrap_err().to_string();
        assert!(
            refused.starts_with("key id in hex of"),
            "{wrong}: {refused}"
        );
    }
}

/// What the constant-time gate marks as secret must be all that a file holds.
#[test]
fn the_secrets_of_a_key_are_what_its_file_holds() {
    for suite in suite_names() {
        let private = generate(suite);
        let parts = private.secret_parts();
        let text = private.to_pem().unwrap();
        let text = str::from_utf8(text.expose()).unwrap();
        let blocks = text.split_inclusive("-----END PRIVATE KEY-----\n");
        let whole = blocks
            .flat_map(|block| decode_vec(block.as_bytes()).unwrap().1)
            .collect::<Vec<_>>();
        for part in &parts {
            assert!(part.len() >= 32, "{suite}");
            let found = whole.windows(part.len()).any(|window| window == *part);
            assert!(found, "{suite}");
        }
        let read = file_secrets(text.as_bytes()).unwrap();
        let read: Vec<_> = read.iter().map(SecretBytes::expose).collect();
        assert_eq!(read, parts, "{suite}");
        let secret: usize = parts.iter().map(|part| part.len()).sum();
        assert!(
            whole.len() - secret < 100,
            "{suite}: {} of {}",
            secret,
            whole.len()
        );
    }
}
