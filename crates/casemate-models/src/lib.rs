//! Inspection of model files in safetensors, GGUF, ONNX and `PyTorch` formats: tensors by name,
//! type and shape.
//!
//! Only headers are read. Nothing is ever unpickled: for a pickle, the operations are listed that
//! would import or call something.
//!
//! Headers are untrusted. Every length is checked against the file and a limit before anything is
//! allocated for it.
//!
//! ```
//! use casemate_models::{Format, read_model};
//!
//! let header = br#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
//! let file = [&(header.len() as u64).to_le_bytes(), &header[..], &[0; 8]].concat();
//! let model = read_model(&file)?.expect("a known format");
//! assert_eq!((model.format, model.tensors[0].name.as_str()), (Format::Safetensors, "w"));
//! # Ok::<(), casemate_models::ModelError>(())
//! ```

mod cursor;
mod gguf;
mod gguf_types;
mod onnx;
mod opcodes;
mod pickle;
mod pickle_values;
mod pytorch;
mod safetensors;
mod torch_legacy;
mod torch_tensors;
mod torch_types;

use std::io;

use casemate_seal::ReadAt;

pub use pickle::{Pickle, scan_pickle};
pub use safetensors::{SafetensorsEntry, SafetensorsHeader};
pub use torch_tensors::{Table, tensors_of_pickle};

/// Maximum number of bytes of a file that are read.
pub const HEADER_BYTES_MAX: u64 = 256 << 20;
/// Most tensors of a file.
pub const TENSORS_MAX: usize = 1 << 20;
/// Most dimensions of a tensor.
pub const DIMENSIONS_MAX: usize = 64;
/// Longest name or string, in bytes.
pub const TEXT_BYTES_MAX: u64 = 1 << 20;

/// A file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Hugging Face's safetensors.
    Safetensors,
    /// GGUF, of llama.cpp.
    Gguf,
    /// ONNX.
    Onnx,
    /// The format of `torch.save`: a zip with a pickle and the memory of the tensors.
    PyTorch,
    /// The format of `torch.jit.save`: a model with its code.
    TorchScript,
    /// A bare pickle.
    Pickle,
}

impl Format {
    /// Returns its name in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Safetensors => "safetensors",
            Self::Gguf => "gguf",
            Self::Onnx => "onnx",
            Self::PyTorch => "pytorch",
            Self::TorchScript => "torchscript",
            Self::Pickle => "pickle",
        }
    }
}

/// The byte order of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteOrder {
    /// Little-endian, as on nearly every machine.
    Little,
    /// Big-endian, as on s390x.
    Big,
}

impl ByteOrder {
    /// Returns its name in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Little => "little",
            Self::Big => "big",
        }
    }
}

/// A tensor, or the memory of one or more tensors if a pickle of `torch.save` does not describe
/// them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Type of its elements, as named by the format.
    pub dtype: String,
    /// Its shape; empty for scalars and for plain memory.
    pub shape: Vec<u64>,
    /// Length of its data, in bytes, if the header gives it.
    pub bytes: Option<u64>,
}

/// The content of a model file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Its format.
    pub format: Format,
    /// Its tensors, in the order of the header, or of their data.
    pub tensors: Vec<Tensor>,
    /// Whether it may have tensors that are not listed.
    pub is_partial: bool,
    /// Other entries of the header: names and short values.
    pub metadata: Vec<(String, String)>,
    /// Byte order of its numbers, in formats that allow both.
    pub byte_order: Option<ByteOrder>,
    /// The pickles in it, by name.
    pub pickles: Vec<(String, Pickle)>,
    /// Names of the code files in it, which run with the model.
    pub code: Vec<String>,
}

impl Model {
    const fn new(format: Format) -> Self {
        Self {
            format,
            tensors: Vec::new(),
            is_partial: false,
            metadata: Vec::new(),
            byte_order: None,
            pickles: Vec::new(),
            code: Vec::new(),
        }
    }

    /// Adds a tensor, up to the limit.
    fn add(&mut self, tensor: Tensor) -> Result<(), ModelError> {
        if self.tensors.len() >= TENSORS_MAX {
            return Err(ModelError::Limit("tensors"));
        }
        self.tensors.push(tensor);
        Ok(())
    }
}

/// Why a header could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The file looks like this format but breaks a rule of it.
    #[error("not well-formed {format}: {rule}")]
    Malformed {
        /// Name of the format.
        format: &'static str,
        /// The rule.
        rule: &'static str,
    },
    /// A safetensors header is not valid JSON of the expected form.
    #[error("not well-formed safetensors: the header cannot be read: {0}")]
    Json(String),
    /// A limit of this crate is exceeded.
    #[error("the header exceeds the limit for {0}")]
    Limit(&'static str),
    /// The file could not be read.
    #[error("cannot read the content")]
    Io(#[from] io::Error),
}

impl ModelError {
    const fn malformed(format: Format, rule: &'static str) -> Self {
        let format = format.as_str();
        Self::Malformed { format, rule }
    }
}

/// Reads the header of a model; returns `None` if the format is unknown.
///
/// # Errors
///
/// [`ModelError`] if the format is known but the header is not well-formed, or the file cannot be
/// read.
pub fn read_model(source: &impl ReadAt) -> Result<Option<Model>, ModelError> {
    let len = source.byte_len()?;
    let mut start = [0; 16];
    let known = usize::try_from(len).unwrap_or(usize::MAX).min(start.len());
    let start = start.get_mut(..known).unwrap_or_default();
    source.read_exact_at(start, 0)?;
    // Check this first: eight bytes of length may look like any other magic number.
    if let [a, b, c, d, e, f, g, h, b'{', ..] = *start {
        let header = u64::from_le_bytes([a, b, c, d, e, f, g, h]).saturating_add(8);
        if header <= len {
            return safetensors::read(source).map(Some);
        }
    }
    match &*start {
        [b'G', b'G', b'U', b'F', ..] => gguf::read(source).map(Some),
        [b'P', b'K', 3, 4, ..] => pytorch::read(source),
        // Pickle protocol 1 or later, and a frame or a first operation.
        [0x80, 1..=5, ..] => match torch_legacy::read(source)? {
            None => pickle::read(source).map(Some),
            legacy => Ok(legacy),
        },
        [_, _, _, _, _, _, _, _, b'{', ..] => safetensors::read(source).map(Some),
        // Field 1, a small number: the ONNX version. Protobuf has no magic number, so this may also
        // be another format.
        [0x08, 1..=0x7f, ..] => Ok(onnx::read(source).ok()),
        // Older pickles have no magic number either. Report those that would import something.
        _ => pickle::read_unnamed(source),
    }
}
