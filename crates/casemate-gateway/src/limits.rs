//! Limits on the resources that peers can use (`spec/inference.md`, section 11).

use std::time::Duration;

use casemate_message::limits::REQUEST_BYTES_DEFAULT;
use casemate_server::ConnectionLimits;

/// Limits of a gateway; the defaults are those of the specification.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Maximum length of an encapsulated request, in bytes.
    pub request_bytes: usize,
    /// Maximum number of concurrent connections.
    pub connections: usize,
    /// Maximum number of concurrent connections of one peer.
    pub connections_per_peer: usize,
    /// Maximum age of a connection.
    pub connection_age: Duration,
    /// Maximum number of requests on a connection.
    pub connection_requests: u32,
    /// Maximum time for a TLS handshake, including the PROXY header.
    pub handshake: Duration,
    /// Maximum time for a header section, including the idle time before it.
    pub header: Duration,
    /// Maximum time without progress of content, and the window over which its rate is measured.
    pub content_window: Duration,
    /// Minimum content in each window after the first, in bytes.
    pub content_window_bytes: usize,
    /// Maximum time in which a peer reads nothing of an answer, and the window over which its rate
    /// is measured.
    pub answer_window: Duration,
    /// Minimum that a peer must read in each window of waiting for it, in bytes.
    pub answer_window_bytes: usize,
    /// Bytes of a request that every connection may hold without a reservation.
    pub small_request_bytes: usize,
    /// Bytes of longer requests, for all connections together.
    pub receiving_bytes: usize,
    /// Time without progress after which a request may be displaced when memory is short.
    pub displaceable_after: Duration,
    /// Maximum number of concurrent TLS handshakes, in total and for one peer.
    pub handshakes: (usize, usize),
    /// Maximum number of requests checked concurrently.
    pub checks: usize,
    /// Maximum number of requests running in embedded models, in total and for one client. The
    /// limit for one client is lower, so that a client with long requests never occupies every
    /// turn.
    pub inferences: (usize, usize),
    /// Maximum number of requests waiting for a turn, in total and for one client.
    pub inference_queue: (usize, usize),
    /// Maximum wait for a turn.
    pub inference_patience: Duration,
    /// Maximum memory for the tensors of requests to embedded models, in bytes.
    pub inference_bytes: usize,
    /// Maximum time for open requests after shutdown begins.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            request_bytes: REQUEST_BYTES_DEFAULT,
            connections: 1024,
            connections_per_peer: 256,
            connection_age: Duration::from_hours(1),
            connection_requests: 10_000,
            handshake: Duration::from_secs(10),
            header: Duration::from_secs(10),
            content_window: Duration::from_secs(10),
            content_window_bytes: 640 << 10,
            answer_window: Duration::from_secs(10),
            answer_window_bytes: 160 << 10,
            small_request_bytes: 64 << 10,
            receiving_bytes: 512 << 20,
            displaceable_after: Duration::from_secs(1),
            handshakes: (64, 8),
            checks: cores,
            inferences: (cores.saturating_add(1), cores),
            inference_queue: (64, 16),
            inference_patience: Duration::from_secs(30),
            inference_bytes: 1 << 30,
            drain: Duration::from_secs(30),
        }
    }
}

impl Limits {
    /// Returns the limits of the connections.
    pub const fn of_connections(&self) -> ConnectionLimits {
        ConnectionLimits {
            all: self.connections,
            per_peer: self.connections_per_peer,
            age: self.connection_age,
            requests: self.connection_requests,
            handshake: self.handshake,
            header: self.header,
            answer_window: self.answer_window,
            answer_window_bytes: self.answer_window_bytes,
            handshakes: self.handshakes,
            drain: self.drain,
        }
    }
}
