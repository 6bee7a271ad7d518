//! The bundle (`spec/model-signature.md`, section 2).

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};

use crate::{OmsError, json};

/// Longest bundle, in bytes.
pub const BUNDLE_BYTES_MAX: usize = 64 << 20;
const PAYLOAD_BYTES_MAX: usize = 46 << 20;
const SIGNATURES_MAX: usize = 8;
const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// The parts of a bundle that are read; other members are ignored.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Json {
    media_type: String,
    #[serde(deserialize_with = "json::object")]
    verification_material: Material,
    #[serde(deserialize_with = "json::object")]
    dsse_envelope: Envelope,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    #[serde(
        default,
        deserialize_with = "json::nullable",
        skip_serializing_if = "Option::is_none"
    )]
    public_key: Option<PublicKey>,
    #[serde(default, skip_serializing)]
    certificate: Option<IgnoredAny>,
    #[serde(default, skip_serializing)]
    x509_certificate_chain: Option<IgnoredAny>,
    /// Always empty in our bundles; in others, only the number of entries is checked.
    #[serde(default)]
    tlog_entries: Entries,
}

/// A list of which only the length is stored.
#[derive(Debug, Default)]
struct Entries(usize);

impl Serialize for Entries {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(std::iter::empty::<()>())
    }
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Count;
        impl<'de> Visitor<'de> for Count {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Entries, A::Error> {
                let mut count = 0_usize;
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    count = count.saturating_add(1);
                }
                Ok(Entries(count))
            }
        }
        deserializer.deserialize_seq(Count)
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct PublicKey {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Envelope {
    payload: String,
    payload_type: String,
    #[serde(deserialize_with = "json::objects::<SIGNATURES_MAX, _, _>")]
    signatures: Vec<Signature>,
}

/// One signature of an envelope.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Signature {
    sig: String,
    #[serde(default)]
    keyid: Option<String>,
}

impl Signature {
    pub(crate) fn of(keyid: String, signature: Vec<u8>) -> Self {
        Self {
            sig: STANDARD.encode(signature),
            keyid: Some(keyid),
        }
    }

    /// Creates a signature without a key id, as OMS tools do.
    pub(crate) fn classical(signature: Vec<u8>) -> Self {
        Self::of(String::new(), signature)
    }

    pub(crate) fn keyid(&self) -> Option<&str> {
        self.keyid.as_deref().filter(|id| !id.is_empty())
    }

    pub(crate) fn bytes(&self) -> Result<Vec<u8>, OmsError> {
        let decoded = STANDARD.decode(&self.sig);
        decoded.map_err(|_| OmsError::Bundle("a signature is not base64"))
    }
}

/// A bundle whose form was checked, but not its signatures.
#[derive(Debug)]
pub(crate) struct Bundle {
    hint: Option<String>,
    /// The signed payload.
    pub(crate) payload: Vec<u8>,
    pub(crate) signatures: Vec<Signature>,
}

impl Bundle {
    pub(crate) fn new(hint: String, payload: Vec<u8>, signatures: Vec<Signature>) -> Self {
        Self {
            hint: Some(hint),
            payload,
            signatures,
        }
    }

    pub(crate) fn encode(self) -> Result<Vec<u8>, OmsError> {
        check_len("statement", self.payload.len(), PAYLOAD_BYTES_MAX)?;
        let json = Json {
            media_type: MEDIA_TYPE.to_owned(),
            verification_material: Material {
                public_key: Some(PublicKey { hint: self.hint }),
                certificate: None,
                x509_certificate_chain: None,
                tlog_entries: Entries(0),
            },
            dsse_envelope: Envelope {
                payload: STANDARD.encode(self.payload),
                payload_type: PAYLOAD_TYPE.to_owned(),
                signatures: self.signatures,
            },
        };
        let mut text =
            serde_json::to_vec(&json).map_err(|_| OmsError::Bundle("cannot be written"))?;
        text.push(b'\n');
        check_len("bundle", text.len(), BUNDLE_BYTES_MAX)?;
        Ok(text)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, OmsError> {
        check_len("bundle", bytes.len(), BUNDLE_BYTES_MAX)?;
        let json: Json = json::from_slice(bytes).map_err(|error| {
            OmsError::Bundle(if json::is_too_many(&error) {
                "it must have 1 to 8 signatures"
            } else {
                "it is not a Sigstore bundle in JSON"
            })
        })?;
        if json.media_type != MEDIA_TYPE {
            return Err(OmsError::Bundle("unexpected media type"));
        }
        let material = json.verification_material;
        if material.certificate.is_some() || material.x509_certificate_chain.is_some() {
            return Err(OmsError::Method("a certificate"));
        }
        if material.tlog_entries.0 > 0 {
            return Err(OmsError::Method("an entry in a transparency log"));
        }
        let key = material
            .public_key
            .ok_or(OmsError::Bundle("it names no public key"))?;
        let envelope = json.dsse_envelope;
        if envelope.payload_type != PAYLOAD_TYPE {
            return Err(OmsError::Bundle("its payload is not an in-toto statement"));
        }
        if envelope.signatures.is_empty() {
            return Err(OmsError::Bundle("it must have 1 to 8 signatures"));
        }
        let payload = STANDARD
            .decode(&envelope.payload)
            .map_err(|_| OmsError::Bundle("its payload is not base64"))?;
        check_len("statement", payload.len(), PAYLOAD_BYTES_MAX)?;
        Ok(Self {
            hint: key.hint.filter(|hint| !hint.is_empty()),
            payload,
            signatures: envelope.signatures,
        })
    }

    /// Refuses a bundle that names a different classical key.
    pub(crate) fn check_hint(&self, expected: &str) -> Result<(), OmsError> {
        match &self.hint {
            Some(found) if found != expected => Err(OmsError::OtherSigner {
                found: format!("key {}", shown(found)),
                expected: expected.to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// Returns the signature that names `id`.
    pub(crate) fn signature_of(&self, id: &str) -> Result<Vec<u8>, OmsError> {
        let named = |signature: &&Signature| signature.keyid.as_deref() == Some(id);
        if let Some(found) = self.signatures.iter().find(named) {
            return found.bytes();
        }
        let others: Vec<_> = self
            .signatures
            .iter()
            .filter_map(|signature| signature.keyid.as_deref())
            .filter(|id| !id.is_empty())
            .map(shown)
            .collect();
        Err(OmsError::OtherSigner {
            found: match others.as_slice() {
                [] => "a classical key only".to_owned(),
                some => format!("key {}", some.join(", ")),
            },
            expected: id.to_owned(),
        })
    }
}

/// Truncates untrusted text and removes control characters.
fn shown(text: &str) -> String {
    let short: String = text.chars().take(64).collect();
    short.escape_debug().to_string()
}

fn check_len(what: &'static str, actual: usize, limit: usize) -> Result<(), OmsError> {
    if actual <= limit {
        return Ok(());
    }
    let (actual, limit) = (actual as u64, limit as u64);
    Err(OmsError::Limit {
        what,
        actual,
        limit,
    })
}

/// Returns the DSSE pre-authentication encoding of a statement.
pub(crate) fn pae(payload: &[u8]) -> Vec<u8> {
    let head = format!(
        "DSSEv1 {} {PAYLOAD_TYPE} {} ",
        PAYLOAD_TYPE.len(),
        payload.len()
    );
    [head.as_bytes(), payload].concat()
}
