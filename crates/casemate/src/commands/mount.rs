//! `casemate mount` and `casemate run`.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode, ExitStatus},
    sync::Arc,
    time::Duration,
};

use casemate_mount::{MountError, Mounted, MountedFile, Report};
use casemate_seal::{
    Artifact, Opened, Source,
    directory::{DirectoryError, RelativePath, SealedDirectory},
    file::{Access, AtomicFile, Existing},
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::{directory, gateway};
use crate::{
    args::{MountOptions, Origin, RunOptions},
    context::Context,
    fault::{Fault, Outcome},
    keyring::Keyring,
    place::{Place as At, Sealed},
    progress, trust,
};

/// How often it is asked whether a program ended or a view was unmounted.
const POLL: Duration = Duration::from_millis(50);
/// File systems in memory, by the magic number that Linux gives them.
const IN_MEMORY: [i64; 2] = [0x0102_1994, 0x8584_58f6];
const MEMORY: &str = "/dev/shm";
/// Name of a folder's copy in memory.
const FOLDER: &str = "folder";
/// What the places of runs begin with; 16 hex digits follow.
const PLACE: &str = "casemate-";
const PLACE_TRIES: usize = 10;

/// What is shown: one file, or all of a folder.
enum Content {
    File(RelativePath, Opened<Source>),
    Folder(Arc<Folder>),
}

struct Folder {
    directory: SealedDirectory,
    keys: Vec<casemate_crypto::kem::KemPrivateKey>,
}

impl Folder {
    fn open(&self, path: &str) -> Result<Opened<Source>, DirectoryError> {
        let entry = self.directory.manifest().find(path);
        let entry = entry.ok_or_else(|| DirectoryError::Missing(path.to_owned()))?;
        let keys: Vec<_> = self.keys.iter().collect();
        self.directory.open_file(entry, &keys)
    }
}

impl Content {
    fn open(context: &Context<'_>, input: &At, origin: &Origin) -> Result<Self, Fault> {
        let mut keyring = Keyring::new(context);
        let whom = origin.whom();
        let source = match context.sealed(input)? {
            Sealed::File(source) => source,
            Sealed::Folder(folder) => {
                let keys = keyring.openers()?;
                let borrowed: Vec<_> = keys.iter().collect();
                let found = directory::open_folder(context, &mut keyring, folder, &borrowed, whom)?;
                if let Some(minimum) = origin.min_revision {
                    found.require_revision(minimum)?;
                }
                trust::require_id(&found.manifest().id, origin.id.as_deref())?;
                let directory = found;
                return Ok(Self::Folder(Arc::new(Folder { directory, keys })));
            }
        };
        let artifact = Artifact::read(source)?;
        let signer = trust::signer(context, &mut keyring, &artifact, whom)?;
        if let Some(minimum) = origin.min_revision {
            artifact.require_revision(minimum)?;
        }
        trust::require_id(&artifact.header().id(), origin.id.as_deref())?;
        let key = keyring.opener(&artifact)?;
        let origin = signer.as_ref().map_or(
            casemate_seal::Origin::Unchecked,
            casemate_seal::Origin::SignedBy,
        );
        let opened = artifact.open(&key, origin)?;
        Ok(Self::File(name_of(&input.file_name()), opened))
    }

    /// Where the file or folder is below the place it is shown at.
    fn below(&self, place: &Path) -> PathBuf {
        match self {
            Self::File(name, _) => place.join(name.as_str()),
            Self::Folder(_) => place.to_owned(),
        }
    }

    /// The folder below `place` that a copy goes into: one that is made whole inside, so that nothing of it is ever beside.
    fn copied(&self, place: &Path) -> PathBuf {
        match self {
            Self::File(..) => self.below(place),
            Self::Folder(_) => place.join(FOLDER),
        }
    }

    fn into_files(self) -> Vec<MountedFile<Source>> {
        match self {
            Self::File(path, opened) => {
                let content_len = opened.content_len();
                let opened = Arc::new(opened);
                vec![MountedFile {
                    path,
                    content_len,
                    open: Box::new(move || Ok(Arc::clone(&opened))),
                }]
            }
            Self::Folder(folder) => {
                let entries = folder.directory.manifest().files.iter();
                let file = |entry: &casemate_seal::directory::FileEntry| {
                    let (folder, path) = (Arc::clone(&folder), entry.path.clone());
                    MountedFile {
                        path: entry.path.clone(),
                        content_len: entry.content_len,
                        open: Box::new(move || folder.open(path.as_str()).map(Arc::new)),
                    }
                };
                entries.map(file).collect()
            }
        }
    }

    /// Decrypts everything into `place`, a folder in memory.
    fn copy_to(&self, place: &Path) -> Result<(), Fault> {
        match self {
            Self::File(name, opened) => {
                let path = place.join(name.as_str());
                let failed = |error| Fault::file("write", &path, error);
                let target = AtomicFile::create(&path, Access::Owner, Existing::Keep);
                let target = target.map_err(failed)?;
                let bar = progress::bar(opened.content_len(), "opening");
                opened.copy_to(target.file(), &|bytes| bar.inc(bytes))?;
                bar.finish_and_clear();
                target.commit(Existing::Keep).map_err(failed)
            }
            Self::Folder(folder) => {
                let keys: Vec<_> = folder.keys.iter().collect();
                let bar = progress::bar(folder.directory.manifest().content_len(), "opening");
                let copied = folder.directory.copy_to(
                    &place.join(FOLDER),
                    Existing::Keep,
                    &keys,
                    &|bytes| bar.inc(bytes),
                );
                bar.finish_and_clear();
                Ok(copied?)
            }
        }
    }
}

/// The artifact's own name without its ending, if it is plain. The name in the private part is not signed, and this one goes into paths and perhaps
/// into a shell.
fn name_of(input: &Path) -> RelativePath {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let stem = input.with_extension("");
    let stem = stem.file_name().and_then(|name| name.to_str());
    let stem = stem.filter(|name| !name.starts_with(['-', '.']) && name.chars().all(plain));
    stem.and_then(|name| RelativePath::new(name).ok())
        .or_else(|| RelativePath::new("content").ok())
        .unwrap_or_else(|| unreachable!("a plain word is a path"))
}

pub(crate) fn mount(context: &Context<'_>, options: &MountOptions) -> Result<(), Fault> {
    let content = Content::open(context, &options.input, &options.origin)?;
    let path = content.below(&options.point);
    let mounted = start(content, &options.point)?;
    let json = json!({ "schema": "casemate.mounted/1", "point": options.point, "path": path });
    if context.printer.is_json() {
        context.printer.data(&json, "");
    }
    let shown = path.display();
    context
        .printer
        .done(&format!("mounted at {shown} until Ctrl-C"));
    gateway::runtime()?.block_on(async {
        let gone = async {
            while !mounted.is_gone() {
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::select! {
            () = gateway::shutdown() => (),
            () = gone => (),
        }
    });
    let unmounted = mounted.unmount();
    unmounted.map_err(|error| Fault::from_error(Outcome::Io, error))
}

pub(crate) fn run(context: &Context<'_>, options: &RunOptions) -> Result<ExitCode, Fault> {
    let content = Content::open(context, &options.input, &options.origin)?;
    let parent = if options.memory {
        if !is_in_memory(Path::new(MEMORY)) {
            let message = format!("{MEMORY} is no file system in memory here");
            return Err(Fault::new(Outcome::Io, message));
        }
        PathBuf::from(MEMORY)
    } else {
        std::env::temp_dir()
    };
    // From here on signals end the program, not this process, which has something to clear away.
    let runtime = gateway::runtime()?;
    let stop = runtime.spawn(gateway::shutdown());
    let place = Place::create(&parent, options.memory)?;
    let (path, mounted) = if options.memory {
        let path = content.copied(&place.path);
        content.copy_to(&place.path)?;
        (path, None)
    } else {
        let path = content.below(&place.path);
        (path, Some(start(content, &place.path)?))
    };
    let status = if stop.is_finished() {
        Err(Fault::new(
            Outcome::Io,
            "stopped before the program started",
        ))
    } else {
        run_program(&runtime, stop, &options.command, &path)
    };
    if let Some(mounted) = mounted {
        mounted
            .unmount()
            .map_err(|error| Fault::from_error(Outcome::Io, error))?;
    }
    place.remove()?;
    Ok(exit_code(status?))
}

fn start(content: Content, point: &Path) -> Result<Mounted, Fault> {
    let report: Report = Arc::new(|path, error| {
        // The reader only sees an input/output error.
        tracing::error!(%path, "cannot be read: {error}");
    });
    gateway::init_logging();
    casemate_mount::mount(content.into_files(), point, report).map_err(|error| {
        let hint = match &error {
            MountError::NoFuse(_) => {
                "install the package fuse3 and load the kernel module fuse, or use `casemate run --memory` or `casemate open --to-memory`"
            }
            MountError::NotEmpty(_) => "give an empty folder",
            _ => "the mount point must be a folder of yours",
        };
        Fault::from_error(Outcome::Io, error).hint(hint)
    })
}

/// A folder of its own for one run, locked while the run lasts.
struct Place {
    path: PathBuf,
    _lock: File,
    /// Whether plaintext is written into it.
    wipe: bool,
}

impl Place {
    fn create(parent: &Path, wipe: bool) -> Result<Self, Fault> {
        clear_abandoned(parent, wipe);
        for _ in 0..PLACE_TRIES {
            let random: [u8; 8] = casemate_crypto::random::bytes()
                .map_err(|error| Fault::from_error(Outcome::Io, error))?;
            let path = parent.join(format!("{PLACE}{:016x}", u64::from_be_bytes(random)));
            let failed = |error| Fault::file("create", &path, error);
            fs::DirBuilder::new()
                .mode(0o700)
                .create(&path)
                .map_err(failed)?;
            // Another run may take it for abandoned before it is locked, and clear it away.
            let Ok(lock) = File::open(&path) else {
                continue;
            };
            lock.lock().map_err(failed)?;
            if path.exists() {
                return Ok(Self {
                    path,
                    _lock: lock,
                    wipe,
                });
            }
        }
        Err(Fault::new(Outcome::Io, "cannot make a private folder"))
    }

    fn remove(mut self) -> Result<(), Fault> {
        let path = std::mem::take(&mut self.path);
        clear(&path, self.wipe).map_err(|error| Fault::file("remove", &path, error))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            // After a failure, of which the user is told; this one would hide it.
            _ = clear(&self.path, self.wipe);
        }
    }
}

/// Clears away what runs left that were killed. Nothing is said about those of other users.
fn clear_abandoned(parent: &Path, wipe: bool) {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let digits = name.to_str().and_then(|name| name.strip_prefix(PLACE));
        let ours =
            digits.is_some_and(|d| d.len() == 16 && d.bytes().all(|byte| byte.is_ascii_hexdigit()));
        if !ours || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if let Ok(folder) = File::open(entry.path())
            && folder.try_lock().is_ok()
        {
            _ = clear(&entry.path(), wipe);
        }
    }
}

/// Overwrites every file if asked to, and removes the folder.
fn clear(path: &Path, wipe: bool) -> io::Result<()> {
    if wipe {
        let mut folders = vec![path.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    folders.push(entry.path());
                } else if entry.file_type()?.is_file() {
                    blank(&entry.path())?;
                }
            }
        }
        return fs::remove_dir_all(path);
    }
    fs::remove_dir(path)
}

