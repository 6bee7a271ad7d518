//! The vectors of draft-connolly-cfrg-xwing-kem, which `mlkem768-x25519` equals.

use casemate_crypto::{
    Error,
    kem::{KemPrivateKey, KemPublicKey},
    suite::MLKEM768_X25519,
};
use casemate_testkit::{hex_at, public_json};

#[test]
fn seed_and_randomness_of_the_draft_give_its_keys_ciphertexts_and_secrets() {
    for file in [
        "xwing/test-vectors.json",
        "xwing/rustcrypto-x-wing-test-vectors.json",
    ] {
        let document = public_json(file);
        let vectors = document.as_array().unwrap();
        assert_eq!(vectors.len(), 3, "{file}");
        for vector in vectors {
            let [seed, eseed, sk, pk, ct, ss] =
                ["seed", "eseed", "sk", "pk", "ct", "ss"].map(|key| hex_at(vector, key));
            assert_eq!(seed, sk);
            let private = KemPrivateKey::from_seed(&MLKEM768_X25519, &seed).unwrap();
            assert_eq!(private.public_key().as_bytes(), pk);
            let public = KemPublicKey::new(&MLKEM768_X25519, &pk).unwrap();
            let (made, secret) = public.encapsulate_derand(&eseed).unwrap();
            assert_eq!(made, ct);
            assert_eq!(secret.expose().as_slice(), ss);
            assert_eq!(private.decapsulate(&ct).unwrap().expose().as_slice(), ss);
        }
    }
}

#[test]
fn another_seed_gives_another_secret_and_a_short_one_no_key() {
    let vectors = public_json("xwing/test-vectors.json");
    let vector = &vectors[0];
    let mut seed = hex_at(vector, "seed");
    seed[31] ^= 1;
    let other = KemPrivateKey::from_seed(&MLKEM768_X25519, &seed).unwrap();
    let secret = other.decapsulate(&hex_at(vector, "ct")).unwrap();
    assert_ne!(secret.expose().as_slice(), hex_at(vector, "ss"));
    let refused = KemPrivateKey::from_seed(&MLKEM768_X25519, &seed[..31]).unwrap_err();
    assert_eq!(
        refused,
        Error::InvalidPrivateKey {
            suite: "mlkem768-x25519"
        }
    );
}
