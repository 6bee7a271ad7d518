//! `POST /predict`: rows in, the best class of each row out.

use casemate_message::{Request, Response};
use casemate_onnx::{Data, NamedTensor};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    UpstreamError,
    kserve::{flatten, from_json},
    models::{Loaded, Models, bad_content, no_model},
};
use crate::problem::{json_response, sealed_error};

/// Most rows in one request.
const ROWS_MAX: usize = 4096;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PredictRequest {
    model: Option<String>,
    instances: Vec<Value>,
}

pub(super) async fn answer(models: &Models, request: Request) -> Result<Response, UpstreamError> {
    let parsed: PredictRequest = match serde_json::from_slice(&request.content) {
        Ok(parsed) => parsed,
        Err(error) => {
            return bad_content(&format!(
                "expected {{\"instances\": [[numbers], ...]}}: {error}"
            ));
        }
    };
    let loaded = match &parsed.model {
        Some(name) => models.get(name),
        None => models.only(),
    };
    let Some(loaded) = loaded.cloned() else {
        return match &parsed.model {
            Some(name) => no_model(name),
            None => bad_content("there are several models, name one in `model`"),
        };
    };
    let done = tokio::task::spawn_blocking(move || predict(&loaded, &parsed.instances)).await;
    match done {
        Ok(Ok(body)) => Ok(json_response(200, &body)?),
        Ok(Err(message)) => bad_content(&message),
        Err(_) => Ok(sealed_error(
            500,
            "server_error",
            "model",
            "the model failed",
        )?),
    }
}

/// Needs a model with one input `[rows, columns...]` and takes its first output as scores.
fn predict(loaded: &Loaded, instances: &[Value]) -> Result<Value, String> {
    let [spec] = loaded.model.inputs() else {
        return Err("this model has several inputs, use /v2/models/{name}/infer".to_owned());
    };
    if instances.is_empty() || instances.len() > ROWS_MAX {
        return Err(format!("`instances` must have 1 to {ROWS_MAX} rows"));
    }
    let columns = spec.shape.iter().skip(1).map(|dim| dim.unwrap_or(1));
    let shape: Vec<usize> = std::iter::once(instances.len()).chain(columns).collect();
    let mut flat = Vec::new();
    for row in instances {
        flatten(row, &mut flat, 0)?;
    }
    let data = from_json(spec.element, &flat)
        .ok_or_else(|| format!("instances do not fit {}", spec.element.name()))?;
    let input = NamedTensor {
        name: spec.name.clone(),
        shape,
        data,
    };
    let outputs = run_rows(loaded, input, spec.shape.first().copied().flatten())?;
    let labels = loaded.labels();
    let predictions: Vec<_> = outputs.iter().map(|row| best(row)).collect();
    let named: Vec<_> = predictions
        .iter()
        .filter_map(|at| labels.get(*at))
        .collect();
    let mut body = json!({ "model": loaded.name, "predictions": predictions, "scores": outputs });
    if let (false, Some(object)) = (labels.is_empty(), body.as_object_mut()) {
        object.insert("labels".to_owned(), json!(named));
    }
    Ok(body)
}

/// Runs all rows at once, or one by one if the model has a fixed batch of one.
fn run_rows(
    loaded: &Loaded,
    input: NamedTensor,
    batch: Option<usize>,
) -> Result<Vec<Vec<f64>>, String> {
    let rows = input.shape.first().copied().unwrap_or(0);
    let run = |input: NamedTensor, rows: usize| {
        let outputs = loaded
            .model
            .run(&[input])
            .map_err(|error| error.to_string())?;
        let first = outputs.first().ok_or("the model has no output")?;
        let scores = scores(&first.data).ok_or("the model's output is not FP32 or FP64")?;
        let width = scores.len().checked_div(rows).filter(|width| *width > 0);
        let width = width.ok_or("the model's output has no row for each instance")?;
        Ok::<_, String>(
            scores
                .chunks(width)
                .map(<[f64]>::to_vec)
                .collect::<Vec<_>>(),
        )
    };
    if batch != Some(1) || rows <= 1 {
        return run(input, rows);
    }
    let mut all = Vec::with_capacity(rows);
    for row in split_rows(&input, rows).ok_or("instances do not fit the model")? {
        all.extend(run(row, 1)?);
    }
    Ok(all)
}

fn split_rows(input: &NamedTensor, rows: usize) -> Option<Vec<NamedTensor>> {
    let width = input.data.len().checked_div(rows)?;
    let whole = input.data.len() == width.checked_mul(rows)?;
    let shape: Vec<_> = std::iter::once(1)
        .chain(input.shape.iter().skip(1).copied())
        .collect();
    let tensor = |data| NamedTensor {
        name: input.name.clone(),
        shape: shape.clone(),
        data,
    };
    let cut = |at: usize| {
        let range = at.checked_mul(width)?..at.checked_add(1)?.checked_mul(width)?;
        Some(tensor(match &input.data {
            Data::Fp32(data) => Data::Fp32(data.get(range)?.to_vec()),
            Data::Fp64(data) => Data::Fp64(data.get(range)?.to_vec()),
            Data::Int8(data) => Data::Int8(data.get(range)?.to_vec()),
            Data::Int16(data) => Data::Int16(data.get(range)?.to_vec()),
            Data::Int32(data) => Data::Int32(data.get(range)?.to_vec()),
            Data::Int64(data) => Data::Int64(data.get(range)?.to_vec()),
            Data::Uint8(data) => Data::Uint8(data.get(range)?.to_vec()),
        }))
    };
    whole.then(|| (0..rows).map(cut).collect::<Option<_>>())?
}

fn scores(data: &Data) -> Option<Vec<f64>> {
    match data {
        Data::Fp32(data) => Some(data.iter().map(|score| f64::from(*score)).collect()),
        Data::Fp64(data) => Some(data.clone()),
        _ => None,
    }
}

fn best(row: &[f64]) -> usize {
    let scored = row.iter().enumerate();
    scored
        .max_by(|a, b| a.1.total_cmp(b.1))
        .map_or(0, |(at, _)| at)
}
