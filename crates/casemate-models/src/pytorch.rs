//! What `torch.save` writes: a zip whose entries are stored, one of them the pickle `data.pkl`, the others the tensors' memory.

use std::{
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

use casemate_seal::ReadAt;
use zip::{CompressionMethod, ZipArchive};

use crate::{
    Format, HEADER_BYTES_MAX, Model, ModelError, Tensor, pickle::scan_pickle,
    torch_tensors::tensors_of_pickle,
};

const fn malformed(rule: &'static str) -> ModelError {
    ModelError::malformed(Format::PyTorch, rule)
}

const UNUSUAL: ModelError = malformed("the zip is not as `torch.save` writes it");

/// A position over a source, as the zip reader wants it.
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

/// `None` for a zip that is nothing of the kind.
///
/// Loaders differ in what they take from an unusual zip, so a file that is not as `torch.save` writes it is refused: another loader might run
/// what this one does not see.
pub(crate) fn read(source: &impl ReadAt) -> Result<Option<Model>, ModelError> {
    let len = source.byte_len()?;
    let reader = io::BufReader::with_capacity(1 << 16, Seeking { source, len, at: 0 });
    let mut archive =
        ZipArchive::new(reader).map_err(|_| malformed("the list of entries cannot be read"))?;
    let mut model = Model::new(Format::PyTorch);
    let (mut stored, mut pickled) = (0_u64, 0_u64);
    let (mut named, mut weights) = (None, 0_usize);
    let mut last = None;
    let list = (archive.len() as u64, archive.central_directory_start());
    let mut unusual = archive.offset() != 0 || list_of(source, len)? != list;
    for number in 0..archive.len() {
        let entry = archive.by_index_raw(number);
        let mut entry = entry.map_err(|_| malformed("an entry cannot be read"))?;
        let name = entry.name().to_owned();
        // In order, so that reading them all is reading the file once at most, and none stands for two.
        if last.is_some_and(|last| last >= entry.header_start()) {
            return Err(UNUSUAL);
        }
        last = Some(entry.header_start());
        unusual |= entry.compression() != CompressionMethod::Stored
            || entry.encrypted()
            || entry.compressed_size() != entry.size()
            || entry.name_raw() != name.as_bytes()
            || entry.extra_data().is_some_and(has_other_name);
        stored = stored.saturating_add(entry.compressed_size());
        let inside = name.split_once('/').map_or(name.as_str(), |(_, rest)| rest);
        let extension = Path::new(inside).extension();
        if extension.is_some_and(|extension| extension.eq_ignore_ascii_case("pkl")) {
            if unusual {
                return Err(UNUSUAL);
            }
            pickled = pickled.saturating_add(entry.size());
            // Entries that overlap would be read again and again.
            if pickled > HEADER_BYTES_MAX || stored > len {
                return Err(ModelError::Limit("bytes in pickles"));
            }
            let mut bytes = Vec::new();
            entry.by_ref().take(pickled).read_to_end(&mut bytes)?;
            // PyTorch finds it in whatever case.
            if inside.eq_ignore_ascii_case("data.pkl") {
                // With two, nobody knows which one a loader takes.
                named = if weights == 0 {
                    tensors_of_pickle(&bytes)
                } else {
                    None
                };
                weights = weights.saturating_add(1);
            }
            model.pickles.push((name, scan_pickle(&bytes)?));
        } else if let Some(number) = inside.strip_prefix("data/") {
            let tensor = Tensor {
                name: number.to_owned(),
                dtype: "storage".to_owned(),
                shape: Vec::new(),
                bytes: Some(entry.size()),
            };
            model.add(tensor)?;
        }
    }
    // Any other zip, an archive of whatever.
    if model.pickles.is_empty() {
        return Ok(None);
    }
    if unusual || stored > len {
        return Err(UNUSUAL);
    }
    // Where the pickle could not be followed, the memory of the tensors is what can be said.
    if let Some(named) = named.filter(|named| !named.tensors.is_empty()) {
        model.tensors = named.tensors;
        model.is_partial = named.is_partial;
    }
    Ok(Some(model))
}

/// Whether an extra field gives another name (Info-ZIP's Unicode path, 0x7075).
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

/// Bytes of the end record, of the locator of its larger form, and of as much of that form as is needed (APPNOTE 4.3.14 to 4.3.16).
const END: usize = 22;
const LOCATOR: usize = 20;
const LARGE: usize = 56;

/// How many entries the end record at the very end of the file counts, and where it says their list is.
fn list_of(source: &impl ReadAt, len: u64) -> Result<(u64, u64), ModelError> {
    let cut = || malformed("it does not end in an end record");
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
