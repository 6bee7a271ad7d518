//! Signature bases and signature parameters (RFC 9421, sections 2.1, 2.3, 2.4, 2.5 and 4).

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use sfv::{BareItem, Dictionary, InnerList, Item, ListEntry, ListSerializer, Parser};

use super::SignError;
use crate::{
    Request, Response,
    fields::{Fields, SIGNATURE, SIGNATURE_INPUT},
};

const COMPONENTS: SignError = SignError::Malformed("covered components");

/// A covered component, regardless of the order in which its parameters were written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Component {
    name: String,
    /// Occurs several times: each value as a byte sequence (RFC 9421, section 2.1.3).
    bs: bool,
    /// A trailer (section 2.1.4).
    tr: bool,
    /// Belongs to the request that a response answers (section 2.4).
    req: bool,
}

impl Component {
    fn plain(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            bs: false,
            tr: false,
            req: false,
        }
    }

    fn of_request(self) -> Self {
        Self { req: true, ..self }
    }

    fn identifier(&self) -> String {
        let flag = |set: bool, text: &'static str| if set { text } else { "" };
        let (bs, tr, req) = (
            flag(self.bs, ";bs"),
            flag(self.tr, ";tr"),
            flag(self.req, ";req"),
        );
        format!("\"{}\"{bs}{tr}{req}", self.name)
    }

    fn parse(item: &Item) -> Option<Self> {
        let mut component = Self::plain(item.bare_item.as_string()?.as_str());
        for (name, value) in &item.params {
            let flag = match name.as_str() {
                "bs" => &mut component.bs,
                "tr" => &mut component.tr,
                "req" => &mut component.req,
                _ => return None,
            };
            *flag = value.as_boolean()?;
            // `;bs=?0` would be a second encoding of an absent parameter.
            (*flag).then_some(())?;
        }
        Some(component)
    }
}

/// The parts of a message that a signature can cover.
pub(super) struct Covered<'a> {
    derived: Vec<(&'static str, String)>,
    fields: &'a Fields,
    trailers: &'a Fields,
    /// The request that a response answers.
    request: Option<Box<Self>>,
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
            trailers: &request.trailers,
            request: None,
        }
    }

    pub(super) fn response(response: &'a Response, request: &'a Request) -> Self {
        Self {
            derived: vec![("@status", response.status.to_string())],
            fields: &response.fields,
            trailers: &response.trailers,
            request: Some(Box::new(Self::request(request))),
        }
    }

    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.single(name)
    }

    /// Returns exactly the components that must be covered.
    pub(super) fn required(&self) -> Vec<Component> {
        let own = [SIGNATURE_INPUT, SIGNATURE];
        let section = |section: &'a Fields, tr: bool| {
            let names = section.names().into_iter();
            names
                .filter(move |name| !own.contains(name))
                .map(move |name| Component {
                    bs: section.single(name).is_none(),
                    tr,
                    ..Component::plain(name)
                })
        };
        let derived = self.derived.iter().map(|(name, _)| Component::plain(name));
        let mut required: Vec<_> = derived
            .chain(section(self.fields, false))
            .chain(section(self.trailers, true))
            .collect();
        if let Some(request) = &self.request {
            let signatures = own.into_iter().map(Component::plain);
            let all = request.required().into_iter().chain(signatures);
            required.extend(all.map(Component::of_request));
        }
        required
    }

    fn value(&self, component: &Component) -> Option<String> {
        if component.req {
            let component = Component {
                req: false,
                ..component.clone()
            };
            return self.request.as_ref()?.value(&component);
        }
        let name = component.name.as_str();
        if let Some((_, value)) = self.derived.iter().find(|(found, _)| *found == name) {
            return Some(value.clone());
        }
        let section = if component.tr {
            self.trailers
        } else {
            self.fields
        };
        if component.bs {
            let values: Vec<_> = section
                .values(name)
                .map(|value| format!(":{}:", BASE64.encode(value)))
                .collect();
            return Some(values.join(", "));
        }
        section.single(name).map(str::to_owned)
    }

    /// Returns the signature base: a line for each component, then the parameters.
    pub(super) fn base(&self, input: &ParsedInput) -> Result<String, SignError> {
        let mut base = String::new();
        for (component, identifier) in &input.components {
            let value = self.value(component).ok_or(COMPONENTS)?;
            // Writing into a string cannot fail.
            _ = writeln!(base, "{identifier}: {value}");
        }
        _ = write!(base, "\"@signature-params\": {}", input.serialized);
        Ok(base)
    }
}

