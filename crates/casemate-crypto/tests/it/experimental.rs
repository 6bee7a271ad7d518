//! `mlkem1024-x25519`: no standard has it, so its vectors come from another implementation
//! (`vectors/README.md`).

use casemate_crypto::{
    encoding::{PrivateKey, PublicKey},
    hpke::HpkeSuite,
    kem::{KemPrivateKey, KemPublicKey},
    policy::Policy,
    suite::MLKEM1024_X25519,
};
use casemate_testkit::{array_at, hex_at};

#[test]
fn mlkem1024_x25519_gives_the_keys_and_secrets_of_another_implementation() {
    let file = include_str!("../../../../vectors/mlkem1024-x25519.json");
    let vectors: serde_json::Value = serde_json::from_str(file).unwrap();
    let vectors = array_at(&vectors, "vectors");
    assert_eq!(vectors.len(), 4);
    for vector in vectors {
        let key = KemPrivateKey::from_seed(&MLKEM1024_X25519, &hex_at(vector, "seed")).unwrap();
        assert_eq!(key.public_key().as_bytes(), hex_at(vector, "ek"));
        let mut ct = hex_at(vector, "ct");
        let secret = key.decapsulate(&ct).unwrap();
        assert_eq!(secret.expose().as_slice(), hex_at(vector, "ss"));
        // X25519 ignores the top bit of a point, so both halves agree as before; the combiner
        // hashes the ciphertext all the same.
        *ct.last_mut().unwrap() ^= 0x80;
        let other = key.decapsulate(&ct).unwrap();
        assert_ne!(other.expose(), secret.expose());
        *ct.last_mut().unwrap() ^= 0x80;
        ct[7] ^= 1;
        assert_ne!(key.decapsulate(&ct).unwrap().expose(), secret.expose());
    }
}

#[test]
fn mlkem1024_x25519_seals_and_its_key_files_read_again() {
    let suite = HpkeSuite::of(&MLKEM1024_X25519).unwrap();
    let key = KemPrivateKey::generate(&MLKEM1024_X25519).unwrap();
    let (enc, ct) = suite.seal(key.public_key(), b"info", b"", b"key").unwrap();
    assert_eq!(enc.len(), 1600);
    assert_eq!(suite.open(&enc, &key, b"info", b"", &ct).unwrap(), b"key");
    let refused = suite.open(&enc, &key, b"other", b"", &ct).unwrap_err();
    assert_eq!(refused, casemate_crypto::Error::Rejected);

    let public = KemPublicKey::new(&MLKEM1024_X25519, key.public_key().as_bytes()).unwrap();
    let pem = PublicKey::Kem(public).to_pem().unwrap();
    let read = PublicKey::from_pem(pem.as_bytes()).unwrap();
    assert_eq!(read.suite_name(), "mlkem1024-x25519");
    let pem = PrivateKey::Kem(key).to_pem().unwrap();
    let read = PrivateKey::from_pem(pem.expose()).unwrap();
    assert_eq!(read.to_pem().unwrap().expose(), pem.expose());
}

#[test]
fn only_the_experimental_profile_names_mlkem1024_x25519() {
    for policy in Policy::built_in().unwrap() {
        let allowed = policy.check_kem(&MLKEM1024_X25519).is_ok();
        assert_eq!(
            allowed,
            policy.name() == "experimental",
            "{}",
            policy.name()
        );
    }
}
