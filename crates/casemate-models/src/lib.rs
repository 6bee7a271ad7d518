//! What a model file holds: its tensors by name, type and shape, for safetensors, GGUF, ONNX and `PyTorch`.
//!
//! Only headers are read. Nothing is ever unpickled: of a pickle the operations are listed that would import or call something if somebody did.
//!
//! Headers come from outside. Every length is checked against the file and a limit before anything is allocated for it.

mod cursor;
mod gguf;
mod gguf_types;
mod onnx;
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

/// Most bytes of a file that are looked at.
pub const HEADER_BYTES_MAX: u64 = 256 << 20;
/// Most tensors of a file.
pub const TENSORS_MAX: usize = 1 << 20;
/// Most dimensions of a tensor.
pub const DIMENSIONS_MAX: usize = 64;
/// Longest name or text, in bytes.
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
    /// What `torch.save` writes: a zip with a pickle and the tensors' memory.
    PyTorch,
    /// A model that `torch.jit.save` wrote, with its code.
    TorchScript,
    /// A bare pickle.
    Pickle,
}

impl Format {
    /// The word for it.
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

/// Order of the bytes of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteOrder {
    /// The lowest first, as on nearly every machine.
    Little,
    /// The highest first, as on s390x.
    Big,
}

impl ByteOrder {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Little => "little",
            Self::Big => "big",
        }
    }
}

/// A tensor, or the memory of one or more where a pickle of `torch.save` does not say what they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Type of its elements, in the format's own words.
    pub dtype: String,
    /// Its shape; empty for scalars and for mere memory.
    pub shape: Vec<u64>,
    /// Length of its data, in bytes, where the header says so.
    pub bytes: Option<u64>,
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Its format.
    pub format: Format,
    /// Its tensors, in the order of the header, or of their data.
    pub tensors: Vec<Tensor>,
    /// Whether it may hold tensors that are not listed.
    pub is_partial: bool,
    /// What the header says beside them: names and short values.
    pub metadata: Vec<(String, String)>,
    /// Byte order of its numbers, in formats that have both.
    pub byte_order: Option<ByteOrder>,
    /// Pickles in it, by name.
    pub pickles: Vec<(String, Pickle)>,
    /// Names of the code in it, which runs when the model does.
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
#[non_exhaustive]
pub enum ModelError {
    /// The file looks like one of the format, and breaks a rule of it.
    #[error("not well-formed {format}: {rule}")]
    Malformed {
        /// Name of the format.
        format: &'static str,
        /// The rule.
        rule: &'static str,
    },
    /// A safetensors header that is not the JSON that it should be.
    #[error("not well-formed safetensors: the header cannot be read: {0}")]
    Json(String),
    /// A limit of this crate.
    #[error("the header has too many {0}, or too large ones")]
    Limit(&'static str),
    /// The file could not be read.
    #[error("reading the content")]
    Io(#[from] io::Error),
}

impl ModelError {
    const fn malformed(format: Format, rule: &'static str) -> Self {
        let format = format.as_str();
        Self::Malformed { format, rule }
    }
}

/// Reads the header of a model; `None` if the format is none that is known here.
///
/// # Errors
///
/// [`ModelError`] if the format is known and the header is not well-formed, or the file cannot be read.
pub fn read_model(source: &impl ReadAt) -> Result<Option<Model>, ModelError> {
    let len = source.byte_len()?;
    let mut start = [0; 16];
    let known = usize::try_from(len).unwrap_or(usize::MAX).min(start.len());
    let start = start.get_mut(..known).unwrap_or_default();
    source.read_exact_at(start, 0)?;
    // First of all: eight bytes of length may begin as any other magic does.
    if let [a, b, c, d, e, f, g, h, b'{', ..] = *start {
        let header = u64::from_le_bytes([a, b, c, d, e, f, g, h]).saturating_add(8);
        if header <= len {
            return safetensors::read(source).map(Some);
        }
    }
    match &*start {
        [b'G', b'G', b'U', b'F', ..] => gguf::read(source).map(Some),
        [b'P', b'K', 3, 4, ..] => pytorch::read(source),
        // Pickle protocols from 1 on, and a frame or a first operation.
        [0x80, 1..=5, ..] => match torch_legacy::read(source)? {
            None => pickle::read(source).map(Some),
            legacy => Ok(legacy),
        },
        [_, _, _, _, _, _, _, _, b'{', ..] => safetensors::read(source).map(Some),
        // Field 1, a small number: the ONNX version. Protobuf has no magic, so this may also be something else.
        [0x08, 1..=0x7f, ..] => Ok(onnx::read(source).ok()),
        // Older pickles have no magic either. What would import something is shown.
        _ => pickle::read_unnamed(source),
    }
}
