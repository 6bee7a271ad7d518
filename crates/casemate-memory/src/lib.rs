//! Memory for secrets: wiped on drop and, on request, in pages that are neither swapped nor dumped.
//!
//! ```
//! let mut key = casemate_memory::Protected::<32>::zeroed();
//! key.fill(7);
//! assert_eq!(*key, [7; 32]);
//! ```
//!
//! [`lock_secrets`] is for programs. A library in another program's process, such as the Python
//! module, must not use up its limits.

mod buffer;
mod pages;
mod protected;

pub use buffer::Buffer;
pub use protected::{Locking, Protected, lock_secrets, locking};
