//! Masked all-reduce: the session and its reductions.

use std::sync::Mutex;

use casemate_train::all_reduce::{
    Agreed, AllReduceError, Lanes, Mode, Prepared as Masks, Reduction, Rendezvous, Ring,
};
use numpy::{PyReadonlyArray1, PyReadwriteArray1};
use pyo3::{exceptions::PyValueError, prelude::*, types::PyBytes};

use super::{
    Roster,
    channel::{Channel, contiguous, lock},
    random,
};
use crate::error::{CasemateError, VerificationError, chain};

fn from_all_reduce(error: AllReduceError) -> PyErr {
    use AllReduceError as A;
    match error {
        A::Train(error) => super::from_train(error),
        A::Message { .. } | A::Sum | A::Elsewhere { .. } => {
            VerificationError::new_err(chain(&error))
        }
        _ => CasemateError::new_err(chain(&error)),
    }
}

fn over() -> PyErr {
    CasemateError::new_err("this is over; begin a new one")
}

/// The ranks of a ring while they agree on a session.
#[pyclass(frozen, module = "casemate.train")]
pub(crate) struct RingRendezvous(Mutex<Option<Rendezvous>>);

#[pymethods]
impl RingRendezvous {
    /// Begin as the rank `rank` of the members `names`; `pairs` says whether only two ranks know
    /// the key of an edge.
    #[new]
    fn new(roster: &Roster, names: Vec<String>, rank: usize, pairs: bool) -> PyResult<Self> {
        let mode = if pairs { Mode::Pairs } else { Mode::Group };
        let begun = Rendezvous::new(&roster.0, &names, rank, mode, &mut random);
        Ok(Self(Mutex::new(Some(begun.map_err(from_all_reduce)?))))
    }

    /// Return the next message to the rank after this one.
    fn message<'py>(&self, py: Python<'py>, after: &Channel) -> PyResult<Bound<'py, PyBytes>> {
        let mut state = lock(&self.0)?;
        let begun = state.as_mut().ok_or_else(over)?;
        let message = begun.message(&mut *lock(&after.sender)?);
        Ok(PyBytes::new(py, &message.map_err(from_all_reduce)?))
    }

    /// Read the next message of the rank before this one.
    fn receive(&self, before: &Channel, message: &[u8]) -> PyResult<()> {
        let mut state = lock(&self.0)?;
        let begun = state.as_mut().ok_or_else(over)?;
        let received = begun.receive(&mut *lock(&before.receiver)?, message);
        received.map_err(from_all_reduce)
    }

    /// Derive the session's keys with the channels to the ranks before and after.
    fn finish(&self, before: &Channel, after: &Channel) -> PyResult<MaskedRing> {
        let begun = lock(&self.0)?.take().ok_or_else(over)?;
        let ring = begun.finish(&before.export, &after.export);
        Ok(MaskedRing(Mutex::new(ring.map_err(from_all_reduce)?)))
    }
}

/// What one rank knows of a session.
#[pyclass(frozen, module = "casemate.train")]
pub(crate) struct MaskedRing(Mutex<Ring>);

fn lanes_of(count: usize) -> PyResult<Lanes> {
    match count {
        2 => Ok(Lanes::Two),
        3 => Ok(Lanes::Three),
        _ => Err(PyValueError::new_err(format!(
            "lanes must be 2 or 3, got {count}"
        ))),
    }
}

#[pymethods]
impl MaskedRing {
    /// The names of the ranks.
    #[getter]
    fn names(&self) -> PyResult<Vec<String>> {
        Ok(lock(&self.0)?.names().to_vec())
    }

    /// The number of the next reduction.
    #[getter]
    fn next_number(&self) -> PyResult<u64> {
        Ok(lock(&self.0)?.next_number())
    }

