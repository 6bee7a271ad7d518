//! The HTTP client of all stores: TLS by policy, answers of bounded length, and no redirects.
//!
//! The client that `object_store` would make offers X25519 first, speaks TLS 1.2, reads an answer of any length into memory, and follows a redirect to
//! any host with the credentials in its headers.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use http::header::RANGE;
use http_body_util::{BodyExt as _, Limited};
use object_store::{
    ClientOptions,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
        HttpResponseBody, HttpService,
    },
};
use reqwest::redirect::Policy;
use rustls::ClientConfig;

/// A request with its answer must end in this time; the largest carries one part.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_mins(2);
/// The store copies a part by itself while we wait.
pub(crate) const COPY_TIMEOUT: Duration = Duration::from_mins(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer that is no range of an object; a page of a listing is a few megabytes at most.
const ANSWER_BYTES_MAX: usize = 32 << 20;

/// Makes clients; their options are ours, not those of a builder.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) allow_http: bool,
    pub(crate) timeout: Duration,
}

impl Connector {
    pub(crate) fn client(&self) -> object_store::Result<HttpClient> {
        let built = reqwest::Client::builder()
            .tls_backend_preconfigured(ClientConfig::clone(&self.tls))
            .https_only(!self.allow_http)
            .redirect(Policy::none())
            .timeout(self.timeout)
            .connect_timeout(CONNECT_TIMEOUT)
            .referer(false)
            .user_agent(concat!("casemate/", env!("CARGO_PKG_VERSION")))
            .build();
        let client = built.map_err(|error| object_store::Error::Generic {
            store: "HTTP client",
            source: error.into(),
        })?;
        Ok(HttpClient::new(Bounded(HttpClient::new(client))))
    }
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        self.client()
    }
}

/// Cuts answers off that are longer than they can be.
#[derive(Debug)]
struct Bounded(HttpClient);

#[async_trait]
impl HttpService for Bounded {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let range = request.headers().get(RANGE);
        let range = range.and_then(|range| range_len(range.to_str().ok()?));
        let most = range.unwrap_or(0).max(ANSWER_BYTES_MAX);
        let (parts, body) = self.0.execute(request).await?.into_parts();
        let body =
            Limited::new(body, most).map_err(|source| match source.downcast::<HttpError>() {
                Ok(error) => *error,
                Err(source) => HttpError::new_boxed(HttpErrorKind::Unknown, source),
            });
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(body)))
    }
}

/// Bytes that a range asks for, written as `bytes=FIRST-LAST`.
fn range_len(text: &str) -> Option<usize> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let len = last
        .parse::<usize>()
        .ok()?
        .checked_sub(first.parse().ok()?)?;
    len.checked_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_says_how_long_its_answer_is() {
        assert_eq!(range_len("bytes=0-0"), Some(1));
        assert_eq!(range_len("bytes=100-199"), Some(100));
        for other in [
            "bytes=9-",
            "bytes=-9",
            "bytes=9-8",
            "bytes=0-1,4-5",
            "9-9",
            "",
        ] {
            assert_eq!(range_len(other), None, "{other}");
        }
    }
}
