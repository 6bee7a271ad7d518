//! Tests of the public API.

mod interop;
mod protected;
