//! Key encapsulation with every suite of the registry.

use casemate_crypto::{
    kem::{KemPrivateKey, KemPublicKey, combined},
    suite::{KEM_SUITES, KemConstruction, KemSuite},
};

use super::{plain_bytes, secret_bytes};
use crate::{
    case::{Case, Outcome, same},
    mark::{reveal, reveal_in_place},
};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for suite in KEM_SUITES {
        let name = suite.name;
        if suite.is_hybrid() {
            cases.push(Case::clean(format!("combiner {name}"), || combine(suite)));
            cases.push(Case::clean(
                format!("decapsulation, classical {name}"),
                || decapsulate_scalar(suite),
            ));
        }
        cases.push(Case::clean(format!("encapsulation {name}"), || {
            encapsulate(suite)
        }));
        cases.push(Case::clean(format!("decapsulation {name}"), || {
            decapsulate_seed(suite)
        }));
    }
    cases
}

/// Combines two secret shares, as in every use of the combiner.
fn combine(suite: &'static KemSuite) -> Outcome {
    let KemConstruction::Hybrid { trad, label, .. } = suite.construction else {
        return Ok(());
    };
    let (ct_t, ek_t) = (
        plain_bytes(trad.point_bytes()),
        plain_bytes(trad.point_bytes()),
    );
    let share = trad.scalar_bytes();
    let marked = combined(&secret_bytes(32), &secret_bytes(share), &ct_t, &ek_t, label);
    let plain = combined(&plain_bytes(32), &plain_bytes(share), &ct_t, &ek_t, label);
    reveal_in_place("the combined secret", marked.expose())?;
    same("the combined secret", marked.expose(), plain.expose())
}

/// Encapsulates with secret randomness to a public key.
fn encapsulate(suite: &'static KemSuite) -> Outcome {
    let recipient = KemPrivateKey::from_seed(suite, &plain_bytes(suite.seed_bytes))?;
    let (mut ciphertext, secret) = recipient
        .public_key()
        .encapsulate_derand(&secret_bytes(suite.randomness_bytes))?;
    reveal("the ciphertext", &mut ciphertext)?;
    reveal_in_place("the shared secret", secret.expose())?;
    let opened = recipient.decapsulate(&ciphertext)?;
    same("the shared secret", opened.expose(), secret.expose())
}

/// Decapsulates with a private key whose seed is secret.
fn decapsulate_seed(suite: &'static KemSuite) -> Outcome {
    let key = KemPrivateKey::from_seed(suite, &secret_bytes(suite.seed_bytes))?;
    reveal_in_place("the public key", key.public_key().as_bytes())?;
    decapsulate(&key)
}

/// Decapsulates with only the classical scalar marked secret, so that every finding is about the
/// curve.
fn decapsulate_scalar(suite: &'static KemSuite) -> Outcome {
    let KemConstruction::Hybrid { pq, trad, .. } = suite.construction else {
        return Ok(());
    };
    let scalar = secret_bytes(trad.scalar_bytes());
    let key = KemPrivateKey::from_components(suite, &plain_bytes(64), Some(&scalar))?;
    let public = key.public_key().as_bytes();
    let point = public
        .get(pq.encapsulation_key_bytes()..)
        .unwrap_or_default();
    // The first byte of an uncompressed point is the constant 4.
    let coordinates = point.len() - point.len() % 2;
    reveal_in_place(
        "the public point",
        point.get(point.len() - coordinates..).unwrap_or_default(),
    )?;
    decapsulate(&key)
}

fn decapsulate(key: &KemPrivateKey) -> Outcome {
    let public = KemPublicKey::new(key.suite(), key.public_key().as_bytes())?;
    let (ciphertext, secret) = public.encapsulate()?;
    let opened = key.decapsulate(&ciphertext)?;
    reveal_in_place("the shared secret", opened.expose())?;
    same("the shared secret", opened.expose(), secret.expose())
}
