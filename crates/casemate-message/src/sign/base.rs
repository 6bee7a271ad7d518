//! Signature bases and signature parameters (RFC 9421, sections 2.3, 2.5 and 4).

use std::fmt::Write as _;

use sfv::{BareItem, Dictionary, InnerList, ListEntry, ListSerializer, Parser};

use super::SignError;
use crate::{Request, Response, message::Fields};

pub(super) const REQUEST_COMPONENTS: [&str; 7] = [
    "@method",
    "@authority",
    "@path",
    "@query",
    "content-digest",
    "date",
    "casemate-channel",
];
pub(super) const RESPONSE_COMPONENTS: [&str; 4] =
    ["@status", "content-digest", "date", "casemate-channel"];
const CONTENT_TYPE: &str = "content-type";

/// What a signature can cover in one message.
pub(super) struct Covered<'a> {
    derived: Vec<(&'static str, String)>,
    fields: &'a Fields,
}

impl<'a> Covered<'a> {
    pub(super) fn request(request: &'a Request) -> Self {
        let derived = vec![
            ("@method", request.method.clone()),
            ("@authority", request.authority.clone()),
            ("@path", request.path_only().to_owned()),
            ("@query", request.query().to_owned()),
        ];
        Self {
            derived,
            fields: &request.fields,
        }
    }

    pub(super) fn response(response: &'a Response) -> Self {
        let derived = vec![("@status", response.status.to_string())];
        Self {
            derived,
            fields: &response.fields,
        }
    }

    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.single(name)
    }

    /// The components that must be covered, no more and no fewer.
    pub(super) fn required(&self, components: &[&'static str]) -> Vec<&'static str> {
        let content_type = self.fields.contains(CONTENT_TYPE).then_some(CONTENT_TYPE);
        components.iter().copied().chain(content_type).collect()
    }

    fn value(&self, name: &str) -> Option<&str> {
        let derived = self.derived.iter().find(|(found, _)| *found == name);
        derived
            .map(|(_, value)| value.as_str())
            .or_else(|| self.field(name))
    }

    /// The signature base: a line for each component, and the parameters.
    pub(super) fn base(&self, input: &ParsedInput) -> Result<String, SignError> {
        let mut base = String::new();
        for name in &input.components {
            let value = self
                .value(name)
                .ok_or(SignError::Malformed("covered components"))?;
            // Writing into a string cannot fail.
            _ = writeln!(base, "\"{name}\": {value}");
        }
        _ = write!(base, "\"@signature-params\": {}", input.serialized);
        Ok(base)
    }
}

/// One member of `Signature-Input`.
#[derive(Debug)]
pub(super) struct ParsedInput {
    pub(super) components: Vec<String>,
    pub(super) created: u64,
    pub(super) nonce: String,
    pub(super) key_id: String,
    pub(super) alg: String,
    pub(super) tag: String,
    /// The inner list with its parameters, as it enters the base.
    pub(super) serialized: String,
}

/// What both signatures of one message have in common.
pub(super) struct Parameters<'a> {
    pub(super) created: u64,
    pub(super) nonce: &'a str,
    pub(super) key_id: &'a str,
    pub(super) tag: &'a str,
}

impl Parameters<'_> {
    /// The parameters of one signature; every text here is free of quotes and backslashes.
    pub(super) fn for_algorithm(
        &self,
        covered: &Covered<'_>,
        components: &[&'static str],
        alg: &str,
    ) -> ParsedInput {
        let Self {
            created,
            nonce,
            key_id,
            tag,
        } = *self;
        let components: Vec<String> = covered
            .required(components)
            .into_iter()
            .map(str::to_owned)
            .collect();
        let list: Vec<_> = components
            .iter()
            .map(|name| format!("\"{name}\""))
            .collect();
        let list = list.join(" ");
        let serialized = format!(
            "({list});created={created};nonce=\"{nonce}\";keyid=\"{key_id}\";alg=\"{alg}\";tag=\"{tag}\""
        );
        let text = str::to_owned;
        ParsedInput {
            components,
            created,
            nonce: text(nonce),
            key_id: text(key_id),
            alg: text(alg),
            tag: text(tag),
            serialized,
        }
    }
}

const NOT_TWO: SignError = SignError::Malformed("exactly the labels `c` and `pq` are needed");

fn two_members(value: &str, labels: [&str; 2]) -> Result<[ListEntry; 2], SignError> {
    let mut members: Dictionary = Parser::new(value)
        .parse()
        .map_err(|_| SignError::Malformed("not a structured field dictionary"))?;
    if members.len() != labels.len() {
        return Err(NOT_TWO);
    }
    let [first, second] = labels.map(|label| members.shift_remove(label));
    Ok([first.ok_or(NOT_TWO)?, second.ok_or(NOT_TWO)?])
}

pub(super) fn parse_inputs(value: &str, labels: [&str; 2]) -> Result<[ParsedInput; 2], SignError> {
    let [first, second] = two_members(value, labels)?;
    Ok([parse_input(first)?, parse_input(second)?])
}

fn parse_input(member: ListEntry) -> Result<ParsedInput, SignError> {
    let ListEntry::InnerList(list) = member else {
        return Err(SignError::Malformed("a label is no inner list"));
    };
    let mut components = Vec::with_capacity(list.items.len());
    for item in &list.items {
        let name = item
            .bare_item
            .as_string()
            .filter(|_| item.params.is_empty());
        let name = name
            .ok_or(SignError::Malformed("covered components"))?
            .as_str()
            .to_owned();
        if components.contains(&name) {
            return Err(SignError::Malformed("covered components"));
        }
        components.push(name);
    }
    if list.params.len() != 5 {
        return Err(SignError::Malformed("signature parameters"));
    }
    let text = |name: &'static str| {
        let value = list.params.get(name).and_then(BareItem::as_string);
        value
            .map(|text| text.as_str().to_owned())
            .ok_or(SignError::Malformed(name))
    };
    let created = list.params.get("created").and_then(BareItem::as_integer);
    let created = created.and_then(|value| u64::try_from(i64::from(value)).ok());
    Ok(ParsedInput {
        created: created.ok_or(SignError::Malformed("created"))?,
        nonce: text("nonce")?,
        key_id: text("keyid")?,
        alg: text("alg")?,
        tag: text("tag")?,
        serialized: serialize(&list)?,
        components,
    })
}

fn serialize(list: &InnerList) -> Result<String, SignError> {
    let mut serializer = ListSerializer::new();
    serializer.members([&ListEntry::InnerList(list.clone())]);
    serializer
        .finish()
        .ok_or(SignError::Malformed("signature parameters"))
}

pub(super) fn parse_signatures(value: &str, labels: [&str; 2]) -> Result<[Vec<u8>; 2], SignError> {
    let bytes = |member: ListEntry| match member {
        ListEntry::Item(item) => item.bare_item.as_byte_sequence().map(<[u8]>::to_vec),
        ListEntry::InnerList(_) => None,
    };
    let [first, second] = two_members(value, labels)?.map(bytes);
    match (first, second) {
        (Some(first), Some(second)) => Ok([first, second]),
        _ => Err(SignError::Malformed("a signature is no byte sequence")),
    }
}
