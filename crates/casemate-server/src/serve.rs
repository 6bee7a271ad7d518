//! Listens, accepts and converses.

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use casemate_tls::{GroupName, is_classical};
use http::{HeaderValue, Request, Response, header::CONNECTION};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
};
use ipnet::IpNet;
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    Connections, MinimumRateStream, Peer, Seat, Throttle,
    handshakes::{Handshakes, TlsConnection},
    health, proxy,
};

/// Maximum length of a header section, and minimum buffer of a connection, in bytes.
pub const HEADER_BYTES_MAX: usize = 64 * 1024;

/// Why a server stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Listening on the address failed.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: String,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// A thread could not be started.
    #[error("cannot start the handshake thread")]
    Thread(#[source] io::Error),
}

/// The options for serving.
#[derive(Debug)]
pub struct ServeOptions {
    /// Address to listen on; port 0 picks a free port.
    pub listen: SocketAddr,
    /// Address of a plain HTTP listener for probes.
    pub health: Option<SocketAddr>,
    /// Networks of load balancers whose connections begin with a PROXY header.
    pub trusted_proxies: Vec<IpNet>,
    /// TLS configuration.
    pub tls: ServerConfig,
}

/// The addresses that a server listens on.
#[derive(Clone, Copy, Debug)]
pub struct Listening {
    /// For requests.
    pub address: SocketAddr,
    /// For probes.
    pub health: Option<SocketAddr>,
}

/// Answers requests.
pub trait Answer: Send + Sync + 'static {
    /// What is known of whoever is at the other end of a connection.
    type Client: Send + Sync;

    /// Finds out who is at the other end, by the certificate in DER if it was asked for one.
    fn meet(&self, certificate: Option<&[u8]>) -> Self::Client;

    /// Answers a request on a connection.
    fn answer(
        &self,
        request: Request<Incoming>,
        connection: &Connection<Self::Client>,
    ) -> impl Future<Output = Response<Full<Bytes>>> + Send;
}

/// A connection after its handshake.
#[derive(Debug)]
pub struct Connection<C> {
    /// Its place among the connections.
    pub seat: Arc<Seat>,
    /// Who is at the other end.
    pub client: C,
    since: Instant,
    requests: AtomicU32,
}

/// Limits of the connections of a server.
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    /// Maximum number of concurrent connections.
    pub all: usize,
    /// Maximum number of concurrent connections of one peer.
    pub per_peer: usize,
    /// Maximum age of a connection.
    pub age: Duration,
    /// Maximum number of requests on a connection.
    pub requests: u32,
    /// Maximum time for a TLS handshake, including the PROXY header.
    pub handshake: Duration,
    /// Maximum time for a header section, including the idle time before it.
    pub header: Duration,
    /// Maximum time in which a peer reads nothing of an answer, and the window over which its rate
    /// is measured.
    pub answer_window: Duration,
    /// Minimum that a peer must read in each window of waiting for it, in bytes.
    pub answer_window_bytes: usize,
    /// Maximum number of concurrent TLS handshakes, in total and for one peer.
    pub handshakes: (usize, usize),
    /// Maximum time for open requests after shutdown begins.
    pub drain: Duration,
}

/// Serves until `shutdown` completes, then lets open requests finish.
///
/// Calls `ready` once with the addresses it listens on.
///
/// # Errors
///
/// [`ServeError`].
pub async fn serve<A: Answer>(
    answers: Arc<A>,
    limits: ConnectionLimits,
    options: ServeOptions,
    ready: impl FnOnce(Listening),
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let listener = listen(options.listen).await?;
    let health = match options.health {
        Some(address) => Some(listen(address).await?),
        None => None,
    };
    let bound = |listener: &TcpListener, address: SocketAddr| {
        let local = listener.local_addr();
        local.map_err(|source| failed(address, source))
    };
    ready(Listening {
        address: bound(&listener, options.listen)?,
        health: match (&health, options.health) {
            (Some(listener), Some(address)) => Some(bound(listener, address)?),
            _ => None,
        },
    });
    let probes = health.map(health::Serving::start);
    let acceptor = TlsAcceptor::from(Arc::new(options.tls));
    let server = Arc::new(Server {
        handshakes: Handshakes::start(acceptor, limits.handshakes).map_err(ServeError::Thread)?,
        connections: Connections::new(limits.all, limits.per_peer),
        proxied: Arc::new(Semaphore::new(limits.all)),
        trusted_proxies: options.trusted_proxies,
        classical: AtomicU64::new(0),
        handshake_refusals: Throttle::default(),
        connection_refusals: Throttle::default(),
        answers,
        limits,
    });
    let graceful = GracefulShutdown::new();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => {
                    let server = Arc::clone(&server);
                    tokio::spawn(server.connection(stream, address.ip(), graceful.watcher()));
                }
                // Out of file descriptors: wait for connections to close instead of spinning.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            () = &mut shutdown => break,
        }
    }
    drop((listener, probes));
    if timeout(server.limits.drain, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("some requests did not finish before the shutdown deadline");
    }
    Ok(())
}

