//! What peers can make a gateway hold, and for how long (`spec/inference.md`, section 11).

use std::time::Duration;

use casemate_message::limits::REQUEST_BYTES_DEFAULT;

/// Limits of a gateway; the default is the specification's table.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Longest encapsulated request, in bytes.
    pub request_bytes: usize,
    /// Most connections at once.
    pub connections: usize,
    /// Most connections of one peer.
    pub connections_per_peer: usize,
    /// How long a connection is used.
    pub connection_age: Duration,
    /// How many requests it carries.
    pub connection_requests: u32,
    /// How long a TLS handshake may take, PROXY header included.
    pub handshake: Duration,
    /// How long a header section may take, idle time before it included.
    pub header: Duration,
    /// How long content may bring nothing, and over how long its rate is measured.
    pub content_window: Duration,
    /// Least bytes of content in each window after the first.
    pub content_window_bytes: usize,
    /// How long a peer may take nothing of an answer, and over how long its rate is measured.
    pub answer_window: Duration,
    /// Least bytes of an answer that a peer takes in each window in which it is waited for.
    pub answer_window_bytes: usize,
    /// Request bytes that every connection may hold without asking.
    pub small_request_bytes: usize,
    /// Request bytes beyond those, for all connections together.
    pub receiving_bytes: usize,
    /// How long a request may bring nothing before another displaces it when memory is short.
    pub displaceable_after: Duration,
    /// TLS handshakes at once, and for one peer.
    pub handshakes: (usize, usize),
    /// Requests that are checked at once.
    pub checks: usize,
    /// Requests that run at once in embedded models, and for one client: fewer, so that a client whose requests take long never has every turn.
    pub inferences: (usize, usize),
    /// Requests that wait for that, and for one client.
    pub inference_queue: (usize, usize),
    /// How long they wait.
    pub inference_patience: Duration,
    /// Tensors of requests in embedded models, in bytes.
    pub inference_bytes: usize,
    /// How long open requests may take once shutdown began.
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
