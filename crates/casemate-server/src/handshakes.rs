//! TLS handshakes on a separate thread.
//!
//! Anybody can make the gateway compute for a millisecond or two with a handshake. On the threads
//! that carry admitted requests, a flood of handshakes would delay every step of each request. With
//! a separate thread, the scheduler shares the processor fairly.

use std::{io, sync::Arc, thread};

use tokio::{
    net::TcpStream,
    runtime::{Builder, Handle},
    sync::oneshot,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{MinimumRateStream, Peer, Shares};

/// A connection after its handshake.
pub(crate) type TlsConnection = TlsStream<MinimumRateStream<TcpStream>>;

/// Performs handshakes, a few at a time and in turn for each peer.
#[derive(Debug)]
pub(crate) struct Handshakes {
    acceptor: Acceptor,
    shares: Arc<Shares<Peer>>,
    thread: Handle,
    /// Stops the thread when dropped.
    _end: oneshot::Sender<()>,
}

struct Acceptor(TlsAcceptor);

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Acceptor")
    }
}

impl Handshakes {
    /// Starts the thread, for at most `all` handshakes at a time and `each` of one peer.
    pub(crate) fn start(acceptor: TlsAcceptor, (all, each): (usize, usize)) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_time().build()?;
        let thread = runtime.handle().clone();
        let (end, ended) = oneshot::channel::<()>();
        thread::Builder::new()
            .name("handshakes".to_owned())
            // An error means that the sender was dropped, which also ends the thread.
            .spawn(move || runtime.block_on(async { _ = ended.await }))?;
        Ok(Self {
            acceptor: Acceptor(acceptor),
            shares: Shares::new(all, each),
            thread,
            _end: end,
        })
    }

    /// Performs one handshake.
    pub(crate) async fn accept(
        &self,
        peer: Peer,
        stream: MinimumRateStream<TcpStream>,
    ) -> io::Result<TlsConnection> {
        // A silent peer must not occupy a handshake slot.
        stream.first_byte().await?;
        let share = self.shares.enter(peer).await;
        let handshake = self.acceptor.0.accept(stream);
        let task = self.thread.spawn(async move {
            let accepted = handshake.await;
            drop(share);
            accepted
        });
        // Dropping this future aborts the handshake.
        let task = AbortOnDrop(task);
        task.await
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<io::Result<TlsConnection>>);

impl Future for AbortOnDrop {
    type Output = io::Result<TlsConnection>;

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        let joined = std::pin::Pin::new(&mut self.0).poll(cx);
        joined.map(|joined| joined.unwrap_or_else(|error| Err(io::Error::other(error))))
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
