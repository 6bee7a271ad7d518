//! Files that say who may sign what, and until when.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use casemate_crypto::{
    encoding::{KeyId, PublicKey},
    signature::VerifyingKey,
};
use casemate_keys::{End, Engine, KeyStore, Status, StoreError, Withdrawn, judge};
use serde::Deserialize;
use toml::value::Datetime;

use crate::{EnvironmentError, KeyReference, date::seconds_of, error::shown, toml_file::read_toml};

const FILE_BYTES_MAX: usize = 1 << 20;
const ROLE_BYTES_MAX: usize = 64;
const DIGEST_BYTES: usize = 48;

/// What is known of a signature before it is verified: the date that it covers, if it covers one, and the SHA-384 of the signed message.
#[derive(Clone, Copy, Debug)]
pub struct Signed {
    /// Seconds since 1970 UTC.
    pub date: Option<u64>,
    /// The digest.
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
    /// Name or full key id in the key store, or the path of a public key file relative to the list, such as `./publisher.pub`.
    key: String,
    roles: Vec<String>,
    valid_from: Option<Datetime>,
    valid_until: Option<Datetime>,
    superseded: Option<Datetime>,
    #[serde(default)]
    compromised: bool,
    successor_of: Option<String>,
    #[serde(default)]
    accept: Vec<String>,
}

/// What a key store knows of its keys.
#[derive(Clone, Debug)]
pub struct Statuses(HashMap<KeyId, Status>);

impl Statuses {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn of<E: Engine>(store: &KeyStore<E>) -> Result<Self, StoreError> {
        let keys = store.list()?.keys;
        let statuses = keys.iter().map(|entry| (entry.id, entry.status));
        Ok(Self(statuses.collect()))
    }

    /// Refuses a signature by a key that has ended, or did not count at its date. The store lists no signatures that count all the same; a trust file
    /// does.
    ///
    /// # Errors
    ///
    /// [`Untrusted::Withdrawn`].
    pub fn judge(&self, id: KeyId, signed: &Signed) -> Result<(), Untrusted> {
        let status_of = |id| self.0.get(&id).copied();
        judge(id, signed.date, &status_of, &|_| false)
            .map_err(|why| Untrusted::Withdrawn { id, why })
    }
}

/// A publisher of a list.
#[derive(Debug)]
pub struct Publisher {
    key: VerifyingKey,
    id: KeyId,
    roles: Vec<String>,
    status: Status,
    accept: Vec<[u8; DIGEST_BYTES]>,
}

/// Publishers, and what they may sign.
#[derive(Debug)]
pub struct TrustList {
    path: PathBuf,
    publishers: Vec<Publisher>,
}

/// Why a list does not trust a signer.
#[derive(Debug, thiserror::Error)]
pub enum Untrusted {
    /// The list does not name the key.
    #[error("it names key {id} as its signer, which {file} does not list")]
    NotListed {
        /// The key.
        id: KeyId,
        /// The list.
        file: PathBuf,
    },
    /// The list names it for something else.
    #[error("it names key {id} as its signer, which {file} trusts for {roles}, not for {role}")]
    OtherRole {
        /// The key.
        id: KeyId,
        /// The list.
        file: PathBuf,
        /// What it is trusted for.
        roles: String,
        /// What was asked for.
        role: String,
    },
    /// The key's validity or its end.
    #[error("it names key {id} as its signer, and {why}")]
    Withdrawn {
        /// The key.
        id: KeyId,
        /// Why it does not count.
        why: Withdrawn,
    },
    /// The same of a key that signed a recipient list.
    #[error("its recipient list was signed by key {id}, and {why}")]
    ListWithdrawn {
        /// The key.
        id: KeyId,
        /// Why it does not count.
        why: Withdrawn,
    },
}

impl Untrusted {
    /// The same error of a recipient list.
    pub(crate) fn of_list(self) -> Self {
        match self {
            Self::Withdrawn { id, why } => Self::ListWithdrawn { id, why },
            other => other,
        }
    }
}

impl TrustList {
    /// Reads a list and the keys that it names; `store` is asked only for names and ids.
    ///
    /// # Errors
    ///
    /// [`EnvironmentError`], and those of `store`.
    pub fn read<'s, E: Engine + 's, F: From<EnvironmentError>>(
        path: &Path,
        mut store: impl FnMut() -> Result<&'s KeyStore<E>, F>,
    ) -> Result<Self, F> {
        let wire: Wire = read_toml(path, FILE_BYTES_MAX)?;
        let base = path.parent().unwrap_or_else(|| Path::new(""));
        let mut publishers = Vec::with_capacity(wire.publisher.len());
        for entry in wire.publisher {
            let reference: KeyReference = entry.key.parse()?;
            let public = reference.public(base, &mut store)?;
            publishers.push(Publisher::read(path, &entry, public)?);
        }
        let path = path.to_owned();
        Ok(Self { path, publishers })
    }

    /// The key with this id, if the list trusts it for the role and for this signature. Whether it verifies is the caller's next question.
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

    /// The keys that the list names, each with its id.
    pub fn keys(&self) -> impl Iterator<Item = (KeyId, &VerifyingKey)> {
        self.publishers.iter().map(|entry| (entry.id, &entry.key))
    }

    /// Refuses a signature by this key, unless the list trusts it for the role and for this signature.
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
            let roles: Vec<_> = named.iter().flat_map(|entry| entry.roles.iter()).collect();
            let roles = roles.iter().map(|role| role.as_str()).collect::<Vec<_>>();
            return Err(Untrusted::OtherRole {
                id,
                file: file(),
                roles: roles.join(", "),
                role: shown(role),
            });
        }
        self.judge(id, signed)
    }

    /// Refuses a signature by a key that the list says has ended. Keys that it does not name pass.
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

    /// What all entries of a key say together: an end in one of them is an end.
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
            return Err(bad("a role is a word of letters, digits, `-`, `_` and `.`"));
        }
        let date = |given: &Option<Datetime>| {
            let seconds = given.as_ref().map(|date| seconds_of(&date.to_string()));
            let no_date = "a date is written as 2026-12-31 or 2026-12-31T23:59:59Z";
            seconds
                .map(|date| date.ok_or_else(|| bad(no_date)))
                .transpose()
        };
        let end = match (date(&wire.superseded)?, wire.compromised) {
            (Some(_), true) => return Err(bad("it is either superseded or compromised")),
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
                .map_err(|_| bad("`successor_of` takes all 64 digits of a key id"))?,
        };
        let accept = wire.accept.iter().map(|digest| {
            let mut bytes = [0; DIGEST_BYTES];
            hex::decode_to_slice(digest, &mut bytes)
                .map(|()| bytes)
                .map_err(|_| bad("`accept` takes SHA-384 digests of 96 hex digits"))
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
