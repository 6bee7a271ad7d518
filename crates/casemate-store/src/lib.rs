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

#[cfg(not(feature = "clients"))]
mod absent;
mod address;
#[cfg(feature = "clients")]
mod client;
mod error;
#[cfg(feature = "clients")]
mod folder;
#[cfg(feature = "clients")]
mod http;
#[cfg(feature = "clients")]
mod io_error;
#[cfg(feature = "clients")]
mod location;
#[cfg(feature = "clients")]
mod object;
#[cfg(feature = "clients")]
mod profile;
#[cfg(feature = "clients")]
mod read_ahead;
#[cfg(feature = "clients")]
mod region;
#[cfg(feature = "clients")]
mod request;
#[cfg(feature = "clients")]
mod rewrap;
#[cfg(feature = "clients")]
mod s3;
#[cfg(feature = "clients")]
mod send;
#[cfg(feature = "clients")]
#[cfg(test)]
mod tests;
#[cfg(feature = "clients")]
mod upload;

#[cfg(not(feature = "clients"))]
pub use absent::{
    Client, Location, RemoteFolder, RemoteObject, Upload, journal_name, list, list_sealed,
    replace_tail, send,
};
pub use address::{is_address, local_path};
pub use error::StoreError;
#[cfg(feature = "clients")]
pub use {
    client::Client,
    folder::{RemoteFolder, list, list_sealed},
    location::Location,
    object::RemoteObject,
    rewrap::replace_tail,
    send::{journal_name, send},
    upload::Upload,
};

/// Most objects in a listing, including those that are filtered out.
pub const OBJECTS_MAX: usize = 1_000_000;

/// The result of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Length of the object, in bytes.
    pub len: u64,
    /// Number of bytes that an earlier, interrupted copy had already sent.
    pub resumed: u64,
}
