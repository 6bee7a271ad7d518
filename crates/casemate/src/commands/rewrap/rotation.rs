//! `casemate keys rewrap`: rewraps everything that is sealed to older versions of a key.

mod tally;
mod walk;

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs::File,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use casemate_crypto::{
    encoding::KeyId,
    kem::{KemPrivateKey, KemPublicKey},
    policy::Policy,
};
use casemate_gateway::unix_seconds;
use casemate_keys::{KeyName, Role, Usage, VersionNumber};
use casemate_seal::{
    Artifact, Origin, ReadAt, RecipientRecord,
    file::{self, Access},
    folder::{LocalFolder, read_manifest, unfinished_rewrap},
};
use casemate_statement::Rotation;
use casemate_store::{Location, RemoteObject};

use super::{RequestedRecipients, Rewrap};
use crate::{
    args::{KeyRewrapOptions, RewrapOptions},
    context::Context,
    fault::{Fault, Outcome},
    keyring::Keyring,
    output::existing,
    owner::RecipientListKey,
    place::{self, Place},
    progress,
};
use tally::Tally;
use walk::{Unit, walk};

/// The versions of a key that is rotated.
pub(super) struct RotatedKey {
    pub(super) name: KeyName,
    versions: BTreeMap<KeyId, VersionNumber>,
    /// The version that everything is to be sealed to.
    active: (KeyId, VersionNumber),
    /// Its private key.
    key: KemPrivateKey,
}

/// What an artifact is sealed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SealedTo {
    /// No version of the key.
    Other,
    /// The active version and no lower one.
    Active,
    /// A lower version.
    Lower(VersionNumber),
}

impl RotatedKey {
    /// Returns what these recipients say that an artifact is sealed to. Nothing proves it yet.
    fn sealed_to<'r>(&self, recipients: impl Iterator<Item = &'r RecipientRecord>) -> SealedTo {
        let versions = recipients.filter_map(|record| self.versions.get(&record.key));
        let versions: Vec<_> = versions.copied().collect();
        match versions.iter().find(|version| **version != self.active.1) {
            Some(other) => SealedTo::Lower(*other),
            None if versions.is_empty() => SealedTo::Other,
            None => SealedTo::Active,
        }
    }

    fn is_lower(&self, key: KeyId) -> bool {
        let version = self.versions.get(&key);
        version.is_some_and(|version| *version != self.active.1)
    }

    /// Returns the recipients to keep and to add: the active version takes the place of lower ones.
    pub(super) fn split<'w>(
        &self,
        policy: &Policy,
        present: &[RecipientRecord],
        active: &'w [KemPublicKey],
    ) -> Result<(Vec<KeyId>, Vec<&'w KemPublicKey>), Fault> {
        let mut kept = Vec::new();
        for record in present.iter().filter(|record| !self.is_lower(record.key)) {
            policy.check_kem(record.suite)?;
            kept.push(record.key);
        }
        let has_lower = kept.len() < present.len();
        let is_added = has_lower && !kept.contains(&self.active.0);
        Ok((kept, active.iter().filter(|_| is_added).collect()))
    }
}

pub(crate) fn run(context: &Context<'_>, options: &KeyRewrapOptions) -> Result<(), Fault> {
    if let Some(path) = options.statement.as_deref().filter(|_| !options.force)
        && path.symlink_metadata().is_ok()
    {
        let message = format!("{} already exists", path.display());
        return Err(Fault::usage(message).hint("pass --force to replace it"));
    }
    let mut keyring = Keyring::new(context);
    let named = options.sign.as_deref();
    keyring.reserve(named, Usage { uses: 1, bytes: 0 })?;
    let signer = named.map(|named| keyring.signer(named)).transpose()?;
    let rotated = versions(&mut keyring, options.key.parse()?)?;
    if !options.dry_run {
        keyring.store()?.unbind(&rotated.name, &options.forget)?;
    }
    let active = keyring.recipient(&format!("{}@{}", rotated.name, rotated.active.1))?;
    let rewrapping = rewrap_options(options);
    let wanted = RequestedRecipients {
        keep: true,
        added: vec![active],
        removed: Vec::new(),
        list: RecipientListKey::named(&mut keyring, &rewrapping)?,
        rotated: Some(rotated),
    };
    let Some(rotated) = &wanted.rotated else {
        return Err(Fault::usage("the key has no versions"));
    };
    let lost = RefCell::default();
    let change = Rewrap {
        context,
        options: &rewrapping,
        wanted: &wanted,
        lost: &lost,
        reports: false,
    };
    let mut tally = Tally::new(rotated.active.1, options.dry_run);
    for place in &options.places {
        let mut visit = Visit {
            change: &change,
            rotated,
            keyring: &mut keyring,
            tally: &mut tally,
        };
        match place {
            Place::Local(path) => visit.local(path),
            Place::Remote(address) => visit.remote(address),
        }
        tally.save(keyring.store()?, &rotated.name)?;
    }
    tally.add_unvisited(keyring.store()?, &rotated.name, &is_gone)?;
    let statement = Rotation {
        name: rotated.name.to_string(),
        key: rotated.active.0,
        version: u64::from(rotated.active.1),
        finished: unix_seconds(),
        places: tally.places,
        unreachable_count: tally.unreachable.len() as u64,
        unreachable: tally.unreachable,
    };
    if let (Some(signer), Some(path)) = (&signer, &options.statement) {
        let signed = statement.sign(signer)?;
        file::write(path, &signed, Access::Umask, existing(options.force))
            .map_err(|error| Fault::file("write", path, error))?;
    }
    tally::report(context, options, &statement, &tally.missed)
}

