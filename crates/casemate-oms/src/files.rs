//! Listing and hashing a model (`spec/model-signature.md`, sections 3 and 4).

use std::{
    fs::{self, File},
    io,
    num::NonZero,
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use crate::{
    OmsError, Progress,
    hash::Hash,
    statement::{RESOURCES_MAX, Resource, Serialization},
};

/// Bytes that are read at once.
const BLOCK: usize = 1 << 20;

/// The files of a model.
pub(crate) struct Scope(Vec<Found>);

struct Found {
    /// Below the model; `.` if it is one file.
    name: String,
    location: PathBuf,
    len: u64,
}

/// A file, or a range of one.
struct Item<'a> {
    name: String,
    location: &'a Path,
    range: Range<u64>,
    /// Length of the whole file when it was listed.
    file_len: u64,
}

/// The model's name: its last part, as it is on disk.
pub(crate) fn name_of(path: &Path) -> Result<String, OmsError> {
    let whole = fs::canonicalize(path).map_err(OmsError::io(path))?;
    let name = whole.file_name().unwrap_or_default();
    let name = name.to_str().map(str::to_owned);
    name.ok_or(OmsError::NotUtf8(whole))
}

impl Scope {
    /// Lists the model at `root` without what the serialization leaves out.
    pub(crate) fn new(root: &Path, serialization: &Serialization) -> Result<Self, OmsError> {
        let mut found = Vec::new();
        let mut open = vec![String::new()];
        while let Some(below) = open.pop() {
            let location = if below.is_empty() {
                root.to_owned()
            } else {
                root.join(&below)
            };
            if !below.is_empty() && is_ignored(&below, &serialization.ignore_paths) {
                continue;
            }
            let link = fs::symlink_metadata(&location).map_err(OmsError::io(&location))?;
            // The model itself may be one: whoever names it means what it leads to.
            let is_link = link.is_symlink() && !below.is_empty();
            if is_link && !serialization.allow_symlinks {
                return Err(OmsError::Link(location));
            }
            let metadata = fs::metadata(&location).map_err(OmsError::io(&location))?;
            if metadata.is_file() {
                let name = if below.is_empty() {
                    ".".to_owned()
                } else {
                    below
                };
                let len = metadata.len();
                found.push(Found {
                    name,
                    location,
                    len,
                });
            } else if metadata.is_dir() && !is_link {
                list(&location, &below, &mut open)?;
            } else if is_link {
                // Other tools pass over a link to a folder, so that what is in it would be loaded and was never signed.
                return Err(OmsError::Link(location));
            } else {
                return Err(OmsError::Special(location));
            }
        }
        Ok(Self(found))
    }

    /// Hashes everything, on all cores, in ascending order of the names.
    pub(crate) fn resources(
        &self,
        serialization: &Serialization,
        progress: Progress<'_>,
    ) -> Result<Vec<Resource>, OmsError> {
        let (hash, shard) = (serialization.hash()?, serialization.shard()?);
        let count = |file: &Found| shard.map_or(1, |size| file.len.div_ceil(size.max(1)));
        let actual = self
            .0
            .iter()
            .fold(0_u64, |sum, file| sum.saturating_add(count(file)));
        if actual > RESOURCES_MAX as u64 {
            return Err(OmsError::Limit {
                what: "number of resources",
                actual,
                limit: RESOURCES_MAX as u64,
            });
        }
        let items: Vec<_> = self.0.iter().flat_map(|file| file.items(shard)).collect();
        let digests: Vec<_> = items.iter().map(|_| Mutex::new(String::new())).collect();
        let next = AtomicUsize::new(0);
        let failed = Mutex::new(None);
        let work = || {
            let mut buffer = vec![0; BLOCK];
            while failed.lock().is_ok_and(|failed| failed.is_none()) {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let (Some(item), Some(slot)) = (items.get(at), digests.get(at)) else {
                    return;
                };
                match (item.digest(hash, &mut buffer, progress), slot.lock()) {
                    (Ok(digest), Ok(mut slot)) => *slot = digest,
                    (Err(error), _) => {
                        if let Ok(mut first) = failed.lock() {
                            first.get_or_insert(error);
                        }
                    }
                    (Ok(_), Err(_)) => return,
                }
            }
        };
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let threads = threads.min(items.len());
        thread::scope(|scope| (0..threads).for_each(|_| _ = scope.spawn(work)));
        if let Some(error) = failed.into_inner().ok().flatten() {
            return Err(error);
        }
        let digests = digests
            .into_iter()
            .map(|slot| slot.into_inner().unwrap_or_default());
        let mut resources: Vec<_> = items
            .iter()
            .zip(digests)
            .map(|(item, digest)| Resource {
                name: item.name.clone(),
                algorithm: hash.name().to_owned(),
                digest,
            })
            .collect();
        resources.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(resources)
    }
}

impl Found {
    fn items(&self, shard: Option<u64>) -> Vec<Item<'_>> {
        let item = |name, range| Item {
            name,
            location: &self.location,
            range,
            file_len: self.len,
        };
        let Some(size) = shard else {
            return vec![item(self.name.clone(), 0..self.len)];
        };
        let count = self.len.div_ceil(size.max(1));
        (0..count)
            .map(|number| {
                let start = number.saturating_mul(size);
                let end = start.saturating_add(size).min(self.len);
                item(format!("{}:{start}:{end}", self.name), start..end)
            })
            .collect()
    }
}

impl Item<'_> {
    fn digest(
        &self,
        hash: Hash,
        buffer: &mut [u8],
        progress: Progress<'_>,
    ) -> Result<String, OmsError> {
        let file = File::open(self.location).map_err(OmsError::io(self.location))?;
        let mut hasher = hash.start();
        let mut at = self.range.start;
        while at < self.range.end {
            let rest = self.range.end.saturating_sub(at);
            let len = usize::try_from(rest)
                .unwrap_or(usize::MAX)
                .min(buffer.len());
            let part = buffer.get_mut(..len).unwrap_or_default();
            file.read_exact_at(part, at)
                .map_err(OmsError::io(self.location))?;
            hasher.update(part);
            progress(len as u64);
            at = at.saturating_add(len as u64);
        }
        // A file that grew while it was read would be signed, or pass, cut short.
        let now = file.metadata().map_err(OmsError::io(self.location))?.len();
        if now != self.file_len {
            let changed = io::Error::other("its length changed while it was read");
            return Err(OmsError::io(self.location)(changed));
        }
        Ok(hasher.finish())
    }
}

fn list(folder: &Path, below: &str, open: &mut Vec<String>) -> Result<(), OmsError> {
    for entry in fs::read_dir(folder).map_err(OmsError::io(folder))? {
        let entry = entry.map_err(OmsError::io(folder))?;
        let name = entry.file_name();
        let name = name
            .to_str()
            .ok_or_else(|| OmsError::NotUtf8(entry.path()))?;
        open.push(if below.is_empty() {
            name.to_owned()
        } else {
            format!("{below}/{name}")
        });
    }
    Ok(())
}

/// Whether a path is one that is left out, or lies below one.
fn is_ignored(path: &str, ignored: &[String]) -> bool {
    ignored.iter().any(|left_out| {
        let rest = path.strip_prefix(left_out.trim_start_matches("./"));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}
