//! `casemate keys init`.

use std::{fs::DirBuilder, os::unix::fs::DirBuilderExt, path::Path};

use casemate_environment::KeyPlace;
use casemate_gateway::unix_seconds;
use casemate_keys::{AnyEngine, Engine as _, KeyStore, PassphraseCost, SqliteEngine};

use crate::{
    context::Context,
    fault::{Fault, Outcome},
    passphrase,
};

/// Creates the key store where the home folder says it is: in a file, unless it describes etcd.
pub(super) fn init(context: &Context<'_>, random_key: bool) -> Result<(), Fault> {
    let place = context.key_place()?;
    let shown = match &place {
        KeyPlace::File(path) => path.display().to_string(),
        KeyPlace::Etcd(place) => format!("{} in etcd", place.prefix),
        KeyPlace::Service(service) => {
            let message = format!("the keys are in the key service at {}", service.url);
            return Err(Fault::usage(message).hint("pass --home DIR for another folder"));
        }
    };
    // An empty database is not a key store: its creation was interrupted.
    let existing = match &place {
        KeyPlace::File(path) if !path.exists() => None,
        _ => Some(context.engine()?),
    };
    if let Some(engine) = existing
        && engine
            .view()
            .and_then(|view| view.head())
            .map_err(io)?
            .is_some()
    {
        let message = format!("a key store already exists at {shown}");
        return Err(Fault::usage(message).hint("pass --home DIR to create another one"));
    }
    let file = match context.passphrase_files() {
        [] => None,
        [file] => Some(file.as_path()),
        _ => {
            return Err(Fault::usage("a new key store has one slot").hint(
                "pass --passphrase-file once, and add others with `casemate keys slots add`",
            ));
        }
    };
    let passphrase = if random_key {
        None
    } else {
        let passphrase = passphrase::new(file)?;
        passphrase.check_new()?;
        Some(passphrase)
    };
    let engine = create(context, &place)?;
    // Write a random key only once the key store's database exists.
    let secret =
        passphrase.map_or_else(|| passphrase::random_key(file, "--passphrase-file"), Ok)?;
    let cost = PassphraseCost::default();
    // On failure, keep the database: another process may have created a key store in it meanwhile.
    KeyStore::create(engine, &secret, cost, unix_seconds())?;
    context
        .printer
        .done(&format!("created the key store {shown}"));
    if let Some(file) = file.filter(|_| random_key) {
        context.printer.note(&format!(
            "its key is in {}: nothing else opens the key store, so keep a copy of the key in another place",
            file.display()
        ));
    }
    Ok(())
}

fn io(error: casemate_keys::EngineError) -> Fault {
    Fault::from_error(Outcome::Io, error)
}

fn create(context: &Context<'_>, place: &KeyPlace) -> Result<AnyEngine, Fault> {
    let KeyPlace::File(path) = place else {
        return context.engine();
    };
    make_folder(&context.home()?)?;
    let engine = SqliteEngine::open(path, true).map_err(io)?;
    Ok(Box::new(engine))
}

/// Makes a folder that only its owner may enter.
pub(super) fn make_folder(home: &Path) -> Result<(), Fault> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(home)
        .map_err(|error| Fault::file("create", home, error))
}
