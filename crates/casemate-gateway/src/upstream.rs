//! What stands behind the gateway: embedded models, or any HTTP server.

mod answer;
mod boundary;
mod forward;
mod inference;
mod kserve;
mod locations;
mod models;
mod numbers;
mod predict;
mod registry;

use casemate_crypto::encoding::KeyId;
use casemate_message::{MessageError, Request, Response};

pub use forward::HttpUpstream;
pub use models::Models;
pub use registry::{Judge, LoadError, ModelSource};

use crate::refuse::sealed_error;

/// Who asks: an admitted client.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) name: String,
    pub(crate) id: KeyId,
}

/// An admitted request.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    /// The request without its content.
    pub(crate) head: &'a Request,
    pub(crate) content: Vec<u8>,
    pub(crate) caller: &'a Caller,
}

/// Why an upstream gave no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpstreamError {
    /// The upstream's URL is no `http` or `https` URL, or has a query.
    #[error("`{0}` is not an http or https URL without query")]
    BadUrl(String),
    /// The URL is a plain one of another machine.
    #[error("`{0}` is on another machine and has no TLS")]
    Plain(String),
    /// The path could leave the upstream's base.
    #[error("the path climbs out of the upstream")]
    Path,
    /// The server could not be reached or broke off.
    #[error("the upstream cannot be reached")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Its answer broke off.
    #[error("the upstream's answer broke off")]
    Broken,
    /// Its answer is too long.
    #[error("the upstream's answer is too long")]
    TooLong,
    /// It took too long.
    #[error("the upstream did not answer in time")]
    Timeout,
    /// It redirects to another server.
    #[error("the upstream redirects to another server")]
    Redirect,
    /// Its answer cannot be carried.
    #[error(transparent)]
    Message(#[from] MessageError),
}

impl UpstreamError {
    pub(crate) fn response(&self) -> Result<Response, MessageError> {
        let status = match self {
            Self::Timeout => 504,
            Self::Path => 400,
            _ => 502,
        };
        sealed_error(status, "upstream_error", "upstream", &self.to_string())
    }
}

/// What answers admitted requests.
#[derive(Debug)]
pub enum Upstream {
    /// Models opened from their sealed artifacts into memory.
    Models(Models),
    /// Another HTTP server.
    Http(Box<HttpUpstream>),
}

impl Upstream {
    pub(crate) async fn answer(&self, call: Call<'_>) -> Result<Response, UpstreamError> {
        match self {
            Self::Models(models) => models.answer(call).await,
            Self::Http(server) => server.answer(call).await,
        }
    }
}