fn blank(path: &Path) -> io::Result<()> {
    let file = File::options().write(true).open(path)?;
    let mut rest = file.metadata()?.len();
    let zeros = vec![0; 1 << 20];
    while rest > 0 {
        let len = usize::try_from(rest).unwrap_or(usize::MAX).min(zeros.len());
        let part = zeros.get(..len).unwrap_or_default();
        io::Write::write_all(&mut &file, part)?;
        rest = rest.saturating_sub(part.len() as u64);
    }
    Ok(())
}

/// Whether a folder lies in memory and never on a disk, swap apart.
pub(super) fn is_in_memory(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|found| IN_MEMORY.contains(&found.f_type))
}

/// Runs the program; a signal that would end us ends it first, so that what it reads is taken away after it.
fn run_program(
    runtime: &tokio::runtime::Runtime,
    mut stop: tokio::task::JoinHandle<()>,
    command: &[String],
    path: &Path,
) -> Result<ExitStatus, Fault> {
    let Some((program, arguments)) = command.split_first() else {
        return Err(Fault::usage("there is no command"));
    };
    let path = path.to_string_lossy();
    let arguments = arguments.iter().map(|text| text.replace("{}", &path));
    let mut child = Command::new(program)
        .args(arguments)
        .env("CASEMATE_PATH", &*path)
        .spawn()
        .map_err(|error| {
            Fault::from_error(Outcome::Usage, error).hint(format!("cannot run `{program}`"))
        })?;
    runtime.block_on(async {
        let mut stopping = false;
        loop {
            match child.try_wait() {
                Ok(Some(status)) => return Ok(status),
                Ok(None) => (),
                Err(error) => return Err(Fault::from_error(Outcome::Io, error)),
            }
            tokio::select! {
                () = tokio::time::sleep(POLL) => (),
                _ = &mut stop, if !stopping => {
                    stopping = true;
                    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
                    // It may have ended in this moment.
                    _ = pid.map(|pid| kill_process(pid, Signal::TERM));
                }
            }
        }
    })
}

/// The program's own code; as shells have it where a signal ended it.
fn exit_code(status: ExitStatus) -> ExitCode {
    use std::os::unix::process::ExitStatusExt;
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| signal.saturating_add(128)));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
