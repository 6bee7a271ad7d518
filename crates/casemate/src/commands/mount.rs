//! `casemate mount` and `casemate run`.

mod content;
mod name;
mod signed;

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode, ExitStatus},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use casemate_environment::{memory_folder, temporary_folder};
use casemate_mount::{MountError, Mounted, Report};
use casemate_seal::scratch::{Naming, ScratchFolder, remove_abandoned};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::{
    args::{MountOptions, RunOptions},
    context::Context,
    fault::{Fault, Outcome},
    memory::CoreDumpLimit,
    printer::path_text,
    runtime,
    stop::Stop,
};
use content::Content;

/// How often to check whether a program ended or a view was unmounted.
const POLL: Duration = Duration::from_millis(50);
/// Name of the folder that a program's view is mounted at.
const VIEW: &str = "view";

pub(crate) fn mount(context: &Context<'_>, options: &MountOptions) -> Result<(), Fault> {
    let content = Content::open(context, &options.input, &options.checks)?;
    let path = content.below(&options.point);
    let stop = Stop::take_over();
    let mounted = start(content, &options.point, &Damage::default())?;
    let json = json!({ "schema": "casemate.mounted/1", "point": path_text(&options.point), "path": path_text(&path) });
    context.printer.json(&json);
    let shown = path.display();
    context
        .printer
        .done(&format!("mounted at {shown} until Ctrl-C"));
    runtime::runtime()?.block_on(async {
        let gone = async {
            while !mounted.is_gone() {
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::select! {
            () = stop.requested() => (),
            () = gone => (),
        }
    });
    let unmounted = mounted.unmount();
    unmounted.map_err(|error| Fault::from_error(Outcome::Io, error))
}

pub(crate) fn run(
    context: &Context<'_>,
    options: &RunOptions,
    before: &CoreDumpLimit,
) -> Result<ExitCode, Fault> {
    let content = Content::open(context, &options.input, &options.checks)?;
    // From here on a signal ends the program, not this process, which must clean up.
    let stop = Stop::take_over();
    let runtime = runtime::runtime()?;
    let stop = runtime.spawn(async move { stop.requested().await });
    let damage = Damage::default();
    let (scratch, path, mounted) = match &options.memory {
        Some(given) => copied(&content, given.as_deref())?,
        None => viewed(content, &damage)?,
    };
    let status = if stop.is_finished() {
        Err(Fault::new(
            Outcome::Io,
            "stopped before the program started",
        ))
    } else {
        run_program(&runtime, stop, &options.command, &path, before)
    };
    if let Some(mounted) = mounted {
        mounted
            .unmount()
            .map_err(|error| Fault::from_error(Outcome::Io, error))?;
    }
    let shown = scratch.path().to_owned();
    let removed = scratch.remove();
    removed.map_err(|error| Fault::file("remove", &shown, error))?;
    let status = status?;
    if status.success() && damage.load(Ordering::Relaxed) {
        let message = "the program succeeded, but some of the data shown to it was unreadable or failed verification";
        return Err(Fault::new(Outcome::CheckFailed, message)
            .hint("do not use the result, even if the program did not need the file named above"));
    }
    Ok(exit_code(status))
}

/// A temporary folder, the path of the content in it, and the mounted view if there is one.
type Shown = (ScratchFolder, PathBuf, Option<Mounted>);

/// Decrypts the content into a private folder in memory.
fn copied(content: &Content, given: Option<&Path>) -> Result<Shown, Fault> {
    let parent = memory_folder(given, content.len())?;
    let naming = naming("casemate-run-");
    // Abandoned copies need no preparation before removal: memory leaves no trace on disk.
    remove_abandoned(&parent, &naming, &|_| true);
    let scratch = scratch_in(&parent, &naming)?;
    let path = content.copied(scratch.path());
    content.copy_to(scratch.path())?;
    Ok((scratch, path, None))
}

/// Mounts the content below a private folder. The folder is locked meanwhile, which the mounted
/// view itself cannot be.
fn viewed(content: Content, damage: &Damage) -> Result<Shown, Fault> {
    let parent = temporary_folder();
    let naming = naming("casemate-view-");
    let is_unmounted = |left: &Path| casemate_mount::remove_stale(&left.join(VIEW)).is_ok();
    remove_abandoned(&parent, &naming, &is_unmounted);
    let scratch = scratch_in(&parent, &naming)?;
    let view = scratch.path().join(VIEW);
    let made = fs::DirBuilder::new().mode(0o700).create(&view);
    made.map_err(|error| Fault::file("create", &view, error))?;
    let path = content.below(&view);
    let mounted = start(content, &view, damage)?;
    Ok((scratch, path, Some(mounted)))
}

fn naming(prefix: &str) -> Naming {
    Naming {
        prefix: prefix.into(),
        suffix: "",
    }
}

fn scratch_in(parent: &Path, naming: &Naming) -> Result<ScratchFolder, Fault> {
    ScratchFolder::create(parent, naming)
        .map_err(|error| Fault::file("create a private folder in", parent, error))
}

/// Whether any content could not be read or failed verification.
type Damage = Arc<AtomicBool>;

fn start(content: Content, point: &Path, damage: &Damage) -> Result<Mounted, Fault> {
    let damage = Arc::clone(damage);
    let report: Report = Arc::new(move |path, error| {
        damage.store(true, Ordering::Relaxed);
        // The program sees only an input/output error.
        let path = path.escape_debug();
        tracing::error!(%path, "cannot be read: {error}");
    });
    runtime::init_logging();
    casemate_mount::mount(content.into_files(), point, report).map_err(|error| {
        let hint = match &error {
            MountError::NotBuilt => return Fault::not_built("mounts", "mounts"),
            MountError::NoFuse(_) => {
                "install the package fuse3 and load the kernel module fuse, or use `casemate run --memory` or `casemate open --to-memory`"
            }
            MountError::NotEmpty(_) => "mount at an empty folder",
            MountError::Io(_) => "mount at a folder that you own",
        };
        Fault::from_error(Outcome::Io, error).hint(hint)
    })
}

/// Runs the program. A signal to this process ends the program first, so that its content is
/// removed only after it has ended.
fn run_program(
    runtime: &tokio::runtime::Runtime,
    mut stop: tokio::task::JoinHandle<()>,
    command: &[String],
    path: &Path,
    before: &CoreDumpLimit,
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
        .map_err(|error| cannot_run(program, error))?;
    before.restore(&child);
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
                    // It may have just ended.
                    _ = pid.map(|pid| kill_process(pid, Signal::TERM));
                }
            }
        }
    })
}

fn cannot_run(program: &str, error: io::Error) -> Fault {
    let outcome = if error.kind() == io::ErrorKind::NotFound {
        Outcome::ProgramNotFound
    } else {
        Outcome::CannotExecute
    };
    Fault::caused(outcome, format!("cannot run `{program}`"), error)
}

/// Returns the program's exit code; if a signal ended it, 128 plus the signal's number, as in
/// shells.
fn exit_code(status: ExitStatus) -> ExitCode {
    use std::os::unix::process::ExitStatusExt;
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| signal.saturating_add(128)));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
