//! The endpoints (`spec/inference.md`, section 2).

use std::sync::Arc;

use casemate_message::Refusal;
use casemate_server::Seat;
use http::{
    HeaderValue, Method, Request, Response,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE},
};
use http_body_util::Full;
use hyper::body::{Body, Bytes, Incoming};
use tokio::task::spawn_blocking;

use super::{
    Server,
    content::{self, Receiver},
};
use crate::{
    gateway::{
        Checked, GATEWAY_PATH, KEY_DOCUMENT_PATH, KEYS_MEDIA_TYPE, REQUEST_MEDIA_TYPE,
        RESPONSE_MEDIA_TYPE,
    },
    refuse::problem,
};

const HEALTH_PATHS: [&str; 2] = ["/healthz", "/readyz"];

impl Server {
    pub(super) async fn route(
        &self,
        request: Request<Incoming>,
        seat: &Seat,
    ) -> Response<Full<Bytes>> {
        // hyper omits the content of an answer to HEAD.
        let get = [Method::GET, Method::HEAD].contains(request.method());
        let path = request.uri().path();
        let answer = match path {
            GATEWAY_PATH if get => Ok(content(KEYS_MEDIA_TYPE, self.gateway.key_list().to_vec())),
            GATEWAY_PATH if request.method() == Method::POST => self.protected(request, seat).await,
            KEY_DOCUMENT_PATH if get => self
                .gateway
                .key_document()
                .map(|document| content("application/json", document)),
            _ if HEALTH_PATHS.contains(&path) && get => Ok(content("text/plain", b"ok\n".to_vec())),
            GATEWAY_PATH => return method_not_allowed("GET, HEAD, POST"),
            _ if path == KEY_DOCUMENT_PATH || HEALTH_PATHS.contains(&path) => {
                return method_not_allowed("GET, HEAD");
            }
            _ => Err(Refusal::NotFound),
        };
        answer.unwrap_or_else(problem)
    }

    /// Receives, checks and runs an encapsulated request, and seals its answer.
    async fn protected(
        &self,
        request: Request<Incoming>,
        seat: &Seat,
    ) -> Result<Response<Full<Bytes>>, Refusal> {
        let media_type = request
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        if !media_type.is_some_and(|found| found.trim().eq_ignore_ascii_case(REQUEST_MEDIA_TYPE)) {
            return Err(Refusal::MediaType);
        }
        let admitted = seat.is_admitted();
        let receiver = Receiver {
            limits: &self.limits,
            memory: &self.memory,
            peer: seat.peer,
            admitted,
            waits: content::waits(request.headers()),
        };
        let declared = request.body().size_hint().exact();
        let received = receiver.receive(request.into_body(), declared).await?;
        let lane = if admitted {
            &self.known
        } else {
            &self.strangers
        };
        let share = lane.enter(seat.peer).await;
        let gateway = Arc::clone(&self.gateway);
        let checked = spawn_blocking(move || {
            let checked = gateway.check(received.content);
            drop(share);
            (checked, received.hold)
        });
        let (checked, hold) = checked.await.map_err(|_| Refusal::Internal)?;
        // Models account for their own memory. While an upstream works, the reservation is kept
        // here.
        let hold = hold.filter(|_| self.gateway.has_http_upstream());
        let running = match checked? {
            Checked::Refused(sealed) => return Ok(content(RESPONSE_MEDIA_TYPE, sealed)),
            Checked::Admitted(running) => running,
        };
        seat.admit();
        let answered = self.gateway.run(running).await;
        drop(hold);
        let share = self.known.enter(seat.peer).await;
        let gateway = Arc::clone(&self.gateway);
        let sealed = spawn_blocking(move || {
            let sealed = gateway.seal(answered);
            drop(share);
            sealed
        });
        let sealed = sealed.await.map_err(|_| Refusal::Internal)??;
        Ok(content(RESPONSE_MEDIA_TYPE, sealed))
    }
}

fn method_not_allowed(allowed: &'static str) -> Response<Full<Bytes>> {
    let mut response = problem(Refusal::Method);
    let allowed = HeaderValue::from_static(allowed);
    response.headers_mut().insert(ALLOW, allowed);
    response
}

fn content(media_type: &'static str, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
