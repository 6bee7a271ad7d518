//! Who may use a connector: every request through it is signed with the client's identity.

use casemate_crypto::SecretBytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{AUTHORIZATION, HOST, ORIGIN},
};
use subtle::ConstantTimeEq;

/// The field for a token where `authorization` is the upstream's.
pub(super) const TOKEN_FIELD: &str = "casemate-token";
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What a local request must show.
#[derive(Debug, Default)]
pub struct Access {
    /// A token, as `authorization: Bearer` or `casemate-token`; none if everyone who can connect may send.
    pub token: Option<SecretBytes>,
    /// Origins whose pages may send, exactly as a browser writes them, such as `http://localhost:3000`.
    pub origins: Vec<String>,
}

/// Why a local request is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    Host,
    Origin,
    CrossSite,
    Token,
}

impl Denied {
    pub(super) const fn status(self) -> u16 {
        match self {
            Self::Host | Self::Origin | Self::CrossSite => 403,
            Self::Token => 401,
        }
    }

    pub(super) const fn message(self) -> &'static str {
        match self {
            Self::Host => "Host is not this connector's address",
            Self::Origin => "Origin is not allowed; allow it with --origin",
            Self::CrossSite => {
                "pages of other sites may not send requests; allow an origin with --origin"
            }
            Self::Token => {
                "the token is missing or wrong; send it as `authorization: Bearer` or `casemate-token`"
            }
        }
    }
}

/// What a permitted request is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Permit {
    /// From a program, or a page of the connector's own origin.
    Plain,
    /// From a page of an allowed origin.
    Page(HeaderValue),
    /// The question of a browser whether a page of an allowed origin may send.
    Preflight(HeaderValue),
}

impl Access {
    /// Checks a request that came to `port` of a loopback address, or by a way that no browser takes.
    pub(super) fn check(
        &self,
        method: &Method,
        headers: &HeaderMap,
        port: Option<u16>,
    ) -> Result<Permit, Denied> {
        let host = text(headers, &HOST);
        if let Some(port) = port
            && !host.is_some_and(|host| is_loopback(host, port))
        {
            return Err(Denied::Host);
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
                _ => return Err(Denied::Origin),
            },
        };
        // A page that asks without an origin, as by an image, asks for its browser's user.
        let site = text(headers, &SEC_FETCH_SITE);
        let by_user = site.is_none_or(|site| ["none", "same-origin"].contains(&site));
        if page.is_none() && !by_user {
            return Err(Denied::CrossSite);
        }
        if let Some(origin) = &page
            && method == Method::OPTIONS
            && headers.contains_key("access-control-request-method")
        {
            // Browsers ask this without the token.
            return Ok(Permit::Preflight(origin.clone()));
        }
        if !self.has_token(headers) {
            return Err(Denied::Token);
        }
        Ok(page.map_or(Permit::Plain, Permit::Page))
    }

    fn has_token(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else {
            return true;
        };
        let shown = [text(headers, &TOKEN_NAME), bearer(headers)];
        let same = |shown: &str| bool::from(shown.as_bytes().ct_eq(token.expose()));
        shown.into_iter().flatten().any(same)
    }

    /// Removes what was meant for the connector.
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

/// Whether a host and port can only mean this port of this machine.
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

    fn check(pairs: &[(&'static str, &str)]) -> Result<Permit, Denied> {
        access(None).check(&Method::GET, &headers(pairs), Some(8080))
    }

    #[test]
    fn a_name_that_leads_here_only_for_a_browser_is_refused() {
        for host in [
            "127.0.0.1:8080",
            "localhost:8080",
            "LOCALHOST:8080",
            "[::1]:8080",
            "127.1.2.3:8080",
        ] {
            assert_eq!(check(&[("host", host)]), Ok(Permit::Plain), "{host}");
        }
        for host in [
            "evil.example:8080",
            "localhost.evil.example:8080",
            "10.0.0.1:8080",
            "localhost:8081",
            "localhost",
            "x@localhost:8080",
        ] {
            assert_eq!(check(&[("host", host)]), Err(Denied::Host), "{host}");
        }
        assert_eq!(check(&[]), Err(Denied::Host));
        // By a socket that no browser opens, the name does not matter.
        let by_socket = access(None).check(&Method::GET, &headers(&[("host", "x")]), None);
        assert_eq!(by_socket, Ok(Permit::Plain));
        for origin in ["https://evil.example", "null"] {
            let page = headers(&[("host", "x"), ("origin", origin)]);
            let refused = access(None).check(&Method::GET, &page, None);
            assert_eq!(refused, Err(Denied::Origin), "{origin}");
        }
    }

    #[test]
    fn only_listed_origins_and_our_own_may_send() {
        let host = ("host", "localhost:8080");
        let origin = |origin: &str| check(&[host, ("origin", origin)]);
        let listed = "https://app.example:3000";
        assert_eq!(origin(listed), Ok(Permit::Page(listed.parse().unwrap())));
        assert_eq!(origin("http://localhost:8080"), Ok(Permit::Plain));
        for other in [
            "https://app.example",
            "http://app.example:3000",
            "https://app.example:3000.evil.example",
            "http://localhost:3000",
            "http://127.0.0.1:8080",
            "null",
        ] {
            assert_eq!(origin(other), Err(Denied::Origin), "{other}");
        }
    }

    #[test]
    fn a_page_cannot_send_by_an_image_or_a_link() {
        let host = ("host", "localhost:8080");
        for site in ["cross-site", "same-site", "x"] {
            let refused = check(&[host, ("sec-fetch-site", site)]);
            assert_eq!(refused, Err(Denied::CrossSite), "{site}");
        }
        for site in ["none", "same-origin"] {
            assert_eq!(check(&[host, ("sec-fetch-site", site)]), Ok(Permit::Plain));
        }
        let listed = ("origin", "https://app.example:3000");
        let page = check(&[host, listed, ("sec-fetch-site", "cross-site")]);
        assert!(matches!(page, Ok(Permit::Page(_))));
    }

    #[test]
    fn the_token_is_asked_for_and_kept_here() {
        let access = access(Some("secret"));
        let check = |pairs: &[(&'static str, &str)]| {
            let all = [&[("host", "localhost:8080")], pairs].concat();
            access.check(&Method::POST, &headers(&all), Some(8080))
        };
        assert_eq!(
            check(&[("authorization", "Bearer secret")]),
            Ok(Permit::Plain)
        );
        assert_eq!(
            check(&[("authorization", "bearer  secret")]),
            Ok(Permit::Plain)
        );
        let both = [
            ("casemate-token", "secret"),
            ("authorization", "Bearer upstream's"),
        ];
        assert_eq!(check(&both), Ok(Permit::Plain));
        for wrong in [
            &[][..],
            &[("authorization", "Bearer secre")],
            &[("authorization", "secret")],
            &[("casemate-token", "")],
        ] {
            assert_eq!(check(wrong), Err(Denied::Token));
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
        assert!(matches!(preflight, Ok(Permit::Preflight(_))));
    }
}
