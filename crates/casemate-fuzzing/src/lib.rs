//! One function for each parser of untrusted bytes.
//!
//! `fuzz/` runs them on inputs from libFuzzer, `tests/replay.rs` on the seed corpus. A function
//! must return normally on any input; a panic, a failed assertion or excessive memory use is a
//! finding.
//!
//! ```
//! casemate_fuzzing::key_file(b"-----BEGIN PUBLIC KEY-----"); // returns, whatever it is given
//! ```
#![expect(clippy::missing_panics_doc, reason = "a panic is a finding")]
#![expect(
    clippy::unwrap_used,
    reason = "fixed keys, and round trips whose failure is a finding"
)]

pub mod aggregation;
pub mod keys;

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use casemate_crypto::{
    Purpose,
    encoding::{KeyId, PrivateKey, PublicKey},
    kem::KemPrivateKey,
    policy::Policy,
    signature::{HttpSigningKey, SigningKey},
    suite,
};
use casemate_message::{
    RecordId, Request, RequestId, RequestMark, Response, keydoc,
    ohttp::{ChannelBinding, GatewayKey, KeyConfig},
    sign,
};
use casemate_models::{read_model, scan_pickle, tensors_of_pickle};
use casemate_seal::{
    Artifact, Delegation, Origin,
    folder::{Manifest, PublicList},
};
use casemate_train::{Identity, Initiator, Order, Responder, Roster, Terms};

/// A function that accepts any bytes.
pub type Target = fn(&[u8]);

/// The name and function of every target.
pub const TARGETS: [(&str, Target); 21] = [
    ("artifact", artifact),
    ("artifact_tail", artifact_tail),
    ("manifest", manifest),
    ("model", model),
    ("model_signature", model_signature),
    ("key_file", key_file),
    ("key_store", keys::key_store),
    ("key_store_1", keys::key_store_1),
    ("key_statement", keys::key_statement),
    ("audit_log", keys::audit_log),
    ("key_service", keys::key_service),
    ("age_file", age_file),
    ("age_text", age_text),
    ("policy", policy),
    ("ohttp", ohttp),
    ("bhttp", bhttp),
    ("signatures", signatures),
    ("roster", roster),
    ("handshake", handshake),
    ("aggregation", aggregation::aggregation),
    ("aggregation_policy", aggregation::aggregation_policy),
];

static KEM: LazyLock<KemPrivateKey> =
    LazyLock::new(|| KemPrivateKey::from_seed(&suite::MLKEM1024_P384, &[1; 32]).unwrap());
static SIGNER: LazyLock<SigningKey> = LazyLock::new(|| {
    SigningKey::from_components(&suite::MLDSA87_P384, &[1; 32], Some(&[1; 48])).unwrap()
});
static AGE: LazyLock<KemPrivateKey> =
    LazyLock::new(|| KemPrivateKey::from_seed(&suite::MLKEM768_X25519, &[1; 32]).unwrap());
static HTTP: LazyLock<HttpSigningKey> =
    LazyLock::new(|| HttpSigningKey::from_seeds(&[1; 32], &[2; 32]).unwrap());
static GATEWAY: LazyLock<GatewayKey> = LazyLock::new(|| {
    GatewayKey::new(
        1,
        KemPrivateKey::from_seed(&suite::MLKEM768_X25519, &[1; 32]).unwrap(),
    )
    .unwrap()
});
const GATEWAY_ID: KeyId = KeyId::from_bytes([7; 32]);
const MARK: RequestMark = RequestMark {
    id: RequestId([5; 16]),
    first: 1000,
    record: RecordId([6; 16]),
};
static CHANNEL: LazyLock<ChannelBinding> = LazyLock::new(|| {
    GATEWAY
        .config()
        .unwrap()
        .start_request(&GATEWAY_ID)
        .unwrap()
        .channel()
        .clone()
});

/// Parses detached model signatures.
pub fn model_signature(bytes: &[u8]) {
    _ = casemate_oms::parse(bytes);
    _ = casemate_oms::parse_statement(bytes);
    if let Ok(signature) = casemate_oms::ModelSignature::decode(bytes) {
        _ = signature.signers().count();
        _ = signature.message_digest();
    }
    _ = casemate_oms::EcdsaKey::from_pem(bytes);
    _ = casemate_oms::EcdsaPublicKey::from_pem(bytes);
}

