//! Checkpoints and their two signatures (C2SP tlog-checkpoint, signed-note, tlog-cosignature).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use casemate_crypto::signature::LogSigningKey;

use crate::{
    AuditError, VerifierKeys, malformed,
    tree::Hash,
    vkey::{ED25519, MLDSA44, check_name, key_id},
};

const WHAT: &str = "checkpoint";
/// Longest checkpoint that is read, in bytes: about a hundred signatures.
const BYTES_MAX: usize = 512 * 1024;
const TIMESTAMP_BYTES: usize = 8;

/// The head of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: Hash,
}

impl Checkpoint {
    /// Returns the checkpoint of a log.
    ///
    /// # Errors
    ///
    /// [`AuditError::Malformed`] if the origin is not valid.
    pub fn new(origin: &str, size: u64, root: Hash) -> Result<Self, AuditError> {
        check_name(origin)?;
        Ok(Self {
            origin: origin.to_owned(),
            size,
            root,
        })
    }

    /// Returns the name of the log.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Returns the number of entries.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Returns the root of the tree.
    pub const fn root(&self) -> Hash {
        self.root
    }

    fn text(&self) -> String {
        let root = STANDARD.encode(self.root);
        format!("{}\n{}\n{root}\n", self.origin, self.size)
    }

    /// Returns the `cosigned_message` of the log's own signature.
    fn cosigned(&self, timestamp: u64) -> Vec<u8> {
        // `check_name` admits at most 128 bytes.
        let name = self.origin.as_bytes();
        let len = u8::try_from(name.len()).unwrap_or(u8::MAX);
        [
            b"subtree/v1\n\0".as_slice(),
            &[len],
            name,
            &timestamp.to_be_bytes(),
            &[len],
            name,
            &0_u64.to_be_bytes(),
            &self.size.to_be_bytes(),
            &self.root,
        ]
        .concat()
    }

    /// Signs the checkpoint at this time, in seconds since 1970-01-01 UTC.
    ///
    /// # Errors
    ///
    /// [`AuditError::Crypto`].
    pub fn sign(&self, key: &LogSigningKey, now: u64) -> Result<String, AuditError> {
        let text = self.text();
        let public = key.verifying_key()?;
        let line = |kind: u8, key: &[u8], signature: &[u8]| {
            let id = key_id(&self.origin, kind, key);
            let encoded = STANDARD.encode([&id, signature].concat());
            format!("\u{2014} {} {encoded}\n", self.origin)
        };
        let ed25519 = line(ED25519, public.ed25519(), &key.sign_note(text.as_bytes())?);
        let cosignature = key.cosign(&self.cosigned(now))?;
        let stamped = [&now.to_be_bytes(), cosignature.as_slice()].concat();
        let mldsa44 = line(MLDSA44, public.mldsa44(), &stamped);
        Ok([text.as_str(), "\n", &ed25519, &mldsa44].concat())
    }
}

impl VerifierKeys {
    /// Verifies both signatures of a checkpoint.
    ///
    /// # Errors
    ///
    /// [`AuditError::Malformed`], [`AuditError::Unsigned`], [`AuditError::BadSignature`].
    pub fn verify(&self, signed: &[u8]) -> Result<Checkpoint, AuditError> {
        let bad = |rule| malformed(WHAT, rule);
        if signed.len() > BYTES_MAX {
            return Err(bad("it is longer than 512 KiB"));
        }
        let signed = str::from_utf8(signed).map_err(|_| bad("it is not UTF-8"))?;
        if signed.chars().any(|c| c < ' ' && c != '\n') {
            return Err(bad("it has control characters"));
        }
        let (text, signatures) = signed
            .rsplit_once("\n\n")
            .ok_or_else(|| bad("it has no signatures"))?;
        let text = format!("{text}\n");
        let checkpoint = parse(&text)?;
        if checkpoint.origin != self.name() {
            return Err(bad("it is of another log"));
        }
        let keys = self.keys();
        let ed25519 = self.signature(signatures, ED25519, keys.ed25519())?;
        let ed25519 = ed25519.ok_or(AuditError::Unsigned("Ed25519"))?;
        keys.verify_note(text.as_bytes(), &ed25519)
            .map_err(|_| AuditError::BadSignature("Ed25519"))?;
        let stamped = self.signature(signatures, MLDSA44, keys.mldsa44())?;
        let stamped = stamped.ok_or(AuditError::Unsigned("ML-DSA-44"))?;
        let wrong = || AuditError::BadSignature("ML-DSA-44");
        let (time, signature) = stamped
            .split_first_chunk::<TIMESTAMP_BYTES>()
            .ok_or_else(wrong)?;
        let message = checkpoint.cosigned(u64::from_be_bytes(*time));
        keys.verify_cosigned(&message, signature)
            .map_err(|_| wrong())?;
        Ok(checkpoint)
    }

