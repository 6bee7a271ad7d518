//! The legacy format of `torch.save`, which it still writes on request: five consecutive pickles (a
//! magic number, a version, the machine, the object, the keys of its storages), then the number of
//! elements and the memory of each storage (`_legacy_save` and `_legacy_load` in
//! `torch/serialization.py`).

use casemate_seal::ReadAt;

use crate::{
    Format, HEADER_BYTES_MAX, Model, ModelError,
    cursor::Cursor,
    pickle::{OPERATIONS_MAX, Pickle, scan_one},
    pickle_values::{Value, follow},
    torch_tensors::{Table, storages, tensors_of},
};

/// The magic number in the encoding of `LONG1`, and the end of its pickle.
const MAGIC: [u8; 13] = *b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
/// Length of a frame's operation and length field, in bytes.
const FRAME: usize = 9;

/// Number of pickles before the memory; the last but one is the object.
const PICKLES: usize = 5;

/// Reads a legacy file; returns `None` if it does not begin with the magic number.
pub(crate) fn read(source: &impl ReadAt) -> Result<Option<Model>, ModelError> {
    if !has_magic(source)? {
        return Ok(None);
    }
    let mut cursor = Cursor::new(source)?;
    let mut found = Pickle::default();
    let mut left = OPERATIONS_MAX;
    let mut ends = Vec::new();
    for _ in 0..PICKLES {
        scan_one(&mut cursor, &mut found, &mut left)?;
        ends.push(cursor.at());
    }
    let mut model = Model::new(Format::PyTorch);
    match table(source, &ends)? {
        Some((table, true)) => {
            model.tensors = table.tensors;
            model.is_partial = table.is_partial;
        }
        // A loader treats the rest as memory, but it does not match the storages of the object.
        other => {
            found.unread = true;
            model.is_partial = true;
            model.tensors = other.map(|(table, _)| table.tensors).unwrap_or_default();
        }
    }
    model.pickles.push(("(the file)".to_owned(), found));
    Ok(Some(model))
}

fn has_magic(source: &impl ReadAt) -> Result<bool, ModelError> {
    let mut start = [0; 2 + FRAME + MAGIC.len()];
    let len = usize::try_from(source.byte_len()?)
        .unwrap_or(usize::MAX)
        .min(start.len());
    let start = start.get_mut(..len).unwrap_or_default();
    source.read_exact_at(start, 0)?;
    let rest = start.get(2..).unwrap_or_default();
    let framed = rest.get(FRAME..).filter(|_| rest.starts_with(&[0x95]));
    Ok(framed.unwrap_or(rest).starts_with(&MAGIC))
}

/// Returns the tensors of the object, and whether the memory after the pickles is exactly that of
/// its storages.
fn table(source: &impl ReadAt, ends: &[u64]) -> Result<Option<(Table, bool)>, ModelError> {
    let [.., object, keys, end] = ends else {
        return Ok(None);
    };
    let pickle = |from: u64, to: u64| -> Result<Vec<u8>, ModelError> {
        let len = to.saturating_sub(from);
        if len > HEADER_BYTES_MAX {
            return Err(ModelError::Limit("bytes in pickles"));
        }
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        source.read_exact_at(&mut bytes, from)?;
        Ok(bytes)
    };
    let (object, keys) = (pickle(*object, *keys)?, pickle(*keys, *end)?);
    let Some((values, root)) = follow(&object) else {
        return Ok(None);
    };
    let Some(table) = tensors_of(&values, root, object.len()) else {
        return Ok(None);
    };
    let (Some(storages), Some((key_values, list))) = (storages(&values), follow(&keys)) else {
        return Ok(Some((table, false)));
    };
    let Some(Value::Items(list)) = key_values.get(list) else {
        return Ok(Some((table, false)));
    };
    let mut at = *end;
    for key in list {
        let bytes = key_values.text(*key).and_then(|key| storages.get(key));
        let next = bytes.and_then(|bytes| at.checked_add(8)?.checked_add(*bytes));
        let Some(next) = next else {
            return Ok(Some((table, false)));
        };
        at = next;
    }
    let is_all = list.len() == storages.len() && at == source.byte_len()?;
    Ok(Some((table, is_all)))
}
