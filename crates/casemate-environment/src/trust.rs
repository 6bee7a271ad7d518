//! Trust lists: files that define who may sign what, and until when.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use casemate_crypto::{
    encoding::{KeyId, PublicKey},
    signature::VerifyingKey,
};
use casemate_keys::{End, Keys, State, Status, StoreError, Withdrawn, judge};
use casemate_statement::{STATEMENT_BYTES_MAX, Succession};
use serde::Deserialize;
use toml::value::Datetime;

use crate::{
    EnvironmentError, KeyReference, date::seconds_of, error::shown, read_limited,
    toml_file::read_toml,
};

const FILE_BYTES_MAX: usize = 1 << 20;
const ROLE_BYTES_MAX: usize = 64;
const DIGEST_BYTES: usize = 48;

/// The facts known about a signature before it is verified.
#[derive(Clone, Copy, Debug)]
pub struct Signed {
    /// The signed date, if there is one, in seconds since 1970-01-01 UTC.
    pub date: Option<u64>,
    /// The SHA-384 of the signed message.
    pub digest: [u8; DIGEST_BYTES],
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    publisher: Vec<WirePublisher>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WirePublisher {
    /// A name or full key id in the key store, or the path of a public key file relative to the
    /// list, such as `./publisher.pub`.
    key: String,
    roles: Vec<String>,
    valid_from: Option<Datetime>,
    valid_until: Option<Datetime>,
    superseded: Option<Datetime>,
    #[serde(default)]
    compromised: bool,
    successor_of: Option<String>,
    /// Statements by which the key names its successor, that key the next one, and so on: paths
    /// relative to the list, such as `./publisher-2.json`.
    #[serde(default)]
    successions: Vec<String>,
    #[serde(default)]
    accept: Vec<String>,
}

/// The statuses of the keys in a key store.
#[derive(Clone, Debug)]
pub struct Statuses(HashMap<KeyId, (Status, State)>);

impl Statuses {
    /// Reads the statuses of all keys in `store`.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn of(store: &dyn Keys) -> Result<Self, StoreError> {
        let statuses = store.statuses()?.into_iter();
        let statuses = statuses.map(|(id, status, state)| (id, (status, state)));
        Ok(Self(statuses.collect()))
    }

    /// Refuses a signature by a key that was not valid on the signature's date.
    ///
    /// Unlike a trust list, the key store has no exceptions for single signatures.
    ///
    /// # Errors
    ///
    /// [`Untrusted::Withdrawn`].
    pub fn judge(&self, id: KeyId, signed: &Signed) -> Result<(), Untrusted> {
        let known = self.0.get(&id);
        if let Some((_, state @ (State::PreActive | State::Disabled))) = known {
            let why = Withdrawn::State(*state);
            return Err(Untrusted::Withdrawn { id, why });
        }
        let status_of = |id| self.0.get(&id).map(|(status, _)| *status);
        judge(id, signed.date, &status_of, &|_| false)
            .map_err(|why| Untrusted::Withdrawn { id, why })
    }
}

/// A publisher in a trust list.
#[derive(Debug)]
pub struct Publisher {
    key: VerifyingKey,
    id: KeyId,
    roles: Vec<String>,
    status: Status,
    accept: Vec<[u8; DIGEST_BYTES]>,
}

/// The publishers that are trusted, and what they may sign.
#[derive(Debug)]
pub struct TrustList {
    path: PathBuf,
    publishers: Vec<Publisher>,
}

/// Why a trust list does not trust a signer.
#[derive(Debug, thiserror::Error)]
pub enum Untrusted {
    /// The list does not have the key.
    #[error("it claims to be signed by key {id}, which {file} does not list")]
    NotListed {
        /// The key.
        id: KeyId,
        /// The list.
        file: PathBuf,
    },
    /// The list trusts the key for other roles.
    #[error("it claims to be signed by key {id}, which {file} trusts for {roles}, not for {role}")]
    OtherRole {
        /// The key.
        id: KeyId,
        /// The list.
        file: PathBuf,
        /// The roles that it is trusted for.
        roles: String,
        /// The required role.
        role: String,
    },
    /// The key is not valid.
    #[error("it claims to be signed by key {id}, but {why}")]
    Withdrawn {
        /// The key.
        id: KeyId,
        /// Why it is not valid.
        why: Withdrawn,
    },
    /// The key that signed a recipient list is not valid.
    #[error("its recipient list was signed by key {id}, but {why}")]
    ListWithdrawn {
        /// The key.
        id: KeyId,
        /// Why it is not valid.
        why: Withdrawn,
    },
}

