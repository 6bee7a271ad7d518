//! `casemate keys slots`.

use std::{fmt::Write as _, path::Path};

use casemate_crypto::{
    encoding::{PrivateKey, PublicKey},
    kem::{KemPrivateKey, KemPublicKey},
};
use casemate_environment::KeyReference;
use casemate_gateway::unix_seconds;
use casemate_keys::{
    KeeperKind, NewSlot, Offline, Openers, PassphraseCost, Role, SlotInfo, SlotKeeper, SlotName,
    Slots, StoreError, StoreSecret, slots_of,
};
use casemate_seal::file::{self, Access, Existing};
use serde_json::{Value, json};

use crate::{
    args::{AddSlot, OfflineOption, SlotsCommand},
    context::Context,
    fault::{Fault, Outcome},
    keepers::Keepers,
    keyring::Keyring,
    passphrase,
    printer::time_text,
};

pub(super) fn run(context: &Context<'_>, command: SlotsCommand) -> Result<(), Fault> {
    match command {
        SlotsCommand::List { unchecked } => list(context, unchecked),
        SlotsCommand::Add(options) => add(context, &options),
        SlotsCommand::Remove { name, offline } => remove(context, &name.parse()?, offline),
        SlotsCommand::Test { names } => test(context, &names),
        SlotsCommand::Group {
            name,
            threshold,
            members,
            offline,
        } => group(context, &name.parse()?, threshold, &members, offline),
        SlotsCommand::Export { name, output } => export(context, &name.parse()?, &output),
        SlotsCommand::Ungroup { name } => {
            let name: SlotName = name.parse()?;
            context.key_store()?.remove_group(&name)?;
            context.printer.done(&format!(
                "removed group {name}; each of its slots opens the key store alone"
            ));
            Ok(())
        }
    }
}

fn list(context: &Context<'_>, unchecked: bool) -> Result<(), Fault> {
    let slots = if unchecked {
        slots_of(&context.engine()?)?
    } else {
        context.key_store()?.slots()?
    };
    let mut table = format!(
        "{:<20} {:<16} {:<14} {:<20} {}",
        "SLOT", "OPENED BY", "GROUP", "CREATED", "WHERE"
    );
    for slot in &slots.slots {
        let group = group_text(&slots, slot);
        let place = match (&slot.location, slot.recipient) {
            (Some(location), _) => location.clone(),
            (None, Some(key)) => format!("key {key}"),
            (None, None) => String::new(),
        };
        let created = time_text(slot.created);
        let line = format!(
            "{:<20} {:<16} {group:<14} {created:<20} {place}",
            slot.name.as_str(),
            slot.kind
        );
        _ = write!(table, "\n{}", line.trim_end());
    }
    context
        .printer
        .data(&slots_json(&slots, !unchecked), &table);
    Ok(())
}

fn group_text(slots: &Slots, slot: &SlotInfo) -> String {
    let Some(name) = &slot.group else {
        return "-".to_owned();
    };
    let mut groups = slots.groups.iter();
    groups
        .find(|group| group.name == *name)
        .map_or_else(String::new, |group| {
            format!("{name} ({} of {})", group.threshold, group.members)
        })
}

fn slots_json(slots: &Slots, is_checked: bool) -> Value {
    let all: Vec<_> = slots
        .slots
        .iter()
        .map(|slot| {
            json!({
                "name": slot.name.as_str(),
                "kind": slot.kind,
                "created": slot.created,
                "group": slot.group.as_ref().map(SlotName::as_str),
                "location": slot.location,
                "recipient": slot.recipient.map(|key| key.to_hex()),
                "offline": slot.is_offline,
            })
        })
        .collect();
    let groups: Vec<_> = slots
        .groups
        .iter()
        .map(|group| {
            json!({
                "name": group.name.as_str(),
                "threshold": group.threshold,
                "members": group.members,
            })
        })
        .collect();
    json!({ "schema": "casemate.slots/1", "checked": is_checked, "slots": all, "groups": groups })
}

