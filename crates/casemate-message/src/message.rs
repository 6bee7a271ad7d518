//! Requests and responses, and their binary form (RFC 9292).

use std::{fmt, io::Cursor};

use bhttp::{ControlData, Message, Mode, StatusCode};

use crate::limits::{FIELD_BYTES_MAX, FIELDS_MAX, PATH_BYTES_MAX};

/// Why a message was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The bytes are no binary HTTP message, or something follows that is not padding.
    #[error("not a binary HTTP message")]
    NotBinaryHttp,
    /// A request where a response is needed, or the other way round.
    #[error("not the expected kind of message")]
    WrongKind,
    /// Too many fields.
    #[error("{actual} header fields exceed the limit of {FIELDS_MAX}")]
    TooManyFields {
        /// Fields in the message.
        actual: usize,
    },
    /// A part of the message is too long.
    #[error("{what} of {actual} bytes exceeds the limit of {limit}")]
    TooLong {
        /// Which part.
        what: &'static str,
        /// Bytes in the message.
        actual: usize,
        /// Most allowed.
        limit: usize,
    },
    /// The method cannot be carried.
    #[error("methods CONNECT and TRACE are not carried")]
    Method,
    /// The scheme is another than `https`.
    #[error("scheme must be https")]
    Scheme,
    /// A part of the message has bytes that HTTP does not allow there.
    #[error("{0} has bytes that are not allowed")]
    BadBytes(&'static str),
}

/// Header fields, in order, names in lower case.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// Adds a field.
    ///
    /// # Errors
    ///
    /// [`MessageError`] if the name is no lower-case token or the value has control characters, is too long or not ASCII.
    pub fn push(&mut self, name: &str, value: &str) -> Result<(), MessageError> {
        let actual = self.0.len().saturating_add(1);
        if actual > FIELDS_MAX {
            return Err(MessageError::TooManyFields { actual });
        }
        let token = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte)
        };
        if name.is_empty() || name.len() > 256 || !name.bytes().all(token) {
            return Err(MessageError::BadBytes("field name"));
        }
        check_len("field value", value.len(), FIELD_BYTES_MAX)?;
        if !value
            .bytes()
            .all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte))
        {
            return Err(MessageError::BadBytes("field value"));
        }
        self.0
            .push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
        Ok(())
    }

    /// The only value of a field; `None` if it is missing or occurs several times.
    pub fn single(&self, name: &str) -> Option<&str> {
        let mut values = self
            .0
            .iter()
            .filter(|(found, _)| found == name)
            .map(|(_, value)| value);
        let first = values.next()?;
        values.next().is_none().then_some(first.as_str())
    }

    /// Whether the field occurs at all.
    pub fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|(found, _)| found == name)
    }

    /// Removes every field with this name.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(found, _)| found != name);
    }

    /// All fields.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    fn from_bhttp(section: &bhttp::FieldSection) -> Result<Self, MessageError> {
        if section.len() > FIELDS_MAX {
            return Err(MessageError::TooManyFields {
                actual: section.len(),
            });
        }
        let mut fields = Self::default();
        for field in section.iter() {
            fields.push(
                text("field name", field.name())?,
                text("field value", field.value())?,
            )?;
        }
        Ok(fields)
    }
}

/// Values may be confidential, so only the names are shown.
impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(name, _)| name))
            .finish()
    }
}

fn text<'a>(what: &'static str, bytes: &'a [u8]) -> Result<&'a str, MessageError> {
    str::from_utf8(bytes).map_err(|_| MessageError::BadBytes(what))
}

fn check_len(what: &'static str, actual: usize, limit: usize) -> Result<(), MessageError> {
    if actual <= limit {
        Ok(())
    } else {
        Err(MessageError::TooLong {
            what,
            actual,
            limit,
        })
    }
}

/// A request.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// Method, such as `POST`.
    pub method: String,
    /// Host and optional port.
    pub authority: String,
    /// Path with its query, beginning with `/`.
    pub path: String,
    /// Header fields.
    pub fields: Fields,
    /// Content.
    pub content: Vec<u8>,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("content_len", &self.content.len())
            .finish_non_exhaustive()
    }
}

