//! Copying a sealed file to an object store. An interrupted copy resumes with the parts already
//! sent.

use std::{
    collections::BTreeMap,
    fs, io,
    ops::Range,
    path::Path,
    sync::{Mutex, PoisonError},
};

use aws_lc_rs::digest;
use casemate_seal::{
    Artifact, Progress, ReadAt,
    file::{self, Access, Existing},
};
use object_store::{MultipartId, PutMode, multipart::PartId};
use serde::{Deserialize, Serialize};

use crate::{
    Sent,
    location::Location,
    object::ends_with,
    upload::{part_len, put, refuse_existing},
};

const SCHEMA: &str = "casemate.upload/1";
/// Maximum length of a journal, in bytes.
const JOURNAL_BYTES_MAX: u64 = 4 << 20;
/// Maximum number of concurrent parts.
const THREADS: usize = 4;

/// The state of an unfinished upload. It has no secrets.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Journal {
    schema: String,
    address: String,
    /// Length of the file. With the SHA-256 of its tail, it identifies the upload: another file, or
    /// other recipients, need another upload.
    len: u64,
    tail: String,
    part_bytes: u64,
    upload: String,
    /// Whether the object store refused to assemble the object from the parts.
    #[serde(default)]
    refused: bool,
    /// The object store's id of each part that it has, by number.
    parts: BTreeMap<usize, String>,
}

/// Returns a file name of letters and digits for the journal of copies to `to`.
pub fn journal_name(to: &Location) -> String {
    let digest = digest::digest(&digest::SHA256, to.address().as_bytes());
    format!("{}.json", hex::encode(digest))
}

/// Copies the artifact in `source` to `to`. `journal` is a local file that records the progress; it
/// is removed at the end.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidData`] if `source` is not an artifact; [`io::ErrorKind::AlreadyExists`];
/// the error of the object store. The object is then unchanged, and the same call resumes where
/// this one ended.
pub fn send<R: ReadAt>(
    source: &R,
    to: &Location,
    existing: Existing,
    journal: &Path,
    progress: Progress<'_>,
) -> io::Result<Sent> {
    let artifact = Artifact::read(source)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let len = artifact.artifact_len();
    let tail = read_tail(source, artifact.header().body_len(), len)?;
    if existing == Existing::Keep
        && let Err(error) = refuse_existing(to)
    {
        // A copy that was interrupted after its last request is already complete.
        if error.kind() != io::ErrorKind::AlreadyExists || !ends_with(to, len, &tail)? {
            return Err(error);
        }
        _ = fs::remove_file(journal);
        progress(len);
        return Ok(Sent { len, resumed: len });
    }
    let part_bytes = part_len(len);
    if len <= part_bytes {
        return put_whole(source, len, to, existing, progress);
    }
    let tail_hash = hex::encode(digest::digest(&digest::SHA256, &tail));
    let resumed = resume(journal, to, len, &tail_hash, part_bytes)?;
    let upload = match resumed {
        Some(found) => found,
        None => start(to, len, tail_hash, part_bytes)?,
    };
    let resumed = upload.parts.len() as u64;
    let sending = Sending {
        source,
        tail: &tail,
        to,
        path: journal,
        journal: Mutex::new(upload),
    };
    sending.to_the_end(existing, progress)?;
    // The object is complete: a leftover journal would only be ignored next time.
    _ = fs::remove_file(journal);
    Ok(Sent {
        len,
        resumed: resumed.saturating_mul(part_bytes).min(len),
    })
}

fn put_whole<R: ReadAt>(
    source: &R,
    len: u64,
    to: &Location,
    existing: Existing,
    progress: Progress<'_>,
) -> io::Result<Sent> {
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    source.read_exact_at(&mut bytes, 0)?;
    let mode = match existing {
        Existing::Keep => PutMode::Create,
        Existing::Replace => PutMode::Overwrite,
    };
    put(to, bytes, mode.into())?;
    progress(len);
    Ok(Sent { len, resumed: 0 })
}

fn read_tail<R: ReadAt>(source: &R, body_len: u64, len: u64) -> io::Result<Vec<u8>> {
    let tail = len.saturating_sub(body_len);
    let mut bytes = vec![0; usize::try_from(tail).map_err(io::Error::other)?];
    source.read_exact_at(&mut bytes, body_len)?;
    Ok(bytes)
}

fn start(to: &Location, len: u64, tail: String, part_bytes: u64) -> io::Result<Journal> {
    let bucket = &to.bucket;
    let upload = bucket.wait(bucket.multipart.create_multipart(&to.path))?;
    Ok(Journal {
        schema: SCHEMA.to_owned(),
        address: to.address().to_owned(),
        len,
        tail,
        part_bytes,
        upload,
        refused: false,
        parts: BTreeMap::new(),
    })
}

