//! Algorithms without a final standard, from liboqs and `fn-dsa`. They are only measured, never
//! used to protect data.

use std::hint::black_box;

use fn_dsa::{
    CryptoRng, DOMAIN_NONE, HASH_ID_RAW, KeyPairGenerator, KeyPairGeneratorStandard, RngCore,
    RngError, SigningKey, SigningKeyStandard, VerifyingKey, VerifyingKeyStandard, sign_key_size,
    signature_size, vrfy_key_size,
};
use oqs::{kem, sig};

use super::{MESSAGE, Make, Subject, check};
use crate::{BenchError, rows::Sizes};

const LIBOQS: &str = "liboqs 0.13";
const CODE: &str = "code-based";
const LATTICE: &str = "lattice";
const MULTIVARIATE: &str = "multivariate";

pub(super) const MAKERS: [(&str, Make); 20] = [
    ("FN-DSA-512", |name| falcon(name, fn_dsa::FN_DSA_LOGN_512)),
    ("FN-DSA-1024", |name| falcon(name, fn_dsa::FN_DSA_LOGN_1024)),
    ("Falcon-512", |name| {
        oqs_sig(name, LATTICE, sig::Algorithm::Falcon512)
    }),
    ("Falcon-1024", |name| {
        oqs_sig(name, LATTICE, sig::Algorithm::Falcon1024)
    }),
    ("Classic McEliece 348864", |name| {
        oqs_kem(name, CODE, kem::Algorithm::ClassicMcEliece348864)
    }),
    ("Classic McEliece 6688128", |name| {
        oqs_kem(name, CODE, kem::Algorithm::ClassicMcEliece6688128)
    }),
    ("HQC-128", |name| {
        oqs_kem(name, CODE, kem::Algorithm::Hqc128)
    }),
    ("HQC-256", |name| {
        oqs_kem(name, CODE, kem::Algorithm::Hqc256)
    }),
    ("BIKE-L1", |name| {
        oqs_kem(name, CODE, kem::Algorithm::BikeL1)
    }),
    ("FrodoKEM-640-AES", |name| {
        oqs_kem(name, LATTICE, kem::Algorithm::FrodoKem640Aes)
    }),
    ("FrodoKEM-976-AES", |name| {
        oqs_kem(name, LATTICE, kem::Algorithm::FrodoKem976Aes)
    }),
    ("MAYO-1", |name| {
        oqs_sig(name, MULTIVARIATE, sig::Algorithm::Mayo1)
    }),
    ("MAYO-2", |name| {
        oqs_sig(name, MULTIVARIATE, sig::Algorithm::Mayo2)
    }),
    ("MAYO-5", |name| {
        oqs_sig(name, MULTIVARIATE, sig::Algorithm::Mayo5)
    }),
    ("UOV-Is", |name| {
        oqs_sig(name, MULTIVARIATE, sig::Algorithm::UovOvIs)
    }),
    ("UOV-Ip", |name| {
        oqs_sig(name, MULTIVARIATE, sig::Algorithm::UovOvIp)
    }),
    ("UOV-V", |name| {
        oqs_sig(name, MULTIVARIATE, sig::Algorithm::UovOvV)
    }),
    ("CROSS-RSDP-128-fast", |name| {
        oqs_sig(name, CODE, sig::Algorithm::CrossRsdp128Fast)
    }),
    ("CROSS-RSDPG-128-small", |name| {
        oqs_sig(name, CODE, sig::Algorithm::CrossRsdpg128Small)
    }),
    ("ML-KEM-768 (liboqs)", |name| {
        oqs_kem(name, LATTICE, kem::Algorithm::MlKem768)
    }),
];

fn failed(name: &str, what: &'static str) -> BenchError {
    BenchError::Check {
        algorithm: name.to_owned(),
        what,
    }
}

