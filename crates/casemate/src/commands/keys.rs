//! `casemate keys`.

mod change;
mod delegate;

use std::{fmt::Write as _, fs::DirBuilder, io::Read, os::unix::fs::DirBuilderExt, path::Path};

use casemate_crypto::{
    SecretBytes,
    encoding::{EncodingError, KEY_FILE_BYTES_MAX, KeyKind, PrivateKey, PublicKey},
    signature::HTTP_SUITE_NAME,
    suite::{KemSuite, SignatureSuite},
};
use casemate_environment::{KeyReference, check_secret, public_from_bytes, read_limited};
use casemate_gateway::unix_seconds;
use casemate_keys::{
    End, Engine as _, KeyEntry, KeyStore, PassphraseCost, Role, SqliteEngine, Status, StoreError,
};
use casemate_seal::file::{self, Access, Existing};
use serde_json::{Value, json};

use crate::{
    args::{KeysCommand, Kind},
    context::Context,
    fault::{Fault, Outcome},
    keyring::Keyring,
    passphrase,
    printer::time_text,
};

pub(crate) fn run(context: &Context<'_>, command: KeysCommand) -> Result<(), Fault> {
    match command {
        KeysCommand::Init { random_key } => init(context, random_key),
        KeysCommand::Generate { name, kind, suite } => {
            generate(context, &name, kind, suite.as_deref())
        }
        KeysCommand::List => list(context),
        KeysCommand::Show { key } => show(context, &key),
        KeysCommand::Export {
            key,
            output,
            age,
            force,
        } => export(context, &key, output.as_deref(), age, force),
        KeysCommand::Import {
            file,
            name,
            validity,
            successor_of,
        } => {
            let successor_of = successor_of
                .as_deref()
                .map(|named| Keyring::new(context).public(named))
                .transpose()?
                .map(|key| key.id())
                .transpose()?;
            let status = Status {
                valid_from: validity.valid_from,
                valid_until: validity.valid_until,
                successor_of,
                end: None,
            };
            import(context, &file, &name, status)
        }
        KeysCommand::Remove { key, destroy } => change::remove(context, &key, destroy),
        KeysCommand::Retire {
            key,
            superseded,
            compromised,
            validity,
        } => change::retire(context, &key, superseded.as_deref(), compromised, &validity),
        KeysCommand::Delegate(options) => delegate::delegate(context, &options),
        KeysCommand::Passwd {
            new_passphrase_file,
            random_key,
            compromised,
        } => change::passwd(
            context,
            new_passphrase_file.as_deref(),
            random_key,
            compromised,
        ),
    }
}

fn init(context: &Context<'_>, random_key: bool) -> Result<(), Fault> {
    let home = context.home()?;
    let path = context.store_path()?;
    let io = |error| Fault::from_error(Outcome::Io, error);
    // An empty database is not a key store: its creation was interrupted.
    if path.exists()
        && SqliteEngine::open(&path, false)
            .and_then(|engine| engine.load())
            .map_err(io)?
            .is_some()
    {
        let message = format!("a key store already exists at {}", path.display());
        return Err(Fault::usage(message).hint("pass --home DIR to create another one"));
    }
    let file = context.passphrase_file();
    let passphrase = if random_key {
        None
    } else {
        let passphrase = passphrase::new(file)?;
        passphrase.check_new()?;
        Some(passphrase)
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&home)
        .map_err(|error| Fault::file("create", &home, error))?;
    let engine = SqliteEngine::open(&path, true).map_err(io)?;
    // Write a random key only once the key store's database exists.
    let secret =
        passphrase.map_or_else(|| passphrase::random_key(file, "--passphrase-file"), Ok)?;
    let cost = PassphraseCost::default();
    // On failure, keep the database: another process may have created a key store in it meanwhile.
    KeyStore::create(engine, &secret, cost, unix_seconds())?;
    context
        .printer
        .done(&format!("created the key store {}", path.display()));
    if let Some(file) = file.filter(|_| random_key) {
        context.printer.note(&format!(
            "its key is in {}: nothing else opens the key store, so keep a copy of the key in another place",
            file.display()
        ));
    }
    Ok(())
}

fn generate(
    context: &Context<'_>,
    name: &str,
    kind: Kind,
    suite: Option<&str>,
) -> Result<(), Fault> {
    let suite = suite_of(context, kind, suite)?;
    let mut store = context.key_store()?;
    let entry = store.generate(name.parse()?, suite, unix_seconds())?;
    print_entry(context, &entry);
    Ok(())
}

