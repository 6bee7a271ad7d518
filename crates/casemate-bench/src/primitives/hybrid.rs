//! The suites that protect data in Casemate: each KEM suite through HPKE, and each composite
//! signature.

use std::hint::black_box;

use casemate_crypto::{
    Purpose,
    hpke::HpkeSuite,
    kem::{KemPrivateKey, KemPublicKey},
    signature::{HttpSigningKey, SigningKey},
    suite::{KemConstruction, KemSuite, SignatureSuite},
};

use super::{MESSAGE, Make, Subject, check};
use crate::{BenchError, rows::Sizes};

const LIBRARY: &str = "Casemate on AWS-LC";

pub(super) const MAKERS: [(&str, Make); 8] = [
    ("mlkem1024-p384", kem),
    ("mlkem768-x25519", kem),
    ("mlkem768-p256", kem),
    ("mlkem1024-x25519", kem),
    ("mldsa87-p384", composite),
    ("mldsa65-ed25519", composite),
    ("mldsa65-p384", composite),
    ("http-ed25519-mldsa65", http),
];

type PartsOf = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

/// The parts that each operation of a hybrid is compared with: only the public-key operations,
/// without hashes, key schedule and AEAD.
pub(super) const PARTS: &[PartsOf] = &[
    (
        "mlkem1024-p384",
        "seal",
        &[
            ("ML-KEM-1024", "encapsulate"),
            ("ECDH P-384", "keygen"),
            ("ECDH P-384", "agree"),
        ],
    ),
    (
        "mlkem1024-p384",
        "open",
        &[("ML-KEM-1024", "decapsulate"), ("ECDH P-384", "agree")],
    ),
    (
        "mlkem768-x25519",
        "seal",
        &[
            ("ML-KEM-768", "encapsulate"),
            ("X25519", "keygen"),
            ("X25519", "agree"),
        ],
    ),
    (
        "mlkem768-x25519",
        "open",
        &[("ML-KEM-768", "decapsulate"), ("X25519", "agree")],
    ),
    (
        "mlkem768-p256",
        "seal",
        &[
            ("ML-KEM-768", "encapsulate"),
            ("ECDH P-256", "keygen"),
            ("ECDH P-256", "agree"),
        ],
    ),
    (
        "mlkem768-p256",
        "open",
        &[("ML-KEM-768", "decapsulate"), ("ECDH P-256", "agree")],
    ),
    (
        "mlkem1024-x25519",
        "seal",
        &[
            ("ML-KEM-1024", "encapsulate"),
            ("X25519", "keygen"),
            ("X25519", "agree"),
        ],
    ),
    (
        "mlkem1024-x25519",
        "open",
        &[("ML-KEM-1024", "decapsulate"), ("X25519", "agree")],
    ),
    (
        "mldsa87-p384",
        "sign",
        &[("ML-DSA-87", "sign"), ("ECDSA P-384", "sign")],
    ),
    (
        "mldsa87-p384",
        "verify",
        &[("ML-DSA-87", "verify"), ("ECDSA P-384", "verify")],
    ),
    (
        "mldsa65-ed25519",
        "sign",
        &[("ML-DSA-65", "sign"), ("Ed25519", "sign")],
    ),
    (
        "mldsa65-ed25519",
        "verify",
        &[("ML-DSA-65", "verify"), ("Ed25519", "verify")],
    ),
    (
        "mldsa65-p384",
        "sign",
        &[("ML-DSA-65", "sign"), ("ECDSA P-384", "sign")],
    ),
    (
        "mldsa65-p384",
        "verify",
        &[("ML-DSA-65", "verify"), ("ECDSA P-384", "verify")],
    ),
    (
        "http-ed25519-mldsa65",
        "sign",
        &[("ML-DSA-65", "sign"), ("Ed25519", "sign")],
    ),
    (
        "http-ed25519-mldsa65",
        "verify",
        &[("ML-DSA-65", "verify"), ("Ed25519", "verify")],
    ),
];

fn kem(name: &'static str) -> Result<Subject, BenchError> {
    let row = KemSuite::by_name(name);
    check(name, row.is_some(), "the registry has no entry for it")?;
    let Some(row) = row else { return missing(name) };
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
    let expanded = match name {
        "mldsa87-p384" => 4896 + 48,
        "mldsa65-p384" => 4032 + 48,
        _ => 4032 + 64,
    };
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

fn http(name: &'static str) -> Result<Subject, BenchError> {
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
            public_key: 32 + 1952,
            private_key: 64,
            private_key_expanded: Some(64 + 4032),
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
