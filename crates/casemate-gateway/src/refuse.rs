//! Refusals and errors as HTTP: RFC 9457 outside the encryption, the format of the `OpenAI` API
//! inside.

use casemate_message::{MessageError, Refusal, Response};
use http::{HeaderValue, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::body::Bytes;
use serde_json::json;

/// Returns the answer for a refusal outside the encryption.
pub(crate) fn problem(refusal: Refusal) -> http::Response<Full<Bytes>> {
    // A refusal that belongs inside cannot be sealed here, and its message must not be public.
    let kind = refusal.problem_type();
    let (refusal, kind) = match kind {
        Some(kind) => (refusal, kind),
        None => (Refusal::Internal, "about:blank"),
    };
    let status = refusal.status();
    let body = json!({ "type": kind, "title": refusal.message(), "status": status, "code": refusal.code() });
    let mut response = http::Response::new(Full::from(body.to_string()));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let problem = HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(CONTENT_TYPE, problem);
    response
}

/// Returns an error of the model or the upstream, inside the encryption.
pub(crate) fn sealed_error(
    status: u16,
    kind: &str,
    code: &str,
    message: &str,
) -> Result<Response, MessageError> {
    let error = json!({ "error": { "message": message, "type": kind, "code": code } });
    json_response(status, &error)
}

/// Returns a JSON answer inside the encryption.
pub(crate) fn json_response(
    status: u16,
    body: &serde_json::Value,
) -> Result<Response, MessageError> {
    json_text_response(status, body.to_string().into_bytes())
}

/// Returns an answer whose JSON is already serialized.
pub(crate) fn json_text_response(status: u16, body: Vec<u8>) -> Result<Response, MessageError> {
    let mut response = Response::new(status, body)?;
    response.fields.push("content-type", "application/json")?;
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_refusals_outside_become_problem_documents() {
        for refusal in Refusal::ALL {
            let response = problem(refusal);
            let outside = refusal.problem_type().is_some();
            let expected = if outside { refusal.status() } else { 500 };
            assert_eq!(response.status(), expected, "{refusal:?}");
            assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        }
    }
}
