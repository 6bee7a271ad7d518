//! The client's side: seals plain requests for a gateway and checks its answers.

mod local;

use std::{fmt, sync::Arc, time::Duration};

use casemate_crypto::signature::{HttpSigningKey, HttpVerifyingKey};
use casemate_message::{
    MessageError, Request, Response,
    keydoc::{self, KeyDocumentError, VerifiedKeys},
    limits::KEY_DOCUMENT_BYTES_MAX,
    ohttp::{OhttpError, ResponseOpener},
    sign::{self, SignError},
};
use http::{Method, StatusCode, Uri, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::ClientConfig;
use tokio::sync::RwLock;

pub use local::{Plain, serve_connector};

use crate::{
    clock::unix_seconds,
    gateway::{GATEWAY_PATH, KEY_DOCUMENT_PATH, REQUEST_MEDIA_TYPE, RESPONSE_MEDIA_TYPE},
    http_io::{self, BodyError},
};

/// Longest encapsulated answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024 + 64 * 1024;
const PATIENCE: Duration = Duration::from_mins(10);
/// Idle connections are closed before a gateway or a balancer would.
const IDLE: Duration = Duration::from_secs(5);

/// Problems that a stale key configuration causes. Key ids have one byte, so a new key may have the old one's id.
const NOT_OPENED: [&str; 2] = [
    "https://iana.org/assignments/http-problem-types#ohttp-key",
    "urn:casemate:problem:request",
];

/// Why the gateway could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL is no `https` URL of a gateway.
    #[error("`{0}` is not an https URL without path and query")]
    BadUrl(String),
    /// The gateway cannot be reached, or TLS failed: no common post-quantum group, or a certificate that is not trusted.
    #[error("cannot reach the gateway")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The gateway did not answer in time.
    #[error("the gateway did not answer in time")]
    Timeout,
    /// The gateway's answer is too long or broke off.
    #[error("the gateway's answer is too long or broke off")]
    Broken,
    /// The gateway refused before it opened the request.
    #[error("the gateway refused with status {status}: {title}")]
    Refused {
        /// Outer status.
        status: u16,
        /// Type of the problem document.
        kind: String,
        /// Its title.
        title: String,
    },
    /// The gateway's key document is not good.
    #[error("the gateway's key document is refused")]
    KeyDocument(#[from] KeyDocumentError),
    /// The answer cannot be opened.
    #[error("the gateway's answer cannot be opened")]
    Ohttp(#[from] OhttpError),
    /// The answer's signatures do not hold.
    #[error("the gateway's answer is refused")]
    Sign(#[from] SignError),
    /// The request or the answer cannot be carried.
    #[error(transparent)]
    Message(#[from] MessageError),
}

impl ConnectError {
    fn was_not_opened(&self) -> bool {
        matches!(self, Self::Refused { kind, .. } if NOT_OPENED.contains(&kind.as_str()))
    }
}

/// What a connector needs.
pub struct ConnectorOptions {
    /// The gateway, `https://host:port`.
    pub gateway: String,
    /// Signs requests.
    pub identity: HttpSigningKey,
    /// The gateway's public signing pair, pinned.
    pub gateway_key: HttpVerifyingKey,
    /// TLS configuration.
    pub tls: ClientConfig,
}

impl fmt::Debug for ConnectorOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectorOptions")
            .field("gateway", &self.gateway)
            .finish_non_exhaustive()
    }
}

/// Speaks to one gateway.
pub struct Connector {
    base: String,
    authority: String,
    identity: HttpSigningKey,
    gateway_key: HttpVerifyingKey,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    keys: RwLock<Option<Arc<VerifiedKeys>>>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("gateway", &self.base)
            .finish_non_exhaustive()
    }
}

impl Connector {
    /// Makes a connector; nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`ConnectError::BadUrl`].
    pub fn new(options: ConnectorOptions) -> Result<Self, ConnectError> {
        let bad = || ConnectError::BadUrl(options.gateway.clone());
        let uri: Uri = options.gateway.parse().map_err(|_| bad())?;
        let authority = uri.authority().ok_or_else(bad)?.to_string();
        let plain = uri.scheme_str() == Some("https") && uri.path() == "/" && uri.query().is_none();
        if !plain || authority.contains('@') {
            return Err(bad());
        }
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(options.tls)
            .https_only()
            .enable_http1()
            .build();
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        Ok(Self {
            base: format!("https://{authority}"),
            authority,
            identity: options.identity,
            gateway_key: options.gateway_key,
            client,
            keys: RwLock::default(),
        })
    }

    /// Host and port of the gateway, for [`Request::new`].
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Signs, seals, sends, opens and verifies.
    ///
    /// # Errors
    ///
    /// [`ConnectError`]. A refusal inside the encryption, such as 401, is a response and no error.
    pub async fn send(&self, request: Request) -> Result<Response, ConnectError> {
        let keys = self.keys().await?;
        match self.send_with(&keys, request.clone()).await {
            // The gateway has a new key, as after a restart; the request was not opened, so it can be sent again.
            Err(refusal @ ConnectError::Refused { .. }) if refusal.was_not_opened() => {
                self.keys.write().await.take();
                let fresh = self.keys().await?;
                // Under the same key the refusal may be somebody's in between, and the request executed already.
                if fresh.config.encode_list() == keys.config.encode_list() {
                    return Err(refusal);
                }
                self.send_with(&fresh, request).await
            }
            other => other,
        }
    }

    async fn send_with(
        &self,
        keys: &VerifiedKeys,
        mut request: Request,
    ) -> Result<Response, ConnectError> {
        let sealer = keys.config.start_request()?;
        let channel = sealer.channel().clone();
        sign::sign_request(&mut request, &self.identity, &channel, unix_seconds())?;
        let (sealed, opener) = sealer.seal(&request.to_bhttp()?)?;
        let response = self.post(sealed, opener).await?;
        sign::verify_response(&response, &channel, unix_seconds(), &self.gateway_key)?;
        Ok(response)
    }

    /// Sends bytes as they are and opens the answer with `opener`, for tests and demonstrations of refusals.
    ///
    /// # Errors
    ///
    /// [`ConnectError`]; the answer's signatures are not checked here.
    pub async fn post(
        &self,
        sealed: Vec<u8>,
        opener: ResponseOpener,
    ) -> Result<Response, ConnectError> {
        let (status, media_type, body) = self
            .exchange(Method::POST, GATEWAY_PATH, Some(sealed), ANSWER_BYTES_MAX)
            .await?;
        if status != StatusCode::OK || media_type != RESPONSE_MEDIA_TYPE {
            return Err(refused(status, &body));
        }
        Ok(Response::from_bhttp(&opener.open(&body)?)?)
    }

    /// The gateway's verified keys, fetched when there are none or they run out.
    ///
    /// # Errors
    ///
    /// [`ConnectError::KeyDocument`], or the exchange's error.
    pub async fn keys(&self) -> Result<Arc<VerifiedKeys>, ConnectError> {
        if let Some(keys) = self
            .keys
            .read()
            .await
            .as_ref()
            .filter(|keys| unix_seconds() < keys.not_after)
        {
            return Ok(Arc::clone(keys));
        }
        let limit = KEY_DOCUMENT_BYTES_MAX;
        let (status, _, body) = self
            .exchange(Method::GET, KEY_DOCUMENT_PATH, None, limit)
            .await?;
        if status != StatusCode::OK {
            return Err(refused(status, &body));
        }
        let verified = keydoc::verify(&body, &self.gateway_key, unix_seconds())?;
        let verified = Arc::new(verified);
        *self.keys.write().await = Some(Arc::clone(&verified));
        Ok(verified)
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<(StatusCode, String, Bytes), ConnectError> {
        let bad = |_| ConnectError::BadUrl(self.base.clone());
        let mut request = http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base));
        if body.is_some() {
            request = request.header(CONTENT_TYPE, REQUEST_MEDIA_TYPE);
        }
        let request = request
            .body(Full::from(body.unwrap_or_default()))
            .map_err(bad)?;
        let sent = tokio::time::timeout(PATIENCE, self.client.request(request)).await;
        let answer = sent
            .map_err(|_| ConnectError::Timeout)?
            .map_err(|error| ConnectError::Unreachable(Box::new(error)))?;
        let status = answer.status();
        let media_type = answer
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let media_type = media_type.unwrap_or_default().to_owned();
        let body = http_io::read_body(answer.into_body(), limit, PATIENCE).await;
        let body = body.map_err(|error| match error {
            BodyError::Timeout => ConnectError::Timeout,
            BodyError::TooLong | BodyError::Busy | BodyError::Broken => ConnectError::Broken,
        })?;
        Ok((status, media_type, body))
    }
}

/// Reads a problem document; whatever it says is not authenticated beyond TLS.
fn refused(status: StatusCode, body: &[u8]) -> ConnectError {
    let problem: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| {
        let value = problem
            .get(name)
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default();
        value
            .chars()
            .filter(|c| !c.is_control())
            .take(200)
            .collect::<String>()
    };
    ConnectError::Refused {
        status: status.as_u16(),
        kind: text("type"),
        title: text("title"),
    }
}