/// Returns the key that seeds are sealed to.
pub fn recipient() -> &'static KemPrivateKey {
    &KEM
}

/// Returns the key that signs seeds.
pub fn signer() -> &'static SigningKey {
    &SIGNER
}

/// Parses a whole artifact: footer, tail, body.
pub fn artifact(bytes: &[u8]) {
    let Ok(artifact) = Artifact::read(bytes) else {
        return;
    };
    _ = artifact.verify_signature(SIGNER.verifying_key());
    _ = artifact.verify_segments(&|_| ());
    if let Ok(opened) = artifact.open(&KEM, Origin::Unchecked) {
        _ = opened.read_all(1 << 20, &|_| ());
    }
}

/// Parses a tail with a correct footer, so that the checksum does not stop the fuzzer.
///
/// The first two bytes are the length of the body before the tail.
pub fn artifact_tail(bytes: &[u8]) {
    let Some((body_len, tail)) = bytes.split_first_chunk::<2>() else {
        return;
    };
    let body_len = usize::from(u16::from_be_bytes(*body_len));
    let mut file = vec![0; body_len];
    if let Some(parameters) = file.get_mut(..10) {
        parameters.copy_from_slice(&[0, 0, 0, 1, 0, 32, 0, 0, 0, 32]);
    }
    let mut footer = b"CSMT\0\x01\0\0".to_vec();
    footer.extend((body_len as u64).to_be_bytes());
    footer.extend(u32::try_from(tail.len()).unwrap_or(u32::MAX).to_be_bytes());
    let checksum = digest(&SHA256, &[footer.as_slice(), tail].concat());
    file.extend_from_slice(tail);
    file.extend(footer);
    file.extend(checksum.as_ref().iter().take(12));
    artifact(&file);
}

/// Parses the manifest of a folder and its public list, which must serialize to the same bytes.
pub fn manifest(bytes: &[u8]) {
    if let Ok(list) = PublicList::decode(bytes) {
        assert_eq!(list.encode(), bytes);
        for file in list.files() {
            assert!(file.path.sealed().is_relative());
        }
    }
    if let Ok(delegation) = Delegation::from_bytes(bytes) {
        assert_eq!(delegation.to_bytes(), bytes);
    }
    if let Ok(manifest) = Manifest::decode(bytes) {
        assert_eq!(manifest.encode(), bytes);
        for file in &manifest.files {
            assert!(file.path.sealed().is_relative());
            assert!(manifest.find(file.path.as_str()).is_some());
        }
    }
}

/// Parses the headers of model files, and the same bytes as a pickle without its magic.
pub fn model(bytes: &[u8]) {
    let bytes = bytes.to_vec();
    if let Ok(Some(model)) = read_model(&bytes) {
        assert!(model.tensors.len() <= bytes.len());
    }
    _ = scan_pickle(&bytes);
    if let Some(table) = tensors_of_pickle(&bytes) {
        assert!(table.tensors.len() <= bytes.len());
    }
}

/// Parses public and private key files, which must round-trip.
pub fn key_file(bytes: &[u8]) {
    if let Ok(key) = PublicKey::from_pem(bytes) {
        let again = PublicKey::from_pem(key.to_pem().unwrap().as_bytes()).unwrap();
        assert_eq!(again.id().unwrap(), key.id().unwrap());
    }
    if let Ok(key) = PrivateKey::from_pem(bytes) {
        let again = PrivateKey::from_pem(key.to_pem().unwrap().expose()).unwrap();
        let (again, key) = (again.public_key().unwrap(), key.public_key().unwrap());
        assert_eq!(again.id().unwrap(), key.id().unwrap());
    }
}

/// Decrypts age files, armored or not, with a fixed identity.
pub fn age_file(bytes: &[u8]) {
    _ = casemate_age::decrypt(&[&*AGE], bytes, std::io::sink());
}

/// Parses age recipients and identity files, which must round-trip.
pub fn age_text(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    if let Ok(key) = casemate_age::recipient_from_text(text) {
        assert_eq!(casemate_age::recipient_to_text(&key).unwrap(), text);
    }
    _ = casemate_age::identity_from_text(text);
}

/// Returns the key that age seeds are encrypted to.
pub fn age_identity() -> &'static KemPrivateKey {
    &AGE
}

