//! The order of checks (`spec/inference.md`, section 6).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use casemate_crypto::{
    encoding::KeyId,
    kem::KemPrivateKey,
    signature::{HttpSigningKey, HttpVerifyingKey},
    suite::MLKEM768_X25519,
};
use casemate_message::{
    MessageError, Request, Response, keydoc,
    ohttp::{self, ChannelBinding, GatewayKey, OhttpError, ResponseSealer},
    replay::{ReplayError, ReplayRecord},
    sign::{self, SignError},
};

use crate::{
    clock::unix_seconds,
    problem::{Problem, sealed_error},
    upstream::Upstream,
};

/// How long a signed key document is valid, in seconds.
const KEY_DOCUMENT_SECONDS: u64 = 24 * 3600;
/// How long a signed key document is given out, in seconds.
const KEY_DOCUMENT_KEPT_SECONDS: u64 = 60;
/// A client's clock may be a little behind ours.
const KEY_DOCUMENT_LEAD_SECONDS: u64 = 300;

/// Why a gateway could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GatewayError {
    /// The encryption key cannot be served.
    #[error("the gateway's encryption key cannot be served")]
    Key(#[source] OhttpError),
    /// No client could ever be admitted.
    #[error("no client is admitted")]
    NoClients,
    /// A client is listed twice.
    #[error("client key {0} is listed twice")]
    ClientTwice(KeyId),
    /// Cryptography failed.
    #[error(transparent)]
    Crypto(#[from] casemate_crypto::Error),
}

/// A client that may call the model.
#[derive(Debug)]
pub struct Client {
    /// Name in logs.
    pub name: String,
    /// Its public signing pair.
    pub key: HttpVerifyingKey,
}

/// What a gateway needs.
#[derive(Debug)]
pub struct GatewayOptions {
    /// Signs responses and the key document.
    pub identity: HttpSigningKey,
    /// Who may call.
    pub clients: Vec<Client>,
    /// What answers.
    pub upstream: Upstream,
    /// Longest encapsulated request, in bytes.
    pub request_bytes_max: usize,
}

/// Opens, checks and answers requests.
#[derive(Debug)]
pub struct Gateway {
    key: GatewayKey,
    key_list: Vec<u8>,
    identity: HttpSigningKey,
    clients: HashMap<KeyId, Client>,
    upstream: Upstream,
    replay: Mutex<ReplayRecord>,
    /// When the key document was signed, and the document.
    document: Mutex<Option<(u64, Vec<u8>)>>,
    pub(crate) request_bytes_max: usize,
}

/// A request that passed every check, or the sealed answer that says why not.
struct Checked {
    outcome: Result<Request, Response>,
    channel: ChannelBinding,
    sealer: ResponseSealer,
}

impl Gateway {
    /// Sets up a gateway with a new encryption key, which lives in memory only.
    ///
    /// What was recorded before a restart can neither be replayed after it, although the replay record is gone, nor be
    /// opened by whoever takes the machine later.
    ///
    /// # Errors
    ///
    /// [`GatewayError`].
    pub fn new(options: GatewayOptions) -> Result<Self, GatewayError> {
        let key = KemPrivateKey::generate(&MLKEM768_X25519)?;
        let key_id = key
            .public_key()
            .id()?
            .as_bytes()
            .first()
            .copied()
            .unwrap_or_default();
        let key = GatewayKey::new(key_id, key).map_err(GatewayError::Key)?;
        let key_list = key.config().map_err(GatewayError::Key)?.encode_list();
        let mut clients = HashMap::new();
        for client in options.clients {
            let id = client.key.id()?;
            if clients.insert(id, client).is_some() {
                return Err(GatewayError::ClientTwice(id));
            }
        }
        if clients.is_empty() {
            return Err(GatewayError::NoClients);
        }
        Ok(Self {
            key,
            key_list,
            identity: options.identity,
            clients,
            upstream: options.upstream,
            replay: Mutex::default(),
            document: Mutex::default(),
            request_bytes_max: options.request_bytes_max,
        })
    }

    /// `application/ohttp-keys`.
    pub(crate) fn key_list(&self) -> &[u8] {
        &self.key_list
    }

    /// The signed key document. It is signed anew once a minute at most, because anybody may ask for it.
    pub(crate) fn key_document(&self) -> Result<Vec<u8>, Problem> {
        let now = unix_seconds();
        let mut kept = self.document.lock().map_err(|_| Problem::Internal)?;
        let fresh = |signed_at: u64| now.abs_diff(signed_at) < KEY_DOCUMENT_KEPT_SECONDS;
        if let Some((_, document)) = kept.as_ref().filter(|(signed_at, _)| fresh(*signed_at)) {
            return Ok(document.clone());
        }
        let from = now.saturating_sub(KEY_DOCUMENT_LEAD_SECONDS);
        let until = now.saturating_add(KEY_DOCUMENT_SECONDS);
        let document = keydoc::create(&self.key_list, from, until, &self.identity)
            .map_err(|_| Problem::Internal)?;
        *kept = Some((now, document.clone()));
        Ok(document)
    }

    /// Answers one encapsulated request.
    pub(crate) async fn handle(self: Arc<Self>, sealed: Vec<u8>) -> Result<Vec<u8>, Problem> {
        let gateway = Arc::clone(&self);
        let checked = tokio::task::spawn_blocking(move || gateway.check(&sealed)).await;
        let Checked {
            outcome,
            channel,
            sealer,
        } = checked.map_err(|_| Problem::Internal)??;
        let response = match outcome {
            Ok(request) => match self.upstream.answer(request).await {
                Ok(response) => response,
                Err(error) => error.response().map_err(|_| Problem::Internal)?,
            },
            Err(refusal) => refusal,
        };
        let sealed = tokio::task::spawn_blocking(move || self.seal(response, &channel, sealer));
        sealed.await.map_err(|_| Problem::Internal)?
    }

    fn seal(
        &self,
        mut response: Response,
        channel: &ChannelBinding,
        sealer: ResponseSealer,
    ) -> Result<Vec<u8>, Problem> {
        let internal = || Problem::Internal;
        sign::sign_response(&mut response, &self.identity, channel, unix_seconds())
            .map_err(|_| internal())?;
        sealer
            .seal(&response.to_bhttp().map_err(|_| internal())?)
            .map_err(|_| internal())
    }

    /// Steps 2 to 8: everything before the model.
    fn check(&self, sealed: &[u8]) -> Result<Checked, Problem> {
        let received = self.key.receive(sealed).map_err(problem)?;
        if self.seen(received.enc())? {
            return Err(Problem::Replay);
        }
        let opened = self.key.open(&received).map_err(problem)?;
        let outcome = self.admit(received.enc(), &opened.request, &opened.channel);
        let outcome = match outcome {
            Ok(request) => Ok(request),
            Err(refusal) => Err(refusal.response().map_err(|_| Problem::Internal)?),
        };
        Ok(Checked {
            outcome,
            channel: opened.channel,
            sealer: opened.sealer,
        })
    }

    fn seen(&self, enc: &[u8]) -> Result<bool, Problem> {
        Ok(self
            .replay
            .lock()
            .map_err(|_| Problem::Internal)?
            .has_seen(enc))
    }

    /// Steps 5 to 8.
    fn admit(
        &self,
        enc: &[u8],
        bhttp: &[u8],
        channel: &ChannelBinding,
    ) -> Result<Request, Refusal> {
        let request = Request::from_bhttp(bhttp)?;
        let now = unix_seconds();
        let verified = sign::verify_request(&request, channel, now, |id| {
            self.clients.get(id).map(|client| &client.key)
        })?;
        let mut replay = self
            .replay
            .lock()
            .map_err(|_| Refusal::Replay(ReplayError::Full))?;
        replay.admit(enc, &verified, now)?;
        let client = self
            .clients
            .get(&verified.key)
            .map_or("", |client| &client.name);
        tracing::debug!(client, key = %verified.key, "admitted");
        Ok(request)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "used with map_err")]
fn problem(error: OhttpError) -> Problem {
    match error {
        OhttpError::UnknownKey => Problem::UnknownKey,
        OhttpError::Crypto(_) => Problem::Internal,
        _ => Problem::Request,
    }
}

/// Why an opened request does not reach the model.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Message(#[from] MessageError),
    #[error(transparent)]
    Sign(#[from] SignError),
    #[error(transparent)]
    Replay(#[from] ReplayError),
}

impl Refusal {
    fn response(&self) -> Result<Response, MessageError> {
        tracing::info!(reason = %self, "refused before the model");
        let (status, kind, code) = match self {
            Self::Message(_) => (400, "invalid_request_error", "message"),
            Self::Sign(SignError::Date { .. }) => (400, "invalid_request_error", "date"),
            Self::Sign(_) => (401, "authentication_error", "signature"),
            Self::Replay(ReplayError::Seen) => (401, "authentication_error", "replay"),
            Self::Replay(_) => (503, "server_error", "replay_record_full"),
        };
        sealed_error(status, kind, code, &self.to_string())
    }
}

/// Path of the gateway resource (RFC 9540).
pub(crate) const GATEWAY_PATH: &str = "/.well-known/ohttp-gateway";
/// Path of the signed key document.
pub(crate) const KEY_DOCUMENT_PATH: &str = "/.well-known/casemate-keys";
pub(crate) use ohttp::{KEYS_MEDIA_TYPE, REQUEST_MEDIA_TYPE, RESPONSE_MEDIA_TYPE};