    /// Returns the signature by one of the keys, if there is one.
    fn signature(
        &self,
        signatures: &str,
        kind: u8,
        key: &[u8],
    ) -> Result<Option<Vec<u8>>, AuditError> {
        let id = key_id(self.name(), kind, key);
        let mut by_key = None;
        for line in signatures.lines() {
            let rule = "a signature must be a line `\u{2014} name base64`";
            let bad = || malformed(WHAT, rule);
            let rest = line.strip_prefix("\u{2014} ").ok_or_else(bad)?;
            let (name, encoded) = rest.split_once(' ').ok_or_else(bad)?;
            let bytes = STANDARD.decode(encoded).map_err(|_| bad())?;
            let (found, signature) = bytes.split_first_chunk::<4>().ok_or_else(bad)?;
            if name == self.name() && *found == id {
                by_key.get_or_insert_with(|| signature.to_vec());
            }
        }
        Ok(by_key)
    }
}

fn parse(text: &str) -> Result<Checkpoint, AuditError> {
    let bad = |rule| malformed(WHAT, rule);
    let mut lines = text.lines();
    let (Some(origin), Some(size), Some(root), None) =
        (lines.next(), lines.next(), lines.next(), lines.next())
    else {
        return Err(bad("it must have three lines of text"));
    };
    let number: u64 = size.parse().map_err(|_| bad("its size is not a number"))?;
    let root = STANDARD
        .decode(root)
        .map_err(|_| bad("its root is not base64"))?;
    let root = root
        .try_into()
        .map_err(|_| bad("its root does not have 32 bytes"))?;
    let checkpoint = Checkpoint::new(origin, number, root)?;
    // The comparison covers leading zeros and signs.
    if checkpoint.text() == text {
        Ok(checkpoint)
    } else {
        Err(bad("its text is not in its canonical form"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Frontier, leaf_hash};

    fn log() -> (LogSigningKey, VerifierKeys, Checkpoint) {
        let key = LogSigningKey::generate().unwrap();
        let keys = VerifierKeys::new("example.com/keys", key.verifying_key().unwrap()).unwrap();
        let mut frontier = Frontier::default();
        frontier.append(leaf_hash(b"entry"));
        let checkpoint = Checkpoint::new("example.com/keys", 1, frontier.root()).unwrap();
        (key, keys, checkpoint)
    }

    #[test]
    fn a_checkpoint_verifies_with_both_signatures_only() {
        let (key, keys, checkpoint) = log();
        let signed = checkpoint.sign(&key, 1_800_000_000).unwrap();
        assert_eq!(keys.verify(signed.as_bytes()).unwrap(), checkpoint);
        assert_eq!(VerifierKeys::from_text(&keys.to_text()).unwrap(), keys);
        let lines: Vec<_> = signed.lines().collect();
        let without = |at: usize| {
            let mut left = lines.clone();
            left.remove(at);
            left.join("\n") + "\n"
        };
        let refused = |text: &str| keys.verify(text.as_bytes()).unwrap_err().to_string();
        assert!(refused(&without(4)).contains("no Ed25519 signature"));
        assert!(refused(&without(5)).contains("no ML-DSA-44 signature"));
        let swapped = signed.replacen("\n1\n", "\n2\n", 1);
        assert!(refused(&swapped).contains("does not verify"));
        // Signatures by others do not matter.
        let witness = format!("{signed}\u{2014} witness.example AAAAAAAA\n");
        keys.verify(witness.as_bytes()).unwrap();
        let other = log().1;
        let other = VerifierKeys::new("example.com/keys", other.keys().clone()).unwrap();
        assert!(matches!(
            other.verify(signed.as_bytes()),
            Err(AuditError::Unsigned(_))
        ));
        let renamed = VerifierKeys::new("example.com/other", keys.keys().clone()).unwrap();
        renamed.verify(signed.as_bytes()).unwrap_err();
    }

    #[test]
    fn every_flipped_byte_of_a_checkpoint_is_refused() {
        let (key, keys, checkpoint) = log();
        let signed = checkpoint.sign(&key, 7).unwrap().into_bytes();
        for at in 0..signed.len() {
            let mut bad = signed.clone();
            bad[at] ^= 1;
            assert!(keys.verify(&bad).is_err(), "byte {at}");
        }
    }

    #[test]
    fn other_forms_of_text_and_keys_are_refused() {
        let root = STANDARD.encode([1; 32]);
        for text in [
            format!("log\n01\n{root}\n"),
            format!("log\n+1\n{root}\n"),
            format!("log\n1\n{root}\nmore\n"),
            format!("l og\n1\n{root}\n"),
            "log\n1\nAAAA\n".to_owned(),
            "log\n1\n".to_owned(),
        ] {
            assert!(parse(&text).is_err(), "{text}");
        }
        parse(&format!("log\n1\n{root}\n")).unwrap();
        let text = log().1.to_text();
        let (first, second) = text.split_once('\n').unwrap();
        for bad in [
            format!("{second}{first}\n"),
            format!("{first}\n"),
            text.replacen("example.com", "example.org", 1),
            text.replace('+', "-"),
            format!("{text}x\n"),
        ] {
            assert!(VerifierKeys::from_text(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_verifier_key_and_a_note_of_the_specification_verify() {
        // C2SP signed-note, "Example": the key ID is the hash of name, type and key.
        let key = STANDARD
            .decode("AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")
            .unwrap();
        let id = key_id("example.com/foo", ED25519, key.strip_prefix(&[1]).unwrap());
        assert_eq!(hex::encode(id), "530d903a");
    }
}
