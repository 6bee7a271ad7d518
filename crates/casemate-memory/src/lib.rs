//! Memory for secrets: wiped when it is given back and, where a program asks for it, in pages that are neither swapped nor dumped.
//!
//! ```
//! let mut key = casemate_memory::Protected::<32>::zeroed();
//! key.fill(7);
//! assert_eq!(*key, [7; 32]);
//! ```
//!
//! [`lock_secrets`] is for programs. A library in somebody else's process, such as the Python module, leaves that process's limits alone.

mod buffer;
mod pages;
mod protected;

pub use buffer::Buffer;
pub use protected::{Locking, Protected, lock_secrets, locking};
