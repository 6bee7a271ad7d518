//! The format of `torch.save`: a zip with uncompressed entries, the pickle `data.pkl` and the
//! memory of the tensors. `torch.jit.save` adds code, which may be compressed, and constants.

use std::{
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

use casemate_seal::ReadAt;
use zip::{CompressionMethod, ZipArchive, read::ZipFile};

use crate::{
    ByteOrder, Format, HEADER_BYTES_MAX, Model, ModelError, TENSORS_MAX, Tensor,
    pickle::scan_pickle,
    torch_tensors::{Table, tensors_of_pickle},
};

const fn malformed(rule: &'static str) -> ModelError {
    ModelError::malformed(Format::PyTorch, rule)
}

/// A source with a position, as the zip reader requires.
struct Seeking<'s, S> {
    source: &'s S,
    len: u64,
    at: u64,
}

impl<S: ReadAt> Read for Seeking<'_, S> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = self.len.saturating_sub(self.at);
        let take = usize::try_from(left).unwrap_or(usize::MAX).min(out.len());
        let out = out.get_mut(..take).unwrap_or_default();
        self.source.read_exact_at(out, self.at)?;
        self.at = self.at.saturating_add(take as u64);
        Ok(take)
    }
}

impl<S: ReadAt> Seek for Seeking<'_, S> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// Reads an archive; returns `None` for any other zip.
///
/// Loaders differ in how they read an unusual zip. So a file that `torch.save` would not write is
/// refused: another loader might run content that this one does not see.
pub(crate) fn read(source: &impl ReadAt) -> Result<Option<Model>, ModelError> {
    let len = source.byte_len()?;
    let reader = io::BufReader::with_capacity(1 << 16, Seeking { source, len, at: 0 });
    let mut archive =
        ZipArchive::new(reader).map_err(|_| malformed("its central directory cannot be read"))?;
    let list = (archive.len() as u64, archive.central_directory_start());
    let mut found = Entries::new(len);
    if archive.offset() != 0 {
        found.break_rule("there are bytes before the zip");
    } else if list_of(source, len)? != list {
        found.break_rule("its end record and its central directory disagree");
    }
    for number in 0..archive.len() {
        let entry = archive.by_index_raw(number);
        found.add(entry.map_err(|_| malformed("an entry cannot be read"))?)?;
    }
    found.model()
}

/// The content of the entries of an archive.
struct Entries {
    /// Length of the file, in bytes.
    len: u64,
    model: Model,
    /// The first rule that an entry broke. Archives without a pickle may break any.
    broken: Option<&'static str>,
    /// Where the previous entry began.
    last: Option<u64>,
    stored: u64,
    pickled: u64,
    /// The tensors of the pickle with the weights.
    named: Option<Table>,
    weights: usize,
    /// The folder of the first entry, which is the only one that a loader reads.
    root: Option<String>,
    /// Whether it has the constants that only `torch.jit.save` writes.
    is_script: bool,
    has_compressed_code: bool,
}

impl Entries {
    const fn new(len: u64) -> Self {
        Self {
            len,
            model: Model::new(Format::PyTorch),
            broken: None,
            last: None,
            stored: 0,
            pickled: 0,
            named: None,
            weights: 0,
            root: None,
            is_script: false,
            has_compressed_code: false,
        }
    }

    fn break_rule(&mut self, rule: &'static str) {
        self.broken.get_or_insert(rule);
    }

    fn add(&mut self, mut entry: ZipFile<'_, impl Read>) -> Result<(), ModelError> {
        let name = entry.name().to_owned();
        // In order, so that reading all entries reads the file at most once, and no data belongs to
        // two.
        if self.last.is_some_and(|last| last >= entry.header_start()) {
            return Err(malformed("its entries are not in the order of their data"));
        }
        self.last = Some(entry.header_start());
        if entry.encrypted() {
            self.break_rule("an entry is encrypted");
        }
        if entry.name_raw() != name.as_bytes() || entry.extra_data().is_some_and(has_other_name) {
            self.break_rule("an entry has a second name");
        }
        self.stored = self.stored.saturating_add(entry.compressed_size());
        let (folder, inside) = name.split_once('/').unwrap_or(("", &name));
        let root = self.root.get_or_insert_with(|| folder.to_owned());
        let is_in_root = root == folder;
        let extension = Path::new(inside).extension();
        let is_pickle = extension.is_some_and(|found| found.eq_ignore_ascii_case("pkl"));
        let is_code = inside.starts_with("code/") && !is_pickle;
        let is_compressed = entry.compression() != CompressionMethod::Stored
            || entry.compressed_size() != entry.size();
        if is_compressed && is_code {
            self.has_compressed_code = true;
        } else if is_compressed {
            self.break_rule("an entry is compressed");
        }
        if is_pickle {
            let bytes = self.content(&mut entry)?;
            self.is_script |= is_in_root && inside == "constants.pkl";
            self.add_pickle(&name, &bytes)?;
        } else if is_code {
            if self.model.code.len() >= TENSORS_MAX {
                return Err(ModelError::Limit("entries"));
            }
            self.model.code.push(name);
        } else if let Some(number) = inside.strip_prefix("data/") {
            self.model.add(Tensor {
                name: number.to_owned(),
                dtype: "storage".to_owned(),
                shape: Vec::new(),
                bytes: Some(entry.size()),
            })?;
        } else if inside == "byteorder" && entry.size() < 16 && self.broken.is_none() {
            self.model.byte_order = match &*self.content(&mut entry)? {
                b"little" => Some(ByteOrder::Little),
                b"big" => Some(ByteOrder::Big),
                _ => None,
            };
        }
        Ok(())
    }

