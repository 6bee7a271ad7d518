//! Errors of a masked all-reduce, with the exchange and the rank of what was refused.

use std::fmt;

use crate::error::TrainError;

/// An exchange of a reduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// What each rank is about to send.
    Announcement,
    /// What the sum must agree with.
    Tags,
    /// Whether it did.
    Result,
}

impl Exchange {
    pub(super) const fn id(self) -> u8 {
        match self {
            Self::Announcement => 1,
            Self::Tags => 2,
            Self::Result => 3,
        }
    }
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Announcement => "announcement",
            Self::Tags => "tags",
            Self::Result => "result",
        })
    }
}

/// Why a session or a reduction failed. The session is over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllReduceError {
    /// The ranks are not members of the roster, each once.
    #[error("invalid ranks: {0}")]
    Ranks(&'static str),
    /// A vector has a length that cannot be summed.
    #[error("the vector has {0} values, must have 1 to 1073741824")]
    Length(usize),
    /// A piece has another number of words than its values need.
    #[error("a piece of {actual} words, must be {expected}")]
    Words {
        /// How many it has.
        actual: usize,
        /// How many its values need.
        expected: usize,
    },
    /// The number of messages is not the number of ranks.
    #[error("{0} messages of an exchange, must be one of each rank")]
    Messages(usize),
    /// A message was changed, is of another reduction, or of another session.
    #[error(
        "the {exchange} of rank {rank} ({name}) cannot be decrypted: changed on the way, or of another reduction"
    )]
    Message {
        /// Whose message.
        rank: usize,
        /// The rank's name.
        name: String,
        /// Which message.
        exchange: Exchange,
    },
    /// A rank reduces another vector.
    #[error("rank {rank} ({name}) reduces another vector: {found}, not {expected}")]
    Vector {
        /// Which rank.
        rank: usize,
        /// The rank's name.
        name: String,
        /// What it announced.
        found: String,
        /// What this rank reduces.
        expected: String,
    },
    /// A rank reduces something else of the same length.
    #[error(
        "rank {rank} ({name}) reduces something else of the same length; all ranks must average the same tensors in the same order"
    )]
    Label {
        /// Which rank.
        rank: usize,
        /// The rank's name.
        name: String,
    },
    /// The sum is not that of what the ranks sent.
    #[error("the sum was changed on the way, or a rank computed wrongly; nothing of it was used")]
    Sum,
    /// Another rank found the sum to be wrong.
    #[error("rank {rank} ({name}) received a wrong sum; nothing of it was used")]
    Elsewhere {
        /// Which rank.
        rank: usize,
        /// The rank's name.
        name: String,
    },
    /// A piece of a vector cannot be the next one.
    #[error(
        "a piece of {actual} values, must be a multiple of {multiple}, or the {left} that are left"
    )]
    Piece {
        /// How many values it has.
        actual: usize,
        /// Of how many it must be a multiple.
        multiple: usize,
        /// How many are left.
        left: usize,
    },
    /// A call came out of turn.
    #[error("{0}")]
    Turn(&'static str),
    /// All reductions of the session are used up.
    #[error("this session has made all of its 2^48 reductions; begin a new one")]
    UsedUp,
    /// A channel failed.
    #[error(transparent)]
    Train(#[from] TrainError),
}

impl From<casemate_crypto::Error> for AllReduceError {
    fn from(error: casemate_crypto::Error) -> Self {
        Self::Train(error.into())
    }
}
