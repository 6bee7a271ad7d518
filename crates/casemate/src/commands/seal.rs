//! `casemate seal`.

mod file;
mod folder;
mod keys;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use casemate_seal::SegmentSize;

use crate::{
    args::SealOptions, context::Context, fault::Fault, output::refuse_same_file, place::Place,
};

pub(crate) fn run(context: &Context<'_>, options: &SealOptions) -> Result<(), Fault> {
    let output = options
        .output
        .clone()
        .unwrap_or_else(|| Place::Local(with_suffix(&options.input)));
    if let Place::Local(path) = &output {
        if path == Path::new("-") {
            return Err(Fault::usage(
                "cannot seal to standard output: the output must be seekable",
            )
            .hint("name a file with -o; for a file called `-`, write `./-`"));
        }
        refuse_same_file(&options.input, path)?;
    }
    if options.input.is_dir() {
        folder::seal(context, options, &output)
    } else {
        file::seal(context, options, &output)
    }
}

fn with_suffix(input: &Path) -> PathBuf {
    // Drop the slash that shell completion adds to a folder name.
    let plain: PathBuf = input.components().collect();
    let mut name = OsString::from(plain);
    name.push(".sealed");
    name.into()
}

/// Reads `65536`, `64k` or `1m`.
fn parse_size(text: &str) -> Result<SegmentSize, Fault> {
    let lower = text.to_ascii_lowercase();
    let (digits, shift) = match lower.strip_suffix('k') {
        Some(digits) => (digits, 10),
        None => lower
            .strip_suffix('m')
            .map_or((lower.as_str(), 0), |digits| (digits, 20)),
    };
    let bytes = digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or_else(|| Fault::usage(format!("--segment-size `{text}` is not a size")))?;
    SegmentSize::new(bytes).map_err(|_| {
        Fault::usage(format!(
            "--segment-size {text} is not a power of two from 64k to 16m"
        ))
    })
}
