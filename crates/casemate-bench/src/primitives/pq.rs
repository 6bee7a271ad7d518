//! ML-KEM and ML-DSA from AWS-LC, SLH-DSA from the `slh-dsa` crate.

use std::{hint::black_box, rc::Rc};

use casemate_awslc::{
    MlDsa, MlDsaPublicKey, MlDsaSigningKey, MlKem, MlKemDecapsulationKey, MlKemEncapsulationKey,
};
use casemate_crypto::{
    algorithm::SlhDsa,
    random,
    signature::{SlhPublicKey, SlhSigningKey},
};

use super::{MESSAGE, Make, Subject, check};
use crate::{BenchError, rows::Sizes};

const LATTICE: &str = "lattice";
const AWS_LC: &str = "AWS-LC";

pub(super) const MAKERS: [(&str, Make); 11] = [
    ("ML-KEM-512", |name| ml_kem(name, MlKem::MlKem512)),
    ("ML-KEM-768", |name| ml_kem(name, MlKem::MlKem768)),
    ("ML-KEM-1024", |name| ml_kem(name, MlKem::MlKem1024)),
    ("ML-DSA-44", |name| ml_dsa(name, MlDsa::MlDsa44)),
    ("ML-DSA-65", |name| ml_dsa(name, MlDsa::MlDsa65)),
    ("ML-DSA-87", |name| ml_dsa(name, MlDsa::MlDsa87)),
    ("SLH-DSA-SHA2-128s", |name| slh_dsa(name, SlhDsa::Sha2_128s)),
    ("SLH-DSA-SHA2-128f", |name| slh_dsa(name, SlhDsa::Sha2_128f)),
    ("SLH-DSA-SHA2-192s", |name| slh_dsa(name, SlhDsa::Sha2_192s)),
    ("SLH-DSA-SHA2-256s", |name| slh_dsa(name, SlhDsa::Sha2_256s)),
    ("SLH-DSA-SHAKE-128f", |name| {
        slh_dsa(name, SlhDsa::Shake128f)
    }),
];

fn ml_kem(name: &'static str, set: MlKem) -> Result<Subject, BenchError> {
    let generate = move || {
        let seed = zeroed_random::<64>()?;
        let key = MlKemDecapsulationKey::from_seed(set, &seed)?;
        let public = key.encapsulation_key()?;
        Ok::<_, BenchError>((key, public))
    };
    let (key, public) = generate()?;
    let encapsulating = MlKemEncapsulationKey::new(set, &public)?;
    let sent = encapsulating.encapsulate_derand(&zeroed_random()?)?;
    let same = *key.decapsulate(&sent.ciphertext)? == *sent.shared_secret;
    check(name, same, "decapsulation")?;
    Ok(Subject {
        name,
        family: LATTICE,
        library: AWS_LC,
        sizes: Sizes {
            public_key: public.len(),
            private_key: MlKem::SEED_BYTES,
            private_key_expanded: Some(set.expanded_key_bytes()),
            output: sent.ciphertext.len(),
        },
        actions: vec![
            ("keygen", Box::new(move || drop(black_box(generate())))),
            (
                "encapsulate",
                Box::new(move || {
                    let sent = zeroed_random().map(|m| encapsulating.encapsulate_derand(&m));
                    drop(black_box(sent));
                }),
            ),
            (
                "decapsulate",
                Box::new(move || drop(black_box(key.decapsulate(&sent.ciphertext)))),
            ),
        ],
    })
}

fn zeroed_random<const N: usize>() -> Result<[u8; N], casemate_crypto::Error> {
    random::bytes()
}

fn ml_dsa(name: &'static str, set: MlDsa) -> Result<Subject, BenchError> {
    let generate = move || {
        let key = MlDsaSigningKey::from_seed(set, &zeroed_random()?)?;
        let public = key.public_key()?;
        Ok::<_, BenchError>((key, public))
    };
    let (key, public) = generate()?;
    let verifying = MlDsaPublicKey::new(set, &public)?;
    let signature = key.sign(MESSAGE, b"")?;
    verifying.verify(MESSAGE, b"", &signature)?;
    Ok(Subject {
        name,
        family: LATTICE,
        library: AWS_LC,
        sizes: Sizes {
            public_key: public.len(),
            private_key: MlDsa::SEED_BYTES,
            private_key_expanded: Some(set.expanded_key_bytes()),
            output: signature.len(),
        },
        actions: vec![
            ("keygen", Box::new(move || drop(black_box(generate())))),
            (
                "sign",
                Box::new(move || drop(black_box(key.sign(MESSAGE, b"")))),
            ),
            (
                "verify",
                Box::new(move || _ = black_box(verifying.verify(MESSAGE, b"", &signature))),
            ),
        ],
    })
}

fn slh_dsa(name: &'static str, set: SlhDsa) -> Result<Subject, BenchError> {
    let key = Rc::new(SlhSigningKey::generate(set)?);
    let public = SlhPublicKey::new(set, key.public_key())?;
    let signature = key.sign(MESSAGE, b"")?;
    public.verify(MESSAGE, b"", &signature)?;
    Ok(Subject {
        name,
        family: "hash-based",
        library: "slh-dsa (Rust)",
        sizes: Sizes {
            public_key: set.public_key_bytes(),
            private_key: set.private_key_bytes(),
            private_key_expanded: None,
            output: signature.len(),
        },
        actions: vec![
            (
                "keygen",
                Box::new(move || drop(black_box(SlhSigningKey::generate(set)))),
            ),
            (
                "sign",
                Box::new(move || drop(black_box(key.sign(MESSAGE, b"")))),
            ),
            (
                "verify",
                Box::new(move || _ = black_box(public.verify(MESSAGE, b"", &signature))),
            ),
        ],
    })
}
