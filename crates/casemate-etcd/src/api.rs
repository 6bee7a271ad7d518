//! The messages of etcd's JSON gateway (etcd 3.4 and later, `/v3/kv`), as far as they are needed.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Bytes as base64.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        let bytes = STANDARD.decode(text);
        bytes
            .map(Self)
            .map_err(|_| D::Error::custom("it is not base64"))
    }
}

/// A number that JSON has as text.
fn number<'de, D: Deserializer<'de>>(d: D) -> Result<i64, D::Error> {
    let text = String::deserialize(d)?;
    text.parse()
        .map_err(|_| D::Error::custom("it is not a number"))
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde calls"
)]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

fn is_empty(bytes: &Bytes) -> bool {
    bytes.0.is_empty()
}

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct RangeRequest {
    pub(crate) key: Bytes,
    #[serde(skip_serializing_if = "is_empty")]
    pub(crate) range_end: Bytes,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) limit: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) revision: i64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) min_mod_revision: i64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) keys_only: bool,
}

#[derive(Debug, Deserialize)]
pub(crate) struct KeyValue {
    pub(crate) key: Bytes,
    #[serde(default)]
    pub(crate) value: Bytes,
    #[serde(default, deserialize_with = "number")]
    pub(crate) mod_revision: i64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Header {
    #[serde(deserialize_with = "number")]
    pub(crate) revision: i64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct RangeResponse {
    #[serde(default)]
    pub(crate) kvs: Vec<KeyValue>,
    #[serde(default)]
    pub(crate) more: bool,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct PutRequest {
    pub(crate) key: Bytes,
    pub(crate) value: Bytes,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct DeleteRangeRequest {
    pub(crate) key: Bytes,
    #[serde(skip_serializing_if = "is_empty")]
    pub(crate) range_end: Bytes,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) enum Operation {
    #[serde(rename = "request_range")]
    Range(RangeRequest),
    #[serde(rename = "request_put")]
    Put(PutRequest),
    #[serde(rename = "request_delete_range")]
    DeleteRange(DeleteRangeRequest),
}

impl Operation {
    pub(crate) const fn put(key: Vec<u8>, value: Vec<u8>) -> Self {
        Self::Put(PutRequest {
            key: Bytes(key),
            value: Bytes(value),
        })
    }

    pub(crate) const fn delete(key: Vec<u8>) -> Self {
        Self::DeleteRange(DeleteRangeRequest {
            key: Bytes(key),
            range_end: Bytes(Vec::new()),
        })
    }

    pub(crate) fn get(key: Vec<u8>) -> Self {
        Self::Range(RangeRequest {
            key: Bytes(key),
            ..RangeRequest::default()
        })
    }
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Compare {
    key: Bytes,
    result: &'static str,
    target: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Bytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    create_revision: Option<&'static str>,
}

impl Compare {
    /// The key has this value.
    pub(crate) const fn value(key: Vec<u8>, value: Vec<u8>) -> Self {
        Self {
            key: Bytes(key),
            result: "EQUAL",
            target: "VALUE",
            value: Some(Bytes(value)),
            create_revision: None,
        }
    }

    /// The key exists.
    pub(crate) fn present(key: Vec<u8>) -> Self {
        Self {
            result: "GREATER",
            ..Self::absent(key)
        }
    }

    /// The key does not exist.
    pub(crate) const fn absent(key: Vec<u8>) -> Self {
        Self {
            key: Bytes(key),
            result: "EQUAL",
            target: "CREATE",
            value: None,
            create_revision: Some("0"),
        }
    }
}

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct TxnRequest {
    pub(crate) compare: Vec<Compare>,
    pub(crate) success: Vec<Operation>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct OperationResponse {
    pub(crate) response_range: Option<RangeResponse>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct TxnResponse {
    pub(crate) header: Header,
    #[serde(default)]
    pub(crate) succeeded: bool,
    #[serde(default)]
    pub(crate) responses: Vec<OperationResponse>,
}

#[derive(Debug, Serialize)]
pub(crate) struct CompactionRequest {
    pub(crate) revision: i64,
    pub(crate) physical: bool,
}

/// What etcd says instead of an answer.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Failure {
    #[serde(default)]
    pub(crate) message: String,
    #[serde(default)]
    pub(crate) error: String,
    /// The code of gRPC.
    #[serde(default)]
    pub(crate) code: u32,
}