/// Returns the requested suite, if it fits the kind and the policy allows it; by default the
/// policy's first.
fn suite_of(context: &Context<'_>, kind: Kind, suite: Option<&str>) -> Result<&'static str, Fault> {
    let policy = context.policy()?;
    let unknown = |name: &str| {
        let is_known = KemSuite::by_name(name).is_some()
            || SignatureSuite::by_name(name).is_some()
            || name == HTTP_SUITE_NAME;
        if is_known {
            let message = format!("the suite `{name}` is for another kind of key");
            return Fault::usage(message)
                .hint("run `casemate suites` to see the use of each suite");
        }
        Fault::from(StoreError::UnknownSuite(name.to_owned()))
    };
    let nothing = || Fault::usage("the policy allows no suite of this kind");
    match (kind, suite) {
        (Kind::Kem, None) => Ok(policy.kem_suites().first().ok_or_else(nothing)?.name),
        (Kind::Sign, None) => Ok(policy.signature_suites().first().ok_or_else(nothing)?.name),
        (Kind::Kem, Some(name)) => {
            let suite = KemSuite::by_name(name).ok_or_else(|| unknown(name))?;
            policy.check_kem(suite)?;
            Ok(suite.name)
        }
        (Kind::Sign, Some(name)) if name != HTTP_SUITE_NAME => {
            let suite = SignatureSuite::by_name(name).ok_or_else(|| unknown(name))?;
            policy.check_signature(suite)?;
            Ok(suite.name)
        }
        (Kind::Http, None | Some(HTTP_SUITE_NAME)) | (Kind::Sign, Some(_)) => {
            policy.check_http()?;
            Ok(HTTP_SUITE_NAME)
        }
        (Kind::Http, Some(name)) => Err(unknown(name)),
    }
}

fn list(context: &Context<'_>) -> Result<(), Fault> {
    let listing = context.key_store()?.list()?;
    let keys: Vec<_> = listing.keys.iter().map(entry_json).collect();
    let damage: Vec<_> = listing.damage.iter().map(ToString::to_string).collect();
    let mut table = format!(
        "{:<24} {:<64} {:<5} {:<8} {}",
        "NAME", "KEY ID", "KIND", "HALF", "SUITE"
    );
    for entry in &listing.keys {
        let KeyEntry {
            name,
            id,
            kind,
            suite,
            role,
            ..
        } = entry;
        let (name, id) = (name.to_string(), id.to_hex());
        _ = write!(
            table,
            "\n{name:<24} {id:<64} {:<5} {:<8} {suite}",
            kind.as_str(),
            half(*role)
        );
        if let Some((word, _)) = end_of(&entry.status) {
            _ = write!(table, " ({word})");
        }
    }
    let json = json!({ "schema": "casemate.keys/1", "keys": keys, "damage": damage });
    context.printer.data(&json, &table);
    match listing.damage.into_iter().next() {
        None => Ok(()),
        Some(first) => {
            damage
                .iter()
                .skip(1)
                .for_each(|text| context.printer.warning(text));
            Err(first.into())
        }
    }
}

const fn half(role: Role) -> &'static str {
    match role {
        Role::Private => "private",
        Role::Public => "public",
    }
}

fn entry_json(entry: &KeyEntry) -> Value {
    json!({
        "name": entry.name.as_str(),
        "id": entry.id.to_hex(),
        "kind": entry.kind.as_str(),
        "suite": entry.suite,
        "half": half(entry.role),
        "created": entry.created,
        "valid_from": entry.status.valid_from,
        "valid_until": entry.status.valid_until,
        "end": end_of(&entry.status).map(|(word, _)| word),
        "ended": end_of(&entry.status).map(|(_, at)| at),
        "successor_of": entry.status.successor_of.map(|id| id.to_hex()),
    })
}

/// Returns how and when a key ended.
const fn end_of(status: &Status) -> Option<(&'static str, u64)> {
    match status.end {
        Some(End::Superseded { at }) => Some(("superseded", at)),
        Some(End::Compromised { at }) => Some(("compromised", at)),
        None => None,
    }
}

fn print_entry(context: &Context<'_>, entry: &KeyEntry) {
    let KeyEntry {
        name,
        id,
        kind,
        suite,
        role,
        created,
        ..
    } = entry;
    let mut text = format!(
        "name     {name}\nkey id   {}\nkind     {}\nsuite    {suite}\nhalf     {}\ncreated  {}",
        id.to_hex(),
        kind.as_str(),
        half(*role),
        time_text(*created)
    );
    let Status {
        valid_from,
        valid_until,
        successor_of,
        ..
    } = entry.status;
    for (what, date) in [("from   ", valid_from), ("until  ", valid_until)] {
        if let Some(date) = date {
            _ = write!(text, "\n{what}  {}", time_text(date));
        }
    }
    if let Some((word, at)) = end_of(&entry.status) {
        _ = write!(text, "\nended    {word}, {}", time_text(at));
    }
    if let Some(id) = successor_of {
        _ = write!(text, "\nafter    {id}");
    }
    let mut json = entry_json(entry);
    if let Some(object) = json.as_object_mut() {
        object.insert("schema".to_owned(), "casemate.key/1".into());
    }
    context.printer.data(&json, &text);
}

