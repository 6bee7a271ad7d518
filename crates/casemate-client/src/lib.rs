//! HTTPS requests from code that waits for the answers, on whatever thread it runs.
//!
//! ```no_run
//! use std::time::Duration;
//! use casemate_client::{ClientError, HttpClient, Limits};
//! use http::Request;
//!
//! fn ask(tls: rustls::ClientConfig) -> Result<(), ClientError> {
//!     let limits = Limits { connect: Duration::from_secs(5), answer: Duration::from_secs(10), answer_bytes: 1 << 20 };
//!     let client = HttpClient::new(tls, limits)?;
//!     let request = Request::get("https://keys.example.org/").body(Vec::new()).unwrap();
//!     let answer = client.send(request)?;
//!     assert_eq!(answer.status, http::StatusCode::OK);
//!     Ok(())
//! }
//! ```

use std::{fmt, io, sync::mpsc, time::Duration};

use casemate_crypto::SecretBytes;
use casemate_server::{BodyError, read_body};
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::ClientConfig;
use tokio::{
    runtime::{Builder, Runtime},
    time::timeout,
};
use zeroize::Zeroize as _;

/// Limits of a client.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Maximum time for a connection.
    pub connect: Duration,
    /// Maximum time for an answer, with the connection.
    pub answer: Duration,
    /// Maximum length of the content of an answer, in bytes.
    pub answer_bytes: usize,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The client could not be started.
    #[error("cannot start the HTTP client")]
    Start(#[source] io::Error),
    /// The server could not be reached. Nothing was done.
    #[error("cannot connect")]
    Connect(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The connection broke. The server may have done what it was asked for.
    #[error("the connection broke")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The answer did not arrive in time. The server may have done what it was asked for.
    #[error("no answer arrived in time")]
    Timeout,
    /// The answer is longer than the limit.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
}

/// An answer. Its content may be secret.
#[derive(Debug)]
pub struct HttpAnswer {
    /// The status.
    pub status: StatusCode,
    /// The content.
    pub content: SecretBytes,
}

type Inner = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// A client with connections of its own.
pub struct HttpClient {
    inner: Inner,
    limits: Limits,
    /// Taken only when dropped.
    runtime: Option<Runtime>,
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl HttpClient {
    /// Starts a client. It speaks HTTP/1.1, and follows no redirects.
    ///
    /// # Errors
    ///
    /// [`ClientError::Start`].
    pub fn new(tls: ClientConfig, limits: Limits) -> Result<Self, ClientError> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(limits.connect));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("http client")
            .enable_all()
            .build()
            .map_err(ClientError::Start)?;
        Ok(Self {
            inner: Client::builder(TokioExecutor::new()).build(connector),
            limits,
            runtime: Some(runtime),
        })
    }

    /// Sends a request and waits for its answer, whatever its status.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub fn send(&self, request: Request<Vec<u8>>) -> Result<HttpAnswer, ClientError> {
        let (done, answer) = mpsc::sync_channel(1);
        let (inner, limits) = (self.inner.clone(), self.limits);
        let runtime = self.runtime.as_ref().ok_or(ClientError::Timeout)?;
        // Whoever waits may itself be on a thread of another runtime, which must not be blocked on.
        runtime.spawn(async move {
            let exchange = exchange(&inner, request.map(Full::from), limits);
            let answer = timeout(limits.answer, exchange).await;
            // Whoever asked may have gone.
            _ = done.send(answer.unwrap_or(Err(ClientError::Timeout)));
        });
        answer.recv().map_err(|_| ClientError::Timeout)?
    }
}

async fn exchange(
    inner: &Inner,
    request: Request<Full<Bytes>>,
    limits: Limits,
) -> Result<HttpAnswer, ClientError> {
    let response = inner.request(request).await.map_err(|error| {
        if error.is_connect() {
            ClientError::Connect(Box::new(error))
        } else {
            ClientError::Broken(Box::new(error))
        }
    })?;
    let status = response.status();
    let read = read_body(response.into_body(), limits.answer_bytes, limits.answer).await;
    let (content, _) = read.map_err(|error| match error {
        BodyError::TooLong => ClientError::TooLong(limits.answer_bytes),
        BodyError::Timeout => ClientError::Timeout,
        BodyError::Broken => ClientError::Broken("the answer is incomplete".into()),
    })?;
    let secret = SecretBytes::new(content.to_vec());
    // What hyper and rustls buffered is theirs to wipe, which they do not.
    if let Ok(mut content) = content.try_into_mut() {
        content.zeroize();
    }
    Ok(HttpAnswer {
        status,
        content: secret,
    })
}

impl Drop for HttpClient {
    fn drop(&mut self) {
        // Waiting for it would panic on a thread of another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
