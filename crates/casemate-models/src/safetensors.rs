//! safetensors: eight bytes of length, a JSON object, the data (huggingface.co/docs/safetensors,
//! "Format").

use std::{collections::BTreeMap, fmt, ops::Range};

use casemate_seal::ReadAt;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};

use crate::{DIMENSIONS_MAX, Format, Model, ModelError, TENSORS_MAX, Tensor};

/// Longest header that the reference library reads, in bytes.
const JSON_BYTES_MAX: u64 = 100_000_000;

/// Maximum length of the reason why a header cannot be read, in characters.
const MESSAGE_CHARS_MAX: usize = 200;

#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a tensor's dtype, shape and data_offsets"
)]
struct Info {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

/// The entries of the header, in order. A duplicate name is an error.
struct Header {
    metadata: BTreeMap<String, String>,
    tensors: Vec<(String, Info)>,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Header, M::Error> {
                use serde::de::Error;
                let mut header = Header {
                    metadata: BTreeMap::new(),
                    tensors: Vec::new(),
                };
                let mut seen = std::collections::HashSet::new();
                while let Some(name) = map.next_key::<String>()? {
                    if !seen.insert(name.clone()) {
                        return Err(M::Error::custom("a name occurs twice"));
                    }
                    if name == "__metadata__" {
                        header.metadata = map.next_value::<Option<_>>()?.unwrap_or_default();
                    } else {
                        header.tensors.push((name, map.next_value()?));
                    }
                }
                Ok(header)
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// The header of a safetensors file, checked against every rule of the format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SafetensorsHeader {
    /// The strings in `__metadata__`.
    pub metadata: BTreeMap<String, String>,
    /// The tensors, in the order of their data.
    pub tensors: Vec<SafetensorsEntry>,
}

/// A tensor of a safetensors file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SafetensorsEntry {
    /// Its name.
    pub name: String,
    /// Type of its elements, as named by the format. It may be unknown to this crate.
    pub dtype: String,
    /// Its shape.
    pub shape: Vec<u64>,
    /// The range of its data, in bytes after the header.
    pub range: Range<u64>,
}

/// Returns the number of bits of an element; `None` for a type that safetensors 0.8 does not have.
fn element_bits(dtype: &str) -> Option<u64> {
    match dtype {
        "F4" => Some(4),
        "F6_E2M3" | "F6_E3M2" => Some(6),
        "BOOL" | "U8" | "I8" | "F8_E5M2" | "F8_E4M3" | "F8_E8M0" | "F8_E4M3FNUZ"
        | "F8_E5M2FNUZ" => Some(8),
        "I16" | "U16" | "F16" | "BF16" => Some(16),
        "I32" | "U32" | "F32" => Some(32),
        "F64" | "I64" | "U64" | "C64" => Some(64),
        _ => None,
    }
}

impl SafetensorsHeader {
    /// Parses the JSON of a header that is followed by `data_len` bytes of data.
    ///
    /// # Errors
    ///
    /// [`ModelError::Malformed`], which names the broken rule; [`ModelError::Limit`].
    pub fn parse(json: &[u8], data_len: u64) -> Result<Self, ModelError> {
        let header: Header = serde_json::from_slice(json).map_err(|error| {
            // The message quotes names from the file, which may be as long as the header.
            ModelError::Json(error.to_string().chars().take(MESSAGE_CHARS_MAX).collect())
        })?;
        if header.tensors.len() > TENSORS_MAX {
            return Err(ModelError::Limit("tensors"));
        }
        let entry = |(name, info): (String, Info)| {
            let [from, to] = info.data_offsets;
            let count = info
                .shape
                .iter()
                .try_fold(1_u64, |n, side| n.checked_mul(*side));
            let len = to.checked_sub(from);
            if info.shape.len() > DIMENSIONS_MAX || len.is_none() {
                return Err(malformed(
                    "a tensor has an invalid shape or invalid offsets",
                ));
            }
            // A tensor with elements smaller than a byte must end at a byte boundary.
            if let Some(each) = element_bits(&info.dtype)
                && count.and_then(|count| count.checked_mul(each))
                    != len.and_then(|len| len.checked_mul(8))
            {
                return Err(malformed("the size of a tensor does not match its shape"));
            }
            Ok(SafetensorsEntry {
                name,
                dtype: info.dtype,
                shape: info.shape,
                range: from..to,
            })
        };
        let mut tensors = header
            .tensors
            .into_iter()
            .map(entry)
            .collect::<Result<Vec<_>, _>>()?;
        tensors.sort_by_key(|tensor| (tensor.range.start, tensor.range.end));
        let mut end = 0;
        for tensor in &tensors {
            if tensor.range.start != end {
                return Err(malformed("tensors leave a gap or overlap"));
            }
            end = tensor.range.end;
        }
        if end != data_len {
            return Err(malformed("the data does not end where the file ends"));
        }
        Ok(Self {
            metadata: header.metadata,
            tensors,
        })
    }
}

fn malformed(rule: &'static str) -> ModelError {
    ModelError::malformed(Format::Safetensors, rule)
}

pub(crate) fn read(source: &impl ReadAt) -> Result<Model, ModelError> {
    let len = source.byte_len()?;
    let mut prefix = [0; 8];
    source.read_exact_at(&mut prefix, 0)?;
    let json_len = u64::from_le_bytes(prefix);
    let data_len = len.checked_sub(json_len.saturating_add(8));
    let Some(data_len) = data_len.filter(|_| json_len <= JSON_BYTES_MAX) else {
        return Err(malformed("the header's length is impossible"));
    };
    let mut json = vec![0; usize::try_from(json_len).unwrap_or(0)];
    source.read_exact_at(&mut json, 8)?;
    let header = SafetensorsHeader::parse(&json, data_len)?;
    let mut model = Model::new(Format::Safetensors);
    model.metadata = header.metadata.into_iter().collect();
    for tensor in header.tensors {
        model.add(Tensor {
            name: tensor.name,
            dtype: tensor.dtype,
            shape: tensor.shape,
            bytes: tensor.range.end.checked_sub(tensor.range.start),
        })?;
    }
    Ok(model)
}
