//! `POST /predict`: returns the best class of each row.

use casemate_onnx::{Data, NamedTensor, TensorSpec};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    answer::{Answer, Answered, Failure},
    inference::Turn,
    numbers::{self, What},
    registry::{ByName, Loaded, check_text},
};

/// Maximum number of rows in a request.
const ROWS_MAX: usize = 4096;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PredictRequest<'a> {
    model: Option<String>,
    #[serde(borrow)]
    instances: &'a RawValue,
}

#[derive(Serialize)]
struct PredictResponse<'a> {
    model: &'a str,
    predictions: &'a [i64],
    scores: &'a [Vec<f64>],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    labels: Vec<&'a str>,
}

pub(super) fn answer(models: &ByName, content: &[u8], turn: &mut Turn) -> Answer {
    let request: PredictRequest<'_> = serde_json::from_slice(content).map_err(|error| {
        Failure::Content(format!(
            "invalid request: expected {{\"instances\": [[numbers], ...]}}: {error}"
        ))
    })?;
    let loaded = match &request.model {
        Some(name) => models
            .get(name)
            .ok_or_else(|| Failure::NoModel(name.clone()))?,
        None => only(models).ok_or_else(|| {
            Failure::Content("several models are loaded; choose one with `model`".to_owned())
        })?,
    };
    predict(loaded, request.instances, turn)
}

/// Returns the only model, for a request that names none.
fn only(models: &ByName) -> Option<&Loaded> {
    models.values().next().filter(|_| models.len() == 1)
}

/// Predicts with a model that has one input `[rows, columns...]`.
fn predict(loaded: &Loaded, instances: &RawValue, turn: &mut Turn) -> Answer {
    let content = |message: String| Err(Failure::Content(message));
    let [spec] = loaded.model.inputs() else {
        let message = "this model has several inputs; use /v2/models/{name}/infer";
        return content(message.to_owned());
    };
    let what = What {
        name: "`instances`",
        items_max: ROWS_MAX,
    };
    let (data, nested) = numbers::read(instances, spec.element, what, turn)?;
    let rows = nested.first().copied().unwrap_or_default();
    if rows == 0 || nested.len() < 2 {
        return content(format!(
            "`instances` must have 1 to {ROWS_MAX} rows of numbers"
        ));
    }
    let Some(shape) = shape_of(spec, &nested) else {
        let row = nested.get(1..).unwrap_or_default();
        return content(format!(
            "rows have shape {row:?}, but the model expects {}",
            columns(spec)
        ));
    };
    let input = NamedTensor {
        name: spec.name.clone(),
        shape,
        data,
    };
    let batch = spec.shape.first().copied().flatten();
    let Scored { scores, classes } = run_rows(loaded, input, rows, batch, turn)?;
    let best: Vec<_> = scores.iter().map(|row| best(row)).collect();
    let labels = loaded.labels();
    let named = best.iter().filter_map(|at| labels.get(*at).copied());
    let predictions = if classes.is_empty() {
        let numbers = best.iter().map(|at| i64::try_from(*at).unwrap_or(i64::MAX));
        numbers.collect()
    } else {
        classes
    };
    let response = PredictResponse {
        model: &loaded.name,
        predictions: &predictions,
        scores: &scores,
        labels: named.collect(),
    };
    let content = serde_json::to_vec(&response);
    content
        .map(Answered::json)
        .map_err(|error| Failure::Model(error.to_string()))
}

/// Returns the tensor's shape: rows nested like the model's columns, or flat if that is
/// unambiguous.
fn shape_of(spec: &TensorSpec, nested: &[usize]) -> Option<Vec<usize>> {
    let wanted = spec.shape.get(1..)?;
    let (rows, row) = nested.split_first()?;
    let fits = |row: &[usize]| {
        let pairs = || row.iter().zip(wanted);
        row.len() == wanted.len()
            && pairs().all(|(found, wanted)| wanted.is_none_or(|n| n == *found))
    };
    if fits(row) {
        return Some(nested.to_vec());
    }
    let [flat] = row else { return None };
    let fixed = wanted
        .iter()
        .flatten()
        .try_fold(1usize, |product, dim| product.checked_mul(*dim))?;
    let open = wanted.iter().filter(|dim| dim.is_none()).count();
    let missing = flat
        .checked_div(fixed)
        .filter(|_| flat.is_multiple_of(fixed))?;
    if (open == 0 && missing != 1) || open > 1 {
        return None;
    }
    let row = wanted.iter().map(|dim| dim.unwrap_or(missing));
    Some(std::iter::once(*rows).chain(row).collect())
}

fn columns(spec: &TensorSpec) -> String {
    let dims: Vec<_> = spec
        .shape
        .iter()
        .skip(1)
        .map(|dim| dim.map_or_else(|| "any".to_owned(), |dim| dim.to_string()))
        .collect();
    format!("[{}]", dims.join(", "))
}

/// The scores and classes of rows.
#[derive(Default)]
struct Scored {
    scores: Vec<Vec<f64>>,
    /// The class of each row, if the model outputs it next to the scores, as scikit-learn exports
    /// do.
    classes: Vec<i64>,
}

