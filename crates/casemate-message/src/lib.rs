//! Protected HTTP messages (`spec/inference.md`, version 1), without sockets or clocks.
//!
//! | task | type |
//! |---|---|
//! | key configurations; sealing and opening messages | [`ohttp`] |
//! | requests and responses in binary HTTP | [`Request`], [`Response`] |
//! | the two signatures | [`sign`] |
//! | refusals and what they mean | [`Refusal`] |
//! | a gateway's sealed answers | [`answer`] |
//! | replay detection | [`replay::ReplayRecord`] |
//! | retries that do not run twice | [`delivery::Delivery`] |
//! | the signed key document | [`keydoc`] |
//!
//! A request as the bytes that are sealed:
//!
//! ```
//! use casemate_message::Request;
//!
//! let request = Request::new("POST", "gateway", "/predict", b"{}".to_vec())?;
//! let bytes = request.to_bhttp()?;
//! assert_eq!(Request::from_bhttp(&bytes)?.content, b"{}");
//! assert!(Request::from_bhttp(&bytes[1..]).is_err());
//! # Ok::<(), casemate_message::MessageError>(())
//! ```

pub mod answer;
mod attempt;
mod codec;
pub mod delivery;
mod fields;
pub mod keydoc;
pub mod limits;
mod message;
pub mod ohttp;
mod refusal;
pub mod replay;
pub mod sign;

pub use attempt::{RecordId, RequestId, RequestMark};
pub use fields::{Fields, MessageError, SIGNATURE_FIELDS};
pub use message::{Request, Response};
pub use refusal::{Effect, Refusal};
