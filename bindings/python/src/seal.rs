//! Seals files and folders.

use std::{
    collections::BTreeMap,
    fs::File,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use casemate_crypto::{kem::KemPublicKey, policy::Policy, signature::SigningKey};
use casemate_environment::Excluded;
use casemate_seal::{
    Private, ReadAt, SealOptions, SegmentSize,
    file::{Access, AtomicFile, Existing},
    folder::{FolderOptions, Links, Since, list_source},
};
use numpy::PyReadonlyArray1;
use pyo3::{exceptions::PyValueError, prelude::*};

use crate::{
    error::{from_environment, from_folder, from_seal},
    folder::Folder,
    keys::{PrivateKey, PublicKey, check},
    source::{Parts, with_path},
};

/// The content to seal: a path, or byte arrays to concatenate.
#[derive(FromPyObject)]
pub(crate) enum Input<'py> {
    Path(PathBuf),
    Parts(Vec<PyReadonlyArray1<'py, u8>>),
}

/// The options for sealing that both functions share.
struct SealParameters<'a> {
    recipients: Vec<&'a KemPublicKey>,
    policy: Policy,
    segment_size: SegmentSize,
    created: u64,
}

impl<'a> SealParameters<'a> {
    fn new(
        to: &'a [PyRef<'_, PublicKey>],
        sign: Option<&PyRef<'_, PrivateKey>>,
        segment_size: u64,
        policy: Option<&str>,
    ) -> PyResult<Self> {
        let recipients = to
            .iter()
            .map(|key| key.recipient())
            .collect::<PyResult<Vec<_>>>()?;
        let policy = casemate_environment::policy(policy).map_err(from_environment)?;
        let signer = sign.map(|key| key.signer()).transpose()?;
        check(&policy, &recipients, signer.map(SigningKey::verifying_key))?;
        let segment_size = SegmentSize::new(segment_size).map_err(|_| {
            PyValueError::new_err("segment_size must be a power of two from 65,536 to 16,777,216")
        })?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Ok(Self {
            recipients,
            policy,
            segment_size,
            created: now.map_or(0, |since| since.as_secs()),
        })
    }
}

/// Seal a file, or byte arrays, to `destination`, which appears complete or not at all. Returns the
/// artifact's id.
#[pyfunction]
#[pyo3(signature = (source, destination, to, sign, *, name, metadata, content_type, revision, segment_size, policy, force))]
#[expect(clippy::too_many_arguments, reason = "keywords of one Python function")]
pub(crate) fn seal(
    py: Python<'_>,
    source: Input<'_>,
    destination: PathBuf,
    to: Vec<PyRef<'_, PublicKey>>,
    sign: Option<PyRef<'_, PrivateKey>>,
    name: String,
    metadata: BTreeMap<String, String>,
    content_type: &str,
    revision: Option<u64>,
    segment_size: u64,
    policy: Option<&str>,
    force: bool,
) -> PyResult<String> {
    let wish = SealParameters::new(&to, sign.as_ref(), segment_size, policy)?;
    let signer = sign.as_ref().map(|key| key.signer()).transpose()?;
    let private = Private { name, metadata };
    let options = SealOptions {
        recipients: &wish.recipients,
        signer,
        segment_size: wish.segment_size,
        hash: wish.policy.hash(),
        created: wish.created,
        content_type,
        private: &private,
        revision,
        owner: None,
        public_part: &[],
        digest_content: false,
    };
    let existing = existing(force);
    let failed = |error| with_path(error, &destination);
    let target = AtomicFile::create(&destination, Access::Umask, existing).map_err(failed)?;
    let sealed = match &source {
        Input::Path(path) => {
            let file = File::open(path).map_err(|error| with_path(error, path))?;
            run(py, &file, &target, &options)?
        }
        Input::Parts(arrays) => {
            let slices = arrays
                .iter()
                .map(|array| array.as_slice())
                .collect::<Result<Vec<_>, _>>()
                .map_err(|_| PyValueError::new_err("an array is not contiguous"))?;
            run(py, &Parts::new(slices), &target, &options)?
        }
    };
    py.detach(|| target.commit(existing)).map_err(failed)?;
    Ok(sealed)
}

fn run(
    py: Python<'_>,
    source: &impl ReadAt,
    target: &AtomicFile,
    options: &SealOptions<'_>,
) -> PyResult<String> {
    let sealed = py.detach(|| casemate_seal::seal(source, target.file(), options, &|_| ()));
    Ok(sealed.map_err(from_seal)?.id.to_string())
}

/// Seal a folder. Returns its id, its revision, the number of files, the number of artifacts
/// reused from the previous version, and the root of the manifest's artifact.
#[pyfunction]
#[pyo3(signature = (source, destination, to, sign, *, segment_size, policy, follow_links, patterns, exclude, since, force))]
#[expect(clippy::too_many_arguments, reason = "keywords of one Python function")]
pub(crate) fn seal_folder(
    py: Python<'_>,
    source: PathBuf,
    destination: PathBuf,
    to: Vec<PyRef<'_, PublicKey>>,
    sign: Option<PyRef<'_, PrivateKey>>,
    segment_size: u64,
    policy: Option<&str>,
    follow_links: bool,
    patterns: Vec<String>,
    exclude: Option<Bound<'_, PyAny>>,
    since: Option<PyRef<'_, Folder>>,
    force: bool,
) -> PyResult<(String, u64, usize, usize, String)> {
    let wish = SealParameters::new(&to, sign.as_ref(), segment_size, policy)?;
    let signer = sign.as_ref().map(|key| key.signer()).transpose()?;
    let links = if follow_links {
        Links::Follow
    } else {
        Links::Refuse
    };
    let mut failed = None;
    let excluded = std::cell::RefCell::new(&mut failed);
    let ignored = Excluded::read(&source, &patterns).map_err(from_environment)?;
    let files = list_source(&source, links, &|path, is_dir| {
        if ignored.contains(path, is_dir) {
            return false;
        }
        let Some(exclude) = &exclude else {
            return true;
        };
        let asked = exclude
            .call1((path.to_path_buf(), is_dir))
            .and_then(|answer| answer.is_truthy());
        match asked {
            Ok(leave_out) => !leave_out,
            Err(error) => {
                excluded.borrow_mut().get_or_insert(error);
                true
            }
        }
    });
    if let Some(error) = failed {
        return Err(error);
    }
    let files = files.map_err(from_folder)?;
    let before = since.as_ref().map(|before| before.opened());
    let options = FolderOptions {
        owner: None,
        expires: None,
        recipients: &wish.recipients,
        signer,
        segment_size: wish.segment_size,
        hash: wish.policy.hash(),
        created: wish.created,
        content_type: |_| "application/octet-stream",
        since: before.as_ref().map(|(folder, keys)| Since { folder, keys }),
    };
    let sealed = py
        .detach(|| {
            casemate_seal::folder::seal_folder(
                &files,
                &destination,
                existing(force),
                &options,
                &|_| (),
            )
        })
        .map_err(from_folder)?;
    let manifest = sealed.manifest;
    Ok((
        manifest.id.to_string(),
        manifest.revision,
        manifest.files.len(),
        sealed.unchanged,
        hex::encode(&sealed.root),
    ))
}

const fn existing(force: bool) -> Existing {
    if force {
        Existing::Replace
    } else {
        Existing::Keep
    }
}
