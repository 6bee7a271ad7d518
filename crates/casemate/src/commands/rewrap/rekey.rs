//! `casemate rewrap --rekey`: re-seals the same content with a new key.

use std::{fs, path::Path};

use casemate_crypto::{
    encoding::KeyId,
    kem::KemPublicKey,
    signature::{SigningKey, VerifyingKey},
};
use casemate_gateway::unix_seconds;
use casemate_seal::{
    Artifact, Origin,
    file::{self, Access, AtomicFile, Existing},
    folder::{
        LocalFolder, RekeyOptions, StagedFolder, check_sealed_replaceable, is_sealed_folder,
        rekey_folder,
    },
    seal,
};
use serde_json::{Value, json};

use super::Rewrap;
use crate::{
    args::RewrapOptions,
    fault::{Fault, Outcome},
    folder,
    keyring::Keyring,
    printer::{count_text, path_text},
    progress, seen, trust,
};

/// Returns the publisher's key, if the artifact has a publisher.
fn publisher_key(
    keyring: &mut Keyring<'_>,
    options: &RewrapOptions,
    publisher: Option<KeyId>,
) -> Result<Option<SigningKey>, Fault> {
    let key = options
        .sign
        .as_deref()
        .map(|named| keyring.signer(named))
        .transpose()?;
    let id = key.as_ref().map(|key| key.verifying_key().id());
    match (publisher, id.transpose()?) {
        (None, None) => Ok(None),
        (Some(publisher), Some(id)) if publisher == id => Ok(key),
        (Some(publisher), _) => {
            let message = format!("only the artifact's publisher, key {publisher}, can re-seal it");
            Err(Fault::new(Outcome::NotPermitted, message).hint("pass that key with --sign"))
        }
        (None, Some(_)) => Err(Fault::usage(
            "--sign does not apply: the artifact has no publisher",
        )
        .hint("leave out --sign, or open the content and seal it with `casemate seal --sign`")),
    }
}

