//! Models in a build without an engine: none can be loaded, so no value of [`Model`] exists.

use std::collections::BTreeMap;

use crate::{ModelError, NamedTensor, TensorSpec};

/// A model that is ready to run.
#[derive(Debug)]
pub enum Model {}

impl Model {
    /// Refuses every model.
    ///
    /// # Errors
    ///
    /// [`ModelError::NotBuilt`].
    pub const fn from_bytes(_bytes: &[u8]) -> Result<Self, ModelError> {
        Err(ModelError::NotBuilt)
    }

    /// Returns the inputs of the model.
    pub const fn inputs(&self) -> &[TensorSpec] {
        match *self {}
    }

    /// Returns the outputs of the model.
    pub const fn outputs(&self) -> &[TensorSpec] {
        match *self {}
    }

    /// Returns the metadata of the model.
    pub const fn metadata(&self) -> &BTreeMap<String, String> {
        match *self {}
    }

    /// Runs the model.
    ///
    /// # Errors
    ///
    /// None.
    pub const fn run(&self, _tensors: &[NamedTensor]) -> Result<Vec<NamedTensor>, ModelError> {
        match *self {}
    }
}
