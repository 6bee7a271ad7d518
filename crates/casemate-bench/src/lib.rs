//! Measures the cost of each algorithm on this machine in time, memory, bytes and network traffic.
//!
//! | task | entry point |
//! |---|---|
//! | measure | [`run`] with [`Options`] |
//! | print, plot | [`text::render`], [`html::render`] |
//! | read and compare | [`Report::from_json`], [`compare::render`] |
//!
//! Times are medians with the median absolute deviation. Operations are measured after a warm-up,
//! in interleaved rounds, so that a slow phase of the machine affects all of them; single-threaded
//! operations run on one pinned core. Algorithms without a final standard are measured only with
//! the feature `catalogue`.
//!
//! ```no_run
//! use casemate_bench::{Report, text};
//!
//! let report = Report::from_json(&std::fs::read("report.json")?)?;
//! println!("{}", text::render(&report));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![expect(clippy::disallowed_methods, reason = "measuring reads the clock")]
#![expect(
    clippy::arithmetic_side_effects,
    clippy::cast_precision_loss,
    reason = "figures for people, not lengths in a format"
)]

mod article;
mod baseline;
mod bulk;
pub mod compare;
mod error;
pub mod html;
mod machine;
pub mod memory;
mod plot;
mod primitives;
mod report;
mod rows;
mod stats;
pub mod text;
mod timer;
mod workload;

use std::path::PathBuf;

pub use error::BenchError;
pub use report::{REPORT_BYTES_MAX, Report};
pub use rows::{
    Baseline, Bulk, Checkpoint, Gradient, Handshake, Machine, Operation, Parts, Primitive, Round,
    Sizes, Stated, StatedSizes, StatedTime, Timing,
};
pub use workload::round::probe as probe_round;

/// How thoroughly to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Takes seconds, to check that everything runs. The figures are rough.
    Quick,
    /// Takes minutes, for a first look.
    Standard,
    /// Takes many minutes, for figures to publish.
    Thorough,
}

impl Effort {
    /// Returns the name in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Standard => "standard",
            Self::Thorough => "thorough",
        }
    }
}

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// How thoroughly to measure.
    pub effort: Effort,
    /// Measures only rows whose table or name contains this text, in lower case.
    pub filter: Option<String>,
    /// Folder for the files of the checkpoint table.
    pub folder: PathBuf,
    /// This program, which the memory and network measurements start again; without it they are
    /// skipped.
    pub program: Option<PathBuf>,
    /// Time for the report, in seconds since 1970 UTC.
    pub created: u64,
}

impl Options {
    /// Returns whether a row of `table` is selected.
    fn wants(&self, table: &str, name: &str) -> bool {
        self.filter.as_ref().is_none_or(|filter| {
            table.contains(filter.as_str()) || name.to_lowercase().contains(filter.as_str())
        })
    }
}

/// Receives progress: the current step, its number and the number of steps.
pub type Progress<'a> = &'a mut dyn FnMut(&str, usize, usize);

/// Measures everything that `options` selects.
///
/// # Errors
///
/// [`BenchError`] if an algorithm fails its check before it is timed, or a file cannot be written.
/// If the machine lacks OpenSSL, network namespaces or disk space, the report has a note instead.
pub fn run(options: &Options, progress: Progress<'_>) -> Result<Report, BenchError> {
    const STEPS: usize = 8;
    let mut report = Report::new(options);
    let step = |number, name: &str, progress: Progress<'_>| progress(name, number, STEPS);
    step(0, "primitives", progress);
    let pinned = machine::Pin::new();
    report.primitives = primitives::measure(options, &mut |name, at, of| {
        progress(&format!("primitives: {name}, round {at} of {of}"), 0, STEPS);
    })?;
    drop(pinned);
    step(1, "memory", progress);
    memory::measure(options, &mut report);
    step(2, "bulk", progress);
    report.bulk = bulk::measure(options)?;
    step(3, "gradient exchange", progress);
    report.gradients = workload::gradient::measure(options)?;
    step(4, "checkpoints", progress);
    workload::checkpoint::measure(options, &mut report)?;
    step(5, "TLS handshakes", progress);
    report.handshakes = workload::handshake::measure(options)?;
    step(6, "federated rounds", progress);
    workload::round::measure(options, &mut report, progress);
    step(7, "other programs", progress);
    baseline::measure(options, &mut report);
    article::annotate(&mut report.primitives);
    let noise = machine::noise(&report.machine, &report.primitives);
    report.notes.extend(noise);
    Ok(report)
}
