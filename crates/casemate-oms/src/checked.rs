//! Reading a signed model in parts (`spec/model-signature.md`, section 5).

use std::{
    fmt,
    fs::File,
    io,
    ops::Deref,
    os::unix::fs::FileExt as _,
    sync::{Arc, Mutex},
};

use casemate_memory::Buffer;
use casemate_parallel::Piece;

use crate::{
    OmsError,
    files::{Found, Root, Scope, ends_at},
    hash::Hash,
    segments::Segments,
    statement::{Resource, Statement, shown},
};

/// Maximum length of a file without a segment table, in bytes; all of it is hashed before any of it
/// is returned.
const WHOLE_BYTES_MAX: u64 = 64 << 20;
/// Number of bytes that are read and hashed at once.
const PIECE: usize = 128 << 10;

/// A signed model whose file names were compared, and whose content is verified as it is read.
pub struct SignedModel {
    name: String,
    ignored: Vec<String>,
    files: Vec<SignedFile>,
}

/// A file of a signed model.
#[derive(Clone)]
pub struct SignedFile {
    /// Path relative to the model; `.` if the model is one file.
    name: String,
    root: Arc<Root>,
    segments: Arc<Segments>,
    /// Whether the file has no segment table; the digest then covers all of it, and its length is
    /// not signed.
    is_whole: bool,
}

impl SignedModel {
    pub(crate) fn new(scope: &Scope, statement: Statement) -> Result<Self, OmsError> {
        let name = statement.name().to_owned();
        let hash = statement.predicate.serialization.hash()?;
        if statement.predicate.serialization.shard()?.is_some() {
            let why = "it is signed in shards";
            return Err(OmsError::NotByParts("the model".to_owned(), why));
        }
        let mut found: Vec<_> = scope.files().cloned().collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        let mut resources = statement.predicate.resources;
        resources.sort_by(|a, b| a.name.cmp(&b.name));
        let mut files = Vec::with_capacity(found.len());
        let mut found = found.into_iter();
        for resource in resources {
            let file = match found.next() {
                Some(file) if file.name == resource.name => file,
                // Both are sorted, so a file that is skipped on one side is not on the other.
                Some(file) if file.name < resource.name => {
                    return Err(OmsError::Extra(shown(&file.name)));
                }
                _ => return Err(OmsError::Missing(shown(&resource.name))),
            };
            files.push(SignedFile::new(scope.root(), file, resource, hash)?);
        }
        if let Some(file) = found.next() {
            return Err(OmsError::Extra(shown(&file.name)));
        }
        Ok(Self {
            name,
            ignored: statement.predicate.serialization.ignore_paths,
            files,
        })
    }

    /// Returns the model's name, as given by its publisher; never use it as a path.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the paths that the publisher ignored.
    pub fn ignored(&self) -> &[String] {
        &self.ignored
    }

    /// Returns the files, in ascending order of their names.
    pub fn files(&self) -> &[SignedFile] {
        &self.files
    }

    /// Returns the file with this name.
    pub fn find(&self, name: &str) -> Option<&SignedFile> {
        let at = self
            .files
            .binary_search_by(|file| file.name.as_str().cmp(name));
        at.ok().and_then(|at| self.files.get(at))
    }
}

impl SignedFile {
    fn new(
        root: &Arc<Root>,
        found: Found,
        resource: Resource,
        hash: Hash,
    ) -> Result<Self, OmsError> {
        let is_whole = resource.segments.is_none();
        let segments = match resource.segments {
            Some(table) if table.file_len == found.len => table,
            Some(_) => return Err(OmsError::Changed(shown(&found.name))),
            None if found.len <= WHOLE_BYTES_MAX => {
                let digest = hex::decode(&resource.digest)
                    .map_err(|_| OmsError::Statement("a digest is not hex"))?;
                Segments::whole(found.len, hash, digest)
            }
            None => {
                let why = "it has no segment table and is longer than 64 MiB";
                return Err(OmsError::NotByParts(shown(&found.name), why));
            }
        };
        Ok(Self {
            name: found.name,
            root: Arc::clone(root),
            segments: Arc::new(segments),
            is_whole,
        })
    }

    /// Returns the path relative to the model, with `/` between components; `.` if the model is one
    /// file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the length in bytes. For a file without a segment table it is the length found,
    /// which [`Self::open`] verifies.
    pub fn content_len(&self) -> u64 {
        self.segments.file_len
    }