fn add(context: &Context<'_>, options: &AddSlot) -> Result<(), Fault> {
    let name: SlotName = options.name.parse()?;
    let group: Option<SlotName> = options.group.as_deref().map(str::parse).transpose()?;
    let mut store = context.key_store()?;
    let before = store.slots()?;
    if before.slots.iter().any(|slot| slot.name == name) {
        return Err(StoreError::SlotTaken(name.to_string()).into());
    }
    if let Some(group) = &group
        && !before.groups.iter().any(|other| other.name == *group)
    {
        return Err(StoreError::NoGroup(group.to_string()).into());
    }
    let made = Made::of(context, options)?;
    let keepers = Keepers::new(&[]);
    let new = made.new_slot(&keepers)?;
    let new_file = options
        .random_key
        .as_ref()
        .or(options.recovery_key.as_ref());
    if let Err(error) = store.add_slot(&name, new, group.as_ref(), unix_seconds()) {
        let exists = |slots: Slots| slots.slots.iter().any(|slot| slot.name == name);
        // A failure to report the change is not a failure to make it.
        if let (Some(file), Ok(false)) = (new_file, store.slots().map(exists)) {
            _ = std::fs::remove_file(file);
        }
        return Err(error.into());
    }
    let what = match &group {
        Some(group) => format!("added slot {name} to group {group}"),
        None => format!("added slot {name}, which opens the key store alone"),
    };
    context.printer.done(&what);
    if let Some(file) = new_file {
        context.printer.note(&format!(
            "its key is in {}; move it to another place, and check it there with `casemate keys slots test {name} --passphrase-file FILE`",
            file.display()
        ));
    }
    Ok(())
}

/// What a new slot is made from.
enum Made {
    Secret(StoreSecret),
    Recipient(KemPublicKey),
    Age(String),
}

impl Made {
    fn of(context: &Context<'_>, options: &AddSlot) -> Result<Self, Fault> {
        if let Some(file) = &options.random_key {
            return passphrase::random_key(Some(file), "--random-key").map(Self::Secret);
        }
        if let Some(file) = &options.recovery_key {
            return recovery_key(context, file).map(Self::Secret);
        }
        if let Some(named) = &options.to {
            return recipient(context, named).map(Self::Recipient);
        }
        if let Some(text) = &options.age {
            casemate_age::recipient_from_text(text)?;
            return Ok(Self::Age(text.clone()));
        }
        let secret = passphrase::new(options.new_passphrase_file.as_deref())?;
        secret.check_new()?;
        Ok(Self::Secret(secret))
    }

    fn new_slot<'a>(&'a self, keepers: &'a Keepers<'_>) -> Result<NewSlot<'a>, Fault> {
        Ok(match self {
            Self::Secret(secret) => NewSlot::Secret(secret, PassphraseCost::default()),
            Self::Recipient(key) => NewSlot::Recipient(key),
            Self::Age(recipient) => {
                let keeper = keepers
                    .all()
                    .find(|keeper| keeper.kind() == KeeperKind::Age);
                let missing = || Fault::not_built("age files", "age");
                NewSlot::Keeper(keeper.ok_or_else(missing)?, recipient)
            }
        })
    }
}

/// Makes a key pair for a slot and writes its private key to a new file.
fn recovery_key(context: &Context<'_>, path: &Path) -> Result<StoreSecret, Fault> {
    let suite = context.policy()?.kem_suites().first().copied();
    let nothing = || Fault::usage("the policy allows no suite of this kind");
    let suite = suite.ok_or_else(nothing)?;
    let key = PrivateKey::Kem(KemPrivateKey::generate(suite)?);
    let pem = key
        .to_pem()
        .map_err(|error| Fault::from_error(Outcome::Usage, error))?;
    file::write(path, pem.expose(), Access::Owner, Existing::Keep)
        .map_err(|error| Fault::file("write the recovery key to", path, error))?;
    match key {
        PrivateKey::Kem(key) => Ok(StoreSecret::Recipient(key)),
        PrivateKey::Sign(_) | PrivateKey::Http(_) => Err(StoreError::NotARecipient.into()),
    }
}

/// Returns a public key whose private half is not in this key store.
fn recipient(context: &Context<'_>, named: &str) -> Result<KemPublicKey, Fault> {
    let mut keyring = Keyring::new(context);
    if !matches!(
        named.parse()?,
        KeyReference::File(_) | KeyReference::Recipient(_)
    ) && keyring.entry(named)?.role == Role::Private
    {
        let message = format!("`{named}` is in the key store that the slot would open");
        return Err(Fault::usage(message)
            .hint("pass the public key of a pair that is kept elsewhere, or make one with --recovery-key FILE"));
    }
    let PublicKey::Kem(key) = keyring.public(named)? else {
        return Err(StoreError::NotARecipient.into());
    };
    context.policy()?.check_kem(key.suite())?;
    Ok(key)
}

const fn offline(option: OfflineOption) -> Offline {
    if option.without_offline_slot {
        Offline::Any
    } else {
        Offline::Required
    }
}

