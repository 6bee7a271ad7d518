//! Between hyper's messages and ours.

use std::{sync::Arc, time::Duration};

use casemate_message::{MessageError, Request, Response, sign::SIGNATURE_FIELDS};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Bytes};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Fields that belong to one connection (RFC 9110, section 7.6.1), or that we set ourselves.
const NOT_FORWARDED: [&str; 12] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyError {
    TooLong,
    /// Too much is being received at once.
    Busy,
    Timeout,
    Broken,
}

/// Reads a whole body within a limit and a time.
pub(crate) async fn read_body<B>(
    body: B,
    limit: usize,
    patience: Duration,
) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match tokio::time::timeout(patience, Limited::new(body, limit).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyError::TooLong),
        Ok(Err(_)) => Err(BodyError::Broken),
        Err(_) => Err(BodyError::Timeout),
    }
}

/// Bytes of a permit of the budget.
const PERMIT_BYTES: usize = 4096;

/// Bytes of a body that is too long that are still read and thrown away.
const DRAIN_BYTES_MAX: usize = 4 << 20;
/// How long that may take.
const DRAIN_PATIENCE: Duration = Duration::from_secs(2);

/// Reads on for a while without keeping anything: a client that is still sending when the connection closes never sees the answer
/// (RFC 9112, section 9.6).
async fn drain<B>(mut body: B)
where
    B: Body<Data = Bytes> + Unpin,
{
    let reading = async {
        let mut left = DRAIN_BYTES_MAX;
        while left > 0
            && let Some(Ok(frame)) = body.frame().await
        {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        }
    };
    // Whether it ended in time makes no difference to the answer.
    _ = tokio::time::timeout(DRAIN_PATIENCE, reading).await;
}

/// A bound on what peers that are not yet known can make us hold.
#[derive(Debug)]
pub(crate) struct ByteBudget(Arc<Semaphore>);

impl ByteBudget {
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes.div_ceil(PERMIT_BYTES))))
    }

    /// Reads a body piece by piece; each piece takes from the budget, and all goes back when the permits are dropped.
    pub(crate) async fn read<B>(
        &self,
        mut body: B,
        limit: usize,
        patience: Duration,
    ) -> Result<(Vec<u8>, Vec<OwnedSemaphorePermit>), BodyError>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (mut content, mut held) = (Vec::new(), Vec::new());
        let mut paid = 0usize;
        let reading = async {
            while let Some(frame) = body.frame().await {
                let Ok(piece) = frame.map_err(|_| BodyError::Broken)?.into_data() else {
                    continue;
                };
                let len = content.len().saturating_add(piece.len());
                if len > limit {
                    return Err(BodyError::TooLong);
                }
                let missing = len.saturating_sub(paid).div_ceil(PERMIT_BYTES);
                let permits = u32::try_from(missing).map_err(|_| BodyError::TooLong)?;
                let taken = Arc::clone(&self.0).try_acquire_many_owned(permits);
                held.push(taken.map_err(|_| BodyError::Busy)?);
                paid = paid.saturating_add(missing.saturating_mul(PERMIT_BYTES));
                content.extend_from_slice(&piece);
            }
            Ok(())
        };
        let read = tokio::time::timeout(patience, reading).await;
        match read.map_err(|_| BodyError::Timeout)? {
            Ok(()) => Ok((content, held)),
            Err(error) => {
                drop((content, held));
                if error == BodyError::TooLong {
                    drain(body).await;
                }
                Err(error)
            }
        }
    }
}

/// Takes over the fields that travel with the message.
pub(crate) fn forwarded_fields(
    from: &HeaderMap,
    into: &mut casemate_message::Fields,
) -> Result<(), MessageError> {
    let named_by_connection: Vec<_> = from
        .get_all(http::header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    for (name, value) in from {
        let name = name.as_str();
        let local = NOT_FORWARDED.contains(&name)
            || SIGNATURE_FIELDS.contains(&name)
            || named_by_connection.iter().any(|named| named == name);
        if local {
            continue;
        }
        let value = value
            .to_str()
            .map_err(|_| MessageError::BadBytes("field value"))?;
        into.push(name, value)?;
    }
    Ok(())
}

/// Writes our fields into hyper's map; the fields of our signatures stay behind.
pub(crate) fn restore_fields(from: &casemate_message::Fields, into: &mut HeaderMap) {
    for (name, value) in from.iter() {
        if NOT_FORWARDED.contains(&name) || SIGNATURE_FIELDS.contains(&name) {
            continue;
        }
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name.as_bytes()),
            HeaderValue::from_str(value),
        ) {
            into.append(name, value);
        }
    }
}

/// A verified response for a plain client.
pub(crate) fn to_plain(response: Response) -> http::Response<Full<Bytes>> {
    let mut plain = http::Response::new(Full::from(response.content));
    *plain.status_mut() = StatusCode::from_u16(response.status).unwrap_or(StatusCode::BAD_GATEWAY);
    restore_fields(&response.fields, plain.headers_mut());
    plain
}

/// A request for an upstream at `uri`.
pub(crate) fn to_upstream(
    request: &Request,
    uri: http::Uri,
) -> Result<http::Request<Full<Bytes>>, http::Error> {
    let mut plain = http::Request::builder()
        .method(request.method.as_str())
        .uri(uri)
        .body(Full::from(request.content.clone()))?;
    restore_fields(&request.fields, plain.headers_mut());
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        pin::Pin,
        task::{Context, Poll},
    };

    use hyper::body::Frame;

    use super::*;

    fn body(len: usize) -> Full<Bytes> {
        Full::from(vec![1; len])
    }

    #[tokio::test]
    async fn the_budget_is_taken_while_a_body_is_held_and_given_back_after() {
        let budget = ByteBudget::new(10 * PERMIT_BYTES);
        let read = async |len| {
            budget
                .read(body(len), 1 << 20, Duration::from_secs(1))
                .await
        };
        let (content, held) = read(9 * PERMIT_BYTES).await.unwrap();
        assert_eq!(content.len(), 9 * PERMIT_BYTES);
        assert_eq!(read(2 * PERMIT_BYTES).await.err(), Some(BodyError::Busy));
        drop(held);
        assert_eq!(
            read(2 * PERMIT_BYTES).await.unwrap().0.len(),
            2 * PERMIT_BYTES
        );
        let long = budget.read(body(11), 10, Duration::from_secs(1)).await;
        assert_eq!(long.err(), Some(BodyError::TooLong));
    }

    /// Pieces of 64 KiB; counts what is still to come.
    struct Pieces(usize);

    impl Body for &mut Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            if self.0 == 0 {
                return Poll::Ready(None);
            }
            self.0 = self.0.saturating_sub(1);
            Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![0; 65_536])))))
        }
    }

    #[tokio::test]
    async fn the_rest_of_a_body_that_is_too_long_is_read_up_to_a_limit() {
        let budget = ByteBudget::new(1 << 20);
        for (pieces, left) in [(20, 0), (500, 500 - 3 - DRAIN_BYTES_MAX / 65_536)] {
            let mut body = Pieces(pieces);
            let refused = budget
                .read(&mut body, 140_000, Duration::from_mins(1))
                .await;
            assert_eq!(refused.unwrap_err(), BodyError::TooLong);
            assert_eq!(body.0, left);
            assert_eq!(budget.0.available_permits(), (1 << 20) / PERMIT_BYTES);
        }
    }
}
