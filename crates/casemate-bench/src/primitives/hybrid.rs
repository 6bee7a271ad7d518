//! The suites that protect data in Casemate: each KEM suite through HPKE, and each composite
//! signature.

use std::hint::black_box;

use casemate_crypto::{
    Purpose,
    algorithm::{Curve, MlDsa, TradSignature},
    hpke::HpkeSuite,
    kem::{KemPrivateKey, KemPublicKey},
    signature::{HttpSigningKey, SigningKey},
    suite::{
        KEM_SUITES, KemConstruction, KemSuite, SIGNATURE_SUITES, SignatureConstruction,
        SignatureSuite,
    },
};

use super::{MESSAGE, Make, Subject, check};
use crate::{BenchError, rows::Sizes};

const LIBRARY: &str = "Casemate on AWS-LC";

const HTTP: &str = "http-ed25519-mldsa65";

/// Returns a row for every suite of the registry with two halves, and one for the pair that signs
/// HTTP messages.
pub(super) fn makers() -> Vec<(&'static str, Make)> {
    let kems = KEM_SUITES.into_iter().filter(|suite| suite.is_hybrid());
    let kems = kems.map(|suite| (suite.name, kem as Make));
    let composites = SIGNATURE_SUITES
        .into_iter()
        .filter(|suite| suite.is_hybrid());
    let composites = composites.map(|suite| (suite.name, composite as Make));
    kems.chain(composites)
        .chain([(HTTP, http as Make)])
        .collect()
}

/// The operations that one operation of a hybrid is compared with.
pub(super) struct PartsOf {
    pub(super) hybrid: &'static str,
    pub(super) operation: &'static str,
    /// Row and operation of each part.
    pub(super) parts: Vec<(&'static str, &'static str)>,
}

/// Returns the parts of every operation of the hybrids: only the public-key operations, without
/// hashes, key schedule and AEAD.
pub(super) fn parts() -> Vec<PartsOf> {
    let mut all = Vec::new();
    let mut add = |hybrid, operation, parts| {
        all.push(PartsOf {
            hybrid,
            operation,
            parts,
        });
    };
    for suite in KEM_SUITES {
        if let KemConstruction::Hybrid { pq, trad, .. } = suite.construction {
            let (pq, trad) = (pq.name(), agreement(trad));
            let sealing = vec![(pq, "encapsulate"), (trad, "keygen"), (trad, "agree")];
            add(suite.name, "seal", sealing);
            add(
                suite.name,
                "open",
                vec![(pq, "decapsulate"), (trad, "agree")],
            );
        }
    }
    let composites = SIGNATURE_SUITES.into_iter().filter_map(|suite| {
        let SignatureConstruction::Composite { pq, trad, .. } = suite.construction else {
            return None;
        };
        Some((suite.name, pq, trad))
    });
    let http = (HTTP, MlDsa::MlDsa65, TradSignature::Ed25519);
    for (name, pq, trad) in composites.chain([http]) {
        for operation in ["sign", "verify"] {
            let halves = vec![(pq.name(), operation), (signing(trad), operation)];
            add(name, operation, halves);
        }
    }
    all
}

/// Returns the row of a group.
const fn agreement(curve: Curve) -> &'static str {
    match curve {
        Curve::X25519 => "X25519",
        Curve::P256 => "ECDH P-256",
        Curve::P384 => "ECDH P-384",
    }
}

/// Returns the row of a classical signature.
const fn signing(half: TradSignature) -> &'static str {
    match half {
        TradSignature::Ed25519 => "Ed25519",
        TradSignature::EcdsaP384 => "ECDSA P-384",
    }
}

