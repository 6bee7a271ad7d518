//! What commands and programs need of keys, wherever the keys are.

use casemate_crypto::encoding::{KeyId, PrivateKey};

use crate::{
    Binding, KeyEntry, KeyName, KeyStore, Listing, Rotated, State, Status, StoreError, Usage,
    VersionNumber, Versions, engine::Engine,
};

/// Keys in a key store on this machine or in a key service.
///
/// The methods are those of [`KeyStore`], with the same errors. A key service adds
/// [`StoreError::Service`].
#[expect(
    clippy::missing_errors_doc,
    reason = "the errors are those of the key store"
)]
pub trait Keys {
    /// Lists the keys by name, and the damage.
    fn list(&self) -> Result<Listing, StoreError>;

    /// Returns the version that a name stands for.
    fn by_name(&self, name: &KeyName) -> Result<Option<KeyEntry>, StoreError>;

    /// Returns a version of a name.
    fn by_version(
        &self,
        name: &KeyName,
        number: VersionNumber,
    ) -> Result<Option<KeyEntry>, StoreError>;

    /// Finds a version by its key id.
    fn by_id(&self, key: KeyId) -> Result<Option<KeyEntry>, StoreError>;

    /// Returns the validity and the state of every key.
    fn statuses(&self) -> Result<Vec<(KeyId, Status, State)>, StoreError>;

    /// Returns the private half of a key. One of a key service is held there.
    fn private_key(&self, entry: &KeyEntry) -> Result<PrivateKey, StoreError>;

    /// Returns whether a key, or one that it descends from, is compromised.
    fn is_compromised(&self, key: KeyId) -> Result<bool, StoreError>;

    /// Reserves uses of a key before they are made. A key service counts them itself.
    fn reserve(&self, name: &KeyName, block: Usage) -> Result<Usage, StoreError>;

    /// Generates and stores a key.
    fn generate(&mut self, name: KeyName, suite: &str, now: u64) -> Result<KeyEntry, StoreError>;

    /// Generates the next version of a key.
    fn rotate(
        &mut self,
        name: &KeyName,
        suite: Option<&str>,
        now: u64,
        staged: bool,
    ) -> Result<Rotated, StoreError>;

    /// Moves a version to another state.
    fn set_state(
        &mut self,
        name: &KeyName,
        number: VersionNumber,
        to: State,
        now: u64,
    ) -> Result<KeyEntry, StoreError>;

    /// Returns the versions of a name.
    fn versions(&self, name: &KeyName) -> Result<Option<Versions>, StoreError>;

    /// Records what is sealed to a version of a key.
    fn bind(&self, bindings: &[Binding]) -> Result<(), StoreError>;

    /// Forgets what was at these places.
    fn unbind(&self, name: &KeyName, places: &[String]) -> Result<(), StoreError>;

    /// Returns what is known to be sealed to a key, by place.
    fn bindings(&self, name: &KeyName) -> Result<Vec<Binding>, StoreError>;

    /// Returns whether a binding of this place to the key is known.
    fn is_bound(&self, place: &str, name: &KeyName) -> Result<bool, StoreError> {
        let bindings = self.bindings(name)?;
        Ok(bindings.iter().any(|binding| binding.place == place))
    }
}

impl<E: Engine> Keys for KeyStore<E> {
    fn list(&self) -> Result<Listing, StoreError> {
        Self::list(self)
    }

    fn by_name(&self, name: &KeyName) -> Result<Option<KeyEntry>, StoreError> {
        Self::by_name(self, name)
    }

    fn by_version(
        &self,
        name: &KeyName,
        number: VersionNumber,
    ) -> Result<Option<KeyEntry>, StoreError> {
        Self::by_version(self, name, number)
    }

    fn by_id(&self, key: KeyId) -> Result<Option<KeyEntry>, StoreError> {
        Self::by_id(self, key)
    }

    fn statuses(&self) -> Result<Vec<(KeyId, Status, State)>, StoreError> {
        Self::statuses(self)
    }

    fn private_key(&self, entry: &KeyEntry) -> Result<PrivateKey, StoreError> {
        Self::private_key(self, entry)
    }

    fn is_compromised(&self, key: KeyId) -> Result<bool, StoreError> {
        Self::is_compromised(self, key)
    }

    fn reserve(&self, name: &KeyName, block: Usage) -> Result<Usage, StoreError> {
        Self::reserve(self, name, block)
    }

    fn generate(&mut self, name: KeyName, suite: &str, now: u64) -> Result<KeyEntry, StoreError> {
        Self::generate(self, name, suite, now)
    }

    fn rotate(
        &mut self,
        name: &KeyName,
        suite: Option<&str>,
        now: u64,
        staged: bool,
    ) -> Result<Rotated, StoreError> {
        Self::rotate(self, name, suite, now, staged)
    }

    fn set_state(
        &mut self,
        name: &KeyName,
        number: VersionNumber,
        to: State,
        now: u64,
    ) -> Result<KeyEntry, StoreError> {
        Self::set_state(self, name, number, to, now)
    }

    fn versions(&self, name: &KeyName) -> Result<Option<Versions>, StoreError> {
        Self::versions(self, name)
    }

    fn bind(&self, bindings: &[Binding]) -> Result<(), StoreError> {
        Self::bind(self, bindings)
    }

    fn unbind(&self, name: &KeyName, places: &[String]) -> Result<(), StoreError> {
        Self::unbind(self, name, places)
    }

    fn bindings(&self, name: &KeyName) -> Result<Vec<Binding>, StoreError> {
        Self::bindings(self, name)
    }

    fn is_bound(&self, place: &str, name: &KeyName) -> Result<bool, StoreError> {
        Self::is_bound(self, place, name)
    }
}
