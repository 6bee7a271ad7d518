//! A separate listener for probes, which strangers' connections cannot exhaust.

use std::{convert::Infallible, time::Duration};

use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, time::timeout};

use crate::{Connections, Peer};

/// Maximum number of concurrent probes.
const PROBES_MAX: usize = 64;
/// Maximum time for a probe.
const PATIENCE: Duration = Duration::from_secs(5);

/// Answers `GET /healthz` and `GET /readyz` over plain HTTP, one request for each connection.
pub(crate) async fn serve(listener: TcpListener) {
    let seats = Connections::new(PROBES_MAX, PROBES_MAX);
    loop {
        let Ok((stream, address)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Some(seat) = seats.enter(Peer::of(address.ip())) else {
            continue;
        };
        tokio::spawn(async move {
            let service =
                service_fn(|request| async move { Ok::<_, Infallible>(answer(&request)) });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                // A prober that does not wait for its answer is not an error.
                _ = timeout(PATIENCE, connection) => (),
                () = seat.displaced() => (),
            }
        });
    }
}

fn answer(request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let probe = ["/healthz", "/readyz"].contains(&request.uri().path());
    let get = [Method::GET, Method::HEAD].contains(request.method());
    let (status, text) = match (probe, get) {
        (true, true) => (StatusCode::OK, "ok\n"),
        (true, false) => (StatusCode::METHOD_NOT_ALLOWED, "use GET\n"),
        (false, _) => (StatusCode::NOT_FOUND, "use /healthz or /readyz\n"),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    let text = http::HeaderValue::from_static("text/plain");
    response.headers_mut().insert(CONTENT_TYPE, text);
    response
}

/// A guard that runs [`serve`] until it is dropped.
#[derive(Debug)]
pub(crate) struct Serving(tokio::task::JoinHandle<()>);

impl Serving {
    pub(crate) fn start(listener: TcpListener) -> Self {
        Self(tokio::spawn(serve(listener)))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}
