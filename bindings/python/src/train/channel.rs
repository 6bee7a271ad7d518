//! The handshake and the channel.

use std::sync::{Mutex, MutexGuard};

use casemate_train::{Export, Identity, Order, Receiver, Sender};
use numpy::{PyReadonlyArray1, PyReadwriteArray1, PyUntypedArrayMethods as _};
use pyo3::{exceptions::PyValueError, prelude::*, types::PyBytes};

use super::{Roster, from_train, random};
use crate::{error::CasemateError, keys::PrivateKey};

/// Bytes and the channel.
type Finished<'py> = (Channel, Bound<'py, PyBytes>);

fn order(window: Option<usize>) -> Order {
    window.map_or(Order::Strict, Order::Window)
}

fn over() -> PyErr {
    CasemateError::new_err("the handshake is over; start a new one")
}

/// Takes what can be used once.
fn take<T>(once: &Mutex<Option<T>>) -> PyResult<T> {
    let taken = once.lock().ok().and_then(|mut once| once.take());
    taken.ok_or_else(over)
}

/// The end that begins a handshake.
#[pyclass(frozen, module = "casemate.train")]
pub(crate) struct Initiator(Mutex<Option<casemate_train::Initiator>>);

#[pymethods]
impl Initiator {
    /// Start a handshake with `peer` at the time `now`. Returns the initiator and the hello to
    /// send.
    #[staticmethod]
    #[pyo3(signature = (roster, me, key, peer, now))]
    fn start<'py>(
        py: Python<'py>,
        roster: &Roster,
        me: &str,
        key: &PrivateKey,
        peer: &str,
        now: u64,
    ) -> PyResult<(Self, Bound<'py, PyBytes>)> {
        let own = Identity {
            name: me,
            key: key.signer()?,
        };
        let start = || casemate_train::Initiator::start(&roster.0, own, peer, now, &mut random);
        let (initiator, hello) = py.detach(start).map_err(from_train)?;
        Ok((Self(Mutex::new(Some(initiator))), PyBytes::new(py, &hello)))
    }

    /// Verify the answer. Returns the channel and the finish to send.
    #[pyo3(signature = (roster, key, answer, window))]
    fn finish<'py>(
        &self,
        py: Python<'py>,
        roster: &Roster,
        key: &PrivateKey,
        answer: &[u8],
        window: Option<usize>,
    ) -> PyResult<Finished<'py>> {
        let signer = key.signer()?;
        let initiator = take(&self.0)?;
        let finish = || initiator.finish(&roster.0, signer, answer, order(window));
        let (channel, finish) = py.detach(finish).map_err(from_train)?;
        Ok((Channel::new(channel), PyBytes::new(py, &finish)))
    }
}

/// The end that answers a handshake.
#[pyclass(frozen, module = "casemate.train")]
pub(crate) struct Responder(Mutex<Option<casemate_train::Responder>>);

#[pymethods]
impl Responder {
    /// Read a hello at the time `now`. Returns the responder and the answer to send.
    #[staticmethod]
    #[pyo3(signature = (roster, me, key, hello, now))]
    fn answer<'py>(
        py: Python<'py>,
        roster: &Roster,
        me: &str,
        key: &PrivateKey,
        hello: &[u8],
        now: u64,
    ) -> PyResult<(Self, Bound<'py, PyBytes>)> {
        let own = Identity {
            name: me,
            key: key.signer()?,
        };
        let answer = || casemate_train::Responder::answer(&roster.0, own, hello, now, &mut random);
        let (responder, answer) = py.detach(answer).map_err(from_train)?;
        Ok((Self(Mutex::new(Some(responder))), PyBytes::new(py, &answer)))
    }

    /// Verify the finish, which proves who the initiator is. Returns the channel.
    #[pyo3(signature = (roster, finish, window))]
    fn finish(
        &self,
        py: Python<'_>,
        roster: &Roster,
        finish: &[u8],
        window: Option<usize>,
    ) -> PyResult<Channel> {
        let responder = take(&self.0)?;
        let channel = py.detach(|| responder.finish(&roster.0, finish, order(window)));
        channel.map(Channel::new).map_err(from_train)
    }
}

/// An established channel. One thread can send while another receives.
#[pyclass(frozen, module = "casemate.train")]
pub(crate) struct Channel {
    pub(super) sender: Mutex<Sender>,
    pub(super) receiver: Mutex<Receiver>,
    pub(super) export: Export,
    peer: String,
    id: [u8; 32],
}

impl Channel {
    fn new(channel: casemate_train::Channel) -> Self {
        Self {
            peer: channel.peer().to_owned(),
            id: *channel.id(),
            sender: Mutex::new(channel.sender),
            receiver: Mutex::new(channel.receiver),
            export: channel.export,
        }
    }
}

pub(super) fn lock<T>(end: &Mutex<T>) -> PyResult<MutexGuard<'_, T>> {
    end.lock()
        .map_err(|_| CasemateError::new_err("another thread failed while it used the channel"))
}

pub(super) fn contiguous() -> PyErr {
    PyValueError::new_err("the array is not contiguous")
}

#[pymethods]
impl Channel {
    /// The name of the other end, which has proven it.
    #[getter]
    fn peer(&self) -> &str {
        &self.peer
    }

    /// The channel's id, the same at both ends: 32 bytes.
    #[getter]
    fn id<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.id)
    }

    /// Encrypt `content` into `out`, which is 24 bytes longer. Do not change `content` meanwhile.
    fn seal_into(
        &self,
        py: Python<'_>,
        content: PyReadonlyArray1<'_, u8>,
        associated: &[u8],
        mut out: PyReadwriteArray1<'_, u8>,
    ) -> PyResult<()> {
        let content = content.as_slice().map_err(|_| contiguous())?;
        if !out.is_c_contiguous() {
            return Err(contiguous());
        }
        let out = out.as_slice_mut().map_err(|_| contiguous())?;
        py.detach(|| {
            lock(&self.sender)?
                .seal_into(content, associated, out)
                .map_err(from_train)
        })
    }

    /// Decrypt `message` into `out`, which is 24 bytes shorter. After an error, `out` is zeros.
    fn open_into(
        &self,
        py: Python<'_>,
        message: PyReadonlyArray1<'_, u8>,
        associated: &[u8],
        mut out: PyReadwriteArray1<'_, u8>,
    ) -> PyResult<()> {
        let message = message.as_slice().map_err(|_| contiguous())?;
        if !out.is_c_contiguous() {
            return Err(contiguous());
        }
        let out = out.as_slice_mut().map_err(|_| contiguous())?;
        py.detach(|| {
            lock(&self.receiver)?
                .open_into(message, associated, out)
                .map_err(from_train)
        })
    }

    fn __repr__(&self) -> String {
        format!("<Channel with {}>", self.peer)
    }
}
