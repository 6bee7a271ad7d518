//! Policies of secure aggregation, floors, and what noise costs.

use std::sync::Arc;

use casemate_train::aggregate::{self, AggregateError, Floors, Parameters, WishedNoise, Wishes};
use pyo3::{
    prelude::*,
    types::{PyBytes, PyDict},
};

use super::Roster;
use crate::{
    error::{CasemateError, VerificationError, chain, from_environment},
    keys::{PrivateKey, PublicKey},
};

pub(super) fn from_aggregate(error: AggregateError) -> PyErr {
    use AggregateError as A;
    match error {
        A::Train(error) => super::from_train(error),
        A::Message { .. } | A::Phase { .. } | A::PolicySignature | A::PolicyRoster => {
            VerificationError::new_err(chain(&error))
        }
        _ => CasemateError::new_err(chain(&error)),
    }
}

/// The weakest policy that a client takes part in. Fields that are not given have safe defaults.
#[pyclass(frozen, module = "casemate.train")]
#[derive(Clone, Debug)]
pub(crate) struct AggregationFloors(pub(super) Floors);

#[pymethods]
impl AggregationFloors {
    /// Make floors from a dict with the fields of `spec/secure-aggregation.md`, section 2.
    #[new]
    fn new(fields: &Bound<'_, PyDict>) -> PyResult<Self> {
        let mut floors = Floors::default();
        for (name, value) in fields {
            let name: String = name.extract()?;
            match name.as_str() {
                "cohort_min" => floors.cohort_min = value.extract()?,
                "threshold" => floors.threshold = value.extract()?,
                "neighbours" => floors.neighbours = value.extract()?,
                "corrupt" => floors.corrupt = value.extract()?,
                "bits" => floors.bits = value.extract()?,
                "clip_nano" => {
                    let (least, most): (u64, u64) = value.extract()?;
                    floors.clip_nano = least..=most;
                }
                "noise_multiplier" => floors.noise_multiplier = value.extract()?,
                _ => {
                    let text = format!("there is no floor named {name:?}");
                    return Err(pyo3::exceptions::PyTypeError::new_err(text));
                }
            }
        }
        Ok(Self(floors))
    }
}

/// The signed parameters of secure aggregation.
#[pyclass(frozen, module = "casemate.train")]
#[derive(Debug)]
pub(crate) struct AggregationPolicy(pub(super) Arc<aggregate::AggregationPolicy>);

#[pymethods]
impl AggregationPolicy {
    /// Sign a policy for a roster with recommended parameters. `cohort` is the smallest and the
    /// largest number of clients, `noise` a norm in 10^-9 and a multiplier in thousandths.
    #[staticmethod]
    #[pyo3(signature = (roster, aggregator, sign, shape, cohort, noise))]
    fn sign<'py>(
        roster: &Roster,
        aggregator: &PublicKey,
        sign: &Bound<'py, PrivateKey>,
        shape: (usize, u64, u32, u32),
        cohort: (usize, usize),
        noise: Option<(u64, u32)>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let (length, clip_nano, weight_max, bits) = shape;
        let wishes = Wishes {
            length,
            clip_nano,
            cohort,
            weight_max,
            bits,
            noise: noise.map(|(norm_nano, multiplier)| WishedNoise {
                norm_nano,
                multiplier,
            }),
        };
        let members = roster.0.members().len();
        let signed = Parameters::recommended(&wishes, &Floors::default(), members)
            .and_then(|parameters| {
                let key = aggregator.recipient().map_err(|_| {
                    AggregateError::Policy(
                        "the aggregator's key must be of the suite mlkem768-x25519",
                    )
                })?;
                aggregate::AggregationPolicy::new(&roster.0, parameters, key)
            })
            .map_err(from_aggregate)?
            .sign(sign.get().signer()?)
            .map_err(from_aggregate)?;
        Ok(PyBytes::new(sign.py(), &signed))
    }

    /// Verify a signed policy.
    #[staticmethod]
    #[pyo3(signature = (signed, roster, signer, policy))]
    fn verify(
        signed: &[u8],
        roster: &Roster,
        signer: &PublicKey,
        policy: Option<&str>,
    ) -> PyResult<Self> {
        let algorithms = casemate_environment::policy(policy).map_err(from_environment)?;
        let signer = signer.current_verifier()?;
        let opened = aggregate::AggregationPolicy::open(signed, &roster.0, signer, &algorithms);
        Ok(Self(Arc::new(opened.map_err(from_aggregate)?)))
    }

    /// The parameters, as a dict with the fields of `spec/secure-aggregation.md`, section 2.
    fn parameters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let p = self.0.parameters();
        let dict = PyDict::new(py);
        dict.set_item("length", p.length)?;
        dict.set_item("bits", p.bits)?;
        dict.set_item("ring_bits", p.ring_bits)?;
        dict.set_item("clip_nano", p.clip_nano)?;
        dict.set_item("weight_max", p.weight_max)?;
        dict.set_item("cohort_min", p.cohort_min)?;
        dict.set_item("cohort_max", p.cohort_max)?;
        dict.set_item("neighbours", p.neighbours)?;
        dict.set_item("threshold", p.threshold)?;
        let noise = p.noise.map(|noise| (noise.norm_nano, noise.variance));
        dict.set_item("noise", noise)?;
        Ok(dict)
    }
}

/// Adds up the privacy loss of rounds with noise.
#[pyclass(module = "casemate.train")]
#[derive(Debug)]
pub(crate) struct Accountant(aggregate::Accountant);

#[pymethods]
impl Accountant {
    /// Start with no round of a policy that demands noise.
    #[new]
    fn new(policy: &AggregationPolicy) -> PyResult<Self> {
        aggregate::Accountant::new(policy.0.parameters())
            .map(Self)
            .map_err(from_aggregate)
    }

    /// Add a round; `clients` is the survivors minus those that may have added no noise.
    fn add_round(&mut self, clients: u32) {
        self.0.add_round(clients);
    }

    /// Epsilon of the rounds so far; `delta` is between 0 and 1.
    fn epsilon(&self, delta: f64) -> PyResult<f64> {
        if delta > 0.0 && delta < 1.0 {
            return Ok(self.0.epsilon(delta));
        }
        let text = format!("delta must be between 0 and 1, got {delta}");
        Err(pyo3::exceptions::PyValueError::new_err(text))
    }
}
