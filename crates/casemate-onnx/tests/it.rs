//! The shipped model, on samples it was not trained on.

use casemate_onnx::{Data, Model, ModelError, NamedTensor};
use serde_json::Value;

const MODEL: &[u8] = include_bytes!("../../../assets/digits/digits.onnx");
const SAMPLES: &str = include_str!("../../../assets/digits/samples.json");

fn image(values: Vec<f32>, shape: &[usize]) -> NamedTensor {
    NamedTensor {
        name: "image".into(),
        shape: shape.to_vec(),
        data: Data::Fp32(values),
    }
}

#[test]
fn the_shipped_model_reads_all_but_one_of_the_samples() {
    let model = Model::from_bytes(MODEL).unwrap();
    assert_eq!(model.metadata()["labels"], "0,1,2,3,4,5,6,7,8,9");
    assert_eq!(model.inputs()[0].shape, [None, Some(64)]);
    let samples: Value = serde_json::from_str(SAMPLES).unwrap();
    let samples = samples["samples"].as_array().unwrap();
    let pixels = samples
        .iter()
        .flat_map(|sample| sample["image"].as_array().unwrap())
        .map(|pixel| f32::from(u8::try_from(pixel.as_u64().unwrap()).unwrap()))
        .collect();
    let outputs = model.run(&[image(pixels, &[50, 64])]).unwrap();
    assert_eq!(outputs[0].shape, [50, 10]);
    let Data::Fp32(scores) = &outputs[0].data else {
        panic!("{outputs:?}")
    };
    let right = scores
        .chunks(10)
        .zip(samples)
        .filter(|(scores, sample)| {
            let best = (0..10)
                .max_by(|a, b| scores[*a].total_cmp(&scores[*b]))
                .unwrap();
            sample["label"] == best
        })
        .count();
    // onnxruntime gets the same 49 of 50 (assets/digits/README.md).
    assert_eq!(right, 49);
}

#[test]
fn inputs_that_do_not_fit_are_refused_with_what_would() {
    let model = Model::from_bytes(MODEL).unwrap();
    let short = model.run(&[image(vec![0.0; 63], &[1, 63])]).unwrap_err();
    assert_eq!(
        short.to_string(),
        "input `image`: shape [1, 63] does not match [-1, 64] with 63 elements"
    );
    for shape in [&[64][..], &[2, 64], &[0, 64], &[usize::MAX, 64]] {
        let refused = model.run(&[image(vec![0.0; 64], shape)]).unwrap_err();
        assert!(
            matches!(refused, ModelError::InputShape { .. }),
            "{shape:?}"
        );
    }
    let mut other = image(vec![0.0; 64], &[1, 64]);
    other.name = "picture".into();
    let refused = model.run(&[other]).unwrap_err();
    assert_eq!(refused.to_string(), "inputs must be exactly: image");
    let integers = NamedTensor {
        name: "image".into(),
        shape: vec![1, 64],
        data: Data::Int64(vec![0; 64]),
    };
    let refused = model.run(&[integers]).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "input `image` must have element type FP32"
    );
}

#[test]
fn bytes_that_are_no_model_are_refused() {
    for bytes in [&b""[..], b"not a model", &MODEL[..MODEL.len() / 2]] {
        let refused = Model::from_bytes(bytes).unwrap_err();
        assert!(matches!(refused, ModelError::Load(_)), "{refused}");
    }
}
