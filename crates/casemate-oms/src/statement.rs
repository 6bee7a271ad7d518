//! The in-toto statement (`spec/model-signature.md`, section 3).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::value::RawValue;

use crate::{
    OmsError,
    hash::Hash,
    json,
    segments::{Annotations, Segments},
};

const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
const PREDICATE_TYPE: &str = "https://model_signing/signature/v1.0";
pub(crate) const RESOURCES_MAX: usize = 250_000;
/// Most paths that a publisher can ignore.
pub(crate) const IGNORED_MAX: usize = 1_000;

/// A statement about one model.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    #[serde(deserialize_with = "json::objects::<2, _, _>")]
    subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    #[serde(deserialize_with = "json::object")]
    pub(crate) predicate: Predicate,
}

#[derive(Debug, Serialize, Deserialize)]
struct Subject {
    name: String,
    #[serde(deserialize_with = "json::object")]
    digest: Digests,
}

/// The one digest of a subject that is used.
#[derive(Debug, Serialize, Deserialize)]
struct Digests {
    #[serde(default)]
    sha256: Option<String>,
}

/// The predicate. Fields added by later versions are ignored, as OMS v1.0 requires.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Predicate {
    #[serde(deserialize_with = "json::objects::<RESOURCES_MAX, _, _>")]
    pub(crate) resources: Vec<Resource>,
    #[serde(deserialize_with = "json::object")]
    pub(crate) serialization: Serialization,
}

/// A file, or a range of one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Resource {
    pub(crate) name: String,
    pub(crate) algorithm: String,
    pub(crate) digest: String,
    #[serde(
        default,
        deserialize_with = "json::nullable",
        skip_serializing_if = "Option::is_none"
    )]
    annotations: Option<Annotations>,
    /// The segment table from the annotations, once decoded.
    #[serde(skip)]
    pub(crate) segments: Option<Segments>,
}

impl Resource {
    pub(crate) fn new(name: String, hash: Hash, digest: &[u8], segments: Option<Segments>) -> Self {
        let table = segments.as_ref().map(Segments::encode);
        Self {
            name,
            algorithm: hash.name().to_owned(),
            digest: hex::encode(digest),
            annotations: table.map(|table| Annotations {
                segments: Some(table),
            }),
            segments,
        }
    }

    fn read_segments(&mut self) -> Result<(), OmsError> {
        let table = self.annotations.take().and_then(|found| found.segments);
        self.segments = table.as_ref().map(Segments::decode).transpose()?;
        Ok(())
    }
}

/// How the model was listed and hashed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Serialization {
    method: String,
    hash_type: String,
    pub(crate) allow_symlinks: bool,
    #[serde(
        default,
        deserialize_with = "shard_size",
        skip_serializing_if = "Option::is_none"
    )]
    shard_size: Option<u64>,
    #[serde(
        default,
        deserialize_with = "json::texts::<IGNORED_MAX, _>",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub(crate) ignore_paths: Vec<String>,
}

impl Serialization {
    /// Returns the serialization of whole files with SHA-256, which every OMS tool supports.
    pub(crate) fn files(ignore_paths: Vec<String>, allow_symlinks: bool) -> Self {
        Self {
            method: "files".to_owned(),
            hash_type: Hash::Sha256.name().to_owned(),
            allow_symlinks,
            shard_size: None,
            ignore_paths,
        }
    }

    pub(crate) fn hash(&self) -> Result<Hash, OmsError> {
        let plain = self.plain_name(&self.hash_type)?;
        Hash::of_resources(plain).ok_or(OmsError::Statement("unknown hash"))
    }

    /// Returns the name of a hash without the suffix that other tools append for shards:
    /// `sha256-sharded-SIZE`.
    fn plain_name<'n>(&self, name: &'n str) -> Result<&'n str, OmsError> {
        let Some(size) = self.shard()? else {
            return Ok(name);
        };
        let suffix = format!("-sharded-{size}");
        Ok(name.strip_suffix(&suffix).unwrap_or(name))
    }

    /// Returns the length of a shard, in bytes; `None` if files are hashed whole.
    pub(crate) fn shard(&self) -> Result<Option<u64>, OmsError> {
        let unknown = OmsError::Statement("unknown serialization method");
        match (self.method.as_str(), &self.shard_size) {
            ("files", None) => Ok(None),
            ("shards", Some(size)) if *size > 0 => Ok(Some(*size)),
            _ => Err(unknown),
        }
    }
}

/// Reads decimal digits, optionally with `.0`, as some tools write them. A number parser would also
/// accept `1e3`.
fn shard_size<'de, D: Deserializer<'de>>(json: D) -> Result<Option<u64>, D::Error> {
    let number = Box::<RawValue>::deserialize(json)?;
    let text = number.get();
    let digits = text.strip_suffix(".0").unwrap_or(text);
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let size = digits.parse().ok().filter(|_| is_plain);
    size.map(Some)
        .ok_or_else(|| D::Error::custom("`shard_size` is not a whole number"))
}

