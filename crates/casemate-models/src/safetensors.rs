//! safetensors: eight bytes of length, a JSON object, the data (huggingface.co/docs/safetensors, "Format").

use std::{collections::BTreeMap, fmt};

use casemate_seal::ReadAt;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};

use crate::{DIMENSIONS_MAX, Format, Model, ModelError, Tensor};

/// Longest header that the format's own library reads, in bytes.
const JSON_BYTES_MAX: u64 = 100_000_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Info {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

/// The header's entries in their order; a name that occurs twice is an error.
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

pub(crate) fn read(source: &impl ReadAt) -> Result<Model, ModelError> {
    let malformed = |rule| ModelError::malformed(Format::Safetensors, rule);
    let len = source.byte_len()?;
    let mut prefix = [0; 8];
    source.read_exact_at(&mut prefix, 0)?;
    let json_len = u64::from_le_bytes(prefix);
    let start = json_len.saturating_add(8);
    if json_len > JSON_BYTES_MAX || start > len {
        return Err(malformed("the header's length is impossible"));
    }
    let mut json = vec![0; usize::try_from(json_len).unwrap_or(0)];
    source.read_exact_at(&mut json, 8)?;
    let header: Header =
        serde_json::from_slice(&json).map_err(|_| malformed("the header is not its JSON"))?;
    let mut model = Model::new(Format::Safetensors);
    model.metadata = header.metadata.into_iter().collect();
    let mut ranges = Vec::with_capacity(header.tensors.len());
    for (name, info) in header.tensors {
        let [from, to] = info.data_offsets;
        if info.shape.len() > DIMENSIONS_MAX || to < from {
            return Err(malformed("a tensor's shape or offsets are impossible"));
        }
        ranges.push((from, to));
        model.add(Tensor {
            name,
            dtype: info.dtype,
            shape: info.shape,
            bytes: to.checked_sub(from),
        })?;
    }
    ranges.sort_unstable();
    let mut end = 0;
    for (from, to) in ranges {
        if from != end {
            return Err(malformed("tensors leave a gap or overlap"));
        }
        end = to;
    }
    if start.checked_add(end) != Some(len) {
        return Err(malformed("the data end before or after the file does"));
    }
    Ok(model)
}