/// Returns the upload of the journal, if it is of the same file to the same location and the object
/// store still has it.
fn resume(
    path: &Path,
    to: &Location,
    len: u64,
    tail: &str,
    part_bytes: u64,
) -> io::Result<Option<Journal>> {
    let text = match fs::metadata(path) {
        Ok(found) if found.len() <= JOURNAL_BYTES_MAX => fs::read(path)?,
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let Ok(journal) = serde_json::from_slice::<Journal>(&text) else {
        return Ok(None);
    };
    if journal.schema != SCHEMA || journal.address != to.address() {
        return Ok(None);
    }
    let same = journal.len == len && journal.tail == tail && journal.part_bytes == part_bytes;
    if same && !journal.refused {
        return Ok(Some(journal));
    }
    // The file changed, or the object store lost parts. Remove the rest, because object stores
    // charge for it.
    let bucket = &to.bucket;
    _ = bucket.wait(bucket.multipart.abort_multipart(&to.path, &journal.upload));
    Ok(None)
}

struct Sending<'a, R> {
    source: &'a R,
    tail: &'a [u8],
    to: &'a Location,
    path: &'a Path,
    journal: Mutex<Journal>,
}

impl<R: ReadAt> Sending<'_, R> {
    /// Sends the missing parts and completes the upload. If the object store has lost the upload,
    /// starts over once.
    fn to_the_end(&self, existing: Existing, progress: Progress<'_>) -> io::Result<()> {
        let attempt = || {
            self.missing_parts(progress)?;
            let completed = self.complete(existing);
            if completed.as_ref().is_err_and(is_definite) {
                // For the next run: these parts will never form an object.
                self.with(|journal| journal.refused = true);
                self.save()?;
            }
            completed
        };
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => (),
            done => return done,
        }
        let (len, tail, part_bytes) =
            self.with(|journal| (journal.len, journal.tail.clone(), journal.part_bytes));
        let fresh = start(self.to, len, tail, part_bytes)?;
        self.with(|journal| *journal = fresh);
        attempt()
    }

    fn with<T>(&self, job: impl FnOnce(&mut Journal) -> T) -> T {
        job(&mut self.journal.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn missing_parts(&self, progress: Progress<'_>) -> io::Result<()> {
        let (len, part_bytes) = self.with(|journal| (journal.len, journal.part_bytes));
        let (upload, missing) = self.with(|journal| {
            let missing = (0..len.div_ceil(part_bytes))
                .filter(|number| !journal.parts.contains_key(&index(*number)));
            (journal.upload.clone(), missing.collect::<Vec<_>>())
        });
        self.save()?;
        let send = |buffer: &mut Vec<u8>, at: u64| {
            let Some(number) = missing.get(index(at)) else {
                return Ok(());
            };
            let start = number.saturating_mul(part_bytes);
            let range = start..start.saturating_add(part_bytes).min(len);
            self.one_part(&upload, index(*number), range, buffer, progress)
        };
        casemate_parallel::for_each_on(THREADS, missing.len() as u64, Vec::new, send)
    }

    fn one_part(
        &self,
        upload: &MultipartId,
        number: usize,
        range: Range<u64>,
        buffer: &mut Vec<u8>,
        progress: Progress<'_>,
    ) -> io::Result<()> {
        let len = range.end.saturating_sub(range.start);
        buffer.resize(usize::try_from(len).map_err(io::Error::other)?, 0);
        self.source.read_exact_at(buffer, range.start)?;
        let bucket = &self.to.bucket;
        let payload = bytes::Bytes::copy_from_slice(buffer).into();
        let put = bucket
            .multipart
            .put_part(&self.to.path, upload, number, payload);
        let part = bucket.wait(put)?;
        self.with(|journal| journal.parts.insert(number, part.content_id));
        self.save()?;
        progress(len);
        Ok(())
    }

    /// Writes the journal atomically. Parts that finish at the same time write it one after the
    /// other.
    fn save(&self) -> io::Result<()> {
        let journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let text = serde_json::to_vec(&*journal).map_err(io::Error::other)?;
        file::write(self.path, &text, Access::Owner, Existing::Replace)
    }

    fn complete(&self, existing: Existing) -> io::Result<()> {
        let (upload, parts, len) = self.with(|journal| {
            let parts = journal.parts.values().map(|id| PartId {
                content_id: id.clone(),
            });
            (
                journal.upload.clone(),
                parts.collect::<Vec<_>>(),
                journal.len,
            )
        });
        if existing == Existing::Keep {
            // Not every object store can refuse to replace an object at the end of a multipart
            // upload, so a small race remains.
            refuse_existing(self.to)?;
        }
        let bucket = &self.to.bucket;
        let completing = bucket
            .multipart
            .complete_multipart(&self.to.path, &upload, parts);
        let answer = bucket.wait(completing).map(drop);
        // The response may be lost, and the parts come from a journal. Check the object itself.
        if ends_with(self.to, len, self.tail).unwrap_or(false) {
            return Ok(());
        }
        answer?;
        let message = "the store assembled a different object from the parts";
        Err(io::Error::other(message))
    }
}

/// The error codes for parts that cannot form an object. Any other error, such as an expired token
/// or too many requests, may be transient.
const REFUSED: [&str; 3] = ["InvalidPart", "EntityTooSmall", "InvalidBlockList"];

/// Returns whether the object store refused the parts rather than failed. The client's error has no
/// public type, only a text with status and response.
fn is_definite(error: &io::Error) -> bool {
    let text = error.to_string();
    // The first occurrence is the client's own; the response after it may contain anything.
    text.split_once("status code: ").is_some_and(|(_, answer)| {
        answer.starts_with("400") && REFUSED.iter().any(|code| answer.contains(code))
    })
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
