//! `vectors/artifact/`, which an independent writer made; `vectors/README.md` describes the files.

use std::{collections::BTreeSet, fmt::Write as _, fs, path::Path};

use aws_lc_rs::digest::{SHA256, digest};
use casemate_crypto::{
    encoding::{PrivateKey, PublicKey},
    kem::KemPrivateKey,
    signature::VerifyingKey,
};
use casemate_seal::{Artifact, OpenError, Origin, Private};

use crate::support::read_every_way;

/// So that a folder that is nearly empty does not pass.
const LEAST: usize = 330;

struct Vector {
    fields: Vec<(String, String)>,
    artifact: Vec<u8>,
}

impl Vector {
    fn parse(file: &[u8]) -> Self {
        let cut = file.windows(2).position(|two| two == b"\n\n").unwrap();
        let head = std::str::from_utf8(&file[..cut]).unwrap();
        let fields = head.lines().map(|line| {
            let (name, value) = line.split_once(": ").unwrap();
            (name.to_owned(), value.to_owned())
        });
        Self {
            fields: fields.collect(),
            artifact: file[cut + 2..].to_vec(),
        }
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let found = self.fields.iter().filter(move |(found, _)| found == name);
        found.map(|(_, value)| value.as_str())
    }

    fn one(&self, name: &str) -> Option<&str> {
        let mut values = self.all(name);
        let value = values.next();
        assert!(values.next().is_none(), "{name} twice");
        value
    }
}

/// The PEM that the base64 of a header line stands for.
fn pem(label: &str, base64: &str) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in base64.as_bytes().chunks(64) {
        text.push_str(std::str::from_utf8(line).unwrap());
        text.push('\n');
    }
    text + &format!("-----END {label}-----\n")
}

struct Success {
    sha256: String,
    leftover: u64,
    private: Private,
}

fn recipient(identity: &str) -> KemPrivateKey {
    match PrivateKey::from_pem(pem("PRIVATE KEY", identity).as_bytes()).unwrap() {
        PrivateKey::Kem(key) => key,
        _ => panic!("not the key of a recipient"),
    }
}

fn signer(spki: &str) -> VerifyingKey {
    match PublicKey::from_pem(pem("PUBLIC KEY", spki).as_bytes()).unwrap() {
        PublicKey::Sign(key) => key,
        _ => panic!("not the key of a signer"),
    }
}

fn open(vector: &Vector, identity: &str) -> Result<Success, OpenError> {
    let (key, signer) = (recipient(identity), vector.one("signer").map(signer));
    let origin = signer.as_ref().map_or(Origin::Unchecked, Origin::SignedBy);
    let artifact = Artifact::read(&vector.artifact)?;
    let opened = artifact.open(&key, origin)?;
    let content = read_every_way(&opened)?;
    let mut sha256 = String::new();
    for byte in digest(&SHA256, &content).as_ref() {
        write!(sha256, "{byte:02x}").unwrap();
    }
    Ok(Success {
        sha256,
        leftover: artifact.leftover_len(),
        private: opened.private().clone(),
    })
}

/// Name of the class in section 9 of the specification.
fn class(error: &OpenError) -> &'static str {
    match error {
        OpenError::NoFooter => "no-footer",
        OpenError::Version { .. } => "unsupported-version",
        OpenError::Malformed(_) => "malformed",
        OpenError::Limit { .. } => "limit",
        OpenError::UnknownSuite(_) => "unknown-suite",
        OpenError::NotARecipient { .. } => "no-recipient",
        OpenError::Unsigned => "unsigned",
        OpenError::OtherSigner { .. } => "other-signer",
        OpenError::BadSignature => "bad-signature",
        OpenError::SegmentHash { .. } => "segment-hash",
        OpenError::Rejected => "rejected",
        OpenError::Owner(_) => "owner",
        _ => "none of the classes",
    }
}

/// What is not as the vector says, for one of its identities.
fn difference(vector: &Vector, identity: &str) -> Option<String> {
    let expected = vector.one("expect").unwrap();
    let opened = match open(vector, identity) {
        Ok(opened) => opened,
        Err(error) if class(&error) == expected => return None,
        Err(error) => return Some(format!("{}: {error}", class(&error))),
    };
    if expected != "success" {
        return Some("opened".to_owned());
    }
    if vector.one("payload-sha256") != Some(&opened.sha256) {
        return Some("other content".to_owned());
    }
    let leftover: u64 = vector.one("leftover").unwrap_or("0").parse().unwrap();
    if opened.leftover != leftover {
        return Some(format!("{} bytes left over", opened.leftover));
    }
    let name = vector.one("name")?;
    let entries = vector.all("metadata").map(|entry| {
        let (name, value) = entry.split_once('=').unwrap();
        (name.to_owned(), value.to_owned())
    });
    let metadata = entries.collect();
    let same = opened.private.name == name && opened.private.metadata == metadata;
    (!same).then(|| format!("private part is {:?}", opened.private))
}

#[test]
fn every_vector_has_the_outcome_that_it_names() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/artifact");
    let (mut count, mut classes, mut findings) = (0, BTreeSet::new(), Vec::new());
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_none_or(|extension| extension != "vector")
        {
            continue;
        }
        let vector = Vector::parse(&fs::read(&path).unwrap());
        count += 1;
        let expected = vector.one("expect").unwrap();
        classes.insert(expected.to_owned());
        let identities: Vec<_> = vector.all("identity").collect();
        assert!(!identities.is_empty(), "{}", path.display());
        for identity in identities {
            if let Some(found) = difference(&vector, identity) {
                let (file, rule) = (path.display(), vector.one("comment").unwrap());
                findings.push(format!(
                    "{file}: expected {expected}, found {found} ({rule})"
                ));
            }
        }
    }
    assert!(findings.is_empty(), "{}", findings.join("\n"));
    assert!(count >= LEAST, "{count} vectors");
    assert_eq!(classes.len(), 13, "{classes:?}");
}
