//! HPKE messages that must not open.

use casemate_crypto::{
    Error,
    hpke::{Aead, HpkeSuite, Kdf, TAG_BYTES},
    kem::KemPrivateKey,
    suite::{HpkeTriple, KEM_SUITES, MLKEM768_P256, MLKEM768_X25519},
};

const INFO: &[u8] = b"info";
const AAD: &[u8] = b"aad";
const PLAINTEXT: &[u8] = b"plaintext";

struct Sealed {
    suite: HpkeSuite,
    key: KemPrivateKey,
    enc: Vec<u8>,
    ct: Vec<u8>,
}

impl Sealed {
    fn new(suite: HpkeSuite) -> Self {
        let key = KemPrivateKey::generate(suite.kem()).unwrap();
        let (enc, ct) = suite.seal(key.public_key(), INFO, AAD, PLAINTEXT).unwrap();
        Self {
            suite,
            key,
            enc,
            ct,
        }
    }

    fn open(&self, enc: &[u8], ct: &[u8]) -> Result<Vec<u8>, Error> {
        self.suite.open(enc, &self.key, INFO, AAD, ct)
    }
}

fn one_per_suite() -> impl Iterator<Item = Sealed> {
    KEM_SUITES
        .into_iter()
        .map(|kem| Sealed::new(HpkeSuite::of(kem).unwrap()))
}

