//! `casemate keys delegate`.

use casemate_crypto::encoding::PublicKey;
use casemate_keys::Usage;
use casemate_seal::{
    Delegation,
    file::{self, Access},
};
use serde_json::json;

use crate::{
    args::Delegate,
    context::Context,
    fault::Fault,
    keyring::Keyring,
    output::existing,
    printer::{path_text, time_text},
};

pub(super) fn delegate(context: &Context<'_>, options: &Delegate) -> Result<(), Fault> {
    let mut keyring = Keyring::new(context);
    let PublicKey::Sign(delegate) = keyring.public(&options.to)? else {
        let message = format!("`{}` is not a signing key", options.to);
        return Err(Fault::usage(message));
    };
    context.policy()?.check_signature(delegate.suite())?;
    keyring.reserve([options.owner.as_str()], Usage { uses: 1, bytes: 0 })?;
    let owner = keyring.signer(&options.owner)?;
    let (until, last_epoch) = (options.until, options.last_epoch);
    let made = Delegation::sign(&owner, &delegate, until, last_epoch)?;
    file::write(
        &options.output,
        &made.to_bytes(),
        Access::Umask,
        existing(options.force),
    )
    .map_err(|error| Fault::file("write", &options.output, error))?;
    let ids = owner
        .verifying_key()
        .id()
        .and_then(|owner| Ok((owner, delegate.id()?)));
    let (owner, delegate) = ids?;
    let json = json!({
        "schema": "casemate.delegation/1",
        "file": path_text(&options.output),
        "owner": owner.to_hex(),
        "delegate": delegate.to_hex(),
        "until": until,
        "last_epoch": last_epoch,
    });
    context.printer.json(&json);
    context.printer.done(&format!(
        "key {delegate} may change recipients for owner {owner} until {}, up to epoch {last_epoch}; the delegation is in {}",
        time_text(until),
        options.output.display()
    ));
    Ok(())
}
