//! Checks on the signer of a recipient list.

use casemate_crypto::{
    encoding::KeyId,
    policy::{Policy, PolicyError},
    signature::VerifyingKey,
};
use casemate_seal::{Artifact, OpenError, ReadAt};

use crate::{Signed, Untrusted};

/// Why a recipient list is refused.
#[derive(Debug, thiserror::Error)]
pub enum ListRefused {
    /// A key in it cannot be read.
    #[error(transparent)]
    Open(OpenError),
    /// A key in it cannot be encoded.
    #[error(transparent)]
    Crypto(casemate_crypto::Error),
    /// The policy forbids the suite of a key in it.
    #[error(transparent)]
    Policy(PolicyError),
    /// A key in it is no longer valid.
    #[error(transparent)]
    Untrusted(Untrusted),
}

/// Refuses a recipient list whose owner or delegate is forbidden by `policy` or refused by `judge`.
/// An artifact without an owner has no list.
///
/// `owner` is about to replace the list. If it is the owner's own list, the key of the delegate who
/// signed it does not matter.
///
/// # Errors
///
/// [`ListRefused`].
pub fn judge_list<R: ReadAt>(
    artifact: &Artifact<R>,
    policy: &Policy,
    owner: Option<KeyId>,
    judge: &dyn Fn(KeyId, &Signed) -> Result<(), Untrusted>,
) -> Result<(), ListRefused> {
    let (Some(list), Some(digest)) = (artifact.recipient_list(), artifact.recipients_digest())
    else {
        return Ok(());
    };
    let signed = Signed {
        date: Some(list.date),
        digest,
    };
    let check = |key: VerifyingKey, id| {
        policy
            .check_signature(key.suite())
            .map_err(ListRefused::Policy)?;
        judge(id, &signed).map_err(|error| ListRefused::Untrusted(error.of_list()))
    };
    let read = |key: Result<VerifyingKey, _>| {
        let key = key.map_err(|error| ListRefused::Open(OpenError::Owner(error)))?;
        let id = key.id().map_err(ListRefused::Crypto)?;
        Ok((key, id))
    };
    let (key, id) = read(list.owner_key())?;
    check(key, id)?;
    if list.delegation.is_none() || owner == Some(id) {
        return Ok(());
    }
    let (key, id) = read(list.signer())?;
    check(key, id)
}
