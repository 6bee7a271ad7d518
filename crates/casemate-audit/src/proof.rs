//! Proof files (`spec/audit-log.md`, section 4).

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    AuditError, Checkpoint, VerifierKeys, malformed,
    tree::{Hash, leaf_hash, verify_inclusion},
};

const WHAT: &str = "proof";
const FIRST: &str = "casemate-audit-proof/1";

/// A proof that an entry is in a log, with the checkpoint that it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Number of the entry, from 0.
    pub index: u64,
    /// The entry.
    pub entry: Vec<u8>,
    /// Hashes from the leaf to the root.
    pub hashes: Vec<Hash>,
    /// The signed checkpoint.
    pub checkpoint: String,
}

impl Proof {
    /// Encodes the proof.
    pub fn to_text(&self) -> String {
        let entry = STANDARD.encode(&self.entry);
        let mut text = format!("{FIRST}\nindex {}\nentry {entry}\n", self.index);
        for hash in &self.hashes {
            text.push_str(&STANDARD.encode(hash));
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&self.checkpoint);
        text
    }

    /// Decodes a proof.
    ///
    /// # Errors
    ///
    /// [`AuditError::Malformed`].
    pub fn from_text(text: &str) -> Result<Self, AuditError> {
        let bad = |rule| malformed(WHAT, rule);
        let (head, checkpoint) = text
            .split_once("\n\n")
            .ok_or_else(|| bad("it has no checkpoint"))?;
        let mut lines = head.lines();
        if lines.next() != Some(FIRST) {
            return Err(bad("it does not begin with `casemate-audit-proof/1`"));
        }
        let index = lines.next().and_then(|line| line.strip_prefix("index "));
        let index = index.and_then(|number| number.parse().ok());
        let entry = lines.next().and_then(|line| line.strip_prefix("entry "));
        let entry = entry.and_then(|entry| STANDARD.decode(entry).ok());
        let mut hashes = Vec::new();
        for line in lines {
            let hash = STANDARD
                .decode(line)
                .ok()
                .and_then(|hash| hash.try_into().ok());
            hashes.push(hash.ok_or_else(|| bad("a hash does not have 32 bytes"))?);
            if hashes.len() > 64 {
                return Err(bad("it has more than 64 hashes"));
            }
        }
        let proof = Self {
            index: index.ok_or_else(|| bad("it has no index"))?,
            entry: entry.ok_or_else(|| bad("it has no entry"))?,
            hashes,
            checkpoint: checkpoint.to_owned(),
        };
        if proof.to_text() == text {
            Ok(proof)
        } else {
            Err(bad("it is not in its canonical form"))
        }
    }

    /// Verifies that the entry is in the log of these keys, and returns the checkpoint.
    ///
    /// # Errors
    ///
    /// [`AuditError::BadProof`], and the errors of the checkpoint.
    pub fn verify(&self, keys: &VerifierKeys) -> Result<Checkpoint, AuditError> {
        let checkpoint = keys.verify(self.checkpoint.as_bytes())?;
        let leaf = leaf_hash(&self.entry);
        verify_inclusion(
            leaf,
            self.index,
            checkpoint.size(),
            &self.hashes,
            &checkpoint.root(),
        )?;
        Ok(checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use casemate_crypto::signature::LogSigningKey;

    use super::*;
    use crate::{inclusion_proof, root_of};

    #[test]
    fn a_proof_file_shows_one_entry_and_no_other() {
        let entries = [b"a", b"b", b"c", b"d", b"e"];
        let leaves: Vec<_> = entries.iter().map(|entry| leaf_hash(*entry)).collect();
        let key = LogSigningKey::generate().unwrap();
        let keys = VerifierKeys::new("log", key.verifying_key().unwrap()).unwrap();
        let root = root_of(leaves.iter().copied());
        let checkpoint = Checkpoint::new("log", 5, root)
            .unwrap()
            .sign(&key, 1)
            .unwrap();
        for (index, entry) in entries.iter().enumerate() {
            let proof = Proof {
                index: index as u64,
                entry: entry.to_vec(),
                hashes: inclusion_proof(&leaves, index).unwrap(),
                checkpoint: checkpoint.clone(),
            };
            let text = proof.to_text();
            assert_eq!(Proof::from_text(&text).unwrap(), proof);
            assert_eq!(proof.verify(&keys).unwrap().size(), 5);
            let other = Proof {
                entry: b"x".to_vec(),
                ..proof.clone()
            };
            assert!(matches!(other.verify(&keys), Err(AuditError::BadProof)));
            let moved = Proof {
                index: (index as u64 + 1) % 5,
                ..proof
            };
            assert!(matches!(moved.verify(&keys), Err(AuditError::BadProof)));
            for bad in [
                text.replacen('1', "2", 1),
                text.replacen("index ", "index 0", 1),
                text.replacen("entry ", "entry *", 1),
                text.replacen("\n\n", "\n", 1),
                text.replacen('\n', "\nindex 1\n", 1),
            ] {
                assert!(Proof::from_text(&bad).is_err(), "{bad}");
            }
        }
    }
}
