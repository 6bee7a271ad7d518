//! Receives the content of a request within its limits.

use std::{sync::Arc, time::Duration};

use casemate_message::Refusal;
use casemate_server::Peer;
use http::{HeaderMap, header::EXPECT};
use http_body_util::BodyExt;
use hyper::body::{Body, Bytes};
use tokio::time::{Instant, timeout};

use super::memory::{Hold, Memory};
use crate::limits::Limits;

/// Maximum content of a refused request that is read and discarded, in bytes.
const DRAIN_BYTES_MAX: usize = 64 << 20;
/// Maximum time for that.
const DRAIN_PATIENCE: Duration = Duration::from_secs(2);

/// Received content, and its memory reservation.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) content: Vec<u8>,
    pub(crate) trailers: HeaderMap,
    pub(crate) hold: Option<Hold>,
}

/// Receives the requests of one connection.
pub(crate) struct Receiver<'a> {
    pub(crate) limits: &'a Limits,
    pub(crate) memory: &'a Arc<Memory>,
    pub(crate) peer: Peer,
    pub(crate) admitted: bool,
    /// Whether the client waits for `100 Continue` (RFC 9110, section 10.1.1), which reading sends.
    pub(crate) waits: bool,
}

/// Returns whether a client waits for `100 Continue` before it sends its content.
pub(crate) fn waits(headers: &HeaderMap) -> bool {
    let expect = headers.get(EXPECT);
    expect.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

impl Receiver<'_> {
    /// Receives the content, of `declared` bytes if the length is known.
    ///
    /// # Errors
    ///
    /// [`Refusal::TooLong`], [`Refusal::Busy`], [`Refusal::Timeout`], or [`Refusal::Request`] if
    /// the content is incomplete.
    pub(crate) async fn receive<B>(
        &self,
        mut body: B,
        declared: Option<u64>,
    ) -> Result<Received, Refusal>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let declared = declared.map(|len| usize::try_from(len).unwrap_or(usize::MAX));
        let too_long = declared.is_some_and(|len| len > self.limits.request_bytes);
        if too_long && self.waits {
            return Err(Refusal::TooLong);
        }
        let result = if too_long {
            Err(Refusal::TooLong)
        } else {
            self.read(&mut body, declared).await
        };
        if matches!(result, Err(Refusal::TooLong)) {
            drain(body).await;
        }
        result
    }

    async fn read<B>(&self, body: &mut B, declared: Option<usize>) -> Result<Received, Refusal>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let mut room = declared.unwrap_or(self.limits.small_request_bytes);
        let mut hold = self.hold(room)?;
        let (mut content, mut trailers) = (Vec::new(), HeaderMap::new());
        let mut pace = Pace::new(self.limits);
        loop {
            let frame = tokio::select! {
                frame = timeout(pace.patience, body.frame()) => frame.map_err(|_| Refusal::Timeout)?,
                () = displaced(hold.as_ref()) => return Err(Refusal::Busy),
            };
            let Some(frame) = frame else { break };
            let piece = match frame.map_err(|_| Refusal::Request)?.into_data() {
                Ok(piece) => piece,
                Err(frame) => {
                    trailers.extend(frame.into_trailers().unwrap_or_default());
                    continue;
                }
            };
            let len = content.len().saturating_add(piece.len());
            if len > self.limits.request_bytes {
                return Err(Refusal::TooLong);
            }
            if len > room {
                // The length is unknown: double the reservation each time, so that it stays close
                // to the received length.
                room = len.saturating_mul(2).min(self.limits.request_bytes);
                drop(hold.take());
                hold = self.hold(room)?;
            }
            if content.capacity() < len {
                content.reserve_exact(room.saturating_sub(content.len()));
            }
            content.extend_from_slice(&piece);
            pace.took(piece.len())?;
            if let Some(hold) = &hold {
                hold.progress();
            }
        }
        if let Some(hold) = &hold {
            hold.complete();
        }
        Ok(Received {
            content,
            trailers,
            hold,
        })
    }

    /// Reserves memory for `bytes`; small requests need no reservation.
    fn hold(&self, bytes: usize) -> Result<Option<Hold>, Refusal> {
        if bytes <= self.limits.small_request_bytes {
            return Ok(None);
        }
        let hold = self.memory.hold(self.peer, bytes, self.admitted);
        hold.map(Some).ok_or(Refusal::Busy)
    }
}

async fn displaced(hold: Option<&Hold>) {
    match hold {
        Some(hold) => hold.displaced().await,
        None => std::future::pending().await,
    }
}

/// The required pace of content: some bytes in every window, and a minimum in every window after
/// the first.
struct Pace {
    window: Duration,
    window_bytes: usize,
    started: Instant,
    first: bool,
    taken: usize,
    /// Maximum time until the next piece.
    patience: Duration,
}

