//! Sockets of the gateway.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use casemate_tls::{GroupName, is_classical};
use http::{
    HeaderValue, Method, Request, Response,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    gateway::{
        GATEWAY_PATH, Gateway, KEY_DOCUMENT_PATH, KEYS_MEDIA_TYPE, REQUEST_MEDIA_TYPE,
        RESPONSE_MEDIA_TYPE,
    },
    http_io::{BodyError, ByteBudget},
    problem::Problem,
};

/// Most connections at once.
const CONNECTIONS_MAX: usize = 1024;
/// Most bytes of requests that are being received or opened at once.
const RECEIVING_BYTES_MAX: usize = 512 * 1024 * 1024;
/// How long a handshake, a header or a body may take.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);
const HEADER_PATIENCE: Duration = Duration::from_secs(10);
const BODY_PATIENCE: Duration = Duration::from_mins(1);
/// How long open requests may take once shutdown began.
const DRAIN_PATIENCE: Duration = Duration::from_secs(30);

/// Why serving ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        #[source]
        source: io::Error,
    },
}

/// Where and how to serve.
#[derive(Debug)]
pub struct ServeOptions {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// TLS configuration.
    pub tls: ServerConfig,
}

/// Serves until `shutdown` completes, then lets open requests finish.
///
/// `ready` is called once with the address that is listened on.
///
/// # Errors
///
/// [`ServeError`].
pub async fn serve(
    gateway: Arc<Gateway>,
    options: ServeOptions,
    ready: impl FnOnce(SocketAddr),
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let address = options.listen;
    let failed = |source| ServeError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    ready(listener.local_addr().map_err(failed)?);
    let server = Arc::new(Server {
        gateway,
        acceptor: TlsAcceptor::from(Arc::new(options.tls)),
        slots: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        classical: AtomicU64::new(0),
        budget: ByteBudget::new(RECEIVING_BYTES_MAX),
    });
    let graceful = GracefulShutdown::new();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => server.spawn(stream, &graceful),
                // Out of descriptors: wait for connections to close instead of spinning.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            () = &mut shutdown => break,
        }
    }
    drop(listener);
    if tokio::time::timeout(DRAIN_PATIENCE, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("some requests did not finish in time");
    }
    Ok(())
}

struct Server {
    gateway: Arc<Gateway>,
    acceptor: TlsAcceptor,
    slots: Arc<Semaphore>,
    /// Connections without post-quantum key exchange since the start.
    classical: AtomicU64,
    budget: ByteBudget,
}

impl Server {
    fn spawn(self: &Arc<Self>, stream: TcpStream, graceful: &GracefulShutdown) {
        let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() else {
            tracing::warn!("refused a connection: {CONNECTIONS_MAX} are open");
            return;
        };
        let server = Arc::clone(self);
        let watcher = graceful.watcher();
        tokio::spawn(async move {
            let _slot = slot;
            let handshake = server.acceptor.accept(stream);
            let stream = match tokio::time::timeout(HANDSHAKE_PATIENCE, handshake).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => return tracing::info!(%error, "refused a TLS handshake"),
                Err(_) => return tracing::info!("a TLS handshake did not finish in time"),
            };
            server.note_group(stream.get_ref().1);
            let service = service_fn(|request| {
                let server = Arc::clone(&server);
                async move { Ok::<_, Infallible>(server.route(request).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_PATIENCE)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = watcher.watch(connection).await {
                tracing::debug!(%error, "a connection broke off");
            }
        });
    }

    async fn route(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        // hyper leaves out the content of an answer to HEAD.
        let get = [Method::GET, Method::HEAD].contains(request.method());
        let answer = match request.uri().path() {
            GATEWAY_PATH if get => Ok(content(KEYS_MEDIA_TYPE, self.gateway.key_list().to_vec())),
            GATEWAY_PATH if request.method() == Method::POST => self.protected(request).await,
            KEY_DOCUMENT_PATH if get => self
                .gateway
                .key_document()
                .map(|document| content("application/json", document)),
            "/healthz" | "/readyz" if get => Ok(content("text/plain", b"ok\n".to_vec())),
            GATEWAY_PATH => Err(Problem::Method("GET, HEAD, POST")),
            KEY_DOCUMENT_PATH | "/healthz" | "/readyz" => Err(Problem::Method("GET, HEAD")),
            _ => Err(Problem::NotFound),
        };
        answer.unwrap_or_else(Problem::response)
    }

    async fn protected(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Problem> {
        let media_type = request.headers().get(CONTENT_TYPE);
        let media_type = media_type.and_then(|value| value.to_str().ok());
        if !media_type.is_some_and(|found| found.trim().eq_ignore_ascii_case(REQUEST_MEDIA_TYPE)) {
            return Err(Problem::MediaType);
        }
        let limit = self.gateway.request_bytes_max;
        let read = self
            .budget
            .read(request.into_body(), limit, BODY_PATIENCE)
            .await;
        let (sealed, _held) = read.map_err(|error| match error {
            BodyError::TooLong => Problem::TooLong,
            BodyError::Busy => Problem::Busy,
            BodyError::Timeout => Problem::Timeout,
            BodyError::Broken => Problem::Request,
        })?;
        let answer = Arc::clone(&self.gateway).handle(sealed).await?;
        Ok(content(RESPONSE_MEDIA_TYPE, answer))
    }

    fn note_group(&self, connection: &rustls::ServerConnection) {
        let Some(group) = connection.negotiated_key_exchange_group() else {
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
                "a classical-only peer connected, as FALLBACK_CRYPTO allows"
            );
        } else {
            tracing::debug!(group = %GroupName(group), "connected");
        }
    }
}

fn content(media_type: &'static str, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
