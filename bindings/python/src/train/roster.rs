//! The signed list of a job's members.

use std::sync::Arc;

use casemate_train::Terms;
use pyo3::{prelude::*, types::PyBytes};

use super::from_train;
use crate::{
    error::from_environment,
    keys::{PrivateKey, PublicKey},
};

/// Sign a roster of `members`, which are pairs of a name and a public signing key. `validity` is
/// when it was made and when it expires.
#[pyfunction]
#[pyo3(signature = (job, epoch, validity, members, sign))]
pub(crate) fn sign_roster<'py>(
    py: Python<'py>,
    job: [u8; 16],
    epoch: u64,
    validity: (u64, u64),
    members: Vec<(String, PyRef<'py, PublicKey>)>,
    sign: &PrivateKey,
) -> PyResult<Bound<'py, PyBytes>> {
    let signer = sign.signer()?;
    let members = members
        .iter()
        .map(|(name, key)| Ok((name.as_str(), key.current_verifier()?)))
        .collect::<PyResult<Vec<_>>>()?;
    let (created, expires) = validity;
    let signed = casemate_train::Roster::new(job, epoch, created, expires, &members)
        .and_then(|roster| roster.sign(signer))
        .map_err(from_train)?;
    Ok(PyBytes::new(py, &signed))
}

/// The members of a job, from a signed roster that was verified.
#[pyclass(frozen, module = "casemate.train")]
#[derive(Debug)]
pub(crate) struct Roster(pub(crate) Arc<casemate_train::Roster>);

#[pymethods]
impl Roster {
    /// Verify a signed roster at the time `now`. `job` is the job that it must be of, if one is
    /// known.
    #[staticmethod]
    #[pyo3(signature = (signed, signer, now, job, epoch_min, policy))]
    fn verify(
        signed: &[u8],
        signer: &PublicKey,
        now: u64,
        job: Option<[u8; 16]>,
        epoch_min: u64,
        policy: Option<&str>,
    ) -> PyResult<Self> {
        let policy = casemate_environment::policy(policy).map_err(from_environment)?;
        let terms = Terms {
            signer: signer.current_verifier()?,
            now,
            job,
            epoch_min,
            policy: &policy,
        };
        let roster = casemate_train::Roster::open(signed, &terms);
        roster
            .map(|roster| Self(Arc::new(roster)))
            .map_err(from_train)
    }

    /// The job's id, the same in each of its rosters: 16 bytes.
    #[getter]
    fn job<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.0.job())
    }

    /// The epoch, from 1; a later roster of the job has a higher one.
    #[getter]
    fn epoch(&self) -> u64 {
        self.0.epoch()
    }

    /// When it was made, in seconds since 1970-01-01 UTC.
    #[getter]
    fn created(&self) -> u64 {
        self.0.created()
    }

    /// When it expires, in seconds since 1970-01-01 UTC.
    #[getter]
    fn expires(&self) -> u64 {
        self.0.expires()
    }

    /// The members' names, in ascending order.
    #[getter]
    fn members(&self) -> Vec<String> {
        let names = self.0.members().iter();
        names.map(|member| member.name.clone()).collect()
    }

    /// The digest that both ends of a channel compare: 48 bytes.
    #[getter]
    fn digest<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.0.digest())
    }

    fn __repr__(&self) -> String {
        let members = self.0.members().len();
        format!("<Roster epoch {} of {members} members>", self.0.epoch())
    }
}