    /// Opens the file. A file without a segment table is read and hashed entirely, because only its
    /// digest fixes its length.
    ///
    /// # Errors
    ///
    /// [`OmsError::Io`], [`OmsError::Link`], [`OmsError::Special`], or [`OmsError::Changed`] if its
    /// length is not the signed one.
    pub fn open(&self) -> Result<CheckedFile, OmsError> {
        let mut opened = CheckedFile {
            name: self.name.clone(),
            root: Arc::clone(&self.root),
            segments: Arc::clone(&self.segments),
            file: self.root.open(&self.name)?,
            recent: Mutex::default(),
        };
        let fits = ends_at(&opened.file, self.content_len());
        if !fits.map_err(OmsError::io(self.root.location(&self.name)))? {
            return Err(opened.changed());
        }
        if self.is_whole {
            opened.recent = Mutex::new(Some((0, opened.read_segment(0)?)));
        }
        Ok(opened)
    }
}

/// An open file of a signed model. Everything it returns was hashed in private memory and matches
/// what the publisher signed.
pub struct CheckedFile {
    name: String,
    root: Arc<Root>,
    segments: Arc<Segments>,
    file: File,
    /// The segment used by the last read within one; the next read often needs it too.
    recent: Mutex<Option<(u64, CheckedSegment)>>,
}

impl CheckedFile {
    /// Returns the length, in bytes.
    pub fn content_len(&self) -> u64 {
        self.segments.file_len
    }

    /// Returns the number of bytes per segment; the last may have fewer.
    pub fn segment_bytes(&self) -> u64 {
        self.segments.layout.segment_len
    }

    /// Returns the index of the segment that holds the byte at `offset`.
    pub fn segment_at(&self, offset: u64) -> u64 {
        offset.checked_div(self.segment_bytes()).unwrap_or(0)
    }

    /// Disables the cached segment, for callers that cache segments themselves.
    #[must_use]
    pub fn without_recent(mut self) -> Self {
        self.recent = Mutex::default();
        self
    }

    fn changed(&self) -> OmsError {
        OmsError::Changed(shown(&self.name))
    }

