//! The methods and paths that a client may use.

use std::str::FromStr;

use casemate_message::Request;

/// A method with a path or a path prefix: `POST /v1/chat/completions`, `GET /v1/models/*`, `*
/// /v2/*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// `None` for any method.
    method: Option<String>,
    path: String,
    /// Whether the route covers everything below `path`, which then ends with `/`.
    below: bool,
}

/// The text is not a route.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a method and a path, such as `POST /v1/embeddings`, or a path prefix, such as `* /v2/*`"
)]
pub struct BadRoute;

impl FromStr for Route {
    type Err = BadRoute;

    fn from_str(text: &str) -> Result<Self, BadRoute> {
        let (method, path) = text.split_once(' ').ok_or(BadRoute)?;
        let (path, below) = match path.strip_suffix('*') {
            Some(base) if base.ends_with('/') => (base, true),
            Some(_) => return Err(BadRoute),
            None => (path, false),
        };
        let name = Some(method).filter(|method| *method != "*");
        // Refuse routes that no request can match.
        Request::new(name.unwrap_or("GET"), "", path, Vec::new()).map_err(|_| BadRoute)?;
        if path.contains(['*', '?']) {
            return Err(BadRoute);
        }
        Ok(Self {
            method: name.map(str::to_owned),
            path: path.to_owned(),
            below,
        })
    }
}

impl Route {
    /// Returns whether the route allows a request. Paths are compared byte by byte: another
    /// spelling of a path is not allowed.
    pub(crate) fn allows(&self, request: &Request) -> bool {
        let path = request.path_only();
        let method = self.method.as_ref();
        let path_fits = if self.below {
            path.starts_with(&self.path)
        } else {
            path == self.path
        };
        path_fits && method.is_none_or(|method| *method == request.method)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(route: &str, method: &str, path: &str) -> bool {
        let request = Request::new(method, "gateway", path, Vec::new()).unwrap();
        route.parse::<Route>().unwrap().allows(&request)
    }

    #[test]
    fn a_route_allows_its_method_and_path_only() {
        assert!(allows("POST /v1/chat", "POST", "/v1/chat"));
        assert!(allows("POST /v1/chat", "POST", "/v1/chat?stream=1"));
        assert!(allows("GET /v1/*", "GET", "/v1/models/a"));
        assert!(allows("* /v2/*", "PATCH", "/v2/x"));
        assert!(allows("* /*", "GET", "/"));
        for (route, method, path) in [
            ("POST /v1/chat", "GET", "/v1/chat"),
            ("POST /v1/chat", "post", "/v1/chat"),
            ("POST /v1/chat", "POST", "/v1/chat/"),
            ("POST /v1/chat", "POST", "/v1/%63hat"),
            ("POST /v1/chat", "POST", "//v1/chat"),
            ("GET /v1/*", "GET", "/v1"),
            ("GET /v1/*", "GET", "/v10/x"),
        ] {
            assert!(!allows(route, method, path), "{route} / {method} {path}");
        }
    }

    #[test]
    fn an_invalid_route_is_refused() {
        for text in [
            "", "GET", "/v1", "GET v1", "GET  /v1", "GET /v1*", "GET /*/x", "G T /", "TRACE /x",
            "GET /x?y",
        ] {
            assert_eq!(text.parse::<Route>(), Err(BadRoute), "{text}");
        }
    }
}
