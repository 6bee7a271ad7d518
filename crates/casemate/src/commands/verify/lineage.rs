//! `casemate verify --lineage`.

use std::path::Path;

use casemate_crypto::kem::KemPrivateKey;
use casemate_seal::{
    Artifact, OpenError, Origin, Source,
    folder::{FolderSource, SealedFolder, is_sealed_folder, read_manifest},
};
use serde_json::{Value, json};

use crate::{
    args::VerifyOptions,
    context::Context,
    fault::{Fault, Outcome},
    lineage::{self, BYTES_MAX, Lineage, NAME, Reference, digest_of},
    place::{Place, Sealed},
    progress,
};

/// What a verified model came from, and which of it was compared with what is there now.
pub(super) struct Report {
    lineage: Lineage,
    /// For each source, the place that holds it.
    found: Vec<Option<String>>,
}

/// Reads the statement of a verified folder, and checks the sources that were given.
pub(super) fn check(
    context: &Context<'_>,
    options: &VerifyOptions,
    sealed: &SealedFolder,
    keys: &[&KemPrivateKey],
) -> Result<Report, Fault> {
    let entry = sealed.manifest().find(NAME).ok_or_else(|| {
        let text = format!("{} does not say what it came from", options.input);
        Fault::new(Outcome::CheckFailed, text).hint(format!(
            "whoever seals it adds {NAME}, as casemate.lineage in Python does"
        ))
    })?;
    let content = sealed
        .open_file(entry, keys)?
        .read_all(BYTES_MAX, &|_| ())?;
    let lineage = Lineage::decode(&content)?;
    let mut found = vec![None; lineage.sources.len()];
    for place in &options.sources {
        let at = check_source(context, place, &lineage, keys)?;
        if let Some(slot) = found.get_mut(at) {
            *slot = Some(place.to_text());
        }
    }
    Ok(Report { lineage, found })
}

/// Returns which source a place holds, entirely and unchanged.
fn check_source(
    context: &Context<'_>,
    place: &Place,
    lineage: &Lineage,
    keys: &[&KemPrivateKey],
) -> Result<usize, Fault> {
    let there = There::open(context, place, keys)?;
    let wanted = lineage.sources.iter().map(lineage::Origin::reference);
    let wanted = wanted.collect::<Result<Vec<_>, _>>()?;
    let reference = there.reference();
    let Some(at) = wanted.iter().position(|one| *one == reference) else {
        return Err(other(place, &reference, lineage, &wanted));
    };
    there.verify(keys)?;
    Ok(at)
}

/// The fault of a place that is not among the sources.
fn other(place: &Place, found: &Reference, lineage: &Lineage, wanted: &[Reference]) -> Fault {
    let same = |one: &&Reference| one.id().is_some() && one.id() == found.id();
    let named = wanted.iter().position(|one| same(&one));
    let origin = named.and_then(|at| lineage.sources.get(at).zip(wanted.get(at)));
    let text = match origin {
        Some((origin, wanted)) => format!(
            "{place} is not what the model was trained on: {} `{}` was {wanted}; found {found}",
            origin.role, origin.name
        ),
        None => format!("{place} is not among the sources of the model: found {found}"),
    };
    let fault = Fault::new(Outcome::CheckFailed, text);
    match found {
        Reference::Files { .. } => fault.hint(
            "the digest covers every file: compare a clean checkout, without files such as __pycache__",
        ),
        _ => fault,
    }
}

/// What is in a place now.
enum There {
    Folder(SealedFolder),
    File(Artifact<Source>),
    Plain(String),
}

impl There {
    fn open(context: &Context<'_>, place: &Place, keys: &[&KemPrivateKey]) -> Result<Self, Fault> {
        if let Place::Local(path) = place
            && !is_sealed_folder(path)
            && !path.is_file()
        {
            return plain(path);
        }
        match context.sealed(place)? {
            Sealed::Folder(folder) => Self::folder(folder, keys),
            Sealed::File(source) => match (Artifact::read(source), place) {
                (Ok(artifact), _) => Ok(Self::File(artifact)),
                (Err(OpenError::NoFooter), Place::Local(path)) => plain(path),
                (Err(error), _) => Err(error.into()),
            },
        }
    }

    fn folder(folder: Box<dyn FolderSource>, keys: &[&KemPrivateKey]) -> Result<Self, Fault> {
        let artifact = read_manifest(&*folder)?;
        // Its root is compared with one in a verified statement.
        let sealed = SealedFolder::open(folder, artifact, keys, Origin::Unchecked)?;
        Ok(Self::Folder(sealed))
    }

    fn reference(&self) -> Reference {
        match self {
            Self::Folder(sealed) => Reference::Folder {
                id: sealed.manifest().id.to_string(),
                revision: sealed.manifest().revision,
                root: hex::encode(sealed.artifact().root()),
            },
            Self::File(artifact) => Reference::Artifact {
                id: artifact.header().id().to_string(),
                root: hex::encode(artifact.root()),
            },
            Self::Plain(sha384) => Reference::Files {
                sha384: sha384.clone(),
            },
        }
    }

    /// Checks every segment.
    fn verify(self, keys: &[&KemPrivateKey]) -> Result<(), Fault> {
        match self {
            Self::Folder(sealed) => {
                let bar = progress::bar(sealed.manifest().content_len(), "verifying a source");
                sealed.verify_files(keys, &|bytes| bar.inc(bytes))?;
                bar.finish_and_clear();
            }
            Self::File(artifact) => {
                let bar = progress::bar(artifact.header().content_len(), "verifying a source");
                artifact.verify_segments(&|bytes| bar.inc(bytes))?;
                bar.finish_and_clear();
            }
            Self::Plain(_) => (),
        }
        Ok(())
    }
}

fn plain(path: &Path) -> Result<There, Fault> {
    digest_of(path).map(There::Plain)
}

impl Report {
    pub(super) fn json(&self) -> Result<Value, Fault> {
        let source = |(origin, found): (&lineage::Origin, &Option<String>)| {
            let reference = origin.reference()?;
            Ok(json!({
                "role": origin.role,
                "name": origin.name,
                "reference": reference.to_string(),
                "verified": found,
            }))
        };
        let sources = self.lineage.sources.iter().zip(&self.found).map(source);
        let sources = sources.collect::<Result<Vec<_>, Fault>>()?;
        let parent = self
            .lineage
            .parent
            .as_ref()
            .map(lineage::FolderReference::reference);
        let parent = parent.transpose()?.map(|parent| parent.to_string());
        Ok(json!({ "step": self.lineage.step, "parent": parent, "sources": sources }))
    }

    pub(super) fn text(&self) -> Result<String, Fault> {
        let mut lines = Vec::new();
        if let Some(step) = self.lineage.step {
            lines.push(format!("step {step}"));
        }
        if let Some(parent) = &self.lineage.parent {
            lines.push(format!("went on from {}", parent.reference()?));
        }
        for (origin, found) in self.lineage.sources.iter().zip(&self.found) {
            let checked = match found {
                Some(place) => format!("verified in {place}"),
                None => "as stated; compare it with --source".to_owned(),
            };
            let reference = origin.reference()?;
            lines.push(format!(
                "{} `{}`: {reference} ({checked})",
                origin.role, origin.name
            ));
        }
        if self.lineage.sources.is_empty() {
            lines.push("no sources are stated".to_owned());
        }
        Ok(lines.join("\n"))
    }
}
