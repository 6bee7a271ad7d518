//! The sockets of the gateway.

mod content;
mod memory;
mod routes;

use std::sync::Arc;

use casemate_server::{Answer, Connection, Listening, Peer, ServeError, ServeOptions, Shares};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};

use crate::{gateway::Gateway, limits::Limits};
pub(crate) use content::{Receiver, waits};
pub(crate) use memory::Memory;

/// Serves until `shutdown` completes, then lets open requests finish.
///
/// Calls `ready` once with the addresses it listens on.
///
/// # Errors
///
/// [`ServeError`].
pub async fn serve(
    gateway: Arc<Gateway>,
    options: ServeOptions,
    ready: impl FnOnce(Listening),
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let limits = gateway.limits.clone();
    let connections = limits.of_connections();
    let server = Server {
        memory: Memory::new(limits.receiving_bytes, limits.displaceable_after),
        known: Shares::new(limits.checks, limits.checks),
        strangers: Shares::new(limits.checks.div_ceil(2), 1),
        gateway,
        limits,
    };
    casemate_server::serve(Arc::new(server), connections, options, ready, shutdown).await
}

struct Server {
    gateway: Arc<Gateway>,
    limits: Limits,
    memory: Arc<Memory>,
    /// Turns to check requests: on connections that carried an admitted request, and on all others.
    known: Arc<Shares<Peer>>,
    strangers: Arc<Shares<Peer>>,
}

impl Answer for Server {
    // Clients are known by their signatures.
    type Client = ();

    fn meet(&self, _: Option<&[u8]>) {}

    async fn answer(
        &self,
        request: Request<Incoming>,
        connection: &Connection<()>,
    ) -> Response<Full<Bytes>> {
        self.route(request, &connection.seat).await
    }
}