impl Request {
    /// Makes a request without fields.
    ///
    /// # Errors
    ///
    /// [`MessageError`] if a part is too long or has bytes that HTTP does not allow there.
    pub fn new(
        method: &str,
        authority: &str,
        path: &str,
        content: Vec<u8>,
    ) -> Result<Self, MessageError> {
        check_len("method", method.len(), 32)?;
        check_len("authority", authority.len(), 256)?;
        check_len("path", path.len(), PATH_BYTES_MAX)?;
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        if method.is_empty() || !method.bytes().all(token) {
            return Err(MessageError::BadBytes("method"));
        }
        // Neither is about a resource: one opens a tunnel, the other echoes what only two ends may see.
        if ["CONNECT", "TRACE"]
            .iter()
            .any(|name| method.eq_ignore_ascii_case(name))
        {
            return Err(MessageError::Method);
        }
        let host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:[]%".contains(&byte);
        if !authority.bytes().all(host) {
            return Err(MessageError::BadBytes("authority"));
        }
        let visible = |byte: u8| (b'!'..=b'~').contains(&byte) && byte != b'#';
        if !path.starts_with('/') || !path.bytes().all(visible) {
            return Err(MessageError::BadBytes("path"));
        }
        let (method, authority, path) =
            (method.into(), authority.to_ascii_lowercase(), path.into());
        Ok(Self {
            method,
            authority,
            path,
            fields: Fields::default(),
            content,
        })
    }

    /// The path without its query.
    pub fn path_only(&self) -> &str {
        self.path.split('?').next().unwrap_or(&self.path)
    }

    /// The query with its question mark; just `?` if there is none (RFC 9421, section 2.2.7).
    pub fn query(&self) -> &str {
        self.path
            .find('?')
            .and_then(|at| self.path.get(at..))
            .unwrap_or("?")
    }

    /// Encodes with known length.
    ///
    /// # Errors
    ///
    /// [`MessageError::NotBinaryHttp`] if a part cannot be encoded, which no [`Request::new`] allows.
    pub fn to_bhttp(&self) -> Result<Vec<u8>, MessageError> {
        let mut message = Message::request(
            self.method.clone().into_bytes(),
            b"https".to_vec(),
            self.authority.clone().into_bytes(),
            self.path.clone().into_bytes(),
        );
        encode(&mut message, &self.fields, &self.content)
    }

    /// Decodes a request of known or indeterminate length.
    ///
    /// # Errors
    ///
    /// [`MessageError`], naming what is wrong.
    pub fn from_bhttp(bytes: &[u8]) -> Result<Self, MessageError> {
        let message = decode(bytes)?;
        let ControlData::Request {
            method,
            scheme,
            authority,
            path,
        } = message.control()
        else {
            return Err(MessageError::WrongKind);
        };
        if scheme != b"https" {
            return Err(MessageError::Scheme);
        }
        let mut request = Self::new(
            text("method", method)?,
            text("authority", authority)?,
            text("path", path)?,
            message.content().to_vec(),
        )?;
        request.fields = Fields::from_bhttp(message.header())?;
        Ok(request)
    }
}

/// A response.
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    /// Status, 200 to 599.
    pub status: u16,
    /// Header fields.
    pub fields: Fields,
    /// Content.
    pub content: Vec<u8>,
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

impl Response {
    /// Makes a response without fields.
    ///
    /// # Errors
    ///
    /// [`MessageError::BadBytes`] for a status that is not final.
    pub fn new(status: u16, content: Vec<u8>) -> Result<Self, MessageError> {
        if !(200..=599).contains(&status) {
            return Err(MessageError::BadBytes("status"));
        }
        Ok(Self {
            status,
            fields: Fields::default(),
            content,
        })
    }

    /// Encodes with known length.
    ///
    /// # Errors
    ///
    /// As [`Request::to_bhttp`].
    pub fn to_bhttp(&self) -> Result<Vec<u8>, MessageError> {
        let status =
            StatusCode::try_from(self.status).map_err(|_| MessageError::BadBytes("status"))?;
        encode(&mut Message::response(status), &self.fields, &self.content)
    }

    /// Decodes a response of known or indeterminate length.
    ///
    /// # Errors
    ///
    /// [`MessageError`], naming what is wrong.
    pub fn from_bhttp(bytes: &[u8]) -> Result<Self, MessageError> {
        let message = decode(bytes)?;
        let ControlData::Response(status) = message.control() else {
            return Err(MessageError::WrongKind);
        };
        let mut response = Self::new(status.code(), message.content().to_vec())?;
        response.fields = Fields::from_bhttp(message.header())?;
        Ok(response)
    }
}

