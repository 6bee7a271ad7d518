//! Keys and signatures for other programs: both ends agree, and nothing else does.

use casemate_crypto::{
    Error,
    hpke::HpkeSuite,
    hybrid::{decapsulate, encapsulate, sign, verify},
    kem::KemPrivateKey,
    signature::SigningKey,
    suite::{KEM_SUITES, SIGNATURE_SUITES},
};

#[test]
fn both_ends_have_one_key_and_others_have_another() {
    for suite in KEM_SUITES {
        let (key, other) = (
            KemPrivateKey::generate(suite).unwrap(),
            KemPrivateKey::generate(suite).unwrap(),
        );
        let (sent, ciphertext) = encapsulate(key.public_key(), b"use", 48).unwrap();
        let got = |key, ciphertext: &[u8], context: &[u8]| {
            decapsulate(key, ciphertext, context, 48).map(|key| key.expose().to_vec())
        };
        assert_eq!(got(&key, &ciphertext, b"use").unwrap(), sent.expose());
        assert_ne!(got(&key, &ciphertext, b"us").unwrap(), sent.expose());
        assert_ne!(got(&key, &ciphertext, b"").unwrap(), sent.expose());
        if let Ok(key) = got(&other, &ciphertext, b"use") {
            assert_ne!(key, sent.expose());
        }
        for at in [0, ciphertext.len() / 2, ciphertext.len() - 1] {
            let mut changed = ciphertext.clone();
            changed[at] ^= 1;
            if let Ok(key) = got(&key, &changed, b"use") {
                assert_ne!(key, sent.expose(), "{} at {at}", suite.name);
            }
        }
        let cut = got(&key, &ciphertext[1..], b"use");
        assert!(matches!(cut, Err(Error::Length { .. })), "{}", suite.name);
        // As the specification has it, with HPKE alone.
        let hpke = HpkeSuite::of(suite).unwrap();
        let recipient = hpke.setup_recipient(&ciphertext, &key, b"casemate/v1/exchange\0use");
        let exported = recipient.unwrap().export(b"casemate/v1/exchange", 48);
        assert_eq!(exported.unwrap().expose(), sent.expose());
    }
}

#[test]
fn keys_and_contexts_have_limits() {
    let key = KemPrivateKey::generate(KEM_SUITES[0]).unwrap();
    for (len, fits) in [(15, false), (16, true), (1024, true), (1025, false)] {
        let made = encapsulate(key.public_key(), &[1; 255], len);
        assert_eq!(made.is_ok(), fits, "{len}");
        if let Ok((key, _)) = made {
            assert_eq!(key.expose().len(), len);
        }
    }
    let refused = encapsulate(key.public_key(), &[1; 256], 32).unwrap_err();
    assert_eq!(refused, Error::ContextTooLong { actual: 256 });
}

#[test]
fn a_signature_is_for_one_message_and_one_use() {
    for suite in SIGNATURE_SUITES {
        let key = SigningKey::generate(suite).unwrap();
        let public = key.verifying_key();
        let signature = sign(&key, b"use", b"message").unwrap();
        verify(public, b"use", b"message", &signature).unwrap();
        for (context, message) in [
            (&b"use"[..], &b"messag"[..]),
            (b"us", b"emessage"),
            (b"usem", b"essage"),
            (b"", b"message"),
        ] {
            let refused = verify(public, context, message, &signature);
            assert_eq!(refused, Err(Error::BadSignature), "{}", suite.name);
        }
        for at in [0, signature.len() / 2, signature.len() - 1] {
            let mut changed = signature.clone();
            changed[at] ^= 1;
            verify(public, b"use", b"message", &changed).unwrap_err();
        }
        let framed = [&[3], &b"use"[..], b"message"].concat();
        let direct = public.verify_with_context(b"casemate/v1/data", &framed, &signature);
        direct.unwrap();
        verify(public, &[1; 256], b"message", &signature).unwrap_err();
    }
}