    /// Reads a segment into `out`, which must have its length, and verifies it there.
    fn load(&self, index: u64, out: &mut [u8]) -> Result<(), OmsError> {
        let mut at = index.saturating_mul(self.segment_bytes());
        let mut hasher = self.segments.layout.hash.start();
        // Piece by piece, so that each is hashed while it is in the processor's cache.
        for piece in out.chunks_mut(PIECE) {
            match self.file.read_exact_at(piece, at) {
                Ok(()) => hasher.update(piece),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(self.changed());
                }
                Err(error) => return Err(OmsError::io(self.root.location(&self.name))(error)),
            }
            at = at.saturating_add(piece.len() as u64);
        }
        if self.segments.is(index, &hasher.finish()) {
            return Ok(());
        }
        Err(self.changed())
    }

    /// Reads one whole segment; `index` counts from 0.
    ///
    /// # Errors
    ///
    /// [`OmsError::Changed`] if it differs from what was signed, [`OmsError::Limit`] if there is no
    /// such segment, or [`OmsError::Io`].
    pub fn read_segment(&self, index: u64) -> Result<CheckedSegment, OmsError> {
        let mut content = Buffer::default();
        content.resize(self.len_of(index)?, 0);
        self.load(index, &mut content)?;
        Ok(CheckedSegment(content))
    }

    fn len_of(&self, index: u64) -> Result<usize, OmsError> {
        self.segments.len_of(index).ok_or_else(|| OmsError::Limit {
            what: "segment number",
            actual: index,
            limit: self.segment_at(self.content_len().saturating_sub(1)),
        })
    }

    /// Reads `out.len()` bytes from `offset` on all cores, reading only the segments that hold
    /// them.
    ///
    /// Segments are hashed in `out` itself, so no one else may read or change `out` until this
    /// returns. For shared memory, use [`Self::copy_at`].
    ///
    /// # Errors
    ///
    /// As [`Self::read_segment`]; `out` is then zeroed.
    pub fn read_at(&self, out: &mut [u8], offset: u64) -> Result<(), OmsError> {
        let read = self.read_range(out, offset);
        // It may hold unverified bytes.
        read.inspect_err(|_| out.fill(0))
    }

    /// Like [`Self::read_at`], for shared memory: only verified bytes are written to it.
    ///
    /// # Errors
    ///
    /// As [`Self::read_segment`]; part of `out` may then be written.
    pub fn copy_at(&self, out: &mut [u8], offset: u64) -> Result<(), OmsError> {
        self.check_range(out.len(), offset)?;
        let len = usize::try_from(self.segment_bytes()).unwrap_or(usize::MAX);
        casemate_parallel::for_each_piece(out, offset, len, Buffer::default, |buffer, piece| {
            self.copy_piece(buffer, piece)
        })
    }

    /// Reads the segment of a piece into `buffer`, and copies the piece once the segment is
    /// verified.
    fn copy_piece(
        &self,
        buffer: &mut Buffer,
        Piece { segment, skip, out }: Piece<'_>,
    ) -> Result<(), OmsError> {
        buffer.resize(self.len_of(segment)?, 0);
        self.load(segment, buffer)?;
        self.copy(buffer, skip, out)
    }

    fn check_range(&self, len: usize, offset: u64) -> Result<(), OmsError> {
        let actual = offset.saturating_add(len as u64);
        if actual <= self.content_len() {
            return Ok(());
        }
        Err(OmsError::Limit {
            what: "end of the range",
            actual,
            limit: self.content_len(),
        })
    }

    fn read_range(&self, out: &mut [u8], offset: u64) -> Result<(), OmsError> {
        self.check_range(out.len(), offset)?;
        if self.read_recent(out, offset)? {
            return Ok(());
        }
        self.read_pieces(out, offset)
    }

    fn read_pieces(&self, out: &mut [u8], offset: u64) -> Result<(), OmsError> {
        let len = usize::try_from(self.segment_bytes()).unwrap_or(usize::MAX);
        casemate_parallel::for_each_piece(out, offset, len, Buffer::default, |buffer, piece| {
            if piece.out.len() == self.len_of(piece.segment)? {
                return self.load(piece.segment, piece.out);
            }
            self.copy_piece(buffer, piece)
        })
    }

    /// Reads a range inside the cached segment, or a short range inside another, which is then
    /// cached. Returns `false` if the range is neither, or another thread is using the cache.
    fn read_recent(&self, out: &mut [u8], offset: u64) -> Result<bool, OmsError> {
        let Some((segment, skip, is_short)) = self.inside(offset, out.len()) else {
            return Ok(false);
        };
        let Ok(mut recent) = self.recent.try_lock() else {
            return Ok(false);
        };
        if let Some((known, content)) = &*recent
            && *known == segment
        {
            return self.copy(content, skip, out).map(|()| true);
        }
        if !is_short {
            return Ok(false);
        }
        // Drop the old one first, so that at most one is held.
        *recent = None;
        let content = self.read_segment(segment)?;
        self.copy(&content, skip, out)?;
        *recent = Some((segment, content));
        Ok(true)
    }

    /// Returns the segment that contains a range, the position in it, and whether the range is
    /// short.
    fn inside(&self, offset: u64, len: usize) -> Option<(u64, usize, bool)> {
        let segment = self.segment_at(offset);
        let skip = offset.checked_rem(self.segment_bytes())?;
        let is_inside = skip.checked_add(len as u64)? <= self.segment_bytes();
        let is_short = casemate_parallel::short_piece(offset, len, self.segment_bytes()).is_some();
        let found = (segment, usize::try_from(skip).ok()?, is_short);
        is_inside.then_some(found)
    }

    fn copy(&self, content: &[u8], skip: usize, out: &mut [u8]) -> Result<(), OmsError> {
        let found = content.get(skip..).and_then(|rest| rest.get(..out.len()));
        out.copy_from_slice(found.ok_or_else(|| self.changed())?);
        Ok(())
    }
}

/// A verified segment.
pub struct CheckedSegment(Buffer);

impl Deref for CheckedSegment {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for CheckedSegment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CheckedSegment(..)")
    }
}

impl fmt::Debug for SignedModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.files).finish()
    }
}

impl fmt::Debug for SignedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SignedFile").field(&self.name).finish()
    }
}

impl fmt::Debug for CheckedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CheckedFile").field(&self.name).finish()
    }
}
