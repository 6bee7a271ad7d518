//! One measurement.

use std::{error::Error, fmt};

/// The result of a case, apart from memcheck's findings.
pub(crate) type Outcome = Result<(), Box<dyn Error>>;

/// The expected finding of memcheck for a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expectation {
    /// No finding.
    Clean,
    /// A secret reached a branch or an address. The case leaks on purpose, to show that the check
    /// detects leaks.
    Leaky,
}

impl Expectation {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Leaky => "leaky",
        }
    }
}

/// A named computation on marked secrets.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) expectation: Expectation,
    pub(crate) run: Box<dyn Fn() -> Outcome>,
}

impl Case {
    pub(crate) fn clean(name: impl Into<String>, run: impl Fn() -> Outcome + 'static) -> Self {
        Self {
            name: name.into(),
            expectation: Expectation::Clean,
            run: Box::new(run),
        }
    }

    pub(crate) fn leaky(name: impl Into<String>, run: impl Fn() -> Outcome + 'static) -> Self {
        Self {
            expectation: Expectation::Leaky,
            ..Self::clean(name, run)
        }
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Case").field(&self.name).finish()
    }
}

/// Compares a revealed value with the expected one.
pub(crate) fn same(what: &str, found: &[u8], expected: &[u8]) -> Outcome {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what} is not the expected value").into())
}
