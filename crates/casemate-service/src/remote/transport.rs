//! Requests to a service, from code that waits for the answers.

use std::{fmt, sync::Arc, time::Duration};

use casemate_client::{ClientError, HttpClient, Limits};
use casemate_crypto::SecretBytes;
use casemate_tls::{CryptoProvider, TlsError, client_config_as};
use http::{Method, Request, StatusCode, header::CONTENT_TYPE};
use serde::{Serialize, de::DeserializeOwned};
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
    /// The service could not be reached, or did not answer.
    #[error("the key service at {url} does not answer")]
    Unreachable {
        /// Its address.
        url: String,
        /// Why.
        #[source]
        source: ClientError,
    },
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
    #[error("the service's key store is damaged: {0}")]
    Damaged(String),
    /// The answer breaks a rule of the protocol.
    #[error("malformed answer from the key service")]
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

/// The connections to a service.
pub(super) struct Transport {
    url: Url,
    client: HttpClient,
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
        let limits = Limits {
            connect: CONNECT_PATIENCE,
            answer: PATIENCE,
            answer_bytes: ANSWER_BYTES_MAX,
        };
        let client = HttpClient::new(tls, limits);
        Ok(Self {
            client: client.map_err(|source| unreachable(&url, source))?,
            url,
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
        let request = Request::builder()
            .method(method)
            .uri(uri.as_str())
            .header(CONTENT_TYPE, "application/json")
            .body(body)
            .map_err(|_| RemoteError::Malformed)?;
        let answer = self.client.send(request);
        let answer = answer.map_err(|source| unreachable(&self.url, source))?;
        let answer = Answer {
            status: answer.status,
            content: answer.content,
        };
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

fn unreachable(url: &Url, source: ClientError) -> RemoteError {
    RemoteError::Unreachable {
        url: url.to_string(),
        source,
    }
}
