//! Sealed artifacts in object stores: S3, Google Cloud Storage, Azure Blob Storage, through Apache
//! Arrow's `object_store`.
//!
//! Object stores are trusted only to store bytes: what they return is verified like any other
//! artifact. Credentials come from the usual chain (environment, workload identity, instance
//! metadata), never from an address. Requests are retried a bounded number of times.
//!
//! | task | entry |
//! |---|---|
//! | find an object or prefix | [`Client::locate`] |
//! | read an object in ranges, with read-ahead for sequential reads | [`RemoteObject`] |
//! | write an object in parts, visible when it is complete | [`Upload`] |
//! | copy a sealed file to an object store, resuming after an interruption | [`send()`] |
//! | change recipients without moving the body | [`replace_tail()`] |
//! | read and write sealed folders below a prefix | [`RemoteFolder`] |
//!
//! ```no_run
//! use casemate_crypto::policy::Policy;
//! use casemate_seal::Artifact;
//! use casemate_store::{Client, RemoteObject};
//!
//! let policy = Policy::by_name("hybrid")?;
//! let tls = casemate_tls::store_config(policy.tls_groups(), None)?;
//! let client = Client::new(std::env::vars(), tls)?;
//! let object = RemoteObject::open(&client.locate("s3://models/demo.sealed")?)?;
//! println!("{} recipients", Artifact::read(object)?.recipients().len());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod client;
mod error;
mod folder;
mod http;
mod location;
mod object;
mod profile;
mod read_ahead;
mod region;
mod request;
mod rewrap;
mod s3;
mod send;
#[cfg(test)]
mod tests;
mod upload;

pub use client::{Client, local_path};
pub use error::StoreError;
pub use folder::{OBJECTS_MAX, RemoteFolder, list, list_sealed};
pub use location::Location;
pub use object::RemoteObject;
pub use rewrap::replace_tail;
pub use send::{Sent, journal_name, send};
pub use upload::Upload;
