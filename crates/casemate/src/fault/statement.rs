//! Hints for key statements.

use casemate_audit::AuditError;
use casemate_statement::StatementError as E;

use super::{Fault, Outcome};

impl From<AuditError> for Fault {
    fn from(error: AuditError) -> Self {
        let hint = match &error {
            AuditError::OtherRoot { .. } | AuditError::Truncated { .. } => {
                Some("find out who could write to the log; the checkpoint shows what it was")
            }
            AuditError::Malformed { .. }
            | AuditError::Unsigned(_)
            | AuditError::BadSignature(_)
            | AuditError::BadProof
            | AuditError::Crypto(_) => None,
        };
        Self::hinted((Outcome::CheckFailed, hint), error)
    }
}

impl From<E> for Fault {
    fn from(error: E) -> Self {
        let hint = match &error {
            E::Unsigned(_) | E::BadSignature(_) => (
                Outcome::CheckFailed,
                Some("do not use this statement; get it again from its source"),
            ),
            E::Malformed(_) | E::OtherKind(_) | E::Rule(_) | E::Key(_) | E::Crypto(_) => {
                (Outcome::CheckFailed, None)
            }
        };
        Self::hinted(hint, error)
    }
}
