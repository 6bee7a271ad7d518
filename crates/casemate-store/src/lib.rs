//! Sealed artifacts in object stores: S3, Google Cloud Storage, Azure Blob Storage, through Apache Arrow's `object_store`.
//!
//! Stores are not trusted with anything but to keep bytes: what comes from them is checked as any artifact is. Credentials come by the usual
//! chains (environment, workload identity, instance metadata), and never in an address. Requests are repeated a bounded number of times.
//!
//! | task | entry |
//! |---|---|
//! | find a store | [`Client::locate`] |
//! | read an object in ranges, ahead where all of it is read | [`RemoteObject`] |
//! | write one in parts, visible when it is whole | [`Upload`] |
//! | copy a sealed file to a store, again after an interruption | [`send()`] |
//! | change the recipients without moving the body | [`replace_tail()`] |
//! | sealed directories below a prefix | [`RemoteFolder`] |

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
