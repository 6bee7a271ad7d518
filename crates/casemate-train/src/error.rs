//! Errors, with the phase and the sender of a refused message.

use std::fmt;

use casemate_cbor::CborError;
use casemate_crypto::policy::PolicyError;

/// A message of the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// From the initiator, first.
    Hello,
    /// From the responder.
    Answer,
    /// From the initiator, last.
    Finish,
}

impl Phase {
    pub(crate) const fn id(self) -> u8 {
        match self {
            Self::Hello => 1,
            Self::Answer => 2,
            Self::Finish => 3,
        }
    }

    pub(crate) const fn by_id(id: u8) -> Option<Self> {
        match id {
            1 => Some(Self::Hello),
            2 => Some(Self::Answer),
            3 => Some(Self::Finish),
            _ => None,
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hello => "hello",
            Self::Answer => "answer",
            Self::Finish => "finish",
        })
    }
}

/// Why a roster, a handshake or a message was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrainError {
    /// The roster breaks a rule.
    #[error("invalid roster: {0}")]
    Roster(&'static str),
    /// The expected signer did not sign the roster.
    #[error("the roster is not signed by the expected signer")]
    RosterSignature,
    /// The roster is of another job.
    #[error("the roster is of another job; get the roster of this one")]
    RosterJob,
    /// The roster was made in the future.
    #[error("the roster was made {} s in the future; check the clocks", created.saturating_sub(*now))]
    RosterEarly {
        /// When it was made.
        created: u64,
        /// The member's time.
        now: u64,
    },
    /// The roster has expired.
    #[error("the roster expired {} s ago; get a new one from its signer", now.saturating_sub(*expires))]
    RosterExpired {
        /// When it expired.
        expires: u64,
        /// The member's time.
        now: u64,
    },
    /// The roster is older than one that was already accepted.
    #[error("the roster has epoch {epoch}, but {minimum} or later is needed; get the latest one")]
    RosterEpoch {
        /// Its epoch.
        epoch: u64,
        /// The minimum.
        minimum: u64,
    },
    /// A name is not in the roster.
    #[error("`{0}` is not in the roster")]
    NotAMember(String),
    /// A member has another key than the roster gives it.
    #[error("`{0}` has another key in the roster")]
    OtherKey(String),
    /// A member was to establish a channel with itself.
    #[error("`{0}` cannot establish a channel with itself")]
    Itself(String),
    /// A handshake was continued with another roster.
    #[error("the handshake began with another roster; start a new one")]
    OtherRoster,
    /// A handshake message came out of its phase.
    #[error("expected the {expected}{}, not the {found}", of(from.as_deref()))]
    Phase {
        /// The message that was expected.
        expected: Phase,
        /// The message that came.
        found: Phase,
        /// Who should have sent it, if that is known.
        from: Option<String>,
    },
    /// A handshake message breaks a rule.
    #[error("invalid {phase}{}: {rule}", of(from.as_deref()))]
    Handshake {
        /// The message.
        phase: Phase,
        /// Who sent it, if the message says.
        from: Option<String>,
        /// The rule.
        rule: &'static str,
    },
    /// A data message does not have its turn.
    #[error("message {found} of `{from}` is out of turn: {rule}")]
    Sequence {
        /// Its sequence number.
        found: u64,
        /// Who sent it.
        from: String,
        /// What was expected.
        rule: &'static str,
    },
    /// A data message was changed, or is not of this channel.
    #[error("message {sequence} of `{from}` was changed or is not of this channel")]
    Rejected {
        /// Its sequence number.
        sequence: u64,
        /// Who sent it.
        from: String,
    },
    /// Something is shorter or longer than its limits, in bytes or, for a window, in messages.
    #[error("{what} has length {actual}, must be {least} to {most}")]
    Length {
        /// What it is.
        what: &'static str,
        /// Its length.
        actual: usize,
        /// The least allowed.
        least: usize,
        /// The most allowed.
        most: usize,
    },
    /// All sequence numbers are used up.
    #[error("the channel has no sequence numbers left; establish another")]
    UsedUp,
    /// The policy in force does not allow a key of the roster.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// A cryptographic operation failed.
    #[error(transparent)]
    Crypto(#[from] casemate_crypto::Error),
}

pub(crate) fn of(from: Option<&str>) -> String {
    from.map(|name| format!(" of `{name}`")).unwrap_or_default()
}

impl From<CborError> for TrainError {
    fn from(error: CborError) -> Self {
        match error {
            CborError::Structure(_) => Self::Roster("unexpected CBOR structure"),
            CborError::NotDeterministic(_) => Self::Roster("not in deterministic encoding"),
            CborError::Length { .. } => Self::Roster("a field has the wrong length"),
        }
    }
}

pub(crate) const fn check_len(
    what: &'static str,
    actual: usize,
    least: usize,
    most: usize,
) -> Result<(), TrainError> {
    if least <= actual && actual <= most {
        return Ok(());
    }
    Err(TrainError::Length {
        what,
        actual,
        least,
        most,
    })
}
