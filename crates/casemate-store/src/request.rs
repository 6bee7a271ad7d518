//! S3 requests that the client does not support, signed by the client.

use std::{io, sync::Arc, time::Duration};

use futures_util::StreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use object_store::{
    aws::AmazonS3,
    client::{HttpClient, HttpRequest, HttpRequestBody},
    signer::{SignedUrlOptions, Signer},
};
use serde::Deserialize;

use crate::{
    io_error::{Changed, io_error},
    location::Location,
};

const EXPIRY: Duration = Duration::from_mins(15);
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(200);
/// Maximum length of a response from S3, in bytes.
const ANSWER_MAX: usize = 1 << 20;

/// Creates and signs requests.
pub(crate) struct Requests {
    pub(crate) store: Arc<AmazonS3>,
    pub(crate) http: HttpClient,
}

/// One request.
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    pub(crate) query: &'a [(&'static str, String)],
    pub(crate) headers: &'a [(&'a str, String)],
    pub(crate) body: &'a str,
}

/// The response of an object store.
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Request<'_> {
    /// Sends the request, retrying after transient failures, and returns the response.
    pub(crate) async fn send(&self, by: &Requests, location: &Location) -> io::Result<Answer> {
        let mut pause = PAUSE;
        for _ in 1..TRIES {
            match self.attempt(by, location).await {
                Err(Failed::Passing(_)) => tokio::time::sleep(pause).await,
                Err(Failed::Final(error)) => return Err(error),
                Ok(answer) => return Ok(answer),
            }
            pause = pause.saturating_mul(2);
        }
        self.attempt(by, location)
            .await
            .map_err(|failed| match failed {
                Failed::Passing(error) | Failed::Final(error) => error,
            })
    }

    async fn attempt(&self, by: &Requests, location: &Location) -> Result<Answer, Failed> {
        let final_io = |error: object_store::Error| Failed::Final(io_error(error));
        let mut options = SignedUrlOptions::new().with_query(
            self.query
                .iter()
                .map(|(name, value)| (*name, value.clone())),
        );
        let mut request = HttpRequest::new(HttpRequestBody::from(self.body.to_owned()));
        for (name, value) in self.headers {
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|error| Failed::Final(io::Error::other(error)))?;
            let value = HeaderValue::from_str(value)
                .map_err(|error| Failed::Final(io::Error::other(error)))?;
            options = options.with_signed_header(name.clone(), value.clone());
            request.headers_mut().insert(name, value);
        }
        let url = by
            .store
            .signed_url_opts(self.method.clone(), &location.path, EXPIRY, &options)
            .await
            .map_err(final_io)?;
        *request.method_mut() = self.method.clone();
        let uri = url.as_str().parse();
        *request.uri_mut() = uri.map_err(|error| Failed::Final(io::Error::other(error)))?;
        let answer = by
            .http
            .execute(request)
            .await
            .map_err(|error| Failed::Passing(io::Error::other(error)))?;
        let (answer, body) = answer.into_parts();
        let (status, headers) = (answer.status, answer.headers);
        let mut text = Vec::new();
        let mut stream = body.bytes_stream();
        while let Some(part) = stream.next().await {
            let part = part.map_err(|error| Failed::Passing(io::Error::other(error)))?;
            if text.len().saturating_add(part.len()) > ANSWER_MAX {
                return Err(Failed::Final(io::Error::other(
                    "the store's response is too long",
                )));
            }
            text.extend_from_slice(&part);
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        // S3 reports failures of long requests with status 200.
        if status.is_success() && !text.contains("<Error>") {
            return Ok(Answer { headers, text });
        }
        Err(failure(status.as_u16(), &text))
    }
}

enum Failed {
    /// Another attempt may succeed.
    Passing(io::Error),
    Final(io::Error),
}

fn failure(status: u16, answer: &str) -> Failed {
    #[derive(Deserialize)]
    struct Refused {
        #[serde(rename = "Code")]
        code: String,
        #[serde(rename = "Message", default)]
        message: String,
    }
    if status == 412 {
        return Failed::Final(io::Error::new(io::ErrorKind::ResourceBusy, Changed));
    }
    let refused = quick_xml::de::from_str::<Refused>(answer);
    let (code, text) = match refused {
        Ok(refused) => {
            let text = format!("the store answered {}: {}", refused.code, refused.message);
            (refused.code, text)
        }
        Err(_) => (
            String::new(),
            format!("the store answered with status {status}"),
        ),
    };
    let kind = match status {
        403 => io::ErrorKind::PermissionDenied,
        404 => io::ErrorKind::NotFound,
        501 => io::ErrorKind::Unsupported,
        _ => io::ErrorKind::Other,
    };
    let error = io::Error::new(kind, text.escape_debug().to_string());
    let passing = matches!(status, 429 | 500 | 502 | 503 | 504)
        || matches!(
            code.as_str(),
            "InternalError" | "SlowDown" | "ServiceUnavailable"
        );
    if passing {
        Failed::Passing(error)
    } else {
        Failed::Final(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_under_the_status_200_is_one() {
        let slow = "<Error><Code>SlowDown</Code><Message>later</Message></Error>";
        assert!(matches!(failure(200, slow), Failed::Passing(_)));
        let gone = "<Error><Code>NoSuchUpload</Code><Message>gone</Message></Error>";
        let Failed::Final(error) = failure(404, gone) else {
            panic!("not final");
        };
        assert_eq!(error.to_string(), "the store answered NoSuchUpload: gone");
        assert!(matches!(failure(503, ""), Failed::Passing(_)));
    }
}
