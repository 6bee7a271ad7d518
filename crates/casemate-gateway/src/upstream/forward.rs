//! An HTTP server as upstream.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use casemate_message::{Request, Response};
use casemate_server::{BodyError, read_body};
use http::{HeaderMap, Uri, header::CONTENT_TYPE};
use hyper::body::Bytes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::ClientConfig;
use url::{Host, Url};

use super::{
    Call, UpstreamError,
    boundary::{CLIENT_FIELD, CLIENT_KEY_FIELD, leaves_base, may_pass},
    locations,
};
use crate::http_io::{self, Content};

/// Maximum length of an upstream's answer, in bytes.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Maximum time for an upstream to answer; inference can be slow.
const PATIENCE: Duration = Duration::from_mins(10);
/// Idle time after which a connection is closed, before a server with the usual keep-alive of five
/// seconds closes it.
const IDLE: Duration = Duration::from_secs(4);

/// Forwards requests to a base URL.
#[derive(Debug)]
pub struct HttpUpstream {
    base: Url,
    /// Whether the warning about buffered streams was logged.
    has_warned: AtomicBool,
    client: Client<HttpsConnector<HttpConnector>, Content>,
}

impl HttpUpstream {
    /// Creates an upstream at `base`, an `http` or `https` URL without query; `tls` is used for
    /// `https`.
    ///
    /// `allow_plain` allows `http` to another machine, which exposes requests to the network.
    ///
    /// # Errors
    ///
    /// [`UpstreamError::BadUrl`], [`UpstreamError::Plain`].
    pub fn new(base: &str, tls: ClientConfig, allow_plain: bool) -> Result<Self, UpstreamError> {
        let bad = || UpstreamError::BadUrl(base.to_owned());
        let url = Url::parse(base).map_err(|_| bad())?;
        let host = url.host().ok_or_else(bad)?;
        let plain_parts = url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        if !matches!(url.scheme(), "http" | "https") || !plain_parts {
            return Err(bad());
        }
        if url.scheme() == "http" && !allow_plain && !is_local(&host) {
            return Err(UpstreamError::Plain(base.to_owned()));
        }
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .build();
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        Ok(Self {
            base: url,
            has_warned: AtomicBool::new(false),
            client,
        })
    }

    pub(super) async fn answer(&self, call: Call<'_>) -> Result<Response, UpstreamError> {
        let path = &call.head.path;
        if leaves_base(call.head.path_only()) {
            return Err(UpstreamError::Path);
        }
        let base = self.base.as_str().trim_end_matches('/');
        let unreachable = |error: http::Error| UpstreamError::Unreachable(Box::new(error));
        let uri = format!("{base}{path}")
            .parse::<Uri>()
            .map_err(|error| unreachable(error.into()))?;
        let head = with_client(&call)?;
        let plain = http_io::to_upstream(&head, call.content, uri).map_err(unreachable)?;
        let sent = tokio::time::timeout(PATIENCE, self.client.request(plain)).await;
        let answer = sent
            .map_err(|_| UpstreamError::Timeout)?
            .map_err(|error| UpstreamError::Unreachable(Box::new(error)))?;
        let (parts, body) = answer.into_parts();
        if is_stream(&parts.headers) && !self.has_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                upstream = %self.base,
                "the upstream streams its answers; the gateway buffers them and sends them when they are complete"
            );
        }
        let read = read_body(body, ANSWER_BYTES_MAX, PATIENCE).await;
        let (content, trailers): (Bytes, _) = read.map_err(|error| match error {
            BodyError::TooLong => UpstreamError::TooLong,
            BodyError::Timeout => UpstreamError::Timeout,
            BodyError::Broken => UpstreamError::Broken,
        })?;
        let mut response = Response::new(parts.status.as_u16(), content.into())?;
        http_io::forwarded_fields(&parts.headers, &mut response.fields)?;
        let (fields, removed) = locations::rewrite(&response.fields, &self.base, path)?;
        if removed && parts.status.is_redirection() {
            return Err(UpstreamError::Redirect);
        }
        response.fields = fields;
        http_io::forwarded_trailers(&trailers, &mut response)?;
        Ok(response)
    }
}

/// Returns whether an answer is a stream.
fn is_stream(fields: &HeaderMap) -> bool {
    let kind = fields.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).map(str::trim);
    kind.is_some_and(|kind| {
        ["text/event-stream", "application/x-ndjson"]
            .iter()
            .any(|stream| kind.eq_ignore_ascii_case(stream))
    })
}

fn is_local(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

/// Returns the request for the upstream: without identity fields from the client, and with the
/// client's verified identity.
fn with_client(call: &Call<'_>) -> Result<Request, UpstreamError> {
    let mut head = call.head.clone();
    for section in [&mut head.fields, &mut head.trailers] {
        let names: Vec<String> = section.names().into_iter().map(str::to_owned).collect();
        for name in names.iter().filter(|name| !may_pass(name)) {
            section.remove(name);
        }
    }
    head.fields.push(CLIENT_FIELD, &call.caller.name)?;
    head.fields
        .push(CLIENT_KEY_FIELD, &call.caller.id.to_hex())?;
    Ok(head)
}

#[cfg(test)]
mod tests {
    use casemate_crypto::encoding::KeyId;
    use casemate_tls::{Fallback, client_config, provider};

    use super::*;
    use crate::upstream::Caller;

    fn tls() -> ClientConfig {
        let groups = &casemate_crypto::algorithm::TlsGroup::ALL;
        client_config(provider(groups, Fallback::Disabled), None).unwrap()
    }

    fn upstream(base: &str, allow_plain: bool) -> Result<HttpUpstream, UpstreamError> {
        HttpUpstream::new(base, tls(), allow_plain)
    }

    #[test]
    fn plain_http_stays_on_this_machine_unless_it_is_allowed() {
        for base in [
            "http://127.0.0.1:9000",
            "http://localhost",
            "http://[::1]:1/x",
            "https://other",
        ] {
            assert!(upstream(base, false).is_ok(), "{base}");
        }
        for base in [
            "http://other:9000",
            "http://10.0.0.1",
            "http://localhost.evil.example",
        ] {
            let refused = upstream(base, false).unwrap_err();
            assert!(matches!(refused, UpstreamError::Plain(_)), "{base}");
            assert!(upstream(base, true).is_ok(), "{base}");
        }
        for base in [
            "ftp://x",
            "http://x?y",
            "http://u:p@localhost",
            "localhost:9000",
            "",
        ] {
            let refused = upstream(base, true).unwrap_err();
            assert!(matches!(refused, UpstreamError::BadUrl(_)), "{base}");
        }
    }

    #[test]
    fn only_the_gateway_tells_the_upstream_who_called() {
        let mut head = Request::new("GET", "gateway", "/", Vec::new()).unwrap();
        for (name, value) in [
            ("casemate-client", "admin"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-api-key", "k"),
        ] {
            head.fields.push(name, value).unwrap();
        }
        head.trailers.push("x-real-ip", "10.0.0.1").unwrap();
        let caller = Caller {
            name: "web".to_owned(),
            id: KeyId::from_bytes([1; 32]),
        };
        let call = Call {
            head: &head,
            content: Vec::new(),
            caller: &caller,
        };
        let seen = with_client(&call).unwrap();
        assert_eq!(seen.fields.single("casemate-client"), Some("web"));
        let id = "01".repeat(32);
        assert_eq!(seen.fields.single("casemate-client-key"), Some(id.as_str()));
        assert_eq!(seen.fields.single("x-api-key"), Some("k"));
        assert!(!seen.fields.contains("x-forwarded-for") && seen.trailers.is_empty());
    }
}