impl Pace {
    fn new(limits: &Limits) -> Self {
        Self {
            window: limits.content_window,
            window_bytes: limits.content_window_bytes,
            started: Instant::now(),
            first: true,
            taken: 0,
            patience: limits.content_window,
        }
    }

    fn took(&mut self, len: usize) -> Result<(), Refusal> {
        let mut elapsed = self.started.elapsed();
        if elapsed >= self.window {
            if !self.first && self.taken < self.window_bytes {
                return Err(Refusal::Timeout);
            }
            (self.first, self.taken) = (false, 0);
            (self.started, elapsed) = (Instant::now(), Duration::ZERO);
        }
        self.taken = self.taken.saturating_add(len);
        self.patience = if self.first || self.taken >= self.window_bytes {
            self.window
        } else {
            self.window.saturating_sub(elapsed)
        };
        Ok(())
    }
}

/// Reads and discards content for a while. A client that is still sending when the connection
/// closes never sees the answer (RFC 9112, section 9.6).
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
    // The answer is the same whether or not the content ended in time.
    _ = timeout(DRAIN_PATIENCE, reading).await;
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, net::Ipv4Addr};

    use futures_util::stream;
    use http_body_util::StreamBody;
    use hyper::body::Frame;

    use super::*;

    fn limits() -> Limits {
        Limits {
            request_bytes: 4 << 20,
            receiving_bytes: 8 << 20,
            ..Limits::default()
        }
    }

    /// Returns pieces of the given length, with a pause before each.
    fn pieces(
        count: usize,
        len: usize,
        pause: Duration,
    ) -> impl Body<Data = Bytes, Error = Infallible> + Unpin {
        let stream = stream::unfold(count, move |left| async move {
            let left = left.checked_sub(1)?;
            tokio::time::sleep(pause).await;
            let frame = Frame::data(Bytes::from(vec![0; len]));
            Some((Ok(frame), left))
        });
        StreamBody::new(Box::pin(stream))
    }

    async fn receive(
        memory: &Arc<Memory>,
        body: impl Body<Data = Bytes> + Unpin,
        declared: Option<u64>,
    ) -> Result<Received, Refusal> {
        let receiver = Receiver {
            limits: &limits(),
            memory,
            peer: Peer::of(Ipv4Addr::LOCALHOST.into()),
            admitted: false,
            waits: false,
        };
        receiver.receive(body, declared).await
    }

    fn memory() -> Arc<Memory> {
        let limits = limits();
        Memory::new(limits.receiving_bytes, limits.displaceable_after)
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_reserved_by_declared_length_and_released() {
        let memory = memory();
        let declared = Some(3 << 20);
        let body = pieces(3, 1 << 20, Duration::from_millis(10));
        let received = receive(&memory, body, declared).await.unwrap();
        assert_eq!(received.content.len(), 3 << 20);
        assert_eq!(memory.free(), 5 << 20);
        drop(received);
        let body = pieces(3, 1 << 20, Duration::from_millis(10));
        let unknown = receive(&memory, body, None).await.unwrap();
        assert_eq!(unknown.content.len(), 3 << 20);
        drop(unknown);
        assert_eq!(memory.free(), 8 << 20);
        let small = receive(&memory, pieces(1, 100, Duration::ZERO), Some(100)).await;
        assert!(small.unwrap().hold.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn content_that_is_too_long_is_refused_by_declared_and_by_actual_length() {
        let memory = memory();
        let body = pieces(1000, 1 << 16, Duration::from_millis(1));
        let refused = receive(&memory, body, Some(5 << 20)).await.unwrap_err();
        assert_eq!(refused, Refusal::TooLong);
        let body = pieces(1000, 1 << 16, Duration::from_millis(1));
        let refused = receive(&memory, body, None).await.unwrap_err();
        assert_eq!(refused, Refusal::TooLong);
        assert_eq!(memory.free(), 8 << 20);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_or_slow_client_is_refused() {
        let memory = memory();
        let waits = async |body, declared| {
            let started = Instant::now();
            let refused = receive(&memory, body, declared).await.unwrap_err();
            assert_eq!(refused, Refusal::Timeout);
            started.elapsed().as_secs()
        };
        let silent = pieces(1, 1, Duration::from_hours(1));
        assert_eq!(waits(silent, Some(1 << 20)).await, 10);
        let trickling = pieces(10_000, 1, Duration::from_secs(9));
        assert!(waits(trickling, Some(1 << 20)).await <= 30);
        let slow = pieces(10_000, 60_000, Duration::from_secs(1));
        assert!(waits(slow, Some(4 << 20)).await <= 21);
        let enough = pieces(60, 66_000, Duration::from_secs(1));
        receive(&memory, enough, Some(4 << 20)).await.unwrap();
        assert_eq!(memory.free(), 8 << 20);
    }
}
