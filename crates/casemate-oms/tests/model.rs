//! Signing and verifying models, what is refused, and the public vectors of the OMS specification.
#![allow(
    clippy::unwrap_used,
    clippy::unwrap_in_result,
    clippy::indexing_slicing,
    clippy::semicolon_if_nothing_returned,
    missing_docs,
    reason = "tests"
)]

use std::{fs, os::unix::fs::symlink, path::Path};

use casemate_crypto::{
    algorithm::HashAlgorithm,
    signature::SigningKey,
    suite::{MLDSA65_ED25519, MLDSA87_P384},
};
use casemate_oms::{
    EcdsaKey, EcdsaPublicKey, ModelSignature, OmsError, Signing, Trusted, Verified, parse, sign,
};
use casemate_testkit::public_vectors;
use tempfile::TempDir;

/// Made by `openssl ecparam -name secp384r1 -genkey` and `openssl pkey -pubout`; a key of these
/// tests only.
const ECDSA: &str = include_str!("ecdsa-p384.pem");
const ECDSA_PUBLIC: &str = include_str!("ecdsa-p384.pub.pem");
const ECDSA_OTHER: &str = include_str!("ecdsa-p256.pub.pem");

struct Model(TempDir);

impl Model {
    fn new() -> Self {
        let home = TempDir::new().unwrap();
        fs::create_dir_all(home.path().join("m/sub")).unwrap();
        for (path, content) in [
            ("m/a", "first"),
            ("m/sub/b", "second"),
            ("m/.gitignore", "x"),
        ] {
            fs::write(home.path().join(path), content).unwrap();
        }
        Self(home)
    }

    fn root(&self) -> std::path::PathBuf {
        self.0.path().join("m")
    }
}

fn key() -> SigningKey {
    SigningKey::generate(&MLDSA65_ED25519).unwrap()
}

fn signed(root: &Path, key: &SigningKey) -> Vec<u8> {
    let signing = Signing {
        signer: Some(key),
        classical: Some(&EcdsaKey::from_pem(ECDSA.as_bytes()).unwrap()),
        ignore: &[],
        output: None,
        follow_links: false,
        segment_hash: HashAlgorithm::Blake3,
    };
    sign(root, &signing, &|_| ()).unwrap()
}

fn check(root: &Path, bundle: &[u8], key: &SigningKey) -> Result<Verified, OmsError> {
    let trusted = Trusted {
        signer: Some(key.verifying_key()),
        classical: None,
    };
    ModelSignature::decode(bundle).and_then(|found| found.verify(root, &[], &trusted, &|_| ()))
}

fn check_classical(root: &Path, bundle: &[u8], pem: &str) -> Result<Verified, OmsError> {
    let classical = EcdsaPublicKey::from_pem(pem.as_bytes()).unwrap();
    let trusted = Trusted {
        signer: None,
        classical: Some(&classical),
    };
    ModelSignature::decode(bundle).and_then(|found| found.verify(root, &[], &trusted, &|_| ()))
}

#[test]
fn a_model_verifies_under_both_keys_and_under_no_other() {
    let (model, publisher) = (Model::new(), key());
    let bundle = signed(&model.root(), &publisher);
    let verified = check(&model.root(), &bundle, &publisher).unwrap();
    assert_eq!((verified.name.as_str(), verified.resources), ("m", 2));
    check_classical(&model.root(), &bundle, ECDSA_PUBLIC).unwrap();
    let other = check(&model.root(), &bundle, &key()).unwrap_err();
    assert!(matches!(other, OmsError::OtherSigner { .. }), "{other}");
    let other = check_classical(&model.root(), &bundle, ECDSA_OTHER).unwrap_err();
    assert!(matches!(other, OmsError::OtherSigner { .. }), "{other}");
    let nobody = Trusted {
        signer: None,
        classical: None,
    };
    let nobody = ModelSignature::decode(&bundle)
        .and_then(|found| found.verify(&model.root(), &[], &nobody, &|_| ()))
        .unwrap_err();
    assert!(matches!(nobody, OmsError::NoSigner), "{nobody}");
}

#[test]
fn every_change_of_the_model_is_named() {
    type Change = fn(&Path);
    let publisher = key();
    let changes: [(&str, Change); 6] = [
        ("sub/b was changed", |root| {
            fs::write(root.join("sub/b"), "Second").unwrap()
        }),
        ("sub/b is missing", |root| {
            fs::remove_file(root.join("sub/b")).unwrap()
        }),
        ("new was not signed", |root| {
            fs::write(root.join("new"), "").unwrap()
        }),
        ("c was not signed", |root| {
            fs::rename(root.join("a"), root.join("c")).unwrap()
        }),
        ("is a symbolic link", |root| {
            fs::remove_file(root.join("a")).unwrap();
            symlink("sub/b", root.join("a")).unwrap();
        }),
        ("is a symbolic link", |root| {
            symlink("sub", root.join("d")).unwrap()
        }),
    ];
    for (expected, change) in changes {
        let model = Model::new();
        let bundle = signed(&model.root(), &publisher);
        change(&model.root());
        let refused = check(&model.root(), &bundle, &publisher)
            .unwrap_err()
            .to_string();
        assert!(refused.ends_with(expected), "{refused}");
    }
}

#[test]
fn what_was_left_out_may_change_and_nothing_else() {
    let (model, publisher) = (Model::new(), key());
    let signing = Signing {
        signer: Some(&publisher),
        classical: None,
        ignore: &["sub/".into()],
        output: None,
        follow_links: false,
        segment_hash: HashAlgorithm::Blake3,
    };
    let bundle = sign(&model.root(), &signing, &|_| ()).unwrap();
    fs::write(model.root().join("sub/b"), "other").unwrap();
    fs::write(model.root().join(".gitignore"), "other").unwrap();
    let verified = check(&model.root(), &bundle, &publisher).unwrap();
    assert!(verified.ignored.contains(&"sub".to_owned()) && verified.resources == 1);
    fs::write(model.root().join("subway"), "a name that only begins alike").unwrap();
    let refused = check(&model.root(), &bundle, &publisher)
        .unwrap_err()
        .to_string();
    assert_eq!(refused, "subway was not signed");
}

