//! The rows of a report: plain data.

use serde::{Deserialize, Serialize};

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

/// Sizes that the article states, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatedSizes {
    /// Public key.
    pub public: usize,
    /// Private key.
    pub private: usize,
    /// Signature, or RSA's ciphertext.
    #[serde(default)]
    pub output: Option<usize>,
}

/// What the article states for an algorithm.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stated {
    /// Its name there.
    pub name: String,
    /// Its sizes there.
    pub sizes: StatedSizes,
}

/// What the article states for an operation.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatedTime {
    /// The time there, in microseconds.
    pub us: f64,
    /// That over the time measured here: how many times faster this machine is.
    pub ratio: f64,
}
