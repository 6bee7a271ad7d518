//! Data messages (`spec/training.md`, sections 3.3 and 3.4).

use std::fmt;

use casemate_crypto::{
    SecretBytes,
    hpke::{AeadKey, TAG_BYTES},
};

use crate::{
    chain::{Chain, GENERATION},
    error::{TrainError, check_len},
    window::Window,
};

/// Bytes that a message is longer than its content.
pub const OVERHEAD_BYTES: usize = SEQUENCE_BYTES + TAG_BYTES;
/// Maximum length of a message's content, in bytes.
pub const CONTENT_BYTES_MAX: usize = 1 << 30;
/// Maximum length of associated data, in bytes.
pub const ASSOCIATED_BYTES_MAX: usize = 1024;
/// Maximum length of a window, in messages.
pub const WINDOW_MAX: usize = 65_536;
const SEQUENCE_BYTES: usize = 8;
/// First sequence number that is not used.
const SEQUENCE_END: u64 = 1 << 48;
/// Generations that a message may be ahead of the last authenticated one.
const AHEAD: u64 = 2;

/// In which order messages are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Each message exactly after the one before it.
    Strict,
    /// Each message once, and none that is this many or more behind the newest: 1 to
    /// [`WINDOW_MAX`].
    Window(usize),
}

/// Both directions of an established channel.
#[derive(Debug)]
pub struct Channel {
    /// What this end sends.
    pub sender: Sender,
    /// What this end receives.
    pub receiver: Receiver,
    /// What this channel gives to the protocol above it.
    pub export: Export,
}

/// A secret that only both ends of a channel have, for a protocol above it.
pub struct Export {
    pub(crate) peer: String,
    pub(crate) secret: SecretBytes,
}

impl fmt::Debug for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Export")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

impl Channel {
    pub(crate) fn new(
        (send, receive, export): (Direction, Direction, SecretBytes),
        order: Order,
        peer: String,
    ) -> Result<Self, TrainError> {
        Ok(Self {
            sender: Sender::new(send),
            export: Export {
                peer: peer.clone(),
                secret: export,
            },
            receiver: Receiver::new(receive, order, peer)?,
        })
    }

    /// Returns the name of the other end.
    pub fn peer(&self) -> &str {
        &self.receiver.peer
    }

    /// Returns the id of the channel, the same at both ends.
    pub const fn id(&self) -> &[u8; 32] {
        &self.sender.direction.id
    }
}

/// The keys of one direction and what each of its messages is bound to.
pub(crate) struct Direction {
    pub(crate) chain: Chain,
    pub(crate) id: [u8; 32],
    /// 1 from the initiator, 2 from the responder.
    pub(crate) number: u8,
}

impl Direction {
    fn aad(&self, sequence: [u8; SEQUENCE_BYTES], associated: &[u8]) -> Vec<u8> {
        [&[self.number][..], &self.id, &sequence, associated].concat()
    }
}

fn nonce(sequence: [u8; SEQUENCE_BYTES]) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&sequence);
    nonce
}

/// The sending end of a direction.
pub struct Sender {
    direction: Direction,
    next: u64,
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl Sender {
    const fn new(direction: Direction) -> Self {
        Self { direction, next: 0 }
    }

    /// Returns the sequence number of the next message.
    pub const fn next_sequence(&self) -> u64 {
        self.next
    }

    /// Encrypts `content` into `out`, which has [`OVERHEAD_BYTES`] more. `associated` is not sent;
    /// the receiver must have the same.
    ///
    /// # Errors
    ///
    /// [`TrainError::Length`], [`TrainError::UsedUp`], [`TrainError::Crypto`]. The sequence number
    /// is used up in any case except for a wrong length.
    pub fn seal_into(
        &mut self,
        content: &[u8],
        associated: &[u8],
        out: &mut [u8],
    ) -> Result<(), TrainError> {
        check_len("content", content.len(), 0, CONTENT_BYTES_MAX)?;
        check_len("associated data", associated.len(), 0, ASSOCIATED_BYTES_MAX)?;
        let len = content.len().saturating_add(OVERHEAD_BYTES);
        check_len("output", out.len(), len, len)?;
        if self.next >= SEQUENCE_END {
            return Err(TrainError::UsedUp);
        }
        let sequence = self.next;
        self.next = self.next.saturating_add(1);
        let chain = &mut self.direction.chain;
        if sequence / GENERATION > chain.generation {
            *chain = chain.next()?;
        }
        let bytes = sequence.to_be_bytes();
        let aad = self.direction.aad(bytes, associated);
        let (head, sealed) = out.split_at_mut(SEQUENCE_BYTES);
        head.copy_from_slice(&bytes);
        let (ciphertext, tag) = sealed.split_at_mut(content.len());
        Ok(self
            .direction
            .chain
            .key
            .seal_into(&nonce(bytes), &aad, content, ciphertext, tag)?)
    }

    /// As [`Self::seal_into`], into a new vector.
    ///
    /// # Errors
    ///
    /// As [`Self::seal_into`].
    pub fn seal(&mut self, content: &[u8], associated: &[u8]) -> Result<Vec<u8>, TrainError> {
        check_len("content", content.len(), 0, CONTENT_BYTES_MAX)?;
        let mut out = vec![0; content.len().saturating_add(OVERHEAD_BYTES)];
        self.seal_into(content, associated, &mut out)?;
        Ok(out)
    }
}

enum Turn {
    Strict(u64),
    Window(Window),
}

/// The receiving end of a direction.
pub struct Receiver {
    direction: Direction,
    /// The key of the generation before the chain's, while the window reaches into it.
    before: Option<AeadKey>,
    turn: Turn,
    peer: String,
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

impl Receiver {
    fn new(direction: Direction, order: Order, peer: String) -> Result<Self, TrainError> {
        let turn = match order {
            Order::Strict => Turn::Strict(0),
            Order::Window(len) => {
                check_len("window", len, 1, WINDOW_MAX)?;
                Turn::Window(Window::new(len))
            }
        };
        Ok(Self {
            direction,
            before: None,
            turn,
            peer,
        })
    }

