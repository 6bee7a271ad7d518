//! `casemate open`.

mod file;
mod folder;

use std::path::{Path, PathBuf};

use casemate_environment::is_in_memory;

use crate::{
    args::OpenOptions,
    context::Context,
    fault::{Fault, Outcome},
    output::{refuse_inside, refuse_same_file},
    place::{Place, Sealed},
};

pub(crate) fn run(context: &Context<'_>, options: &OpenOptions) -> Result<(), Fault> {
    let source = context.sealed(&options.input)?;
    let output = match &options.output {
        Some(output) => output.clone(),
        None => without_suffix(&options.input.file_name())?,
    };
    if let Place::Local(path) = &options.input {
        refuse_same_file(path, &output)?;
        refuse_inside(path, &output)?;
    }
    if options.to_memory {
        let parent = output
            .parent()
            .filter(|path| !path.as_os_str().is_empty())
            .unwrap_or_else(|| Path::new("."));
        if output == Path::new("-") || !is_in_memory(parent) {
            let message = format!("{} is not on an in-memory file system", output.display());
            return Err(Fault::new(Outcome::NotPermitted, message)
                .hint("write below /dev/shm, or mount a tmpfs"));
        }
    }
    match source {
        Sealed::Folder(folder) => folder::open(context, options, folder, &output),
        Sealed::File(source) => file::open(context, options, source, &output),
    }
}

fn without_suffix(input: &Path) -> Result<PathBuf, Fault> {
    if input
        .extension()
        .is_some_and(|extension| extension == "sealed")
    {
        return Ok(input.with_extension(""));
    }
    let message = format!("{} does not end in .sealed", input.display());
    Err(Fault::usage(message).hint("name the output with -o FILE"))
}