    /// Begin the next reduction. Returns it and the announcement to send.
    fn begin<'py>(
        slf: &Bound<'py, Self>,
        values: PyReadonlyArray1<'py, f32>,
        lanes: usize,
    ) -> PyResult<(MaskedReduction, Bound<'py, PyBytes>)> {
        let (py, ring) = (slf.py(), slf.get());
        let lanes = lanes_of(lanes)?;
        let values = values.as_slice().map_err(|_| contiguous())?;
        let begun = py.detach(|| {
            let mut ring = lock(&ring.0)?;
            Reduction::begin(&mut ring, lanes, values).map_err(from_all_reduce)
        });
        let (reduction, message) = begun?;
        let reduction = MaskedReduction {
            ring: slf.clone().unbind(),
            words: reduction.words(),
            reduction: Mutex::new(Some(reduction)),
        };
        Ok((reduction, PyBytes::new(py, &message)))
    }

    /// Make the masks of a reduction that has not begun.
    fn prepare(&self, py: Python<'_>, number: u64, words: usize) -> PyResult<PreparedMasks> {
        let preparation = lock(&self.0)?.prepare(number, words);
        let preparation = preparation.map_err(from_all_reduce)?;
        // The ring is not locked meanwhile: a reduction may go on.
        let made = py.detach(|| preparation.make()).map_err(from_all_reduce)?;
        Ok(PreparedMasks(Mutex::new(Some(made))))
    }
}

/// Masks that were made ahead.
#[pyclass(frozen, module = "casemate.train")]
pub(crate) struct PreparedMasks(Mutex<Option<Masks>>);

/// A reduction of one vector.
#[pyclass(frozen, module = "casemate.train")]
pub(crate) struct MaskedReduction {
    ring: Py<MaskedRing>,
    /// How many words are summed.
    #[pyo3(get)]
    words: usize,
    reduction: Mutex<Option<Reduction>>,
}

impl MaskedReduction {
    /// Takes a step without the interpreter.
    fn step<T: Send>(
        &self,
        py: Python<'_>,
        step: impl FnOnce(&mut Reduction, &Ring) -> Result<T, AllReduceError> + Send,
    ) -> PyResult<T> {
        let ring = self.ring.get();
        py.detach(|| {
            let ring = lock(&ring.0)?;
            let mut reduction = lock(&self.reduction)?;
            step(reduction.as_mut().ok_or_else(over)?, &ring).map_err(from_all_reduce)
        })
    }
}

fn refs(messages: &[Vec<u8>]) -> Vec<&[u8]> {
    messages.iter().map(Vec::as_slice).collect()
}

#[pymethods]
impl MaskedReduction {
    /// Read the announcements of all ranks. Returns None, or the number that every element of the
    /// result is if there is nothing to sum.
    fn agree(&self, py: Python<'_>, messages: Vec<Vec<u8>>) -> PyResult<Option<f32>> {
        let agreed = self.step(py, |reduction, ring| {
            reduction.agree(ring, &refs(&messages))
        })?;
        Ok(match agreed {
            Agreed::Sum => None,
            Agreed::Constant(number) => Some(number),
        })
    }

    /// Mask the values into the words to hand to the library. Returns the tags to send.
    fn mask<'py>(
        &self,
        py: Python<'py>,
        values: PyReadonlyArray1<'py, f32>,
        prepared: Option<&PreparedMasks>,
        mut out: PyReadwriteArray1<'py, u64>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let values = values.as_slice().map_err(|_| contiguous())?;
        let out = out.as_slice_mut().map_err(|_| contiguous())?;
        let prepared = match prepared {
            Some(prepared) => lock(&prepared.0)?.take(),
            None => None,
        };
        let tags = self.step(py, |reduction, ring| {
            reduction.mask(ring, values, prepared, out)
        })?;
        Ok(PyBytes::new(py, &tags))
    }

    /// Check the sum, and write the mean if it is right. Returns the result to send.
    fn unmask<'py>(
        &self,
        py: Python<'py>,
        messages: Vec<Vec<u8>>,
        mut sum: PyReadwriteArray1<'py, u64>,
        mut out: PyReadwriteArray1<'py, f32>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let sum = sum.as_slice_mut().map_err(|_| contiguous())?;
        let out = out.as_slice_mut().map_err(|_| contiguous())?;
        let result = self.step(py, |reduction, ring| {
            reduction.unmask(ring, &refs(&messages), sum, out)
        })?;
        Ok(PyBytes::new(py, &result))
    }

    /// Read the results of all ranks. The mean may be used if this raises nothing.
    fn confirm(&self, messages: Vec<Vec<u8>>) -> PyResult<()> {
        let reduction = lock(&self.reduction)?.take().ok_or_else(over)?;
        let ring = lock(&self.ring.get().0)?;
        reduction
            .confirm(&ring, &refs(&messages))
            .map_err(from_all_reduce)
    }
}