fn remove(context: &Context<'_>, name: &SlotName, option: OfflineOption) -> Result<(), Fault> {
    let mut store = context.key_store()?;
    let mut slots = store.slots()?.slots.into_iter();
    let group = slots
        .find(|slot| slot.name == *name)
        .and_then(|slot| slot.group);
    store.remove_slot(name, offline(option))?;
    context.printer.done(&format!("removed slot {name}"));
    let left = store.slots()?;
    let group = left
        .groups
        .iter()
        .find(|left| Some(&left.name) == group.as_ref());
    if let Some(group) = group {
        context.printer.note(&format!(
            "group {} now needs {} of its {} slots",
            group.name, group.threshold, group.members
        ));
    }
    if store.opened_through().contains(name) {
        context
            .printer
            .note("what you opened the key store with no longer opens it");
    }
    context.printer.note(
        "earlier copies of the key store still open with the slot; if others may have one, run `casemate keys passwd --compromised`",
    );
    Ok(())
}

fn group(
    context: &Context<'_>,
    name: &SlotName,
    threshold: u8,
    members: &[String],
    option: OfflineOption,
) -> Result<(), Fault> {
    let members: Vec<SlotName> = members
        .iter()
        .map(|member| member.parse())
        .collect::<Result<_, _>>()?;
    let mut store = context.key_store()?;
    let removed = store.set_group(name, threshold, &members, offline(option))?;
    context.printer.done(&format!(
        "any {threshold} of {} slots of group {name} open the key store",
        members.len()
    ));
    if !removed.is_empty() {
        let names: Vec<_> = removed.iter().map(SlotName::as_str).collect();
        context.printer.warning(&format!(
            "removed slots that left the group: {}; they still open earlier copies of the key store",
            names.join(", ")
        ));
    }
    let singles = store.slots()?.slots.into_iter();
    let singles: Vec<_> = singles
        .filter(|slot| slot.group.is_none())
        .map(|slot| slot.name.to_string())
        .collect();
    if !singles.is_empty() {
        let text = format!("these slots still open it alone: {}", singles.join(", "));
        context.printer.note(&text);
    }
    Ok(())
}

fn export(context: &Context<'_>, name: &SlotName, output: &Path) -> Result<(), Fault> {
    let mut slots = context.key_store()?.slots()?.slots.into_iter();
    let missing = || StoreError::NoSlot(name.to_string());
    let slot = slots.find(|slot| slot.name == *name).ok_or_else(missing)?;
    let is_age = slot.kind == KeeperKind::Age.as_str();
    let Some(file) = slot.wrapped.filter(|_| is_age) else {
        let message = format!("slot {name} has no age file: {} opens it", slot.kind);
        return Err(Fault::usage(message));
    };
    file::write(output, &file, Access::Umask, Existing::Keep)
        .map_err(|error| Fault::file("write", output, error))?;
    context.printer.done(&format!(
        "wrote {}; decrypt it with `age -d -i IDENTITY` to get a key file for --passphrase-file",
        output.display()
    ));
    Ok(())
}

fn test(context: &Context<'_>, names: &[String]) -> Result<(), Fault> {
    let (store, secrets) = context.key_store_and_secrets()?;
    let all = store.slots()?.slots.into_iter().map(|slot| slot.name);
    let wanted: Vec<SlotName> = if names.is_empty() {
        all.collect()
    } else {
        names
            .iter()
            .map(|name| name.parse())
            .collect::<Result<_, _>>()?
    };
    let keepers = Keepers::new(&secrets);
    let keepers: Vec<&dyn SlotKeeper> = keepers.all().collect();
    let openers = Openers {
        secrets: &secrets,
        keepers: &keepers,
    };
    let tested: Vec<_> = wanted
        .iter()
        .map(|name| (name, store.test_slot(name, openers)))
        .collect();
    let json: Vec<_> = tested
        .iter()
        .map(|(name, found)| {
            json!({ "name": name.as_str(), "opens": found.is_ok(), "why_not": found.as_ref().err().map(why_not) })
        })
        .collect();
    let lines: Vec<_> = tested
        .iter()
        .map(|(name, found)| match found {
            Ok(()) => format!("{name}: opens"),
            Err(error) => format!("{name}: {}", why_not(error)),
        })
        .collect();
    let json = json!({ "schema": "casemate.slots-test/1", "slots": json });
    context.printer.data(&json, &lines.join("\n"));
    // Without names, one slot must open, and what was given is not meant for the others.
    if names.is_empty() && tested.iter().any(|(_, found)| found.is_ok()) {
        return Ok(());
    }
    let failed = tested.into_iter().find_map(|(_, found)| found.err());
    failed.map_or(Ok(()), |error| Err(error.into()))
}

/// Says why a slot did not open, without its name.
fn why_not(error: &StoreError) -> String {
    match error {
        StoreError::SlotNotAsked(_) => "not tested: no secret was given for it".to_owned(),
        StoreError::SlotWrong(_) => "the given secret does not open it".to_owned(),
        other => other.to_string(),
    }
}