    #[cfg(test)]
    pub(crate) const fn generation(&self) -> u64 {
        self.direction.chain.generation
    }

    #[cfg(test)]
    pub(crate) const fn holds_older_key(&self) -> bool {
        self.before.is_some()
    }

    fn out_of_turn(&self, found: u64, rule: &'static str) -> TrainError {
        TrainError::Sequence {
            found,
            from: self.peer.clone(),
            rule,
        }
    }

    fn check_turn(&self, sequence: u64) -> Result<(), TrainError> {
        let rule = match &self.turn {
            Turn::Strict(next) if sequence == *next => None,
            Turn::Strict(_) => Some("it does not follow the last one"),
            Turn::Window(window) => window.refuse(sequence),
        };
        let ahead = (sequence / GENERATION).saturating_sub(self.direction.chain.generation);
        match rule {
            Some(rule) => Err(self.out_of_turn(sequence, rule)),
            None if sequence >= SEQUENCE_END => {
                Err(self.out_of_turn(sequence, "it is above the highest sequence number"))
            }
            None if ahead > AHEAD => {
                Err(self.out_of_turn(sequence, "it is too far ahead of the last one"))
            }
            None => Ok(()),
        }
    }

    /// Decrypts `message` into `out`, which has [`OVERHEAD_BYTES`] less. After an error, `out` has
    /// no content, and the message may come again.
    ///
    /// # Errors
    ///
    /// [`TrainError::Length`], [`TrainError::Sequence`], [`TrainError::Rejected`].
    pub fn open_into(
        &mut self,
        message: &[u8],
        associated: &[u8],
        out: &mut [u8],
    ) -> Result<(), TrainError> {
        let most = CONTENT_BYTES_MAX.saturating_add(OVERHEAD_BYTES);
        check_len("message", message.len(), OVERHEAD_BYTES, most)?;
        check_len("associated data", associated.len(), 0, ASSOCIATED_BYTES_MAX)?;
        let len = message.len().saturating_sub(OVERHEAD_BYTES);
        check_len("output", out.len(), len, len)?;
        let (head, sealed) = message.split_at(SEQUENCE_BYTES);
        let mut bytes = [0; SEQUENCE_BYTES];
        bytes.copy_from_slice(head);
        let sequence = u64::from_be_bytes(bytes);
        self.check_turn(sequence)?;
        let (ciphertext, tag) = sealed.split_at(len);
        let aad = self.direction.aad(bytes, associated);
        let generation = sequence / GENERATION;
        let current = &self.direction.chain;
        // Derived for this message; kept only once it is authenticated.
        let mut ahead: Vec<Chain> = Vec::new();
        while ahead.last().unwrap_or(current).generation < generation {
            let next = ahead.last().unwrap_or(current).next()?;
            ahead.push(next);
        }
        let newest = ahead.last().unwrap_or(current);
        let key = if newest.generation == generation {
            Some(&newest.key)
        } else {
            self.before.as_ref()
        };
        // In strict order no other message of this generation can come after its last one.
        let is_strict = matches!(self.turn, Turn::Strict(_));
        let following = if is_strict && sequence % GENERATION == GENERATION - 1 {
            Some(newest.next()?)
        } else {
            None
        };
        let opened = key.map(|key| key.open_into(&nonce(bytes), &aad, ciphertext, tag, out));
        if !matches!(opened, Some(Ok(()))) {
            out.fill(0);
            return Err(TrainError::Rejected {
                sequence,
                from: self.peer.clone(),
            });
        }
        for chain in ahead.into_iter().chain(following) {
            let before = std::mem::replace(&mut self.direction.chain, chain);
            self.before = Some(before.key);
        }
        match &mut self.turn {
            Turn::Strict(next) => {
                *next = next.saturating_add(1);
                self.before = None;
            }
            Turn::Window(window) => {
                window.accept(sequence);
                let first = self.direction.chain.generation.saturating_mul(GENERATION);
                // No number of the generation before can be accepted any more.
                if first.checked_sub(1).is_none_or(|last| window.is_past(last)) {
                    self.before = None;
                }
            }
        }
        Ok(())
    }

    /// As [`Self::open_into`], into a new vector.
    ///
    /// # Errors
    ///
    /// As [`Self::open_into`].
    pub fn open(&mut self, message: &[u8], associated: &[u8]) -> Result<Vec<u8>, TrainError> {
        let most = CONTENT_BYTES_MAX.saturating_add(OVERHEAD_BYTES);
        check_len("message", message.len(), OVERHEAD_BYTES, most)?;
        let mut out = vec![0; message.len().saturating_sub(OVERHEAD_BYTES)];
        self.open_into(message, associated, &mut out)?;
        Ok(out)
    }
}
