//! GGUF versions 2 and 3 (github.com/ggml-org/ggml, docs/gguf.md): counts, key-value pairs, tensor
//! descriptions.
//!
//! No field gives the byte order of a file. The version is a small number, so the byte order is the
//! one in which it is small.

use casemate_seal::ReadAt;

use crate::{
    ByteOrder, DIMENSIONS_MAX, Format, Model, ModelError, TENSORS_MAX, Tensor, cursor::Cursor,
    gguf_types,
};

/// Most key-value pairs.
const PAIRS_MAX: u64 = 1 << 16;
/// Maximum number of characters of a value that are shown.
const VALUE_CHARACTERS: usize = 200;
/// Deepest nesting of arrays.
const DEPTH_MAX: u8 = 4;

const fn malformed(rule: &'static str) -> ModelError {
    ModelError::malformed(Format::Gguf, rule)
}

const CUT: ModelError = malformed("the header ends too early");

pub(crate) fn read(source: &impl ReadAt) -> Result<Model, ModelError> {
    let mut cursor = Cursor::new(source)?;
    _ = cursor.array::<4>()?;
    let version = cursor.array()?.ok_or(CUT)?;
    let order = match (u32::from_le_bytes(version), u32::from_be_bytes(version)) {
        (2 | 3, _) => ByteOrder::Little,
        (_, 2 | 3) => ByteOrder::Big,
        _ => return Err(malformed("its version is neither 2 nor 3")),
    };
    let mut reader = Reader { cursor, order };
    let r = &mut reader;
    let (tensors, pairs) = (r.u64()?, r.u64()?);
    if tensors > TENSORS_MAX as u64 || pairs > PAIRS_MAX {
        return Err(ModelError::Limit("tensors or pairs"));
    }
    let mut model = Model::new(Format::Gguf);
    model.byte_order = Some(order);
    for _ in 0..pairs {
        let name = r.text()?;
        let kind = r.u32()?;
        let shown = value(r, kind, 0)?;
        model.metadata.push((name, shown));
    }
    for _ in 0..tensors {
        let name = r.text()?;
        let dimensions = r.u32()? as usize;
        if dimensions > DIMENSIONS_MAX {
            return Err(ModelError::Limit("dimensions"));
        }
        let mut shape = Vec::with_capacity(dimensions);
        for _ in 0..dimensions {
            shape.push(r.u64()?);
        }
        // The fastest-varying dimension comes first here, and last everywhere else.
        shape.reverse();
        let kind = r.u32()?;
        let _offset = r.u64()?;
        model.add(Tensor {
            name,
            dtype: gguf_types::name(kind),
            bytes: gguf_types::tensor_bytes(kind, &shape),
            shape,
        })?;
    }
    Ok(model)
}

/// A position in the header, and its byte order.
struct Reader<'s, S> {
    cursor: Cursor<'s, S>,
    order: ByteOrder,
}

impl<S: ReadAt> Reader<'_, S> {
    /// Reads the bytes of a number in little-endian order.
    fn number<const N: usize>(&mut self) -> Result<[u8; N], ModelError> {
        let mut bytes = self.cursor.array()?.ok_or(CUT)?;
        if self.order == ByteOrder::Big {
            bytes.reverse();
        }
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32, ModelError> {
        self.number().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, ModelError> {
        self.number().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Result<String, ModelError> {
        let len = self.u64()?;
        self.cursor.text(len)?.ok_or(CUT)
    }

    fn skip(&mut self, bytes: u64) -> Result<(), ModelError> {
        self.cursor.skip(bytes).ok_or(CUT)
    }
}

/// Returns the length of a fixed-length value, in bytes.
const fn fixed(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

/// Reads a value and returns the text to show for it.
fn value(r: &mut Reader<'_, impl ReadAt>, kind: u32, depth: u8) -> Result<String, ModelError> {
    Ok(match kind {
        0 => u8::from_le_bytes(r.number()?).to_string(),
        1 => i8::from_le_bytes(r.number()?).to_string(),
        2 => u16::from_le_bytes(r.number()?).to_string(),
        3 => i16::from_le_bytes(r.number()?).to_string(),
        4 => u32::from_le_bytes(r.number()?).to_string(),
        5 => i32::from_le_bytes(r.number()?).to_string(),
        6 => f32::from_le_bytes(r.number()?).to_string(),
        7 => (r.number()? != [0_u8]).to_string(),
        8 => r.text()?.chars().take(VALUE_CHARACTERS).collect(),
        9 => list(r, depth)?,
        10 => u64::from_le_bytes(r.number()?).to_string(),
        11 => i64::from_le_bytes(r.number()?).to_string(),
        12 => f64::from_le_bytes(r.number()?).to_string(),
        _ => return Err(malformed("a value has an unknown type")),
    })
}

/// Skips a list and returns its length as text.
fn list(r: &mut Reader<'_, impl ReadAt>, depth: u8) -> Result<String, ModelError> {
    let (kind, count) = (r.u32()?, r.u64()?);
    if let Some(bytes) = fixed(kind) {
        let len = bytes.checked_mul(count).ok_or(CUT)?;
        r.skip(len)?;
    } else {
        if depth >= DEPTH_MAX {
            return Err(ModelError::Limit("nested lists"));
        }
        // Each element takes at least its length field, so a count beyond the file fails soon.
        for _ in 0..count {
            if kind == 8 {
                let len = r.u64()?;
                r.skip(len)?;
            } else {
                value(r, kind, depth.saturating_add(1))?;
            }
        }
    }
    Ok(format!("[{count} values]"))
}