impl Untrusted {
    /// Returns the same error for a recipient list.
    pub(crate) fn of_list(self) -> Self {
        match self {
            Self::Withdrawn { id, why } => Self::ListWithdrawn { id, why },
            other => other,
        }
    }
}

impl TrustList {
    /// Reads a list and the keys in it; `store` is used only for names and ids.
    ///
    /// # Errors
    ///
    /// [`EnvironmentError`], and the errors of `store`.
    pub fn read<'s, F: From<EnvironmentError>>(
        path: &Path,
        mut store: impl FnMut() -> Result<&'s dyn Keys, F>,
    ) -> Result<Self, F> {
        let wire: Wire = read_toml(path, FILE_BYTES_MAX)?;
        let base = path.parent().unwrap_or_else(|| Path::new(""));
        let mut publishers = Vec::with_capacity(wire.publisher.len());
        for entry in wire.publisher {
            let reference: KeyReference = entry.key.parse()?;
            let public = reference.public(base, &mut store)?;
            let publisher = Publisher::read(path, &entry, public)?;
            publishers.push(publisher);
            for named in &entry.successions {
                let next = publishers
                    .last_mut()
                    .map(|last| last.succeeded_by(path, base, named))
                    .transpose()?;
                publishers.extend(next);
            }
        }
        let path = path.to_owned();
        Ok(Self { path, publishers })
    }

    /// Returns the key with this id, if the list trusts it for the role and this signature. The
    /// caller must still verify the signature.
    ///
    /// # Errors
    ///
    /// [`Untrusted`].
    pub fn signer(
        &self,
        id: KeyId,
        role: &str,
        signed: &Signed,
    ) -> Result<&VerifyingKey, Untrusted> {
        self.check(id, role, signed)?;
        let found = self.entries(id).next();
        let missing = || Untrusted::NotListed {
            id,
            file: self.path.clone(),
        };
        found.map(|entry| &entry.key).ok_or_else(missing)
    }

    /// Returns the keys in the list, each with its id.
    pub fn keys(&self) -> impl Iterator<Item = (KeyId, &VerifyingKey)> {
        self.publishers.iter().map(|entry| (entry.id, &entry.key))
    }

    /// Refuses a signature by this key unless the list trusts the key for the role and this
    /// signature.
    ///
    /// # Errors
    ///
    /// [`Untrusted`].
    pub fn check(&self, id: KeyId, role: &str, signed: &Signed) -> Result<(), Untrusted> {
        let file = || self.path.clone();
        let named: Vec<_> = self.entries(id).collect();
        if named.is_empty() {
            return Err(Untrusted::NotListed { id, file: file() });
        }
        let has_role = |entry: &&Publisher| entry.roles.iter().any(|listed| listed == role);
        if !named.iter().any(has_role) {
            let roles = named.iter().flat_map(|entry| entry.roles.iter());
            let roles: Vec<_> = roles.map(String::as_str).collect();
            return Err(Untrusted::OtherRole {
                id,
                file: file(),
                roles: roles.join(", "),
                role: shown(role),
            });
        }
        // Each entry judges for itself: what one grants, another must not lend its roles to.
        let accepts = |id| {
            let mut listed = self.entries(id).flat_map(|entry| &entry.accept);
            listed.any(|digest| *digest == signed.digest)
        };
        for entry in named.into_iter().filter(has_role) {
            let status_of = |other: KeyId| {
                if other == id {
                    Some(entry.status)
                } else {
                    self.status_of(other)
                }
            };
            judge(id, signed.date, &status_of, &accepts)
                .map_err(|why| Untrusted::Withdrawn { id, why })?;
        }
        self.judge(id, signed)
    }

    /// Refuses a signature by a key whose status in the list is not valid. Keys that are not in the
    /// list pass.
    ///
    /// # Errors
    ///
    /// [`Untrusted::Withdrawn`].
    pub fn judge(&self, id: KeyId, signed: &Signed) -> Result<(), Untrusted> {
        let accepts = |id| {
            let mut listed = self.entries(id).flat_map(|entry| &entry.accept);
            listed.any(|digest| *digest == signed.digest)
        };
        judge(id, signed.date, &|id| self.status_of(id), &accepts)
            .map_err(|why| Untrusted::Withdrawn { id, why })
    }

    fn entries(&self, id: KeyId) -> impl Iterator<Item = &Publisher> {
        self.publishers.iter().filter(move |entry| entry.id == id)
    }

    /// Combines all entries of a key; the strictest status applies.
    fn status_of(&self, id: KeyId) -> Option<Status> {
        let entries = self.entries(id).map(|entry| entry.status);
        entries.reduce(|a, b| Status {
            valid_from: a.valid_from.max(b.valid_from),
            valid_until: earlier(a.valid_until, b.valid_until),
            end: worse(a.end, b.end),
            successor_of: a.successor_of.or(b.successor_of),
        })
    }
}