impl Scored {
    /// Takes the scores from the first floating-point output, and the classes from the first
    /// integer output with one value per row.
    fn new(outputs: &[NamedTensor], rows: usize, turn: &mut Turn) -> Result<Self, Failure> {
        let model = |message: &str| Failure::Model(message.to_owned());
        let found = outputs
            .iter()
            .find_map(|output| Some((output, scores(&output.data)?)));
        let (output, scores) =
            found.ok_or_else(|| model("the model has no FP32 or FP64 output"))?;
        check_text(output, turn)?;
        let width = scores
            .len()
            .checked_div(rows)
            .filter(|width| *width > 0)
            .filter(|width| width.checked_mul(rows) == Some(scores.len()))
            .ok_or_else(|| model("the model's output does not have one row per instance"))?;
        turn.take(scores.len().saturating_mul(size_of::<f64>()))?;
        let of_rows =
            |output: &NamedTensor| classes(&output.data).filter(|classes| classes.len() == rows);
        Ok(Self {
            scores: scores.chunks(width).map(<[f64]>::to_vec).collect(),
            classes: outputs.iter().find_map(of_rows).unwrap_or_default(),
        })
    }

    fn extend(&mut self, other: Self) {
        self.scores.extend(other.scores);
        self.classes.extend(other.classes);
    }
}

/// Runs all rows at once, or one by one if the model has a fixed batch size of one.
fn run_rows(
    loaded: &Loaded,
    input: NamedTensor,
    rows: usize,
    batch: Option<usize>,
    turn: &mut Turn,
) -> Result<Scored, Failure> {
    if batch != Some(1) || rows <= 1 {
        let outputs = loaded.run(&[input], turn)?;
        return Scored::new(&outputs, rows, turn);
    }
    let mut all = Scored::default();
    for at in 0..rows {
        let row = row(&input, at, rows).ok_or_else(|| {
            Failure::Model("the instances do not match the model's input".to_owned())
        })?;
        let outputs = loaded.run(&[row], turn)?;
        all.extend(Scored::new(&outputs, 1, turn)?);
    }
    Ok(all)
}

/// Returns one row of a tensor.
fn row(input: &NamedTensor, at: usize, rows: usize) -> Option<NamedTensor> {
    let width = input.data.len().checked_div(rows)?;
    let range = at.checked_mul(width)?..at.checked_add(1)?.checked_mul(width)?;
    let data = match &input.data {
        Data::Fp32(data) => Data::Fp32(data.get(range)?.to_vec()),
        Data::Fp64(data) => Data::Fp64(data.get(range)?.to_vec()),
        Data::Int8(data) => Data::Int8(data.get(range)?.to_vec()),
        Data::Int16(data) => Data::Int16(data.get(range)?.to_vec()),
        Data::Int32(data) => Data::Int32(data.get(range)?.to_vec()),
        Data::Int64(data) => Data::Int64(data.get(range)?.to_vec()),
        Data::Uint8(data) => Data::Uint8(data.get(range)?.to_vec()),
    };
    let shape = std::iter::once(1).chain(input.shape.iter().skip(1).copied());
    Some(NamedTensor {
        name: input.name.clone(),
        shape: shape.collect(),
        data,
    })
}

fn scores(data: &Data) -> Option<Vec<f64>> {
    match data {
        Data::Fp32(data) => Some(data.iter().map(|score| f64::from(*score)).collect()),
        Data::Fp64(data) => Some(data.clone()),
        Data::Int8(_) | Data::Int16(_) | Data::Int32(_) | Data::Int64(_) | Data::Uint8(_) => None,
    }
}

fn classes(data: &Data) -> Option<Vec<i64>> {
    match data {
        Data::Int32(data) => Some(data.iter().copied().map(i64::from).collect()),
        Data::Int64(data) => Some(data.clone()),
        Data::Fp32(_) | Data::Fp64(_) | Data::Int8(_) | Data::Int16(_) | Data::Uint8(_) => None,
    }
}

fn best(row: &[f64]) -> usize {
    let scored = row.iter().enumerate();
    scored
        .max_by(|a, b| a.1.total_cmp(b.1))
        .map_or(0, |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use casemate_onnx::ElementType;

    use super::*;

    #[test]
    fn rows_take_the_shape_of_the_model_or_are_refused() {
        let shape = |wanted: &[Option<usize>], nested: &[usize]| {
            let spec = TensorSpec {
                name: "x".to_owned(),
                element: ElementType::Fp32,
                shape: [&[None], wanted].concat(),
            };
            shape_of(&spec, nested)
        };
        assert_eq!(shape(&[Some(64)], &[3, 64]), Some(vec![3, 64]));
        assert_eq!(shape(&[Some(64)], &[3, 63]), None);
        assert_eq!(shape(&[Some(8), Some(8)], &[3, 64]), Some(vec![3, 8, 8]));
        assert_eq!(shape(&[Some(8), Some(8)], &[3, 8, 8]), Some(vec![3, 8, 8]));
        assert_eq!(shape(&[Some(8), Some(8)], &[3, 4, 16]), None);
        assert_eq!(shape(&[None], &[3, 5]), Some(vec![3, 5]));
        assert_eq!(shape(&[None, Some(2)], &[3, 6]), Some(vec![3, 3, 2]));
        assert_eq!(shape(&[None, None], &[3, 6]), None);
        assert_eq!(shape(&[None, None], &[3, 2, 3]), Some(vec![3, 2, 3]));
    }
}
