//! Hints for key statements.

use casemate_statement::StatementError as E;

use super::{Fault, Outcome};

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
