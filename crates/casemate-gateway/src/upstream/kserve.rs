//! KServe v2 (Open Inference Protocol), with its binary tensor extension.

use std::fmt;

use casemate_onnx::{Data, ElementType, NamedTensor, TensorSpec};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, SeqAccess, Visitor},
};
use serde_json::{Value, json, value::RawValue};

use super::{
    answer::{Answer, Answered, Failure},
    inference::Turn,
    numbers::{self, NESTING_MAX, Numbers, What},
    registry::{Loaded, check_text},
};

#[derive(Deserialize)]
struct InferRequest<'a> {
    id: Option<String>,
    parameters: Option<RequestParameters>,
    #[serde(borrow)]
    inputs: Vec<InputTensor<'a>>,
    /// The requested outputs; all if absent.
    outputs: Option<Vec<WantedOutput>>,
}

/// The request parameters that this server supports.
#[derive(Default, Deserialize)]
struct RequestParameters {
    #[serde(default)]
    binary_data_output: bool,
}

#[derive(Deserialize)]
struct WantedOutput {
    name: String,
    parameters: Option<OutputParameters>,
}

#[derive(Default, Deserialize)]
struct OutputParameters {
    binary_data: Option<bool>,
}

#[derive(Deserialize)]
struct InputTensor<'a> {
    name: String,
    #[serde(deserialize_with = "shape")]
    shape: Vec<usize>,
    datatype: String,
    parameters: Option<InputParameters>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct InputParameters {
    /// Length of the tensor after the JSON, in bytes.
    binary_data_size: Option<usize>,
}

/// Reads a shape with at most [`NESTING_MAX`] dimensions. Shapes are copied and appear in messages,
/// so a long one would cost much more than its text.
fn shape<'de, D: Deserializer<'de>>(json: D) -> Result<Vec<usize>, D::Error> {
    struct Sides;
    impl<'de> Visitor<'de> for Sides {
        type Value = Vec<usize>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {NESTING_MAX} numbers")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut sides: A) -> Result<Vec<usize>, A::Error> {
            let mut shape = Vec::new();
            while let Some(side) = sides.next_element()? {
                if shape.len() == NESTING_MAX {
                    return Err(A::Error::invalid_length(
                        NESTING_MAX.saturating_add(1),
                        &self,
                    ));
                }
                shape.push(side);
            }
            Ok(shape)
        }
    }
    json.deserialize_seq(Sides)
}

#[derive(Serialize)]
struct InferResponse<'a> {
    model_name: &'a str,
    model_version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    outputs: Vec<OutputTensor<'a>>,
}

#[derive(Serialize)]
struct OutputTensor<'a> {
    name: &'a str,
    datatype: &'a str,
    shape: &'a [usize],
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Numbers<'a>>,
}

pub(super) fn server_metadata() -> Value {
    json!({ "name": "casemate", "version": env!("CARGO_PKG_VERSION"), "extensions": ["binary_tensor_data"] })
}

pub(super) fn model_metadata(loaded: &Loaded) -> Value {
    let tensor = |spec: &TensorSpec| {
        let shape: Vec<_> = spec
            .shape
            .iter()
            .map(|dim| dim.and_then(|dim| i64::try_from(dim).ok()).unwrap_or(-1))
            .collect();
        json!({ "name": spec.name, "datatype": spec.element.name(), "shape": shape })
    };
    json!({
        "name": loaded.name,
        "versions": [loaded.version],
        "platform": "onnx",
        "inputs": loaded.model.inputs().iter().map(tensor).collect::<Vec<_>>(),
        "outputs": loaded.model.outputs().iter().map(tensor).collect::<Vec<_>>(),
    })
}

/// Runs a model. `json_len` is the length of the JSON before the binary tensors; without it, the
/// whole content is JSON.
pub(super) fn infer(
    loaded: &Loaded,
    content: &[u8],
    json_len: Option<usize>,
    turn: &mut Turn,
) -> Answer {
    let (text, mut binary) = match json_len {
        Some(len) => content.split_at_checked(len).ok_or_else(|| {
            let message = "`inference-header-content-length` is longer than the content";
            Failure::Content(message.to_owned())
        })?,
        None => (content, &[] as &[u8]),
    };
    let request: InferRequest<'_> = serde_json::from_slice(text)
        .map_err(|error| Failure::Content(format!("not an inference request: {error}")))?;
    let known = |wanted: &WantedOutput| {
        let mut outputs = loaded.model.outputs().iter();
        outputs.any(|spec| spec.name == wanted.name)
    };
    if let Some(unknown) = request
        .outputs
        .iter()
        .flatten()
        .find(|wanted| !known(wanted))
    {
        let message = format!("the model has no output named `{}`", unknown.name);
        return Err(Failure::Content(message));
    }
    let inputs = request
        .inputs
        .iter()
        .map(|input| to_tensor(input, &mut binary, turn))
        .collect::<Result<Vec<_>, _>>()?;
    if !binary.is_empty() {
        let message = format!("{} bytes follow the last binary tensor", binary.len());
        return Err(Failure::Content(message));
    }
    let outputs = loaded.run(&inputs, turn)?;
    answer(loaded, request, &outputs, turn)
}

