//! Every limit of the protocol (`spec/inference.md`, section 11).

/// Longest encapsulated request unless configured otherwise, in bytes.
pub const REQUEST_BYTES_DEFAULT: usize = 32 * 1024 * 1024;
/// Most header fields in a message.
pub const FIELDS_MAX: usize = 128;
/// Longest field value, in bytes.
pub const FIELD_BYTES_MAX: usize = 16 * 1024;
/// Longest path with query, in bytes.
pub const PATH_BYTES_MAX: usize = 8 * 1024;
/// Most entries of a replay record.
pub const REPLAY_ENTRIES_MAX: usize = 131_072;
/// How far a message's date may be from the clock, in seconds.
pub const WINDOW_SECONDS: u64 = 300;
/// Longest key document, in bytes.
pub const KEY_DOCUMENT_BYTES_MAX: usize = 64 * 1024;
