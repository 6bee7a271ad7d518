//! Models opened from sealed artifacts into memory.

use std::{
    borrow::Cow, collections::BTreeMap, error::Error, fmt, fs::File, io, path::PathBuf, sync::Arc,
};

use casemate_crypto::{kem::KemPrivateKey, signature::VerifyingKey};
use casemate_message::{MessageError, Request, Response};
use casemate_onnx::{Model, ModelError, NamedTensor};
use casemate_seal::{Artifact, OpenError, Origin, file};
use percent_encoding::percent_decode_str;
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
    /// A folder, of which nothing says which file the model is.
    #[error("{0} is a folder; a served model must be a single sealed file")]
    Folder(PathBuf),
    /// The artifact was refused.
    #[error("cannot open the artifact {path}")]
    Artifact {
        /// The artifact.
        path: PathBuf,
        /// Why.
        #[source]
        source: OpenError,
    },
    /// A key that signed it does not count any more.
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
    /// Whether the keys that signed it, and its recipients, still count.
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

/// Refuses an artifact by keys that have ended, or did not count at its date.
pub type Judge<'a> = dyn Fn(&Artifact<File>) -> Result<(), Box<dyn Error + Send + Sync>> + 'a;

/// A model that is ready.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) name: String,
    /// The artifact's id, which changes with every sealing.
    pub(super) version: String,
    /// Its revision, if it has one.
    pub(super) revision: Option<u64>,
    pub(super) model: Model,
}

/// Why a model did not answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The request's content cannot be used.
    Content(String),
    /// There is no model of this name.
    NoModel(String),
    /// The model of this name has another version.
    NoVersion(String),
    /// The content is compressed.
    Coding,
    /// Too much is asked for at once.
    Overloaded,
    /// The model failed, or gave what cannot be answered.
    Model(String),
}

/// What a model answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answered {
    /// JSON, and then binary tensors if `json_len` says so.
    pub(super) content: Vec<u8>,
    pub(super) json_len: Option<usize>,
}

impl Answered {
    pub(super) const fn json(content: Vec<u8>) -> Self {
        Self {
            content,
            json_len: None,
        }
    }

    fn response(self) -> Result<Response, MessageError> {
        let Some(len) = self.json_len else {
            return json_text_response(200, self.content);
        };
        let mut response = Response::new(200, self.content)?;
        response
            .fields
            .push("content-type", "application/octet-stream")?;
        response.fields.push(JSON_LENGTH, &len.to_string())?;
        Ok(response)
    }
}

/// Field with the length of the JSON before binary tensors.
const JSON_LENGTH: &str = "inference-header-content-length";

pub(super) type Answer = Result<Answered, Failure>;

/// Which way errors are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    /// `error` is an object.
    OpenAi,
    /// `error` is a text.
    KServe,
}

impl Dialect {
    fn of(path: &str) -> Self {
        if path == "/v2" || path.starts_with("/v2/") {
            Self::KServe
        } else {
            Self::OpenAi
        }
    }

    fn refusal(self, status: u16, code: &str, message: &str) -> Result<Response, MessageError> {
        let kind = if status < 500 {
            "invalid_request_error"
        } else {
            "server_error"
        };
        match self {
            Self::OpenAi => sealed_error(status, kind, code, message),
            Self::KServe => json_response(status, &json!({ "error": message })),
        }
    }
}

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
    fn response(&self, dialect: Dialect) -> Result<Response, MessageError> {
        match self {
            Self::Content(message) => dialect.refusal(400, "content", message),
            Self::NoModel(name) => {
                let name: String = name.chars().take(80).collect();
                let message = format!("no model is named `{name}`");
                dialect.refusal(404, "model_not_found", &message)
            }
            Self::NoVersion(model) => {
                let message = format!("model `{model}` has no such version");
                dialect.refusal(404, "model_not_found", &message)
            }
            Self::Coding => {
                let message = "compressed content is not read: send it without `content-encoding`";
                dialect.refusal(415, "content_encoding", message)
            }
            Self::Overloaded => dialect.refusal(503, "overloaded", &Overloaded.to_string()),
            Self::Model(message) => dialect.refusal(500, "model", message),
        }
    }
}