fn answer(
    loaded: &Loaded,
    request: InferRequest<'_>,
    outputs: &[NamedTensor],
    turn: &mut Turn,
) -> Answer {
    let of_all = request
        .parameters
        .as_ref()
        .is_some_and(|all| all.binary_data_output);
    let as_binary = |tensor: &NamedTensor| {
        let mut wanted = request.outputs.iter().flatten();
        let wanted = wanted.find(|wanted| wanted.name == tensor.name);
        let said = wanted.and_then(|wanted| wanted.parameters.as_ref()?.binary_data);
        said.unwrap_or(of_all)
    };
    let is_wanted = |tensor: &&NamedTensor| {
        let wanted = request.outputs.as_ref();
        wanted.is_none_or(|list| list.iter().any(|wanted| wanted.name == tensor.name))
    };
    let mut binary = Vec::new();
    let tensors = outputs.iter().filter(is_wanted).map(|tensor| {
        let as_binary = as_binary(tensor);
        if as_binary {
            tensor.data.extend_le_bytes(&mut binary);
        } else {
            check_text(tensor, turn)?;
        }
        Ok(OutputTensor {
            name: &tensor.name,
            datatype: tensor.data.element_type().name(),
            shape: &tensor.shape,
            parameters: as_binary.then(|| json!({ "binary_data_size": tensor.data.byte_len() })),
            data: (!as_binary).then_some(Numbers(&tensor.data)),
        })
    });
    let tensors = tensors.collect::<Result<_, Failure>>()?;
    let response = InferResponse {
        model_name: &loaded.name,
        model_version: &loaded.version,
        id: request.id,
        outputs: tensors,
    };
    let mut content =
        serde_json::to_vec(&response).map_err(|error| Failure::Model(error.to_string()))?;
    let json_len = (!binary.is_empty()).then_some(content.len());
    content.append(&mut binary);
    Ok(Answered { content, json_len })
}

/// Reads a tensor. Its data is nested like its shape, or flat, or little-endian bytes after the
/// JSON, which are taken from `binary`.
fn to_tensor(
    input: &InputTensor<'_>,
    binary: &mut &[u8],
    turn: &mut Turn,
) -> Result<NamedTensor, Failure> {
    let element = ElementType::by_name(&input.datatype).ok_or_else(|| {
        Failure::Content(format!("datatype `{}` is not supported", input.datatype))
    })?;
    let what = format!("data of `{}`", input.name);
    // Nested or flat, the outermost list has at most as many items as the tensor has elements, or
    // as its first dimension.
    let elements = input.shape.iter().copied().fold(1, usize::saturating_mul);
    let wanted = What {
        name: &what,
        items_max: elements.max(input.shape.first().copied().unwrap_or_default()),
    };
    let tensor = |data| NamedTensor {
        name: input.name.clone(),
        shape: input.shape.clone(),
        data,
    };
    let announced = input
        .parameters
        .as_ref()
        .and_then(|found| found.binary_data_size);
    let text = match (announced, input.data) {
        (None, Some(text)) => text,
        (Some(len), None) => {
            let (bytes, rest) = binary.split_at_checked(len).ok_or_else(|| {
                Failure::Content(format!(
                    "{what}: `binary_data_size` is {len}, but fewer bytes remain"
                ))
            })?;
            *binary = rest;
            turn.take(len)?;
            let data = Data::from_le_bytes(element, bytes).ok_or_else(|| {
                Failure::Content(format!(
                    "{what}: {len} bytes is not a multiple of the element size"
                ))
            })?;
            return Ok(tensor(data));
        }
        _ => {
            let message =
                format!("{what}: exactly one of `data` and `binary_data_size` is required");
            return Err(Failure::Content(message));
        }
    };
    let (data, nested) = numbers::read(text, element, wanted, turn)?;
    if nested != input.shape && nested.len() != 1 {
        let shape = &input.shape;
        let message = format!("{what}: nested as {nested:?}, but the tensor's shape is {shape:?}");
        return Err(Failure::Content(message));
    }
    Ok(tensor(data))
}
