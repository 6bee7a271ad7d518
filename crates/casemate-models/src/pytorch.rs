//! What `torch.save` writes: a zip whose entries are stored, one of them the pickle `data.pkl`, the others the tensors' memory.

use std::{
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

use casemate_seal::ReadAt;
use zip::ZipArchive;

use crate::{Format, HEADER_BYTES_MAX, Model, ModelError, Tensor, pickle::scan_pickle};

const fn malformed(rule: &'static str) -> ModelError {
    ModelError::malformed(Format::PyTorch, rule)
}

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
pub(crate) fn read(source: &impl ReadAt) -> Result<Option<Model>, ModelError> {
    let len = source.byte_len()?;
    let reader = io::BufReader::with_capacity(1 << 16, Seeking { source, len, at: 0 });
    let mut archive =
        ZipArchive::new(reader).map_err(|_| malformed("the list of entries cannot be read"))?;
    let mut model = Model::new(Format::PyTorch);
    for number in 0..archive.len() {
        let entry = archive.by_index_raw(number);
        let mut entry = entry.map_err(|_| malformed("an entry cannot be read"))?;
        let name = entry.name().to_owned();
        let inside = name.split_once('/').map_or(name.as_str(), |(_, rest)| rest);
        let extension = Path::new(inside).extension();
        if extension.is_some_and(|extension| extension.eq_ignore_ascii_case("pkl")) {
            if entry.compressed_size() != entry.size() {
                return Err(malformed("the pickle is compressed"));
            }
            if entry.size() > HEADER_BYTES_MAX {
                return Err(ModelError::Limit("bytes in the pickle"));
            }
            let mut bytes = Vec::new();
            entry
                .by_ref()
                .take(HEADER_BYTES_MAX)
                .read_to_end(&mut bytes)?;
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
    Ok(if model.pickles.is_empty() {
        None
    } else {
        Some(model)
    })
}
