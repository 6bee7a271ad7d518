//! The local endpoint: plain HTTP in, sealed requests out.

use std::{
    convert::Infallible,
    fmt, fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use casemate_message::{MessageError, Refusal, Request};
use casemate_server::{Connections, MinimumRateStream, Peer, Seat, ServeError};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_MAX_AGE, VARY, WWW_AUTHENTICATE,
    },
};
use hyper::{
    body::{Body, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::{GracefulShutdown, Watcher},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener, UnixStream},
};

use super::{
    Access, ConnectError, Connector,
    access::{AcceptedRequest, AccessError},
};
use crate::{
    chain,
    http_io::{self, Content},
    limits::Limits,
    refuse::sealed_error,
    serve::{Memory, Receiver, waits},
};

/// Room for the headers, signatures and encryption around the content, in bytes.
const OVERHEAD_BYTES: usize = 64 * 1024;

/// A listener for plain requests, which are not protected.
#[derive(Debug)]
pub struct LocalListener(Bound);

#[derive(Debug)]
enum Bound {
    Tcp(TcpListener, SocketAddr),
    Unix(Socket),
}

impl LocalListener {
    /// Listens on a TCP address; port 0 picks a free port.
    ///
    /// # Errors
    ///
    /// [`ServeError::Listen`].
    pub async fn tcp(address: SocketAddr) -> Result<Self, ServeError> {
        let failed = |source| ServeError::Listen {
            address: address.to_string(),
            source,
        };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        Ok(Self(Bound::Tcp(listener, bound)))
    }

    /// Listens on a Unix socket that only this user and root can use.
    ///
    /// # Errors
    ///
    /// [`ServeError::Listen`].
    pub fn unix(path: PathBuf) -> Result<Self, ServeError> {
        Ok(Self(Bound::Unix(Socket::bind(path)?)))
    }

    /// Returns the address of a TCP listener.
    pub const fn address(&self) -> Option<SocketAddr> {
        match &self.0 {
            Bound::Tcp(_, address) => Some(*address),
            Bound::Unix(_) => None,
        }
    }
}

/// `http://address` or `unix:path`.
impl fmt::Display for LocalListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Bound::Tcp(_, address) => write!(f, "http://{address}"),
            Bound::Unix(socket) => write!(f, "unix:{}", socket.path.display()),
        }
    }
}

/// Which plain requests are accepted, and how many.
#[derive(Debug, Default)]
pub struct Local {
    /// What a request needs to be accepted.
    pub access: Access,
    /// The limits for local clients.
    pub limits: Limits,
}

/// Accepts plain HTTP requests and sends them through `connector` until `shutdown` completes.
pub async fn serve_connector(
    connector: Arc<Connector>,
    listener: LocalListener,
    local: Local,
    shutdown: impl Future<Output = ()>,
) {
    let Local { access, limits } = local;
    let passage = Arc::new(LocalProxy {
        connector,
        access,
        connections: Connections::new(limits.connections, limits.connections),
        memory: Memory::new(limits.receiving_bytes, limits.displaceable_after),
        limits: Limits {
            request_bytes: limits.request_bytes.saturating_sub(OVERHEAD_BYTES),
            ..limits
        },
    });
    let graceful = GracefulShutdown::new();
    tokio::pin!(shutdown);
    match listener.0 {
        Bound::Tcp(listener, bound) => {
            let port = bound.ip().is_loopback().then_some(bound.port());
            accept(&passage, port, &graceful, shutdown, || async {
                let (stream, address) = listener.accept().await?;
                Ok((stream, Peer::of(address.ip())))
            })
            .await;
        }
        Bound::Unix(socket) => {
            accept(&passage, None, &graceful, shutdown, || socket.accept()).await;
        }
    }
    // Requests that are not finished by then are aborted; the local client sees it.
    _ = tokio::time::timeout(Duration::from_secs(10), graceful.shutdown()).await;
}

