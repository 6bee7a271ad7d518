//! Listing and hashing a model (`spec/model-signature.md`, sections 3 and 4).

use std::{
    collections::{BTreeSet, HashSet},
    fs::{self, File},
    io,
    ops::Range,
    os::{fd::OwnedFd, unix::fs::FileExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use casemate_beneath::open_folder;
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};

use crate::{
    OmsError, Progress, Step,
    hash::Hash,
    segments::{Hashing, Layout},
    statement::{RESOURCES_MAX, Resource, Serialization},
};

/// Number of bytes read at once.
const BLOCK: usize = 2 << 20;
/// Most folder entries waiting to be visited.
const ENTRIES_MAX: usize = 2 * RESOURCES_MAX;

/// The files of a model.
pub(crate) struct Scope {
    files: Vec<Found>,
    root: Arc<Root>,
}

/// The location of a model.
pub(crate) struct Root {
    path: PathBuf,
    /// The open folder, if the model is a folder and links are refused.
    folder: Option<OwnedFd>,
}

impl Root {
    fn new(path: &Path, allow_links: bool) -> Result<Self, OmsError> {
        let folder = (path.is_dir() && !allow_links).then(|| open_folder(path));
        Ok(Self {
            path: path.to_owned(),
            folder: folder.transpose().map_err(OmsError::io(path))?,
        })
    }

    /// Opens the regular file with this name. If something else has replaced it since it was
    /// listed, does not block on it and, where links are refused, does not follow it.
    pub(crate) fn open(&self, name: &str) -> Result<File, OmsError> {
        let location = self.location(name);
        let failed = |error| OmsError::io(self.location(name))(error);
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = match &self.folder {
            Some(folder) => casemate_beneath::open(folder, Path::new(name), flags, Mode::empty()),
            None => rustix::fs::open(&location, flags, Mode::empty()).map_err(io::Error::from),
        };
        let file = match opened {
            Ok(file) => File::from(file),
            Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
                return Err(OmsError::Link(location));
            }
            Err(error) => return Err(failed(error)),
        };
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_file() {
            return Ok(file);
        }
        Err(OmsError::Special(location))
    }

    /// Returns the location of a file, for messages.
    pub(crate) fn location(&self, name: &str) -> PathBuf {
        if name == "." {
            return self.path.clone();
        }
        self.path.join(name)
    }
}

#[derive(Clone)]
pub(crate) struct Found {
    /// Path relative to the model; `.` if the model is one file.
    pub(crate) name: String,
    /// Length when it was listed, in bytes.
    pub(crate) len: u64,
}

/// Returns the layout of a file's segment table, if it gets one.
pub(crate) type Tables<'a> = &'a (dyn Fn(&Found) -> Option<Layout> + Sync);

/// A file, or a range of one.
struct Item<'a> {
    name: String,
    file: &'a Found,
    root: &'a Root,
    range: Range<u64>,
    table: Option<Layout>,
}

/// Returns the model's name: the last component of its path, as on disk.
pub(crate) fn name_of(path: &Path) -> Result<String, OmsError> {
    let whole = fs::canonicalize(path).map_err(OmsError::io(path))?;
    let name = whole
        .file_name()
        .unwrap_or_default()
        .to_str()
        .map(str::to_owned);
    name.ok_or(OmsError::NotUtf8(whole))
}

/// Unsigned files that a verifier skips: those below these paths.
#[derive(Default)]
pub(crate) struct PassedOver<'a> {
    pub(crate) ignored: Ignored,
    pub(crate) signed: BTreeSet<&'a str>,
}

impl PassedOver<'_> {
    fn has(&self, path: &str) -> bool {
        self.ignored.has(path) && !self.is_signed(path)
    }

    /// Returns whether `path` or anything below it was signed.
    fn is_signed(&self, path: &str) -> bool {
        let below = format!("{path}/");
        let mut from = self.signed.range(below.as_str()..);
        self.signed.contains(path) || from.next().is_some_and(|name| name.starts_with(&below))
    }
}

impl Scope {
    /// Lists the model at `root`, without the paths that the serialization ignores and those that
    /// are skipped.
    pub(crate) fn new(
        root: &Path,
        serialization: &Serialization,
        passed_over: &PassedOver<'_>,
    ) -> Result<Self, OmsError> {
        let left_out = Ignored::new(&serialization.ignore_paths);
        let mut found = Vec::new();
        let mut open = vec![String::new()];
        while let Some(below) = open.pop() {
            let location = if below.is_empty() {
                root.to_owned()
            } else {
                root.join(&below)
            };
            if !below.is_empty() && (left_out.has(&below) || passed_over.has(&below)) {
                continue;
            }
            let link = fs::symlink_metadata(&location).map_err(OmsError::io(&location))?;
            // The model itself may be a link: the user means its target.
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
                found.push(Found { name, len });
                check_count("number of files", found.len(), RESOURCES_MAX)?;
            } else if metadata.is_dir() && !is_link {
                list(&location, &below, &mut open)?;
            } else if is_link {
                // Other tools skip a link to a folder, so its files would be loaded without being
                // signed.
                return Err(OmsError::FolderLink(location));
            } else {
                return Err(OmsError::Special(location));
            }
        }
        let root = Arc::new(Root::new(root, serialization.allow_symlinks)?);
        Ok(Self { files: found, root })
    }

    pub(crate) const fn root(&self) -> &Arc<Root> {
        &self.root
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = &Found> + Clone {
        self.files.iter()
    }

    /// Hashes everything on all cores, and returns it in ascending order of the names.
    pub(crate) fn resources(
        &self,
        serialization: &Serialization,
        tables: Tables<'_>,
        progress: Progress<'_>,
    ) -> Result<Vec<Resource>, OmsError> {
        let (hash, shard) = (serialization.hash()?, serialization.shard()?);
        let count = |file: &Found| shard.map_or(1, |size| file.len.div_ceil(size.max(1)));
        let actual = self
            .files()
            .fold(0_u64, |sum, file| sum.saturating_add(count(file)));
        if actual > RESOURCES_MAX as u64 {
            return Err(OmsError::Limit {
                what: "number of resources",
                actual,
                limit: RESOURCES_MAX as u64,
            });
        }
        let items: Vec<_> = self
            .files()
            .flat_map(|file| file.items(&self.root, shard, tables(file)))
            .collect();
        let lens = self.files.iter().map(|file| file.len);
        progress(Step::Total(lens.fold(0, u64::saturating_add)));
        let resources = Mutex::new(Vec::with_capacity(items.len()));
        // With only one file, compute both of its hashes in parallel.
        let is_alone = items.len() < casemate_parallel::cores();
        casemate_parallel::for_each(
            items.len() as u64,
            || vec![0; BLOCK],
            |buffer, number| {
                let item = usize::try_from(number).ok().and_then(|n| items.get(n));
                let hashed = item.map(|item| item.hash(hash, buffer, is_alone, progress));
                let mut all = resources.lock().unwrap_or_else(PoisonError::into_inner);
                all.extend(hashed.transpose()?);
                Ok::<_, OmsError>(())
            },
        )?;
        let mut resources = resources
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        resources.sort_by(|a: &Resource, b| a.name.cmp(&b.name));
        Ok(resources)
    }
}

