//! Row ids (`spec/key-store.md`, section 3).

use std::fmt;

use casemate_crypto::encoding::KeyId;

/// Length of a row id.
pub(crate) const ROW_ID_BYTES: usize = 33;

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowKind {
    /// A private key with its public half.
    Private,
    /// A public key of someone else.
    Public,
    /// A name and its versions.
    Name,
    /// How often a key was used.
    Usage,
    /// Which version of a key an artifact is sealed to.
    Binding,
    /// The name and keys of the audit log.
    LogKeys,
    /// What is still known of a key that was destroyed or removed.
    Tombstone,
}

impl RowKind {
    const ALL: [Self; 7] = [
        Self::Private,
        Self::Public,
        Self::Name,
        Self::Usage,
        Self::Binding,
        Self::LogKeys,
        Self::Tombstone,
    ];

    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Private => 1,
            Self::Public => 2,
            Self::Name => 3,
            Self::Usage => 4,
            Self::Binding => 5,
            Self::LogKeys => 6,
            Self::Tombstone => 7,
        }
    }

    pub(crate) fn from_number(number: u64) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| u64::from(kind.number()) == number)
    }
}

/// The stored half of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// A private key with its public half.
    Private,
    /// A public key of someone else.
    Public,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 2] = [Self::Private, Self::Public];

    pub(crate) const fn kind(self) -> RowKind {
        match self {
            Self::Private => RowKind::Private,
            Self::Public => RowKind::Public,
        }
    }

    pub(crate) const fn of(kind: RowKind) -> Option<Self> {
        match kind {
            RowKind::Private => Some(Self::Private),
            RowKind::Public => Some(Self::Public),
            RowKind::Name
            | RowKind::Usage
            | RowKind::Binding
            | RowKind::LogKeys
            | RowKind::Tombstone => None,
        }
    }
}

/// The identity of a row. Ordered as its bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RowId {
    id: [u8; 32],
    kind: RowKind,
}

impl RowId {
    pub(crate) const fn new(id: [u8; 32], kind: RowKind) -> Self {
        Self { id, kind }
    }

    pub(crate) const fn of_key(key: KeyId, role: Role) -> Self {
        Self::new(*key.as_bytes(), role.kind())
    }

    pub(crate) const LOG_KEYS: Self = Self::new([0; 32], RowKind::LogKeys);

    /// Returns what the row is about.
    pub const fn kind(self) -> RowKind {
        self.kind
    }

    pub(crate) const fn key(self) -> KeyId {
        KeyId::from_bytes(self.id)
    }

    /// Encodes the id.
    pub fn to_bytes(self) -> [u8; ROW_ID_BYTES] {
        let mut bytes = [self.kind.number(); ROW_ID_BYTES];
        for (to, from) in bytes.iter_mut().zip(self.id) {
            *to = from;
        }
        bytes
    }

    /// Decodes an id; returns `None` if it is not valid.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (kind, id) = bytes.split_last()?;
        Some(Self {
            id: id.try_into().ok()?,
            kind: RowKind::from_number(u64::from(*kind))?,
        })
    }
}

impl fmt::Display for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            RowKind::Private | RowKind::Public => write!(f, "key {}", self.key()),
            RowKind::Name => write!(f, "the versions of name {}", self.key()),
            RowKind::Usage => write!(f, "the use of key {}", self.key()),
            RowKind::Binding => write!(f, "binding {}", self.key()),
            RowKind::LogKeys => f.write_str("the keys of the audit log"),
            RowKind::Tombstone => write!(f, "what is known of removed key {}", self.key()),
        }
    }
}
