//! Tensors, and their descriptions in a model.

#[cfg(feature = "engine")]
use tract_onnx::prelude::{DatumType, Tensor};

#[cfg(feature = "engine")]
use crate::ModelError;

macro_rules! element_types {
    ($(($variant:ident, $rust:ty, $tract:ident, $kserve:literal)),* $(,)?) => {
        /// Supported element types, with their KServe v2 names.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum ElementType {
            $(#[doc = concat!("`", $kserve, "`")] $variant,)*
        }

        /// A tensor's elements in row-major order.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Data {
            $(#[doc = concat!("`", $kserve, "`")] $variant(Vec<$rust>),)*
        }

        impl ElementType {
            /// Returns the KServe v2 name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $kserve,)*
                }
            }

            /// Finds a type by its KServe v2 name.
            pub fn by_name(name: &str) -> Option<Self> {
                match name {
                    $($kserve => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }

        impl Data {
            /// Returns the type of the elements.
            pub const fn element_type(&self) -> ElementType {
                match self {
                    $(Self::$variant(_) => ElementType::$variant,)*
                }
            }

            /// Returns the number of elements.
            pub const fn len(&self) -> usize {
                match self {
                    $(Self::$variant(data) => data.len(),)*
                }
            }

            /// Returns whether there are no elements.
            pub const fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// Reads elements from little-endian bytes; `None` if the last element is incomplete.
            pub fn from_le_bytes(element: ElementType, bytes: &[u8]) -> Option<Self> {
                match element {
                    $(ElementType::$variant => {
                        let (elements, rest) = bytes.as_chunks();
                        let data = elements.iter().map(|bytes| <$rust>::from_le_bytes(*bytes));
                        rest.is_empty().then(|| Self::$variant(data.collect()))
                    })*
                }
            }

            /// Appends the elements to `out` as little-endian bytes.
            pub fn extend_le_bytes(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$variant(data) => {
                        data.iter().for_each(|element| out.extend(element.to_le_bytes()));
                    })*
                }
            }

            /// Returns the length of all elements in bytes.
            pub const fn byte_len(&self) -> usize {
                match self {
                    $(Self::$variant(data) => size_of_val(data.as_slice()),)*
                }
            }
        }

        #[cfg(feature = "engine")]
        impl ElementType {
            pub(crate) fn from_tract(datum: DatumType) -> Result<Self, ModelError> {
                match datum {
                    $(DatumType::$tract => Ok(Self::$variant),)*
                    other => Err(ModelError::ElementType(format!("{other:?}"))),
                }
            }
        }

        #[cfg(feature = "engine")]
        impl Data {
            fn to_tract(&self, shape: &[usize]) -> Result<Tensor, ModelError> {
                match self {
                    $(Self::$variant(data) => Tensor::from_shape(shape, data),)*
                }
                .map_err(|error| ModelError::Run(format!("{error:#}")))
            }

            fn from_tract(tensor: &Tensor) -> Result<Self, ModelError> {
                let failed = |error| ModelError::Run(format!("{error:#}"));
                match tensor.datum_type() {
                    $(DatumType::$tract => tensor
                        .to_plain_array_view::<$rust>()
                        .map(|view| Self::$variant(view.iter().copied().collect()))
                        .map_err(failed),)*
                    other => Err(ModelError::ElementType(format!("{other:?}"))),
                }
            }
        }
    };
}

element_types![
    (Fp32, f32, F32, "FP32"),
    (Fp64, f64, F64, "FP64"),
    (Int8, i8, I8, "INT8"),
    (Int16, i16, I16, "INT16"),
    (Int32, i32, I32, "INT32"),
    (Int64, i64, I64, "INT64"),
    (Uint8, u8, U8, "UINT8"),
];

/// A tensor with its name.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// Name in the model.
    pub name: String,
    /// Dimensions.
    pub shape: Vec<usize>,
    /// Elements.
    pub data: Data,
}

#[cfg(feature = "engine")]
impl NamedTensor {
    pub(crate) fn to_tract(&self) -> Result<Tensor, ModelError> {
        self.data.to_tract(&self.shape)
    }

    pub(crate) fn from_tract(name: &str, tensor: &Tensor) -> Result<Self, ModelError> {
        let (name, shape) = (name.to_owned(), tensor.shape().to_vec());
        Ok(Self {
            name,
            shape,
            data: Data::from_tract(tensor)?,
        })
    }
}

/// A model's description of an input or output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// Name in the model.
    pub name: String,
    /// Type of the elements.
    pub element: ElementType,
    /// Dimensions; `None` where any size is allowed, such as the batch.
    pub shape: Vec<Option<usize>>,
}

#[cfg(feature = "engine")]
impl TensorSpec {
    pub(crate) fn check(&self, tensor: &NamedTensor) -> Result<(), ModelError> {
        if tensor.data.element_type() != self.element {
            let (name, expected) = (self.name.clone(), self.element.name());
            return Err(ModelError::InputType { name, expected });
        }
        let dimensions_fit = tensor.shape.len() == self.shape.len()
            && tensor
                .shape
                .iter()
                .zip(&self.shape)
                .all(|(given, wanted)| match wanted {
                    Some(wanted) => given == wanted,
                    // Engines divide by the batch size, and an empty batch is never intended.
                    None => *given > 0,
                });
        let elements = tensor
            .shape
            .iter()
            .try_fold(1usize, |product, dim| product.checked_mul(*dim));
        if dimensions_fit && elements == Some(tensor.data.len()) {
            return Ok(());
        }
        let dimensions: Vec<_> = self
            .shape
            .iter()
            .map(|dim| dim.map_or_else(|| "-1".to_owned(), |dim| dim.to_string()))
            .collect();
        let count = tensor.data.len();
        let expected = format!("[{}] with {count} elements", dimensions.join(", "));
        Err(ModelError::InputShape {
            name: self.name.clone(),
            shape: tensor.shape.clone(),
            expected,
        })
    }
}
