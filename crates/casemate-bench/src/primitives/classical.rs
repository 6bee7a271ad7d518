//! RSA, ECDSA, Ed25519 and Diffie-Hellman groups, from AWS-LC.

use std::hint::black_box;

use aws_lc_rs::{
    agreement::{self, UnparsedPublicKey},
    encoding::{AsDer, Pkcs8V1Der},
    rand::SystemRandom,
    rsa::{
        KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey,
        PrivateDecryptingKey,
    },
    signature::{
        self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, ParsedPublicKey,
        RSA_PSS_2048_8192_SHA256, RSA_PSS_SHA256, RsaKeyPair, VerificationAlgorithm,
    },
};

use super::{MESSAGE, Make, Subject, check};
use crate::{BenchError, rows::Sizes};

const CLASSICAL: &str = "classical";
const LIBRARY: &str = "AWS-LC";

pub(super) const MAKERS: [(&str, Make); 10] = [
    ("RSA-2048 OAEP", |name| oaep(name, KeySize::Rsa2048)),
    ("RSA-3072 OAEP", |name| oaep(name, KeySize::Rsa3072)),
    ("RSA-2048 PSS", |name| pss(name, KeySize::Rsa2048)),
    ("RSA-3072 PSS", |name| pss(name, KeySize::Rsa3072)),
    ("ECDSA P-256", |name| {
        let (sign, verify) = (
            &signature::ECDSA_P256_SHA256_ASN1_SIGNING,
            &signature::ECDSA_P256_SHA256_ASN1,
        );
        ecdsa(name, sign, verify, [65, 32, 72])
    }),
    ("ECDSA P-384", |name| {
        let (sign, verify) = (
            &signature::ECDSA_P384_SHA384_ASN1_SIGNING,
            &signature::ECDSA_P384_SHA384_ASN1,
        );
        ecdsa(name, sign, verify, [97, 48, 104])
    }),
    ("Ed25519", ed25519),
    ("X25519", |name| ecdh(name, &agreement::X25519, 32, 32)),
    ("ECDH P-256", |name| {
        ecdh(name, &agreement::ECDH_P256, 65, 32)
    }),
    ("ECDH P-384", |name| {
        ecdh(name, &agreement::ECDH_P384, 97, 48)
    }),
];

fn oaep(name: &'static str, size: KeySize) -> Result<Subject, BenchError> {
    let key = PrivateDecryptingKey::generate(size)?;
    let public = key.public_key();
    let private_key = AsDer::<Pkcs8V1Der<'_>>::as_der(&key)?.as_ref().len();
    // In PKCS #1, like the signature keys, without the algorithm identifier.
    let public_key = super::registered(name).map(|row| row.public_key_bytes);
    check(
        name,
        public_key.is_some(),
        "the registry has no entry for it",
    )?;
    let encrypting = OaepPublicEncryptingKey::new(public)?;
    let decrypting = OaepPrivateDecryptingKey::new(key)?;
    let mut ciphertext = vec![0; encrypting.ciphertext_size()];
    let output = ciphertext.len();
    encrypting.encrypt(&OAEP_SHA256_MGF1SHA256, MESSAGE, &mut ciphertext, None)?;
    let mut plaintext = vec![0; decrypting.min_output_size()];
    let opened = decrypting.decrypt(&OAEP_SHA256_MGF1SHA256, &ciphertext, &mut plaintext, None)?;
    check(name, *opened == MESSAGE[..], "decryption")?;
    let mut scratch = vec![0; output];
    Ok(Subject {
        name,
        family: CLASSICAL,
        library: LIBRARY,
        sizes: Sizes {
            public_key: public_key.unwrap_or_default(),
            private_key,
            private_key_expanded: None,
            output,
        },
        actions: vec![
            (
                "keygen",
                Box::new(move || drop(black_box(PrivateDecryptingKey::generate(size)))),
            ),
            (
                "encrypt",
                Box::new(move || {
                    let sealed =
                        encrypting.encrypt(&OAEP_SHA256_MGF1SHA256, MESSAGE, &mut scratch, None);
                    _ = black_box(sealed.is_ok());
                }),
            ),
            (
                "decrypt",
                Box::new(move || {
                    let opened = decrypting.decrypt(
                        &OAEP_SHA256_MGF1SHA256,
                        &ciphertext,
                        &mut plaintext,
                        None,
                    );
                    _ = black_box(opened.is_ok());
                }),
            ),
        ],
    })
}

