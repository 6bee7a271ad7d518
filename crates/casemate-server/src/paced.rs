//! A stream whose peer must keep reading.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep},
};

/// A stream that fails if its peer reads nothing for a window, or less than a minimum during a
/// window of waiting for it.
///
/// Only the time spent waiting for the peer counts, so a connection may be idle for as long as
/// other limits allow.
#[derive(Debug)]
pub struct MinimumRateStream<S> {
    stream: S,
    window: Duration,
    window_bytes: usize,
    /// When the pending write began to wait, and its timeout.
    blocked: Option<(Instant, Pin<Box<Sleep>>)>,
    /// Time spent waiting and bytes written since the rate was last checked.
    waited: Duration,
    taken: usize,
}

impl<S> MinimumRateStream<S> {
    /// Requires that the peer reads `window_bytes` in each window of waiting for it.
    pub const fn new(stream: S, window: Duration, window_bytes: usize) -> Self {
        Self {
            stream,
            window,
            window_bytes,
            blocked: None,
            waited: Duration::ZERO,
            taken: 0,
        }
    }

    /// Updates the rate with the result of a write, and fails the write if the peer is too slow.
    fn judge(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let too_slow = || Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        match result {
            Poll::Pending => {
                let window = self.window;
                let (_, patience) = self
                    .blocked
                    .get_or_insert_with(|| (Instant::now(), Box::pin(sleep(window))));
                ready!(patience.as_mut().poll(cx));
                too_slow()
            }
            Poll::Ready(Ok(len)) => {
                if let Some((since, _)) = self.blocked.take() {
                    self.waited = self.waited.saturating_add(since.elapsed());
                }
                self.taken = self.taken.saturating_add(len);
                if self.waited >= self.window {
                    if self.taken < self.window_bytes {
                        return too_slow();
                    }
                    (self.waited, self.taken) = (Duration::ZERO, 0);
                }
                Poll::Ready(Ok(len))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
        }
    }
}

impl MinimumRateStream<TcpStream> {
    /// Completes when the peer has sent a byte or closed the connection.
    ///
    /// # Errors
    ///
    /// The stream's error.
    pub async fn first_byte(&self) -> io::Result<()> {
        // `readable` may complete spuriously; peeking at the first byte does not.
        self.stream.peek(&mut [0]).await.map(drop)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for MinimumRateStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for MinimumRateStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.judge(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.judge(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        let judged = self.judge(cx, result.map_ok(|()| 0));
        judged.map_ok(|_| ())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_shutdown(cx);
        let judged = self.judge(cx, result.map_ok(|()| 0));
        judged.map_ok(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const WINDOW: Duration = Duration::from_secs(10);

    fn pair() -> (MinimumRateStream<DuplexStream>, DuplexStream) {
        let (ours, theirs) = duplex(1000);
        (MinimumRateStream::new(ours, WINDOW, 10_000), theirs)
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_reads_nothing_is_dropped_after_a_window() {
        let (mut ours, _theirs) = pair();
        let started = Instant::now();
        let refused = ours.write_all(&[0; 5000]).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::TimedOut);
        assert_eq!(started.elapsed().as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_slows_to_a_trickle_is_dropped() {
        let (mut ours, mut theirs) = pair();
        tokio::spawn(async move {
            let mut fast = vec![0; 1_000_000];
            theirs.read_exact(&mut fast).await.unwrap();
            while theirs.read_exact(&mut [0; 10]).await.is_ok() {
                sleep(Duration::from_secs(5)).await;
            }
        });
        let started = Instant::now();
        let refused = ours.write_all(&vec![0; 2_000_000]).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::TimedOut);
        assert!(
            started.elapsed() <= Duration::from_secs(30),
            "{:?}",
            started.elapsed()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_peer_that_keeps_the_rate_and_an_idle_connection_stay() {
        let (mut ours, mut theirs) = pair();
        let reading = tokio::spawn(async move {
            let mut left = 60_000usize;
            while left > 0 {
                theirs.read_exact(&mut [0; 1000]).await.unwrap();
                left -= 1000;
                sleep(Duration::from_millis(900)).await;
            }
        });
        ours.write_all(&vec![0; 30_000]).await.unwrap();
        sleep(Duration::from_hours(1)).await;
        ours.write_all(&vec![0; 30_000]).await.unwrap();
        reading.await.unwrap();
    }
}
