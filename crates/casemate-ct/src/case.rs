//! One measurement.

use std::{error::Error, fmt};

/// What a case found besides what memcheck saw.
pub(crate) type Outcome = Result<(), Box<dyn Error>>;

/// What memcheck must say of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expectation {
    /// Nothing.
    Clean,
    /// That a secret reached a branch or an address: the case leaks on purpose, to show that the gate would see it.
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

/// Compares what was revealed with what it should be.
pub(crate) fn same(what: &str, found: &[u8], expected: &[u8]) -> Outcome {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what} came out wrong").into())
}
