//! Sealed answers: signed ones, and unsigned refusals (`spec/inference.md`, section 6).

use casemate_crypto::signature::HttpVerifyingKey;
use serde::Deserialize;
use serde_json::json;

use crate::{
    MessageError, Request, Response,
    fields::{SIGNATURE, SIGNATURE_INPUT},
    ohttp::ChannelBinding,
    refusal::Refusal,
    sign::{self, SignError},
};

/// A sealed answer that a client may use.
#[derive(Debug)]
pub enum Answer {
    /// Signed by the gateway.
    Signed(Response),
    /// Sealed and unsigned: the request did not get past the checks.
    Refused {
        /// The reason.
        refusal: Refusal,
        /// The gateway's clock, in seconds since 1970 UTC.
        date: u64,
        /// The unsigned answer.
        response: Response,
    },
}

#[derive(Deserialize)]
struct Body {
    error: Code,
}

#[derive(Deserialize)]
struct Code {
    code: String,
}

impl Answer {
    /// Checks the sealed answer to `request`, as it was signed.
    ///
    /// # Errors
    ///
    /// [`SignError`] if the signatures do not verify, or if there are none and the answer is not a
    /// refusal.
    pub fn check(
        response: Response,
        request: &Request,
        channel: &ChannelBinding,
        gateway: &HttpVerifyingKey,
    ) -> Result<Self, SignError> {
        let fields = &response.fields;
        if fields.contains(SIGNATURE) || fields.contains(SIGNATURE_INPUT) {
            sign::verify_response(&response, request, channel, gateway)?;
            return Ok(Self::Signed(response));
        }
        let body: Option<Body> = serde_json::from_slice(&response.content).ok();
        let refusal = body.and_then(|body| Refusal::sealed(response.status, &body.error.code));
        Ok(Self::Refused {
            refusal: refusal.ok_or(SignError::Field(SIGNATURE))?,
            date: sign::read_date(fields)?,
            response,
        })
    }
}

/// Returns the unsigned answer for a refusal, with `said` as its message.
///
/// # Errors
///
/// [`MessageError`] if `now` cannot be written as an HTTP date.
pub fn refuse(refusal: Refusal, said: &str, now: u64) -> Result<Response, MessageError> {
    let kind = match refusal.status() {
        401 => "authentication_error",
        403 => "permission_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    };
    let error = json!({ "error": { "message": said, "type": kind, "code": refusal.code() } });
    let mut response = Response::new(refusal.status(), error.to_string().into_bytes())?;
    response.fields.push("content-type", "application/json")?;
    sign::set_date(&mut response.fields, now)?;
    Ok(response)
}