fn pss(name: &'static str, size: KeySize) -> Result<Subject, BenchError> {
    let key = RsaKeyPair::generate(size)?;
    let private_key = AsDer::<Pkcs8V1Der<'_>>::as_der(&key)?.as_ref().len();
    let public = key.public_key().as_ref().to_vec();
    let verifying = ParsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, &public)?;
    let random = SystemRandom::new();
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PSS_SHA256, &random, MESSAGE, &mut signature)?;
    verifying.verify_sig(MESSAGE, &signature)?;
    let sizes = Sizes {
        public_key: public.len(),
        private_key,
        private_key_expanded: None,
        output: signature.len(),
    };
    let mut scratch = signature.clone();
    Ok(Subject {
        name,
        family: CLASSICAL,
        library: LIBRARY,
        sizes,
        actions: vec![
            (
                "keygen",
                Box::new(move || drop(black_box(RsaKeyPair::generate(size)))),
            ),
            (
                "sign",
                Box::new(move || {
                    _ = black_box(key.sign(&RSA_PSS_SHA256, &random, MESSAGE, &mut scratch));
                }),
            ),
            (
                "verify",
                Box::new(move || _ = black_box(verifying.verify_sig(MESSAGE, &signature))),
            ),
        ],
    })
}

fn ecdsa(
    name: &'static str,
    signing: &'static EcdsaSigningAlgorithm,
    verifying: &'static dyn VerificationAlgorithm,
    [public_key, private_key, output]: [usize; 3],
) -> Result<Subject, BenchError> {
    let key = EcdsaKeyPair::generate(signing)?;
    let public = ParsedPublicKey::new(verifying, key.public_key().as_ref())?;
    let random = SystemRandom::new();
    let made = key.sign(&random, MESSAGE)?;
    public.verify_sig(MESSAGE, made.as_ref())?;
    Ok(Subject {
        name,
        family: CLASSICAL,
        library: LIBRARY,
        sizes: Sizes {
            public_key,
            private_key,
            private_key_expanded: None,
            output,
        },
        actions: vec![
            (
                "keygen",
                Box::new(move || drop(black_box(EcdsaKeyPair::generate(signing)))),
            ),
            (
                "sign",
                Box::new(move || _ = black_box(key.sign(&random, MESSAGE))),
            ),
            (
                "verify",
                Box::new(move || _ = black_box(public.verify_sig(MESSAGE, made.as_ref()))),
            ),
        ],
    })
}

fn ed25519(name: &'static str) -> Result<Subject, BenchError> {
    let key = Ed25519KeyPair::generate()?;
    let public = ParsedPublicKey::new(&signature::ED25519, key.public_key().as_ref())?;
    let made = key.try_sign(MESSAGE)?;
    public.verify_sig(MESSAGE, made.as_ref())?;
    Ok(Subject {
        name,
        family: CLASSICAL,
        library: LIBRARY,
        sizes: Sizes {
            public_key: 32,
            private_key: 32,
            private_key_expanded: Some(64),
            output: 64,
        },
        actions: vec![
            (
                "keygen",
                Box::new(|| drop(black_box(Ed25519KeyPair::generate()))),
            ),
            (
                "sign",
                Box::new(move || _ = black_box(key.try_sign(MESSAGE))),
            ),
            (
                "verify",
                Box::new(move || _ = black_box(public.verify_sig(MESSAGE, made.as_ref()))),
            ),
        ],
    })
}

fn ecdh(
    name: &'static str,
    curve: &'static agreement::Algorithm,
    point: usize,
    scalar: usize,
) -> Result<Subject, BenchError> {
    let generate = move || {
        let key = agreement::PrivateKey::generate(curve)?;
        let public = key.compute_public_key()?;
        Ok::<_, aws_lc_rs::error::Unspecified>((key, public))
    };
    let agree = move |key: &agreement::PrivateKey, peer: &[u8]| {
        let peer = UnparsedPublicKey::new(curve, peer);
        agreement::agree(key, peer, (), |secret| Ok(secret.first().copied()))
    };
    let (ours, our_public) = generate()?;
    let (theirs, their_public) = generate()?;
    let same = agree(&ours, their_public.as_ref()) == agree(&theirs, our_public.as_ref());
    check(
        name,
        same && our_public.as_ref().len() == point,
        "agreement",
    )?;
    Ok(Subject {
        name,
        family: CLASSICAL,
        library: LIBRARY,
        sizes: Sizes {
            public_key: point,
            private_key: scalar,
            private_key_expanded: None,
            output: point,
        },
        actions: vec![
            ("keygen", Box::new(move || drop(black_box(generate())))),
            (
                "agree",
                Box::new(move || _ = black_box(agree(&ours, their_public.as_ref()))),
            ),
        ],
    })
}
