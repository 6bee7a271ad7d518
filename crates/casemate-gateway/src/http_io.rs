//! Conversion between hyper's messages and the messages of this protocol.

use std::convert::Infallible;

use casemate_message::{Fields, MessageError, Request, Response, SIGNATURE_FIELDS};
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Bytes, Frame};

/// Fields that belong to one connection (RFC 9110, section 7.6.1) or that this program sets.
const NOT_FORWARDED: [&str; 12] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Complete content, with trailers.
pub(crate) type Content = BoxBody<Bytes, Infallible>;

/// Returns a body of known length, or a chunked one if there are trailers.
fn content(bytes: Vec<u8>, trailers: HeaderMap) -> Content {
    if trailers.is_empty() {
        return Full::from(bytes).boxed();
    }
    let frames = [Frame::data(Bytes::from(bytes)), Frame::trailers(trailers)];
    StreamBody::new(stream::iter(frames.map(Ok))).boxed()
}

/// Copies the end-to-end fields.
///
/// Skips a field whose value a protected message cannot carry, rather than fail the whole message.
pub(crate) fn forwarded_fields(from: &HeaderMap, into: &mut Fields) -> Result<(), MessageError> {
    let named_by_connection: Vec<_> = from
        .get_all(http::header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    for (name, value) in from {
        let name = name.as_str();
        if is_local(name) || named_by_connection.iter().any(|named| named == name) {
            continue;
        }
        let Ok(value) = value.to_str() else {
            tracing::debug!(name, "skipped a field whose value is not ASCII");
            continue;
        };
        into.push(name, value)?;
    }
    Ok(())
}

/// Copies the trailers, except those that repeat a field.
pub(crate) fn forwarded_trailers(
    from: &HeaderMap,
    into: &mut Response,
) -> Result<(), MessageError> {
    let mut trailers = Fields::default();
    forwarded_fields(from, &mut trailers)?;
    for (name, value) in trailers.iter() {
        if !into.fields.contains(name) {
            into.trailers.push(name, value)?;
        }
    }
    Ok(())
}

fn is_local(name: &str) -> bool {
    NOT_FORWARDED.contains(&name) || SIGNATURE_FIELDS.contains(&name)
}

/// Copies fields into hyper's map, without the signature fields.
pub(crate) fn restore_fields(from: &Fields, into: &mut HeaderMap) {
    for (name, value) in from.iter() {
        if is_local(name) {
            continue;
        }
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name.as_bytes()),
            HeaderValue::from_str(value),
        ) {
            into.append(name, value);
        }
    }
}

/// Announces the trailers in a `trailer` field (RFC 9110, section 6.6.2) and returns them.
fn announce_trailers(from: &Fields, fields: &mut HeaderMap) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    restore_fields(from, &mut trailers);
    for name in trailers.keys() {
        fields.append(http::header::TRAILER, name.clone().into());
    }
    trailers
}

/// Converts a verified response for a plain client.
pub(crate) fn to_plain(response: Response) -> http::Response<Content> {
    let mut fields = HeaderMap::new();
    restore_fields(&response.fields, &mut fields);
    let trailers = announce_trailers(&response.trailers, &mut fields);
    let mut plain = http::Response::new(content(response.content, trailers));
    *plain.status_mut() = StatusCode::from_u16(response.status).unwrap_or(StatusCode::BAD_GATEWAY);
    *plain.headers_mut() = fields;
    plain
}

/// Builds a request to an upstream at `uri` from the head and the content.
pub(crate) fn to_upstream(
    head: &Request,
    bytes: Vec<u8>,
    uri: http::Uri,
) -> Result<http::Request<Content>, http::Error> {
    let mut fields = HeaderMap::new();
    restore_fields(&head.fields, &mut fields);
    let trailers = announce_trailers(&head.trailers, &mut fields);
    let mut plain = http::Request::builder()
        .method(head.method.as_str())
        .uri(uri)
        .body(content(bytes, trailers))?;
    *plain.headers_mut() = fields;
    Ok(plain)
}