fn encode(message: &mut Message, fields: &Fields, content: &[u8]) -> Result<Vec<u8>, MessageError> {
    fields
        .iter()
        .for_each(|(name, value)| message.put_header(name, value));
    message.write_content(content);
    let mut out = Vec::with_capacity(content.len().saturating_add(1024));
    message
        .write_bhttp(Mode::KnownLength, &mut out)
        .map_err(|_| MessageError::NotBinaryHttp)?;
    Ok(out)
}

/// Splits a QUIC variable-length integer (RFC 9000, section 16) off.
fn take_varint(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let len = 1usize << (bytes.first()? >> 6);
    let (encoded, rest) = bytes.split_at_checked(len)?;
    let value = encoded
        .iter()
        .fold(0u64, |value, byte| (value << 8) | u64::from(*byte));
    let bits = u32::try_from(len).ok()?.checked_mul(8)?.checked_sub(2)?;
    Some((
        usize::try_from(value & 1u64.checked_shl(bits)?.checked_sub(1)?).ok()?,
        rest,
    ))
}

fn skip_prefixed(bytes: &[u8]) -> Option<&[u8]> {
    let (len, rest) = take_varint(bytes)?;
    rest.get(len..)
}

/// Counts the fields of the first section without allocating, because the decoder allocates for each.
///
/// A message that cannot be walked is left to the decoder, which refuses it where it matters: the walk only fails past the
/// end of the bytes.
fn refuse_many_fields(bytes: &[u8]) -> Result<(), MessageError> {
    let many = MessageError::TooManyFields {
        actual: FIELDS_MAX.saturating_add(1),
    };
    let Some((framing, mut rest)) = take_varint(bytes) else {
        return Ok(());
    };
    // A request begins with method, scheme, authority and path, a response with its status.
    let walked = if framing % 2 == 0 {
        (0..4).try_fold(rest, |rest, _| skip_prefixed(rest))
    } else {
        let status = take_varint(rest);
        // An informational response would be followed by further sections.
        if status.is_some_and(|(status, _)| status < 200) {
            return Err(MessageError::NotBinaryHttp);
        }
        status.map(|(_, rest)| rest)
    };
    let Some(after_control) = walked else {
        return Ok(());
    };
    rest = after_control;
    // Header fields, then trailers.
    for _ in 0..2 {
        let section = if framing < 2 {
            let Some((len, after)) = take_varint(rest) else {
                return Ok(());
            };
            let Some((section, after)) = after.split_at_checked(len) else {
                return Ok(());
            };
            rest = after;
            count_fields(section, false).1
        } else {
            let (after, count) = count_fields(rest, true);
            rest = after;
            count
        };
        if section > FIELDS_MAX {
            return Err(many);
        }
        // Content lies between the two sections: one chunk, or chunks up to an empty one.
        loop {
            let Some((len, after)) = take_varint(rest) else {
                return Ok(());
            };
            let Some(after) = after.get(len..) else {
                return Ok(());
            };
            rest = after;
            if framing < 2 || len == 0 {
                break;
            }
        }
    }
    Ok(())
}

/// Number of fields, at most one more than is allowed, and what follows them.
fn count_fields(mut bytes: &[u8], terminated: bool) -> (&[u8], usize) {
    let mut count = 0;
    while count <= FIELDS_MAX {
        if terminated && bytes.first() == Some(&0) {
            return (bytes.get(1..).unwrap_or_default(), count);
        }
        let Some(rest) = skip_prefixed(bytes)
            .filter(|_| !bytes.is_empty())
            .and_then(skip_prefixed)
        else {
            break;
        };
        bytes = rest;
        count = count.saturating_add(1);
    }
    (bytes, count)
}

