//! Protected HTTP messages (`spec/inference.md`, version 1), without sockets or clocks.
//!
//! | task | type |
//! |---|---|
//! | key configurations, sealing and opening | [`ohttp`] |
//! | requests and responses in binary HTTP | [`Request`], [`Response`] |
//! | the two signatures | [`sign`] |
//! | remembering what was seen | [`replay::ReplayRecord`] |
//! | the signed key document | [`keydoc`] |

pub mod keydoc;
pub mod limits;
mod message;
pub mod ohttp;
pub mod replay;
pub mod sign;

pub use message::{Fields, MessageError, Request, Response};