fn kem(name: &'static str) -> Result<Subject, BenchError> {
    let Some(row) = KemSuite::by_name(name) else {
        return missing(name);
    };
    let suite = HpkeSuite::of(row)?;
    let key = KemPrivateKey::generate(row)?;
    let public = KemPublicKey::new(row, key.public_key().as_bytes())?;
    let (enc, ct) = suite.seal(&public, b"info", b"", MESSAGE)?;
    let opened = suite.open(&enc, &key, b"info", b"", &ct)?;
    check(name, opened == MESSAGE, "opening")?;
    let expanded = match row.construction {
        KemConstruction::Hybrid { pq, trad, .. } => pq.expanded_key_bytes() + trad.scalar_bytes(),
        KemConstruction::Pure(pq) => pq.expanded_key_bytes(),
    };
    Ok(Subject {
        name,
        family: "hybrid",
        library: LIBRARY,
        sizes: Sizes {
            public_key: row.public_key_bytes,
            private_key: row.seed_bytes,
            private_key_expanded: Some(expanded),
            output: enc.len() + ct.len(),
        },
        actions: vec![
            (
                "keygen",
                Box::new(move || drop(black_box(KemPrivateKey::generate(row)))),
            ),
            (
                "seal",
                Box::new(move || drop(black_box(suite.seal(&public, b"info", b"", MESSAGE)))),
            ),
            (
                "open",
                Box::new(move || drop(black_box(suite.open(&enc, &key, b"info", b"", &ct)))),
            ),
        ],
    })
}

fn missing(name: &str) -> Result<Subject, BenchError> {
    Err(BenchError::Check {
        algorithm: name.to_owned(),
        what: "the registry has no entry for it",
    })
}

fn composite(name: &'static str) -> Result<Subject, BenchError> {
    let Some(row) = SignatureSuite::by_name(name) else {
        return missing(name);
    };
    let key = SigningKey::generate(row)?;
    let public =
        casemate_crypto::signature::VerifyingKey::new(row, key.verifying_key().as_bytes())?;
    let signature = key.sign(Purpose::ARTIFACT, MESSAGE)?;
    public.verify(Purpose::ARTIFACT, MESSAGE, &signature)?;
    let SignatureConstruction::Composite { pq, trad, .. } = row.construction else {
        return missing(name);
    };
    let expanded = pq.expanded_key_bytes() + expanded_bytes(trad);
    let stored = super::registered(name).and_then(|row| row.private_key_bytes);
    check(
        name,
        stored.is_some(),
        "the registry has no key size for it",
    )?;
    Ok(Subject {
        name,
        family: "hybrid",
        library: LIBRARY,
        sizes: Sizes {
            public_key: row.public_key_bytes,
            private_key: stored.unwrap_or_default(),
            private_key_expanded: Some(expanded),
            output: row.signature_bytes_max,
        },
        actions: vec![
            (
                "keygen",
                Box::new(move || drop(black_box(SigningKey::generate(row)))),
            ),
            (
                "sign",
                Box::new(move || drop(black_box(key.sign(Purpose::ARTIFACT, MESSAGE)))),
            ),
            (
                "verify",
                Box::new(move || {
                    _ = black_box(public.verify(Purpose::ARTIFACT, MESSAGE, &signature));
                }),
            ),
        ],
    })
}

/// Returns the length of a classical private key as it is used: Ed25519's with the public key.
const fn expanded_bytes(trad: TradSignature) -> usize {
    match trad {
        TradSignature::Ed25519 => trad.private_key_bytes() + trad.public_key_bytes(),
        TradSignature::EcdsaP384 => trad.private_key_bytes(),
    }
}

fn http(name: &'static str) -> Result<Subject, BenchError> {
    let (pq, trad) = (MlDsa::MlDsa65, TradSignature::Ed25519);
    let key = HttpSigningKey::generate()?;
    let public = casemate_crypto::signature::HttpVerifyingKey::new(
        key.verifying_key().ed25519(),
        key.verifying_key().mldsa65(),
    )?;
    let signatures = key.sign(MESSAGE, MESSAGE)?;
    public.verify(MESSAGE, MESSAGE, &signatures)?;
    Ok(Subject {
        name,
        family: "hybrid",
        library: LIBRARY,
        sizes: Sizes {
            public_key: pq.public_key_bytes() + trad.public_key_bytes(),
            private_key: MlDsa::SEED_BYTES + trad.private_key_bytes(),
            private_key_expanded: Some(pq.expanded_key_bytes() + expanded_bytes(trad)),
            output: signatures.ed25519.len() + signatures.mldsa65.len(),
        },
        actions: vec![
            (
                "keygen",
                Box::new(|| drop(black_box(HttpSigningKey::generate()))),
            ),
            (
                "sign",
                Box::new(move || drop(black_box(key.sign(MESSAGE, MESSAGE)))),
            ),
            (
                "verify",
                Box::new(move || _ = black_box(public.verify(MESSAGE, MESSAGE, &signatures))),
            ),
        ],
    })
}
