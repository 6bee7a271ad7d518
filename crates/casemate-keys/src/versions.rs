//! Names and their versions (`spec/key-store.md`, section 3.2).

mod policy;
mod state;

use casemate_cbor::{CborError, Reader, encode};
use casemate_crypto::{SecretBytes, encoding::KeyId};

use crate::{
    KeyName, StoreError,
    row::{Role, RowId, RowKind},
};
pub use policy::{Due, RotationPolicy};
pub use state::State;

/// The number of a version, from 1.
pub type VersionNumber = u32;

/// Most versions of a name.
pub(crate) const VERSIONS_MAX: usize = 512;

/// One version of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Its number.
    pub number: VersionNumber,
    /// Its key.
    pub key: KeyId,
    /// The stored half.
    pub role: Role,
    /// What it may be used for.
    pub state: State,
    /// When it entered that state, in seconds since 1970-01-01 UTC.
    pub since: u64,
}

impl Version {
    pub(crate) const fn row(&self) -> RowId {
        RowId::of_key(self.key, self.role)
    }
}

/// A name, its versions and when they are replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The name.
    pub name: KeyName,
    /// The versions in ascending order.
    pub versions: Vec<Version>,
    /// When the key is to be rotated.
    pub policy: RotationPolicy,
}

impl Versions {
    pub(crate) const fn new(name: KeyName) -> Self {
        Self {
            name,
            versions: Vec::new(),
            policy: RotationPolicy::NONE,
        }
    }

    /// Returns the version that seals and signs.
    pub fn active(&self) -> Option<&Version> {
        let mut versions = self.versions.iter();
        versions.find(|version| version.state == State::Active)
    }

    /// Returns the version that the name stands for: the active one, or else the newest that is not
    /// destroyed.
    pub fn current(&self) -> Option<&Version> {
        let mut newest = self.versions.iter().rev();
        self.active()
            .or_else(|| newest.find(|version| version.state != State::Destroyed))
    }

    /// Returns a version by its number.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoVersion`].
    pub fn version(&self, number: VersionNumber) -> Result<&Version, StoreError> {
        let mut versions = self.versions.iter();
        versions
            .find(|version| version.number == number)
            .ok_or_else(|| StoreError::NoVersion {
                name: self.name.to_string(),
                version: number,
            })
    }

    /// Returns the newest version with a key: one that was removed may have been stored again.
    pub(crate) fn by_key(&self, key: KeyId) -> Option<&Version> {
        let mut newest = self.versions.iter().rev();
        newest.find(|version| version.key == key)
    }

    /// Returns the number of the next version.
    pub(crate) fn next(&self) -> VersionNumber {
        let newest = self.versions.iter().map(|version| version.number).max();
        newest.unwrap_or_default().saturating_add(1)
    }

    /// Appends a version.
    pub(crate) fn push(&mut self, version: Version) -> Result<(), StoreError> {
        if self.versions.len() >= VERSIONS_MAX {
            return Err(StoreError::VersionsFull(self.name.to_string()));
        }
        if version.state == State::Active {
            self.deactivate(version.since);
        }
        self.versions.push(version);
        Ok(())
    }

    /// Moves a version to another state. The version that was active becomes decrypt-only if this
    /// one becomes active.
    pub(crate) fn set_state(
        &mut self,
        number: VersionNumber,
        to: State,
        now: u64,
    ) -> Result<Version, StoreError> {
        let from = self.version(number)?.state;
        if !from.may_become(to) {
            return Err(StoreError::Transition {
                name: self.name.to_string(),
                version: number,
                from,
                to,
            });
        }
        if to == State::Active {
            // What is sealed to a newer version would count as sealed to the newest.
            if self.active().is_some_and(|active| active.number > number) {
                return Err(StoreError::Older {
                    name: self.name.to_string(),
                    version: number,
                });
            }
            self.deactivate(now);
        }
        let mut changed = self.versions.iter_mut();
        let version = changed
            .find(|version| version.number == number)
            .ok_or(StoreError::Crypto(casemate_crypto::Error::Internal))?;
        (version.state, version.since) = (to, now);
        Ok(*version)
    }

    fn deactivate(&mut self, now: u64) {
        for version in &mut self.versions {
            if version.state == State::Active {
                (version.state, version.since) = (State::DecryptOnly, now);
            }
        }
    }

    pub(crate) fn encode(&self) -> SecretBytes {
        let has_policy = self.policy != RotationPolicy::NONE;
        SecretBytes::new(encode(|e| {
            e.map(if has_policy { 3 } else { 2 })?
                .u8(0)?
                .str(self.name.as_str())?;
            e.u8(1)?.array(self.versions.len() as u64)?;
            for version in &self.versions {
                e.array(5)?
                    .u32(version.number)?
                    .bytes(version.key.as_bytes())?
                    .u8(version.role.kind().number())?
                    .u64(version.state.number())?
                    .u64(version.since)?;
            }
            if has_policy {
                e.u8(2)?;
                self.policy.write(e)?;
            }
            Ok(())
        }))
    }

    pub(crate) fn decode(plaintext: &SecretBytes, id: RowId) -> Result<Self, StoreError> {
        Self::read(plaintext).map_err(|_| StoreError::DamagedRow(id))
    }

    fn read(plaintext: &SecretBytes) -> Result<Self, CborError> {
        let d = &mut Reader::new(plaintext.expose(), "name");
        let entries = d.map()?;
        d.key(0)?;
        let name = d.text()?.parse().map_err(|_| d.refused())?;
        d.key(1)?;
        let count = d.array()?;
        if count > VERSIONS_MAX as u64 {
            return Err(d.refused());
        }
        let mut versions = Vec::new();
        for _ in 0..count {
            d.array_of(5)?;
            let refused = d.refused();
            versions.push(Version {
                number: d.uint32()?,
                key: KeyId::from_bytes(d.fixed("key id")?),
                role: RowKind::from_number(d.uint()?)
                    .and_then(Role::of)
                    .ok_or(refused)?,
                state: State::from_number(d.uint()?).ok_or(refused)?,
                since: d.uint()?,
            });
        }
        let policy = match entries {
            2 => RotationPolicy::NONE,
            3 => {
                d.key(2)?;
                RotationPolicy::read(d)?
            }
            _ => return Err(d.refused()),
        };
        d.end()?;
        Ok(Self {
            name,
            versions,
            policy,
        })
    }
}