/// Parses policy files.
pub fn policy(bytes: &[u8]) {
    if let Ok(text) = str::from_utf8(bytes) {
        _ = Policy::from_toml(text);
    }
}

/// Parses key configurations, encapsulated requests and key documents.
pub fn ohttp(bytes: &[u8]) {
    if let Ok(config) = KeyConfig::decode_list(bytes) {
        KeyConfig::decode_list(&config.encode_list()).unwrap();
    }
    if let Ok(received) = GATEWAY.receive(bytes.to_vec()) {
        _ = GATEWAY.open(received, &GATEWAY_ID);
    }
    _ = keydoc::verify(bytes, HTTP.verifying_key(), 0);
}

static TRAINER: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::generate(&suite::MLDSA65_ED25519).unwrap());
static POLICY: LazyLock<Policy> = LazyLock::new(|| Policy::by_name("hybrid").unwrap());
static JOB: LazyLock<Roster> = LazyLock::new(|| job(1));

/// Returns a roster of `server`, with the key of [`signer`], and `trainer`.
pub fn job(epoch: u64) -> Roster {
    let members = [
        ("server", signer().verifying_key()),
        ("trainer", TRAINER.verifying_key()),
    ];
    Roster::new([7; 16], epoch, 1, 9, &members).unwrap()
}

/// Reads a signed roster, and a roster that its signer signed whatever it says.
pub fn roster(bytes: &[u8]) {
    let terms = Terms {
        signer: signer().verifying_key(),
        now: 5,
        job: None,
        epoch_min: 1,
        policy: &POLICY,
    };
    _ = Roster::open(bytes, &terms);
    let signature = signer().sign(Purpose::TRAIN_ROSTER, bytes).unwrap();
    let signed = casemate_cbor::encode(|e| e.array(2)?.bytes(bytes)?.bytes(&signature).map(drop));
    if let Ok(opened) = Roster::open(&signed, &terms) {
        let again = Roster::open(&opened.sign(signer()).unwrap(), &terms).unwrap();
        assert_eq!(again.digest(), opened.digest());
    }
}

/// Reads each message of a handshake as if it came from a stranger.
pub fn handshake(bytes: &[u8]) {
    let own = |name| Identity {
        name,
        key: if name == "server" { signer() } else { &TRAINER },
    };
    let random = &mut |out: &mut [u8]| casemate_crypto::random::fill(out);
    _ = Responder::answer(&JOB, own("server"), bytes, 5, random);
    // Beginning a handshake is slow, so only for what is a later message.
    if bytes.get(1).is_none_or(|kind| *kind != 2 && *kind != 3) {
        return;
    }
    let (initiator, hello) = Initiator::start(&JOB, own("trainer"), "server", 5, random).unwrap();
    let (responder, _) = Responder::answer(&JOB, own("server"), &hello, 5, random).unwrap();
    let answered = initiator.finish(&JOB, &TRAINER, bytes, Order::Strict);
    let finished = responder.finish(&JOB, bytes, Order::Strict);
    assert!(
        answered.is_err() && finished.is_err(),
        "accepted a message that was never signed"
    );
}

/// Parses binary HTTP, which must round-trip.
pub fn bhttp(bytes: &[u8]) {
    if let Ok(request) = Request::from_bhttp(bytes) {
        let again = Request::from_bhttp(&request.to_bhttp().unwrap()).unwrap();
        assert_eq!(again, request);
    }
    if let Ok(response) = Response::from_bhttp(bytes) {
        let again = Response::from_bhttp(&response.to_bhttp().unwrap()).unwrap();
        assert_eq!(again, response);
    }
}

/// Verifies `signature-input`, `signature` and `casemate-request`, one line each, on an otherwise
/// valid request.
pub fn signatures(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    let names = ["signature-input", "signature", "casemate-request"];
    let mut request = Request::new("POST", "gateway", "/predict", Vec::new()).unwrap();
    sign::sign_request(&mut request, &HTTP, &CHANNEL, &MARK, 1000).unwrap();
    for (name, value) in names.into_iter().zip(text.lines()) {
        request.fields.remove(name);
        if request.fields.push(name, value).is_err() {
            return;
        }
    }
    let key = HTTP.verifying_key();
    let verified = sign::verify_request(&request, &CHANNEL, 1000, |_| Some(key), key);
    assert!(
        text.lines().next().is_none() || verified.is_err(),
        "accepted a request that was never signed"
    );
}
