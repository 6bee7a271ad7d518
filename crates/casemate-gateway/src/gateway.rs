//! The order of checks (`spec/inference.md`, section 6).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Instant,
};

use casemate_crypto::{
    encoding::KeyId,
    kem::KemPrivateKey,
    signature::{HttpSigningKey, HttpVerifyingKey},
    suite::MLKEM768_X25519,
};
use casemate_message::{
    MessageError, RecordId, Refusal, Request, Response, answer,
    keydoc::{self, Statement, Succession},
    limits::{CLIENTS_MAX, KEY_DOCUMENT_SECONDS_MAX, RECORD_MARKS_MAX},
    ohttp::{self, ChannelBinding, GatewayKey, OhttpError, ResponseSealer},
    replay::ReplayRecord,
    sign::{self, SignError},
};
use casemate_server::Throttle;

use crate::{
    allow::Route,
    clock::Clock,
    limits::Limits,
    refuse::sealed_error,
    upstream::{Call, Caller, Upstream},
};

/// Time for which a signed key document is served, in seconds.
const KEY_DOCUMENT_KEPT_SECONDS: u64 = 60;
/// Time by which a key document is valid early, because client clocks may be behind, in seconds.
const KEY_DOCUMENT_LEAD_SECONDS: u64 = 300;

