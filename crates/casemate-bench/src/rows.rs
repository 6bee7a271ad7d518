//! The rows of a report, as plain data.

use serde::{Deserialize, Serialize};

/// The machine of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// Processor.
    pub cpu: String,
    /// Number of cores that this process may use.
    pub cores: usize,
    /// Relevant instruction sets.
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
    /// Number of samples.
    pub samples: usize,
}

/// One operation of an algorithm.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// `keygen`, `encapsulate`, `decapsulate`, `encrypt`, `decrypt`, `agree`, `sign`, `verify`,
    /// `seal` or `open`.
    pub name: String,
    /// The time it takes.
    pub timing: Timing,
    /// The cost of a hybrid compared with its parts.
    pub parts: Option<Parts>,
    /// The article's figure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub article: Option<StatedTime>,
}

/// An operation of a hybrid compared with its parts.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parts {
    /// The operations in the sum.
    pub of: Vec<String>,
    /// The sum of their medians, in microseconds.
    pub sum_us: f64,
    /// The hybrid's median divided by that sum.
    pub ratio: f64,
}

/// The sizes of an algorithm's keys and outputs, in bytes.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sizes {
    /// Public key.
    pub public_key: usize,
    /// Private key in its stored form.
    pub private_key: usize,
    /// Private key in its expanded form, if that differs.
    pub private_key_expanded: Option<usize>,
    /// Ciphertext, shared value or signature; the maximum if it varies.
    pub output: usize,
}

/// One public-key algorithm.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Primitive {
    /// Name of the standard or suite.
    pub name: String,
    /// `classical`, `lattice`, `hash-based`, `code-based`, `multivariate` or `hybrid`.
    pub family: String,
    /// The implementation.
    pub library: String,
    /// Its operations.
    pub operations: Vec<Operation>,
    /// Its sizes.
    pub sizes: Sizes,
    /// Peak memory of generating keys and running every operation, above an idle process, in bytes.
    pub peak_memory_bytes: Option<u64>,
    /// The article's figures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub article: Option<Stated>,
}

/// Symmetric throughput.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bulk {
    /// Algorithm.
    pub name: String,
    /// Number of threads, each on its own data.
    pub threads: usize,
    /// Gigabytes (10^9 bytes) per second, all threads together.
    pub gb_per_second: f64,
    /// Median absolute deviation of `gb_per_second`.
    pub mad: f64,
    /// The row that limits it.
    pub limit: Option<String>,
    /// Throughput in percent of that row.
    pub percent_of_limit: Option<f64>,
}

/// One message of a gradient exchange.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gradient {
    /// Length of the message, in bytes.
    pub message_bytes: u64,
    /// `first` for the first message of a session, `steady` for a later one.
    pub phase: String,
    /// Bytes added to the message.
    pub added_bytes: u64,
    /// Bytes added, in percent of the message.
    pub added_percent: f64,
    /// Processor time of sender and receiver together, in microseconds.
    pub cpu: Timing,
    /// Time to copy the same bytes twice, in microseconds: the minimum cost of an unprotected
    /// exchange.
    pub copy: Timing,
}

/// One size of checkpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// Length of the checkpoint, in bytes.
    pub content_bytes: u64,
    /// Length of the artifact by the formula of the format, in bytes.
    pub artifact_bytes_formula: u64,
    /// Length of the artifact that was written, in bytes; `None` if none was written.
    pub artifact_bytes: Option<u64>,
    /// Bytes added, in percent of the content.
    pub overhead_percent: f64,
    /// Time to seal from file to file, with encryption, tree hash and both signatures, in
    /// microseconds.
    pub seal: Option<Timing>,
    /// Time to copy the same file, in microseconds.
    pub copy: Option<Timing>,
    /// Time to verify and open into memory, in microseconds.
    pub open: Option<Timing>,
}

/// One TLS handshake.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handshake {
    /// Key exchange group.
    pub group: String,
    /// Algorithm of the certificate.
    pub certificate: String,
    /// `classical`, `hybrid` or `pure`: the kind of key exchange.
    pub kind: String,
    /// Bytes that the client sends during the handshake.
    pub client_bytes: u64,
    /// Bytes that the server sends during the handshake.
    pub server_bytes: u64,
    /// Time of client and server together, in memory, in microseconds.
    pub time: Timing,
}

/// One federated round: downloading the model and uploading the update.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Round {
    /// Number of parameters, of four bytes each.
    pub parameters: u64,
    /// Rate of the link, in megabits per second.
    pub megabits: u64,
    /// How the rate was limited.
    pub link: String,
    /// `plain`, `tls-classical`, `protected` or `aggregated`.
    pub mode: String,
    /// Wall time including the handshake, in microseconds.
    pub time: Timing,
    /// Time added compared with `plain`, in percent.
    pub added_percent: f64,
    /// Bytes sent by both sides.
    pub bytes: u64,
}

/// A figure of another program.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// The program and its version.
    pub program: String,
    /// The row and operation it is compared with.
    pub row: String,
    /// Its time in microseconds, or its throughput in GB/s.
    pub value: f64,
    /// Unit of `value`.
    pub unit: String,
    /// Casemate's figure, from the same run and in the same unit.
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

/// The article's figures for an algorithm.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stated {
    /// Its name in the article.
    pub name: String,
    /// Its sizes in the article.
    pub sizes: StatedSizes,
}

/// The article's figure for an operation.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatedTime {
    /// The time in the article, in microseconds.
    pub us: f64,
    /// The article's time divided by the measured time: how many times faster this machine is.
    pub ratio: f64,
}
