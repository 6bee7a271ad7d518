//! Upstreams of the gateway: embedded models, or any HTTP server.

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

/// The admitted client that sent a request.
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

/// Why an upstream did not answer.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// The upstream's URL is not an `http` or `https` URL, or has a query.
    #[error("`{0}` is not an http or https URL without query")]
    BadUrl(String),
    /// The URL is `http` on another machine.
    #[error("`{0}` is on another machine and does not use TLS")]
    Plain(String),
    /// The path could lead outside the upstream's base.
    #[error("the path leads outside the upstream's base URL")]
    Path,
    /// The server could not be reached, or closed the connection.
    #[error("cannot reach the upstream")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The connection broke in the middle of the answer.
    #[error("the upstream's answer is incomplete")]
    Broken,
    /// The answer is too long.
    #[error("the upstream's answer is too long")]
    TooLong,
    /// The upstream did not answer in time.
    #[error("the upstream did not answer in time")]
    Timeout,
    /// The upstream redirects to another server.
    #[error("the upstream redirects to another server")]
    Redirect,
    /// The answer cannot be encoded.
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

/// The models or server that answer admitted requests.
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
