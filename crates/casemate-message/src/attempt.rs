//! The values that stay the same in every attempt to deliver one request (`spec/inference.md`,
//! section 5).

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use casemate_crypto::random;
use sfv::{BareItem, Item, Parser};

/// Name of the header field that carries a [`RequestMark`].
pub(crate) const FIELD: &str = "casemate-request";

/// Identifies a request among all requests of its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub [u8; 16]);

/// Identifies a replay record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordId(pub [u8; 16]);

impl RequestId {
    /// Returns a new random id.
    ///
    /// # Errors
    ///
    /// [`casemate_crypto::Error::Randomness`].
    pub fn random() -> Result<Self, casemate_crypto::Error> {
        Ok(Self(random::bytes()?))
    }
}

impl RecordId {
    /// Returns a new random id.
    ///
    /// # Errors
    ///
    /// [`casemate_crypto::Error::Randomness`].
    pub fn random() -> Result<Self, casemate_crypto::Error> {
        Ok(Self(random::bytes()?))
    }
}

/// The value of `casemate-request`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestMark {
    /// The id of the request.
    pub id: RequestId,
    /// Time of the first attempt, in seconds since 1970 UTC.
    pub first: u64,
    /// The replay record that the first attempt was made for.
    pub record: RecordId,
}

impl RequestMark {
    pub(crate) fn to_field(self) -> String {
        let (id, record) = (BASE64.encode(self.id.0), BASE64.encode(self.record.0));
        format!(":{id}:;first={};record=:{record}:", self.first)
    }

    /// Parses a field value; returns `None` if it is malformed.
    pub(crate) fn from_field(value: &str) -> Option<Self> {
        let item: Item = Parser::new(value).parse().ok()?;
        let bytes = |item: &BareItem| item.as_byte_sequence()?.try_into().ok();
        let first = i64::from(item.params.get("first")?.as_integer()?);
        let parsed = Self {
            id: RequestId(bytes(&item.bare_item)?),
            first: u64::try_from(first).ok()?,
            record: RecordId(bytes(item.params.get("record")?)?),
        };
        (item.params.len() == 2).then_some(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_round_trips_and_every_other_form_is_refused() {
        let mark = RequestMark {
            id: RequestId([1; 16]),
            first: 1_800_000_000,
            record: RecordId([2; 16]),
        };
        let (id, record) = ("AQEBAQEBAQEBAQEBAQEBAQ==", "AgICAgICAgICAgICAgICAg==");
        let text = format!(":{id}:;first=1800000000;record=:{record}:");
        assert_eq!(mark.to_field(), text);
        assert_eq!(RequestMark::from_field(&text), Some(mark));
        let turned = format!(":{id}:;record=:{record}:;first=1800000000");
        assert_eq!(RequestMark::from_field(&turned), Some(mark));
        for bad in [
            format!(":{id}:;first=1800000000"),
            format!(":{id}:;record=:{record}:"),
            format!(":{id}:;first=-1;record=:{record}:"),
            format!(":{id}:;first=1.5;record=:{record}:"),
            format!(":{id}:;first=1;record=:AAAA:"),
            format!(":AAAA:;first=1;record=:{record}:"),
            format!("\"{id}\";first=1;record=:{record}:"),
            format!(":{id}:;first=1;record=:{record}:;more"),
            format!(":{id}:;first=1;record=:{record}:, :{id}:"),
            String::new(),
        ] {
            assert_eq!(RequestMark::from_field(&bad), None, "{bad}");
        }
    }
}
