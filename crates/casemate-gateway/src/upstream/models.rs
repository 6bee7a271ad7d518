//! Routes requests to embedded models by path.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use casemate_message::{MessageError, Request, Response};
use percent_encoding::percent_decode_str;
use serde_json::json;
use tokio::task::spawn_blocking;

use super::{
    Call, UpstreamError,
    answer::{Answer, Dialect, Failure, JSON_LENGTH},
    inference::{Inference, Turn},
    kserve, predict,
    registry::{ByName, LoadError, ModelSource, load},
};
use crate::{limits::Limits, refuse::json_response};

/// Embedded models by name.
#[derive(Debug)]
pub struct Models {
    by_name: Arc<ByName>,
    inference: Inference,
}

/// The work of one turn.
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
                let loaded = models
                    .get(model)
                    .ok_or_else(|| Failure::NoModel(model.clone()))?;
                kserve::infer(loaded, content, *json_len, turn)
            }
        }
    }
}

impl Models {
    /// Verifies the publisher's signature of every artifact, then opens the artifact into memory.
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
        // The version is optional: a revision or an artifact id.
        let (version, segments) = match segments.as_slice() {
            ["v2", "models", name, "versions", version, rest @ ..] => {
                (Some(*version), [&["v2", "models", *name], rest].concat())
            }
            _ => (None, segments),
        };
        let known = |name: &str| {
            let loaded = self
                .by_name
                .get(name)
                .ok_or_else(|| Failure::NoModel(name.to_owned()))?;
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

    /// Waits for the client's turn, then reads the content and runs a model on a blocking thread.
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

/// Returns the percent-decoded segments of a path; a `/` in a name may be written as `%2F`. A
/// segment that is not UTF-8 matches nothing.
fn segments(path: &str) -> Vec<Cow<'_, str>> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let decoded = |part| percent_decode_str(part).decode_utf8_lossy();
    path.split('/').map(decoded).collect()
}

/// Splits a path into the name of a model and the rest. Names may contain `/`, so the longest known
/// name applies.
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
    let message = format!("method {} is not allowed on {path}", request.method);
    let mut refusal = dialect.refusal(405, "method", &message)?;
    let post = path.ends_with("/infer") || path == "/predict";
    let allowed = if post { "POST" } else { "GET, HEAD" };
    refusal.fields.push("allow", allowed)?;
    Ok(refusal)
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_known_name_applies() {
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
