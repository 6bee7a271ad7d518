//! The demo's rotation: a new version of the model's key, and the audit log of the key store.

use std::{fs, path::Path};

use casemate_crypto::encoding::PrivateKey;
use casemate_gateway::unix_seconds;
use casemate_keys::{State, StoreError};
use casemate_seal::{Origin, rewrap};

use super::{open_all, stage::Keys};
use crate::fault::{Fault, Outcome};

/// Makes version 2 of the model's key, rewraps the artifact to it and disables version 1. Returns
/// the number of entries in the audit log, after verifying all of them.
///
/// Fails if version 1 still opens the artifact or if version 2 does not.
pub(super) fn run(keys: &mut Keys, artifact: &Path) -> Result<u64, Fault> {
    let io_fault = |error| Fault::file("rewrap", artifact, error);
    let failed = |text: &str| Fault::new(Outcome::CheckFailed, text);
    let name = "model".parse()?;
    keys.store.rotate(&name, None, unix_seconds(), false)?;
    let entry = keys.store.by_name(&name)?;
    let entry = entry.ok_or_else(|| failed("the key store lost a key"))?;
    let PrivateKey::Kem(new) = keys.store.private_key(&entry)? else {
        return Err(failed("the key store returned another kind of key"));
    };
    let publisher = keys.publisher.verifying_key();
    let file = fs::File::options()
        .read(true)
        .write(true)
        .open(artifact)
        .map_err(io_fault)?;
    let origin = Origin::SignedBy(publisher);
    rewrap(&file, &keys.model, origin, &[new.public_key()])?;
    keys.store
        .set_state(&name, 1, State::Disabled, unix_seconds())?;
    let bytes = fs::read(artifact).map_err(io_fault)?;
    open_all(&bytes, &new, publisher)?;
    if open_all(&bytes, &keys.model, publisher).is_ok() {
        return Err(failed("the old version of the key still opens the model"));
    }
    keys.model = new;
    let log = keys
        .store
        .verify_log(&mut |_, _, _| Ok::<_, StoreError>(()))?;
    Ok(log.size)
}
