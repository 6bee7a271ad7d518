//! `casemate keys`.

mod audit;
mod backup;
mod change;
mod connect;
mod delegate;
mod entry;
mod import;
mod init;
mod lifecycle;
mod slots;
mod statement;
mod succession;
mod transfer;

use std::fmt::Write as _;

use casemate_crypto::{
    encoding::{KeyKind, PublicKey},
    signature::HTTP_SUITE_NAME,
    suite::{KemSuite, SignatureSuite},
};
use casemate_environment::KeyReference;
use casemate_gateway::unix_seconds;
use casemate_keys::{KeyEntry, State, StoreError};
use serde_json::json;

use crate::{
    args::{KeysCommand, Kind},
    context::Context,
    fault::{Fault, Outcome},
    keyring::Keyring,
};
use entry::{end_of, entry_json, half, print_entry};

pub(crate) fn run(context: &Context<'_>, command: KeysCommand) -> Result<(), Fault> {
    match command {
        KeysCommand::Init { random_key } => init::init(context, random_key),
        KeysCommand::Generate { name, kind, suite } => {
            generate(context, &name, kind, suite.as_deref())
        }
        KeysCommand::Connect(options) => connect::connect(context, &options),
        KeysCommand::List => list(context),
        KeysCommand::Slots { command } => slots::run(context, command),
        KeysCommand::Rotate {
            key, suite, stage, ..
        } => match key {
            Some(key) => lifecycle::rotate(context, &key, suite.as_deref(), stage),
            None => lifecycle::rotate_due(context),
        },
        KeysCommand::Activate { version } => lifecycle::set_state(context, &version, State::Active),
        KeysCommand::Disable { version } => {
            lifecycle::set_state(context, &version, State::Disabled)
        }
        KeysCommand::Enable { version } => {
            lifecycle::set_state(context, &version, State::DecryptOnly)
        }
        KeysCommand::Destroy {
            version,
            yes,
            even_if_used,
        } => lifecycle::destroy(context, &version, yes, even_if_used),
        KeysCommand::Policy(options) => lifecycle::policy(context, &options),
        KeysCommand::Show { key } => show(context, &key),
        KeysCommand::Export(options) => transfer::export(context, &options),
        KeysCommand::Import(options) => import::import(context, &options),
        KeysCommand::Remove { key, destroy } => change::remove(context, &key, destroy),
        KeysCommand::Retire {
            key,
            superseded,
            compromised,
            validity,
        } => change::retire(context, &key, superseded.as_deref(), compromised, &validity),
        KeysCommand::Backup { file } => backup::backup(context, &file),
        KeysCommand::Restore { file } => backup::restore(context, &file),
        KeysCommand::Succession {
            previous,
            next,
            output,
            force,
        } => succession::write(context, &previous, next.as_deref(), &output, force),
        KeysCommand::Statement { file, signer } => statement::show(context, &file, &signer),
        KeysCommand::Audit { command } => audit::run(context, command),
        // `main` gives it to the command that rewraps.
        KeysCommand::Rewrap(_) => Ok(()),
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

fn generate(
    context: &Context<'_>,
    name: &str,
    kind: Kind,
    suite: Option<&str>,
) -> Result<(), Fault> {
    let suite = suite_of(context, kind, suite)?;
    let mut store = context.keys()?;
    let entry = store.generate(name.parse()?, suite, unix_seconds())?;
    print_entry(context, &entry);
    Ok(())
}

/// Checks that a suite is for this kind of key, and that the policy allows it.
fn suite_for(context: &Context<'_>, kind: KeyKind, suite: &str) -> Result<(), Fault> {
    let kind = match kind {
        KeyKind::Kem => Kind::Kem,
        KeyKind::Sign => Kind::Sign,
        KeyKind::Http => Kind::Http,
    };
    suite_of(context, kind, Some(suite)).map(drop)
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
    let listing = context.keys()?.list()?;
    let keys: Vec<_> = listing.keys.iter().map(entry_json).collect();
    let damage: Vec<_> = listing.damage.iter().map(ToString::to_string).collect();
    let mut table = format!(
        "{:<24} {:<64} {:<5} {:<8} {:<12} {}",
        "NAME", "KEY ID", "KIND", "HALF", "STATE", "SUITE"
    );
    for entry in &listing.keys {
        let KeyEntry {
            name,
            version,
            state,
            id,
            kind,
            suite,
            role,
            ..
        } = entry;
        let (name, id) = (format!("{name}@{version}"), id.to_hex());
        _ = write!(
            table,
            "\n{name:<24} {id:<64} {:<5} {:<8} {:<12} {suite}",
            kind.as_str(),
            half(*role),
            state.as_str()
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

fn show(context: &Context<'_>, key: &str) -> Result<(), Fault> {
    if !matches!(key.parse::<KeyReference>()?, KeyReference::File(_)) {
        let mut keyring = Keyring::new(context);
        let entry = keyring.entry(key)?;
        print_entry(context, &entry);
        let store = keyring.store()?;
        if entry.kind != KeyKind::Kem && store.is_compromised(entry.id)? {
            context.printer.warning(
                "it is not trusted: it, or a key that it succeeds, is compromised; rotate it, or generate a new key",
            );
        }
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

fn check_policy(context: &Context<'_>, key: &PublicKey) -> Result<(), Fault> {
    let policy = context.policy()?;
    match key {
        PublicKey::Kem(key) => Ok(policy.check_kem(key.suite())?),
        PublicKey::Sign(key) => Ok(policy.check_signature(key.suite())?),
        PublicKey::Http(_) => Ok(policy.check_http()?),
    }
}
