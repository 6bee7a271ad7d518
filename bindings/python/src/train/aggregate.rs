//! Rounds of secure aggregation, and both their sides.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use casemate_train::{
    Identity,
    aggregate::{self, AggregateError, Floors, Outgoing, Participation},
};
use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::{
    prelude::*,
    types::{PyBytes, PyDict},
};

use super::{
    Roster,
    policy::{AggregationFloors, AggregationPolicy, from_aggregate},
    random,
};
use crate::{error::CasemateError, keys::PrivateKey};

/// A round of a job.
#[pyclass(frozen, module = "casemate.train")]
#[derive(Debug)]
pub(crate) struct AggregationRound(aggregate::Round);

#[pymethods]
impl AggregationRound {
    /// Describe a round by its number and the digest of the model that clients start from, 48
    /// bytes.
    #[new]
    fn new(
        roster: &Roster,
        policy: &AggregationPolicy,
        number: u64,
        model: [u8; 48],
    ) -> PyResult<Self> {
        let (roster, policy) = (Arc::clone(&roster.0), Arc::clone(&policy.0));
        aggregate::Round::new(roster, policy, number, &model)
            .map(Self)
            .map_err(from_aggregate)
    }

    /// The number of the round.
    #[getter]
    fn number(&self) -> u64 {
        self.0.number()
    }

    /// How many of the survivors have certainly added noise to what the server learns, if a tenth
    /// of the members are corrupt.
    fn noisy_clients(&self, survivors: usize) -> usize {
        self.0.noisy_clients(survivors, &Floors::default())
    }
}

/// A client in a round. After an error it has dropped out.
#[pyclass(frozen, module = "casemate.train")]
pub(crate) struct AggregationClient {
    round: Py<AggregationRound>,
    name: String,
    key: Py<PrivateKey>,
    floors: Floors,
    state: Mutex<Option<aggregate::Client>>,
}

impl AggregationClient {
    /// Takes a step from the state, and keeps the state that it returns.
    fn step<T: Send>(
        &self,
        py: Python<'_>,
        now: u64,
        step: impl FnOnce(
            Option<aggregate::Client>,
            &Participation<'_>,
        ) -> Result<(Option<aggregate::Client>, T), AggregateError>
        + Send,
    ) -> PyResult<T> {
        let with = Participation {
            round: &self.round.get().0,
            floors: &self.floors,
            own: Identity {
                name: &self.name,
                key: self.key.get().signer()?,
            },
            now,
        };
        py.detach(|| {
            // Not locked during the step, which may call Python.
            let state = self.state.lock().map_err(broken)?.take();
            let (next, out) = step(state, &with).map_err(from_aggregate)?;
            *self.state.lock().map_err(broken)? = next;
            Ok(out)
        })
    }
}

fn broken<T>(_: PoisonError<T>) -> PyErr {
    CasemateError::new_err("another thread failed while it used the round")
}

fn begun(client: Option<aggregate::Client>) -> Result<aggregate::Client, AggregateError> {
    client.ok_or(AggregateError::NotInRound)
}

#[pymethods]
impl AggregationClient {
    /// Take part in a round as the member `me`.
    #[new]
    fn new(
        round: Py<AggregationRound>,
        me: String,
        key: Py<PrivateKey>,
        floors: &AggregationFloors,
    ) -> Self {
        Self {
            round,
            name: me,
            key,
            floors: floors.0.clone(),
            state: Mutex::new(None),
        }
    }

