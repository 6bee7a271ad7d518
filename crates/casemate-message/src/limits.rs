//! Every limit of the protocol (`spec/inference.md`, section 11).

/// Longest encapsulated request unless configured otherwise, in bytes.
pub const REQUEST_BYTES_DEFAULT: usize = 32 * 1024 * 1024;
/// Most header fields and trailers in a message, together.
pub const FIELDS_MAX: usize = 128;
/// Longest field name, in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// Length of all field names of a message together, in bytes.
pub const NAMES_BYTES_MAX: usize = 8 * 1024;
/// Longest field value, in bytes.
pub const FIELD_BYTES_MAX: usize = 16 * 1024;
/// Longest value of `signature-input`, which names every field of a request and of its response, in bytes.
pub const INPUT_BYTES_MAX: usize = 64 * 1024;
/// Longest path with query, in bytes.
pub const PATH_BYTES_MAX: usize = 8 * 1024;
/// Most marks of a replay record.
pub const RECORD_MARKS_MAX: u32 = 1 << 20;
/// Most clients that share a replay record.
pub const CLIENTS_MAX: usize = 4096;
/// How far the date of an attempt may be from the clock, in seconds.
pub const WINDOW_SECONDS: u64 = 60;
/// How long after its first attempt a request is still accepted, in seconds.
pub const FIRST_ATTEMPT_SECONDS: u64 = 120;
/// How long after its first attempt a client still sends a request again, in seconds.
pub const RESEND_SECONDS: u64 = 100;
/// Longest key document, in bytes.
pub const KEY_DOCUMENT_BYTES_MAX: usize = 64 * 1024;
/// Longest life of a key document, in seconds.
pub const KEY_DOCUMENT_SECONDS_MAX: u64 = 3600;
/// Largest clock offset that a client learns from a gateway, in seconds.
pub const OFFSET_SECONDS_MAX: u64 = 3600;