/// Accepts connections until `shutdown` completes.
async fn accept<S, F>(
    passage: &Arc<LocalProxy>,
    port: Option<u16>,
    graceful: &GracefulShutdown,
    mut shutdown: impl Future<Output = ()> + Unpin,
    next: impl Fn() -> F,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = io::Result<(S, Peer)>>,
{
    loop {
        let (stream, peer) = tokio::select! {
            accepted = next() => if let Ok(accepted) = accepted { accepted } else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            },
            () = &mut shutdown => return,
        };
        let Some(seat) = passage.connections.enter(peer) else {
            tracing::warn!("refused a local connection: too many connections are open");
            continue;
        };
        let (passage, watcher) = (Arc::clone(passage), graceful.watcher());
        tokio::spawn(async move {
            let seat = Arc::new(seat);
            tokio::select! {
                () = passage.converse(stream, port, Arc::clone(&seat), watcher) => (),
                () = seat.displaced() => (),
            }
        });
    }
}

/// A Unix socket whose file is removed on drop.
#[derive(Debug)]
struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    fn bind(path: PathBuf) -> Result<Self, ServeError> {
        let failed = |source| ServeError::Listen {
            address: path.display().to_string(),
            source,
        };
        remove_abandoned(&path).map_err(failed)?;
        let listener = UnixListener::bind(&path).map_err(failed)?;
        Ok(Self { listener, path })
    }

    /// Accepts the next connection from this user or root.
    async fn accept(&self) -> io::Result<(UnixStream, Peer)> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            let user = stream.peer_cred()?.uid();
            if user == 0 || user == rustix::process::geteuid().as_raw() {
                return Ok((stream, Peer::of(IpAddr::V4(Ipv4Addr::LOCALHOST))));
            }
            tracing::warn!(user, "refused a connection from another user");
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // If removal fails, the next start finds the abandoned socket and removes it.
        _ = fs::remove_file(&self.path);
    }
}

/// Removes a socket of this user that no process listens on, such as one left by a killed
/// connector.
fn remove_abandoned(path: &Path) -> io::Result<()> {
    let Ok(found) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    let ours = found.file_type().is_socket() && found.uid() == rustix::process::geteuid().as_raw();
    let connected = std::os::unix::net::UnixStream::connect(path);
    let refused = connected.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    if ours && refused {
        fs::remove_file(path)?;
    }
    Ok(())
}

/// The state shared by all local connections.
struct LocalProxy {
    connector: Arc<Connector>,
    access: Access,
    connections: Arc<Connections>,
    memory: Arc<Memory>,
    limits: Limits,
}

/// Why the model did not answer a request: status, code and message for the local client.
struct Failure {
    status: u16,
    code: &'static str,
    message: String,
}

