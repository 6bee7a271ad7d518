//! `casemate copy`.

mod below;
mod file;
mod folder;
mod same;

use std::{
    fmt::Write as _,
    io,
    path::{Path, PathBuf},
};

use casemate_store::Location;
use serde_json::json;

use crate::{
    args::CopyOptions,
    context::Context,
    fault::Fault,
    place::{Place, Sealed},
    printer::{bytes_text, count_text},
};
use below::{copy_below, units};
use file::copy_file;
use folder::copy_folder;

/// What was copied.
#[derive(Default)]
struct Copied {
    files: usize,
    bytes: u64,
    /// Bytes already there from an earlier copy.
    resumed: u64,
    /// Files skipped because they are not sealed.
    plain: Vec<String>,
}

/// The source or target of a copy.
enum Endpoint {
    Local(PathBuf),
    Remote(Location),
}

impl Endpoint {
    fn of(context: &Context<'_>, place: &Place) -> Result<Self, Fault> {
        Ok(match place {
            Place::Local(path) => Self::Local(path.clone()),
            Place::Remote(address) => Self::Remote(context.locate(address)?),
        })
    }

    /// Appends a relative path, which the caller has checked to stay inside.
    fn join(&self, path: &str) -> Result<Self, Fault> {
        Ok(match self {
            Self::Local(root) => Self::Local(root.join(path)),
            Self::Remote(location) => {
                let below = location.join(path);
                Self::Remote(below.map_err(|error| self.failed(error))?)
            }
        })
    }

    fn shown(&self) -> &Path {
        match self {
            Self::Local(path) => path,
            Self::Remote(location) => Path::new(location.address()),
        }
    }

    fn failed(&self, error: io::Error) -> Fault {
        Fault::file("copy", self.shown(), error)
    }
}

/// One artifact or folder to copy.
struct CopyJob {
    from: Endpoint,
    /// The name it gets if the target is a folder; `None` if the target is its own path.
    name: Option<PathBuf>,
    to: Endpoint,
    force: bool,
}

impl CopyJob {
    fn failed(&self, error: io::Error) -> Fault {
        self.from.failed(error)
    }
}

pub(crate) fn run(context: &Context<'_>, options: &CopyOptions) -> Result<(), Fault> {
    if let (Place::Local(_), Place::Local(_)) = (&options.from, &options.to) {
        return Err(Fault::usage("source and target are both on this machine")
            .hint("copy sealed files with `cp`, like any others"));
    }
    let job = CopyJob {
        from: Endpoint::of(context, &options.from)?,
        name: Some(options.from.file_name()),
        to: Endpoint::of(context, &options.to)?,
        force: options.force,
    };
    let copied = if let Some(found) = units(&job.from)? {
        copy_below(context, &job, found)?
    } else {
        match context.sealed(&options.from)? {
            Sealed::File(source) => copy_file(context, &source, &job)?,
            Sealed::Folder(folder) => copy_folder(context, &*folder, &job)?,
        }
    };
    if !copied.plain.is_empty() {
        let count = count_text(copied.plain.len(), "file");
        let text = format!("skipped {count} (not sealed); pass --json to list the names");
        context.printer.warning(&text);
    }
    let json = json!({
        "schema": "casemate.copied/1",
        "from": options.from.to_text(),
        "to": options.to.to_text(),
        "files": copied.files,
        "bytes": copied.bytes,
        "resumed_bytes": copied.resumed,
        "not_sealed": copied.plain,
    });
    context.printer.json(&json);
    let files = count_text(copied.files, "file");
    let bytes = bytes_text(copied.bytes);
    let mut text = format!("copied {files}, {bytes}, to {}", options.to);
    if copied.resumed > 0 {
        let resumed = bytes_text(copied.resumed);
        _ = write!(text, " ({resumed} already there)");
    }
    context.printer.done(&text);
    Ok(())
}