impl Rewrap<'_> {
    pub(super) fn rekey_file(
        &self,
        keyring: &mut Keyring<'_>,
        input: &Path,
    ) -> Result<Value, Fault> {
        // Re-seal the target of a link instead of replacing the link.
        let input = &fs::canonicalize(input).map_err(|error| Fault::file("open", input, error))?;
        refuse_part_of_a_folder(input)?;
        let failed = |what, error| Fault::file(what, input, error);
        // Lock out other rewraps.
        let held = file::open_exclusive(input).map_err(|error| failed("change", error))?;
        let artifact = Artifact::read(&held)?;
        let trusted_signers = self.options.trusted_signers();
        let expected = trust::expected_signer(self.context, keyring, &artifact, trusted_signers)?;
        let key = keyring.opener(&artifact)?;
        let publisher = publisher_key(keyring, self.options, artifact.header().publisher())?;
        let owner = self.owner(&artifact)?;
        // Re-sign only content whose signature by the publisher verifies.
        let signer = publisher
            .as_ref()
            .map(SigningKey::verifying_key)
            .or(expected.as_ref());
        let origin = signer.map_or(Origin::Unchecked, Origin::SignedBy);
        let opened = artifact.open(&key, origin)?;
        let recipients: Vec<_> = self.wanted.added.iter().collect();
        let rekey = self.rekey(&recipients, publisher.as_ref(), owner.as_ref());
        let sealing = rekey.sealing(&opened)?;
        let bar = progress::bar(opened.content_len(), "re-sealing");
        let target = AtomicFile::create(input, Access::Umask, Existing::Replace)
            .map_err(|error| failed("write", error))?;
        let sealed = seal(&opened, target.file(), &sealing, &|bytes| bar.inc(bytes))?;
        let mode = held.metadata().map(|found| found.permissions());
        mode.and_then(|mode| target.file().set_permissions(mode))
            .and_then(|()| target.commit(Existing::Replace))
            .map_err(|error| failed("write", error))?;
        bar.finish_and_clear();
        self.report_rekeyed(input, &[key.public_key().id()?], &recipients);
        Ok(json!({
            "schema": "casemate.rekeyed/1",
            "artifact": path_text(input),
            "id_before": artifact.header().id().to_string(),
            "id": sealed.id.to_string(),
            "revision": sealing.revision,
            "recipients": recipients.len(),
        }))
    }

    pub(super) fn rekey_folder(
        &self,
        keyring: &mut Keyring<'_>,
        input: &Path,
    ) -> Result<Value, Fault> {
        let (context, trusted_signers) = (self.context, self.options.trusted_signers());
        let input = &fs::canonicalize(input).map_err(|error| Fault::file("open", input, error))?;
        let owned = keyring.openers()?;
        let keys: Vec<_> = owned.iter().collect();
        let place = LocalFolder::open(input).map_err(|error| Fault::file("open", input, error))?;
        let folder =
            folder::open_folder(context, keyring, Box::new(place), &keys, trusted_signers)?;
        let publisher = publisher_key(
            keyring,
            self.options,
            folder.artifact().header().publisher(),
        )?;
        if let Some(key) = &publisher {
            folder.artifact().verify_signature(key.verifying_key())?;
        }
        let place = input.display().to_string();
        folder::check_not_older(context, &folder, trusted_signers, &place, None)?;
        let owner = self.owner(folder.artifact())?;
        let recipients: Vec<_> = self.wanted.added.iter().collect();
        let rekey = self.rekey(&recipients, publisher.as_ref(), owner.as_ref());
        let bar = progress::bar(folder.manifest().content_len(), "re-sealing");
        let replaceable = &check_sealed_replaceable;
        let stage = StagedFolder::create(input, Access::Umask, Existing::Replace, replaceable)?;
        let sealed = rekey_folder(&folder, &keys, &stage, &rekey, &|bytes| bar.inc(bytes))?;
        stage.commit(input, Existing::Replace, replaceable)?;
        seen::record(context, publisher.as_ref(), &sealed, &place)?;
        bar.finish_and_clear();
        let own: Result<Vec<_>, _> = keys.iter().map(|key| key.public_key().id()).collect();
        self.report_rekeyed(input, &own?, &recipients);
        Ok(json!({
            "schema": "casemate.rekeyed-folder/1",
            "folder": path_text(input),
            "id": sealed.manifest.id.to_string(),
            "revision": sealed.manifest.revision,
            "files": sealed.manifest.files.len(),
            "recipients": recipients.len(),
        }))
    }

    fn rekey<'k>(
        &'k self,
        recipients: &'k [&'k KemPublicKey],
        signer: Option<&'k SigningKey>,
        owner: Option<&'k VerifyingKey>,
    ) -> RekeyOptions<'k> {
        RekeyOptions {
            recipients,
            signer,
            owner: self.list(owner),
            created: unix_seconds(),
        }
    }

    fn report_rekeyed(&self, input: &Path, own: &[KeyId], recipients: &[&KemPublicKey]) {
        let shown = input.display().to_string();
        let count = count_text(recipients.len(), "recipient");
        let printer = &self.context.printer;
        printer.done(&format!("re-sealed {shown} with a new key for {count}"));
        printer.note(
            "old copies still open with the old key, and former recipients may have kept the plaintext",
        );
        self.record_if_inaccessible(&shown, own, &[], recipients);
    }
}

/// Refuses a file inside a sealed folder: it must stay the artifact that the manifest lists.
fn refuse_part_of_a_folder(input: &Path) -> Result<(), Fault> {
    let mut above = input.ancestors().skip(1);
    let Some(folder) = above.find(|folder| is_sealed_folder(folder)) else {
        return Ok(());
    };
    let message = format!("{} is part of a sealed folder", input.display());
    Err(Fault::usage(message).hint(format!("re-seal the whole folder: {}", folder.display())))
}
