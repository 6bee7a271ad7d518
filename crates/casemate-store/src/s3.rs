//! S3: server-side copies of parts, and attributes that the client does not read.

use std::io;

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::{Method, header::IF_MATCH};
use object_store::{Attribute, ObjectStoreExt, PutMultipartOptions, TagSet, multipart::PartId};
use serde::{Deserialize, Serialize};

use crate::{
    io_error::{Changed, io_error},
    location::{Description, Provider, Version},
    request::{Request, Requests},
    upload,
};

/// Smallest part that S3 accepts, except for the last one, in bytes.
pub(crate) const PART_MIN: u64 = 5 << 20;
/// Number of bytes that the object store copies in one request; it allows five times as many.
const COPY: u64 = 1 << 30;
/// Maximum number of concurrent copies.
const UNDER_WAY: usize = 4;

/// An S3 bucket, with the requests that the client does not support.
pub(crate) struct S3 {
    pub(crate) bucket: String,
    pub(crate) requests: Requests,
}

#[async_trait]
impl Provider for S3 {
    /// Reads the attributes including storage class and tags, which bucket rules may depend on.
    async fn description(&self, version: Version<'_>) -> io::Result<Description> {
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
        let location = version.location;
        let mut attributes = version.attributes.clone();
        let mut tags = TagSet::default();
        let request = |method, query| Request {
            method,
            query,
            headers: &[],
            body: "",
        };
        let head = request(Method::HEAD, &[]);
        let headers = head.send(&self.requests, location).await?.headers;
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        if let Some(class) = text("x-amz-storage-class") {
            attributes.insert(Attribute::StorageClass, class.to_owned().into());
        }
        if text("x-amz-tagging-count").is_some_and(|count| count != "0") {
            let query = [("tagging", String::new())];
            let get = request(Method::GET, &query);
            let answer = get.send(&self.requests, location).await?;
            let found: Tagging = quick_xml::de::from_str(&answer.text).map_err(io::Error::other)?;
            for Tag { key, value } in &found.set.tags {
                tags.push(key, value);
            }
        }
        Ok(Description { attributes, tags })
    }

    /// Lets the object store copy the body, sends the tail, and completes the upload if the object
    /// was not replaced.
    async fn replace_tail(
        &self,
        version: Version<'_>,
        body_len: u64,
        tail: &[u8],
    ) -> Option<io::Result<()>> {
        Some(self.copy_parts(version, body_len, tail).await)
    }
}

impl S3 {
    async fn copy_parts(&self, version: Version<'_>, body_len: u64, tail: &[u8]) -> io::Result<()> {
        let location = version.location;
        let bucket = &location.bucket;
        let described = self.description(version).await?;
        let options = PutMultipartOptions {
            attributes: described.attributes,
            tags: described.tags,
            ..PutMultipartOptions::default()
        };
        let id = upload::start(bucket, &location.path, options)
            .await
            .map_err(io_error)?;
        let done = async {
            let copies = stream::iter(pieces(body_len).enumerate())
                .map(|(number, piece)| self.copy_part(version, &id, number, piece))
                .buffered(UNDER_WAY);
            let mut parts: Vec<PartId> = copies.try_collect().await?;
            let last = bucket
                .multipart
                .put_part(&location.path, &id, parts.len(), tail.to_vec().into())
                .await;
            parts.push(last.map_err(io_error)?);
            self.complete(version, &id, &parts).await
        }
        .await;
        if done.is_err() {
            // The parts cannot be read; the object store keeps them until its lifecycle rules
            // remove them.
            _ = bucket.multipart.abort_multipart(&location.path, &id).await;
        }
        done
    }

    async fn copy_part(
        &self,
        version: Version<'_>,
        id: &str,
        number: usize,
        (from, to): (u64, u64),
    ) -> io::Result<PartId> {
        #[derive(Deserialize)]
        struct Copied {
            #[serde(rename = "ETag")]
            e_tag: String,
        }
        let location = version.location;
        let source = format!("{}/{}", self.bucket, encoded(location.path.as_ref()));
        let mut headers = vec![
            ("x-amz-copy-source", source),
            (
                "x-amz-copy-source-range",
                format!("bytes={from}-{}", to.saturating_sub(1)),
            ),
        ];
        if let Some(e_tag) = &version.meta.e_tag {
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
        let answer = request.send(&self.requests, location).await?;
        let copied: Copied = quick_xml::de::from_str(&answer.text).map_err(io::Error::other)?;
        Ok(PartId {
            content_id: copied.e_tag,
        })
    }

    /// Completes the upload on the condition that the object was not replaced. Servers without this
    /// condition were checked just before.
    async fn complete(&self, version: Version<'_>, id: &str, parts: &[PartId]) -> io::Result<()> {
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
        let location = version.location;
        let now = location.bucket.store.head(&location.path).await;
        if now.map_err(io_error)?.e_tag != version.meta.e_tag {
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
        let condition: Vec<_> = version
            .meta
            .e_tag
            .iter()
            .map(|e_tag| (IF_MATCH.as_str(), e_tag.clone()))
            .collect();
        let query = [("uploadId", id.to_owned())];
        let request = |headers| Request {
            method: Method::POST,
            query: &query,
            headers,
            body: &body,
        };
        match request(&condition).send(&self.requests, location).await {
            // Not every S3-compatible server supports the condition; the object was checked a
            // moment ago.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                request(&[]).send(&self.requests, location).await.map(drop)
            }
            done => done.map(drop),
        }
    }
}

/// Cuts the body into even pieces of at most [`COPY`] bytes, none shorter than S3 allows.
fn pieces(body_len: u64) -> impl Iterator<Item = (u64, u64)> {
    let count = body_len.div_ceil(COPY).max(1);
    let each = body_len.div_ceil(count);
    (0..count).map(move |number| {
        let from = number.saturating_mul(each);
        (from, from.saturating_add(each).min(body_len))
    })
}

/// Percent-encodes a key for the header that names the source of a copy.
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
