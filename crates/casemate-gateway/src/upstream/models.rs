//! Models opened from sealed artifacts into memory.

use std::{collections::BTreeMap, error::Error, fmt, io, path::PathBuf, sync::Arc};

use casemate_crypto::{kem::KemPrivateKey, signature::VerifyingKey};
use casemate_message::{Request, Response};
use casemate_onnx::{Model, ModelError};
use casemate_seal::{Artifact, OpenError, Origin, file};

use super::{UpstreamError, kserve, predict};
use crate::problem::{json_response, sealed_error};

/// Largest model that is opened into memory, in bytes.
const MODEL_BYTES_MAX: u64 = 8 << 30;

/// Why a model could not be made ready.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
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
    /// The artifact was refused.
    #[error("cannot open the artifact {path}")]
    Artifact {
        /// The artifact.
        path: PathBuf,
        /// Why.
        #[source]
        source: OpenError,
    },
    /// The publisher's key does not count for it any more.
    #[error("cannot use the artifact {path}")]
    Withdrawn {
        /// The artifact.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The content is no model that can be run.
    #[error("cannot load the model in {path}")]
    Model {
        /// The artifact.
        path: PathBuf,
        /// Why.
        #[source]
        source: ModelError,
    },
    /// Two models have one name.
    #[error("two models are named `{0}`")]
    NameTaken(String),
    /// There is nothing to serve.
    #[error("no model is configured")]
    Empty,
}

/// Where a model comes from and who must have published it.
pub struct ModelSource<'a> {
    /// Name under which it is served.
    pub name: String,
    /// Its sealed artifact.
    pub artifact: PathBuf,
    /// The publisher; no model is served without a signature.
    pub publisher: &'a VerifyingKey,
    /// Whether the publisher's key still counts for a signature, by its date and the SHA-384 of the signed message.
    pub judge: &'a Judge<'a>,
    /// The key it is sealed to.
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

/// Refuses a signature by a key that has ended, or did not count at its date.
pub type Judge<'a> = dyn Fn(u64, [u8; 48]) -> Result<(), Box<dyn Error + Send + Sync>> + 'a;

/// A model that is ready.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) name: String,
    /// The artifact's id, which changes with every sealing.
    pub(super) version: String,
    pub(super) model: Model,
}

impl Loaded {
    /// The model's own labels, from its metadata.
    pub(super) fn labels(&self) -> Vec<String> {
        let labels = self.model.metadata().get("labels");
        labels
            .map(|labels| labels.split(',').map(str::to_owned).collect())
            .unwrap_or_default()
    }
}

/// Embedded models by name.
#[derive(Debug)]
pub struct Models(BTreeMap<String, Arc<Loaded>>);

impl Models {
    /// Opens every artifact into memory, its publisher's signature first.
    ///
    /// # Errors
    ///
    /// [`LoadError`].
    pub fn load(sources: &[ModelSource<'_>]) -> Result<Self, LoadError> {
        let mut models = BTreeMap::new();
        for source in sources {
            let loaded = Arc::new(load(source)?);
            if models.insert(source.name.clone(), loaded).is_some() {
                return Err(LoadError::NameTaken(source.name.clone()));
            }
        }
        if models.is_empty() {
            Err(LoadError::Empty)
        } else {
            Ok(Self(models))
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Arc<Loaded>> {
        self.0.get(name)
    }

    /// The model a request means if it names none.
    pub(super) fn only(&self) -> Option<&Arc<Loaded>> {
        self.0.values().next().filter(|_| self.0.len() == 1)
    }

    /// Inference takes a core for as long as it takes, so it leaves the event loop.
    pub(super) async fn answer(&self, request: Request) -> Result<Response, UpstreamError> {
        let path = request.path_only().to_owned();
        let segments: Vec<_> = path.trim_start_matches('/').split('/').collect();
        let known = |name: &str| self.get(name).cloned();
        let get = ["GET", "HEAD"].contains(&request.method.as_str());
        let response = match segments.as_slice() {
            ["predict"] if request.method == "POST" => predict::answer(self, request).await?,
            ["v2"] if get => json_response(200, &kserve::server_metadata())?,
            ["v2", "health", "live"] if get => {
                json_response(200, &serde_json::json!({"live": true}))?
            }
            ["v2", "health", "ready"] if get => {
                json_response(200, &serde_json::json!({"ready": true}))?
            }
            ["v2", "models", name] if get => match known(name) {
                Some(loaded) => json_response(200, &kserve::model_metadata(&loaded))?,
                None => no_model(name)?,
            },
            ["v2", "models", name, "ready"] if get => match known(name) {
                Some(loaded) => json_response(
                    200,
                    &serde_json::json!({"name": loaded.name, "ready": true}),
                )?,
                None => no_model(name)?,
            },
            ["v2", "models", name, "infer"] if request.method == "POST" => match known(name) {
                Some(loaded) => kserve::infer(loaded, request).await?,
                None => no_model(name)?,
            },
            ["predict" | "v2"]
            | ["v2", "health", "live" | "ready"]
            | ["v2", "models", _]
            | ["v2", "models", _, "ready" | "infer"] => {
                let message = format!("{} is not a method of {path}", request.method);
                let mut refusal = sealed_error(405, "invalid_request_error", "method", &message)?;
                let post = path.ends_with("/infer") || path == "/predict";
                refusal
                    .fields
                    .push("allow", if post { "POST" } else { "GET, HEAD" })?;
                refusal
            }
            _ => sealed_error(
                404,
                "invalid_request_error",
                "path",
                "there is nothing at this path",
            )?,
        };
        Ok(response)
    }
}

pub(super) fn no_model(name: &str) -> Result<Response, UpstreamError> {
    let name: String = name.chars().take(80).collect();
    let message = format!("no model is named `{name}`");
    Ok(sealed_error(
        404,
        "invalid_request_error",
        "model_not_found",
        &message,
    )?)
}

/// An answer to content the model cannot use.
pub(super) fn bad_content(message: &str) -> Result<Response, UpstreamError> {
    Ok(sealed_error(
        400,
        "invalid_request_error",
        "content",
        message,
    )?)
}

fn load(source: &ModelSource<'_>) -> Result<Loaded, LoadError> {
    let path = || source.artifact.clone();
    let refused = |source| LoadError::Artifact {
        path: path(),
        source,
    };
    let file = file::open_shared(&source.artifact).map_err(|source| LoadError::File {
        path: path(),
        source,
    })?;
    let artifact = Artifact::read(file).map_err(refused)?;
    let judged = (source.judge)(artifact.header().created(), artifact.message_digest());
    judged.map_err(|source| LoadError::Withdrawn {
        path: path(),
        source,
    })?;
    let opened = artifact
        .open(source.key, Origin::SignedBy(source.publisher))
        .map_err(refused)?;
    let content = opened.read_all(MODEL_BYTES_MAX, &|_| ()).map_err(refused)?;
    let model = Model::from_bytes(&content).map_err(|source| LoadError::Model {
        path: path(),
        source,
    })?;
    let version = artifact.header().id().to_string();
    Ok(Loaded {
        name: source.name.clone(),
        version,
        model,
    })
}
