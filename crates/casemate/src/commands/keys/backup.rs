//! `casemate keys backup` and `restore`.

use std::{
    fs::{DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use casemate_environment::{EtcdPlace, KeyPlace};
use casemate_keys::{Engine, EngineError, KeyStore, SqliteEngine, StoreError};
use casemate_seal::{
    file::{Access, AtomicFile, Existing},
    scratch::{Naming, ScratchFolder, remove_abandoned},
};
use serde_json::json;

use crate::{
    context::{Context, Store},
    fault::{Fault, Outcome},
    printer::{count_text, path_text, time_text},
};

pub(super) fn backup(context: &Context<'_>, file: &Path) -> Result<(), Fault> {
    refuse_existing(file)?;
    let store = context.key_store()?;
    let copied = write(&store, file)?;
    report(context, "casemate.keys-backup/1", file, &copied);
    context.printer.note(
        "it opens with the slots that the key store has now, also after they are removed from the key store",
    );
    if !store.opens_offline()? {
        context.printer.warning(
            "the backup opens only with a token or a service: if that is lost, so is the backup; add a slot with `casemate keys slots add NAME --recovery-key FILE`",
        );
    }
    Ok(())
}

pub(super) fn restore(context: &Context<'_>, file: &Path) -> Result<(), Fault> {
    let home = context.home()?;
    let place = context.key_place()?;
    if let KeyPlace::Service(service) = &place {
        let message = format!("the keys are in the key service at {}", service.url);
        return Err(Fault::usage(message).hint("pass --home DIR to restore to another folder"));
    }
    let path = context.store_path()?;
    if path.exists() {
        let message = format!("a key store already exists at {}", path.display());
        return Err(Fault::usage(message).hint("pass --home DIR to restore to another folder"));
    }
    if !file.exists() {
        return Err(Fault::usage(format!("there is no file {}", file.display())));
    }
    for suffix in ["-wal", "-shm", "-journal"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        if Path::new(&name).exists() {
            let message = format!(
                "{} was left behind by another key store",
                Path::new(&name).display()
            );
            return Err(Fault::usage(message).hint("move it away, or pass --home DIR"));
        }
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&home)
        .map_err(|error| Fault::file("create", &home, error))?;
    // A backup of version 1 is migrated as a copy: the file itself stays as it is.
    let naming = naming();
    remove_abandoned(&home, &naming, &|_| true);
    let failed = |error| Fault::file("read", file, error);
    let scratch = ScratchFolder::create(&home, &naming).map_err(failed)?;
    let copy = scratch.path().join("backup.db");
    let mut source = File::open(file).map_err(failed)?;
    if !source.metadata().map_err(failed)?.is_file() {
        return Err(Fault::usage(format!(
            "{} is not a regular file",
            file.display()
        )));
    }
    let mut target = File::create_new(&copy).map_err(failed)?;
    io::copy(&mut source, &mut target).map_err(failed)?;
    let backup = context.unlock(&copy)?;
    let (restored, shown) = match &place {
        KeyPlace::Etcd(etcd) => (fill(context, &backup, etcd)?, PathBuf::from(&etcd.prefix)),
        KeyPlace::File(_) | KeyPlace::Service(_) => (write(&backup, &path)?, path),
    };
    drop(backup);
    scratch.remove().map_err(failed)?;
    report(context, "casemate.keys-restored/1", &shown, &restored);
    Ok(())
}

/// Copies a key store into etcd, where there must be none.
fn fill(context: &Context<'_>, store: &Store, place: &EtcdPlace) -> Result<Summary, Fault> {
    let engine = context.etcd(place)?;
    match store.copy_to(engine) {
        Err(StoreError::Engine(EngineError::Conflict)) => Err(StoreError::Exists.into()),
        copied => Summary::of(&copied?),
    }
}

fn refuse_existing(file: &Path) -> Result<(), Fault> {
    if file == Path::new("-") {
        return Err(Fault::usage(
            "a backup cannot be written to standard output",
        ));
    }
    if file.symlink_metadata().is_ok() {
        let message = format!("{} exists", file.display());
        return Err(Fault::usage(message).hint("write the backup to a new file"));
    }
    Ok(())
}

fn naming() -> Naming {
    Naming {
        prefix: ".casemate-keys-".into(),
        suffix: ".part",
    }
}

/// Copies a key store to a new file, which appears only when it is complete and verified.
fn write(store: &Store, path: &Path) -> Result<Summary, Fault> {
    let failed = |error| Fault::file("write", path, error);
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let folder = folder.unwrap_or_else(|| Path::new("."));
    let naming = naming();
    remove_abandoned(folder, &naming, &|_| true);
    // SQLite needs a path of its own, and a log beside it.
    let scratch = ScratchFolder::create(folder, &naming).map_err(failed)?;
    let part = scratch.path().join("keys.db");
    let copied = store.copy_to(open(&part, true)?)?;
    let summary = Summary::of(&copied)?;
    // Closing the last connection merges the log into the file.
    drop(copied);
    let target = AtomicFile::create(path, Access::Owner, Existing::Keep).map_err(failed)?;
    File::open(&part)
        .and_then(|mut part| io::copy(&mut part, &mut target.file()))
        .map_err(failed)?;
    target.commit(Existing::Keep).map_err(failed)?;
    scratch.remove().map_err(failed)?;
    Ok(summary)
}

/// What a copy has, which was verified before it got its name.
struct Summary {
    keys: usize,
    newest: Option<u64>,
    generation: u64,
}

impl Summary {
    fn of<E: Engine>(copied: &KeyStore<E>) -> Result<Self, Fault> {
        let keys = copied.list()?.keys;
        Ok(Self {
            keys: keys.len(),
            newest: keys.iter().map(|key| key.created).max(),
            generation: copied.generation()?,
        })
    }
}

fn open(path: &Path, create: bool) -> Result<SqliteEngine, Fault> {
    SqliteEngine::open(path, create).map_err(|error| Fault::from_error(Outcome::Io, error))
}

fn report(context: &Context<'_>, schema: &str, path: &Path, copied: &Summary) {
    let Summary {
        keys,
        newest,
        generation,
    } = copied;
    let json = json!({
        "schema": schema,
        "file": path_text(path),
        "keys": keys,
        "generation": generation,
    });
    context.printer.json(&json);
    let newest = newest.map_or_else(String::new, |at| {
        format!(", the newest of {}", time_text(at))
    });
    context.printer.done(&format!(
        "wrote and verified {}: {}{newest}, after {}",
        path.display(),
        count_text(*keys, "key"),
        count_text(*generation, "change")
    ));
}
