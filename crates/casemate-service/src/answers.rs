//! The paths (`spec/key-service.md`, section 4).

mod audit;
mod data_keys;
mod keys;
mod uses;

use casemate_crypto::SecretBytes;
use casemate_server::Share;
use http::{HeaderValue, Method, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::body::Bytes;
use serde::Serialize;

use crate::{
    grants::ClientId,
    openapi,
    problem::Problem,
    service::{Call, method_not_allowed},
};

/// An answer.
pub(crate) struct Answered(Response<Full<Bytes>>);

/// Bytes that are sent before another long answer of the client is made.
struct Long {
    body: Bytes,
    _turn: Share<ClientId>,
}

impl AsRef<[u8]> for Long {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

/// Bytes that are wiped once the connection has taken them; its own buffers are not.
struct Wiped(SecretBytes);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        self.0.expose()
    }
}

impl From<Response<Full<Bytes>>> for Answered {
    fn from(response: Response<Full<Bytes>>) -> Self {
        Self(response)
    }
}

impl Answered {
    pub(crate) fn into_response(self) -> Response<Full<Bytes>> {
        self.0
    }

    fn with(status: StatusCode, media_type: &'static str, body: Bytes) -> Self {
        let mut response = Response::new(Full::from(body));
        *response.status_mut() = status;
        let media_type = HeaderValue::from_static(media_type);
        response.headers_mut().insert(CONTENT_TYPE, media_type);
        Self(response)
    }

    pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Result<Self, Problem> {
        let text = serde_json::to_vec(body).map_err(|_| Problem::internal())?;
        Ok(Self::with(status, "application/json", text.into()))
    }

    pub(crate) fn ok(body: &impl Serialize) -> Result<Self, Problem> {
        Self::json(StatusCode::OK, body)
    }

    /// Answers with JSON that has a secret.
    pub(crate) fn secret(json: SecretBytes) -> Self {
        let body = Bytes::from_owner(Wiped(json));
        Self::with(StatusCode::OK, "application/json", body)
    }

    /// Answers with JSON that may be long.
    pub(crate) fn long(json: impl Into<Bytes>, turn: Share<ClientId>) -> Self {
        let body = Bytes::from_owner(Long {
            body: json.into(),
            _turn: turn,
        });
        Self::with(StatusCode::OK, "application/json", body)
    }

    fn text(text: String) -> Self {
        Self::with(StatusCode::OK, "text/plain; charset=utf-8", text.into())
    }
}

/// Answers a request of a known client.
pub(crate) async fn answer(
    call: &Call<'_>,
    method: &Method,
    path: &str,
) -> Result<Answered, Problem> {
    let missing = || Problem::new(StatusCode::NOT_FOUND, "there is no such path");
    let rest = path.strip_prefix("/v1/").ok_or_else(missing)?;
    let segments: Vec<&str> = rest.split('/').collect();
    let (get, post) = (method == Method::GET, method == Method::POST);
    match segments.as_slice() {
        ["openapi.json"] if get => Answered::ok(&openapi::document()),
        ["keys"] if get => keys::list(call).await,
        ["keys"] if post => keys::create(call).await,
        ["keys", name] if get => keys::named(call, name).await,
        ["keys", name, "rotate"] if post => keys::rotate(call, name).await,
        ["keys", name, "versions", number, "state"] if post => {
            keys::set_state(call, name, number).await
        }
        ["keys", name, "bindings"] if get => keys::bindings(call, name).await,
        ["keys", name, "bindings"] if post => keys::bind(call, name).await,
        ["key-ids", id] if get => keys::by_id(call, id).await,
        ["statuses"] if get => keys::statuses(call).await,
        ["open"] if post => uses::open(call).await,
        ["sign"] if post => uses::sign(call).await,
        ["sign-http"] if post => uses::sign_http(call).await,
        ["data-keys"] if post => data_keys::make(call).await,
        ["data-keys", "unwrap"] if post => data_keys::unwrap(call).await,
        ["data-keys", "rewrap"] if post => data_keys::rewrap(call).await,
        ["audit", "keys"] if get => audit::keys(call).await,
        ["audit", "checkpoint"] if get => audit::checkpoint(call).await,
        ["audit", "entries"] if get => audit::entries(call).await,
        ["keys"] | ["keys", _, "bindings"] => Ok(method_not_allowed("GET, POST")),
        ["keys", _, "rotate"]
        | ["keys", _, "versions", _, "state"]
        | ["open" | "sign" | "sign-http" | "data-keys"]
        | ["data-keys", "unwrap" | "rewrap"] => Ok(method_not_allowed("POST")),
        ["openapi.json" | "statuses"]
        | ["keys" | "key-ids", _]
        | ["audit", "keys" | "checkpoint" | "entries"] => Ok(method_not_allowed("GET")),
        _ => Err(missing()),
    }
}