fn failed(address: SocketAddr, source: io::Error) -> ServeError {
    ServeError::Listen {
        address: address.to_string(),
        source,
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, ServeError> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|source| failed(address, source))
}

struct Server<A> {
    answers: Arc<A>,
    limits: ConnectionLimits,
    handshakes: Handshakes,
    connections: Arc<Connections>,
    /// Bounds the connections of trusted proxies whose header is being read.
    proxied: Arc<Semaphore>,
    trusted_proxies: Vec<IpNet>,
    /// Number of connections without post-quantum key exchange since the start.
    classical: AtomicU64,
    handshake_refusals: Throttle,
    connection_refusals: Throttle,
}

impl<A: Answer> Server<A> {
    async fn connection(self: Arc<Self>, mut stream: TcpStream, address: IpAddr, watcher: Watcher) {
        let peer = if proxy::is_trusted(&self.trusted_proxies, address) {
            // The connection counts against the client, which is known once the header is read.
            let Ok(_reading) = Arc::clone(&self.proxied).try_acquire_owned() else {
                return;
            };
            let header = proxy::read_header(&mut stream);
            if let Ok(Ok(client)) = timeout(self.limits.handshake, header).await {
                Peer::of(client.unwrap_or(address))
            } else {
                if let Some(left_out) = self.connection_refusals.pass() {
                    tracing::warn!(%address, left_out, "refused a connection from a trusted proxy: no PROXY header of version 2");
                }
                return;
            }
        } else {
            Peer::of(address)
        };
        let Some(seat) = self.connections.enter(peer) else {
            if let Some(left_out) = self.connection_refusals.pass() {
                tracing::warn!(
                    ?peer,
                    left_out,
                    "refused a connection: too many connections are open"
                );
            }
            return;
        };
        let seat = Arc::new(seat);
        tokio::select! {
            () = Arc::clone(&self).converse(stream, Arc::clone(&seat), watcher) => (),
            () = seat.displaced() => (),
        }
    }

    async fn converse(self: Arc<Self>, stream: TcpStream, seat: Arc<Seat>, watcher: Watcher) {
        // Answers are written whole, so Nagle's algorithm would only delay them.
        _ = stream.set_nodelay(true);
        let (window, least) = (self.limits.answer_window, self.limits.answer_window_bytes);
        let stream = MinimumRateStream::new(stream, window, least);
        let handshake = self.handshakes.accept(seat.peer, stream);
        let stream = match timeout(self.limits.handshake, handshake).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return self.note_handshake(&error.to_string()),
            Err(_) => return self.note_handshake("the handshake did not finish in time"),
        };
        self.note_group(&stream);
        let certificates = stream.get_ref().1.peer_certificates();
        let certificate = certificates.and_then(<[_]>::first);
        let connection = Arc::new(Connection {
            seat,
            client: self.answers.meet(certificate.map(AsRef::as_ref)),
            since: Instant::now(),
            requests: AtomicU32::new(0),
        });
        let service = service_fn(|request| {
            let (server, connection) = (Arc::clone(&self), Arc::clone(&connection));
            async move { Ok::<_, Infallible>(server.answer(request, &connection).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header)
            .max_buf_size(HEADER_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service);
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!(%error, "a connection broke");
        }
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        connection: &Connection<A::Client>,
    ) -> Response<Full<Bytes>> {
        let mut response = self.answers.answer(request, connection).await;
        let requests = connection.requests.fetch_add(1, Ordering::Relaxed);
        let last = requests.saturating_add(1) >= self.limits.requests
            || connection.since.elapsed() >= self.limits.age;
        if last {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
        response
    }

    fn note_handshake(&self, error: &str) {
        if let Some(left_out) = self.handshake_refusals.pass() {
            tracing::info!(error, left_out, "refused a TLS handshake");
        }
    }

    fn note_group(&self, stream: &TlsConnection) {
        let Some(group) = stream.get_ref().1.negotiated_key_exchange_group() else {
            return;
        };
        let group = group.name();
        if is_classical(group) {
            let count = self
                .classical
                .fetch_add(1, Ordering::Relaxed)
                .saturating_add(1);
            tracing::warn!(
                count,
                "a peer connected without post-quantum key exchange; FALLBACK_CRYPTO allows this"
            );
        } else {
            tracing::debug!(group = %GroupName(group), "connected");
        }
    }
}