/// Reads the versions of a key of this store.
fn versions(keyring: &mut Keyring<'_>, name: KeyName) -> Result<RotatedKey, Fault> {
    let unknown = || Fault::usage(format!("the key store has no key `{name}`"));
    let versions = keyring.store()?.versions(&name)?.ok_or_else(unknown)?;
    let active = versions.active().ok_or_else(|| {
        Fault::usage(format!("`{name}` has no active version")).hint(
            "activate one with `casemate keys activate`, or make one with `casemate keys rotate`",
        )
    })?;
    if active.role != Role::Private {
        let message =
            format!("`{name}` is a public key; only its holder can rewrap to a new version");
        return Err(Fault::usage(message));
    }
    let active = (active.key, active.number);
    let key = keyring.kem(&format!("{name}@{}", active.1))?;
    Ok(RotatedKey {
        versions: versions
            .versions
            .iter()
            .map(|version| (version.key, version.number))
            .collect(),
        active,
        key,
        name,
    })
}

fn rewrap_options(options: &KeyRewrapOptions) -> RewrapOptions {
    RewrapOptions {
        inputs: Vec::new(),
        to: Vec::new(),
        add: Vec::new(),
        remove: Vec::new(),
        dry_run: false,
        rekey: false,
        sign: None,
        owner: options.owner.clone(),
        delegate: None,
        epoch: None,
        min_epoch: None,
        delegation: None,
        trust: options.trust.clone(),
        allow_unknown_signer: options.allow_unknown_signer,
    }
}

/// Looks at one place.
struct Visit<'a, 'k> {
    change: &'a Rewrap<'a>,
    rotated: &'a RotatedKey,
    keyring: &'a mut Keyring<'k>,
    tally: &'a mut Tally,
}

