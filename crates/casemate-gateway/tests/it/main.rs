//! A gateway and a connector on loopback, real sockets and real TLS.

#![expect(clippy::unwrap_used, reason = "a failed expectation fails the test")]

mod end_to_end;
mod handshakes;
mod support;
