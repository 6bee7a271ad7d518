//! Changing the recipients of an object: the store copies the body by itself, only the new tail is sent.

use std::{io, time::Duration};

use casemate_seal::{NewTail, ReadAt};
use futures_util::{StreamExt, TryStreamExt, stream};
use http::{HeaderName, HeaderValue, Method, header::IF_MATCH};
use object_store::{
    PutMode, PutOptions, UpdateVersion,
    client::{HttpRequest, HttpRequestBody},
    multipart::PartId,
    signer::{SignedUrlOptions, Signer},
};
use serde::{Deserialize, Serialize};

use crate::{
    RemoteObject,
    client::{Bucket, Location, S3},
    error::{Changed, io_error},
    object::ends_with,
    upload,
};

/// S3 takes no smaller part, except as the last one.
const PART_MIN: u64 = 5 << 20;
/// Bytes that the store copies in one request; it allows five times as many.
const COPY: u64 = 1 << 30;
/// Copies that are under way at once.
const UNDER_WAY: usize = 4;
const EXPIRY: Duration = Duration::from_mins(15);
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(200);
/// Bytes that are moved at once where the store cannot copy by itself.
const MOVED: usize = 8 << 20;
/// An answer longer than this is none that S3 gives.
const ANSWER_MAX: usize = 1 << 20;

/// Replaces what follows the body of `object` by the new tail. Readers see the old object or the new one, whole.
///
/// On S3 the body is copied by the store. Google Cloud Storage and Azure have no such request here: the body goes through this machine, encrypted
/// as it is.
///
/// # Errors
///
/// [`io::ErrorKind::ResourceBusy`] if somebody else replaced the object meanwhile; the store's error. The object is then as it was.
pub fn replace_tail(object: &RemoteObject, new: &NewTail) -> io::Result<()> {
    let tail = new.encode().map_err(io::Error::other)?;
    let location = object.location();
    let bucket = &location.bucket;
    if new.body_len < PART_MIN {
        return replace_whole(object, new.body_len, tail);
    }
    let Some(s3) = &bucket.s3 else {
        return move_parts(object, new.body_len, &tail);
    };
    let copied = copy_parts(s3, bucket, object, new.body_len, tail.clone());
    let answer = bucket.handle.block_on(copied);
    // Answers get lost, and a success may be said by something that is no store: what is there tells.
    let len = new.body_len.saturating_add(tail.len() as u64);
    match (ends_with(location, len, &tail), answer) {
        (Ok(true), _) => Ok(()),
        (_, Err(error)) | (Err(error), Ok(())) => Err(error),
        (Ok(false), Ok(())) => Err(io::Error::new(io::ErrorKind::ResourceBusy, Changed)),
    }
}

/// A short object is written again in one request, which the store refuses if the object was replaced.
fn replace_whole(object: &RemoteObject, body_len: u64, tail: Vec<u8>) -> io::Result<()> {
    let mut whole = vec![0; usize::try_from(body_len).map_err(io::Error::other)?];
    object.read_exact_at(&mut whole, 0)?;
    whole.extend(tail);
    let meta = object.meta();
    let mode = PutMode::Update(UpdateVersion {
        e_tag: meta.e_tag.clone(),
        version: meta.version.clone(),
    });
    let options = PutOptions {
        mode,
        attributes: object.attributes().clone(),
        ..PutOptions::default()
    };
    upload::put(object.location(), whole, options)
}

/// The body through this machine, part by part.
fn move_parts(object: &RemoteObject, body_len: u64, tail: &[u8]) -> io::Result<()> {
    use casemate_seal::{WriteAt, file::Existing};
    let location = object.location();
    let len = body_len.saturating_add(tail.len() as u64);
    let attributes = object.attributes().clone();
    let target = upload::Upload::with_attributes(location, len, Existing::Replace, attributes)?;
    object.will_read(0..body_len);
    let mut at = 0;
    let mut buffer = vec![0; MOVED];
    while at < body_len {
        let len = body_len.saturating_sub(at).min(buffer.len() as u64);
        let part = usize::try_from(len)
            .ok()
            .and_then(|len| buffer.get_mut(..len));
        let part = part.ok_or(io::ErrorKind::InvalidInput)?;
        object.read_exact_at(part, at)?;
        target.write_all_at(part, at)?;
        at = at.saturating_add(len);
    }
    target.write_all_at(tail, body_len)?;
    // Leaves a moment in which another's change would be lost; these stores have no condition on what completes an upload.
    refuse_changed(object)?;
    target.commit()
}

