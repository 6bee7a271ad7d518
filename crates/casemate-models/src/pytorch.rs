//! The format of `torch.save`: a zip with uncompressed entries, the pickle `data.pkl` and the
//! memory of the tensors. `torch.jit.save` adds code, which may be compressed, and constants.

use std::{
    collections::HashSet,
    io::{self, Read as _},
    path::Path,
};

use casemate_seal::ReadAt;
use rawzip::{
    CompressionMethod, MAX_CENTRAL_DIRECTORY_RECORD_SIZE, ReaderAt, ZipArchive,
    ZipArchiveEntryWayfinder, ZipFileHeaderRecord, ZipLocator, extra_fields::ExtraFieldId,
};

use crate::{
    ByteOrder, Format, HEADER_BYTES_MAX, Model, ModelError, TENSORS_MAX, Tensor,
    pickle::scan_pickle,
    torch_tensors::{Table, tensors_of_pickle},
};

const fn malformed(rule: &'static str) -> ModelError {
    ModelError::malformed(Format::PyTorch, rule)
}

/// Most entries of an archive. `torch.save` writes a handful beside the tensors' memory.
const ENTRIES_MAX: u64 = 2 * TENSORS_MAX as u64;
/// The flag of an entry whose name is UTF-8 (APPNOTE 4.4.4).
const UTF8: u16 = 0x0800;

const DISAGREE: &str = "its end record and its central directory disagree";

/// A source as the zip reader requires it.
struct Source<'s, S> {
    source: &'s S,
    len: u64,
}

impl<S: ReadAt> ReaderAt for Source<'_, S> {
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let left = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let take = left.min(out.len());
        let out = out.get_mut(..take).unwrap_or_default();
        self.source.read_exact_at(out, offset)?;
        Ok(take)
    }
}

/// Reads an archive; returns `None` for any other zip.
///
/// Loaders differ in how they read an unusual zip. So a file that `torch.save` would not write is
/// refused: another loader might run content that this one does not see.
pub(crate) fn read(source: &impl ReadAt) -> Result<Option<Model>, ModelError> {
    let len = source.byte_len()?;
    let list = list_of(source, len)?;
    if list.entries > ENTRIES_MAX || list.len > HEADER_BYTES_MAX {
        return Err(ModelError::Limit("entries"));
    }
    let mut buffer = vec![0; MAX_CENTRAL_DIRECTORY_RECORD_SIZE];
    let located = ZipLocator::new().locate_in_reader(Source { source, len }, &mut buffer, len);
    let archive = located.map_err(|_| malformed("its central directory cannot be read"))?;
    let mut found = Entries::new(len);
    // Readers find the directory by its offset or by its length from the end.
    match list.offset.checked_add(list.len) {
        Some(end) if end < list.end => found.break_rule("there are bytes before the zip"),
        Some(end) if end == list.end => (),
        _ => found.break_rule(DISAGREE),
    }
    let mut count = 0_u64;
    let mut entries = archive.entries(&mut buffer);
    while let Some(entry) = entries
        .next_entry()
        .map_err(|_| malformed("its central directory cannot be read"))?
    {
        count = count.saturating_add(1);
        if count > ENTRIES_MAX {
            return Err(ModelError::Limit("entries"));
        }
        found.add(&Entry::of(&entry), &archive)?;
    }
    if (count, archive.directory_offset()) != (list.entries, list.offset) {
        found.break_rule(DISAGREE);
    }
    found.model()
}

/// An entry, as the central directory describes it.
struct Entry {
    /// Whether all readers take the same name from it.
    is_clear: bool,
    raw_name: Vec<u8>,
    header_start: u64,
    stored_len: u64,
    len: u64,
    is_encrypted: bool,
    is_stored: bool,
    place: ZipArchiveEntryWayfinder,
}

impl Entry {
    fn of(entry: &ZipFileHeaderRecord<'_>) -> Self {
        let raw_name = entry.file_path().as_ref().to_vec();
        let is_clear = raw_name.is_ascii() || entry.flags().bits() & UTF8 != 0;
        let mut extra = entry.extra_fields();
        let has_other = extra.any(|(id, _)| id == ExtraFieldId::INFO_ZIP_UNICODE_PATH);
        Self {
            is_clear: is_clear && !has_other && str::from_utf8(&raw_name).is_ok(),
            raw_name,
            header_start: entry.local_header_offset(),
            stored_len: entry.compressed_size_hint(),
            len: entry.uncompressed_size_hint(),
            is_encrypted: entry.flags().is_encrypted(),
            is_stored: entry.compression_method() == CompressionMethod::STORE,
            place: entry.wayfinder(),
        }
    }
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
    names: HashSet<Vec<u8>>,
    /// Room for a local header.
    local: Vec<u8>,
}

