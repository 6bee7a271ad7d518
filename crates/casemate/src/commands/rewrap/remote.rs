//! Changes the recipients of artifacts in an object store.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use casemate_crypto::encoding::KeyId;
use casemate_seal::{
    Artifact, Origin, RecipientRecord, file::Existing, folder::MANIFEST_NAME, new_tail,
};
use casemate_store::{
    Location, OBJECTS_MAX, RemoteFolder, RemoteObject, list_sealed, replace_tail,
};
use serde_json::{Value, json};

use super::{Rewrap, split, unencodable};
use crate::{
    fault::{Fault, Outcome},
    folder,
    keyring::Keyring,
    place,
    printer::count_text,
    progress, trust,
};

const NOT_CHECKED: &str = "it is not the object that was checked with its folder";

/// Returns the folder, if the object is its manifest.
fn folder_root(object: &Location) -> Option<Location> {
    let (_, name) = object.address().rsplit_once('/')?;
    (name == MANIFEST_NAME).then(|| object.above())
}

/// What is sealed below a prefix.
pub(super) struct Listed {
    pub(super) objects: Vec<Location>,
    pub(super) checked: CheckedFolders,
    /// Folders that were refused, with the reason.
    pub(super) refused: Vec<(String, Fault)>,
}

/// Folders whose artifacts were compared with their manifests.
#[derive(Default)]
pub(super) struct CheckedFolders {
    /// Prefixes of the addresses of the folders' artifacts.
    folders: Vec<String>,
    /// Roots of their artifacts, by address.
    roots: HashMap<String, Vec<u8>>,
}

impl CheckedFolders {
    /// Returns the root that an object must have; `None` if it is in no checked folder.
    ///
    /// Refuses an object in a checked folder that the check did not list: the store may answer two
    /// listings differently.
    pub(super) fn root_of(&self, address: &str) -> Result<Option<&[u8]>, Fault> {
        let root = self.roots.get(address).map(Vec::as_slice);
        let below_one = || self.folders.iter().any(|below| address.starts_with(below));
        if root.is_none() && below_one() {
            return Err(Fault::new(Outcome::CheckFailed, NOT_CHECKED));
        }
        Ok(root)
    }
}

/// The result of changing an object.
pub(super) struct RewrapResult {
    before: usize,
    after: usize,
    /// Whether anything had to be written.
    pub(super) written: bool,
}

