//! The report that `--json` writes and `--compare` reads, with the schema `casemate.bench/1`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    BenchError, Options, machine,
    rows::{Baseline, Bulk, Checkpoint, Gradient, Handshake, Machine, Primitive, Round},
};

/// The schema of the JSON.
pub(crate) const SCHEMA: &str = "casemate.bench/1";
/// Maximum length of a report, in bytes.
pub const REPORT_BYTES_MAX: usize = 8 << 20;

/// Maximum length of a string in a report, in bytes.
const TEXT_BYTES_MAX: usize = 512;
/// Maximum number of values in a report; a thorough run of everything has about 3,000.
const VALUES_MAX: usize = 50_000;

/// Returns whether an untrusted report is safe to show: short strings without control characters,
/// and not too many values.
fn is_plain(value: &Value, left: &mut usize) -> bool {
    let Some(rest) = left.checked_sub(1) else {
        return false;
    };
    *left = rest;
    match value {
        Value::String(text) => text.len() <= TEXT_BYTES_MAX && !text.chars().any(char::is_control),
        Value::Array(values) => values.iter().all(|value| is_plain(value, left)),
        Value::Object(values) => values.values().all(|value| is_plain(value, left)),
        _ => true,
    }
}

/// The results of one run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Always `casemate.bench/1`.
    pub schema: String,
    /// Seconds since 1970 UTC.
    pub created: u64,
    /// Version of this program.
    pub version: String,
    /// `quick`, `standard` or `thorough`.
    pub effort: String,
    /// Whether algorithms without a final standard were built in.
    pub catalogue: bool,
    /// The machine of the run.
    pub machine: Machine,
    /// Public-key algorithms.
    pub primitives: Vec<Primitive>,
    /// Symmetric throughput.
    pub bulk: Vec<Bulk>,
    /// Gradient exchange.
    pub gradients: Vec<Gradient>,
    /// Checkpoint sealing.
    pub checkpoints: Vec<Checkpoint>,
    /// TLS handshakes.
    pub handshakes: Vec<Handshake>,
    /// Federated rounds over a rate-limited link.
    pub rounds: Vec<Round>,
    /// Figures of independent programs, from the same run.
    pub baselines: Vec<Baseline>,
    /// Caveats about the figures.
    pub notes: Vec<String>,
}

impl Report {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            created: options.created,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            effort: options.effort.as_str().to_owned(),
            catalogue: cfg!(feature = "catalogue"),
            machine: machine::describe(),
            primitives: Vec::new(),
            bulk: Vec::new(),
            gradients: Vec::new(),
            checkpoints: Vec::new(),
            handshakes: Vec::new(),
            rounds: Vec::new(),
            baselines: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Reads a report.
    ///
    /// # Errors
    ///
    /// [`BenchError::TooLong`], [`BenchError::Report`] or [`BenchError::Schema`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, BenchError> {
        #[derive(Deserialize)]
        struct Schema {
            schema: String,
        }
        if bytes.len() > REPORT_BYTES_MAX {
            return Err(BenchError::TooLong {
                actual: bytes.len(),
                limit: REPORT_BYTES_MAX,
            });
        }
        let whole: Value = serde_json::from_slice(bytes).map_err(BenchError::Report)?;
        let mut left = VALUES_MAX;
        if !is_plain(&whole, &mut left) {
            return Err(BenchError::Unshowable);
        }
        let Schema { schema } = Schema::deserialize(&whole).map_err(BenchError::Report)?;
        if schema != SCHEMA {
            return Err(BenchError::Schema {
                found: schema
                    .chars()
                    .filter(char::is_ascii_graphic)
                    .take(64)
                    .collect(),
                expected: SCHEMA,
            });
        }
        serde_json::from_value(whole).map_err(BenchError::Report)
    }

    /// Returns whether nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.primitives.is_empty()
            && self.bulk.is_empty()
            && self.gradients.is_empty()
            && self.checkpoints.is_empty()
            && self.handshakes.is_empty()
            && self.rounds.is_empty()
            && self.baselines.is_empty()
    }

    /// Returns the median of an operation, in microseconds.
    pub(crate) fn median_us(&self, primitive: &str, operation: &str) -> Option<f64> {
        self.primitives
            .iter()
            .find(|row| row.name == primitive)?
            .operations
            .iter()
            .find(|one| one.name == operation)
            .map(|one| one.timing.median_us)
    }
}
