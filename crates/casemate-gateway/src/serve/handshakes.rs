//! TLS handshakes on a thread of their own.
//!
//! A handshake is a millisecond or two of computing that anybody can ask for. On the threads that carry admitted requests a flood
//! of them would delay every step of each; on its own thread the scheduler keeps the two apart.

use std::{io, sync::Arc, thread};

use tokio::{
    net::TcpStream,
    runtime::{Builder, Handle},
    sync::oneshot,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{Peer, paced::Paced};
use crate::shares::Shares;

/// A connection whose handshake is done.
pub(crate) type Secured = TlsStream<Paced<TcpStream>>;

/// Does handshakes, a few at once and in turn for each peer.
#[derive(Debug)]
pub(crate) struct Handshakes {
    acceptor: Acceptor,
    shares: Arc<Shares<Peer>>,
    thread: Handle,
    /// Ends the thread when it is dropped.
    _end: oneshot::Sender<()>,
}

struct Acceptor(TlsAcceptor);

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Acceptor")
    }
}

impl Handshakes {
    /// Starts the thread; at most `all` handshakes at once, and `each` of one peer.
    pub(crate) fn start(acceptor: TlsAcceptor, (all, each): (usize, usize)) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_time().build()?;
        let thread = runtime.handle().clone();
        let (end, ended) = oneshot::channel::<()>();
        thread::Builder::new()
            .name("handshakes".to_owned())
            // An error means that the sender is gone, which is the end as well.
            .spawn(move || runtime.block_on(async { _ = ended.await }))?;
        Ok(Self {
            acceptor: Acceptor(acceptor),
            shares: Shares::new(all, each),
            thread,
            _end: end,
        })
    }

    /// Does one handshake.
    pub(crate) async fn accept(&self, peer: Peer, stream: Paced<TcpStream>) -> io::Result<Secured> {
        // A silent peer must not occupy a handshake slot.
        stream.first_byte().await?;
        let share = self.shares.enter(peer).await;
        let handshake = self.acceptor.0.accept(stream);
        let task = self.thread.spawn(async move {
            let accepted = handshake.await;
            drop(share);
            accepted
        });
        // A wait that is given up ends the handshake too.
        let task = AbortOnDrop(task);
        task.await
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<io::Result<Secured>>);

impl Future for AbortOnDrop {
    type Output = io::Result<Secured>;

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
