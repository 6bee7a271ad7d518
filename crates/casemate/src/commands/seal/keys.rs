//! The keys that sign what is sealed.

use casemate_crypto::signature::SigningKey;
use casemate_gateway::unix_seconds;
use casemate_keys::Usage;
use casemate_seal::ListSigner;

use crate::{args::SealOptions, context::Context, fault::Fault, keyring::Keyring};

/// Returns the signing key, or warns that there is none.
pub(super) fn signer(
    context: &Context<'_>,
    keyring: &mut Keyring<'_>,
    options: &SealOptions,
) -> Result<Option<SigningKey>, Fault> {
    let named = options.sign.as_deref();
    let signer = named.map(|named| keyring.signer(named)).transpose()?;
    if signer.is_none() {
        context
            .printer
            .warning("not signed, so nothing proves who sealed this; pass --sign KEY to sign it");
    }
    Ok(signer)
}

/// Returns the owner's key, which signs the recipient list, if the artifact gets an owner.
pub(super) fn owner(
    keyring: &mut Keyring<'_>,
    options: &SealOptions,
) -> Result<Option<SigningKey>, Fault> {
    let named = options.owner.as_deref();
    named.map(|named| keyring.signer(named)).transpose()
}

pub(super) fn list_signer(owner: Option<&SigningKey>) -> Option<ListSigner<'_>> {
    owner.map(|key| ListSigner {
        key,
        delegation: None,
        epoch: None,
        now: unix_seconds(),
    })
}

/// Counts what is about to be sealed against the limits of the keys that it is sealed to and signed
/// by.
pub(super) fn reserve(
    keyring: &mut Keyring<'_>,
    options: &SealOptions,
    uses: u64,
    bytes: u64,
) -> Result<(), Fault> {
    let named = options.to.iter().chain(&options.sign).chain(&options.owner);
    keyring.reserve(named.map(String::as_str), Usage { uses, bytes })
}
