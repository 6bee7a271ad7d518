//! Header fields and trailers, and their validation.

use std::fmt;

use crate::limits::{
    FIELD_BYTES_MAX, FIELDS_MAX, INPUT_BYTES_MAX, NAME_BYTES_MAX, NAMES_BYTES_MAX,
};

pub(crate) const SIGNATURE_INPUT: &str = "signature-input";
pub(crate) const SIGNATURE: &str = "signature";

/// The fields that signing adds.
pub const SIGNATURE_FIELDS: [&str; 6] = [
    "date",
    "content-digest",
    "casemate-channel",
    "casemate-request",
    SIGNATURE_INPUT,
    SIGNATURE,
];

/// Why a message was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// The bytes are not a binary HTTP message, or are followed by something other than padding.
    #[error("not a binary HTTP message")]
    NotBinaryHttp,
    /// A request where a response is expected, or a response where a request is expected.
    #[error("a request where a response is expected, or the reverse")]
    WrongKind,
    /// Too many fields.
    #[error("{actual} header fields and trailers exceed the limit of {FIELDS_MAX}")]
    TooManyFields {
        /// Number of fields in the message.
        actual: usize,
    },
    /// A part of the message is too long.
    #[error("{what} of {actual} bytes exceeds the limit of {limit}")]
    TooLong {
        /// The part.
        what: &'static str,
        /// Its length in bytes.
        actual: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The method is CONNECT or TRACE.
    #[error("methods CONNECT and TRACE are not supported")]
    Method,
    /// The scheme is not `https`.
    #[error("scheme must be https")]
    Scheme,
    /// A trailer has the name of a header field, or a name reserved for header fields.
    #[error("a trailer repeats a header field or has a reserved name")]
    Trailer,
    /// A part of the message has bytes that HTTP does not allow there.
    #[error("{0} contains bytes that are not allowed")]
    BadBytes(&'static str),
}

/// Header fields or trailers, in order, names in lower case.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// Adds a field.
    ///
    /// # Errors
    ///
    /// [`MessageError`] if the name is not a lower-case token, or if the value is too long, not
    /// ASCII or has control characters.
    pub fn push(&mut self, name: &str, value: &str) -> Result<(), MessageError> {
        let actual = self.0.len().saturating_add(1);
        if actual > FIELDS_MAX {
            return Err(MessageError::TooManyFields { actual });
        }
        let token = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte)
        };
        check_len("field name", name.len(), NAME_BYTES_MAX)?;
        if name.is_empty() || !name.bytes().all(token) {
            return Err(MessageError::BadBytes("field name"));
        }
        let limit = if name == SIGNATURE_INPUT {
            INPUT_BYTES_MAX
        } else {
            FIELD_BYTES_MAX
        };
        check_len("field value", value.len(), limit)?;
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

    /// Returns the value of a field that occurs once; `None` if it is missing or occurs several
    /// times.
    pub fn single(&self, name: &str) -> Option<&str> {
        let mut values = self.values(name);
        let first = values.next()?;
        values.next().is_none().then_some(first)
    }

    /// Returns every value of a field, in order.
    pub fn values<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        self.iter()
            .filter(move |(found, _)| *found == name)
            .map(|(_, value)| value)
    }

    /// Returns every name once, in order of first occurrence.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for (name, _) in self.iter() {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// Returns whether the field occurs.
    pub fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|(found, _)| found == name)
    }

    /// Returns whether there are no fields.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Removes every field with this name.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(found, _)| found != name);
    }

    /// Returns all fields, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub(crate) fn from_bhttp(section: &bhttp::FieldSection) -> Result<Self, MessageError> {
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

    fn names_bytes(&self) -> usize {
        self.0.iter().map(|(name, _)| name.len()).sum()
    }
}

/// Checks the rules that apply to the fields and trailers of a message together.
pub(crate) fn check_sections(fields: &Fields, trailers: &Fields) -> Result<(), MessageError> {
    let actual = fields.0.len().saturating_add(trailers.0.len());
    if actual > FIELDS_MAX {
        return Err(MessageError::TooManyFields { actual });
    }
    let names = fields.names_bytes().saturating_add(trailers.names_bytes());
    check_len("all field names", names, NAMES_BYTES_MAX)?;
    // An implementation that merges trailers into the header section must not see a message other
    // than the signed one.
    let bad = |name: &str| fields.contains(name) || SIGNATURE_FIELDS.contains(&name);
    match trailers.iter().find(|(name, _)| bad(name)) {
        None => Ok(()),
        Some(_) => Err(MessageError::Trailer),
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

pub(crate) fn text<'a>(what: &'static str, bytes: &'a [u8]) -> Result<&'a str, MessageError> {
    str::from_utf8(bytes).map_err(|_| MessageError::BadBytes(what))
}

pub(crate) fn check_len(
    what: &'static str,
    actual: usize,
    limit: usize,
) -> Result<(), MessageError> {
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
