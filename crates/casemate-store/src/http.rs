//! The HTTP client for all object stores: TLS by policy, bounded responses, and no redirects.
//!
//! The default client of `object_store` offers X25519 first, speaks TLS 1.2, reads responses of any
//! length into memory, and follows redirects to any host with the credentials in its headers.

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

/// Timeout of a request with its response; the largest carries one part.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_mins(2);
/// Timeout of a copy that the object store makes itself.
pub(crate) const COPY_TIMEOUT: Duration = Duration::from_mins(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum length of a response other than a range of an object, in bytes. A page of a listing has
/// a few megabytes at most.
const ANSWER_BYTES_MAX: usize = 32 << 20;

/// Creates clients with our options, ignoring those of a builder.
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

/// Refuses responses that are longer than their limit.
#[derive(Debug)]
struct Bounded(HttpClient);

#[async_trait]
impl HttpService for Bounded {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let range = request
            .headers()
            .get(RANGE)
            .and_then(|range| range_len(range.to_str().ok()?));
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

/// Returns the length of a range written as `bytes=FIRST-LAST`.
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
