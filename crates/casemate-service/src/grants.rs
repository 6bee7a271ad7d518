//! Who may do what with which keys (`spec/key-service.md`, section 3).

use std::{fmt, str::FromStr};

use casemate_keys::KeyName;

/// Length of a header digest, in bytes.
pub(crate) const HEADER_DIGEST_BYTES: usize = 48;

/// Longest name of a client, in bytes, so that entries of the audit log have all of it.
const CLIENT_BYTES_MAX: usize = 100;

/// What a client may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// See keys, their states and their public halves.
    Read,
    /// Open artifacts.
    Open,
    /// Unwrap data keys.
    Unwrap,
    /// Open anything else.
    Decrypt,
    /// Make data keys.
    DataKey,
    /// Wrap data keys again, to the active version.
    Rewrap,
    /// Sign.
    Sign,
    /// Make keys.
    Create,
    /// Make new versions.
    Rotate,
    /// Activate, disable and enable versions.
    State,
    /// Destroy versions, together with another client.
    Destroy,
    /// Record what is sealed to a key.
    Bind,
    /// Read the audit log.
    Audit,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 13] = [
        Self::Read,
        Self::Open,
        Self::Unwrap,
        Self::Decrypt,
        Self::DataKey,
        Self::Rewrap,
        Self::Sign,
        Self::Create,
        Self::Rotate,
        Self::State,
        Self::Destroy,
        Self::Bind,
        Self::Audit,
    ];

    /// Returns its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Open => "open",
            Self::Unwrap => "unwrap",
            Self::Decrypt => "decrypt",
            Self::DataKey => "data-key",
            Self::Rewrap => "rewrap",
            Self::Sign => "sign",
            Self::Create => "create",
            Self::Rotate => "rotate",
            Self::State => "state",
            Self::Destroy => "destroy",
            Self::Bind => "bind",
            Self::Audit => "audit",
        }
    }
}

