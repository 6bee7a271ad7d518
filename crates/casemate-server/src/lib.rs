//! TLS servers whose connections, handshakes and answers are bounded and shared fairly among peers.
//!
//! [`serve()`] owns the sockets and gives each request to an [`Answer`].
//!
//! ```
//! use casemate_server::{Answer, Connection};
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use hyper::body::{Bytes, Incoming};
//!
//! struct Hello;
//!
//! impl Answer for Hello {
//!     type Client = ();
//!
//!     fn meet(&self, _: Option<&[u8]>) {}
//!
//!     async fn answer(&self, _: Request<Incoming>, _: &Connection<()>) -> Response<Full<Bytes>> {
//!         Response::new(Full::from("hello"))
//!     }
//! }
//! ```
#![expect(clippy::disallowed_methods, reason = "a server reads the clock")]

mod body;
mod connections;
mod handshakes;
mod health;
mod paced;
mod peer;
mod proxy;
mod serve;
mod shares;
mod throttle;

pub use body::{BodyError, read_body};
pub use connections::{Connections, Seat};
pub use paced::MinimumRateStream;
pub use peer::Peer;
pub use serve::{
    Answer, Connection, ConnectionLimits, HEADER_BYTES_MAX, Listening, ServeError, ServeOptions,
    serve,
};
pub use shares::{Share, Shares};
pub use throttle::Throttle;