impl Statement {
    pub(crate) fn new(
        name: String,
        resources: Vec<Resource>,
        serialization: Serialization,
    ) -> Self {
        let digest = Digests {
            sha256: root(&resources),
        };
        Self {
            kind: STATEMENT_TYPE.to_owned(),
            subject: vec![Subject { name, digest }],
            predicate_type: PREDICATE_TYPE.to_owned(),
            predicate: Predicate {
                resources,
                serialization,
            },
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        // It has only strings, numbers and lists, so encoding it as JSON cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(crate) fn name(&self) -> &str {
        self.subject.first().map_or("", |subject| &subject.name)
    }

    /// Reads a statement and checks every rule that needs no model.
    pub(crate) fn decode(payload: &[u8]) -> Result<Self, OmsError> {
        let rule = OmsError::Statement;
        let mut statement: Self = json::from_slice(payload).map_err(|error| {
            if json::is_too_many(&error) {
                return rule(
                    "it lists more than 250,000 resources, 1,000 paths to ignore or one subject",
                );
            }
            rule("not valid JSON, or a member breaks a rule")
        })?;
        if statement.kind != STATEMENT_TYPE {
            return Err(rule("unknown statement type"));
        }
        if statement.predicate_type != PREDICATE_TYPE {
            return Err(rule("unknown predicate type"));
        }
        let [subject] = statement.subject.as_slice() else {
            return Err(rule("it must have one subject"));
        };
        let Predicate {
            resources,
            serialization,
        } = &mut statement.predicate;
        if resources.is_empty() {
            return Err(rule("it covers no files"));
        }
        let shard = serialization.shard()?;
        let hash = serialization.hash()?;
        let mut names = HashSet::with_capacity(resources.len());
        for resource in &mut *resources {
            resource.read_segments()?;
            if resource.segments.is_some() && shard.is_some() {
                return Err(rule("a shard has a segment table"));
            }
        }
        for resource in &*resources {
            let algorithm = serialization.plain_name(&resource.algorithm)?;
            if algorithm != hash.name() || resource.digest.len() != hash.len().saturating_mul(2) {
                return Err(rule("a resource does not use the statement's hash"));
            }
            if !is_hex(&resource.digest) {
                return Err(rule("a digest is not lower-case hex"));
            }
            if !names.insert(resource.name.as_str()) {
                return Err(rule("a resource is listed twice"));
            }
        }
        let expected = subject.digest.sha256.as_ref();
        if expected.is_none() || root(resources).as_ref() != expected {
            return Err(rule("its subject is not the digest of its resources"));
        }
        Ok(statement)
    }

    /// Returns the names of all resources.
    pub(crate) fn names(&self) -> BTreeSet<&str> {
        let resources = self.predicate.resources.iter();
        resources.map(|resource| resource.name.as_str()).collect()
    }

    /// Returns the segment tables, by file name.
    pub(crate) fn segments(&self) -> HashMap<&str, &Segments> {
        let resources = self.predicate.resources.iter();
        resources
            .filter_map(|resource| Some((resource.name.as_str(), resource.segments.as_ref()?)))
            .collect()
    }

    /// Compares the statement with the resources found.
    pub(crate) fn compare(&self, found: &[Resource]) -> Result<(), OmsError> {
        let mut signed: BTreeMap<&str, &Resource> = self
            .predicate
            .resources
            .iter()
            .map(|resource| (resource.name.as_str(), resource))
            .collect();
        for resource in found {
            match signed.remove(resource.name.as_str()) {
                None => return Err(OmsError::Extra(shown(&resource.name))),
                Some(expected) if expected.digest != resource.digest => {
                    return Err(OmsError::Changed(shown(&resource.name)));
                }
                Some(expected) if expected.segments != resource.segments => {
                    return Err(OmsError::Contradiction(shown(&resource.name)));
                }
                Some(_) => (),
            }
        }
        let missing = signed.into_keys().next();
        missing.map_or(Ok(()), |name| Err(OmsError::Missing(shown(name))))
    }
}

/// Formats a name for a message; the file of a single-file model is named `.`.
pub(crate) fn shown(name: &str) -> String {
    match name {
        "." => "the file".to_owned(),
        name => name.escape_debug().to_string(),
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Computes the SHA-256 over all digests, in hex; returns `None` if one of them is not hex.
fn root(resources: &[Resource]) -> Option<String> {
    let mut context = Context::new(&SHA256);
    for resource in resources {
        context.update(&hex::decode(&resource.digest).ok()?);
    }
    Some(hex::encode(context.finish()))
}
