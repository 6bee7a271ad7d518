//! Tests of the public API.

mod crash;
mod hostile;
mod roundtrip;
mod support;
