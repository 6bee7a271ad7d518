//! Opens sealed folders under the signer that is expected, and refuses old and expired versions.

use casemate_crypto::{kem::KemPrivateKey, policy::Expired};
use casemate_gateway::unix_seconds;
use casemate_seal::{
    Artifact, Origin, ReadAt,
    folder::{FolderSource, LocalFolder, SealedFolder, read_manifest, unfinished_rewrap},
};

use crate::{
    context::Context,
    fault::{Fault, Outcome},
    keyring::Keyring,
    printer::time_text,
    seen,
    trust::{self, TrustedSigners},
};

/// Most recipients of an unfinished change to name.
const NAMED_MAX: usize = 8;

/// Opens the manifest and requires the expected signer's signature.
pub(crate) fn open_folder(
    context: &Context<'_>,
    keyring: &mut Keyring<'_>,
    folder: Box<dyn FolderSource>,
    keys: &[&KemPrivateKey],
    trusted_signers: TrustedSigners<'_>,
) -> Result<SealedFolder, Fault> {
    if let Some(local) = folder.local() {
        note_unfinished(context, local);
    }
    let artifact = read_manifest(&*folder)?;
    note_leftover(context, &artifact);
    let signer = trust::expected_signer_with_warning(context, keyring, &artifact, trusted_signers)?;
    let origin = signer.as_ref().map_or(Origin::Unchecked, Origin::SignedBy);
    Ok(SealedFolder::open(folder, artifact, keys, origin)?)
}

/// Refuses a version older than one seen before; called before anything of it is used.
pub(crate) fn check_not_older(
    context: &Context<'_>,
    sealed: &SealedFolder,
    trusted_signers: TrustedSigners<'_>,
    place: &str,
    minimum: Option<u64>,
) -> Result<(), Fault> {
    if let Some(minimum) = minimum {
        sealed.require_revision(minimum)?;
    }
    let publisher = sealed.artifact().header().publisher();
    let verified = publisher.filter(|_| !matches!(trusted_signers, TrustedSigners::Anyone));
    seen::check(context, sealed, verified, place, minimum)
}

/// As [`check_not_older`]; also handles expiry as the policy says.
pub(crate) fn check_current(
    context: &Context<'_>,
    sealed: &SealedFolder,
    trusted_signers: TrustedSigners<'_>,
    place: &str,
    minimum: Option<u64>,
) -> Result<(), Fault> {
    check_not_older(context, sealed, trusted_signers, place, minimum)?;
    let Some(end) = sealed.manifest().expires else {
        return Ok(());
    };
    if end >= unix_seconds() {
        return Ok(());
    }
    let message = format!("this version expired on {}", time_text(end));
    match context.policy()?.expired() {
        Expired::Warn => context.printer.warning(&message),
        Expired::Refuse => {
            return Err(Fault::new(Outcome::NotPermitted, message).hint(
                "get the current version from the publisher; the policy refuses expired ones",
            ));
        }
    }
    Ok(())
}

/// Notes bytes that an unfinished rewrap left behind.
pub(crate) fn note_leftover<R: ReadAt>(context: &Context<'_>, artifact: &Artifact<R>) {
    let bytes = artifact.leftover_len();
    if bytes > 0 {
        let text = format!(
            "an unfinished rewrap left {bytes} bytes; the next `casemate rewrap` removes them"
        );
        context.printer.note(&text);
    }
}

fn note_unfinished(context: &Context<'_>, folder: &LocalFolder) {
    if let Ok(Some(wanted)) = unfinished_rewrap(folder) {
        // The list is untrusted and may name thousands.
        let shown: Vec<_> = wanted
            .iter()
            .take(NAMED_MAX)
            .map(ToString::to_string)
            .collect();
        let recipients = match (shown.as_slice(), wanted.len().saturating_sub(shown.len())) {
            ([], _) => String::new(),
            (some, 0) => format!(" to {}", some.join(", ")),
            (some, more) => format!(" to {} and {more} more", some.join(", ")),
        };
        let text = format!(
            "a change of recipients{recipients} was not finished; run `casemate rewrap` again"
        );
        context.printer.note(&text);
    }
}
