//! Requests and responses, and their binary form (RFC 9292).

use std::fmt;

use bhttp::{ControlData, Message, StatusCode};

use crate::{
    codec::{decode, encode},
    fields::{Fields, MessageError, check_len, check_sections, text},
    limits::PATH_BYTES_MAX,
};

/// A request.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// Method, such as `POST`.
    pub method: String,
    /// Host and optional port.
    pub authority: String,
    /// Path with its query; begins with `/`.
    pub path: String,
    /// Header fields.
    pub fields: Fields,
    /// Content.
    pub content: Vec<u8>,
    /// Fields after the content.
    pub trailers: Fields,
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
        // CONNECT opens a tunnel. TRACE echoes content that only the two ends may see.
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
            trailers: Fields::default(),
        })
    }

    /// Returns the path without its query.
    pub fn path_only(&self) -> &str {
        self.path.split('?').next().unwrap_or(&self.path)
    }

    /// Returns the query with its question mark; `?` alone if there is no query (RFC 9421, section
    /// 2.2.7).
    pub fn query(&self) -> &str {
        self.path
            .find('?')
            .and_then(|at| self.path.get(at..))
            .unwrap_or("?")
    }

    /// Encodes the request with known length.
    ///
    /// # Errors
    ///
    /// [`MessageError::NotBinaryHttp`] if a part cannot be encoded; [`Request::new`] rules that
    /// out.
    pub fn to_bhttp(&self) -> Result<Vec<u8>, MessageError> {
        let mut message = Message::request(
            self.method.clone().into_bytes(),
            b"https".to_vec(),
            self.authority.clone().into_bytes(),
            self.path.clone().into_bytes(),
        );
        encode(&mut message, &self.fields, &self.content, &self.trailers)
    }

    /// Decodes a request of known or indeterminate length.
    ///
    /// # Errors
    ///
    /// [`MessageError`] if the message is malformed or exceeds a limit.
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
        request.trailers = Fields::from_bhttp(message.trailer())?;
        check_sections(&request.fields, &request.trailers)?;
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
    /// Fields after the content.
    pub trailers: Fields,
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
            trailers: Fields::default(),
        })
    }

    /// Encodes the response with known length.
    ///
    /// # Errors
    ///
    /// As [`Request::to_bhttp`].
    pub fn to_bhttp(&self) -> Result<Vec<u8>, MessageError> {
        let status =
            StatusCode::try_from(self.status).map_err(|_| MessageError::BadBytes("status"))?;
        let mut message = Message::response(status);
        encode(&mut message, &self.fields, &self.content, &self.trailers)
    }

    /// Decodes a response of known or indeterminate length.
    ///
    /// # Errors
    ///
    /// [`MessageError`] if the message is malformed or exceeds a limit.
    pub fn from_bhttp(bytes: &[u8]) -> Result<Self, MessageError> {
        let message = decode(bytes)?;
        let ControlData::Response(status) = message.control() else {
            return Err(MessageError::WrongKind);
        };
        let mut response = Self::new(status.code(), message.content().to_vec())?;
        response.fields = Fields::from_bhttp(message.header())?;
        response.trailers = Fields::from_bhttp(message.trailer())?;
        check_sections(&response.fields, &response.trailers)?;
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{FIELD_BYTES_MAX, FIELDS_MAX};

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
    fn a_request_round_trips_with_and_without_padding() {
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
    fn connect_and_trace_are_refused() {
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
