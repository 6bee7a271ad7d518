//! Held-out images (assets/digits/README.md).

use serde::Deserialize;

use crate::fault::{Fault, Outcome};

const SAMPLES: &str = include_str!("../../../../assets/digits/samples.json");

/// An image that the model was not trained on, and its digit.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Sample {
    pub(super) image: Vec<u8>,
    pub(super) label: u8,
}

#[derive(Deserialize)]
struct File {
    samples: Vec<Sample>,
}

pub(super) fn all() -> Result<Vec<Sample>, Fault> {
    let file: File =
        serde_json::from_str(SAMPLES).map_err(|error| Fault::from_error(Outcome::Io, error))?;
    Ok(file.samples)
}
