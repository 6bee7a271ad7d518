//! The local endpoint: plain HTTP in, sealed requests out.

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use casemate_message::{Request, limits::REQUEST_BYTES_DEFAULT};
use http::{
    HeaderMap,
    header::{HOST, ORIGIN},
};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::net::TcpListener;

use super::{ConnectError, Connector};
use crate::{
    http_io::{self, BodyError},
    problem::sealed_error,
    serve::ServeError,
};

const PATIENCE: Duration = Duration::from_mins(1);
/// Room for the headers, the signatures and the encryption around a content.
const CONTENT_BYTES_MAX: usize = REQUEST_BYTES_DEFAULT - 64 * 1024;

/// Where plain requests are taken. They carry no protection, so the address should be a loopback one.
#[derive(Clone, Copy, Debug)]
pub struct Plain {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
}

/// Takes plain HTTP requests and passes them through `connector` until `shutdown` completes.
///
/// # Errors
///
/// [`ServeError`].
pub async fn serve_connector(
    connector: Arc<Connector>,
    plain: Plain,
    ready: impl FnOnce(SocketAddr),
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let address = plain.listen;
    let failed = |source| ServeError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    ready(listener.local_addr().map_err(failed)?);
    // Elsewhere than on loopback the operator decides who may send; there is no name to compare with.
    let only_local = address.ip().is_loopback();
    let graceful = GracefulShutdown::new();
    tokio::pin!(shutdown);
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted { stream } else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            },
            () = &mut shutdown => break,
        };
        let connector = Arc::clone(&connector);
        let watcher = graceful.watcher();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let connector = Arc::clone(&connector);
                async move { Ok::<_, Infallible>(pass(&connector, only_local, request).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = watcher.watch(connection).await {
                tracing::debug!(%error, "a local connection broke off");
            }
        });
    }
    drop(listener);
    // What is not finished by then is cut off; the local client sees it.
    _ = tokio::time::timeout(Duration::from_secs(10), graceful.shutdown()).await;
    Ok(())
}

/// Whether a name can only mean this machine.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let address = name.parse::<IpAddr>();
    name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// Refuses what a web page could send: by a name that leads here only for its browser, or from another origin.
fn check_local(headers: &HeaderMap) -> Result<(), (u16, String)> {
    let refuse = |what: &str| Err((403, format!("{what} is not this machine")));
    let text = |name| {
        headers
            .get(name)
            .map(|value: &http::HeaderValue| value.to_str())
    };
    match text(HOST) {
        Some(Ok(host)) if is_loopback(host) => {}
        _ => return refuse("Host"),
    }
    match text(ORIGIN) {
        None => Ok(()),
        Some(Ok(origin))
            if origin
                .split_once("://")
                .is_some_and(|(_, host)| is_loopback(host)) =>
        {
            Ok(())
        }
        Some(_) => refuse("Origin"),
    }
}

async fn pass(
    connector: &Connector,
    only_local: bool,
    request: hyper::Request<Incoming>,
) -> hyper::Response<Full<Bytes>> {
    let checked = if only_local {
        check_local(request.headers())
    } else {
        Ok(())
    };
    let answer = match checked {
        Ok(()) => forward(connector, request).await,
        Err(refusal) => Err(refusal),
    };
    match answer {
        Ok(response) => response,
        Err((status, message)) => {
            tracing::info!(status, message, "not passed on");
            let error = sealed_error(status, "connector_error", "connector", &message);
            error.map(http_io::to_plain).unwrap_or_default()
        }
    }
}

async fn forward(
    connector: &Connector,
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<Full<Bytes>>, (u16, String)> {
    let bad = |error: casemate_message::MessageError| (400, error.to_string());
    let (parts, body) = request.into_parts();
    let content = http_io::read_body(body, CONTENT_BYTES_MAX, PATIENCE).await;
    let content = content.map_err(|error| match error {
        BodyError::TooLong => (413, format!("content exceeds {CONTENT_BYTES_MAX} bytes")),
        BodyError::Timeout => (408, "content did not arrive in time".to_owned()),
        BodyError::Busy | BodyError::Broken => (400, "content broke off".to_owned()),
    })?;
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let method = parts.method.as_str();
    let mut protected =
        Request::new(method, connector.authority(), path, content.to_vec()).map_err(bad)?;
    http_io::forwarded_fields(&parts.headers, &mut protected.fields).map_err(bad)?;
    match connector.send(protected).await {
        Ok(response) => Ok(http_io::to_plain(response)),
        Err(error @ ConnectError::Timeout) => Err((504, error.to_string())),
        Err(error) => Err((502, with_causes(&error))),
    }
}

/// The error and what it came from, in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(host: &str, origin: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        origin.map(|origin| headers.insert(ORIGIN, origin.parse().unwrap()));
        headers
    }

    #[test]
    fn local_programs_pass_and_web_pages_do_not() {
        for host in [
            "127.0.0.1:8080",
            "localhost",
            "LOCALHOST:8080",
            "[::1]:8080",
            "127.1.2.3",
        ] {
            assert_eq!(check_local(&headers(host, None)), Ok(()), "{host}");
        }
        let local = headers("localhost:8080", Some("http://localhost:3000"));
        assert_eq!(check_local(&local), Ok(()));
        for host in [
            "evil.example",
            "localhost.evil.example",
            "10.0.0.1",
            "[::2]",
            "",
        ] {
            assert_eq!(
                check_local(&headers(host, None)).unwrap_err().0,
                403,
                "{host}"
            );
        }
        for origin in [
            "https://evil.example",
            "null",
            "http://localhost.evil.example",
        ] {
            let refused = check_local(&headers("localhost", Some(origin))).unwrap_err();
            assert_eq!(
                refused,
                (403, "Origin is not this machine".to_owned()),
                "{origin}"
            );
        }
        assert_eq!(check_local(&HeaderMap::new()).unwrap_err().0, 403);
    }
}
