//! Runs ONNX models from memory, never from a path.
//!
//! The engine is tract, in pure Rust. This separate crate keeps its many dependencies out of
//! everything that needs no inference.
//!
//! ```no_run
//! use casemate_onnx::Model;
//!
//! let model = Model::from_bytes(&std::fs::read("model.onnx")?)?;
//! for input in model.inputs() {
//!     println!("{input:?}");
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(not(feature = "engine"))]
mod absent;
#[cfg(feature = "engine")]
mod engine;
mod tensor;

#[cfg(not(feature = "engine"))]
pub use absent::Model;
#[cfg(feature = "engine")]
pub use engine::Model;
pub use tensor::{Data, ElementType, NamedTensor, TensorSpec};

/// Why a model could not be loaded or run.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The bytes are not an ONNX model, or the model uses something that the engine does not
    /// support.
    #[error("cannot load the model: {0}")]
    Load(String),
    /// A tensor's element type is not supported.
    #[error("element type {0} is not supported")]
    ElementType(String),
    /// An input is missing, duplicate or unknown.
    #[error("inputs must be exactly: {expected}")]
    Inputs {
        /// Names of the inputs.
        expected: String,
    },
    /// An input does not have the type that the model expects.
    #[error("input `{name}` must have element type {expected}")]
    InputType {
        /// Name of the input.
        name: String,
        /// Type that the model expects.
        expected: &'static str,
    },
    /// An input's shape does not match the model or the input's data.
    #[error("input `{name}`: shape {shape:?} does not match {expected}")]
    InputShape {
        /// Name of the input.
        name: String,
        /// Shape of the input.
        shape: Vec<usize>,
        /// Expected shape.
        expected: String,
    },
    /// The crate was built without the feature `engine`.
    #[error("this build has no ONNX engine")]
    NotBuilt,
    /// The engine failed on these inputs.
    #[error("inference failed: {0}")]
    Run(String),
}
