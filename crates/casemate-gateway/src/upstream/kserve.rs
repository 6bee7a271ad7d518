//! KServe v2 (Open Inference Protocol), JSON tensors.

use casemate_onnx::{ElementType, NamedTensor, TensorSpec};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::RawValue};

use super::{
    inference::Turn,
    models::{Answer, Failure, Loaded},
    numbers::{self, Numbers, What},
};

#[derive(Deserialize)]
struct InferRequest<'a> {
    id: Option<String>,
    #[serde(borrow)]
    inputs: Vec<InputTensor<'a>>,
    /// Outputs that are wanted; all if absent.
    outputs: Option<Vec<OutputName>>,
}

#[derive(Deserialize)]
struct OutputName {
    name: String,
}

#[derive(Deserialize)]
struct InputTensor<'a> {
    name: String,
    shape: Vec<usize>,
    datatype: String,
    #[serde(borrow)]
    data: &'a RawValue,
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
    data: Numbers<'a>,
}

pub(super) fn server_metadata() -> Value {
    json!({ "name": "casemate", "version": env!("CARGO_PKG_VERSION"), "extensions": [] })
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
        "platform": "onnx",
        "inputs": loaded.model.inputs().iter().map(tensor).collect::<Vec<_>>(),
        "outputs": loaded.model.outputs().iter().map(tensor).collect::<Vec<_>>(),
    })
}

pub(super) fn infer(loaded: &Loaded, content: &[u8], turn: &mut Turn) -> Answer {
    let request: InferRequest<'_> = serde_json::from_slice(content)
        .map_err(|error| Failure::Content(format!("not an inference request: {error}")))?;
    let known = |name: &OutputName| {
        let mut outputs = loaded.model.outputs().iter();
        outputs.any(|spec| spec.name == name.name)
    };
    if let Some(unknown) = request.outputs.iter().flatten().find(|name| !known(name)) {
        let message = format!("the model has no output `{}`", unknown.name);
        return Err(Failure::Content(message));
    }
    let inputs = request
        .inputs
        .iter()
        .map(|input| to_tensor(input, turn))
        .collect::<Result<Vec<_>, _>>()?;
    let outputs = loaded.run(&inputs, turn)?;
    let wanted = |tensor: &&NamedTensor| {
        request
            .outputs
            .as_ref()
            .is_none_or(|names| names.iter().any(|wanted| wanted.name == tensor.name))
    };
    let tensors = outputs.iter().filter(wanted).map(|tensor| OutputTensor {
        name: &tensor.name,
        datatype: tensor.data.element_type().name(),
        shape: &tensor.shape,
        data: Numbers(&tensor.data),
    });
    let response = InferResponse {
        model_name: &loaded.name,
        model_version: &loaded.version,
        id: request.id,
        outputs: tensors.collect(),
    };
    serde_json::to_vec(&response).map_err(|error| Failure::Model(error.to_string()))
}

/// The protocol allows data nested like the tensor or flat.
fn to_tensor(input: &InputTensor<'_>, turn: &mut Turn) -> Result<NamedTensor, Failure> {
    let element = ElementType::by_name(&input.datatype).ok_or_else(|| {
        Failure::Content(format!("datatype `{}` is not supported", input.datatype))
    })?;
    let what = format!("data of `{}`", input.name);
    // Nested or flat: no list is longer than the tensor has elements, or than its first dimension.
    let elements = input.shape.iter().copied().fold(1, usize::saturating_mul);
    let wanted = What {
        name: &what,
        items_max: elements.max(input.shape.first().copied().unwrap_or_default()),
    };
    let (data, nested) = numbers::read(input.data, element, wanted, turn)?;
    if nested != input.shape && nested.len() != 1 {
        let shape = &input.shape;
        let message = format!("{what} are nested as {nested:?}, the tensor's shape is {shape:?}");
        return Err(Failure::Content(message));
    }
    Ok(NamedTensor {
        name: input.name.clone(),
        shape: input.shape.clone(),
        data,
    })
}
