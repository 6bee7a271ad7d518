//! What each algorithm choice costs on this machine, in time, memory, bytes and network, and how the figures were made.
//!
//! | task | entry |
//! |---|---|
//! | measure | [`run`] with [`Options`] |
//! | print, plot | [`text::render`], [`html::render`] |
//! | read back and compare | [`Report::from_json`], [`compare::render`] |
//!
//! Times are medians with the median absolute deviation. Operations are measured in interleaved rounds after a warm-up, so that a slow
//! phase of the machine falls on all of them; single-threaded ones on one pinned core. Algorithms without a final standard are
//! measured only with the feature `catalogue`.
#![expect(clippy::disallowed_methods, reason = "measuring reads the clock")]
#![expect(
    clippy::arithmetic_side_effects,
    clippy::cast_precision_loss,
    reason = "figures that people read, not lengths of formats"
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

/// How long to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Seconds: to see that everything runs. Its figures are rough.
    Quick,
    /// Minutes: for a first look.
    Standard,
    /// Many minutes: to quote.
    Thorough,
}

impl Effort {
    /// Name in reports.
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
    /// How long.
    pub effort: Effort,
    /// Keep only rows whose table or name contains this text, in lower case.
    pub filter: Option<String>,
    /// Directory for the files of the checkpoint table.
    pub directory: PathBuf,
    /// This program, which the memory and network measurements start again; without it they are left out.
    pub program: Option<PathBuf>,
    /// Seconds since 1970 UTC, for the report.
    pub created: u64,
}

impl Options {
    /// Whether a row of `table` is wanted.
    fn wants(&self, table: &str, name: &str) -> bool {
        self.filter.as_ref().is_none_or(|filter| {
            table.contains(filter.as_str()) || name.to_lowercase().contains(filter.as_str())
        })
    }
}

/// Told what is being measured: the step, its number and how many there are.
pub type Progress<'a> = &'a mut dyn FnMut(&str, usize, usize);

/// Measures everything that `options` want.
///
/// # Errors
///
/// [`BenchError`] if an algorithm fails its own check before it is timed, or a file cannot be written. What the machine does not have
/// (OpenSSL, network namespaces, space on disk) is noted in the report instead.
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
