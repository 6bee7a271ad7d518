//! Masked all-reduce: the session and its reductions.

use std::sync::Mutex;

use casemate_train::all_reduce::{
    Agreed, AllReduceError, Confirmation, Lanes, Masker, Mode, Reduction, Rendezvous, Ring,
    Unmasker,
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
        A::Message { .. } | A::Label { .. } | A::Sum | A::Elsewhere { .. } => {
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
        Ok(MaskedRing(ring.map_err(from_all_reduce)?))
    }
}

/// What one rank knows of a session.
#[pyclass(frozen, module = "casemate.train")]
pub(crate) struct MaskedRing(Ring);

fn lanes_of(count: usize) -> PyResult<Lanes> {
    match count {
        2 => Ok(Lanes::Two),
        3 => Ok(Lanes::Three),
        _ => {
            let text = format!("lanes must be 2 or 3, got {count}");
            Err(PyValueError::new_err(text))
        }
    }
}

#[pymethods]
impl MaskedRing {
    /// The names of the ranks.
    #[getter]
    fn names(&self) -> Vec<String> {
        self.0.names().to_vec()
    }

    /// The number of the next reduction.
    #[getter]
    fn next_number(&self) -> u64 {
        self.0.next_number()
    }

    /// Begin the next reduction, of what `label` says. Returns it and the announcement to send.
    fn begin<'py>(
        slf: &Bound<'py, Self>,
        values: PyReadonlyArray1<'py, f32>,
        lanes: usize,
        label: &[u8],
    ) -> PyResult<(MaskedReduction, Bound<'py, PyBytes>)> {
        let (py, ring) = (slf.py(), &slf.get().0);
        let lanes = lanes_of(lanes)?;
        let values = values.as_slice().map_err(|_| contiguous())?;
        let begun = py.detach(|| Reduction::begin(ring, lanes, values, label));
        let (reduction, message) = begun.map_err(from_all_reduce)?;
        let reduction = MaskedReduction {
            ring: slf.clone().unbind(),
            words: reduction.words(),
            reduction: once(reduction),
        };
        Ok((reduction, PyBytes::new(py, &message)))
    }
}

/// What can be used once.
type Once<T> = Mutex<Option<T>>;

const fn once<T>(value: T) -> Once<T> {
    Mutex::new(Some(value))
}

fn take<T>(once: &Once<T>) -> PyResult<T> {
    lock(once)?.take().ok_or_else(over)
}

fn refs(messages: &[Vec<u8>]) -> Vec<&[u8]> {
    messages.iter().map(Vec::as_slice).collect()
}

/// A reduction that this rank has announced.
#[pyclass(frozen, module = "casemate.train")]
pub(crate) struct MaskedReduction {
    ring: Py<MaskedRing>,
    /// How many words are summed.
    #[pyo3(get)]
    words: usize,
    reduction: Once<Reduction>,
}

#[pymethods]
impl MaskedReduction {
    /// Read the announcements of all ranks. Returns a masker and an unmasker, or the number that
    /// every element of the result is if there is nothing to sum.
    fn agree<'py>(&self, py: Python<'py>, messages: Vec<Vec<u8>>) -> PyResult<Bound<'py, PyAny>> {
        let ring = &self.ring.get().0;
        let agreed = take(&self.reduction)?.agree(ring, &refs(&messages));
        let (masker, unmasker) = match agreed.map_err(from_all_reduce)? {
            Agreed::Constant(number) => return Ok(number.into_pyobject(py)?.into_any()),
            Agreed::Sum(masker, unmasker) => (masker, unmasker),
        };
        let ring = || self.ring.clone_ref(py);
        let pair = (
            RingMasker(ring(), once(masker)),
            RingUnmasker(ring(), once(unmasker)),
        );
        Ok(pair.into_pyobject(py)?.into_any())
    }
}

/// Masks a vector, one piece after the other.
#[pyclass(frozen, module = "casemate.train")]
pub(crate) struct RingMasker(Py<MaskedRing>, Once<Masker>);

#[pymethods]
impl RingMasker {
    /// Mask the next piece into the words to hand to the library.
    fn next(
        &self,
        py: Python<'_>,
        values: PyReadonlyArray1<'_, f32>,
        mut out: PyReadwriteArray1<'_, u64>,
    ) -> PyResult<()> {
        let values = values.as_slice().map_err(|_| contiguous())?;
        let out = out.as_slice_mut().map_err(|_| contiguous())?;
        py.detach(|| {
            let mut masker = lock(&self.1)?;
            let masker = masker.as_mut().ok_or_else(over)?;
            masker.next(values, out).map_err(from_all_reduce)
        })
    }

    /// Return the tags to send to all ranks.
    fn finish<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let tags = take(&self.1)?.finish(&self.0.get().0);
        Ok(PyBytes::new(py, &tags.map_err(from_all_reduce)?))
    }
}

/// Turns the library's sum into the mean, one piece after the other.
#[pyclass(frozen, module = "casemate.train")]
pub(crate) struct RingUnmasker(Py<MaskedRing>, Once<Unmasker>);

#[pymethods]
impl RingUnmasker {
    /// Write the next piece of the mean, which may not be used before it is confirmed.
    fn next(
        &self,
        py: Python<'_>,
        mut sum: PyReadwriteArray1<'_, u64>,
        mut out: PyReadwriteArray1<'_, f32>,
    ) -> PyResult<()> {
        let sum = sum.as_slice_mut().map_err(|_| contiguous())?;
        let out = out.as_slice_mut().map_err(|_| contiguous())?;
        py.detach(|| {
            let mut unmasker = lock(&self.1)?;
            let unmasker = unmasker.as_mut().ok_or_else(over)?;
            unmasker.next(sum, out).map_err(from_all_reduce)
        })
    }

    /// Compare the sum with the tags of all ranks. Returns what confirms it, and the result to
    /// send.
    fn finish<'py>(
        &self,
        py: Python<'py>,
        messages: Vec<Vec<u8>>,
    ) -> PyResult<(RingConfirmation, Bound<'py, PyBytes>)> {
        let finished = take(&self.1)?.finish(&self.0.get().0, &refs(&messages));
        let (confirmation, result) = finished.map_err(from_all_reduce)?;
        let confirmation = RingConfirmation(self.0.clone_ref(py), once(confirmation));
        Ok((confirmation, PyBytes::new(py, &result)))
    }
}

/// What a rank found, until it knows what the others have found.
#[pyclass(frozen, module = "casemate.train")]
pub(crate) struct RingConfirmation(Py<MaskedRing>, Once<Confirmation>);

#[pymethods]
impl RingConfirmation {
    /// Read the results of all ranks. The mean may be used if this raises nothing.
    fn confirm(&self, messages: Vec<Vec<u8>>) -> PyResult<()> {
        let confirmed = take(&self.1)?.confirm(&self.0.get().0, &refs(&messages));
        confirmed.map_err(from_all_reduce)
    }
}