impl LocalProxy {
    async fn converse<S>(
        self: &Arc<Self>,
        stream: S,
        port: Option<u16>,
        seat: Arc<Seat>,
        watcher: Watcher,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (window, least) = (self.limits.answer_window, self.limits.answer_window_bytes);
        let stream = MinimumRateStream::new(stream, window, least);
        let service = service_fn(|request| {
            let (passage, seat) = (Arc::clone(self), Arc::clone(&seat));
            async move { Ok::<_, Infallible>(passage.pass(request, port, &seat).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_mins(1))
            .serve_connection(TokioIo::new(stream), service);
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!(%error, "a local connection broke");
        }
    }

    async fn pass(
        &self,
        request: hyper::Request<Incoming>,
        port: Option<u16>,
        seat: &Seat,
    ) -> hyper::Response<Content> {
        let permit = self.access.check(request.method(), request.headers(), port);
        let page = match permit {
            Ok(AcceptedRequest::Preflight(origin)) => return preflight(&origin, request.headers()),
            Ok(AcceptedRequest::Page(origin)) => Some(origin),
            Ok(AcceptedRequest::Plain) => None,
            Err(denied) => return deny(denied),
        };
        seat.admit();
        let mut response = self
            .forward(request, seat)
            .await
            .unwrap_or_else(|failure| failure.response());
        if let Some(origin) = page {
            allow_page(&origin, response.headers_mut());
        }
        response
    }

    async fn forward(
        &self,
        request: hyper::Request<Incoming>,
        seat: &Seat,
    ) -> Result<hyper::Response<Content>, Failure> {
        let bad = |error: MessageError| Failure::new(400, "message", error.to_string());
        let (mut parts, body) = request.into_parts();
        let receiver = Receiver {
            limits: &self.limits,
            memory: &self.memory,
            peer: seat.peer,
            admitted: true,
            waits: waits(&parts.headers),
        };
        let declared = body.size_hint().exact();
        let received = receiver
            .receive(body, declared)
            .await
            .map_err(|refusal| self.not_received(refusal))?;
        self.access.strip(&mut parts.headers);
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let (method, authority) = (parts.method.as_str(), self.connector.authority());
        let mut protected = Request::new(method, authority, path, received.content).map_err(bad)?;
        http_io::forwarded_fields(&parts.headers, &mut protected.fields).map_err(bad)?;
        http_io::forwarded_fields(&received.trailers, &mut protected.trailers).map_err(bad)?;
        match self.connector.send(protected).await {
            Ok(response) => Ok(http_io::to_plain(response)),
            // Return the gateway's own refusal to the client unchanged.
            Err(ConnectError::Sealed(refused)) => {
                tracing::info!(code = refused.0.code(), "the gateway refused a request");
                Ok(do_not_retry(refused.0, http_io::to_plain(refused.1)))
            }
            Err(error) => Err(Failure::of(&error)),
        }
    }

    fn not_received(&self, refusal: Refusal) -> Failure {
        let limit = self.limits.request_bytes;
        let message = match refusal {
            Refusal::TooLong => format!("content exceeds {limit} bytes"),
            Refusal::Request => "content is incomplete".to_owned(),
            other => other.to_string(),
        };
        Failure::new(refusal.status(), refusal.code(), message)
    }
}

impl Failure {
    const fn new(status: u16, code: &'static str, message: String) -> Self {
        Self {
            status,
            code,
            message,
        }
    }

    fn of(error: &ConnectError) -> Self {
        let message = chain(error);
        match error {
            ConnectError::OutcomeUnknown(_) => Self::new(502, "outcome-unknown", message),
            ConnectError::Timeout => Self::new(504, "connector", message),
            _ => Self::new(502, "connector", message),
        }
    }

    fn response(&self) -> hyper::Response<Content> {
        let Self {
            status,
            code,
            message,
        } = self;
        tracing::info!(status, code, message, "did not forward a request");
        let error = sealed_error(*status, "connector_error", code, message);
        let response = error.map(http_io::to_plain).unwrap_or_default();
        if *code == "outcome-unknown" {
            return no_retry(response);
        }
        response
    }
}

/// Tells the client not to retry. Clients such as `OpenAI`'s retry on their own, and must not
/// repeat a request that may have run.
fn no_retry(mut response: hyper::Response<Content>) -> hyper::Response<Content> {
    let name = HeaderName::from_static("x-should-retry");
    let no = HeaderValue::from_static("false");
    response.headers_mut().insert(name, no);
    response
}

fn do_not_retry(refusal: Refusal, response: hyper::Response<Content>) -> hyper::Response<Content> {
    match refusal {
        // An attempt refused with one of the last two may still be delivered.
        Refusal::Duplicate
        | Refusal::OutcomeUnknown
        | Refusal::Late
        | Refusal::RecordFull
        | Refusal::FarAhead => no_retry(response),
        _ => response,
    }
}

fn deny(denied: AccessError) -> hyper::Response<Content> {
    let message = denied.message();
    tracing::info!(message, "refused a local request");
    let error = sealed_error(denied.status(), "connector_error", "access", message);
    let mut response = error.map(http_io::to_plain).unwrap_or_default();
    if denied == AccessError::Token {
        let bearer = HeaderValue::from_static("Bearer");
        response.headers_mut().insert(WWW_AUTHENTICATE, bearer);
    }
    response
}

fn preflight(origin: &HeaderValue, asked: &HeaderMap) -> hyper::Response<Content> {
    let mut response = hyper::Response::<Content>::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    allow_page(origin, headers);
    for (answer, question) in [
        (
            ACCESS_CONTROL_ALLOW_METHODS,
            "access-control-request-method",
        ),
        (
            ACCESS_CONTROL_ALLOW_HEADERS,
            "access-control-request-headers",
        ),
    ] {
        if let Some(asked) = asked.get(question) {
            headers.insert(answer, asked.clone());
        }
    }
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}

fn allow_page(origin: &HeaderValue, headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.append(VARY, HeaderValue::from_static("origin"));
}
