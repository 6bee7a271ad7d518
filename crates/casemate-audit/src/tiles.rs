//! Tiles and bundles of entries (C2SP tlog-tiles).

use crate::{
    AuditError,
    entry::ENTRY_BYTES_MAX,
    malformed,
    tree::{Hash, root_of},
};

/// Hashes of a full tile, and entries of a full bundle.
const WIDTH: usize = 256;

/// A file of a tiled log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile {
    /// Its path below the log.
    pub path: String,
    /// Its content.
    pub content: Vec<u8>,
    /// Whether it is full and never changes.
    pub is_full: bool,
}

/// Returns the number of a tile as path elements: `x001/x234/067`.
fn number(mut number: usize) -> String {
    let mut elements = Vec::new();
    loop {
        elements.push(format!("{:03}", number % 1000));
        number /= 1000;
        if number == 0 {
            break;
        }
    }
    let mut path = String::new();
    while let Some(element) = elements.pop() {
        if elements.is_empty() {
            path.push_str(&element);
        } else {
            path.push('x');
            path.push_str(&element);
            path.push('/');
        }
    }
    path
}

/// Returns the path of a tile of a level, or of a bundle of `entries`.
pub fn tile_path(level: &str, at: usize, width: usize) -> String {
    let number = number(at);
    if width == WIDTH {
        format!("tile/{level}/{number}")
    } else {
        format!("tile/{level}/{number}.p/{width}")
    }
}

/// Returns the tiles of a log with these leaves, from the lowest level to the highest.
pub fn tiles(leaves: &[Hash]) -> Vec<Tile> {
    let mut tiles = Vec::new();
    let mut hashes = leaves.to_vec();
    let mut level = 0_u8;
    while !hashes.is_empty() {
        let mut above = Vec::new();
        for (at, below) in hashes.chunks(WIDTH).enumerate() {
            let is_full = below.len() == WIDTH;
            tiles.push(Tile {
                path: tile_path(&level.to_string(), at, below.len()),
                content: below.concat(),
                is_full,
            });
            if is_full {
                above.push(root_of(below.iter().copied()));
            }
        }
        hashes = above;
        level = level.saturating_add(1);
    }
    tiles
}

/// Returns the bundles of these entries.
///
/// # Errors
///
/// [`AuditError::Malformed`] if an entry is too long.
pub fn bundles(entries: &[Vec<u8>]) -> Result<Vec<Tile>, AuditError> {
    let chunks = entries.chunks(WIDTH).enumerate();
    chunks
        .map(|(at, entries)| {
            Ok(Tile {
                path: tile_path("entries", at, entries.len()),
                content: bundle(entries)?,
                is_full: entries.len() == WIDTH,
            })
        })
        .collect()
}

/// Encodes entries, each after its length.
///
/// # Errors
///
/// [`AuditError::Malformed`] if an entry is too long.
pub fn bundle(entries: &[Vec<u8>]) -> Result<Vec<u8>, AuditError> {
    let mut encoded = Vec::new();
    for entry in entries {
        let len = u16::try_from(entry.len())
            .map_err(|_| malformed("bundle", "an entry is longer than 65,535 bytes"))?;
        encoded.extend(len.to_be_bytes());
        encoded.extend(entry);
    }
    Ok(encoded)
}

/// Decodes the entries of a bundle.
///
/// # Errors
///
/// [`AuditError::Malformed`].
pub fn entries_of(bundle: &[u8]) -> Result<Vec<Vec<u8>>, AuditError> {
    let bad = |rule| malformed("bundle", rule);
    let mut entries = Vec::new();
    let mut rest = bundle;
    while let Some((len, after)) = rest.split_first_chunk::<2>() {
        let len = usize::from(u16::from_be_bytes(*len));
        if len > ENTRY_BYTES_MAX || entries.len() >= WIDTH {
            return Err(bad("it has an entry that is too long, or too many"));
        }
        let (entry, after) = after
            .split_at_checked(len)
            .ok_or_else(|| bad("it ends within an entry"))?;
        entries.push(entry.to_vec());
        rest = after;
    }
    if rest.is_empty() {
        Ok(entries)
    } else {
        Err(bad("it ends within an entry"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::leaf_hash;

    #[test]
    fn a_log_of_70000_entries_has_the_tiles_of_the_specification() {
        let leaves: Vec<_> = (0..70_000_u32)
            .map(|number| leaf_hash(&number.to_be_bytes()))
            .collect();
        let tiles = tiles(&leaves);
        let count = |level: &str, full: bool| {
            let prefix = format!("tile/{level}/");
            let found = tiles.iter().filter(|tile| tile.path.starts_with(&prefix));
            found.filter(|tile| tile.is_full == full).count()
        };
        assert_eq!((count("0", true), count("0", false)), (273, 1));
        assert_eq!((count("1", true), count("1", false)), (1, 1));
        assert_eq!((count("2", true), count("2", false)), (0, 1));
        let has = |path: &str| tiles.iter().any(|tile| tile.path == path);
        assert!(has("tile/0/273.p/112") && has("tile/1/001.p/17") && has("tile/2/000.p/1"));
        assert_eq!(number(1_234_067), "x001/x234/067");
        assert_eq!(
            (number(0), number(999), number(1000)),
            ("000".into(), "999".into(), "x001/000".into())
        );
    }

    #[test]
    fn bundles_come_back_and_damaged_ones_are_refused() {
        let entries: Vec<_> = (0..300_u32)
            .map(|number| number.to_be_bytes().to_vec())
            .collect();
        let bundles = bundles(&entries).unwrap();
        let paths: Vec<_> = bundles.iter().map(|bundle| bundle.path.as_str()).collect();
        assert_eq!(paths, ["tile/entries/000", "tile/entries/001.p/44"]);
        let again: Vec<_> = bundles
            .iter()
            .flat_map(|bundle| entries_of(&bundle.content).unwrap())
            .collect();
        assert_eq!(again, entries);
        let content = &bundles[1].content;
        for len in [1, 5, content.len() - 1] {
            assert!(entries_of(&content[..len]).is_err(), "{len}");
        }
        entries_of(&[0xff, 0xff]).unwrap_err();
        let many = vec![Vec::new(); 257];
        entries_of(&bundle(&many).unwrap()).unwrap_err();
        bundle(&[vec![0; 65_536]]).unwrap_err();
    }
}
