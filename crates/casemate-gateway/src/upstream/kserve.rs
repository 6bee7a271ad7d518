//! KServe v2 (Open Inference Protocol), JSON tensors.

use std::sync::Arc;

use casemate_message::{Request, Response};
use casemate_onnx::{Data, ElementType, ModelError, NamedTensor, TensorSpec};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    UpstreamError,
    models::{Loaded, bad_content},
};
use crate::problem::json_response;

/// Deepest nesting of a tensor's data.
const NESTING_MAX: usize = 16;

#[derive(Deserialize)]
struct InferRequest {
    id: Option<String>,
    inputs: Vec<InputTensor>,
    /// Outputs that are wanted; all if absent.
    outputs: Option<Vec<OutputName>>,
}

#[derive(Deserialize)]
struct OutputName {
    name: String,
}

#[derive(Deserialize)]
struct InputTensor {
    name: String,
    shape: Vec<usize>,
    datatype: String,
    data: Value,
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

pub(super) async fn infer(
    loaded: Arc<Loaded>,
    request: Request,
) -> Result<Response, UpstreamError> {
    let done = tokio::task::spawn_blocking(move || infer_now(&loaded, &request.content)).await;
    match done {
        Ok(Ok(body)) => Ok(json_response(200, &body)?),
        Ok(Err(message)) => bad_content(&message),
        Err(_) => Ok(crate::problem::sealed_error(
            500,
            "server_error",
            "model",
            "the model failed",
        )?),
    }
}

fn infer_now(loaded: &Loaded, content: &[u8]) -> Result<Value, String> {
    let request: InferRequest = serde_json::from_slice(content)
        .map_err(|error| format!("not an inference request: {error}"))?;
    let inputs = request
        .inputs
        .into_iter()
        .map(to_tensor)
        .collect::<Result<Vec<_>, _>>()?;
    let outputs = loaded
        .model
        .run(&inputs)
        .map_err(|error: ModelError| error.to_string())?;
    let wanted = |tensor: &&NamedTensor| {
        request
            .outputs
            .as_ref()
            .is_none_or(|names| names.iter().any(|wanted| wanted.name == tensor.name))
    };
    for wanted in request.outputs.iter().flatten() {
        if !outputs.iter().any(|tensor| tensor.name == wanted.name) {
            return Err(format!("the model has no output `{}`", wanted.name));
        }
    }
    let outputs: Vec<_> = outputs
        .iter()
        .filter(wanted)
        .map(|tensor| {
            json!({
                "name": tensor.name,
                "datatype": tensor.data.element_type().name(),
                "shape": tensor.shape,
                "data": to_json(&tensor.data),
            })
        })
        .collect();
    let mut body = json!({
        "model_name": loaded.name,
        "model_version": loaded.version,
        "outputs": outputs,
    });
    if let (Some(id), Some(object)) = (request.id, body.as_object_mut()) {
        object.insert("id".to_owned(), id.into());
    }
    Ok(body)
}

fn to_tensor(input: InputTensor) -> Result<NamedTensor, String> {
    let element = ElementType::by_name(&input.datatype)
        .ok_or_else(|| format!("datatype `{}` is not supported", input.datatype))?;
    let mut flat = Vec::new();
    flatten(&input.data, &mut flat, 0)?;
    let data = from_json(element, &flat)
        .ok_or_else(|| format!("data of `{}` do not fit {}", input.name, element.name()))?;
    Ok(NamedTensor {
        name: input.name,
        shape: input.shape,
        data,
    })
}

/// The protocol allows data nested like the tensor or flat.
pub(super) fn flatten<'a>(
    value: &'a Value,
    into: &mut Vec<&'a Value>,
    depth: usize,
) -> Result<(), String> {
    match value {
        Value::Array(_) if depth == NESTING_MAX => Err("data are nested too deeply".to_owned()),
        Value::Array(items) => items
            .iter()
            .try_for_each(|item| flatten(item, into, depth.saturating_add(1))),
        Value::Number(_) => {
            into.push(value);
            Ok(())
        }
        _ => Err("data must be numbers".to_owned()),
    }
}

/// Converts without silent wrapping; an integer out of range fits no type.
pub(super) fn from_json(element: ElementType, values: &[&Value]) -> Option<Data> {
    let floats = || values.iter().map(|value| value.as_f64());
    let integers = || values.iter().map(|value| value.as_i64());
    Some(match element {
        ElementType::Fp32 => Data::Fp32(
            floats()
                .map(|v| v.and_then(to_f32))
                .collect::<Option<_>>()?,
        ),
        ElementType::Fp64 => Data::Fp64(floats().collect::<Option<_>>()?),
        ElementType::Int8 => Data::Int8(
            integers()
                .map(|v| v?.try_into().ok())
                .collect::<Option<_>>()?,
        ),
        ElementType::Int16 => Data::Int16(
            integers()
                .map(|v| v?.try_into().ok())
                .collect::<Option<_>>()?,
        ),
        ElementType::Int32 => Data::Int32(
            integers()
                .map(|v| v?.try_into().ok())
                .collect::<Option<_>>()?,
        ),
        ElementType::Int64 => Data::Int64(integers().collect::<Option<_>>()?),
        ElementType::Uint8 => Data::Uint8(
            integers()
                .map(|v| v?.try_into().ok())
                .collect::<Option<_>>()?,
        ),
    })
}

/// The nearest FP32; `None` for a number that only infinity would be near to.
#[expect(
    clippy::cast_possible_truncation,
    reason = "rounding is what FP32 asks for"
)]
fn to_f32(value: f64) -> Option<f32> {
    Some(value as f32).filter(|value| value.is_finite())
}

pub(super) fn to_json(data: &Data) -> Value {
    match data {
        Data::Fp32(data) => json!(data),
        Data::Fp64(data) => json!(data),
        Data::Int8(data) => json!(data),
        Data::Int16(data) => json!(data),
        Data::Int32(data) => json!(data),
        Data::Int64(data) => json!(data),
        Data::Uint8(data) => json!(data),
    }
}
