//! A key service: what is answered to whom.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use casemate_crypto::policy::Policy;
use casemate_keys::{Binding, Listing, StoreError};
use casemate_server::{
    Answer, BodyError, Connection, ConnectionLimits, Listening, ServeError, ServeOptions, Share,
    Shares, Throttle, read_body,
};
use casemate_tls::Subject;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE},
};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use serde::de::DeserializeOwned;

use crate::{
    answers::{self, Answered},
    cache::Cache,
    grants::{ClientId, Grants, Operation, Target},
    kept::Kept,
    pending::Pending,
    problem::Problem,
    wire::REQUEST_BYTES_MAX,
    worker::{ServedStore, Worker},
};

/// Maximum time for the content of a request.
const PATIENCE: Duration = Duration::from_secs(10);
/// Requests that are answered at a time, in total and for one client.
const REQUESTS_MAX: (usize, usize) = (256, 128);

/// Long answers that are made or sent at a time, in total and to one client.
const LONG_MAX: (usize, usize) = (32, 4);

/// What a service needs.
pub struct ServiceOptions {
    /// The key store.
    pub store: ServedStore,
    /// Who may do what.
    pub grants: Grants,
    /// The suites that may be used.
    pub policy: Policy,
    /// Returns the time, in seconds since 1970-01-01 UTC.
    pub clock: fn() -> u64,
}

impl std::fmt::Debug for ServiceOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServiceOptions")
            .field("grants", &self.grants)
            .finish_non_exhaustive()
    }
}

/// A key service.
pub struct Service {
    pub(crate) worker: Worker,
    pub(crate) grants: Grants,
    pub(crate) policy: Policy,
    pub(crate) clock: fn() -> u64,
    pub(crate) cache: Cache,
    pub(crate) pending: Pending,
    /// Every key, and the validity of every key as it is sent.
    pub(crate) listing: Kept<Listing>,
    pub(crate) statuses: Kept<Bytes>,
    pub(crate) bindings: Kept<Vec<Binding>>,
    /// Turns for long answers, kept until they were sent.
    long: Arc<Shares<ClientId>>,
    /// Turns to sign, which may take a second with a hash-based key.
    pub(crate) signing: Arc<Shares<ClientId>>,
    requests: Arc<Shares<ClientId>>,
    refusals: Throttle,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service")
            .field("grants", &self.grants)
            .finish_non_exhaustive()
    }
}

impl Service {
    /// Starts the thread that owns the key store.
    ///
    /// # Errors
    ///
    /// The system's error if it cannot be started.
    pub fn new(options: ServiceOptions) -> io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (all, each) = REQUESTS_MAX;
        Ok(Self {
            worker: Worker::start(options.store, options.clock)?,
            grants: options.grants,
            policy: options.policy,
            clock: options.clock,
            cache: Cache::default(),
            pending: Pending::default(),
            listing: Kept::default(),
            statuses: Kept::default(),
            bindings: Kept::default(),
            long: Shares::new(LONG_MAX.0, LONG_MAX.1),
            signing: Shares::new(cores, cores.div_ceil(2)),
            requests: Shares::new(all, each),
            refusals: Throttle::default(),
        })
    }

    pub(crate) fn now(&self) -> u64 {
        (self.clock)()
    }
}

/// Serves until `shutdown` completes, then lets open requests finish.
///
/// Calls `ready` once with the addresses it listens on.
///
/// # Errors
///
/// [`ServeError`].
pub async fn serve(
    service: Arc<Service>,
    limits: ConnectionLimits,
    options: ServeOptions,
    ready: impl FnOnce(Listening),
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let front = Arc::new(Front(service));
    casemate_server::serve(front, limits, options, ready, shutdown).await
}

/// A request of a known client.
pub(crate) struct Call<'a> {
    pub(crate) service: &'a Service,
    pub(crate) client: ClientId,
    content: Bytes,
    query: Option<String>,
    /// The turn of a long answer, until the answer has it.
    long: Mutex<Option<Share<ClientId>>>,
    _turn: Option<Share<ClientId>>,
}

/// Whether the answer of a path may be long.
fn is_long(path: &str) -> bool {
    ["/v1/keys", "/v1/statuses"].contains(&path) || path.ends_with("/bindings")
}