impl Rewrap<'_> {
    /// Changes the object at an address, or everything sealed below it.
    pub(super) fn address(&self, keyring: &mut Keyring<'_>, address: &str) -> Result<Value, Fault> {
        let location = self.context.locate(address)?;
        if let Some(object) = place::object(&location)? {
            return self.one(keyring, &object);
        }
        self.below(keyring, &location)
    }

    fn one(&self, keyring: &mut Keyring<'_>, object: &RemoteObject) -> Result<Value, Fault> {
        let done = self.object(keyring, object, false, None)?;
        let address = object.location().address();
        let (before, after) = (done.before, done.after);
        if !self.options.dry_run {
            self.context.printer.done(&format!(
                "rewrapped {address}: {} before, {after} now",
                count_text(before, "recipient")
            ));
        }
        Ok(json!({
            "schema": self.schema("casemate.rewrapped/1", "casemate.rewrap-planned-object/1"),
            "artifact": address,
            "recipients_before": before,
            "recipients_after": after,
        }))
    }

    /// Changes every artifact below a prefix, and continues after an error. A second run does the
    /// rest.
    fn below(&self, keyring: &mut Keyring<'_>, prefix: &Location) -> Result<Value, Fault> {
        let address = prefix.address();
        let Listed {
            objects,
            checked,
            refused,
        } = self.listed(keyring, prefix)?;
        let mut refused: Vec<_> = refused.into_iter().map(|(address, _)| address).collect();
        let bar = progress::bar(objects.len() as u64, "rewrapping");
        let (mut changed, mut skipped) = (0_usize, 0_usize);
        for location in &objects {
            let done = RemoteObject::open(location)
                .map_err(|error| Fault::file("open", Path::new(location.address()), error))
                .and_then(|object| {
                    let expected = checked.root_of(location.address())?;
                    self.object(keyring, &object, true, expected)
                });
            match done {
                Ok(done) if done.written => changed = changed.saturating_add(1),
                Ok(_) => skipped = skipped.saturating_add(1),
                Err(fault) => {
                    self.warn(location.address(), &fault);
                    refused.push(location.address().to_owned());
                }
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        let verb = if self.options.dry_run {
            "would rewrap"
        } else {
            "rewrapped"
        };
        let text = format!(
            "{verb} {} below {address}/, {skipped} already up to date",
            count_text(changed, "object")
        );
        self.context.printer.done(&text);
        if !refused.is_empty() {
            let message = format!("{} objects or folders were not rewrapped", refused.len());
            return Err(Fault::new(Outcome::CheckFailed, message)
                .hint("the others are done; fix the errors above and run the command again"));
        }
        Ok(json!({
            "schema": self.schema("casemate.rewrapped-prefix/1", "casemate.rewrap-planned-prefix/1"),
            "prefix": address,
            "changed": changed,
            "skipped": skipped,
        }))
    }

    /// Lists what is sealed below a prefix, and checks its folders before the first change: an
    /// object that the store planted must not get a folder's new recipients.
    pub(super) fn listed(
        &self,
        keyring: &mut Keyring<'_>,
        prefix: &Location,
    ) -> Result<Listed, Fault> {
        let address = prefix.address();
        let mut objects = list_sealed(prefix, OBJECTS_MAX)
            .map_err(|error| Fault::file("list", Path::new(address), error))?;
        if objects.is_empty() {
            let message = format!("no sealed files or folders below {address}/");
            return Err(Fault::new(Outcome::CheckFailed, message));
        }
        let roots: Vec<_> = objects.iter().filter_map(folder_root).collect();
        // Without a slash the address means one folder, and its manifest lists its artifacts.
        if !prefix.is_prefix() && !roots.iter().any(|root| root.address() == address) {
            let message = format!("the store lists no manifest below {address}");
            return Err(Fault::new(Outcome::CheckFailed, message)
                .hint("end the address with a slash to rewrap everything sealed below it"));
        }
        let mut checked = CheckedFolders::default();
        let mut refused = Vec::new();
        for root in roots {
            let below = format!("{}/", root.address());
            match self.check_folder(keyring, &root) {
                Ok(artifacts) => {
                    checked.roots.extend(artifacts);
                    checked.folders.push(below);
                }
                Err(fault) => {
                    self.warn(root.address(), &fault);
                    objects.retain(|object| !object.address().starts_with(&below));
                    refused.push((root.address().to_owned(), fault));
                }
            }
        }
        Ok(Listed {
            objects,
            checked,
            refused,
        })
    }

    /// Returns the schema, which differs for a dry run so that no script mistakes a plan for a
    /// result.
    const fn schema(&self, done: &'static str, planned: &'static str) -> &'static str {
        if self.options.dry_run { planned } else { done }
    }

    pub(super) fn warn(&self, what: &str, fault: &Fault) {
        let mut text = format!("{what}: {fault}");
        for cause in fault.causes() {
            text.push_str(": ");
            text.push_str(&cause);
        }
        self.context.printer.warning(&text);
    }

    /// Opens a folder, compares every artifact with its manifest, and returns the artifacts'
    /// addresses and roots, so that only checked artifacts are changed later.
    fn check_folder(
        &self,
        keyring: &mut Keyring<'_>,
        root: &Location,
    ) -> Result<Vec<(String, Vec<u8>)>, Fault> {
        // Use the location, not the address: an object key may contain characters that an address
        // must escape.
        let place = RemoteFolder::new(root.clone(), Existing::Keep);
        let root = root.address();
        let owned = keyring.openers()?;
        let keys: Vec<_> = owned.iter().collect();
        let trusted_signers = self.options.trusted_signers();
        let folder = folder::open_folder(
            self.context,
            keyring,
            Box::new(place),
            &keys,
            trusted_signers,
        )?;
        let manifest = folder.artifact().root().to_vec();
        let mut artifacts = vec![(format!("{root}/{MANIFEST_NAME}"), manifest)];
        for entry in &folder.manifest().files {
            folder.read(entry)?;
            let below = entry.path.sealed();
            artifacts.push((format!("{root}/{}", below.display()), entry.root.clone()));
        }
        Ok(artifacts)
    }

    pub(super) fn object(
        &self,
        keyring: &mut Keyring<'_>,
        object: &RemoteObject,
        again: bool,
        expected: Option<&[u8]>,
    ) -> Result<RewrapResult, Fault> {
        let artifact = Artifact::read(object)?;
        if expected.is_some_and(|root| root != artifact.root()) {
            return Err(Fault::new(Outcome::CheckFailed, NOT_CHECKED));
        }
        let trusted_signers = self.options.trusted_signers();
        let signer = trust::expected_signer(self.context, keyring, &artifact, trusted_signers)?;
        let (kept, added) = split(self.context, &artifact, self.wanted, again)?;
        let present: HashSet<KeyId> = artifact.recipients().iter().map(|r| r.key).collect();
        let mut wanted: HashSet<KeyId> = kept.iter().copied().collect();
        for key in &added {
            wanted.insert(key.id().map_err(unencodable)?);
        }
        let before = present.len();
        let key = keyring.opener(&artifact);
        let origin = signer.as_ref().map_or(Origin::Unchecked, Origin::SignedBy);
        if again && present == wanted {
            // Only opening the artifact authenticates the list. Callers who removed their own key
            // can no longer do that.
            if let Ok(key) = &key {
                artifact.open(key, origin)?;
            }
            return Ok(RewrapResult {
                before,
                after: before,
                written: false,
            });
        }
        let key = key?;
        let owner = self.owner(&artifact)?;
        if self.options.dry_run {
            self.planned(object.location().address(), &artifact, &kept, &added)?;
            return Ok(RewrapResult {
                before,
                after: wanted.len(),
                written: true,
            });
        }
        let keep = |record: &RecipientRecord| kept.contains(&record.key);
        let list = self.list(owner.as_ref());
        let new = new_tail(&artifact, &key, origin, &keep, &added, list)?;
        replace_tail(object, &new)
            .map_err(|error| Fault::file("write", Path::new(object.location().address()), error))?;
        let own = key.public_key().id().map_err(unencodable)?;
        let address = object.location().address();
        self.record_if_inaccessible(address, &[own], &kept, &added);
        Ok(RewrapResult {
            before,
            after: new.after,
            written: true,
        })
    }
}
