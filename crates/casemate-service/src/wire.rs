//! Messages (`spec/key-service.md`, section 4).

use casemate_crypto::encoding::{KeyId, KeyKind, PublicKey};
use casemate_keys::{Binding, End, KeyEntry, KeyName, Role, State, Status, Version, VersionNumber};
use serde::{Deserialize, Serialize};

/// Longest request, in bytes.
pub(crate) const REQUEST_BYTES_MAX: usize = 64 * 1024;
/// Longest answer, in bytes.
pub(crate) const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Most bindings in a request.
pub(crate) const BINDINGS_MAX: usize = 256;
/// Most data keys in a request.
pub(crate) const REWRAP_MAX: usize = 32;

/// Bytes as base64.
pub(crate) mod base64 {
    use base64ct::{Base64, Encoding as _};
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&Base64::encode_string(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(d)?;
        Base64::decode_vec(&text).map_err(|_| D::Error::custom("it is not base64"))
    }
}

/// A key.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) version: VersionNumber,
    pub(crate) state: String,
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) suite: String,
    pub(crate) private: bool,
    pub(crate) created: u64,
    pub(crate) public: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) valid_from: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) valid_until: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) superseded: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) compromised: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) successor_of: Option<String>,
}

/// The validity of a key, without the key.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyStatus {
    pub(crate) id: String,
    pub(crate) state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) valid_from: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) valid_until: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) superseded: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) compromised: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) successor_of: Option<String>,
}

/// A version of a name.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VersionOf {
    pub(crate) version: VersionNumber,
    pub(crate) id: String,
    pub(crate) private: bool,
    pub(crate) state: String,
    pub(crate) since: u64,
}