/// Decodes, and refuses informational responses, trailers and anything but zeros at the end.
fn decode(bytes: &[u8]) -> Result<Message, MessageError> {
    refuse_many_fields(bytes)?;
    let mut cursor = Cursor::new(bytes);
    let message = Message::read_bhttp(&mut cursor).map_err(|_| MessageError::NotBinaryHttp)?;
    let end = usize::try_from(cursor.position()).unwrap_or(usize::MAX);
    let padding = bytes.get(end..).unwrap_or_default();
    let plain = message.informational().is_empty() && message.trailer().is_empty();
    if plain && padding.iter().all(|byte| *byte == 0) {
        return Ok(message);
    }
    Err(MessageError::NotBinaryHttp)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        let mut request = Request::new(
            "POST",
            "Gateway.example:8443",
            "/predict?x=1",
            b"{}".to_vec(),
        )
        .unwrap();
        request
            .fields
            .push("content-type", "application/json")
            .unwrap();
        request
    }

    #[test]
    fn a_request_survives_its_binary_form_with_and_without_padding() {
        let mut bytes = request().to_bhttp().unwrap();
        assert_eq!(Request::from_bhttp(&bytes).unwrap(), request());
        assert_eq!(
            (request().path_only(), request().query()),
            ("/predict", "?x=1")
        );
        bytes.extend([0; 7]);
        assert_eq!(Request::from_bhttp(&bytes).unwrap(), request());
        bytes.push(1);
        assert_eq!(
            Request::from_bhttp(&bytes),
            Err(MessageError::NotBinaryHttp)
        );
        assert_eq!(
            Response::from_bhttp(&request().to_bhttp().unwrap()),
            Err(MessageError::WrongKind)
        );
    }

    #[test]
    fn smuggled_line_breaks_and_fragments_are_refused() {
        let mut fields = Fields::default();
        let refused = fields.push("x", "a\r\ninjected: b").unwrap_err();
        assert_eq!(refused, MessageError::BadBytes("field value"));
        assert_eq!(
            fields.push("X", "a"),
            Err(MessageError::BadBytes("field name"))
        );
        for path in ["", "predict", "/a b", "/a\n", "/a#b", "/ä"] {
            let refused = Request::new("GET", "h", path, Vec::new()).unwrap_err();
            assert_eq!(refused, MessageError::BadBytes("path"), "{path}");
        }
    }

    #[test]
    fn methods_that_are_not_about_a_resource_are_refused() {
        for method in ["CONNECT", "TRACE", "trace"] {
            let refused = Request::new(method, "h", "/", Vec::new()).unwrap_err();
            assert_eq!(refused, MessageError::Method, "{method}");
        }
        assert_eq!(
            Request::new("PATCH", "h", "/", Vec::new()).unwrap().method,
            "PATCH"
        );
    }

    #[test]
    fn a_message_of_many_tiny_fields_is_refused_before_it_is_decoded() {
        let fields = b"\x01a\x00".repeat(1_000_000);
        let head = b"\x00\x03GET\x05https\x01h\x01/".to_vec();
        let len = 0x8000_0000u32 | u32::try_from(fields.len()).unwrap();
        let known = [head.as_slice(), &len.to_be_bytes(), &fields, b"\x00\x00"].concat();
        let refused = Request::from_bhttp(&known).unwrap_err();
        assert_eq!(refused, MessageError::TooManyFields { actual: 129 });
        let head = b"\x02\x03GET\x05https\x01h\x01/".to_vec();
        let open = [head.as_slice(), &fields, b"\x00\x00\x00"].concat();
        let refused = Request::from_bhttp(&open).unwrap_err();
        assert_eq!(refused, MessageError::TooManyFields { actual: 129 });
        let trailers = [head.as_slice(), b"\x00\x00", &fields, b"\x00"].concat();
        let refused = Request::from_bhttp(&trailers).unwrap_err();
        assert_eq!(refused, MessageError::TooManyFields { actual: 129 });
        let informational = Response::from_bhttp(b"\x01\x40\x67\x00\x40\xc8\x00\x00\x00");
        assert_eq!(informational, Err(MessageError::NotBinaryHttp));
    }

    #[test]
    fn limits_hold_on_both_sides() {
        let mut fields = Fields::default();
        for _ in 0..FIELDS_MAX {
            fields.push("x", &"v".repeat(FIELD_BYTES_MAX)).unwrap();
        }
        let refused = fields.push("x", "v").unwrap_err();
        assert_eq!(refused, MessageError::TooManyFields { actual: 129 });
        let mut fields = Fields::default();
        let refused = fields
            .push("x", &"v".repeat(FIELD_BYTES_MAX + 1))
            .unwrap_err();
        assert_eq!(
            refused.to_string(),
            "field value of 16385 bytes exceeds the limit of 16384"
        );
        assert_eq!(fields.single("x"), None);
    }
}