impl Entries {
    fn new(len: u64) -> Self {
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
            names: HashSet::new(),
            local: Vec::new(),
        }
    }

    fn break_rule(&mut self, rule: &'static str) {
        self.broken.get_or_insert(rule);
    }

    fn add(
        &mut self,
        entry: &Entry,
        archive: &ZipArchive<impl ReaderAt>,
    ) -> Result<(), ModelError> {
        // In order, so that reading all entries reads the file at most once, and no data belongs to
        // two.
        if self.last.is_some_and(|last| last >= entry.header_start) {
            return Err(malformed("its entries are not in the order of their data"));
        }
        self.last = Some(entry.header_start);
        if entry.is_encrypted {
            self.break_rule("an entry is encrypted");
        }
        if !entry.is_clear {
            self.break_rule("an entry has a second name");
        }
        if !self.names.insert(entry.raw_name.clone()) {
            self.break_rule("two entries have the same name");
        }
        self.stored = self.stored.saturating_add(entry.stored_len);
        let name = String::from_utf8_lossy(&entry.raw_name).into_owned();
        let (folder, inside) = name.split_once('/').unwrap_or(("", &name));
        let root = self.root.get_or_insert_with(|| folder.to_owned());
        let is_in_root = root == folder;
        let extension = Path::new(inside).extension();
        let is_pickle = extension.is_some_and(|found| found.eq_ignore_ascii_case("pkl"));
        let is_code = inside.starts_with("code/") && !is_pickle;
        let is_compressed = !entry.is_stored || entry.stored_len != entry.len;
        if is_compressed && is_code {
            self.has_compressed_code = true;
        } else if is_compressed {
            self.break_rule("an entry is compressed");
        }
        if is_pickle {
            let bytes = self.content(entry, archive)?;
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
                bytes: Some(entry.len),
            })?;
        } else if inside == "byteorder" && entry.len < 16 && self.broken.is_none() {
            self.model.byte_order = match &*self.content(entry, archive)? {
                b"little" => Some(ByteOrder::Little),
                b"big" => Some(ByteOrder::Big),
                _ => None,
            };
        }
        Ok(())
    }

    /// Reads the bytes of an entry, if no rule was broken so far.
    fn content(
        &mut self,
        entry: &Entry,
        archive: &ZipArchive<impl ReaderAt>,
    ) -> Result<Vec<u8>, ModelError> {
        if let Some(rule) = self.broken {
            return Err(malformed(rule));
        }
        self.pickled = self.pickled.saturating_add(entry.len);
        // Overlapping entries would be read repeatedly.
        if self.pickled > HEADER_BYTES_MAX || self.stored > self.len {
            return Err(ModelError::Limit("bytes in pickles"));
        }
        let unreadable = |_| malformed("an entry cannot be read");
        let found = archive.get_entry(entry.place).map_err(unreadable)?;
        if self.local.is_empty() {
            self.local = vec![0; usize::from(u16::MAX).saturating_mul(2)];
        }
        let local = found.local_header(&mut self.local).map_err(unreadable)?;
        if local.file_path().as_ref() != entry.raw_name {
            return Err(malformed("an entry has a second name"));
        }
        let mut bytes = Vec::new();
        // The reader checks length and checksum at the end.
        // PyTorch ignores checksums, and can be told to write none.
        found
            .reader()
            .take(entry.len.saturating_add(1))
            .read_to_end(&mut bytes)?;
        if bytes.len() as u64 != entry.len {
            return Err(malformed("an entry is longer or shorter than it says"));
        }
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
        if self.model.pickles.len() >= TENSORS_MAX {
            return Err(ModelError::Limit("entries"));
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

/// Length of the end record, in bytes (APPNOTE 4.3.14 to 4.3.16); then of the ZIP64 locator, and of
/// the part of the ZIP64 end record that is needed.
const END: usize = 22;
const LOCATOR: usize = 20;
const LARGE: usize = 56;

/// The central directory, as the end record describes it.
struct List {
    entries: u64,
    offset: u64,
    len: u64,
    /// Where the records begin that must follow it.
    end: u64,
}

/// Reads the end record, which must be the last bytes of the file.
fn list_of(source: &impl ReadAt, file_len: u64) -> Result<List, ModelError> {
    let cut = || malformed("it does not end with an end record");
    let at = file_len.checked_sub(END as u64).ok_or_else(cut)?;
    let mut record = [0; END];
    source.read_exact_at(&mut record, at)?;
    if !record.starts_with(b"PK\x05\x06") || !record.ends_with(&[0, 0]) {
        return Err(cut());
    }
    let short = |at: usize| u64::from(u16::from_le_bytes(array(&record, at)));
    let word = |at: usize| u64::from(u32::from_le_bytes(array(&record, at)));
    let small = List {
        entries: short(10),
        len: word(12),
        offset: word(16),
        end: at,
    };
    let Some(at) = at.checked_sub(LOCATOR as u64) else {
        return Ok(small);
    };
    let mut locator = [0; LOCATOR];
    source.read_exact_at(&mut locator, at)?;
    if !locator.starts_with(b"PK\x06\x07") {
        return Ok(small);
    }
    let end = u64::from_le_bytes(array(&locator, 8));
    if end.checked_add(LARGE as u64).is_none_or(|to| to > file_len) {
        return Err(cut());
    }
    let mut large = [0; LARGE];
    source.read_exact_at(&mut large, end)?;
    if !large.starts_with(b"PK\x06\x06") {
        return Err(cut());
    }
    let number = |at: usize| u64::from_le_bytes(array(&large, at));
    Ok(List {
        entries: number(32),
        len: number(40),
        offset: number(48),
        end,
    })
}

/// Returns the bytes of a field at a fixed position in a record.
fn array<const N: usize>(record: &[u8], at: usize) -> [u8; N] {
    let field = record.get(at..).and_then(|rest| rest.first_chunk());
    field.copied().unwrap_or([0xff; N])
}
