//! States of versions.

use std::fmt;

/// What a version of a key may be used for (NIST SP 800-57 part 1, section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It is stored, so that every node can load it before it is used.
    PreActive,
    /// It seals, signs and opens.
    Active,
    /// It opens what it sealed; its signatures stay valid as its status says.
    DecryptOnly,
    /// It is kept and not used.
    Disabled,
    /// Its key was deleted.
    Destroyed,
}

impl State {
    /// Every state, in the order of a version's life.
    pub const ALL: [Self; 5] = [
        Self::PreActive,
        Self::Active,
        Self::DecryptOnly,
        Self::Disabled,
        Self::Destroyed,
    ];

    pub(crate) const fn number(self) -> u64 {
        match self {
            Self::PreActive => 1,
            Self::Active => 2,
            Self::DecryptOnly => 3,
            Self::Disabled => 4,
            Self::Destroyed => 5,
        }
    }

    pub(crate) fn from_number(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.number() == number)
    }

    /// Returns its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PreActive => "pre-active",
            Self::Active => "active",
            Self::DecryptOnly => "decrypt-only",
            Self::Disabled => "disabled",
            Self::Destroyed => "destroyed",
        }
    }

    /// Returns whether a version in this state opens what was sealed to it.
    pub const fn opens(self) -> bool {
        matches!(self, Self::PreActive | Self::Active | Self::DecryptOnly)
    }

    pub(crate) const fn may_become(self, to: Self) -> bool {
        match to {
            Self::PreActive => false,
            Self::Active => matches!(self, Self::PreActive),
            // An active version becomes decrypt-only when another one becomes active.
            Self::DecryptOnly => matches!(self, Self::Disabled),
            // Something must take the place of an active version first.
            Self::Disabled => matches!(self, Self::DecryptOnly),
            Self::Destroyed => !matches!(self, Self::Destroyed),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
