//! Requests to a service, from code that waits for the answers.

use std::{
    fmt,
    sync::{Arc, mpsc},
    time::Duration,
};

use casemate_crypto::SecretBytes;
use casemate_server::read_body;
use casemate_tls::{TlsError, client_config_as};
use http::{Method, Request, StatusCode, Uri, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::crypto::CryptoProvider;
use serde::{Serialize, de::DeserializeOwned};
use tokio::runtime::{Builder, Runtime};
use url::Url;

use crate::{
    problem::ProblemBody,
    wire::{ANSWER_BYTES_MAX, REQUEST_BYTES_MAX},
};

/// Maximum time for a connection.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// Maximum time for an answer.
const PATIENCE: Duration = Duration::from_mins(1);
/// Longest text of the service in an error, in characters.
const DETAIL_CHARS_MAX: usize = 300;

/// A service and what it knows us by.
#[derive(Clone)]
pub struct Remote<'a> {
    /// Its address, such as `https://keys.example.org:7443`.
    pub url: &'a str,
    /// The authorities of its certificate in PEM; without them, the system's.
    pub roots: Option<&'a [u8]>,
    /// Our certificate chain in PEM.
    pub certificate: &'a [u8],
    /// Its private key in PEM.
    pub key: &'a SecretBytes,
    /// The cryptography of TLS.
    pub provider: Arc<CryptoProvider>,
}

impl fmt::Debug for Remote<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

/// Why a key service was not used.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The address is not one of a service.
    #[error("`{0}` is not the address of a key service: it must be `https://HOST:PORT`")]
    Url(String),
    /// TLS could not be set up.
    #[error("cannot set up TLS for the key service")]
    Tls(#[from] TlsError),
    /// The client could not be started.
    #[error("cannot start the client of the key service")]
    Start(#[source] std::io::Error),
    /// The service could not be reached.
    #[error("cannot reach the key service at {url}")]
    Unreachable {
        /// Its address.
        url: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The service did not answer in time. It may have done what it was asked for.
    #[error("the key service did not answer in time")]
    Timeout,
    /// The service refused.
    #[error("the key service refused: {detail}")]
    Refused {
        /// The status of the answer.
        status: StatusCode,
        /// What it said.
        detail: String,
    },
    /// The service waits for another client.
    #[error("another client must ask for it as well, within 24 hours")]
    Waiting,
    /// The request is longer than a service accepts.
    #[error(
        "the request has {0} bytes, more than the {REQUEST_BYTES_MAX} that a key service accepts"
    )]
    TooLong(usize),
    /// The key store of the service is damaged.
    #[error("in the key store of the service: {0}")]
    Damaged(String),
    /// The answer breaks a rule of the protocol.
    #[error("the answer is not one of a key service")]
    Malformed,
}

/// An answer.
pub(super) struct Answer {
    status: StatusCode,
    content: SecretBytes,
}

impl Answer {
    pub(super) const fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn expose(&self) -> &[u8] {
        self.content.expose()
    }

    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, RemoteError> {
        serde_json::from_slice(self.expose()).map_err(|_| RemoteError::Malformed)
    }
}

type HttpsClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// The connections to a service.
pub(super) struct Transport {
    url: Url,
    client: HttpsClient,
    /// Taken only when dropped.
    runtime: Option<Runtime>,
}

impl Transport {
    pub(super) fn new(remote: Remote<'_>) -> Result<Self, RemoteError> {
        let bad = || RemoteError::Url(remote.url.chars().take(200).collect());
        let url = Url::parse(remote.url).map_err(|_| bad())?;
        let is_plain = url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        if url.scheme() != "https" || !is_plain || url.host().is_none() {
            return Err(bad());
        }
        let key = remote.key.expose();
        let tls = client_config_as(remote.provider, remote.roots, remote.certificate, key)?;
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT_PATIENCE));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_only()
            .enable_http1()
            .wrap_connector(http);
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("key service")
            .enable_all()
            .build()
            .map_err(RemoteError::Start)?;
        Ok(Self {
            url,
            client: Client::builder(TokioExecutor::new()).build(connector),
            runtime: Some(runtime),
        })
    }

    pub(super) fn get(&self, path: &str) -> Result<Answer, RemoteError> {
        self.exchange(Method::GET, path, Vec::new())
    }

    pub(super) fn post(&self, path: &str, body: &impl Serialize) -> Result<Answer, RemoteError> {
        let body = serde_json::to_vec(body).map_err(|_| RemoteError::Malformed)?;
        if body.len() > REQUEST_BYTES_MAX {
            return Err(RemoteError::TooLong(body.len()));
        }
        self.exchange(Method::POST, path, body)
    }

    fn exchange(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Answer, RemoteError> {
        let uri = self.url.join(path).map_err(|_| RemoteError::Malformed)?;
        let uri: Uri = uri.as_str().parse().map_err(|_| RemoteError::Malformed)?;
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::from(body))
            .map_err(|_| RemoteError::Malformed)?;
        let (done, answer) = mpsc::sync_channel(1);
        let client = self.client.clone();
        let url = self.url.to_string();
        let runtime = self.runtime.as_ref().ok_or(RemoteError::Timeout)?;
        // Whoever waits may itself be on a thread of another runtime, which must not be blocked on.
        runtime.spawn(async move {
            let exchange = tokio::time::timeout(PATIENCE, send(&client, request, url));
            _ = done.send(exchange.await.unwrap_or(Err(RemoteError::Timeout)));
        });
        let answer = answer.recv().map_err(|_| RemoteError::Timeout)??;
        if answer.status.is_success() {
            return Ok(answer);
        }
        let problem: Result<ProblemBody, _> = answer.read();
        let detail = problem.map_or_else(
            |_| format!("HTTP status {}", answer.status),
            |problem| problem.detail,
        );
        Err(RemoteError::Refused {
            status: answer.status,
            detail: detail.chars().take(DETAIL_CHARS_MAX).collect(),
        })
    }
}

async fn send(
    client: &HttpsClient,
    request: Request<Full<Bytes>>,
    url: String,
) -> Result<Answer, RemoteError> {
    let response = client.request(request).await;
    let response = response.map_err(|error| RemoteError::Unreachable {
        url,
        source: Box::new(error),
    })?;
    let status = response.status();
    let read = read_body(response.into_body(), ANSWER_BYTES_MAX, PATIENCE).await;
    let (content, _) = read.map_err(|_| RemoteError::Malformed)?;
    Ok(Answer {
        status,
        content: SecretBytes::new(content.to_vec()),
    })
}

impl Drop for Transport {
    fn drop(&mut self) {
        // Waiting for it would panic on a thread of another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
