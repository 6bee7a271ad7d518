//! Protected training (`spec/training.md`), without I/O or clock of its own.
//!
//! | task | entry point |
//! |---|---|
//! | name the members of a job | [`Roster`] |
//! | establish a channel between two of them | [`Initiator`], [`Responder`] |
//! | send and receive gradients | [`Sender`], [`Receiver`] |
//! | sum the updates of clients that may drop out | [`aggregate`] |
//! | sum the gradients of ranks, over a library that sees only masks | [`all_reduce`] |
//!
//! ```
//! use casemate_crypto::{policy::Policy, signature::SigningKey, suite::MLDSA65_ED25519};
//! use casemate_train::{Identity, Initiator, Order, Responder, Roster, Terms};
//!
//! let [owner, a, b] = [(); 3].map(|()| SigningKey::generate(&MLDSA65_ED25519).unwrap());
//! let members = [("trainer", a.verifying_key()), ("server", b.verifying_key())];
//! let signed = Roster::new([7; 16], 1, 1_800_000_000, 1_800_086_400, &members)?.sign(&owner)?;
//! let policy = Policy::by_name("hybrid")?;
//! let now = 1_800_000_100;
//! let terms = Terms { signer: owner.verifying_key(), now, job: None, epoch_min: 1, policy: &policy };
//! let roster = Roster::open(&signed, &terms)?;
//!
//! let random = &mut |out: &mut [u8]| casemate_crypto::random::fill(out);
//! let (initiator, hello) = Initiator::start(&roster, Identity { name: "trainer", key: &a }, "server", now, random)?;
//! let (responder, answer) = Responder::answer(&roster, Identity { name: "server", key: &b }, &hello, now, random)?;
//! let (mut trainer, finish) = initiator.finish(&roster, &a, &answer, Order::Strict)?;
//! let mut server = responder.finish(&roster, &finish, Order::Strict)?;
//!
//! let message = trainer.sender.seal(b"gradient", b"layer 0")?;
//! assert_eq!(server.receiver.open(&message, b"layer 0")?, b"gradient");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod aggregate;
pub mod all_reduce;
mod chain;
mod channel;
mod error;
mod handshake;
mod parts;
mod roster;
mod rounding;
#[cfg(test)]
mod tests;
mod window;

pub use channel::{
    ASSOCIATED_BYTES_MAX, CONTENT_BYTES_MAX, Channel, Export, OVERHEAD_BYTES, Order, Receiver,
    Sender, WINDOW_MAX,
};
pub use error::{Phase, TrainError};
pub use handshake::{Identity, Initiator, Random, Responder};
pub use parts::HANDSHAKE_BYTES_MAX;
pub use roster::{MEMBERS_MAX, Member, ROSTER_BYTES_MAX, Roster, Terms};
