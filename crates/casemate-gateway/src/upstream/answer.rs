//! Answers and failures of models as HTTP responses.

use casemate_message::{MessageError, Response};
use serde_json::json;

use super::{inference::Overloaded, numbers::NumbersError};
use crate::refuse::{json_response, json_text_response, sealed_error};

/// Why a model did not answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The request's content cannot be used.
    Content(String),
    /// There is no model with this name.
    NoModel(String),
    /// The model with this name has another version.
    NoVersion(String),
    /// The content is compressed.
    Coding,
    /// Too many requests are waiting.
    Overloaded,
    /// The model failed, or its output cannot be encoded.
    Model(String),
}

/// The answer of a model.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answered {
    /// JSON, followed by binary tensors if `json_len` is set.
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

    pub(super) fn response(self) -> Result<Response, MessageError> {
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

/// The field with the length of the JSON before binary tensors.
pub(super) const JSON_LENGTH: &str = "inference-header-content-length";

pub(super) type Answer = Result<Answered, Failure>;

/// The format of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `error` is an object.
    OpenAi,
    /// `error` is a string.
    KServe,
}

impl Dialect {
    pub(super) fn of(path: &str) -> Self {
        if path == "/v2" || path.starts_with("/v2/") {
            Self::KServe
        } else {
            Self::OpenAi
        }
    }

    pub(super) fn refusal(
        self,
        status: u16,
        code: &str,
        message: &str,
    ) -> Result<Response, MessageError> {
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
    pub(super) fn response(&self, dialect: Dialect) -> Result<Response, MessageError> {
        match self {
            Self::Content(message) => dialect.refusal(400, "content", message),
            Self::NoModel(name) => {
                let name: String = name.chars().take(80).collect();
                let message = format!("there is no model named `{name}`");
                dialect.refusal(404, "model_not_found", &message)
            }
            Self::NoVersion(model) => {
                let message = format!("model `{model}` has no such version");
                dialect.refusal(404, "model_not_found", &message)
            }
            Self::Coding => {
                let message =
                    "compressed content is not supported; send it without `content-encoding`";
                dialect.refusal(415, "content_encoding", message)
            }
            Self::Overloaded => dialect.refusal(503, "overloaded", &Overloaded.to_string()),
            Self::Model(message) => dialect.refusal(500, "model", message),
        }
    }
}