fn operations() -> String {
    Operation::ALL.map(Operation::as_str).join(", ")
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Operation {
    type Err = BadGrant;

    fn from_str(text: &str) -> Result<Self, BadGrant> {
        let mut all = Self::ALL.into_iter();
        all.find(|operation| operation.as_str() == text)
            .ok_or_else(|| BadGrant::Operation(text.chars().take(32).collect()))
    }
}

/// Why a grant is not valid.
#[derive(Debug, thiserror::Error)]
pub enum BadGrant {
    /// A grant, counted from 1, is not valid.
    #[error("grant {0}: {1}")]
    At(usize, Box<Self>),
    /// There is no such operation.
    #[error("`{0}` is not an operation; choose from {list}", list = operations())]
    Operation(String),
    /// A client's name is not a DNS name or a URI, or is too long.
    #[error("`{0}` is not the name of a client: a DNS name or a URI of at most 100 characters")]
    Client(String),
    /// A key is neither `*` nor a name.
    #[error("`{0}` is neither `*` nor the name of a key")]
    Key(String),
    /// An artifact is not a header digest.
    #[error("`{0}` is not the header digest of an artifact: 96 hexadecimal digits")]
    Artifact(String),
    /// A grant names nobody or nothing.
    #[error("a grant has no {0}")]
    Empty(&'static str),
    /// Artifacts are limited, and nothing opens them.
    #[error("`artifacts` is set, but `operations` lacks `open`")]
    NothingOpens,
    /// No client is named.
    #[error("the configuration has no grants")]
    NoClients,
}

/// A grant as it is configured, before it is checked.
#[derive(Clone, Debug)]
pub struct GrantEntry {
    /// Names of clients.
    pub clients: Vec<String>,
    /// Names of keys, or `*`.
    pub keys: Vec<String>,
    /// Names of operations.
    pub operations: Vec<String>,
    /// Header digests, in hex.
    pub artifacts: Option<Vec<String>>,
    /// The end of the grant, in seconds since 1970-01-01 UTC.
    pub until: Option<u64>,
}

/// Which keys a grant is for.
#[derive(Debug)]
enum Scope {
    All,
    Named(Vec<KeyName>),
}

#[derive(Debug)]
struct Grant {
    clients: Vec<ClientId>,
    scope: Scope,
    operations: Vec<Operation>,
    artifacts: Option<Vec<[u8; HEADER_DIGEST_BYTES]>>,
    until: Option<u64>,
}

/// A client, by its place among all clients.
pub(crate) type ClientId = usize;

/// What a request is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target<'a> {
    /// Every key.
    All,
    /// At least one key.
    Any,
    /// A key.
    Key(&'a KeyName),
    /// A key, to open an artifact with this header digest.
    Artifact(&'a KeyName, &'a [u8]),
}

/// The clients and the grants of a service.
#[derive(Debug)]
pub struct Grants {
    clients: Vec<String>,
    grants: Vec<Grant>,
}

impl Grants {
    /// Checks the grants.
    ///
    /// # Errors
    ///
    /// [`BadGrant`].
    pub fn new(entries: &[GrantEntry]) -> Result<Self, BadGrant> {
        let mut clients: Vec<String> = Vec::new();
        let mut grants = Vec::new();
        for (number, entry) in (1..).zip(entries) {
            let read = Grant::read(entry, &mut clients);
            grants.push(read.map_err(|why| BadGrant::At(number, Box::new(why)))?);
        }
        if clients.is_empty() {
            return Err(BadGrant::NoClients);
        }
        Ok(Self { clients, grants })
    }

    /// Returns the client with exactly one of these names.
    pub(crate) fn client(&self, names: &[String]) -> Option<ClientId> {
        let known = self.clients.iter().enumerate();
        let mut found = known.filter(|(_, name)| names.contains(name));
        match (found.next(), found.next()) {
            (Some((client, _)), None) => Some(client),
            _ => None,
        }
    }

    pub(crate) fn name_of(&self, client: ClientId) -> &str {
        self.clients.get(client).map_or("", String::as_str)
    }

    /// Returns whether a grant permits this.
    pub(crate) fn permits(
        &self,
        client: ClientId,
        operation: Operation,
        target: Target<'_>,
        now: u64,
    ) -> bool {
        let mut grants = self.grants.iter();
        grants.any(|grant| {
            grant.clients.contains(&client)
                && grant.operations.contains(&operation)
                && grant.until.is_none_or(|until| now < until)
                && grant.covers(target)
        })
    }
}

impl Grant {
    fn read(entry: &GrantEntry, clients: &mut Vec<String>) -> Result<Self, BadGrant> {
        for (list, what) in [
            (&entry.clients, "clients"),
            (&entry.keys, "keys"),
            (&entry.operations, "operations"),
        ] {
            if list.is_empty() || list.iter().any(String::is_empty) {
                return Err(BadGrant::Empty(what));
            }
        }
        let mut ids = Vec::new();
        for name in &entry.clients {
            if name == "*"
                || name.len() > CLIENT_BYTES_MAX
                || !name.bytes().all(|byte| byte.is_ascii_graphic())
            {
                return Err(BadGrant::Client(shown(name)));
            }
            let known = clients.iter().position(|known| known == name);
            ids.push(known.unwrap_or_else(|| {
                clients.push(name.clone());
                clients.len().saturating_sub(1)
            }));
        }
        let scope = if entry.keys.iter().any(|key| key == "*") {
            Scope::All
        } else {
            let name = |key: &String| key.parse().map_err(|_| BadGrant::Key(shown(key)));
            Scope::Named(entry.keys.iter().map(name).collect::<Result<_, _>>()?)
        };
        let operations = entry.operations.iter().map(|name| name.parse());
        let operations: Vec<Operation> = operations.collect::<Result<_, _>>()?;
        let artifacts = entry.artifacts.as_ref().map(|all| {
            let read = all.iter().map(|text| {
                let mut digest = [0; HEADER_DIGEST_BYTES];
                let read = hex::decode_to_slice(text, &mut digest);
                read.map_err(|_| BadGrant::Artifact(shown(text)))?;
                Ok(digest)
            });
            read.collect::<Result<Vec<_>, BadGrant>>()
        });
        if artifacts.is_some() && !operations.contains(&Operation::Open) {
            return Err(BadGrant::NothingOpens);
        }
        Ok(Self {
            clients: ids,
            scope,
            operations,
            artifacts: artifacts.transpose()?,
            until: entry.until,
        })
    }

    fn covers(&self, target: Target<'_>) -> bool {
        let names = |name: &KeyName| match &self.scope {
            Scope::All => true,
            Scope::Named(keys) => keys.contains(name),
        };
        match target {
            Target::All => matches!(self.scope, Scope::All),
            Target::Any => true,
            Target::Key(name) => names(name),
            Target::Artifact(name, digest) => {
                let all = self.artifacts.as_ref();
                names(name) && all.is_none_or(|all| all.iter().any(|one| one == digest))
            }
        }
    }
}

fn shown(text: &str) -> String {
    text.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(clients: &[&str], keys: &[&str], operations: &[&str]) -> GrantEntry {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        GrantEntry {
            clients: owned(clients),
            keys: owned(keys),
            operations: owned(operations),
            artifacts: None,
            until: None,
        }
    }

    #[test]
    fn what_no_grant_permits_is_refused() {
        let digest = [7; HEADER_DIGEST_BYTES];
        let mut one = entry(&["a"], &["models"], &["open", "read"]);
        one.artifacts = Some(vec![hex::encode(digest)]);
        let mut ended = entry(&["a"], &["models"], &["sign"]);
        ended.until = Some(100);
        let grants = Grants::new(&[one, ended, entry(&["b"], &["*"], &["audit"])]).unwrap();
        let models: KeyName = "models".parse().unwrap();
        let other: KeyName = "other".parse().unwrap();
        let a = grants.client(&["a".to_owned()]).unwrap();
        let b = grants.client(&["b".to_owned(), "c".to_owned()]).unwrap();
        let permits = |client, operation, target| grants.permits(client, operation, target, 99);
        assert!(permits(
            a,
            Operation::Open,
            Target::Artifact(&models, &digest)
        ));
        assert!(!permits(
            a,
            Operation::Open,
            Target::Artifact(&models, &[8; 48])
        ));
        assert!(!permits(
            a,
            Operation::Open,
            Target::Artifact(&other, &digest)
        ));
        assert!(permits(a, Operation::Read, Target::Key(&models)));
        assert!(!permits(a, Operation::Read, Target::All));
        assert!(!permits(b, Operation::Read, Target::Key(&models)));
        assert!(permits(b, Operation::Audit, Target::All));
        assert!(permits(a, Operation::Sign, Target::Key(&models)));
        assert!(!grants.permits(a, Operation::Sign, Target::Key(&models), 100));
    }

    #[test]
    fn a_client_has_one_name() {
        let grants = Grants::new(&[entry(&["a", "b"], &["*"], &["read"])]).unwrap();
        let client = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            grants.client(&names).map(|client| grants.name_of(client))
        };
        assert_eq!(client(&["x", "b"]), Some("b"));
        assert_eq!(client(&["a", "b"]), None);
        assert_eq!(client(&["x"]), None);
        assert_eq!(client(&[]), None);
    }

    #[test]
    fn grants_with_mistakes_are_refused() {
        for bad in [
            entry(&[], &["*"], &["read"]),
            entry(&["a"], &[], &["read"]),
            entry(&["a"], &["*"], &[]),
            entry(&[""], &["*"], &["read"]),
            entry(&["a"], &["Models"], &["read"]),
            entry(&["a"], &["*"], &["reed"]),
            entry(&["*"], &["*"], &["read"]),
            entry(&["a b"], &["*"], &["read"]),
            entry(&["a\n"], &["*"], &["read"]),
            entry(&[&"a".repeat(101)], &["*"], &["read"]),
        ] {
            Grants::new(&[bad]).map(drop).unwrap_err();
        }
        let mut bad = entry(&["a"], &["*"], &["read"]);
        bad.artifacts = Some(vec!["00".repeat(48)]);
        let refused = |bad: &GrantEntry| Grants::new(std::slice::from_ref(bad)).unwrap_err();
        assert!(
            refused(&bad)
                .to_string()
                .starts_with("grant 1: `artifacts`")
        );
        bad.operations.push("open".to_owned());
        Grants::new(&[bad.clone()]).unwrap();
        bad.artifacts = Some(vec!["00".repeat(47)]);
        assert!(refused(&bad).to_string().contains("96 hexadecimal digits"));
        assert!(matches!(Grants::new(&[]), Err(BadGrant::NoClients)));
    }
}
