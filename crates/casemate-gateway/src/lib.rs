//! The inference gateway and its client connector (`spec/inference.md`, version 1).
//!
//! | task | entry point |
//! |---|---|
//! | open sealed models for serving | [`Models::load`] |
//! | serve | [`Gateway`], then [`serve()`] |
//! | call a gateway | [`Connector`], then [`serve_connector`] or [`Connector::send`] |
//!
//! ```no_run
//! use casemate_gateway::{Limits, LoadError, ModelSource, Models};
//!
//! /// Opens sealed models into memory; no model without its publisher's signature is served.
//! fn load(sources: &[ModelSource<'_>]) -> Result<Models, LoadError> {
//!     Models::load(sources, &Limits::default())
//! }
//! ```
#![expect(clippy::disallowed_methods, reason = "a service reads the clock")]

mod allow;
mod clock;
mod connect;
mod gateway;
mod http_io;
mod limits;
mod refuse;
mod serve;
mod upstream;

pub use allow::{BadRoute, Route};
pub use casemate_server::{Listening, ServeError, ServeOptions};
pub use clock::{Clock, SlewingClock, unix_seconds};
pub use connect::{
    Access, ConnectError, Connector, ConnectorOptions, Local, LocalListener, serve_connector,
};
pub use gateway::{Client, Gateway, GatewayError, GatewayOptions};
pub use limits::Limits;
pub use serve::serve;
pub use upstream::{HttpUpstream, Judge, LoadError, ModelSource, Models, Upstream, UpstreamError};

/// Formats an error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes: Vec<_> = std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect();
    causes.join(": ")
}