macro_rules! messages {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })*) => {
        $($(#[$doc])*
        #[derive(Debug, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct $name {
            $($(#[$field_doc])* pub(crate) $field: $type,)*
        })*
    };
}

messages! {
    /// What a client may read.
    KeyList { keys: Vec<Key>, damage: Vec<String>, more: bool, }
    /// A name.
    Named { versions: Vec<VersionOf>, keys: Vec<Key>, }
    StatusList { statuses: Vec<KeyStatus>, }
    Create { name: String, suite: String, }
    Rotate {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        suite: Option<String>,
        #[serde(default)]
        staged: bool,
    }
    Rotation { new: Key, old: Option<Key>, }
    SetState { state: String, }
    OneMore { waiting: u32, }
    Bound { place: String, version: VersionNumber, seen: u64, }
    BindingList { bindings: Vec<Bound>, more: bool, }
    BindingChange {
        #[serde(default)]
        bind: Vec<Bound>,
        #[serde(default)]
        unbind: Vec<String>,
    }
    Open {
        key: String,
        kdf: u16,
        aead: u16,
        #[serde(with = "base64")]
        enc: Vec<u8>,
        #[serde(with = "base64")]
        info: Vec<u8>,
        #[serde(with = "base64")]
        aad: Vec<u8>,
        #[serde(with = "base64")]
        ciphertext: Vec<u8>,
    }
    Sign {
        key: String,
        #[serde(with = "base64")]
        context: Vec<u8>,
        #[serde(with = "base64")]
        message: Vec<u8>,
    }
    Signed {
        #[serde(with = "base64")]
        signature: Vec<u8>,
    }
    SignHttp {
        key: String,
        #[serde(with = "base64")]
        ed25519: Vec<u8>,
        #[serde(with = "base64")]
        mldsa65: Vec<u8>,
    }
    HttpSignature {
        #[serde(with = "base64")]
        ed25519: Vec<u8>,
        #[serde(with = "base64")]
        mldsa65: Vec<u8>,
    }
    NewDataKey { name: String, context: String, }
    Unwrap {
        #[serde(with = "base64")]
        wrapped: Vec<u8>,
        context: String,
    }
    Rewrap { items: Vec<Unwrap>, }
    Rewrapped { items: Vec<RewrappedItem>, }
    /// Either of them.
    RewrappedItem {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        wrapped: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    }
    Entries { entries: Vec<Logged>, }
    Logged { index: u64, entry: Box<serde_json::value::RawValue>, }
}

/// The validity members, in the order of the messages.
struct Validity {
    valid_from: Option<u64>,
    valid_until: Option<u64>,
    superseded: Option<u64>,
    compromised: Option<u64>,
    successor_of: Option<String>,
}

impl From<Status> for Validity {
    fn from(status: Status) -> Self {
        let (superseded, compromised) = match status.end {
            Some(End::Superseded { at }) => (Some(at), None),
            Some(End::Compromised { at }) => (None, Some(at)),
            None => (None, None),
        };
        Self {
            valid_from: status.valid_from,
            valid_until: status.valid_until,
            superseded,
            compromised,
            successor_of: status.successor_of.map(|key| key.to_hex()),
        }
    }
}

impl Validity {
    fn read(self) -> Option<Status> {
        let end = match (self.superseded, self.compromised) {
            (None, None) => None,
            (Some(at), None) => Some(End::Superseded { at }),
            (None, Some(at)) => Some(End::Compromised { at }),
            (Some(_), Some(_)) => return None,
        };
        let successor_of = self.successor_of.map(|id| id.parse()).transpose().ok()?;
        Some(Status {
            valid_from: self.valid_from,
            valid_until: self.valid_until,
            end,
            successor_of,
        })
    }
}

pub(crate) fn state_of(name: &str) -> Option<State> {
    State::ALL.into_iter().find(|state| state.as_str() == name)
}

impl Key {
    /// Returns the key on the wire; `None` if it cannot be encoded, which does not happen.
    pub(crate) fn of(entry: &KeyEntry) -> Option<Self> {
        let Validity {
            valid_from,
            valid_until,
            superseded,
            compromised,
            successor_of,
        } = entry.status.into();
        Some(Self {
            name: entry.name.to_string(),
            version: entry.version,
            state: entry.state.as_str().to_owned(),
            id: entry.id.to_hex(),
            kind: entry.kind.as_str().to_owned(),
            suite: entry.suite.to_owned(),
            private: entry.role == Role::Private,
            created: entry.created,
            public: entry.public.to_pem().ok()?,
            valid_from,
            valid_until,
            superseded,
            compromised,
            successor_of,
        })
    }

    /// Returns the entry; `None` if anything about it is not as it must be.
    pub(crate) fn read(self) -> Option<KeyEntry> {
        let public = PublicKey::from_pem(self.public.as_bytes()).ok()?;
        let id = public.id().ok()?;
        let kind: KeyKind = public.kind();
        let is_described =
            self.kind == kind.as_str() && self.suite == public.suite_name() && self.version > 0;
        if self.id != id.to_hex() || !is_described {
            return None;
        }
        let validity = Validity {
            valid_from: self.valid_from,
            valid_until: self.valid_until,
            superseded: self.superseded,
            compromised: self.compromised,
            successor_of: self.successor_of,
        };
        Some(KeyEntry {
            name: self.name.parse().ok()?,
            version: self.version,
            state: state_of(&self.state)?,
            id,
            role: role_of(self.private),
            kind,
            suite: public.suite_name(),
            created: self.created,
            status: validity.read()?,
            public,
        })
    }
}

const fn role_of(private: bool) -> Role {
    if private { Role::Private } else { Role::Public }
}

impl KeyStatus {
    pub(crate) fn of(id: KeyId, status: Status, state: State) -> Self {
        let Validity {
            valid_from,
            valid_until,
            superseded,
            compromised,
            successor_of,
        } = status.into();
        Self {
            id: id.to_hex(),
            state: state.as_str().to_owned(),
            valid_from,
            valid_until,
            superseded,
            compromised,
            successor_of,
        }
    }

    pub(crate) fn read(self) -> Option<(KeyId, Status, State)> {
        let validity = Validity {
            valid_from: self.valid_from,
            valid_until: self.valid_until,
            superseded: self.superseded,
            compromised: self.compromised,
            successor_of: self.successor_of,
        };
        Some((
            self.id.parse().ok()?,
            validity.read()?,
            state_of(&self.state)?,
        ))
    }
}

impl VersionOf {
    pub(crate) fn of(version: &Version) -> Self {
        Self {
            version: version.number,
            id: version.key.to_hex(),
            private: version.role == Role::Private,
            state: version.state.as_str().to_owned(),
            since: version.since,
        }
    }

    pub(crate) fn read(&self) -> Option<Version> {
        Some(Version {
            number: self.version,
            key: self.id.parse().ok()?,
            role: role_of(self.private),
            state: state_of(&self.state)?,
            since: self.since,
        })
    }
}

impl Bound {
    pub(crate) fn of(binding: Binding) -> Self {
        Self {
            place: binding.place,
            version: binding.version,
            seen: binding.seen,
        }
    }

    pub(crate) fn read(self, name: &KeyName) -> Binding {
        Binding {
            place: self.place,
            name: name.clone(),
            version: self.version,
            seen: self.seen,
        }
    }
}