impl Visit<'_, '_> {
    /// Looks at a path: an artifact, a sealed folder, or a folder with such below it.
    fn local(&mut self, path: &Path) {
        // Bindings must mean the same from every working directory.
        let absolute = match std::fs::canonicalize(path) {
            Ok(absolute) => absolute,
            Err(error) => {
                self.tally.begin(&path.to_string_lossy());
                let fault = Fault::file("open", path, error);
                return self.tally.fail(&path.to_string_lossy(), &fault);
            }
        };
        self.tally.begin(&absolute.to_string_lossy());
        let found = walk(&absolute);
        for (place, error) in found.missed {
            let fault = Fault::file("read", &place, error);
            self.tally.fail(&place.to_string_lossy(), &fault);
        }
        let bar = progress::bar(found.units.len() as u64, "rewrapping");
        for unit in found.units {
            let place = unit.path().to_string_lossy().into_owned();
            match self.unit(&unit) {
                Ok((before, artifacts)) => self.tally.count(&place, before, artifacts),
                Err(fault) => self.tally.fail(&place, &fault),
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
    }

    const fn is_dry(&self) -> bool {
        self.tally.is_dry
    }

    /// Rewraps an artifact or a folder if it is sealed to a lower version. Returns what it was
    /// sealed to, and how many artifacts it has.
    fn unit(&mut self, unit: &Unit) -> Result<(SealedTo, u64), Fault> {
        match unit {
            Unit::Artifact(path) => {
                let before = self.artifact(path)?;
                if matches!(before, SealedTo::Lower(_)) && !self.is_dry() {
                    self.change.file(self.keyring, path)?;
                }
                Ok((before, 1))
            }
            Unit::Folder { path, files } => {
                let before = self.folder(path, files)?;
                if matches!(before, SealedTo::Lower(_)) && !self.is_dry() {
                    self.change.folder(self.keyring, path)?;
                }
                Ok((before, (files.len() as u64).saturating_add(1)))
            }
        }
    }

    /// Returns what an artifact is sealed to. The lock keeps other rewraps from changing it while
    /// it is read; one that cannot be locked cannot be changed either.
    fn artifact(&self, path: &Path) -> Result<SealedTo, Fault> {
        let source = file::open_exclusive(path)
            .or_else(|_| File::open(path))
            .map_err(|error| Fault::file("open", path, error))?;
        self.proven(&Artifact::read(&source)?)
    }

    /// Returns what an artifact is sealed to. That it is sealed to the active version is proven by
    /// opening it: whoever stores it can write any recipients into it.
    fn proven<R: ReadAt>(&self, artifact: &Artifact<R>) -> Result<SealedTo, Fault> {
        let found = self.rotated.sealed_to(artifact.recipients().iter());
        if found == SealedTo::Active {
            artifact.open(&self.rotated.key, Origin::Unchecked)?;
        }
        Ok(found)
    }

    /// Returns what a folder is sealed to: its manifest and every file in it. A file that the
    /// manifest does not list is refused, because nothing rewraps it.
    fn folder(&self, path: &Path, files: &[PathBuf]) -> Result<SealedTo, Fault> {
        let place = LocalFolder::open(path).map_err(|error| Fault::file("open", path, error))?;
        let manifest = read_manifest(&place)?;
        let found = self.proven(&manifest)?;
        drop(manifest);
        let mut lowest = found;
        for file in files {
            match (self.artifact(file)?, lowest) {
                (SealedTo::Lower(version), _) => lowest = SealedTo::Lower(version),
                (SealedTo::Other, SealedTo::Active) => {
                    let message = format!(
                        "{} is not sealed to the key that its folder is sealed to",
                        file.display()
                    );
                    return Err(Fault::new(Outcome::CheckFailed, message));
                }
                _ => {}
            }
        }
        if let (SealedTo::Active, SealedTo::Lower(_)) = (found, lowest) {
            // A rewrap that was interrupted is finished; anything else is not a file of this
            // folder.
            let place =
                LocalFolder::open(path).map_err(|error| Fault::file("open", path, error))?;
            if !matches!(unfinished_rewrap(&place), Ok(Some(_))) {
                let message = "a file in it is sealed to an older version than its manifest, and may be an older file";
                return Err(Fault::new(Outcome::CheckFailed, message)
                    .hint("verify the folder with `casemate verify`, and replace the file"));
            }
        }
        Ok(lowest)
    }

    /// Looks at an address: an object, a folder, or a prefix.
    fn remote(&mut self, address: &str) {
        self.tally.begin(address);
        if let Err(fault) = self.below(address) {
            self.tally.fail(address, &fault);
        }
    }

    fn below(&mut self, address: &str) -> Result<(), Fault> {
        let location = self.change.context.locate(address)?;
        if let Some(object) = place::object(&location)? {
            let before = self.object(&object, None)?;
            self.tally.count(address, before, 1);
            return Ok(());
        }
        let listed = self.change.listed(self.keyring, &location)?;
        for (place, fault) in &listed.refused {
            self.tally.fail(place, fault);
        }
        let bar = progress::bar(listed.objects.len() as u64, "rewrapping");
        for object in &listed.objects {
            let done = open(object).and_then(|opened| {
                let expected = listed.checked.root_of(object.address())?;
                self.object(&opened, expected)
            });
            match done {
                Ok(before) => self.tally.count(object.address(), before, 1),
                Err(fault) => self.tally.fail(object.address(), &fault),
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(())
    }

    fn object(
        &mut self,
        object: &RemoteObject,
        expected: Option<&[u8]>,
    ) -> Result<SealedTo, Fault> {
        let before = self.proven(&Artifact::read(object)?)?;
        if matches!(before, SealedTo::Lower(_)) && !self.is_dry() {
            self.change.object(self.keyring, object, true, expected)?;
        }
        Ok(before)
    }
}

fn open(location: &Location) -> Result<RemoteObject, Fault> {
    RemoteObject::open(location)
        .map_err(|error| Fault::file("open", Path::new(location.address()), error))
}

/// Returns the error of a rotation that is not complete.
fn incomplete(statement: &Rotation) -> Fault {
    let missed = statement.unreachable_count;
    let message = match (statement.below(), missed) {
        (0, missed) => format!("{missed} could not be read or rewrapped (listed above)"),
        (below, 0) => format!("{below} are still sealed to older versions"),
        (below, missed) => format!(
            "{below} are still sealed to older versions, and {missed} could not be read or rewrapped (listed above)"
        ),
    };
    Fault::new(
        Outcome::CheckFailed,
        format!("the rotation is not complete: {message}"),
    )
    .hint("fix what is listed above and run the command again; it skips what is done")
}

/// Returns whether a place that was looked at certainly has nothing any longer: the folder that it
/// was in is there and has other entries. An empty folder may be one where nothing is mounted.
fn is_gone(place: &str) -> bool {
    let path = Path::new(place);
    let is_absent = path.is_absolute()
        && std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound);
    let folder = path
        .parent()
        .and_then(|folder| std::fs::read_dir(folder).ok());
    is_absent && folder.is_some_and(|mut entries| entries.next().is_some())
}
