//! The user's environment: how keys and policies are named, and which files they are read from.
//!
//! A word on a command line, in a configuration or in a Python call may come from anywhere, but
//! must resolve predictably. A bare word is therefore a name in the key store, a full key id or a
//! built-in policy. Only text with a `/` names a file:
//!
//! ```
//! use casemate_environment::KeyReference;
//!
//! assert!(matches!("publisher".parse(), Ok(KeyReference::Name(_))));
//! assert!(matches!("./publisher.pub".parse(), Ok(KeyReference::File(_))));
//! assert!("0123456789abcdef".parse::<KeyReference>().is_err()); // a short id: for display only
//! ```
#![expect(
    clippy::disallowed_methods,
    reason = "this crate is where the environment is read"
)]

mod date;
mod error;
mod etcd;
mod file;
mod home;
mod ignore_file;
mod key_place;
mod key_service;
mod place;
mod policy;
mod recipients;
mod reference;
mod store_secret;
mod toml_file;
mod trust;

pub use date::seconds_of;
pub use error::EnvironmentError;
pub use etcd::{EtcdPlace, etcd_path};
pub use file::{check_secret, read_limited, read_secret, without_line_end};
pub use home::{home, store_path};
pub use ignore_file::Excluded;
pub use key_place::KeyPlace;
pub use key_service::{KeyService, key_service_path};
pub use place::{is_in_memory, memory_folder, temporary_folder};
pub use policy::{PolicyReference, policy};
pub use recipients::{ListRefused, judge_list};
pub use reference::{KeyReference, public_from_bytes};
pub use store_secret::{PASSPHRASE_BYTES_MAX, store_secret};
pub use toml_file::read_toml;
pub use trust::{Publisher, Signed, Statuses, TrustList, Untrusted};
