//! The report: what `--json` writes and `--compare` reads, schema `casemate.bench/1`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    BenchError, Options,
    article::{Stated, StatedTime},
    machine,
};

/// Schema of the JSON.
pub(crate) const SCHEMA: &str = "casemate.bench/1";
/// Longest report that is read, in bytes.
pub const REPORT_BYTES_MAX: usize = 8 << 20;

/// Longest text in a report that is read, in bytes.
const TEXT_BYTES_MAX: usize = 512;
/// Most values in a report that is read; a thorough run of everything has some 3,000.
const VALUES_MAX: usize = 50_000;

/// Whether a report from outside can be shown: short texts without control characters, and not too many values.
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

/// Everything measured in one run.
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
    /// Where it was measured.
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
    /// Figures of programs that nobody here wrote, from the same run.
    pub baselines: Vec<Baseline>,
    /// What a reader should know before believing a figure.
    pub notes: Vec<String>,
}

/// The machine of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// Processor.
    pub cpu: String,
    /// Cores this process may use.
    pub cores: usize,
    /// Instruction sets that matter here.
    pub features: Vec<String>,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// Operating system.
    pub system: String,
}

/// A time, in microseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timing {
    /// Median.
    pub median_us: f64,
    /// Median absolute deviation.
    pub mad_us: f64,
    /// Samples.
    pub samples: usize,
}

/// One operation of an algorithm.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// `keygen`, `encapsulate`, `decapsulate`, `encrypt`, `decrypt`, `agree`, `sign`, `verify`, `seal` or `open`.
    pub name: String,
    /// How long it takes.
    pub timing: Timing,
    /// What a hybrid costs over its parts.
    pub parts: Option<Parts>,
    /// What the article states for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub article: Option<StatedTime>,
}

/// A hybrid's operation against those it is made of.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parts {
    /// What was added up.
    pub of: Vec<String>,
    /// Sum of their medians, in microseconds.
    pub sum_us: f64,
    /// The hybrid's median over that sum.
    pub ratio: f64,
}

/// Bytes of what an algorithm makes.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sizes {
    /// Public key.
    pub public_key: usize,
    /// Private key as it is stored.
    pub private_key: usize,
    /// Private key as it is computed with, where that differs.
    pub private_key_expanded: Option<usize>,
    /// Ciphertext, shared value or signature; the largest where it varies.
    pub output: usize,
}

/// One public-key algorithm.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Primitive {
    /// The standard's name, or the suite's.
    pub name: String,
    /// `classical`, `lattice`, `hash-based`, `code-based`, `multivariate` or `hybrid`.
    pub family: String,
    /// Whose implementation.
    pub library: String,
    /// Its operations.
    pub operations: Vec<Operation>,
    /// Its sizes.
    pub sizes: Sizes,
    /// Most memory that making keys and running every operation needed over an idle process, in bytes.
    pub peak_memory_bytes: Option<u64>,
    /// What the article states for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub article: Option<Stated>,
}

/// Symmetric throughput.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bulk {
    /// Algorithm.
    pub name: String,
    /// Threads, each on data of its own.
    pub threads: usize,
    /// Gigabytes (10^9) in a second, all threads together.
    pub gb_per_second: f64,
    /// Median absolute deviation of the same.
    pub mad: f64,
    /// The row it is limited by.
    pub limit: Option<String>,
    /// Percent of that row.
    pub percent_of_limit: Option<f64>,
}

/// One message of a gradient exchange.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gradient {
    /// Bytes of the message.
    pub message_bytes: u64,
    /// `first` message of a session, or a later one: `steady`.
    pub phase: String,
    /// Bytes added to the message.
    pub added_bytes: u64,
    /// The same in percent.
    pub added_percent: f64,
    /// Processor time of sender and receiver together, in microseconds.
    pub cpu: Timing,
    /// Copying the same bytes twice, in microseconds: what an unprotected exchange costs at least.
    pub copy: Timing,
}

/// One size of checkpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// Bytes of the checkpoint.
    pub content_bytes: u64,
    /// Bytes of the artifact by the format's formula.
    pub artifact_bytes_formula: u64,
    /// Bytes of the artifact that was written, if one was.
    pub artifact_bytes: Option<u64>,
    /// Bytes added, in percent of the content.
    pub overhead_percent: f64,
    /// Sealing, file to file, encryption and tree hash and both signatures, in microseconds.
    pub seal: Option<Timing>,
    /// Copying the same file, in microseconds.
    pub copy: Option<Timing>,
    /// Verifying and opening to memory, in microseconds.
    pub open: Option<Timing>,
}

/// One TLS handshake.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handshake {
    /// Key exchange group.
    pub group: String,
    /// Certificate's algorithm.
    pub certificate: String,
    /// `classical`, `hybrid` or `pure`: what keeps the session closed.
    pub kind: String,
    /// Bytes from the client until it is done.
    pub client_bytes: u64,
    /// Bytes from the server until it is done.
    pub server_bytes: u64,
    /// Client and server together, in memory, in microseconds.
    pub time: Timing,
}

/// One federated round: the model down, the update up.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Round {
    /// Parameters, four bytes each.
    pub parameters: u64,
    /// Rate of the link in either direction, in megabits per second.
    pub megabits: u64,
    /// How the rate was limited.
    pub link: String,
    /// `plain`, `tls-classical` or `protected`.
    pub mode: String,
    /// Wall time, handshake included, in microseconds.
    pub time: Timing,
    /// Time over that of `plain`, in percent.
    pub added_percent: f64,
    /// Bytes that both sides sent.
    pub bytes: u64,
}

/// A figure of another program.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// The program and its version.
    pub program: String,
    /// Our row and operation that it stands beside.
    pub row: String,
    /// Its time in microseconds, or its throughput in GB/s.
    pub value: f64,
    /// Unit of `value`.
    pub unit: String,
    /// Ours, from the same run and in the same unit.
    pub ours: Option<f64>,
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

    /// Whether nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.primitives.is_empty()
            && self.bulk.is_empty()
            && self.gradients.is_empty()
            && self.checkpoints.is_empty()
            && self.handshakes.is_empty()
            && self.rounds.is_empty()
            && self.baselines.is_empty()
    }

    /// An operation's median in microseconds.
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
