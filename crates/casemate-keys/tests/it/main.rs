//! Tests of the public API.

mod damage;
mod keys;