fn refuse_changed(object: &RemoteObject) -> io::Result<()> {
    let now = RemoteObject::open(object.location())?;
    let (now, then) = (now.meta(), object.meta());
    if now.e_tag != then.e_tag || now.last_modified != then.last_modified {
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, Changed));
    }
    Ok(())
}

/// Copies the body by the store, sends the tail, and completes if the object is still the one that was read.
async fn copy_parts(
    s3: &S3,
    bucket: &Bucket,
    object: &RemoteObject,
    body_len: u64,
    tail: Vec<u8>,
) -> io::Result<()> {
    let location = object.location();
    let id = upload::start(bucket, &location.path, object.attributes().clone()).await;
    let id = id.map_err(io_error)?;
    let done = async {
        let copies = stream::iter(pieces(body_len).enumerate())
            .map(|(number, (from, to))| copy_part(s3, object, &id, number, from, to))
            .buffered(UNDER_WAY);
        let mut parts: Vec<PartId> = copies.try_collect().await?;
        let last = bucket
            .multipart
            .put_part(&location.path, &id, parts.len(), tail.into())
            .await;
        parts.push(last.map_err(io_error)?);
        complete(s3, object, &id, &parts).await
    }
    .await;
    if done.is_err() {
        // Nothing of it can be read; the store keeps its parts until its own rules remove them.
        _ = bucket.multipart.abort_multipart(&location.path, &id).await;
    }
    done
}

/// Cuts the body so that no piece is shorter than S3 allows: even pieces of at most [`COPY`].
fn pieces(body_len: u64) -> impl Iterator<Item = (u64, u64)> {
    let count = body_len.div_ceil(COPY).max(1);
    let each = body_len.div_ceil(count);
    (0..count).map(move |number| {
        let from = number.saturating_mul(each);
        (from, from.saturating_add(each).min(body_len))
    })
}

async fn copy_part(
    s3: &S3,
    object: &RemoteObject,
    id: &str,
    number: usize,
    from: u64,
    to: u64,
) -> io::Result<PartId> {
    #[derive(Deserialize)]
    struct Copied {
        #[serde(rename = "ETag")]
        e_tag: String,
    }
    let location = object.location();
    let source = format!("{}/{}", s3.name, encoded(location.path.as_ref()));
    let mut headers = vec![
        ("x-amz-copy-source", source),
        (
            "x-amz-copy-source-range",
            format!("bytes={from}-{}", to.saturating_sub(1)),
        ),
    ];
    if let Some(e_tag) = &object.meta().e_tag {
        headers.push(("x-amz-copy-source-if-match", e_tag.clone()));
    }
    let query = [
        ("partNumber", number.saturating_add(1).to_string()),
        ("uploadId", id.to_owned()),
    ];
    let request = Request {
        method: Method::PUT,
        query: &query,
        headers: &headers,
        body: "",
    };
    let answer = request.send(s3, location).await?;
    let copied: Copied = quick_xml::de::from_str(&answer).map_err(io::Error::other)?;
    Ok(PartId {
        content_id: copied.e_tag,
    })
}

/// Completes the upload on the condition that the object was not replaced; stores that know no such condition were asked just before.
async fn complete(s3: &S3, object: &RemoteObject, id: &str, parts: &[PartId]) -> io::Result<()> {
    #[derive(Serialize)]
    #[serde(rename = "CompleteMultipartUpload")]
    struct Complete<'a> {
        #[serde(rename = "Part")]
        parts: Vec<CompletePart<'a>>,
    }
    #[derive(Serialize)]
    struct CompletePart<'a> {
        #[serde(rename = "ETag")]
        e_tag: &'a str,
        #[serde(rename = "PartNumber")]
        number: usize,
    }
    let location = object.location();
    let now = object_store::ObjectStoreExt::head(&*location.bucket.store, &location.path).await;
    if now.map_err(io_error)?.e_tag != object.meta().e_tag {
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, Changed));
    }
    let parts = parts.iter().enumerate().map(|(at, part)| CompletePart {
        e_tag: &part.content_id,
        number: at.saturating_add(1),
    });
    let body = Complete {
        parts: parts.collect(),
    };
    let body = quick_xml::se::to_string(&body).map_err(io::Error::other)?;
    let condition = object.meta().e_tag.iter();
    let condition: Vec<_> = condition
        .map(|e_tag| (IF_MATCH.as_str(), e_tag.clone()))
        .collect();
    let query = [("uploadId", id.to_owned())];
    let request = |headers| Request {
        method: Method::POST,
        query: &query,
        headers,
        body: &body,
    };
    match request(&condition).send(s3, location).await {
        // Not every server that speaks as S3 does has conditions here; it was asked a moment ago.
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {
            request(&[]).send(s3, location).await.map(drop)
        }
        done => done.map(drop),
    }
}