#[test]
fn one_file_is_a_model_too() {
    let (model, publisher) = (Model::new(), key());
    let file = model.root().join("a");
    let bundle = signed(&file, &publisher);
    assert_eq!(check(&file, &bundle, &publisher).unwrap().name, "a");
    fs::write(&file, "First").unwrap();
    assert_eq!(
        check(&file, &bundle, &publisher).unwrap_err().to_string(),
        "the file was changed"
    );
}

#[test]
fn a_signature_of_another_statement_or_another_use_is_refused() {
    let (model, other, publisher) = (Model::new(), Model::new(), key());
    fs::write(other.root().join("a"), "another").unwrap();
    let (ours, theirs) = (
        signed(&model.root(), &publisher),
        signed(&other.root(), &publisher),
    );
    let mut ours: serde_json::Value = serde_json::from_slice(&ours).unwrap();
    let theirs: serde_json::Value = serde_json::from_slice(&theirs).unwrap();
    let whole = serde_json::to_vec(&ours).unwrap();
    ours["dsseEnvelope"]["payload"] = theirs["dsseEnvelope"]["payload"].clone();
    let swapped = serde_json::to_vec(&ours).unwrap();
    for root in [model.root(), other.root()] {
        let refused = check(&root, &swapped, &publisher).unwrap_err();
        assert!(matches!(refused, OmsError::BadSignature), "{refused}");
        let refused = check_classical(&root, &swapped, ECDSA_PUBLIC).unwrap_err();
        assert!(matches!(refused, OmsError::BadSignature), "{refused}");
    }
    check(&model.root(), &whole, &publisher).unwrap();
}

#[test]
fn a_stripped_signature_leaves_a_classical_one_that_does_not_stand_for_it() {
    let (model, publisher) = (Model::new(), SigningKey::generate(&MLDSA87_P384).unwrap());
    let bundle = signed(&model.root(), &publisher);
    let mut json: serde_json::Value = serde_json::from_slice(&bundle).unwrap();
    json["dsseEnvelope"]["signatures"]
        .as_array_mut()
        .unwrap()
        .pop();
    let stripped = serde_json::to_vec(&json).unwrap();
    check_classical(&model.root(), &stripped, ECDSA_PUBLIC).unwrap();
    let refused = check(&model.root(), &stripped, &publisher)
        .unwrap_err()
        .to_string();
    assert!(
        refused.starts_with("the model is signed by a classical key only"),
        "{refused}"
    );
}

#[test]
fn every_flipped_byte_of_a_bundle_is_refused_or_changes_nothing() {
    let (model, publisher) = (Model::new(), key());
    let bundle = signed(&model.root(), &publisher);
    for at in 0..bundle.len() {
        let mut flipped = bundle.clone();
        flipped[at] ^= 1;
        if let Ok(verified) = check(&model.root(), &flipped, &publisher) {
            // The classical signature and the hint are not what this reader was told to look at.
            let text = String::from_utf8_lossy(&bundle);
            let composite = text.rfind("\"sig\":\"").unwrap();
            let payload = text.find("\"payload\":\"").unwrap();
            let signatures = text.find("\"signatures\"").unwrap();
            let looked_at = at > composite || (payload..signatures).contains(&at);
            assert!(!looked_at || at + 1 == bundle.len(), "byte {at}");
            assert_eq!(verified.resources, 2);
        }
    }
}

#[test]
fn keys_of_other_kinds_are_refused() {
    for pem in [
        "",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        ECDSA,
    ] {
        EcdsaPublicKey::from_pem(pem.as_bytes()).unwrap_err();
    }
    EcdsaKey::from_pem(ECDSA_PUBLIC.as_bytes()).unwrap_err();
}

#[test]
fn the_vectors_of_the_specification_are_read_and_refused_as_it_says() {
    let vectors = public_vectors("oms/v1.0");
    let read = |path: &str| parse(&fs::read(vectors.join(path)).unwrap());
    assert_eq!(read("valid/key.bundle.json").unwrap(), 2);
    for method in ["certificate", "sigstore"] {
        let refused = read(&format!("valid/{method}.bundle.json")).unwrap_err();
        assert!(
            matches!(refused, OmsError::Method(_)),
            "{method}: {refused}"
        );
    }
    let refused = read("invalid-payload/wrong-predicate.bundle.json").unwrap_err();
    assert!(matches!(refused, OmsError::Statement(_)), "{refused}");
    let many = format!(
        "{{\"mediaType\":\"application/vnd.dev.sigstore.bundle.v0.3+json\",\"verificationMaterial\":{{\"publicKey\":{{\"hint\":\"\"}},\"tlogEntries\":[{}1]}},\"dsseEnvelope\":{{\"payload\":\"\",\"payloadType\":\"application/vnd.in-toto+json\",\"signatures\":[{{\"sig\":\"\"}}]}}}}",
        "1,".repeat(1000)
    );
    let refused = parse(many.as_bytes()).unwrap_err();
    assert!(matches!(refused, OmsError::Method(_)), "{refused}");
    for name in ["empty", "missing-envelope", "missing-verification-material"] {
        let refused = read(&format!("invalid/{name}.bundle.json")).unwrap_err();
        assert!(matches!(refused, OmsError::Bundle(_)), "{name}: {refused}");
    }
}