impl Loaded {
    /// Whether a client means this version: by the artifact's id, or by its revision, which is 1 if it was sealed without one.
    fn is_version(&self, asked: &str) -> bool {
        asked == self.version || asked.parse() == Ok(self.revision.unwrap_or(1))
    }

    /// The model's own labels, from its metadata.
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

/// Refuses an output with numbers that JSON does not have, and reserves memory for its text.
pub(super) fn check_text(tensor: &NamedTensor, turn: &mut Turn) -> Result<(), Failure> {
    if let Some(at) = not_finite(&tensor.data) {
        let name = &tensor.name;
        let message = format!("output `{name}` has no finite value at element {at}");
        return Err(Failure::Model(message));
    }
    // Some ten characters for each element.
    turn.take(tensor.data.len().saturating_mul(16))
        .map_err(Failure::from)
}

/// Embedded models by name.
#[derive(Debug)]
pub struct Models {
    by_name: Arc<ByName>,
    inference: Inference,
}

pub(super) type ByName = BTreeMap<String, Loaded>;

/// What is computed in a turn.
enum Job {
    Predict,
    Infer {
        model: String,
        json_len: Option<usize>,
    },
}

impl Job {
    fn run(&self, models: &ByName, content: &[u8], turn: &mut Turn) -> Answer {
        match self {
            Self::Predict => predict::answer(models, content, turn),
            Self::Infer { model, json_len } => {
                let loaded = models.get(model);
                let loaded = loaded.ok_or_else(|| Failure::NoModel(model.clone()))?;
                kserve::infer(loaded, content, *json_len, turn)
            }
        }
    }
}

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
        let dialect = Dialect::of(path);
        let segments = segments(path);
        let segments: Vec<_> = segments.iter().map(AsRef::as_ref).collect();
        let get = ["GET", "HEAD"].contains(&call.head.method.as_str());
        let post = call.head.method == "POST";
        let name;
        let segments = match segments.as_slice() {
            ["v2", "models", path @ ..] => {
                let (found, rest) = split_name(path, |name| self.by_name.contains_key(name));
                name = found;
                [&["v2", "models", name.as_str()], rest].concat()
            }
            _ => segments,
        };
        // A version is asked for by its number or its id, or not at all.
        let (version, segments) = match segments.as_slice() {
            ["v2", "models", name, "versions", version, rest @ ..] => {
                (Some(*version), [&["v2", "models", *name], rest].concat())
            }
            _ => (None, segments),
        };
        let known = |name: &str| {
            let loaded = self.by_name.get(name);
            let loaded = loaded.ok_or_else(|| Failure::NoModel(name.to_owned()))?;
            if version.is_none_or(|version| loaded.is_version(version)) {
                return Ok(loaded);
            }
            Err(Failure::NoVersion(loaded.name.clone()))
        };
        let value = match segments.as_slice() {
            ["predict"] if post => return self.compute(Job::Predict, dialect, call).await,
            ["v2", "models", name, "infer"] if post => match known(name).and_then(|loaded| {
                let json_len = json_len(call.head)?;
                let model = loaded.name.clone();
                Ok(Job::Infer { model, json_len })
            }) {
                Ok(job) => return self.compute(job, dialect, call).await,
                Err(failure) => Err(failure),
            },
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
            | ["v2", "models", _, "ready" | "infer"] => {
                return Ok(wrong_method(call.head, dialect)?);
            }
            _ => return Ok(dialect.refusal(404, "path", "there is nothing at this path")?),
        };
        Ok(match value {
            Ok(value) => json_response(200, &value)?,
            Err(failure) => failure.response(dialect)?,
        })
    }

    /// Reads the content and runs a model, on a thread that may take its time, when it is the client's turn.
    async fn compute(
        &self,
        job: Job,
        dialect: Dialect,
        call: Call<'_>,
    ) -> Result<Response, UpstreamError> {
        let coding = call.head.fields.single("content-encoding");
        if coding.is_some_and(|coding| !coding.eq_ignore_ascii_case("identity")) {
            return Ok(Failure::Coding.response(dialect)?);
        }
        let mut turn = match self.inference.turn(call.caller.id).await {
            Ok(turn) => turn,
            Err(overloaded) => return Ok(Failure::from(overloaded).response(dialect)?),
        };
        let models = Arc::clone(&self.by_name);
        let content = call.content;
        let done = spawn_blocking(move || {
            turn.take(content.len())?;
            job.run(&models, &content, &mut turn)
        });
        let failed = || Err(Failure::Model("the model failed".to_owned()));
        Ok(match done.await.unwrap_or_else(|_| failed()) {
            Ok(answered) => answered.response()?,
            Err(failure) => failure.response(dialect)?,
        })
    }
}