fn oqs_kem(
    name: &'static str,
    family: &'static str,
    algorithm: kem::Algorithm,
) -> Result<Subject, BenchError> {
    oqs::init();
    let what = "liboqs";
    let make = move || kem::Kem::new(algorithm);
    let scheme = make().map_err(|_| failed(name, what))?;
    let (public, private) = scheme.keypair().map_err(|_| failed(name, what))?;
    let (ciphertext, secret) = scheme
        .encapsulate(&public)
        .map_err(|_| failed(name, what))?;
    let again = scheme
        .decapsulate(&private, &ciphertext)
        .map_err(|_| failed(name, what))?;
    check(name, again == secret, "decapsulation")?;
    let sizes = Sizes {
        public_key: scheme.length_public_key(),
        private_key: scheme.length_secret_key(),
        private_key_expanded: None,
        output: scheme.length_ciphertext(),
    };
    let [generating, encapsulating] =
        [make(), make()].map(|made| made.map_err(|_| failed(name, what)));
    let (generating, encapsulating) = (generating?, encapsulating?);
    Ok(Subject {
        name,
        family,
        library: LIBOQS,
        sizes,
        actions: vec![
            (
                "keygen",
                Box::new(move || drop(black_box(generating.keypair()))),
            ),
            (
                "encapsulate",
                Box::new(move || drop(black_box(encapsulating.encapsulate(&public)))),
            ),
            (
                "decapsulate",
                Box::new(move || drop(black_box(scheme.decapsulate(&private, &ciphertext)))),
            ),
        ],
    })
}

fn oqs_sig(
    name: &'static str,
    family: &'static str,
    algorithm: sig::Algorithm,
) -> Result<Subject, BenchError> {
    oqs::init();
    let what = "liboqs";
    let make = move || sig::Sig::new(algorithm);
    let scheme = make().map_err(|_| failed(name, what))?;
    let (public, private) = scheme.keypair().map_err(|_| failed(name, what))?;
    let signature = scheme
        .sign(MESSAGE, &private)
        .map_err(|_| failed(name, what))?;
    check(
        name,
        scheme.verify(MESSAGE, &signature, &public).is_ok(),
        "verification",
    )?;
    let sizes = Sizes {
        public_key: scheme.length_public_key(),
        private_key: scheme.length_secret_key(),
        private_key_expanded: None,
        output: scheme.length_signature(),
    };
    let [generating, signing] = [make(), make()].map(|made| made.map_err(|_| failed(name, what)));
    let (generating, signing) = (generating?, signing?);
    Ok(Subject {
        name,
        family,
        library: LIBOQS,
        sizes,
        actions: vec![
            (
                "keygen",
                Box::new(move || drop(black_box(generating.keypair()))),
            ),
            (
                "sign",
                Box::new(move || drop(black_box(signing.sign(MESSAGE, &private)))),
            ),
            (
                "verify",
                Box::new(move || _ = black_box(scheme.verify(MESSAGE, &signature, &public))),
            ),
        ],
    })
}

/// The system's random number generator, with the trait that `fn-dsa` requires.
struct System;

impl RngCore for System {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.fill_bytes(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_bytes(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        casemate_crypto::random::fill(out).expect("the system's generator works");
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), RngError> {
        self.fill_bytes(out);
        Ok(())
    }
}

impl CryptoRng for System {}

fn falcon(name: &'static str, logn: u32) -> Result<Subject, BenchError> {
    let generate = move || {
        let mut private = vec![0; sign_key_size(logn)];
        let mut public = vec![0; vrfy_key_size(logn)];
        KeyPairGeneratorStandard::default().keygen(logn, &mut System, &mut private, &mut public);
        (private, public)
    };
    let (private, public) = generate();
    let sizes = Sizes {
        public_key: public.len(),
        private_key: private.len(),
        private_key_expanded: None,
        output: signature_size(logn),
    };
    let mut signing = SigningKeyStandard::decode(&private).ok_or_else(|| failed(name, "fn-dsa"))?;
    let verifying = VerifyingKeyStandard::decode(&public).ok_or_else(|| failed(name, "fn-dsa"))?;
    let mut signature = vec![0; sizes.output];
    signing.sign(
        &mut System,
        &DOMAIN_NONE,
        &HASH_ID_RAW,
        MESSAGE,
        &mut signature,
    );
    let holds = verifying.verify(&signature, &DOMAIN_NONE, &HASH_ID_RAW, MESSAGE);
    check(name, holds, "verification")?;
    let mut scratch = signature.clone();
    Ok(Subject {
        name,
        family: LATTICE,
        library: "fn-dsa (Rust)",
        sizes,
        actions: vec![
            ("keygen", Box::new(move || drop(black_box(generate())))),
            (
                "sign",
                Box::new(move || {
                    signing.sign(
                        &mut System,
                        &DOMAIN_NONE,
                        &HASH_ID_RAW,
                        MESSAGE,
                        &mut scratch,
                    );
                    black_box(&scratch);
                }),
            ),
            (
                "verify",
                Box::new(move || {
                    _ = black_box(verifying.verify(
                        &signature,
                        &DOMAIN_NONE,
                        &HASH_ID_RAW,
                        MESSAGE,
                    ));
                }),
            ),
        ],
    })
}
