//! DSSE envelopes around in-toto statements (`spec/key-statements.md`, sections 1 and 2).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use casemate_crypto::{
    Purpose,
    encoding::KeyId,
    signature::{SigningKey, VerifyingKey},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{STATEMENT_BYTES_MAX, StatementError};

const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
const SIGNATURES_MAX: usize = 4;
const NAME_CHARS_MAX: usize = 128;
/// Largest integer that every JSON reader keeps exactly.
const INTEGER_MAX: u64 = (1 << 53) - 1;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Envelope {
    payload_type: String,
    payload: String,
    signatures: Vec<Signature>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signature {
    keyid: String,
    sig: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Statement<P> {
    #[serde(rename = "_type")]
    kind: String,
    subject: [Subject; 1],
    predicate_type: String,
    predicate: P,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Subject {
    name: String,
    digest: Digest,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Digest {
    sha256: String,
}

/// The part of a statement that says of which kind it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kind {
    predicate_type: String,
}

/// A statement that was read from an envelope whose signatures verified.
pub(crate) struct Verified<P> {
    pub(crate) name: String,
    pub(crate) key: KeyId,
    pub(crate) predicate: P,
}

/// Signs a statement.
pub(crate) fn sign<P: Serialize>(
    kind: &str,
    (name, key): (&str, KeyId),
    predicate: P,
    signers: &[&SigningKey],
) -> Result<Vec<u8>, StatementError> {
    check_name(name)?;
    let statement = Statement {
        kind: STATEMENT_TYPE.to_owned(),
        subject: [Subject {
            name: name.to_owned(),
            digest: Digest {
                sha256: key.to_hex(),
            },
        }],
        predicate_type: kind.to_owned(),
        predicate,
    };
    let failed = |error: serde_json::Error| StatementError::Malformed(error.to_string());
    let payload = serde_json::to_vec(&statement).map_err(failed)?;
    let signed = encode(&payload);
    let mut signatures = Vec::new();
    for signer in signers {
        signatures.push(Signature {
            keyid: signer.verifying_key().id()?.to_hex(),
            sig: STANDARD.encode(signer.sign(Purpose::KEY_STATEMENT, &signed)?),
        });
    }
    let envelope = Envelope {
        payload_type: PAYLOAD_TYPE.to_owned(),
        payload: STANDARD.encode(&payload),
        signatures,
    };
    let mut file = serde_json::to_vec_pretty(&envelope).map_err(failed)?;
    file.push(b'\n');
    if file.len() > STATEMENT_BYTES_MAX {
        return Err(StatementError::Rule("it would be longer than 1 MiB"));
    }
    Ok(file)
}

/// An envelope whose signatures are still to be verified.
pub(crate) struct Unverified {
    payload: Vec<u8>,
    signatures: Vec<(String, Vec<u8>)>,
}

impl Unverified {
    pub(crate) fn read(file: &[u8]) -> Result<Self, StatementError> {
        if file.len() > STATEMENT_BYTES_MAX {
            return Err(StatementError::Rule("it is longer than 1 MiB"));
        }
        let envelope: Envelope = parse(file)?;
        if envelope.payload_type != PAYLOAD_TYPE {
            return Err(StatementError::Rule(
                "its payload is not an in-toto statement",
            ));
        }
        if !(1..=SIGNATURES_MAX).contains(&envelope.signatures.len()) {
            return Err(StatementError::Rule("it has no signature or more than 4"));
        }
        let base64 = |text: &str| {
            let bad = |_| StatementError::Rule("its base64 is not valid");
            STANDARD.decode(text).map_err(bad)
        };
        let mut signatures = Vec::new();
        for signature in &envelope.signatures {
            signatures.push((signature.keyid.clone(), base64(&signature.sig)?));
        }
        Ok(Self {
            payload: base64(&envelope.payload)?,
            signatures,
        })
    }

    /// Verifies the signature by this key, which must be there.
    pub(crate) fn check(&self, key: &VerifyingKey) -> Result<(), StatementError> {
        let id = key.id()?;
        let hex = id.to_hex();
        let mut named = self.signatures.iter().filter(|(keyid, _)| *keyid == hex);
        let (_, signature) = named.next().ok_or(StatementError::Unsigned(id))?;
        key.verify(Purpose::KEY_STATEMENT, &encode(&self.payload), signature)
            .map_err(|_| StatementError::BadSignature(id))
    }

    /// Reads the statement, of which [`Self::check`] verified a signature, or of which it says who
    /// else must have signed.
    pub(crate) fn statement<P: DeserializeOwned>(
        &self,
        kind: &str,
    ) -> Result<Verified<P>, StatementError> {
        let found: Kind = parse(&self.payload)?;
        if found.predicate_type != kind {
            let shown = found.predicate_type.chars().take(80).collect();
            return Err(StatementError::OtherKind(shown));
        }
        let statement: Statement<P> = parse(&self.payload)?;
        if statement.kind != STATEMENT_TYPE {
            return Err(StatementError::Rule("it is not an in-toto statement v1"));
        }
        let [Subject { name, digest }] = statement.subject;
        check_name(&name)?;
        Ok(Verified {
            key: key_id(&digest.sha256)?,
            name,
            predicate: statement.predicate,
        })
    }
}

fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, StatementError> {
    // A derived reader would also take a list for an object.
    if !json.trim_ascii_start().starts_with(b"{") {
        return Err(StatementError::Malformed("it is not a JSON object".into()));
    }
    serde_json::from_slice(json).map_err(|error| StatementError::Malformed(error.to_string()))
}

fn check_name(name: &str) -> Result<(), StatementError> {
    let is_plain =
        (1..=NAME_CHARS_MAX).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    if is_plain {
        Ok(())
    } else {
        Err(StatementError::Rule("the name of its subject is not valid"))
    }
}

/// Reads a key id in its canonical form.
pub(crate) fn key_id(text: &str) -> Result<KeyId, StatementError> {
    let id: Option<KeyId> = text.parse().ok();
    id.filter(|id| id.to_hex() == text)
        .ok_or(StatementError::Rule(
            "a key id is not 64 lower-case hexadecimal digits",
        ))
}

/// Refuses a number that a reader of JSON could round.
pub(crate) fn check_number(number: u64) -> Result<u64, StatementError> {
    if number <= INTEGER_MAX {
        Ok(number)
    } else {
        Err(StatementError::Rule("a number is larger than 2^53 - 1"))
    }
}

/// Returns the pre-authentication encoding of DSSE.
fn encode(payload: &[u8]) -> Vec<u8> {
    let head = format!(
        "DSSEv1 {} {PAYLOAD_TYPE} {} ",
        PAYLOAD_TYPE.len(),
        payload.len()
    );
    [head.as_bytes(), payload].concat()
}