/// A request that the store's client has no call for, signed by that client.
struct Request<'a> {
    method: Method,
    query: &'a [(&'static str, String)],
    headers: &'a [(&'a str, String)],
    body: &'a str,
}

impl Request<'_> {
    /// Sends it, again a few times if it fails for a passing reason, and gives the answer.
    async fn send(&self, s3: &S3, location: &Location) -> io::Result<String> {
        let mut pause = PAUSE;
        for _ in 1..TRIES {
            match self.attempt(s3, location).await {
                Err(Failed::Passing(_)) => tokio::time::sleep(pause).await,
                Err(Failed::Final(error)) => return Err(error),
                Ok(answer) => return Ok(answer),
            }
            pause = pause.saturating_mul(2);
        }
        self.attempt(s3, location)
            .await
            .map_err(|failed| match failed {
                Failed::Passing(error) | Failed::Final(error) => error,
            })
    }

    async fn attempt(&self, s3: &S3, location: &Location) -> Result<String, Failed> {
        let final_io = |error: object_store::Error| Failed::Final(io_error(error));
        let mut options = SignedUrlOptions::new().with_query(
            self.query
                .iter()
                .map(|(name, value)| (*name, value.clone())),
        );
        let mut request = HttpRequest::new(HttpRequestBody::from(self.body.to_owned()));
        for (name, value) in self.headers {
            let name = HeaderName::from_bytes(name.as_bytes());
            let name = name.map_err(|error| Failed::Final(io::Error::other(error)))?;
            let value = HeaderValue::from_str(value);
            let value = value.map_err(|error| Failed::Final(io::Error::other(error)))?;
            options = options.with_signed_header(name.clone(), value.clone());
            request.headers_mut().insert(name, value);
        }
        let url = s3
            .store
            .signed_url_opts(self.method.clone(), &location.path, EXPIRY, &options)
            .await
            .map_err(final_io)?;
        *request.method_mut() = self.method.clone();
        let uri = url.as_str().parse();
        *request.uri_mut() = uri.map_err(|error| Failed::Final(io::Error::other(error)))?;
        let answer = s3.http.execute(request).await;
        let answer = answer.map_err(|error| Failed::Passing(io::Error::other(error)))?;
        let (status, body) = (answer.status(), answer.into_body());
        let mut text = Vec::new();
        let mut stream = body.bytes_stream();
        while let Some(part) = stream.next().await {
            let part = part.map_err(|error| Failed::Passing(io::Error::other(error)))?;
            if text.len().saturating_add(part.len()) > ANSWER_MAX {
                return Err(Failed::Final(io::Error::other(
                    "the store's answer is too long",
                )));
            }
            text.extend_from_slice(&part);
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        // S3 reports failures of long requests under the status 200.
        if status.is_success() && !text.contains("<Error>") {
            return Ok(text);
        }
        Err(failure(status.as_u16(), &text))
    }
}

enum Failed {
    /// Another attempt may do.
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

/// Percent-encodes a key for the header that names a copy's source.
fn encoded(key: &str) -> String {
    let mut out = String::with_capacity(key.len());
    for byte in key.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            _ = std::fmt::Write::write_fmt(&mut out, format_args!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_the_body_and_none_is_too_short() {
        for body_len in [
            PART_MIN,
            COPY - 1,
            COPY,
            COPY + 1,
            3 * COPY + 17,
            100 * COPY - 1,
        ] {
            let mut at = 0;
            for (from, to) in pieces(body_len) {
                assert_eq!(from, at);
                assert!((PART_MIN..=COPY).contains(&(to - from)), "{from}..{to}");
                at = to;
            }
            assert_eq!(at, body_len);
        }
    }

    #[test]
    fn keys_are_encoded_for_a_header() {
        assert_eq!(encoded("a/b-c_d.e~f"), "a/b-c_d.e~f");
        assert_eq!(encoded("é +%\r\n"), "%C3%A9%20%2B%25%0D%0A");
    }

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