    /// Reads the bytes of an entry, if no rule was broken so far.
    fn content(&mut self, entry: &mut ZipFile<'_, impl Read>) -> Result<Vec<u8>, ModelError> {
        if let Some(rule) = self.broken {
            return Err(malformed(rule));
        }
        self.pickled = self.pickled.saturating_add(entry.size());
        // Overlapping entries would be read repeatedly.
        if self.pickled > HEADER_BYTES_MAX || self.stored > self.len {
            return Err(ModelError::Limit("bytes in pickles"));
        }
        let mut bytes = Vec::new();
        entry.take(self.pickled).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn add_pickle(&mut self, name: &str, bytes: &[u8]) -> Result<(), ModelError> {
        let inside = name.split_once('/').map_or(name, |(_, rest)| rest);
        // PyTorch ignores the case of the name.
        if inside.eq_ignore_ascii_case("data.pkl") {
            // With two, it is unclear which one a loader uses.
            self.named = if self.weights == 0 {
                tensors_of_pickle(bytes)
            } else {
                None
            };
            self.weights = self.weights.saturating_add(1);
        }
        let pickle = scan_pickle(&bytes)?;
        self.model.pickles.push((name.to_owned(), pickle));
        Ok(())
    }

    fn model(mut self) -> Result<Option<Model>, ModelError> {
        // Any other zip.
        if self.model.pickles.is_empty() {
            return Ok(None);
        }
        if self.has_compressed_code && !self.is_script {
            self.break_rule("an entry is compressed");
        }
        if self.stored > self.len {
            self.break_rule("entries overlap");
        }
        if let Some(rule) = self.broken {
            return Err(malformed(rule));
        }
        if self.is_script {
            self.model.format = Format::TorchScript;
            for (_, pickle) in &mut self.model.pickles {
                pickle.is_script = true;
            }
        }
        // If the pickle could not be followed, list the memory of the tensors instead.
        if let Some(named) = self.named.filter(|named| !named.tensors.is_empty()) {
            self.model.tensors = named.tensors;
            self.model.is_partial = named.is_partial;
        }
        Ok(Some(self.model))
    }
}

/// Returns whether an extra field gives another name (Info-ZIP's Unicode path, 0x7075).
fn has_other_name(extra: &[u8]) -> bool {
    let mut rest = extra;
    while let Some((&[a, b, c, d], after)) = rest.split_first_chunk() {
        if u16::from_le_bytes([a, b]) == 0x7075 {
            return true;
        }
        let len = usize::from(u16::from_le_bytes([c, d]));
        rest = after.get(len..).unwrap_or_default();
    }
    false
}

/// Length of the end record, in bytes (APPNOTE 4.3.14 to 4.3.16); then of the ZIP64 locator, and of
/// the part of the ZIP64 end record that is needed.
const END: usize = 22;
const LOCATOR: usize = 20;
const LARGE: usize = 56;

/// Returns the number of entries and the position of the central directory, from the end record at
/// the end of the file.
fn list_of(source: &impl ReadAt, len: u64) -> Result<(u64, u64), ModelError> {
    let cut = || malformed("it does not end with an end record");
    let at = len.checked_sub(END as u64).ok_or_else(cut)?;
    let mut end = [0; END];
    source.read_exact_at(&mut end, at)?;
    let [
        b'P',
        b'K',
        5,
        6,
        _,
        _,
        _,
        _,
        _,
        _,
        a,
        b,
        _,
        _,
        _,
        _,
        offset @ ..,
        0,
        0,
    ] = end
    else {
        return Err(cut());
    };
    let small = (
        u16::from_le_bytes([a, b]).into(),
        u32::from_le_bytes(offset).into(),
    );
    let Some(at) = at.checked_sub(LOCATOR as u64) else {
        return Ok(small);
    };
    let mut locator = [0; LOCATOR];
    source.read_exact_at(&mut locator, at)?;
    let [b'P', b'K', 6, 7, _, _, _, _, offset @ .., _, _, _, _] = locator else {
        return Ok(small);
    };
    let offset = u64::from_le_bytes(offset);
    if offset.checked_add(LARGE as u64).is_none_or(|to| to > len) {
        return Err(cut());
    }
    let mut large = [0; LARGE];
    source.read_exact_at(&mut large, offset)?;
    if !large.starts_with(b"PK\x06\x06") {
        return Err(cut());
    }
    let number = |at: usize| {
        let bytes = large.get(at..).and_then(|rest| rest.first_chunk());
        bytes.map_or(u64::MAX, |bytes| u64::from_le_bytes(*bytes))
    };
    Ok((number(32), number(48)))
}
