//! Changes with more values than one transaction of etcd takes.
//!
//! They are written beside the key store in parts first. One transaction then makes them part of
//! it, and whoever reads next applies them.

use casemate_keys::{Put, Table};

/// Most values in a part, and in a transaction: etcd takes 128 by default.
pub(crate) const PUTS_MAX: usize = 100;
/// Longest part, in bytes: etcd takes requests of 1.5 MiB by default.
pub(crate) const PART_BYTES_MAX: usize = 512 * 1024;

pub(crate) const fn letter(table: Table) -> u8 {
    match table {
        Table::Rows => b'r',
        Table::Nodes => b'n',
        Table::Entries => b'e',
    }
}

fn table_of(letter: u8) -> Option<Table> {
    [Table::Rows, Table::Nodes, Table::Entries]
        .into_iter()
        .find(|table| letter == self::letter(*table))
}

/// Returns how long the encoding of a put is.
fn len_of((_, key, value): &Put) -> usize {
    let value = value.as_ref().map_or(0, Vec::len);
    key.len().saturating_add(value).saturating_add(8)
}

/// Splits puts into parts that one transaction takes each.
pub(crate) fn parts(puts: &[Put]) -> Vec<&[Put]> {
    let mut parts = Vec::new();
    let mut rest = puts;
    while !rest.is_empty() {
        let mut bytes = 0_usize;
        let fits = rest.iter().take(PUTS_MAX).take_while(|put| {
            bytes = bytes.saturating_add(len_of(put));
            bytes <= PART_BYTES_MAX
        });
        let count = fits.count().max(1);
        let (part, after) = rest.split_at_checked(count).unwrap_or((rest, &[]));
        parts.push(part);
        rest = after;
    }
    parts
}

/// Encodes a part; `None` if a key or a value is too long for it.
pub(crate) fn encode(part: &[Put]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for (table, key, value) in part {
        out.push(letter(*table));
        out.push(u8::from(value.is_some()));
        out.extend(u16::try_from(key.len()).ok()?.to_be_bytes());
        out.extend(key);
        let value = value.as_deref().unwrap_or_default();
        out.extend(u32::try_from(value.len()).ok()?.to_be_bytes());
        out.extend(value);
    }
    Some(out)
}

/// Decodes a part; `None` if it is not one.
pub(crate) fn decode(bytes: &[u8]) -> Option<Vec<Put>> {
    let mut rest = bytes;
    let mut puts = Vec::new();
    while let Some(([letter, is_put], after)) = rest.split_first_chunk() {
        let table = table_of(*letter)?;
        let (key_len, after) = after.split_first_chunk()?;
        let key_len = u16::from_be_bytes(*key_len).into();
        let (key, after) = after.split_at_checked(key_len)?;
        let (value_len, after) = after.split_first_chunk()?;
        let value_len = usize::try_from(u32::from_be_bytes(*value_len)).ok()?;
        let (value, after) = after.split_at_checked(value_len)?;
        let value = match (is_put, value) {
            (1, value) => Some(value.to_vec()),
            (0, []) => None,
            _ => return None,
        };
        puts.push((table, key.to_vec(), value));
        if puts.len() > PUTS_MAX {
            return None;
        }
        rest = after;
    }
    rest.is_empty().then_some(puts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(number: u32, len: usize) -> Put {
        let value = (!number.is_multiple_of(3)).then(|| vec![7; len]);
        (Table::Nodes, number.to_be_bytes().to_vec(), value)
    }

    #[test]
    fn parts_are_bounded_and_complete() {
        let puts: Vec<_> = (0..1000).map(|number| put(number, 20_000)).collect();
        let parts = parts(&puts);
        let mut again = Vec::new();
        for part in parts {
            let encoded = encode(part).unwrap();
            assert!(part.len() <= PUTS_MAX && encoded.len() <= PART_BYTES_MAX);
            again.extend(decode(&encoded).unwrap());
        }
        assert_eq!(again, puts);
        assert!(super::parts(&[]).is_empty());
        assert_eq!(super::parts(&[put(1, PART_BYTES_MAX + 1)]).len(), 1);
    }

    #[test]
    fn what_is_no_part_is_refused() {
        let good = encode(&[put(0, 0), put(1, 5), put(2, 9)]).unwrap();
        assert_eq!(decode(&good).unwrap().len(), 3);
        let ends: Vec<_> = (0..good.len())
            .filter(|end| decode(&good[..*end]).is_some())
            .collect();
        assert_eq!(ends.len(), 3, "only between puts: {ends:?}");
        for at in 0..2 {
            let mut bad = good.clone();
            bad[at] = 9;
            assert!(decode(&bad).is_none());
        }
        let many: Vec<_> = (0..=100).map(|number| put(number, 1)).collect();
        assert!(decode(&encode(&many).unwrap()).is_none());
    }
}
