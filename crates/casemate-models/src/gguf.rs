//! GGUF versions 2 and 3 (github.com/ggml-org/ggml, docs/gguf.md): counts, key-value pairs, tensor descriptions, little-endian.

use casemate_seal::ReadAt;

use crate::{DIMENSIONS_MAX, Format, Model, ModelError, TENSORS_MAX, Tensor, cursor::Cursor};

/// Most key-value pairs.
const PAIRS_MAX: u64 = 1 << 16;
/// Characters of a value that are shown.
const VALUE_CHARACTERS: usize = 200;
/// Deepest nesting of arrays.
const DEPTH_MAX: u8 = 4;

const fn malformed(rule: &'static str) -> ModelError {
    ModelError::malformed(Format::Gguf, rule)
}

const CUT: ModelError = malformed("the header ends too early");

pub(crate) fn read(source: &impl ReadAt) -> Result<Model, ModelError> {
    let mut cursor = Cursor::new(source)?;
    let c = &mut cursor;
    _ = c.array::<4>()?;
    let version = u32_le(c)?;
    if !(2..=3).contains(&version) {
        return Err(malformed("a version other than 2 and 3"));
    }
    let (tensors, pairs) = (u64_le(c)?, u64_le(c)?);
    if tensors > TENSORS_MAX as u64 || pairs > PAIRS_MAX {
        return Err(ModelError::Limit("tensors or pairs"));
    }
    let mut model = Model::new(Format::Gguf);
    for _ in 0..pairs {
        let name = text(c)?;
        let kind = u32_le(c)?;
        let shown = value(c, kind, 0)?;
        model.metadata.push((name, shown));
    }
    for _ in 0..tensors {
        let name = text(c)?;
        let dimensions = u32_le(c)? as usize;
        if dimensions > DIMENSIONS_MAX {
            return Err(ModelError::Limit("dimensions"));
        }
        let mut shape = Vec::with_capacity(dimensions);
        for _ in 0..dimensions {
            shape.push(u64_le(c)?);
        }
        // The fastest dimension comes first here and last everywhere else.
        shape.reverse();
        let kind = u32_le(c)?;
        let _offset = u64_le(c)?;
        let dtype = type_name(kind).map_or_else(|| format!("type {kind}"), str::to_owned);
        model.add(Tensor {
            name,
            dtype,
            shape,
            bytes: None,
        })?;
    }
    Ok(model)
}

fn u32_le(c: &mut Cursor<'_, impl ReadAt>) -> Result<u32, ModelError> {
    c.array()?.map(u32::from_le_bytes).ok_or(CUT)
}

fn u64_le(c: &mut Cursor<'_, impl ReadAt>) -> Result<u64, ModelError> {
    c.array()?.map(u64::from_le_bytes).ok_or(CUT)
}

fn text(c: &mut Cursor<'_, impl ReadAt>) -> Result<String, ModelError> {
    let len = u64_le(c)?;
    c.text(len)?.ok_or(CUT)
}

/// Bytes of a value of fixed length.
const fn fixed(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

/// Reads a value and says what to show of it.
fn value(c: &mut Cursor<'_, impl ReadAt>, kind: u32, depth: u8) -> Result<String, ModelError> {
    Ok(match kind {
        0 => scalar::<1>(c, |b| u8::from_le_bytes(b).to_string())?,
        1 => scalar::<1>(c, |b| i8::from_le_bytes(b).to_string())?,
        2 => scalar::<2>(c, |b| u16::from_le_bytes(b).to_string())?,
        3 => scalar::<2>(c, |b| i16::from_le_bytes(b).to_string())?,
        4 => scalar::<4>(c, |b| u32::from_le_bytes(b).to_string())?,
        5 => scalar::<4>(c, |b| i32::from_le_bytes(b).to_string())?,
        6 => scalar::<4>(c, |b| f32::from_le_bytes(b).to_string())?,
        7 => scalar::<1>(c, |[b]| (b != 0).to_string())?,
        8 => text(c)?.chars().take(VALUE_CHARACTERS).collect(),
        9 => list(c, depth)?,
        10 => scalar::<8>(c, |b| u64::from_le_bytes(b).to_string())?,
        11 => scalar::<8>(c, |b| i64::from_le_bytes(b).to_string())?,
        12 => scalar::<8>(c, |b| f64::from_le_bytes(b).to_string())?,
        _ => return Err(malformed("a value of an unknown type")),
    })
}

fn scalar<const N: usize>(
    c: &mut Cursor<'_, impl ReadAt>,
    show: impl FnOnce([u8; N]) -> String,
) -> Result<String, ModelError> {
    c.array()?.map(show).ok_or(CUT)
}

/// Passes over a list and says how long it is.
fn list(c: &mut Cursor<'_, impl ReadAt>, depth: u8) -> Result<String, ModelError> {
    let (kind, count) = (u32_le(c)?, u64_le(c)?);
    if let Some(bytes) = fixed(kind) {
        let len = bytes.checked_mul(count).ok_or(CUT)?;
        c.skip(len).ok_or(CUT)?;
    } else {
        if depth >= DEPTH_MAX {
            return Err(ModelError::Limit("nested lists"));
        }
        // Each element takes at least its own length field, so a count beyond the file ends soon.
        for _ in 0..count {
            if kind == 8 {
                let len = u64_le(c)?;
                c.skip(len).ok_or(CUT)?;
            } else {
                value(c, kind, depth.saturating_add(1))?;
            }
        }
    }
    Ok(format!("[{count} values]"))
}

const fn type_name(kind: u32) -> Option<&'static str> {
    Some(match kind {
        0 => "F32",
        1 => "F16",
        2 => "Q4_0",
        3 => "Q4_1",
        6 => "Q5_0",
        7 => "Q5_1",
        8 => "Q8_0",
        9 => "Q8_1",
        10 => "Q2_K",
        11 => "Q3_K",
        12 => "Q4_K",
        13 => "Q5_K",
        14 => "Q6_K",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        20 => "IQ4_NL",
        21 => "IQ3_S",
        22 => "IQ2_S",
        23 => "IQ4_XS",
        24 => "I8",
        25 => "I16",
        26 => "I32",
        27 => "I64",
        28 => "F64",
        29 => "IQ1_M",
        30 => "BF16",
        34 => "TQ1_0",
        35 => "TQ2_0",
        39 => "MXFP4",
        _ => return None,
    })
}