    /// Return the advertisement to send, at the time `now`.
    fn advertise<'py>(&self, py: Python<'py>, now: u64) -> PyResult<Bound<'py, PyBytes>> {
        let message = self.step(py, now, |_, with| {
            let (client, message) = aggregate::Client::advertise(with, &mut random)?;
            Ok((Some(client), message))
        })?;
        Ok(PyBytes::new(py, &message))
    }

    /// Read the cohort, and return the shares to send.
    fn share<'py>(&self, py: Python<'py>, cohort: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
        let message = self.step(py, 0, |client, with| {
            let (client, message) = begun(client)?.share(with, cohort, &mut random)?;
            Ok((Some(client), message))
        })?;
        Ok(PyBytes::new(py, &message))
    }

    /// Read the inbox, and return the masked update to send.
    fn mask<'py>(
        &self,
        py: Python<'py>,
        inbox: &[u8],
        values: PyReadonlyArray1<'py, f32>,
        weight: u32,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let contiguous = |_| {
            CasemateError::new_err(
                "the update is not contiguous; call numpy.ascontiguousarray first",
            )
        };
        let values = values.as_slice().map_err(contiguous)?;
        let update = self.step(py, 0, |client, with| {
            let (client, update) =
                begun(client)?.mask(with, inbox, (values, weight), &mut random)?;
            Ok((Some(client), update))
        })?;
        let (head, vector) = (&update.head, &update.vector);
        PyBytes::new_with(py, head.len().saturating_add(vector.len()), |out| {
            let (first, second) = out.split_at_mut(head.len());
            first.copy_from_slice(head);
            second.copy_from_slice(vector);
            Ok(())
        })
    }

    /// Read the survivors, and return the agreement to send.
    fn agree<'py>(&self, py: Python<'py>, survivors: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
        let message = self.step(py, 0, |client, with| {
            let (client, message) = begun(client)?.agree(with, survivors)?;
            Ok((Some(client), message))
        })?;
        Ok(PyBytes::new(py, &message))
    }

    /// Read the agreements, and return the reveal to send. `record` is called first, and must have
    /// stored durably that the client answers in this round.
    fn reveal<'py>(
        &self,
        py: Python<'py>,
        agreements: &[u8],
        record: Py<PyAny>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let mut raised = None;
        let message = self.step(py, 0, |client, with| {
            let mut ask = || {
                let called = Python::attach(|py| {
                    let returned = record.call0(py)?;
                    // A function that returns nothing has succeeded if it did not raise.
                    Ok(returned.is_none(py) || returned.is_truthy(py)?)
                });
                called.unwrap_or_else(|error| {
                    raised = Some(error);
                    false
                })
            };
            Ok((None, begun(client)?.reveal(with, agreements, &mut ask)?))
        });
        match (message, raised) {
            (_, Some(error)) => Err(error),
            (message, None) => Ok(PyBytes::new(py, &message?)),
        }
    }

    /// The state between two messages, with the client's secrets of the round. Store it in place of
    /// the one before, before sending the message; never use a state twice.
    fn state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let state = self.state.lock().map_err(broken)?;
        let client = state
            .as_ref()
            .ok_or_else(|| from_aggregate(AggregateError::NotInRound))?;
        Ok(PyBytes::new(py, client.to_bytes().expose()))
    }

    /// Go on from a state.
    fn resume(&self, state: &[u8]) -> PyResult<()> {
        let client = aggregate::Client::from_bytes(state).map_err(from_aggregate)?;
        *self.state.lock().map_err(broken)? = Some(client);
        Ok(())
    }
}

/// The result of a round.
#[pyclass(frozen, module = "casemate.train", get_all)]
pub(crate) struct Aggregate {
    /// The weighted mean of the updates.
    mean: Py<PyArray1<f32>>,
    /// The sum of the weights.
    weight: u64,
    /// The clients whose updates it contains.
    survivors: Vec<String>,
    /// The clients that sent shares and no update.
    dropped: Vec<String>,
    /// Clients that revealed a wrong share, and whose it is.
    blamed: Vec<(String, String)>,
}

/// The server in a round.
#[pyclass(frozen, module = "casemate.train")]
pub(crate) struct AggregationServer {
    key: Py<PrivateKey>,
    server: Mutex<aggregate::Server>,
}

impl AggregationServer {
    fn lock(&self) -> PyResult<std::sync::MutexGuard<'_, aggregate::Server>> {
        self.server.lock().map_err(broken)
    }
}

#[pymethods]
impl AggregationServer {
    /// Begin a round. `key` is the private key of the policy's aggregator.
    #[new]
    fn new(round: &AggregationRound, key: Py<PrivateKey>) -> PyResult<Self> {
        let server = aggregate::Server::new(round.0.clone(), key.get().kem()?);
        Ok(Self {
            server: Mutex::new(server.map_err(from_aggregate)?),
            key,
        })
    }

    /// The messages that are collected, such as `shares`; None after the round.
    #[getter]
    fn collects(&self) -> PyResult<Option<String>> {
        Ok(self.lock()?.collects().map(|step| step.to_string()))
    }

    /// Take a client's message of this step. Returns the client's name.
    fn receive(&self, py: Python<'_>, message: &[u8]) -> PyResult<String> {
        let key = self.key.get().kem()?;
        py.detach(|| self.lock()?.receive(message, key).map_err(from_aggregate))
    }

    /// End this step. Returns messages by the clients' names, or the `Aggregate` of the round.
    fn close<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let outgoing = py.detach(|| self.lock()?.close().map_err(from_aggregate))?;
        match outgoing {
            Outgoing::All { to, message } => {
                let message = PyBytes::new(py, &message);
                let messages = PyDict::new(py);
                for name in to {
                    messages.set_item(name, &message)?;
                }
                Ok(messages.into_any())
            }
            Outgoing::Each(messages) => {
                let messages: BTreeMap<_, _> = messages
                    .into_iter()
                    .map(|(name, message)| (name, PyBytes::new(py, &message)))
                    .collect();
                Ok(messages.into_pyobject(py)?.into_any())
            }
            Outgoing::Aggregate(found) => {
                let blamed = found.blamed.into_iter().map(|one| (one.name, one.of));
                let aggregate = Aggregate {
                    mean: PyArray1::from_vec(py, found.mean).unbind(),
                    weight: found.weight,
                    survivors: found.survivors,
                    dropped: found.dropped,
                    blamed: blamed.collect(),
                };
                Ok(Bound::new(py, aggregate)?.into_any())
            }
        }
    }
}
