//! Opens the key store with whatever opens its slots.

use std::path::PathBuf;

use casemate_gateway::unix_seconds;
use casemate_keys::{
    Actor, AnyEngine, KeyStore, Openers, SlotKeeper, Slots, StoreError, StoreSecret, slots_of,
};

use crate::{context::Store, fault::Fault, keepers::Keepers, passphrase};

/// Most passphrases that are asked for.
const QUESTIONS_MAX: usize = 16;

/// A key store, and what opened it.
pub(crate) type Unlocked = (Store, Vec<StoreSecret>);

/// Connects to a key store, without opening it.
type Connect<'a> = dyn Fn() -> Result<AnyEngine, Fault> + 'a;

/// Opens a key store with what these files hold, or asks for passphrases.
pub(crate) fn unlock(
    connect: &Connect<'_>,
    files: &[PathBuf],
    verb: &str,
) -> Result<Unlocked, Fault> {
    let mut secrets = passphrase::from_files(files)?;
    if !files.is_empty() {
        return Ok((attempt(connect()?, &secrets, verb)?, secrets));
    }
    let slots = match slots_of(&connect()?) {
        Ok(slots) => Some(slots),
        // Version 1 has one slot, for a passphrase or a key.
        Err(StoreError::SlotsOfVersion1) => None,
        Err(error) => return Err(error.into()),
    };
    let has_service = slots.as_ref().is_some_and(|slots| {
        let mut slots = slots.slots.iter();
        slots.any(|slot| slot.location.is_some() && !slot.is_offline)
    });
    if has_service {
        match attempt(connect()?, &[], verb) {
            Err(StoreError::Locked(_)) => {}
            done => return Ok((done?, secrets)),
        }
    }
    loop {
        let question = question(slots.as_ref(), secrets.len());
        secrets.push(passphrase::asked(&question)?);
        match attempt(connect()?, &secrets, verb) {
            Err(error @ StoreError::Locked(_)) => {
                let most = most_passphrases(slots.as_ref());
                if secrets.len() >= most.min(QUESTIONS_MAX) {
                    return Err(error.into());
                }
            }
            done => return Ok((done?, secrets)),
        }
    }
}

/// Returns how many passphrases may be needed.
fn most_passphrases(slots: Option<&Slots>) -> usize {
    let groups = slots.map(|slots| slots.groups.iter());
    let thresholds = groups.into_iter().flatten();
    thresholds
        .map(|group| usize::from(group.threshold))
        .max()
        .unwrap_or(1)
}

fn question(slots: Option<&Slots>, given: usize) -> String {
    let most = most_passphrases(slots);
    if given == 0 {
        "Key store passphrase: ".to_owned()
    } else {
        let next = given.saturating_add(1);
        format!("Passphrase {next} of up to {most}: ")
    }
}

fn attempt(engine: AnyEngine, secrets: &[StoreSecret], verb: &str) -> Result<Store, StoreError> {
    let keepers = Keepers::new(secrets);
    let keepers: Vec<&dyn SlotKeeper> = keepers.all().collect();
    let openers = Openers {
        secrets,
        keepers: &keepers,
    };
    let actor = Actor {
        by: format!(
            "uid {}, casemate {verb}",
            rustix::process::getuid().as_raw()
        ),
        clock: unix_seconds,
    };
    KeyStore::unlock_as(engine, openers, actor)
}
