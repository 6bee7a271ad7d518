//! Models opened from sealed artifacts into memory.

use std::{collections::BTreeMap, error::Error, fmt, io, path::PathBuf, sync::Arc};

use casemate_crypto::{kem::KemPrivateKey, signature::VerifyingKey};
use casemate_message::{MessageError, Request, Response};
use casemate_onnx::{Model, ModelError, NamedTensor};
use casemate_seal::{Artifact, OpenError, Origin, file};
use serde_json::json;
use tokio::task::spawn_blocking;

use super::{
    Call, UpstreamError,
    inference::{Inference, Overloaded, Turn},
    kserve,
    numbers::{NumbersError, not_finite},
    predict,
};
use crate::{
    limits::Limits,
    refuse::{json_response, json_text_response, sealed_error},
};

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

/// Why a model did not answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The request's content cannot be used.
    Content(String),
    /// There is no model of this name.
    NoModel(String),
    /// Too much is asked for at once.
    Overloaded,
    /// The model failed, or gave what cannot be answered.
    Model(String),
}

/// JSON text.
pub(super) type Answer = Result<Vec<u8>, Failure>;

impl From<Overloaded> for Failure {
    fn from(_: Overloaded) -> Self {
        Self::Overloaded
    }
}

impl From<NumbersError> for Failure {
    fn from(error: NumbersError) -> Self {
        match error {
            NumbersError::Content(message) => Self::Content(message),
            NumbersError::Overloaded => Self::Overloaded,
        }
    }
}

impl Failure {
    fn response(&self) -> Result<Response, MessageError> {
        match self {
            Self::Content(message) => {
                sealed_error(400, "invalid_request_error", "content", message)
            }
            Self::NoModel(name) => {
                let name: String = name.chars().take(80).collect();
                let message = format!("no model is named `{name}`");
                sealed_error(404, "invalid_request_error", "model_not_found", &message)
            }
            Self::Overloaded => {
                let message = Overloaded.to_string();
                sealed_error(503, "server_error", "overloaded", &message)
            }
            Self::Model(message) => sealed_error(500, "server_error", "model", message),
        }
    }
}

impl Loaded {
    /// The model's own labels, from its metadata.
    pub(super) fn labels(&self) -> Vec<&str> {
        let labels = self.model.metadata().get("labels");
        labels
            .map(|labels| labels.split(',').collect())
            .unwrap_or_default()
    }

    /// Runs the model; its outputs are numbers that JSON has.
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
            if let Some(at) = not_finite(&tensor.data) {
                let name = &tensor.name;
                let message = format!("output `{name}` has no finite value at element {at}");
                return Err(Failure::Model(message));
            }
            // Their text takes some ten characters for each element.
            turn.take(tensor.data.len().saturating_mul(16))?;
        }
        Ok(outputs)
    }
}

/// Embedded models by name.
#[derive(Debug)]
pub struct Models {
    by_name: Arc<ByName>,
    inference: Inference,
}

pub(super) type ByName = BTreeMap<String, Loaded>;

/// What is computed in a turn.
type Job = fn(&ByName, &str, &[u8], &mut Turn) -> Answer;

impl Models {
    /// Opens every artifact into memory, its publisher's signature first.
    ///
    /// # Errors
    ///
    /// [`LoadError`].
    pub fn load(sources: &[ModelSource<'_>], limits: &Limits) -> Result<Self, LoadError> {
        let mut models = BTreeMap::new();
        for source in sources {
            if models.insert(source.name.clone(), load(source)?).is_some() {
                return Err(LoadError::NameTaken(source.name.clone()));
            }
        }
        if models.is_empty() {
            return Err(LoadError::Empty);
        }
        Ok(Self {
            by_name: Arc::new(models),
            inference: Inference::new(limits),
        })
    }

    pub(super) async fn answer(&self, call: Call<'_>) -> Result<Response, UpstreamError> {
        let path = call.head.path_only();
        let segments: Vec<_> = path.trim_start_matches('/').split('/').collect();
        let get = ["GET", "HEAD"].contains(&call.head.method.as_str());
        let post = call.head.method == "POST";
        let known = |name: &str| {
            let loaded = self.by_name.get(name);
            loaded.ok_or_else(|| Failure::NoModel(name.to_owned()))
        };
        let value = match segments.as_slice() {
            ["predict"] if post => {
                let job: Job = |models, _, content, turn| predict::answer(models, content, turn);
                return self.compute(job, "", call).await;
            }
            ["v2", "models", name, "infer"] if post => {
                let name = (*name).to_owned();
                let job: Job = |models, name, content, turn| {
                    let loaded = models.get(name);
                    let loaded = loaded.ok_or_else(|| Failure::NoModel(name.to_owned()))?;
                    kserve::infer(loaded, content, turn)
                };
                return self.compute(job, &name, call).await;
            }
            ["v2"] if get => Ok(kserve::server_metadata()),
            ["v2", "health", "live"] if get => Ok(json!({"live": true})),
            ["v2", "health", "ready"] if get => Ok(json!({"ready": true})),
            ["v2", "models", name] if get => known(name).map(kserve::model_metadata),
            ["v2", "models", name, "ready"] if get => {
                known(name).map(|loaded| json!({"name": loaded.name, "ready": true}))
            }
            ["predict" | "v2"]
            | ["v2", "health", "live" | "ready"]
            | ["v2", "models", _]
            | ["v2", "models", _, "ready" | "infer"] => return Ok(wrong_method(call.head)?),
            _ => {
                let message = "there is nothing at this path";
                return Ok(sealed_error(404, "invalid_request_error", "path", message)?);
            }
        };
        Ok(match value {
            Ok(value) => json_response(200, &value)?,
            Err(failure) => failure.response()?,
        })
    }

    /// Reads the content and runs a model, on a thread that may take its time, when it is the client's turn.
    async fn compute(
        &self,
        job: Job,
        name: &str,
        call: Call<'_>,
    ) -> Result<Response, UpstreamError> {
        let mut turn = match self.inference.turn(call.caller.id).await {
            Ok(turn) => turn,
            Err(overloaded) => return Ok(Failure::from(overloaded).response()?),
        };
        let (models, name) = (Arc::clone(&self.by_name), name.to_owned());
        let content = call.content;
        let done = spawn_blocking(move || {
            turn.take(content.len())?;
            job(&models, &name, &content, &mut turn)
        });
        let failed = || Err(Failure::Model("the model failed".to_owned()));
        Ok(match done.await.unwrap_or_else(|_| failed()) {
            Ok(text) => json_text_response(200, text)?,
            Err(failure) => failure.response()?,
        })
    }
}

fn wrong_method(request: &Request) -> Result<Response, MessageError> {
    let path = request.path_only();
    let message = format!("{} is not a method of {path}", request.method);
    let mut refusal = sealed_error(405, "invalid_request_error", "method", &message)?;
    let post = path.ends_with("/infer") || path == "/predict";
    let allowed = if post { "POST" } else { "GET, HEAD" };
    refusal.fields.push("allow", allowed)?;
    Ok(refusal)
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
