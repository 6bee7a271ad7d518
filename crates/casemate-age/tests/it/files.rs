//! Files and keys of our own, and what must be refused. `cargo xtask interop` reads and writes them
//! with the npm `age-encryption` client.

use casemate_age::{
    AgeError, Encoding, decrypt, encrypt, identity_from_text, recipient_from_text,
    recipient_to_text,
};
use casemate_crypto::{
    kem::KemPrivateKey,
    suite::{MLKEM768_P256, MLKEM768_X25519},
};

const CONTENT: &[u8] = b"a recovery passphrase";

fn key() -> KemPrivateKey {
    KemPrivateKey::generate(&MLKEM768_X25519).unwrap()
}

fn sealed(to: &[&KemPrivateKey], content: &[u8], encoding: Encoding) -> Vec<u8> {
    let recipients: Vec<_> = to.iter().map(|key| key.public_key()).collect();
    let mut file = Vec::new();
    let bytes = encrypt(&recipients, content, &mut file, encoding).unwrap();
    assert_eq!(bytes, content.len() as u64);
    file
}

fn opened(with: &[&KemPrivateKey], file: &[u8]) -> Result<Vec<u8>, AgeError> {
    let mut content = Vec::new();
    decrypt(with, file, &mut content)?;
    Ok(content)
}

#[test]
fn each_recipient_opens_and_nobody_else() {
    let [first, second, other] = [key(), key(), key()];
    let long = vec![7; 3 * 65_536];
    for content in [b"".as_slice(), CONTENT, &long] {
        for encoding in [Encoding::Binary, Encoding::Armor] {
            let file = sealed(&[&first, &second], content, encoding);
            assert_eq!(opened(&[&first], &file).unwrap(), content);
            assert_eq!(opened(&[&other, &second], &file).unwrap(), content);
            let refused = opened(&[&other], &file).unwrap_err();
            assert!(matches!(refused, AgeError::NoMatch), "{refused}");
        }
    }
}

#[test]
fn a_changed_cut_or_extended_file_is_refused() {
    let key = key();
    let file = sealed(&[&key], &vec![3; 70_000], Encoding::Binary);
    for at in [file.len() - 1, file.len() - 40_000, file.len() - 70_000] {
        let mut changed = file.clone();
        changed[at] ^= 1;
        let refused = opened(&[&key], &changed).unwrap_err();
        assert!(matches!(refused, AgeError::Rejected), "{refused}");
    }
    // One whole chunk stays: only the missing last one tells.
    for len in [file.len() - 1, file.len() - 4_480] {
        let refused = opened(&[&key], &file[..len]).unwrap_err();
        assert!(matches!(refused, AgeError::Rejected), "{refused}");
    }
    let longer = [file.as_slice(), b"x"].concat();
    assert!(matches!(
        opened(&[&key], &longer).unwrap_err(),
        AgeError::Rejected
    ));
    let endless = [
        b"age-encryption.org/v1\n-> ".as_slice(),
        &vec![b'a'; 1 << 20],
    ]
    .concat();
    let stanza = ["A".repeat(64).as_bytes(), b"\n"].concat();
    let many = [
        b"age-encryption.org/v1\n-> x y\n".to_vec(),
        stanza.repeat(20_000),
    ]
    .concat();
    for bytes in [
        b"".as_slice(),
        b"age-encryption.org/v2\n",
        &file[..600],
        &endless,
        &many,
    ] {
        let refused = opened(&[&key], bytes).unwrap_err();
        assert!(matches!(refused, AgeError::Header), "{refused}");
    }
}

#[test]
fn recipients_are_text_that_reads_again() {
    let key = key();
    let text = recipient_to_text(key.public_key()).unwrap();
    assert!(text.starts_with("age1pq1"), "{text}");
    let read = recipient_from_text(&text).unwrap();
    assert_eq!(read.as_bytes(), key.public_key().as_bytes());

    let mut typo = text.clone().into_bytes();
    typo[40] = if typo[40] == b'q' { b'p' } else { b'q' };
    let typo = String::from_utf8(typo).unwrap();
    let upper = text.to_uppercase();
    let classical = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kudxfsl2q7l2kkx";
    for bad in [typo.as_str(), &upper, classical, "", "age1pq1"] {
        let refused = recipient_from_text(bad).unwrap_err();
        assert!(
            matches!(refused, AgeError::NotAKey { .. }),
            "{bad}: {refused}"
        );
    }
    let other = KemPrivateKey::generate(&MLKEM768_P256).unwrap();
    let refused = recipient_to_text(other.public_key()).unwrap_err();
    assert!(matches!(refused, AgeError::Key), "{refused}");
}

#[test]
fn keys_of_another_suite_and_no_keys_are_refused() {
    let other = KemPrivateKey::generate(&MLKEM768_P256).unwrap();
    let mut file = Vec::new();
    let refused = encrypt(&[other.public_key()], CONTENT, &mut file, Encoding::Binary).unwrap_err();
    assert!(matches!(refused, AgeError::Key), "{refused}");
    let refused = encrypt(&[], CONTENT, &mut file, Encoding::Binary).unwrap_err();
    assert!(matches!(refused, AgeError::NoRecipient), "{refused}");
    assert!(file.is_empty());
    let file = sealed(&[&key()], CONTENT, Encoding::Binary);
    assert!(matches!(
        opened(&[&other], &file).unwrap_err(),
        AgeError::Key
    ));
}

#[test]
fn an_identity_file_holds_one_hybrid_identity() {
    // From the C2SP test kit.
    let line = "AGE-SECRET-KEY-PQ-1HZLGZUPT4ETPKDEV8HSGFDCYZ4E522W0A7PU2LHT8EH9W6YLNC3SW78XKG";
    let file = format!("# created: 2026-01-01\n# public key: age1pq1...\n\n{line}\n");
    let key = identity_from_text(&file).unwrap();
    assert_eq!(key.suite().name, "mlkem768-x25519");
    let lower = line.to_lowercase();
    let twice = format!("{line}\n{line}\n");
    let classical =
        "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX".to_owned();
    for bad in [
        lower,
        twice,
        classical,
        String::new(),
        line.replace("78XKG", "78XKQ"),
    ] {
        let refused = identity_from_text(&bad).unwrap_err();
        assert!(
            matches!(refused, AgeError::NotAKey { .. }),
            "{bad}: {refused}"
        );
        assert!(bad.is_empty() || !refused.to_string().contains(&bad));
    }
}