fn earlier(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn worse(a: Option<End>, b: Option<End>) -> Option<End> {
    match (a, b) {
        (Some(End::Compromised { .. }), _) | (_, None) => a,
        (None, _) | (_, Some(End::Compromised { .. })) => b,
        (Some(End::Superseded { at: first }), Some(End::Superseded { at: second })) => {
            Some(End::Superseded {
                at: first.min(second),
            })
        }
    }
}

impl Publisher {
    /// Reads the statement by which the key names its successor, and returns that key, which may
    /// sign the same from then on.
    fn succeeded_by(
        &mut self,
        list: &Path,
        base: &Path,
        named: &str,
    ) -> Result<Self, EnvironmentError> {
        if !named.contains('/') {
            return Err(EnvironmentError::TrustFile {
                path: list.to_owned(),
                key: shown(named),
                rule: "a succession is a path, such as `./publisher-2.json`",
            });
        }
        let path = base.join(named);
        let content = read_limited(&path, STATEMENT_BYTES_MAX)?;
        let refused = |source| EnvironmentError::Succession {
            path: path.clone(),
            source,
        };
        let succession = Succession::verify(content.expose(), &self.key).map_err(refused)?;
        let key = succession.next();
        let key = VerifyingKey::new(key.suite(), key.as_bytes())
            .map_err(|error| refused(error.into()))?;
        let id = key.id().map_err(|error| refused(error.into()))?;
        let from = succession.from();
        let ended = match self.status.end {
            Some(End::Superseded { at }) => from > at,
            Some(End::Compromised { .. }) | None => false,
        };
        let is_outside = self.status.valid_from.is_some_and(|start| from < start)
            || self.status.valid_until.is_some_and(|end| from >= end);
        if ended || is_outside {
            return Err(EnvironmentError::TrustFile {
                path: list.to_owned(),
                key: shown(named),
                rule: "the key names its successor for a time when it is not valid itself",
            });
        }
        self.status.end = worse(self.status.end, Some(End::Superseded { at: from }));
        Ok(Self {
            key,
            id,
            roles: self.roles.clone(),
            status: Status {
                valid_from: Some(from),
                valid_until: self.status.valid_until,
                successor_of: Some(self.id),
                end: None,
            },
            accept: Vec::new(),
        })
    }

    fn read(file: &Path, wire: &WirePublisher, key: PublicKey) -> Result<Self, EnvironmentError> {
        let bad = |rule| EnvironmentError::TrustFile {
            path: file.to_owned(),
            key: shown(&wire.key),
            rule,
        };
        let PublicKey::Sign(key) = key else {
            return Err(bad("it is not a key of kind `sign`"));
        };
        let is_role = |role: &String| {
            let plain =
                |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            !role.is_empty() && role.len() <= ROLE_BYTES_MAX && role.bytes().all(plain)
        };
        if !wire.roles.iter().all(is_role) {
            return Err(bad(
                "a role may contain only letters, digits, `-`, `_` and `.`",
            ));
        }
        let date = |given: &Option<Datetime>| {
            let seconds = given.as_ref().map(|date| seconds_of(&date.to_string()));
            let no_date = "a date must have the form 2026-12-31 or 2026-12-31T23:59:59Z";
            seconds
                .map(|date| date.ok_or_else(|| bad(no_date)))
                .transpose()
        };
        let end = match (date(&wire.superseded)?, wire.compromised) {
            (Some(_), true) => return Err(bad("it cannot be both superseded and compromised")),
            (Some(at), false) => Some(End::Superseded { at }),
            (None, true) => Some(End::Compromised { at: 0 }),
            (None, false) => None,
        };
        let successor_of = wire.successor_of.as_ref().map(|id| id.parse());
        let status = Status {
            valid_from: date(&wire.valid_from)?,
            valid_until: date(&wire.valid_until)?,
            end,
            successor_of: successor_of
                .transpose()
                .map_err(|_| bad("`successor_of` must be all 64 digits of a key id"))?,
        };
        let accept = wire.accept.iter().map(|digest| {
            let mut bytes = [0; DIGEST_BYTES];
            hex::decode_to_slice(digest, &mut bytes)
                .map(|()| bytes)
                .map_err(|_| bad("`accept` must be a list of SHA-384 digests of 96 hex digits"))
        });
        Ok(Self {
            id: key.id().map_err(|_| bad("the key cannot be encoded"))?,
            key,
            roles: wire.roles.clone(),
            status,
            accept: accept.collect::<Result<_, _>>()?,
        })
    }
}
