//! Secure aggregation among clients and servers that follow the protocol and others.

mod job;
mod rounds;