/// The parts of a path as they are meant: a `/` in a name is written `%2F`. What is no UTF-8 names nothing.
fn segments(path: &str) -> Vec<Cow<'_, str>> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let decoded = |part| percent_decode_str(part).decode_utf8_lossy();
    path.split('/').map(decoded).collect()
}

/// The name of a model at the start of a path, and what follows. Clients send a `/` in a name as it is, so the longest name that is known counts.
fn split_name<'s, 'p>(
    path: &'s [&'p str],
    is_known: impl Fn(&str) -> bool,
) -> (String, &'s [&'p str]) {
    let whole = (1..=path.len()).rev().find_map(|len| {
        let (name, rest) = path.split_at(len);
        Some((name.join("/"), rest)).filter(|(name, _)| is_known(name))
    });
    whole.unwrap_or_else(|| match path.split_first() {
        Some((first, rest)) => ((*first).to_owned(), rest),
        None => (String::new(), path),
    })
}

fn json_len(request: &Request) -> Result<Option<usize>, Failure> {
    let Some(text) = request.fields.single(JSON_LENGTH) else {
        return Ok(None);
    };
    let len = text.parse();
    len.map(Some)
        .map_err(|_| Failure::Content(format!("`{JSON_LENGTH}` is not a length")))
}

fn wrong_method(request: &Request, dialect: Dialect) -> Result<Response, MessageError> {
    let path = request.path_only();
    let message = format!("{} is not a method of {path}", request.method);
    let mut refusal = dialect.refusal(405, "method", &message)?;
    let post = path.ends_with("/infer") || path == "/predict";
    let allowed = if post { "POST" } else { "GET, HEAD" };
    refusal.fields.push("allow", allowed)?;
    Ok(refusal)
}

fn load(source: &ModelSource<'_>) -> Result<Loaded, LoadError> {
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
    let model = Model::from_bytes(&content).map_err(|source| LoadError::Model {
        path: path(),
        source,
    })?;
    let version = artifact.header().id().to_string();
    Ok(Loaded {
        name: source.name.clone(),
        version,
        revision: artifact.header().revision(),
        model,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_known_name_counts() {
        let known = ["bert", "org/bert", "my model", "größe"];
        let split = |path: &str| {
            let parts = segments(path);
            let parts: Vec<_> = parts.iter().map(AsRef::as_ref).collect();
            let (name, rest) = split_name(&parts, |name| known.contains(&name));
            (name, rest.join(" "))
        };
        for (path, name, rest) in [
            ("/bert/infer", "bert", "infer"),
            ("/org/bert/infer", "org/bert", "infer"),
            (
                "/org%2Fbert/versions/1/infer",
                "org/bert",
                "versions 1 infer",
            ),
            ("/my%20model", "my model", ""),
            ("/gr%C3%B6%c3%9fe/ready", "größe", "ready"),
            ("/other/infer", "other", "infer"),
            ("/%ff/infer", "\u{fffd}", "infer"),
            ("/bert/org/bert", "bert", "org bert"),
        ] {
            assert_eq!(split(path), (name.to_owned(), rest.to_owned()), "{path}");
        }
        assert_eq!(split_name(&[], |_| false), (String::new(), &[] as &[&str]));
    }
}
