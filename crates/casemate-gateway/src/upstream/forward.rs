//! Any HTTP server as upstream.

use std::time::Duration;

use casemate_message::{Request, Response};
use http::Uri;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::ClientConfig;

use super::UpstreamError;
use crate::http_io::{self, BodyError};

/// Longest answer of an upstream that is carried, in bytes.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;
/// How long an upstream may take; inference can be slow.
const PATIENCE: Duration = Duration::from_mins(10);

/// Forwards requests to a base URL.
#[derive(Debug)]
pub struct HttpUpstream {
    base: String,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl HttpUpstream {
    /// Forwards to `base`, an `http` or `https` URL without query; `tls` is used for `https`.
    ///
    /// # Errors
    ///
    /// [`UpstreamError::BadUrl`] if it is none or has another scheme.
    pub fn new(base: &str, tls: ClientConfig) -> Result<Self, UpstreamError> {
        let good = base.parse::<Uri>().is_ok_and(|uri| {
            let known = matches!(uri.scheme_str(), Some("http" | "https"));
            known && uri.authority().is_some() && uri.query().is_none()
        });
        if !good {
            return Err(UpstreamError::BadUrl(base.to_owned()));
        }
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self {
            base: base.trim_end_matches('/').to_owned(),
            client,
        })
    }

    pub(super) async fn answer(&self, request: Request) -> Result<Response, UpstreamError> {
        if leaves_base(request.path_only()) {
            return Err(UpstreamError::Path);
        }
        let uri = format!("{}{}", self.base, request.path).parse::<Uri>();
        let unreachable = || UpstreamError::Unreachable;
        let plain = uri
            .map_err(http::Error::from)
            .and_then(|uri| http_io::to_upstream(&request, uri))
            .map_err(|_| unreachable())?;
        let sent = tokio::time::timeout(PATIENCE, self.client.request(plain)).await;
        let answer = sent
            .map_err(|_| UpstreamError::Timeout)?
            .map_err(|_| unreachable())?;
        let (parts, body) = answer.into_parts();
        let content = http_io::read_body(body, ANSWER_BYTES_MAX, PATIENCE).await;
        let content = content.map_err(|error| match error {
            BodyError::TooLong => UpstreamError::TooLong,
            BodyError::Timeout => UpstreamError::Timeout,
            BodyError::Busy | BodyError::Broken => UpstreamError::Unreachable,
        })?;
        let mut response = Response::new(parts.status.as_u16(), content.to_vec())?;
        http_io::forwarded_fields(&parts.headers, &mut response.fields)?;
        Ok(response)
    }
}

/// Whether an upstream that normalises paths could answer from outside the base.
fn leaves_base(path: &str) -> bool {
    let plain = path
        .to_ascii_lowercase()
        .replace("%2e", ".")
        .replace("%2f", "/")
        .replace("%5c", "/");
    plain.contains('\\') || plain.split('/').any(|segment| segment == "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_climb_are_refused() {
        for path in [
            "/../x",
            "/a/..",
            "/%2e%2E/x",
            "/a%2f..%2fx",
            "/a/.%2e/x",
            "/a\\..\\x",
            "/..%5cx",
        ] {
            assert!(leaves_base(path), "{path}");
        }
        for path in ["/", "/v1/models", "/a..b/...", "/x/.well-known"] {
            assert!(!leaves_base(path), "{path}");
        }
    }
}
