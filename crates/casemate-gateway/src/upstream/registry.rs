//! Models opened from sealed artifacts into memory.

use std::{collections::BTreeMap, error::Error, fmt, fs::File, io, path::PathBuf};

use casemate_crypto::{kem::KemPrivateKey, signature::VerifyingKey};
use casemate_onnx::{Model, ModelError, NamedTensor};
use casemate_seal::{Artifact, OpenError, Origin, file};

use super::{answer::Failure, inference::Turn, numbers::not_finite};

/// Maximum length of a model that is opened into memory, in bytes.
const MODEL_BYTES_MAX: u64 = 8 << 30;

/// Why a model could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The artifact cannot be read.
    #[error("cannot open {path}")]
    File {
        /// The artifact.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The path is a folder, so it is unclear which file is the model.
    #[error("{0} is a folder; a served model must be a single sealed file")]
    Folder(PathBuf),
    /// The artifact was refused.
    #[error("cannot open the artifact {path}")]
    Artifact {
        /// The artifact.
        path: PathBuf,
        /// The cause.
        #[source]
        source: OpenError,
    },
    /// A key that signed it is no longer valid.
    #[error("cannot use the artifact {path}")]
    Withdrawn {
        /// The artifact.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The content is not a supported model.
    #[error("cannot load the model in {path}")]
    Model {
        /// The artifact.
        path: PathBuf,
        /// The cause.
        #[source]
        source: ModelError,
    },
    /// The crate was built without the feature `onnx`.
    #[error("this build has no ONNX engine")]
    NotBuilt,
    /// Two models have the same name.
    #[error("two models are named `{0}`")]
    NameTaken(String),
    /// There are no models to serve.
    #[error("no model is configured")]
    Empty,
}

/// The artifact of a model and its expected publisher.
pub struct ModelSource<'a> {
    /// The name under which it is served.
    pub name: String,
    /// Its sealed artifact.
    pub artifact: PathBuf,
    /// The expected publisher; a model without a signature is not served.
    pub publisher: &'a VerifyingKey,
    /// Checks that the keys that signed the artifact and its recipient list are valid.
    pub judge: &'a Judge<'a>,
    /// The recipient key that opens it.
    pub key: &'a KemPrivateKey,
}

impl fmt::Debug for ModelSource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelSource")
            .field("name", &self.name)
            .field("artifact", &self.artifact)
            .finish_non_exhaustive()
    }
}

/// Refuses an artifact signed by a key that has ended, or was not valid at the artifact's date.
pub type Judge<'a> = dyn Fn(&Artifact<File>) -> Result<(), Box<dyn Error + Send + Sync>> + 'a;

/// A model that is ready to serve.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) name: String,
    /// The artifact's id, which is new for every sealed artifact.
    pub(super) version: String,
    /// Its revision, if it has one.
    pub(super) revision: Option<u64>,
    pub(super) model: Model,
}

pub(super) type ByName = BTreeMap<String, Loaded>;

impl Loaded {
    /// Returns whether `asked` is this version: the artifact's id, or its revision, which is 1 if
    /// it was sealed without one.
    pub(super) fn is_version(&self, asked: &str) -> bool {
        asked == self.version || asked.parse() == Ok(self.revision.unwrap_or(1))
    }

    /// Returns the labels from the model's metadata.
    pub(super) fn labels(&self) -> Vec<&str> {
        let labels = self.model.metadata().get("labels");
        labels
            .map(|labels| labels.split(',').collect())
            .unwrap_or_default()
    }

    /// Runs the model.
    pub(super) fn run(
        &self,
        inputs: &[NamedTensor],
        turn: &mut Turn,
    ) -> Result<Vec<NamedTensor>, Failure> {
        let outputs = self.model.run(inputs).map_err(|error| match error {
            ModelError::Inputs { .. }
            | ModelError::InputType { .. }
            | ModelError::InputShape { .. } => Failure::Content(error.to_string()),
            error => Failure::Model(error.to_string()),
        })?;
        for tensor in &outputs {
            turn.take(tensor.data.byte_len())?;
        }
        Ok(outputs)
    }
}

/// Refuses an output with numbers that JSON cannot represent, and reserves memory for its text.
pub(super) fn check_text(tensor: &NamedTensor, turn: &mut Turn) -> Result<(), Failure> {
    if let Some(at) = not_finite(&tensor.data) {
        let name = &tensor.name;
        let message = format!("output `{name}` is not finite at element {at}");
        return Err(Failure::Model(message));
    }
    // About ten characters for each element.
    turn.take(tensor.data.len().saturating_mul(16))
        .map_err(Failure::from)
}

/// Verifies the publisher's signature of an artifact, then opens the artifact into memory.
pub(super) fn load(source: &ModelSource<'_>) -> Result<Loaded, LoadError> {
    let path = || source.artifact.clone();
    if source.artifact.is_dir() {
        return Err(LoadError::Folder(path()));
    }
    let refused = |source| LoadError::Artifact {
        path: path(),
        source,
    };
    let file = file::open_shared(&source.artifact).map_err(|source| LoadError::File {
        path: path(),
        source,
    })?;
    let artifact = Artifact::read(file).map_err(refused)?;
    (source.judge)(&artifact).map_err(|source| LoadError::Withdrawn {
        path: path(),
        source,
    })?;
    let opened = artifact
        .open(source.key, Origin::SignedBy(source.publisher))
        .map_err(refused)?;
    let content = opened.read_all(MODEL_BYTES_MAX, &|_| ()).map_err(refused)?;
    let model = Model::from_bytes(&content).map_err(|source| match source {
        ModelError::NotBuilt => LoadError::NotBuilt,
        source => LoadError::Model {
            path: path(),
            source,
        },
    })?;
    let version = artifact.header().id().to_string();
    Ok(Loaded {
        name: source.name.clone(),
        version,
        revision: artifact.header().revision(),
        model,
    })
}