fn show(context: &Context<'_>, key: &str) -> Result<(), Fault> {
    if !matches!(key.parse::<KeyReference>()?, KeyReference::File(_)) {
        print_entry(context, &Keyring::new(context).entry(key)?);
        return Ok(());
    }
    let public = Keyring::new(context).public(key)?;
    let id = public
        .id()
        .map_err(|error| Fault::from_error(Outcome::Usage, error))?;
    let kind: KeyKind = public.kind();
    let json = json!({
        "schema": "casemate.key/1", "id": id.to_hex(), "kind": kind.as_str(), "suite": public.suite_name(), "half": "public",
    });
    let text = format!(
        "key id   {}\nkind     {}\nsuite    {}\nhalf     public",
        id.to_hex(),
        kind.as_str(),
        public.suite_name()
    );
    context.printer.data(&json, &text);
    Ok(())
}

fn export(
    context: &Context<'_>,
    key: &str,
    output: Option<&Path>,
    age: bool,
    force: bool,
) -> Result<(), Fault> {
    let entry = Keyring::new(context).entry(key)?;
    let (text, json) = if age {
        let PublicKey::Kem(key) = &entry.public else {
            return Err(casemate_age::AgeError::Key.into());
        };
        let text = format!("{}\n", casemate_age::recipient_to_text(key)?);
        let json = json!({ "schema": "casemate.age-recipient/1", "id": entry.id.to_hex(), "recipient": text.trim_end() });
        (text, json)
    } else {
        let text = entry
            .public
            .to_pem()
            .map_err(|error| Fault::from_error(Outcome::Usage, error))?;
        let json =
            json!({ "schema": "casemate.public-key/1", "id": entry.id.to_hex(), "pem": text });
        (text, json)
    };
    let Some(path) = output else {
        context.printer.data(&json, text.trim_end());
        return Ok(());
    };
    let existing = if force {
        Existing::Replace
    } else {
        Existing::Keep
    };
    file::write(path, text.as_bytes(), Access::Umask, existing)
        .map_err(|error| Fault::file("write", path, error))
}

fn import(context: &Context<'_>, file: &Path, name: &str, status: Status) -> Result<(), Fault> {
    let name = name.parse()?;
    let pem = if file == Path::new("-") {
        let mut bytes = Vec::with_capacity(KEY_FILE_BYTES_MAX.saturating_add(1));
        std::io::stdin()
            .take(KEY_FILE_BYTES_MAX.saturating_add(1) as u64)
            .read_to_end(&mut bytes)
            .map_err(|error| Fault::from_error(Outcome::Io, error))?;
        SecretBytes::new(bytes)
    } else {
        read_limited(file, KEY_FILE_BYTES_MAX)?
    };
    let bad = |error: EncodingError| {
        let expanded = matches!(error, EncodingError::ExpandedOnly);
        let fault = Fault::from_error(Outcome::Usage, error);
        if expanded {
            fault.hint("export it again with its seed")
        } else {
            fault
        }
    };
    let check_mode = || {
        if file == Path::new("-") {
            return Ok(());
        }
        check_secret(file)
    };
    if let Some(key) = import_age(pem.expose())? {
        check_mode()?;
        check_policy(context, &key.public_key().map_err(bad)?)?;
        let entry = context
            .key_store()?
            .add_private(name, &key, unix_seconds(), status)?;
        print_entry(context, &entry);
        return Ok(());
    }
    match public_from_bytes(pem.expose()) {
        Ok(public) => {
            check_policy(context, &public)?;
            let entry = context
                .key_store()?
                .add_public(name, &public, unix_seconds(), status)?;
            print_entry(context, &entry);
        }
        Err(EncodingError::Label { .. }) => {
            let private = PrivateKey::from_pem(pem.expose()).map_err(bad)?;
            check_mode()?;
            check_policy(context, &private.public_key().map_err(bad)?)?;
            let entry = context
                .key_store()?
                .add_private(name, &private, unix_seconds(), status)?;
            print_entry(context, &entry);
        }
        Err(error) => return Err(bad(error)),
    }
    Ok(())
}

/// Returns the private key of an age identity file; `None` if the text is not one.
fn import_age(text: &[u8]) -> Result<Option<PrivateKey>, Fault> {
    match str::from_utf8(text) {
        Ok(text) if text.contains("AGE-SECRET-KEY-") => {
            let key = casemate_age::identity_from_text(text)?;
            Ok(Some(PrivateKey::Kem(key)))
        }
        _ => Ok(None),
    }
}

fn check_policy(context: &Context<'_>, key: &PublicKey) -> Result<(), Fault> {
    let policy = context.policy()?;
    match key {
        PublicKey::Kem(key) => Ok(policy.check_kem(key.suite())?),
        PublicKey::Sign(key) => Ok(policy.check_signature(key.suite())?),
        PublicKey::Http(_) => Ok(policy.check_http()?),
    }
}
