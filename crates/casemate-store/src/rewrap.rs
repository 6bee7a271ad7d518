//! Changing the recipients of an object: the store copies the body by itself, only the new tail is sent.

use std::io;

use casemate_seal::{NewTail, ReadAt};
use futures_util::{StreamExt, TryStreamExt, stream};
use http::{Method, header::IF_MATCH};
use object_store::{
    Attribute, Attributes, PutMode, PutMultipartOptions, PutOptions, TagSet, UpdateVersion,
    multipart::PartId,
};
use serde::{Deserialize, Serialize};

use crate::{
    RemoteObject,
    client::{Bucket, S3},
    error::{Changed, io_error},
    object::ends_with,
    request::Request,
    upload,
};

/// S3 takes no smaller part, except as the last one.
const PART_MIN: u64 = 5 << 20;
/// Bytes that the store copies in one request; it allows five times as many.
const COPY: u64 = 1 << 30;
/// Copies that are under way at once.
const UNDER_WAY: usize = 4;
/// Bytes that are moved at once where the store cannot copy by itself.
const MOVED: usize = 8 << 20;

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
    let handle = &object.location().bucket.handle;
    let said = handle.block_on(Said::of(object))?;
    let options = PutOptions {
        mode,
        attributes: said.attributes,
        tags: said.tags,
        ..PutOptions::default()
    };
    upload::put(object.location(), whole, options)
}

/// What the store says of an object, and shall say of the one in its place.
struct Said {
    attributes: Attributes,
    tags: TagSet,
}

impl Said {
    /// On S3 with storage class and tags, which rules of the bucket may depend on. Where it counts tags and does not show them, this is an error: they
    /// would be lost.
    async fn of(object: &RemoteObject) -> io::Result<Self> {
        #[derive(Deserialize)]
        struct Tagging {
            #[serde(rename = "TagSet")]
            set: Set,
        }
        #[derive(Deserialize)]
        struct Set {
            #[serde(rename = "Tag", default)]
            tags: Vec<Tag>,
        }
        #[derive(Deserialize)]
        struct Tag {
            #[serde(rename = "Key")]
            key: String,
            #[serde(rename = "Value", default)]
            value: String,
        }
        let location = object.location();
        let mut attributes = object.attributes().clone();
        let mut tags = TagSet::default();
        let Some(s3) = &location.bucket.s3 else {
            return Ok(Self { attributes, tags });
        };
        let request = |method, query| Request {
            method,
            query,
            headers: &[],
            body: "",
        };
        let headers = request(Method::HEAD, &[]).send(s3, location).await?.headers;
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        if let Some(class) = text("x-amz-storage-class") {
            attributes.insert(Attribute::StorageClass, class.to_owned().into());
        }
        if text("x-amz-tagging-count").is_some_and(|count| count != "0") {
            let query = [("tagging", String::new())];
            let answer = request(Method::GET, &query).send(s3, location).await?;
            let found: Tagging = quick_xml::de::from_str(&answer.text).map_err(io::Error::other)?;
            for Tag { key, value } in &found.set.tags {
                tags.push(key, value);
            }
        }
        Ok(Self { attributes, tags })
    }
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
    let said = Said::of(object).await?;
    let options = PutMultipartOptions {
        attributes: said.attributes,
        tags: said.tags,
        ..PutMultipartOptions::default()
    };
    let id = upload::start(bucket, &location.path, options).await;
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
    let copied: Copied = quick_xml::de::from_str(&answer.text).map_err(io::Error::other)?;
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
}
