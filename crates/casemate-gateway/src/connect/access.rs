//! Access control of a connector, which signs every request with the client's identity.

use casemate_crypto::SecretBytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{AUTHORIZATION, HOST, ORIGIN},
};
use subtle::ConstantTimeEq;

/// The field for the token if `authorization` is for the upstream.
pub(super) const TOKEN_FIELD: &str = "casemate-token";
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What a local request needs to be accepted.
#[derive(Debug, Default)]
pub struct Access {
    /// The token, sent as `authorization: Bearer` or `casemate-token`. Without one, every local
    /// program that can connect may send requests.
    pub token: Option<SecretBytes>,
    /// Origins whose pages may send requests, exactly as a browser writes them, such as
    /// `http://localhost:3000`.
    pub origins: Vec<String>,
}

/// Why a local request is not forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AccessError {
    Host,
    Origin,
    CrossSite,
    Token,
}

impl AccessError {
    pub(super) const fn status(self) -> u16 {
        match self {
            Self::Host | Self::Origin | Self::CrossSite => 403,
            Self::Token => 401,
        }
    }

    pub(super) const fn message(self) -> &'static str {
        match self {
            Self::Host => "the Host header is not this connector's address",
            Self::Origin => {
                "this origin is not allowed; start the connector with `--origin ORIGIN` to allow it"
            }
            Self::CrossSite => {
                "pages of other sites may not send requests; start the connector with `--origin ORIGIN` to allow one"
            }
            Self::Token => {
                "the token is missing or wrong; send it as `authorization: Bearer TOKEN` or `casemate-token: TOKEN`"
            }
        }
    }
}

/// The kind of an accepted request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum AcceptedRequest {
    /// A request from a program, or from a page of the connector's own origin.
    Plain,
    /// A request from a page of an allowed origin.
    Page(HeaderValue),
    /// A browser's preflight request for a page of an allowed origin.
    Preflight(HeaderValue),
}

impl Access {
    /// Checks a request to `port` of a loopback address, or over a transport that browsers do not
    /// use.
    pub(super) fn check(
        &self,
        method: &Method,
        headers: &HeaderMap,
        port: Option<u16>,
    ) -> Result<AcceptedRequest, AccessError> {
        let host = text(headers, &HOST);
        if let Some(port) = port
            && !host.is_some_and(|host| is_loopback(host, port))
        {
            return Err(AccessError::Host);
        }
        let allowed = |origin: &str| self.origins.iter().any(|allowed| allowed == origin);
        let own = |origin: &str| {
            let host = host.filter(|_| port.is_some());
            host.is_some_and(|host| origin.strip_prefix("http://") == Some(host))
        };
        let page = match headers.get(ORIGIN) {
            None => None,
            Some(origin) => match origin.to_str() {
                Ok(text) if allowed(text) => Some(origin.clone()),
                Ok(text) if own(text) => None,
                _ => return Err(AccessError::Origin),
            },
        };
        // A page can send a request without an origin, for example with an image, in the name of
        // the browser's user.
        let site = text(headers, &SEC_FETCH_SITE);
        let by_user = site.is_none_or(|site| ["none", "same-origin"].contains(&site));
        if page.is_none() && !by_user {
            return Err(AccessError::CrossSite);
        }
        if let Some(origin) = &page
            && method == Method::OPTIONS
            && headers.contains_key("access-control-request-method")
        {
            // Browsers send preflight requests without the token.
            return Ok(AcceptedRequest::Preflight(origin.clone()));
        }
        if !self.has_token(headers) {
            return Err(AccessError::Token);
        }
        Ok(page.map_or(AcceptedRequest::Plain, AcceptedRequest::Page))
    }

    fn has_token(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else {
            return true;
        };
        let shown = [text(headers, &TOKEN_NAME), bearer(headers)];
        let same = |shown: &str| bool::from(shown.as_bytes().ct_eq(token.expose()));
        shown.into_iter().flatten().any(same)
    }

    /// Removes the fields that were meant for the connector.
    pub(super) fn strip(&self, headers: &mut HeaderMap) {
        headers.remove(TOKEN_FIELD);
        let ours = self.token.as_ref().is_some_and(|token| {
            bearer(headers).is_some_and(|shown| bool::from(shown.as_bytes().ct_eq(token.expose())))
        });
        if ours {
            headers.remove(AUTHORIZATION);
        }
    }
}

