//! The client side: seals plain requests to a gateway and verifies its answers.

mod access;
mod keys;
mod local;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use casemate_crypto::{
    encoding::KeyId,
    signature::{HttpSigningKey, HttpVerifyingKey},
};
use casemate_message::{
    Fields, MessageError, Refusal, Request, RequestId, Response,
    answer::Answer,
    delivery::{Delivery, Event, Next, is_idempotent, was_always_late},
    keydoc::{KeyDocumentError, TRAILERS, VerifiedKeys},
    limits::OFFSET_SECONDS_MAX,
    ohttp::{OhttpError, ResponseOpener},
    sign::{self, SignError},
};
use casemate_server::{BodyError, read_body};
use http::{Method, StatusCode, Uri, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::ClientConfig;

pub use access::Access;
pub use local::{Local, LocalListener, serve_connector};

use crate::{
    clock::{Clock, since_start},
    gateway::{GATEWAY_PATH, REQUEST_MEDIA_TYPE, RESPONSE_MEDIA_TYPE},
};
use keys::Keys;

/// Maximum length of an encapsulated answer, in bytes.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024 + 64 * 1024;
const PATIENCE: Duration = Duration::from_mins(10);
/// Idle time after which a connection is closed, before the gateway or a load balancer closes it.
const IDLE: Duration = Duration::from_secs(5);

/// Statuses after which the keys are fetched again and the request is sent again.
const RETRYABLE_STATUSES: [u16; 3] = [400, 408, 503];
/// Wait before the next attempt.
const PAUSE: Duration = Duration::from_millis(100);

/// Why the gateway could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL is not an `https` URL of a gateway.
    #[error("`{0}` is not an https URL without path and query")]
    BadUrl(String),
    /// The gateway cannot be reached, or TLS failed: no common post-quantum group, or a certificate
    /// that is not trusted.
    #[error("cannot reach the gateway")]
    Unreachable {
        /// Whether there was a connection, so that part of the request may have been sent.
        connected: bool,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The gateway did not answer in time.
    #[error("the gateway did not answer in time")]
    Timeout,
    /// The gateway's answer is too long, or the connection broke off.
    #[error("the gateway's answer is too long or incomplete")]
    Broken,
    /// The answer is not sealed: the gateway, or a server in between, refused the request.
    #[error("refused with status {status}: {title}")]
    Refused {
        /// The outer status.
        status: u16,
        /// The type of the problem document.
        kind: String,
        /// Its title.
        title: String,
    },
    /// The gateway refused the request inside the encryption, before it reached the model.
    #[error("the gateway refused: {}", .0.0)]
    Sealed(Box<(Refusal, Response)>),
    /// The request may have run, and is not safe to repeat.
    #[error("the request may have run, so it was not sent again")]
    OutcomeUnknown(#[source] Box<Self>),
    /// The gateway's key document is not valid.
    #[error("cannot use the gateway's key document")]
    KeyDocument(#[from] KeyDocumentError),
    /// The answer cannot be opened.
    #[error("the gateway's answer cannot be opened")]
    Ohttp(#[from] OhttpError),
    /// The answer's signatures do not verify.
    #[error("cannot verify the gateway's answer")]
    Sign(#[from] SignError),
    /// The request or the answer cannot be encoded.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// Cryptography failed.
    #[error(transparent)]
    Crypto(#[from] casemate_crypto::Error),
}

/// The options of a connector.
pub struct ConnectorOptions {
    /// The gateway, `https://host:port`.
    pub gateway: String,
    /// The key that signs requests.
    pub identity: HttpSigningKey,
    /// The gateway's public signing pair, pinned.
    pub gateway_key: HttpVerifyingKey,
    /// TLS configuration.
    pub tls: ClientConfig,
    /// The clock for the date of requests.
    pub clock: Arc<dyn Clock>,
}

impl fmt::Debug for ConnectorOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectorOptions")
            .field("gateway", &self.gateway)
            .finish_non_exhaustive()
    }
}

/// Seals and sends requests to one gateway, and verifies the answers.
pub struct Connector {
    base: String,
    authority: String,
    identity: HttpSigningKey,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    clock: Arc<dyn Clock>,
    keys: Keys,
    /// Clock offset of each gateway identity from the local clock, in seconds.
    offsets: Mutex<HashMap<KeyId, i64>>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("gateway", &self.base)
            .finish_non_exhaustive()
    }
}

/// The result of an attempt that the model did not answer.
struct FailedAttempt {
    event: Event,
    error: ConnectError,
}

impl Connector {
    /// Creates a connector, without sending anything.
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
            client,
            clock: options.clock,
            keys: Keys::new(options.gateway_key),
            offsets: Mutex::default(),
        })
    }

    /// Returns the host and port of the gateway, for [`Request::new`].
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Signs, seals and sends a request, and opens and verifies the answer.
    ///
    /// Sends the request again only where that cannot make it run twice.
    ///
    /// # Errors
    ///
    /// [`ConnectError`]; [`ConnectError::Sealed`] is an authenticated refusal by the gateway.
    pub async fn send(&self, mut request: Request) -> Result<Response, ConnectError> {
        let mut keys = self.recent_keys().await?;
        if !keys.features.iter().any(|feature| feature == TRAILERS) {
            request.trailers = Fields::default();
        }
        let idempotent = is_idempotent(&request.method);
        let now = self.now(&keys);
        let mut delivery = Delivery::new(idempotent, RequestId::random()?, now, keys.record);
        // Once any part was sent, the network may have delivered it, whatever an unsealed answer
        // says.
        let mut open = false;
        let give_up = |error: ConnectError, open: bool| {
            if open && !idempotent {
                ConnectError::OutcomeUnknown(Box::new(error))
            } else {
                error
            }
        };
        loop {
            let attempt = self
                .attempt(&keys, &delivery, request.clone(), &mut open)
                .await
                .map_err(|error| (error, open));
            let FailedAttempt { event, error } =
                match attempt.map_err(|(e, open)| give_up(e, open))? {
                    Ok(response) => return Ok(response),
                    Err(unanswered) => unanswered,
                };
            let next = delivery.after(event, self.now(&keys));
            tracing::debug!(%error, ?next, "the model did not answer an attempt");
            match next {
                Next::GiveUp => return Err(error),
                Next::OutcomeUnknown => return Err(ConnectError::OutcomeUnknown(Box::new(error))),
                Next::Resend | Next::Renew => {
                    if !matches!(event, Event::Refused { .. }) {
                        tokio::time::sleep(PAUSE).await;
                    }
                    keys = match self.fetch_keys().await {
                        Ok(keys) => keys,
                        Err(_) if matches!(event, Event::NotSent) => return Err(error),
                        Err(_) => return Err(give_up(error, true)),
                    };
                }
            }
            if next == Next::Renew {
                delivery.renew(RequestId::random()?, self.now(&keys), keys.record);
            } else {
                delivery.resend();
            }
        }
    }

    /// Makes one attempt; returns the model's answer, or why there is none.
    ///
    /// # Errors
    ///
    /// An error that another attempt would repeat.
    async fn attempt(
        &self,
        keys: &VerifiedKeys,
        delivery: &Delivery,
        mut request: Request,
        open: &mut bool,
    ) -> Result<Result<Response, FailedAttempt>, ConnectError> {
        let sealer = keys.config.start_request(&keys.signer_id)?;
        let channel = sealer.channel().clone();
        let date = self.now(keys);
        sign::sign_request(
            &mut request,
            &self.identity,
            &channel,
            delivery.mark(),
            date,
        )?;
        let (sealed, opener) = sealer.seal(&request.to_bhttp()?)?;
        // Verifying the answer needs only the signed fields, not the content.
        request.content = Vec::new();
        *open = true;
        let sent = since_start();
        let response = match self.post(sealed, opener).await {
            Ok(response) => response,
            Err(error) => return unsealed(error).map(Err),
        };
        match Answer::check(response, &request, &channel, &keys.signer)? {
            Answer::Signed(response) => Ok(Ok(response)),
            Answer::Refused {
                refusal,
                date: gateway,
                response,
            } => {
                let elapsed = since_start()
                    .saturating_sub(sent)
                    .as_secs()
                    .saturating_add(1);
                if matches!(refusal, Refusal::Late | Refusal::Early) {
                    self.learn_offset(keys.signer_id, gateway);
                }
                let event = Event::Refused {
                    refusal,
                    always_late: was_always_late(date, gateway, elapsed),
                };
                let error = ConnectError::Sealed(Box::new((refusal, response)));
                Ok(Err(FailedAttempt { event, error }))
            }
        }
    }

    /// Returns the time by the gateway's clock, as far as its offset is known.
    fn now(&self, keys: &VerifiedKeys) -> u64 {
        let offsets = self.offsets.lock().unwrap_or_else(PoisonError::into_inner);
        let offset = offsets.get(&keys.signer_id).copied().unwrap_or_default();
        self.clock.now().saturating_add_signed(offset)
    }

    fn learn_offset(&self, gateway: KeyId, date: u64) {
        let offset = date
            .checked_signed_diff(self.clock.now())
            .filter(|offset| offset.unsigned_abs() <= OFFSET_SECONDS_MAX);
        if let Some(seconds) = offset {
            tracing::warn!(%gateway, seconds, "the gateway's clock differs from the local clock; dating requests by the gateway's clock");
            let mut offsets = self.offsets.lock().unwrap_or_else(PoisonError::into_inner);
            offsets.insert(gateway, seconds);
        }
    }

    /// Sends bytes unchanged and opens the answer with `opener`, for tests and demonstrations of
    /// refusals.
    ///
    /// # Errors
    ///
    /// [`ConnectError`]. The answer's signatures are not verified here.
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
        let answer = sent.map_err(|_| ConnectError::Timeout)?.map_err(|error| {
            let connected = !error.is_connect();
            ConnectError::Unreachable {
                connected,
                source: Box::new(error),
            }
        })?;
        let status = answer.status();
        let media_type = answer
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        let body = read_body(answer.into_body(), limit, PATIENCE).await;
        let (body, _) = body.map_err(|error| match error {
            BodyError::Timeout => ConnectError::Timeout,
            BodyError::TooLong | BodyError::Broken => ConnectError::Broken,
        })?;
        Ok((status, media_type, body))
    }
}

/// Classifies an attempt without a sealed answer, which proves nothing but may justify another
/// attempt.
///
/// # Errors
///
/// The error, if another attempt would repeat it.
fn unsealed(error: ConnectError) -> Result<FailedAttempt, ConnectError> {
    let event = match &error {
        ConnectError::Unreachable {
            connected: false, ..
        } => Event::NotSent,
        ConnectError::Refused { status, .. } if !RETRYABLE_STATUSES.contains(status) => {
            return Err(error);
        }
        _ => Event::Unsealed,
    };
    Ok(FailedAttempt { event, error })
}

/// Reads a problem document. Its text is authenticated only by TLS.
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