/// Why a gateway could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The encryption key cannot be used.
    #[error("cannot use the gateway's encryption key")]
    Key(#[source] OhttpError),
    /// There are no clients, so none could be admitted.
    #[error("no client is configured")]
    NoClients,
    /// Too many clients.
    #[error("{0} clients exceed the limit of {CLIENTS_MAX}")]
    ManyClients(usize),
    /// A client is listed twice.
    #[error("client key {0} is listed twice")]
    ClientTwice(KeyId),
    /// A client's name cannot be sent to an upstream.
    #[error("client name `{0}` must be 1 to 64 letters, digits, `-`, `_`, `.` or `@`")]
    ClientName(String),
    /// Cryptography failed.
    #[error(transparent)]
    Crypto(#[from] casemate_crypto::Error),
}

/// A client that may call the model.
#[derive(Debug)]
pub struct Client {
    /// Name in logs and for upstreams.
    pub name: String,
    /// Its public signing pair.
    pub key: HttpVerifyingKey,
    /// The routes it may call; all routes if empty.
    pub allow: Vec<Route>,
}

/// The options of a gateway.
#[derive(Debug)]
pub struct GatewayOptions {
    /// The key that signs responses and the key document.
    pub identity: HttpSigningKey,
    /// The succession from or to this pair, for the key document.
    pub succession: Option<Succession>,
    /// The admitted clients.
    pub clients: Vec<Client>,
    /// The models or server that answer requests.
    pub upstream: Upstream,
    /// The limits for peers.
    pub limits: Limits,
    /// The clock by which dates are judged.
    pub clock: Arc<dyn Clock>,
    /// A new id for the replay record, which starts empty.
    pub record: RecordId,
}

/// Opens, checks and answers requests.
#[derive(Debug)]
pub struct Gateway {
    key: GatewayKey,
    key_list: Vec<u8>,
    identity: HttpSigningKey,
    identity_id: KeyId,
    succession: Option<Succession>,
    clients: HashMap<KeyId, Admitted>,
    upstream: Upstream,
    clock: Arc<dyn Clock>,
    record_id: RecordId,
    record: Mutex<ReplayRecord>,
    /// The key document, and the time it was signed.
    document: Mutex<Option<(u64, Vec<u8>)>>,
    refusals: Throttle,
    pub(crate) limits: Limits,
}

#[derive(Debug)]
struct Admitted {
    key: HttpVerifyingKey,
    allow: Vec<Route>,
    caller: Arc<Caller>,
}

/// The result of the checks.
pub(crate) enum Checked {
    /// A sealed refusal.
    Refused(Vec<u8>),
    /// A request that may run.
    Admitted(Box<Running>),
}

/// An admitted request, and what is needed to answer it.
pub(crate) struct Running {
    request: Request,
    caller: Arc<Caller>,
    channel: ChannelBinding,
    sealer: ResponseSealer,
}

impl Gateway {
    /// Creates a gateway with a new encryption key, which is kept in memory only.
    ///
    /// A restart discards the replay record and the key together: earlier requests can neither be
    /// replayed, nor be opened by an attacker who takes over the machine later.
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
        let clients = admit_all(options.clients)?;
        let ids = clients.keys().copied();
        let record = ReplayRecord::new(options.record, ids, RECORD_MARKS_MAX);
        Ok(Self {
            key,
            key_list,
            identity_id: options.identity.verifying_key().id()?,
            identity: options.identity,
            succession: options.succession,
            clients,
            upstream: options.upstream,
            clock: options.clock,
            record_id: options.record,
            record: Mutex::new(record),
            document: Mutex::default(),
            refusals: Throttle::default(),
            limits: options.limits,
        })
    }

    /// Returns the key configurations, `application/ohttp-keys`.
    pub(crate) fn key_list(&self) -> &[u8] {
        &self.key_list
    }

    /// Returns the signed key document. Anybody may request it, so it is signed at most once a
    /// minute.
    pub(crate) fn key_document(&self) -> Result<Vec<u8>, Refusal> {
        let now = self.clock.now();
        let mut kept = self.document.lock().map_err(|_| Refusal::Internal)?;
        let fresh = |signed_at: u64| now.abs_diff(signed_at) < KEY_DOCUMENT_KEPT_SECONDS;
        if let Some((_, document)) = kept.as_ref().filter(|(signed_at, _)| fresh(*signed_at)) {
            return Ok(document.clone());
        }
        let not_before = now.saturating_sub(KEY_DOCUMENT_LEAD_SECONDS);
        let statement = Statement {
            key_configs: &self.key_list,
            not_before,
            not_after: not_before.saturating_add(KEY_DOCUMENT_SECONDS_MAX),
            record: self.record_id,
            // The key lives as long as the record, so each record has one key set.
            serial: 1,
            succession: self.succession.as_ref(),
        };
        let document = keydoc::create(&statement, &self.identity).map_err(|_| Refusal::Internal)?;
        *kept = Some((now, document.clone()));
        Ok(document)
    }

    /// Performs steps 2 to 8: all checks before the model.
    ///
    /// # Errors
    ///
    /// A refusal of step 2 or 3, which is answered outside the encryption.
    pub(crate) fn check(&self, sealed: Vec<u8>) -> Result<Checked, Refusal> {
        let received = self.key.receive(sealed).map_err(outside)?;
        let opened = self
            .key
            .open(received, &self.identity_id)
            .map_err(outside)?;
        let admitted = self.admit(opened.request, &opened.channel);
        match admitted {
            Ok((request, caller)) => Ok(Checked::Admitted(Box::new(Running {
                request,
                caller,
                channel: opened.channel,
                sealer: opened.sealer,
            }))),
            Err(rejection) => self.refuse(&rejection, opened.sealer).map(Checked::Refused),
        }
    }

    /// Performs steps 4 to 8.
    fn admit(
        &self,
        bhttp: Vec<u8>,
        channel: &ChannelBinding,
    ) -> Result<(Request, Arc<Caller>), Rejection> {
        let request = Request::from_bhttp(&bhttp)?;
        drop(bhttp);
        let known = |id: &KeyId| self.clients.get(id).map(|client| &client.key);
        let stand_in = self.identity.verifying_key();
        let now = self.clock.now();
        let verified = sign::verify_request(&request, channel, now, known, stand_in)?;
        let client = self
            .clients
            .get(&verified.key)
            .ok_or(Rejection::Refused(Refusal::Signature))?;
        let allowed = client.allow.iter().any(|route| route.allows(&request));
        if !allowed && !client.allow.is_empty() {
            return Err(Refusal::NotAllowed.into());
        }
        let mut record = self.record.lock().map_err(|_| Refusal::RecordFull)?;
        // All checks of step 8 use one reading of the clock.
        let now = self.clock.now();
        record.admit(&verified, now)?;
        Ok((request, Arc::clone(&client.caller)))
    }

    /// Returns a sealed, unsigned answer.
    fn refuse(&self, rejection: &Rejection, sealer: ResponseSealer) -> Result<Vec<u8>, Refusal> {
        let refusal = rejection.refusal();
        if let Some(left_out) = self.refusals.pass() {
            let code = refusal.code();
            tracing::info!(code, reason = %rejection, left_out, "refused a request before the model");
        }
        let internal = || Refusal::Internal;
        let response =
            answer::refuse(refusal, &rejection.said(), self.clock.now()).map_err(|_| internal())?;
        let bhttp = response.to_bhttp().map_err(|_| internal())?;
        sealer.seal(&bhttp).map_err(|_| internal())
    }

    /// Returns whether another server answers the requests.
    pub(crate) const fn has_http_upstream(&self) -> bool {
        matches!(self.upstream, Upstream::Http(_))
    }

    /// Performs step 9: runs the model or calls the upstream.
    pub(crate) async fn run(&self, mut running: Box<Running>) -> Answered {
        let started = Instant::now();
        let content = std::mem::take(&mut running.request.content);
        let received = content.len();
        let call = Call {
            head: &running.request,
            content,
            caller: &running.caller,
        };
        let answered = self.upstream.answer(call).await;
        let response = answered.or_else(|error| {
            let causes = crate::chain(&error);
            tracing::warn!(
                client = running.caller.name,
                error = causes,
                "the upstream failed"
            );
            error.response()
        });
        Answered {
            running,
            response,
            started,
            received,
        }
    }

    /// Signs and seals the answer of the model or the upstream, and writes the audit line.
    pub(crate) fn seal(&self, answered: Answered) -> Result<Vec<u8>, Refusal> {
        let Answered {
            running,
            response,
            started,
            received,
        } = answered;
        let internal = || Refusal::Internal;
        let Running {
            request,
            caller,
            channel,
            sealer,
        } = *running;
        let now = self.clock.now();
        let sign = |mut response: Response| {
            sign::sign_response(&mut response, &request, &self.identity, &channel, now)?;
            Ok::<_, SignError>(response)
        };
        let signed = response
            .map_err(SignError::from)
            .and_then(&sign)
            .or_else(|error| {
                tracing::warn!(client = caller.name, %error, "cannot encode the upstream's answer");
                let message = format!("cannot encode the upstream's answer: {error}");
                sign(sealed_error(502, "upstream_error", "upstream", &message)?)
            });
        let response = signed.map_err(|_| internal())?;
        let sealed = sealer
            .seal(&response.to_bhttp().map_err(|_| internal())?)
            .map_err(|_| internal())?;
        let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(
            client = caller.name,
            key = %caller.id,
            method = request.method,
            path = request.path_only(),
            status = response.status,
            ms,
            received,
            sent = response.content.len(),
            "request"
        );
        Ok(sealed)
    }
}

