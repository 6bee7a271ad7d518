//! Errors of an aggregation round, with the step and the sender of what was refused.

use std::fmt;

use casemate_cbor::CborError;
use casemate_crypto::policy::PolicyError;

use crate::error::{TrainError, of};

/// A message of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// A client's keys.
    Advertisement,
    /// All advertisements.
    Cohort,
    /// A client's shares for others.
    Shares,
    /// What other clients sealed for one.
    Inbox,
    /// A client's masked update.
    Update,
    /// The clients whose updates arrived.
    Survivors,
    /// A client's signature over the survivors.
    Agreement,
    /// All agreements.
    Agreements,
    /// A client's shares for the aggregator.
    Reveal,
}

impl Step {
    pub(crate) const fn id(self) -> u8 {
        match self {
            Self::Advertisement => 1,
            Self::Cohort => 2,
            Self::Shares => 3,
            Self::Inbox => 4,
            Self::Update => 5,
            Self::Survivors => 6,
            Self::Agreement => 7,
            Self::Agreements => 8,
            Self::Reveal => 9,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Advertisement => "advertisement",
            Self::Cohort => "cohort",
            Self::Shares => "shares",
            Self::Inbox => "inbox",
            Self::Update => "masked update",
            Self::Survivors => "list of survivors",
            Self::Agreement => "agreement",
            Self::Agreements => "agreements",
            Self::Reveal => "reveal",
        })
    }
}

/// Why a policy, a message or an update was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AggregateError {
    /// The policy breaks a rule.
    #[error("invalid aggregation policy: {0}")]
    Policy(&'static str),
    /// The roster's signer did not sign the policy.
    #[error("the aggregation policy is not signed by the expected signer")]
    PolicySignature,
    /// The policy is for another roster.
    #[error("the aggregation policy is for another roster; have one signed for this roster")]
    PolicyRoster,
    /// The policy is weaker than the client allows.
    #[error(
        "the aggregation policy is below this client's floor: {what} is {found}, must be {must}"
    )]
    Floor {
        /// The parameter.
        what: &'static str,
        /// Its value in the policy.
        found: String,
        /// What the client demands.
        must: String,
    },
    /// A message breaks a rule.
    #[error("{step}{}: {rule}", of(from.as_deref()))]
    Message {
        /// The message.
        step: Step,
        /// Who sent it, or whom a part of it is about.
        from: Option<String>,
        /// The rule.
        rule: &'static str,
    },
    /// A message came out of its phase.
    #[error("expected the {expected}, got the {found}")]
    Phase {
        /// The message that was expected.
        expected: Step,
        /// The message that came.
        found: Step,
    },
    /// Too few clients are left.
    #[error("{what}: {found}; the round needs {minimum}")]
    TooFew {
        /// Of what there are too few.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there must be.
        minimum: usize,
    },
    /// The client's update cannot be aggregated.
    #[error("the update cannot be aggregated: {0}")]
    Update(String),
    /// The client could not record that it answers.
    #[error("the answer could not be recorded, so nothing was sent; the client has dropped out")]
    NotRecorded,
    /// The client has not joined the round, or has dropped out.
    #[error("the client is not in a round; join one, or go on from a stored state")]
    NotInRound,
    /// The client's state belongs to another round or another member.
    #[error("the client began another round, or as another member; use its state there")]
    OtherRound,
    /// The stored state of a client cannot be read.
    #[error("the stored state of the round is damaged; wait for the next round")]
    State,
    /// The roster or a member's key was refused.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The policy in force does not allow a key.
    #[error(transparent)]
    Algorithms(#[from] PolicyError),
    /// A cryptographic operation failed.
    #[error(transparent)]
    Crypto(#[from] casemate_crypto::Error),
}

impl From<CborError> for AggregateError {
    fn from(error: CborError) -> Self {
        match error {
            CborError::Structure(_) => Self::Policy("unexpected CBOR structure"),
            CborError::NotDeterministic(_) => Self::Policy("not in deterministic encoding"),
            CborError::Length { .. } => Self::Policy("a field has the wrong length"),
        }
    }
}

pub(super) fn refused(step: Step, rule: &'static str) -> AggregateError {
    AggregateError::Message {
        step,
        from: None,
        rule,
    }
}

pub(super) const fn at_least(
    what: &'static str,
    found: usize,
    minimum: usize,
) -> Result<(), AggregateError> {
    if found >= minimum {
        return Ok(());
    }
    Err(AggregateError::TooFew {
        what,
        found,
        minimum,
    })
}