/// One member of `Signature-Input`.
#[derive(Debug)]
pub(super) struct ParsedInput {
    /// Each component, with its identifier as written.
    components: Vec<(Component, String)>,
    pub(super) created: u64,
    pub(super) key_id: String,
    pub(super) alg: String,
    pub(super) tag: String,
    /// The inner list with its parameters, as it appears in the base.
    pub(super) serialized: String,
}

impl ParsedInput {
    /// Returns whether exactly these components are covered, each once.
    pub(super) fn covers(&self, required: &[Component]) -> bool {
        let mut found: Vec<_> = self
            .components
            .iter()
            .map(|(component, _)| component)
            .collect();
        let mut required: Vec<_> = required.iter().collect();
        found.sort_unstable();
        required.sort_unstable();
        found == required
    }
}

/// The parameters that both signatures of a message share.
pub(super) struct Parameters<'a> {
    pub(super) created: u64,
    pub(super) key_id: &'a str,
    pub(super) tag: &'a str,
}

impl Parameters<'_> {
    /// Returns the parameters of one signature. None of these strings contains quotes or
    /// backslashes.
    pub(super) fn for_algorithm(&self, required: &[Component], alg: &str) -> ParsedInput {
        let Self {
            created,
            key_id,
            tag,
        } = *self;
        let components: Vec<_> = required
            .iter()
            .map(|component| (component.clone(), component.identifier()))
            .collect();
        let list = components
            .iter()
            .map(|(_, identifier)| identifier.as_str())
            .collect::<Vec<_>>()
            .join(" ");
        let serialized =
            format!("({list});created={created};keyid=\"{key_id}\";alg=\"{alg}\";tag=\"{tag}\"");
        let text = str::to_owned;
        ParsedInput {
            components,
            created,
            key_id: text(key_id),
            alg: text(alg),
            tag: text(tag),
            serialized,
        }
    }
}

const WRONG_LABELS: SignError = SignError::Malformed("exactly the labels `c` and `pq` are needed");

fn two_members(value: &str, labels: [&str; 2]) -> Result<[ListEntry; 2], SignError> {
    let mut members: Dictionary = Parser::new(value)
        .parse()
        .map_err(|_| SignError::Malformed("not a structured field dictionary"))?;
    if members.len() != labels.len() {
        return Err(WRONG_LABELS);
    }
    let [first, second] = labels.map(|label| members.shift_remove(label));
    Ok([first.ok_or(WRONG_LABELS)?, second.ok_or(WRONG_LABELS)?])
}

pub(super) fn parse_inputs(value: &str, labels: [&str; 2]) -> Result<[ParsedInput; 2], SignError> {
    let [first, second] = two_members(value, labels)?;
    Ok([parse_input(first)?, parse_input(second)?])
}

fn parse_input(member: ListEntry) -> Result<ParsedInput, SignError> {
    let ListEntry::InnerList(list) = member else {
        return Err(SignError::Malformed("a label is not an inner list"));
    };
    let component = |item: &Item| {
        let component = Component::parse(item)?;
        let mut serializer = ListSerializer::new();
        serializer.members([&ListEntry::Item(item.clone())]);
        Some((component, serializer.finish()?))
    };
    let components = list
        .items
        .iter()
        .map(component)
        .collect::<Option<_>>()
        .ok_or(COMPONENTS)?;
    if list.params.len() != 4 {
        return Err(SignError::Malformed("signature parameters"));
    }
    let text = |name: &'static str| {
        let value = list.params.get(name).and_then(BareItem::as_string);
        value
            .map(|text| text.as_str().to_owned())
            .ok_or(SignError::Malformed(name))
    };
    let created = list
        .params
        .get("created")
        .and_then(BareItem::as_integer)
        .and_then(|value| u64::try_from(i64::from(value)).ok());
    Ok(ParsedInput {
        created: created.ok_or(SignError::Malformed("created"))?,
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
        _ => Err(SignError::Malformed("a signature is not a byte sequence")),
    }
}
