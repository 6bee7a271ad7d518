//! What must fail: the mandatory negative tests of the suite registry.

mod encryption;
mod kem;
mod secrets;
mod signatures;