impl Call<'_> {
    /// Reads the content.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        // A struct could be read from an array as well.
        if self.content.trim_ascii_start().first() != Some(&b'{') {
            return Err(Problem::bad("the request must be a JSON object"));
        }
        serde_json::from_slice(&self.content)
            .map_err(|error| Problem::bad(format!("the request cannot be read: {error}")))
    }

    /// Returns what the query says of `name`, if it has nothing else.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, Problem> {
        let Some(query) = self.query.as_deref() else {
            return Ok(None);
        };
        let value = query
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix('='));
        let bad = || Problem::bad(format!("the only parameter is `{name}`"));
        value.map(Some).ok_or_else(bad)
    }

    /// Returns a number in the query.
    pub(crate) fn number(&self, name: &str) -> Result<u64, Problem> {
        let query = self.query.as_deref().unwrap_or_default();
        let value = query
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix('='));
        value
            .and_then(decimal)
            .ok_or_else(|| Problem::bad(format!("`{name}` must be a number")))
    }

    /// Runs something on the key store.
    pub(crate) async fn store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut ServedStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Problem> {
        self.service.worker.call(self.client, work).await
    }

    /// Returns the turn of a long answer.
    pub(crate) fn long_turn(&self) -> Result<Share<ClientId>, Problem> {
        let mut long = self.long.lock().unwrap_or_else(PoisonError::into_inner);
        long.take().ok_or_else(Problem::internal)
    }

    pub(crate) fn permits(&self, operation: Operation, target: Target<'_>) -> bool {
        let now = self.service.now();
        self.service
            .grants
            .permits(self.client, operation, target, now)
    }

    /// Refuses what no grant permits.
    pub(crate) fn require(&self, operation: Operation, target: Target<'_>) -> Result<(), Problem> {
        if self.permits(operation, target) {
            return Ok(());
        }
        // That a key exists is known only to those who may read it.
        if let Target::Key(name) | Target::Artifact(name, _) = target
            && operation != Operation::Create
            && !self.permits(Operation::Read, Target::Key(name))
        {
            return Err(Problem::no_key());
        }
        let detail = format!("no grant permits `{operation}` here");
        Err(Problem::new(StatusCode::FORBIDDEN, detail))
    }

    /// Returns the client as the audit log names it.
    pub(crate) fn by(&self) -> String {
        format!("client {}", self.service.grants.name_of(self.client))
    }
}

/// Whom a certificate is of, and until when; nobody if it has not the name of exactly one client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known(Option<(ClientId, u64)>);

/// The service as its connections see it.
struct Front(Arc<Service>);

impl Answer for Front {
    type Client = Known;

    fn meet(&self, certificate: Option<&[u8]>) -> Known {
        let subject = certificate.map(Subject::of).unwrap_or_default();
        let client = self.0.grants.client(&subject.names);
        Known(client.map(|client| (client, subject.valid_until)))
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        connection: &Connection<Known>,
    ) -> Response<Full<Bytes>> {
        let path = request.uri().path().to_owned();
        let mut response = match self.0.answered(request, connection).await {
            Ok(answered) => answered.into_response(),
            Err(problem) => {
                self.0.note(connection.client, &path, &problem);
                problem.to_response()
            }
        };
        let store = HeaderValue::from_static("no-store");
        response.headers_mut().insert(CACHE_CONTROL, store);
        response
    }
}

impl Service {
    async fn answered(
        &self,
        request: Request<Incoming>,
        connection: &Connection<Known>,
    ) -> Result<Answered, Problem> {
        let client = self.client(connection)?;
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let query = request.uri().query().map(str::to_owned);
        if method == Method::POST {
            let media_type = request.headers().get(CONTENT_TYPE);
            let is_json = media_type.is_some_and(|value| value == "application/json");
            if !is_json {
                let detail = "the content must be application/json";
                return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
            }
        }
        let read = read_body(request.into_body(), REQUEST_BYTES_MAX, PATIENCE).await;
        let (content, _) = read.map_err(|error| match error {
            BodyError::TooLong => Problem::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("a request has at most {REQUEST_BYTES_MAX} bytes"),
            ),
            BodyError::Timeout => Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "the request did not arrive in time",
            ),
            BodyError::Broken => Problem::bad("the request is incomplete"),
        })?;
        // A long answer takes as long as the client reads it, and must not keep others from theirs.
        let (turn, long) = if method == Method::GET && is_long(&path) {
            (None, Some(self.long.enter(client).await))
        } else {
            (Some(self.requests.enter(client).await), None)
        };
        let call = Call {
            service: self,
            client,
            content,
            query,
            long: Mutex::new(long),
            _turn: turn,
        };
        answers::answer(&call, &method, &path).await
    }

    /// Logs what was refused, so that a missing grant and a probing client are seen.
    fn note(&self, Known(client): Known, path: &str, problem: &Problem) {
        let status = problem.status.as_u16();
        if problem.status.is_client_error()
            && let Some(left_out) = self.refusals.pass()
        {
            let client = client.map_or("", |(client, _)| self.grants.name_of(client));
            let path: String = path.chars().take(200).collect();
            let detail = &problem.detail;
            tracing::info!(client, path, status, detail, left_out, "refused a request");
        }
    }

    /// Returns the client of a connection.
    fn client(&self, connection: &Connection<Known>) -> Result<ClientId, Problem> {
        let forbidden = |detail: &str| Problem::new(StatusCode::FORBIDDEN, detail);
        let Known(client) = connection.client;
        let (client, until) = client.ok_or_else(|| {
            forbidden("the certificate does not have the name of exactly one client")
        })?;
        // A connection may be older than the end of its certificate.
        if self.now() > until {
            return Err(forbidden("the certificate has expired"));
        }
        connection.seat.admit();
        Ok(client)
    }
}

/// Reads a number as it is written: without a sign or a leading zero.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// Refuses a method, and says which ones there are.
pub(crate) fn method_not_allowed(allowed: &'static str) -> Answered {
    let problem = Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("this path accepts only {allowed}"),
    );
    let mut response = problem.to_response();
    let allowed = HeaderValue::from_static(allowed);
    response.headers_mut().insert(ALLOW, allowed);
    response.into()
}
