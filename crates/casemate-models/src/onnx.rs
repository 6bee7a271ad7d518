//! ONNX: the fields of `ModelProto`, `GraphProto` and `TensorProto` (onnx/onnx.proto3) that
//! describe tensors. Everything else is skipped.

use casemate_seal::ReadAt;

use crate::{DIMENSIONS_MAX, Format, Model, ModelError, Tensor, cursor::Cursor};

const fn malformed(rule: &'static str) -> ModelError {
    ModelError::malformed(Format::Onnx, rule)
}

const CUT: ModelError = malformed("a field ends too early");

/// One field of a message.
enum Field {
    Number(u64),
    /// A fixed-width number, which is not needed.
    Fixed,
    /// A field of bytes, with the position of its end.
    Bytes(u64),
}

/// Reads the number and content of the next field; returns `None` at `end`.
fn field(c: &mut Cursor<'_, impl ReadAt>, end: u64) -> Result<Option<(u64, Field)>, ModelError> {
    if c.at() >= end {
        return if c.at() == end { Ok(None) } else { Err(CUT) };
    }
    let key = varint(c)?;
    let content = match key & 7 {
        0 => Field::Number(varint(c)?),
        1 => {
            c.skip(8).ok_or(CUT)?;
            Field::Fixed
        }
        2 => {
            let len = varint(c)?;
            let to = c.at().checked_add(len).filter(|to| *to <= end);
            Field::Bytes(to.ok_or(CUT)?)
        }
        5 => {
            c.skip(4).ok_or(CUT)?;
            Field::Fixed
        }
        _ => return Err(malformed("a field has an unknown type")),
    };
    Ok(Some((key >> 3, content)))
}

fn varint(c: &mut Cursor<'_, impl ReadAt>) -> Result<u64, ModelError> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let [byte] = c.array()?.ok_or(CUT)?;
        let part = u64::from(byte & 0x7f);
        value |= part
            .checked_shl(shift)
            .filter(|shifted| shifted.checked_shr(shift) == Some(part))
            .ok_or(malformed("a number is too large"))?;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(malformed("a number is too long"))
}

/// Skips to the end of a field whose content is not needed.
fn leave(c: &mut Cursor<'_, impl ReadAt>, end: u64) -> Result<(), ModelError> {
    let rest = end.checked_sub(c.at()).ok_or(CUT)?;
    c.skip(rest).ok_or(CUT)
}

fn text(c: &mut Cursor<'_, impl ReadAt>, end: u64) -> Result<String, ModelError> {
    let len = end.checked_sub(c.at()).ok_or(CUT)?;
    c.text(len)?.ok_or(CUT)
}

pub(crate) fn read(source: &impl ReadAt) -> Result<Model, ModelError> {
    let mut cursor = Cursor::new(source)?;
    let c = &mut cursor;
    let end = c.left();
    let mut model = Model::new(Format::Onnx);
    let mut graph = false;
    while let Some((number, content)) = field(c, end)? {
        match (number, content) {
            (1, Field::Number(version)) => {
                set(&mut model, "ir_version", version.to_string());
            }
            (2, Field::Bytes(to)) => {
                let producer = text(c, to)?;
                set(&mut model, "producer", producer);
            }
            (7, Field::Bytes(to)) => {
                graph = true;
                read_graph(c, to, &mut model)?;
            }
            (_, Field::Bytes(to)) => leave(c, to)?,
            _ => {}
        }
    }
    if graph {
        Ok(model)
    } else {
        Err(malformed("there is no graph"))
    }
}

/// Sets a metadata value; the last one wins, as in protobuf.
fn set(model: &mut Model, name: &str, value: String) {
    model.metadata.retain(|(known, _)| known != name);
    model.metadata.push((name.to_owned(), value));
}

fn read_graph(
    c: &mut Cursor<'_, impl ReadAt>,
    end: u64,
    model: &mut Model,
) -> Result<(), ModelError> {
    while let Some((number, content)) = field(c, end)? {
        match (number, content) {
            (5, Field::Bytes(to)) => {
                let tensor = read_tensor(c, to)?;
                model.add(tensor)?;
            }
            (_, Field::Bytes(to)) => leave(c, to)?,
            _ => {}
        }
    }
    Ok(())
}

fn read_tensor(c: &mut Cursor<'_, impl ReadAt>, end: u64) -> Result<Tensor, ModelError> {
    let mut tensor = Tensor {
        name: String::new(),
        dtype: "UNDEFINED".to_owned(),
        shape: Vec::new(),
        bytes: None,
    };
    while let Some((number, content)) = field(c, end)? {
        match (number, content) {
            (1, Field::Number(side)) => tensor.shape.push(side),
            // The same field, packed.
            (1, Field::Bytes(to)) => {
                while c.at() < to {
                    let side = varint(c)?;
                    tensor.shape.push(side);
                    check_dimensions(&tensor)?;
                }
            }
            (2, Field::Number(kind)) => {
                let name = type_name(kind);
                tensor.dtype = name.map_or_else(|| format!("type {kind}"), str::to_owned);
            }
            (8, Field::Bytes(to)) => tensor.name = text(c, to)?,
            (9, Field::Bytes(to)) => {
                tensor.bytes = to.checked_sub(c.at());
                leave(c, to)?;
            }
            (_, Field::Bytes(to)) => leave(c, to)?,
            _ => {}
        }
        check_dimensions(&tensor)?;
    }
    Ok(tensor)
}

const fn check_dimensions(tensor: &Tensor) -> Result<(), ModelError> {
    if tensor.shape.len() > DIMENSIONS_MAX {
        return Err(ModelError::Limit("dimensions"));
    }
    Ok(())
}

const fn type_name(kind: u64) -> Option<&'static str> {
    Some(match kind {
        1 => "FLOAT",
        2 => "UINT8",
        3 => "INT8",
        4 => "UINT16",
        5 => "INT16",
        6 => "INT32",
        7 => "INT64",
        8 => "STRING",
        9 => "BOOL",
        10 => "FLOAT16",
        11 => "DOUBLE",
        12 => "UINT32",
        13 => "UINT64",
        14 => "COMPLEX64",
        15 => "COMPLEX128",
        16 => "BFLOAT16",
        17 => "FLOAT8E4M3FN",
        18 => "FLOAT8E4M3FNUZ",
        19 => "FLOAT8E5M2",
        20 => "FLOAT8E5M2FNUZ",
        21 => "UINT4",
        22 => "INT4",
        23 => "FLOAT4E2M1",
        _ => return None,
    })
}
