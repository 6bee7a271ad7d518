//! The limits of the formats (`spec/sealed-artifact.md`, section 3; `spec/sealed-folder.md`,
//! section 3).

/// Smallest segment, in bytes of content.
pub const SEGMENT_BYTES_MIN: u32 = 64 * 1024;
/// Largest segment, in bytes of content.
pub const SEGMENT_BYTES_MAX: u32 = 16 * 1024 * 1024;
/// Default segment size, in bytes of content.
pub const SEGMENT_BYTES_DEFAULT: u32 = 1024 * 1024;
/// Most segments of an artifact.
pub const SEGMENTS_MAX: u64 = 1 << 23;
/// Longest tail, in bytes.
pub const TAIL_BYTES_MAX: u32 = (1 << 28) + (1 << 27);
/// Longest encoded header, in bytes.
pub const HEADER_BYTES_MAX: usize = 1024;
/// Longest content type, in bytes.
pub const CONTENT_TYPE_BYTES_MAX: usize = 255;
/// Most recipients.
pub const RECIPIENTS_MAX: usize = 1024;
/// Longest publisher part, in bytes.
pub const PRIVATE_BYTES_MAX: usize = 1 << 20;
/// Longest public part, in bytes; a manifest with the longest paths reaches it.
pub const PUBLIC_PART_BYTES_MAX: usize = 64 << 20;
/// Longest recipient part, in bytes.
pub const RECIPIENT_PART_BYTES_MAX: usize = 1024;
/// Longest public key in a recipient list, in bytes.
pub const SPKI_BYTES_MAX: usize = 8 * 1024;
/// Smallest header key that a reader ignores if it does not know it.
pub const HEADER_KEY_IGNORED_MIN: u64 = 64;
/// Longest name in the publisher part, in bytes.
pub const NAME_BYTES_MAX: usize = 4096;
/// Longest signature, in bytes. The longest of any suite is SLH-DSA-SHA2-256s with 29,792.
pub const SIGNATURE_BYTES_MAX: usize = 32 * 1024;
/// Length of the footer, in bytes.
pub const FOOTER_BYTES: u64 = 32;
/// Largest gap between body and tail, in bytes.
pub const GAP_BYTES_MAX: u64 = 2 * (TAIL_BYTES_MAX as u64 + FOOTER_BYTES);
/// Most footers examined if the last one is torn.
pub const FOOTER_CANDIDATES_MAX: usize = 32;
/// Most bytes of tails hashed in the search for the last complete one: that of a torn write, and
/// the one before it.
pub const SEARCH_HASHED_MAX: u64 = 2 * TAIL_BYTES_MAX as u64;
/// Most files in a folder.
pub const FILES_MAX: usize = 1 << 16;
/// Longest manifest, in bytes of content.
pub const MANIFEST_BYTES_MAX: usize = 64 << 20;
/// Longest path in a manifest, in bytes.
pub const PATH_BYTES_MAX: usize = 1024;
/// Most components of a path.
pub const COMPONENTS_MAX: usize = 64;
/// Longest component of a path, in bytes; with `.sealed` appended it is still a valid file name.
pub const COMPONENT_BYTES_MAX: usize = 240;
