//! Answers that say no: RFC 9457 outside the encryption, `OpenAI`'s form inside.

use casemate_message::{MessageError, Response};
use http::{
    StatusCode,
    header::{ALLOW, CONTENT_TYPE},
};
use http_body_util::Full;
use hyper::body::Bytes;
use serde_json::json;

/// Why a request was refused before it could be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    NotFound,
    /// The methods that the path has.
    Method(&'static str),
    MediaType,
    TooLong,
    Busy,
    Timeout,
    UnknownKey,
    Replay,
    Request,
    Internal,
}

impl Problem {
    const fn row(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::NotFound => (
                StatusCode::NOT_FOUND,
                "about:blank",
                "there is nothing at this path",
            ),
            Self::Method(_) => (
                StatusCode::METHOD_NOT_ALLOWED,
                "about:blank",
                "this path has another method",
            ),
            Self::MediaType => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "about:blank",
                "content must be message/ohttp-req",
            ),
            Self::TooLong => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "about:blank",
                "request is too long",
            ),
            Self::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "about:blank",
                "too many requests are being received",
            ),
            Self::Timeout => (
                StatusCode::REQUEST_TIMEOUT,
                "about:blank",
                "request did not arrive in time",
            ),
            Self::UnknownKey => (
                StatusCode::BAD_REQUEST,
                "https://iana.org/assignments/http-problem-types#ohttp-key",
                "key configuration is not known, fetch it again",
            ),
            Self::Replay => (
                StatusCode::BAD_REQUEST,
                "urn:casemate:problem:replay",
                "request was seen before",
            ),
            Self::Request => (
                StatusCode::BAD_REQUEST,
                "urn:casemate:problem:request",
                "encapsulated request cannot be opened",
            ),
            Self::Internal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "about:blank",
                "gateway failed",
            ),
        }
    }

    pub(crate) fn response(self) -> http::Response<Full<Bytes>> {
        let (status, kind, title) = self.row();
        let body = json!({ "type": kind, "title": title, "status": status.as_u16() });
        let mut response = http::Response::new(Full::from(body.to_string()));
        *response.status_mut() = status;
        response.headers_mut().insert(
            CONTENT_TYPE,
            http::HeaderValue::from_static("application/problem+json"),
        );
        if let Self::Method(allowed) = self {
            response
                .headers_mut()
                .insert(ALLOW, http::HeaderValue::from_static(allowed));
        }
        response
    }
}

/// An error inside the encryption.
pub(crate) fn sealed_error(
    status: u16,
    kind: &str,
    code: &str,
    message: &str,
) -> Result<Response, MessageError> {
    let error = json!({ "error": { "message": message, "type": kind, "code": code } });
    json_response(status, &error)
}

/// A JSON answer inside the encryption.
pub(crate) fn json_response(
    status: u16,
    body: &serde_json::Value,
) -> Result<Response, MessageError> {
    let mut response = Response::new(status, body.to_string().into_bytes())?;
    response.fields.push("content-type", "application/json")?;
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_has_the_status_of_the_specification() {
        let table = [
            (Problem::NotFound, 404),
            (Problem::Method("GET"), 405),
            (Problem::MediaType, 415),
            (Problem::TooLong, 413),
            (Problem::Busy, 503),
            (Problem::Timeout, 408),
            (Problem::UnknownKey, 400),
            (Problem::Replay, 400),
            (Problem::Request, 400),
            (Problem::Internal, 500),
        ];
        for (problem, status) in table {
            let response = problem.response();
            assert_eq!(response.status(), status);
            assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        }
    }
}
