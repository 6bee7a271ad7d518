//! Reading of whole bodies.

use std::time::Duration;

use http::HeaderMap;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Bytes};

/// Why a body could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// It is longer than the limit.
    TooLong,
    /// It did not arrive in time.
    Timeout,
    /// The connection broke.
    Broken,
}

/// Reads a whole body with its trailers, within limits of length and time.
///
/// # Errors
///
/// [`BodyError`].
pub async fn read_body<B>(
    body: B,
    limit: usize,
    patience: Duration,
) -> Result<(Bytes, HeaderMap), BodyError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match tokio::time::timeout(patience, Limited::new(body, limit).collect()).await {
        Ok(Ok(collected)) => {
            let trailers = collected.trailers().cloned().unwrap_or_default();
            Ok((collected.to_bytes(), trailers))
        }
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyError::TooLong),
        Ok(Err(_)) => Err(BodyError::Broken),
        Err(_) => Err(BodyError::Timeout),
    }
}