#[test]
fn every_changed_byte_of_a_message_is_rejected() {
    for sealed in one_per_suite() {
        let name = sealed.suite.kem().name;
        assert_eq!(
            sealed.open(&sealed.enc, &sealed.ct).unwrap(),
            PLAINTEXT,
            "{name}"
        );
        for byte in 0..sealed.enc.len() {
            for bit in [0x01, 0x80] {
                let mut enc = sealed.enc.clone();
                enc[byte] ^= bit;
                assert_eq!(
                    sealed.open(&enc, &sealed.ct),
                    Err(Error::Rejected),
                    "{name} {byte}"
                );
            }
        }
        for bit in 0..sealed.ct.len() * 8 {
            let mut ct = sealed.ct.clone();
            ct[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(
                sealed.open(&sealed.enc, &ct),
                Err(Error::Rejected),
                "{name} {bit}"
            );
        }
    }
}

#[test]
fn a_message_cut_or_grown_is_rejected() {
    for sealed in one_per_suite() {
        let longer = [sealed.ct.as_slice(), &[0]].concat();
        for len in 0..sealed.ct.len() {
            assert_eq!(
                sealed.open(&sealed.enc, &sealed.ct[..len]),
                Err(Error::Rejected)
            );
        }
        assert_eq!(sealed.open(&sealed.enc, &longer), Err(Error::Rejected));
        assert_eq!(sealed.ct.len(), PLAINTEXT.len() + TAG_BYTES);

        let expected = sealed.enc.len();
        for enc in [
            &sealed.enc[1..],
            &[sealed.enc.as_slice(), &[0]].concat(),
            &[],
        ] {
            let refused = Error::Length {
                what: "encapsulated key",
                actual: enc.len(),
                expected,
            };
            assert_eq!(sealed.open(enc, &sealed.ct), Err(refused));
        }
    }
}

#[test]
fn another_info_aad_or_key_is_rejected() {
    for sealed in one_per_suite() {
        let Sealed {
            suite,
            key,
            enc,
            ct,
        } = &sealed;
        let other = KemPrivateKey::generate(suite.kem()).unwrap();
        let rejected = Err(Error::Rejected);
        assert_eq!(suite.open(enc, key, b"inf0", AAD, ct), rejected);
        assert_eq!(suite.open(enc, key, b"", AAD, ct), rejected);
        assert_eq!(suite.open(enc, key, INFO, b"aae", ct), rejected);
        assert_eq!(suite.open(enc, key, INFO, b"", ct), rejected);
        assert_eq!(suite.open(enc, &other, INFO, AAD, ct), rejected);
        // Moving bytes between the two must not cancel out.
        assert_eq!(suite.open(enc, key, b"infoa", b"ad", ct), rejected);
    }
}

#[test]
fn a_key_of_another_suite_is_refused_on_both_sides() {
    let x25519 = HpkeSuite::of(&MLKEM768_X25519).unwrap();
    let p256 = HpkeSuite::of(&MLKEM768_P256).unwrap();
    let sealed = Sealed::new(x25519);
    let refused = Error::InvalidPublicKey {
        suite: "mlkem768-p256",
    };
    let public = sealed.key.public_key();
    assert_eq!(p256.setup_sender(public, INFO).unwrap_err(), refused);
    assert_eq!(
        p256.setup_recipient(&sealed.enc, &sealed.key, INFO)
            .unwrap_err(),
        refused
    );
    assert_eq!(
        x25519
            .open(&sealed.enc, &sealed.key, INFO, AAD, &sealed.ct)
            .unwrap(),
        PLAINTEXT
    );
}

#[test]
fn another_kdf_or_aead_does_not_open() {
    let suite = HpkeSuite::of(&MLKEM768_X25519).unwrap();
    let sealed = Sealed::new(suite);
    let mut others = 0;
    for kdf in [Kdf::HkdfSha256, Kdf::HkdfSha384, Kdf::Shake256] {
        for aead in [Aead::Aes128Gcm, Aead::Aes256Gcm, Aead::ChaCha20Poly1305] {
            let other = HpkeSuite::new(suite.kem(), kdf, aead);
            let opened = other.open(&sealed.enc, &sealed.key, INFO, AAD, &sealed.ct);
            if other == suite {
                assert_eq!(opened.unwrap(), PLAINTEXT);
            } else {
                assert_eq!(opened, Err(Error::Rejected), "{other:?}");
                others += 1;
            }
        }
    }
    assert_eq!(others, 8);
}

#[test]
fn messages_open_in_their_order_and_a_refused_one_does_not_advance() {
    for kem in KEM_SUITES {
        let suite = HpkeSuite::of(kem).unwrap();
        let key = KemPrivateKey::generate(kem).unwrap();
        let (enc, mut sender) = suite.setup_sender(key.public_key(), INFO).unwrap();
        let first = sender.seal(AAD, PLAINTEXT).unwrap();
        let second = sender.seal(AAD, PLAINTEXT).unwrap();
        assert_ne!(first, second);
        let mut recipient = suite.setup_recipient(&enc, &key, INFO).unwrap();
        assert_eq!(recipient.open(AAD, &second), Err(Error::Rejected));
        assert_eq!(recipient.open(AAD, &first).unwrap(), PLAINTEXT);
        assert_eq!(recipient.open(AAD, &first), Err(Error::Rejected));
        assert_eq!(recipient.open(AAD, &second).unwrap(), PLAINTEXT);
    }
}

#[test]
fn exports_end_at_the_limit_of_their_kdf() {
    for (kdf, limit) in [
        (Kdf::HkdfSha256, 255 * 32),
        (Kdf::HkdfSha384, 255 * 48),
        (Kdf::Shake256, 65_535),
    ] {
        let suite = HpkeSuite::new(&MLKEM768_X25519, kdf, Aead::Aes256Gcm);
        let key = KemPrivateKey::generate(suite.kem()).unwrap();
        let (_, sender) = suite.setup_sender(key.public_key(), INFO).unwrap();
        assert_eq!(sender.export(b"", limit).unwrap().expose().len(), limit);
        let asked = limit + 1;
        let refused = sender.export(b"", asked).unwrap_err();
        assert_eq!(refused, Error::ExportTooLong { asked, limit }, "{kdf:?}");
        let asked = 70_000;
        let refused = sender.export(b"", asked).unwrap_err();
        assert!(
            matches!(refused, Error::ExportTooLong { asked: 70_000, .. }),
            "{kdf:?}"
        );
    }
}

/// The one-stage KDF writes the length of `info` in two bytes.
#[test]
fn info_past_16_bits_is_refused_where_its_length_is_written() {
    let triple = HpkeTriple {
        kem: 0x647a,
        kdf: 0x0011,
        aead: 0x0003,
    };
    let suite = HpkeSuite::by_triple(triple).unwrap();
    let key = KemPrivateKey::generate(suite.kem()).unwrap();
    let info = vec![0; 65_536];
    let (enc, ct) = suite
        .seal(key.public_key(), &info[1..], AAD, PLAINTEXT)
        .unwrap();
    assert_eq!(
        suite.open(&enc, &key, &info[1..], AAD, &ct).unwrap(),
        PLAINTEXT
    );
    let refused = suite.setup_sender(key.public_key(), &info).unwrap_err();
    assert_eq!(
        refused,
        Error::ExportTooLong {
            asked: 65_536,
            limit: 65_535
        }
    );
}

#[test]
fn in_place_and_copying_calls_are_the_same_and_refuse_alike() {
    let suite = HpkeSuite::of(&MLKEM768_X25519).unwrap();
    let key = KemPrivateKey::generate(&MLKEM768_X25519).unwrap();
    let (enc, mut sender) = suite.setup_sender(key.public_key(), b"info").unwrap();
    let mut recipient = suite.setup_recipient(&enc, &key, b"info").unwrap();
    for message in [b"first".as_slice(), b"", b"third"] {
        let mut buffer = message.to_vec();
        sender.seal_in_place(b"aad", &mut buffer).unwrap();
        assert_eq!(buffer.len(), message.len() + 16);
        assert_eq!(
            recipient.open_in_place(b"bad", &mut buffer.clone()),
            Err(Error::Rejected)
        );
        let mut cut = buffer[1..].to_vec();
        assert_eq!(
            recipient.open_in_place(b"aad", &mut cut),
            Err(Error::Rejected)
        );
        recipient.open_in_place(b"aad", &mut buffer).unwrap();
        assert_eq!(buffer, message);
    }
    // The copying calls go on where the others stopped: one counter serves both.
    let sealed = sender.seal(b"", b"fourth").unwrap();
    assert_eq!(recipient.open(b"", &sealed).unwrap(), b"fourth");
}
