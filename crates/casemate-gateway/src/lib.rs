//! The inference gateway and its client connector (`spec/inference.md`, version 1).
//!
//! | task | entry |
//! |---|---|
//! | open sealed models for serving | [`Models::load`] |
//! | serve | [`Gateway`], then [`serve()`] |
//! | speak to a gateway | [`Connector`], then [`serve_connector`] or [`Connector::send`] |

mod clock;
mod connect;
mod gateway;
mod http_io;
mod problem;
mod serve;
mod upstream;

pub use clock::unix_seconds;
pub use connect::{ConnectError, Connector, ConnectorOptions, Plain, serve_connector};
pub use gateway::{Client, Gateway, GatewayError, GatewayOptions};
pub use serve::{ServeError, ServeOptions, serve};
pub use upstream::{HttpUpstream, Judge, LoadError, ModelSource, Models, Upstream, UpstreamError};