/// An answer before it is signed.
pub(crate) struct Answered {
    running: Box<Running>,
    response: Result<Response, MessageError>,
    started: Instant,
    received: usize,
}

fn admit_all(clients: Vec<Client>) -> Result<HashMap<KeyId, Admitted>, GatewayError> {
    if clients.len() > CLIENTS_MAX {
        return Err(GatewayError::ManyClients(clients.len()));
    }
    let mut admitted = HashMap::new();
    for Client { name, key, allow } in clients {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
        if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
            return Err(GatewayError::ClientName(name));
        }
        let id = key.id()?;
        let caller = Arc::new(Caller { name, id });
        let client = Admitted { key, allow, caller };
        if admitted.insert(id, client).is_some() {
            return Err(GatewayError::ClientTwice(id));
        }
    }
    if admitted.is_empty() {
        return Err(GatewayError::NoClients);
    }
    Ok(admitted)
}

#[expect(clippy::needless_pass_by_value, reason = "used with map_err")]
fn outside(error: OhttpError) -> Refusal {
    match error {
        OhttpError::UnknownKey => Refusal::Key,
        OhttpError::Crypto(_) => Refusal::Internal,
        _ => Refusal::Request,
    }
}

/// Why an opened request does not reach the model, in full for the log.
#[derive(Debug, thiserror::Error)]
enum Rejection {
    #[error(transparent)]
    Message(#[from] MessageError),
    #[error(transparent)]
    Sign(#[from] SignError),
    #[error("{0}")]
    Refused(#[from] Refusal),
}

impl Rejection {
    const fn refusal(&self) -> Refusal {
        match self {
            Self::Message(_) => Refusal::Message,
            Self::Sign(SignError::Past { .. }) => Refusal::Late,
            Self::Sign(_) => Refusal::Signature,
            Self::Refused(refusal) => *refusal,
        }
    }

    /// Returns the message for the client.
    fn said(&self) -> String {
        match self {
            // An unknown key and an invalid signature must be indistinguishable.
            Self::Sign(SignError::UnknownKey(_) | SignError::BadSignature) => {
                Refusal::Signature.to_string()
            }
            other => other.to_string(),
        }
    }
}

/// Path of the gateway resource (RFC 9540).
pub(crate) const GATEWAY_PATH: &str = "/.well-known/ohttp-gateway";
/// Path of the signed key document.
pub(crate) const KEY_DOCUMENT_PATH: &str = "/.well-known/casemate-keys";
pub(crate) use ohttp::{KEYS_MEDIA_TYPE, REQUEST_MEDIA_TYPE, RESPONSE_MEDIA_TYPE};

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> HttpVerifyingKey {
        let key = HttpSigningKey::from_seeds(&[byte; 32], &[byte; 32]).unwrap();
        let key = key.verifying_key();
        HttpVerifyingKey::new(key.ed25519(), key.mldsa65()).unwrap()
    }

    fn clients(names: &[&str]) -> Vec<Client> {
        let client = |(name, byte): (&&str, u8)| Client {
            name: (*name).to_owned(),
            key: key(byte),
            allow: Vec::new(),
        };
        names.iter().zip(1..).map(client).collect()
    }

    #[test]
    fn clients_have_plain_names_and_keys_of_their_own() {
        let longest = "a".repeat(64);
        let admitted = admit_all(clients(&["Team_1.x@lab-2", &longest])).unwrap();
        assert_eq!(admitted.len(), 2);
        let too_long = "a".repeat(65);
        for name in ["", "a b", "a/b", "ä", too_long.as_str()] {
            let refused = admit_all(clients(&[name])).unwrap_err();
            assert!(matches!(refused, GatewayError::ClientName(_)), "{name}");
        }
        let mut twice = clients(&["a", "b"]);
        twice.iter_mut().for_each(|client| client.key = key(9));
        let refused = admit_all(twice).unwrap_err();
        assert!(matches!(refused, GatewayError::ClientTwice(_)), "{refused}");
        let refused = admit_all(Vec::new()).unwrap_err();
        assert!(matches!(refused, GatewayError::NoClients), "{refused}");
    }

    #[test]
    fn as_many_clients_as_the_specification_says_are_admitted() {
        let same = |count: usize| {
            let client = |_| Client {
                name: "a".to_owned(),
                key: key(1),
                allow: Vec::new(),
            };
            admit_all((0..count).map(client).collect()).unwrap_err()
        };
        // Not too many; that they are the same is found after that.
        assert!(matches!(same(CLIENTS_MAX), GatewayError::ClientTwice(_)));
        assert!(matches!(
            same(CLIENTS_MAX + 1),
            GatewayError::ManyClients(4097)
        ));
    }

    #[test]
    fn what_is_refused_outside_the_encryption_says_whether_the_key_is_old() {
        assert_eq!(outside(OhttpError::UnknownKey), Refusal::Key);
        let internal = OhttpError::Crypto(casemate_crypto::Error::Randomness);
        assert_eq!(outside(internal), Refusal::Internal);
        assert_eq!(outside(OhttpError::Rejected), Refusal::Request);
    }

    #[test]
    fn an_unknown_key_and_a_bad_signature_are_answered_alike_and_other_errors_in_full() {
        let unknown = Rejection::Sign(SignError::UnknownKey(KeyId::from_bytes([1; 32])));
        let bad = Rejection::Sign(SignError::BadSignature);
        assert_eq!(unknown.said(), bad.said());
        assert_eq!(bad.said(), Refusal::Signature.to_string());
        assert_ne!(unknown.to_string(), bad.to_string());
        let date = Rejection::Message(MessageError::BadBytes("date"));
        assert_eq!(date.said(), MessageError::BadBytes("date").to_string());
        assert_eq!(unknown.refusal(), bad.refusal());
    }
}
