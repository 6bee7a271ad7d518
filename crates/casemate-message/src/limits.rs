//! Every limit of the protocol (`spec/inference.md`, section 11).

/// Default maximum length of an encapsulated request, in bytes.
pub const REQUEST_BYTES_DEFAULT: usize = 32 * 1024 * 1024;
/// Maximum number of header fields and trailers in a message, together.
pub const FIELDS_MAX: usize = 128;
/// Maximum length of a field name, in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// Maximum total length of the field names of a message, in bytes.
pub const NAMES_BYTES_MAX: usize = 8 * 1024;
/// Maximum length of a field value, in bytes.
pub const FIELD_BYTES_MAX: usize = 16 * 1024;
/// Maximum length of `signature-input`, which names every field of a request and its response, in
/// bytes.
pub const INPUT_BYTES_MAX: usize = 64 * 1024;
/// Maximum length of a path with its query, in bytes.
pub const PATH_BYTES_MAX: usize = 8 * 1024;
/// Maximum number of marks in a replay record.
pub const RECORD_MARKS_MAX: u32 = 1 << 20;
/// Maximum number of clients that share a replay record.
pub const CLIENTS_MAX: usize = 4096;
/// Maximum difference between the date of an attempt and the clock, in seconds.
pub const WINDOW_SECONDS: u64 = 60;
/// Maximum time after the first attempt in which a request is accepted, in seconds.
pub const FIRST_ATTEMPT_SECONDS: u64 = 120;
/// Maximum time after the first attempt in which a client sends a request again, in seconds.
pub const RESEND_SECONDS: u64 = 100;
/// Maximum length of a key document, in bytes.
pub const KEY_DOCUMENT_BYTES_MAX: usize = 64 * 1024;
/// Maximum validity of a key document, in seconds.
pub const KEY_DOCUMENT_SECONDS_MAX: u64 = 3600;
/// Maximum clock offset that a client learns from a gateway, in seconds.
pub const OFFSET_SECONDS_MAX: u64 = 3600;