impl Found {
    fn items<'a>(
        &'a self,
        root: &'a Root,
        shard: Option<u64>,
        table: Option<Layout>,
    ) -> Vec<Item<'a>> {
        let item = |name, range| Item {
            name,
            file: self,
            root,
            range,
            table,
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
    fn hash(
        &self,
        hash: Hash,
        buffer: &mut [u8],
        is_alone: bool,
        progress: Progress<'_>,
    ) -> Result<Resource, OmsError> {
        let file = self.root.open(&self.file.name)?;
        let location = self.root.location(&self.file.name);
        let failed = |error| OmsError::io(&location)(error);
        let mut hasher = hash.start();
        let mut table = self
            .table
            .map(|layout| Hashing::start(self.file.len, layout));
        let mut at = self.range.start;
        while at < self.range.end {
            let rest = self.range.end.saturating_sub(at);
            let len = usize::try_from(rest)
                .unwrap_or(usize::MAX)
                .min(buffer.len());
            let part = buffer.get_mut(..len).unwrap_or_default();
            file.read_exact_at(part, at).map_err(failed)?;
            // Hash the same bytes for both, so that both are right or both are wrong.
            match &mut table {
                Some(table) if is_alone => {
                    casemate_parallel::both(|| table.update(part), || hasher.update(part));
                }
                Some(table) => {
                    table.update(part);
                    hasher.update(part);
                }
                None => hasher.update(part),
            }
            progress(Step::Hashed(len as u64));
            at = at.saturating_add(len as u64);
        }
        if !ends_at(&file, self.file.len).map_err(failed)? {
            return Err(failed(io::Error::other(
                "its length changed while it was being read",
            )));
        }
        let (digest, segments) = (hasher.finish(), table.map(Hashing::finish));
        Ok(Resource::new(self.name.clone(), hash, &digest, segments))
    }
}

/// Returns whether a file ends at `len` bytes. Some files grow during reading, and some system
/// files report a length of zero.
pub(crate) fn ends_at(file: &File, len: u64) -> io::Result<bool> {
    let more = file.read_at(&mut [0], len)?;
    Ok(more == 0 && file.metadata()?.len() == len)
}

fn check_count(what: &'static str, actual: usize, limit: usize) -> Result<(), OmsError> {
    if actual <= limit {
        return Ok(());
    }
    Err(OmsError::Limit {
        what,
        actual: actual as u64,
        limit: limit as u64,
    })
}

fn list(folder: &Path, below: &str, open: &mut Vec<String>) -> Result<(), OmsError> {
    for entry in fs::read_dir(folder).map_err(OmsError::io(folder))? {
        let entry = entry.map_err(OmsError::io(folder))?;
        let file_name = entry.file_name();
        let name = file_name
            .to_str()
            .ok_or_else(|| OmsError::NotUtf8(entry.path()))?;
        open.push(if below.is_empty() {
            name.to_owned()
        } else {
            format!("{below}/{name}")
        });
        check_count("number of files and folders", open.len(), ENTRIES_MAX)?;
    }
    Ok(())
}

/// Paths that are ignored, with everything below them.
#[derive(Default)]
pub(crate) struct Ignored(HashSet<String>);

impl Ignored {
    /// Creates the set, without leading `./` and trailing `/`. Paths outside the model match
    /// nothing.
    pub(crate) fn new(paths: &[String]) -> Self {
        Self(paths.iter().filter_map(|path| below(path)).collect())
    }

    fn has(&self, path: &str) -> bool {
        let ends = path.match_indices('/').map(|(at, _)| at);
        let mut prefixes = ends.chain([path.len()]).filter_map(|end| path.get(..end));
        prefixes.any(|prefix| self.0.contains(prefix))
    }
}

/// Normalises a path inside the model to the form of names in a statement; returns `None` if it is
/// not inside.
pub(crate) fn below(path: &str) -> Option<String> {
    let mut path = path;
    while let Some(rest) = path.strip_prefix("./") {
        path = rest;
    }
    let path = path.trim_end_matches('/');
    let is_plain = |part: &str| !matches!(part, "" | "." | "..");
    path.split('/').all(is_plain).then(|| path.to_owned())
}