const TOKEN_NAME: HeaderName = HeaderName::from_static(TOKEN_FIELD);

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = text(headers, &AUTHORIZATION)?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Returns whether a host and port can only refer to this port of this machine.
fn is_loopback(host: &str, port: u16) -> bool {
    let Ok(authority) = host.parse::<http::uri::Authority>() else {
        return false;
    };
    let name = authority
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']');
    let address = name.parse::<std::net::IpAddr>();
    let local = name.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address| address.is_loopback());
    local && authority.port_u16().unwrap_or(80) == port && !host.contains('@')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    fn access(token: Option<&str>) -> Access {
        Access {
            token: token.map(|token| SecretBytes::new(token.as_bytes().to_vec())),
            origins: vec!["https://app.example:3000".to_owned()],
        }
    }

    fn check(pairs: &[(&'static str, &str)]) -> Result<AcceptedRequest, AccessError> {
        access(None).check(&Method::GET, &headers(pairs), Some(8080))
    }

    #[test]
    fn a_dns_name_that_resolves_to_loopback_is_refused() {
        for host in [
            "127.0.0.1:8080",
            "localhost:8080",
            "LOCALHOST:8080",
            "[::1]:8080",
            "127.1.2.3:8080",
        ] {
            assert_eq!(
                check(&[("host", host)]),
                Ok(AcceptedRequest::Plain),
                "{host}"
            );
        }
        for host in [
            "evil.example:8080",
            "localhost.evil.example:8080",
            "10.0.0.1:8080",
            "localhost:8081",
            "localhost",
            "x@localhost:8080",
        ] {
            assert_eq!(check(&[("host", host)]), Err(AccessError::Host), "{host}");
        }
        assert_eq!(check(&[]), Err(AccessError::Host));
        // On a socket that no browser can open, the name does not matter.
        let by_socket = access(None).check(&Method::GET, &headers(&[("host", "x")]), None);
        assert_eq!(by_socket, Ok(AcceptedRequest::Plain));
        for origin in ["https://evil.example", "null"] {
            let page = headers(&[("host", "x"), ("origin", origin)]);
            let refused = access(None).check(&Method::GET, &page, None);
            assert_eq!(refused, Err(AccessError::Origin), "{origin}");
        }
    }

    #[test]
    fn only_listed_origins_and_our_own_may_send() {
        let host = ("host", "localhost:8080");
        let origin = |origin: &str| check(&[host, ("origin", origin)]);
        let listed = "https://app.example:3000";
        assert_eq!(
            origin(listed),
            Ok(AcceptedRequest::Page(listed.parse().unwrap()))
        );
        assert_eq!(origin("http://localhost:8080"), Ok(AcceptedRequest::Plain));
        for other in [
            "https://app.example",
            "http://app.example:3000",
            "https://app.example:3000.evil.example",
            "http://localhost:3000",
            "http://127.0.0.1:8080",
            "null",
        ] {
            assert_eq!(origin(other), Err(AccessError::Origin), "{other}");
        }
    }

    #[test]
    fn a_page_cannot_send_with_an_image_or_a_link() {
        let host = ("host", "localhost:8080");
        for site in ["cross-site", "same-site", "x"] {
            let refused = check(&[host, ("sec-fetch-site", site)]);
            assert_eq!(refused, Err(AccessError::CrossSite), "{site}");
        }
        for site in ["none", "same-origin"] {
            assert_eq!(
                check(&[host, ("sec-fetch-site", site)]),
                Ok(AcceptedRequest::Plain)
            );
        }
        let listed = ("origin", "https://app.example:3000");
        let page = check(&[host, listed, ("sec-fetch-site", "cross-site")]);
        assert!(matches!(page, Ok(AcceptedRequest::Page(_))));
    }

    #[test]
    fn the_token_is_required_and_not_forwarded() {
        let access = access(Some("secret"));
        let check = |pairs: &[(&'static str, &str)]| {
            let all = [&[("host", "localhost:8080")], pairs].concat();
            access.check(&Method::POST, &headers(&all), Some(8080))
        };
        assert_eq!(
            check(&[("authorization", "Bearer secret")]),
            Ok(AcceptedRequest::Plain)
        );
        assert_eq!(
            check(&[("authorization", "bearer  secret")]),
            Ok(AcceptedRequest::Plain)
        );
        let both = [
            ("casemate-token", "secret"),
            ("authorization", "Bearer upstream's"),
        ];
        assert_eq!(check(&both), Ok(AcceptedRequest::Plain));
        for wrong in [
            &[][..],
            &[("authorization", "Bearer secre")],
            &[("authorization", "secret")],
            &[("casemate-token", "")],
        ] {
            assert_eq!(check(wrong), Err(AccessError::Token));
        }
        let mut stripped = headers(&both);
        access.strip(&mut stripped);
        assert_eq!(stripped, headers(&[("authorization", "Bearer upstream's")]));
        let mut stripped = headers(&[("authorization", "Bearer secret")]);
        access.strip(&mut stripped);
        assert!(stripped.is_empty());
        let preflight = access.check(
            &Method::OPTIONS,
            &headers(&[
                ("host", "localhost:8080"),
                ("origin", "https://app.example:3000"),
                ("access-control-request-method", "POST"),
            ]),
            Some(8080),
        );
        assert!(matches!(preflight, Ok(AcceptedRequest::Preflight(_))));
    }
}
