//! When a key is to be rotated.

use std::{fmt, num::NonZeroU64};

use casemate_cbor::{CborError, Encoder, Reader, Written};

use super::Version;
use crate::usage::Usage;

/// The limits of one version of a key. A limit that is `None` does not apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RotationPolicy {
    /// Seconds that a version is active.
    pub age: Option<NonZeroU64>,
    /// Artifacts sealed, or signatures made.
    pub uses: Option<NonZeroU64>,
    /// Bytes sealed or signed.
    pub bytes: Option<NonZeroU64>,
    /// When its algorithm is no longer allowed, in seconds since 1970-01-01 UTC.
    pub deadline: Option<NonZeroU64>,
}

/// The limit that a version has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// It has been active for as long as it may.
    Age,
    /// It was used as often as it may.
    Uses,
    /// It protects as many bytes as it may.
    Bytes,
    /// The deadline of its algorithm has passed.
    Deadline,
}

impl fmt::Display for Due {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Age => "age",
            Self::Uses => "uses",
            Self::Bytes => "bytes",
            Self::Deadline => "algorithm deadline",
        })
    }
}

/// As an entry of the audit log says it.
impl fmt::Display for RotationPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limits = [
            ("seconds", self.age),
            ("uses", self.uses),
            ("bytes", self.bytes),
            ("deadline", self.deadline),
        ];
        let limits = limits.into_iter();
        let limits: Vec<_> = limits
            .filter_map(|(what, limit)| Some(format!("{what} {}", limit?)))
            .collect();
        match limits.as_slice() {
            [] => f.write_str("no limits"),
            limits => f.write_str(&limits.join(", ")),
        }
    }
}

impl RotationPolicy {
    pub(crate) const NONE: Self = Self {
        age: None,
        uses: None,
        bytes: None,
        deadline: None,
    };

    /// Returns whether uses of the key must be counted.
    pub const fn counts(&self) -> bool {
        self.uses.is_some() || self.bytes.is_some()
    }

    /// Returns the first limit that a version has reached at this time.
    pub fn due(&self, version: &Version, usage: Usage, now: u64) -> Option<Due> {
        let reached = |limit: Option<NonZeroU64>, actual: u64| {
            limit.is_some_and(|limit| actual >= limit.get())
        };
        if reached(self.deadline, now) {
            return Some(Due::Deadline);
        }
        if reached(self.age, now.saturating_sub(version.since)) {
            return Some(Due::Age);
        }
        self.exhausted(usage)
    }

    /// Returns the first limit of uses or bytes that is exceeded.
    pub(crate) fn exceeded(&self, usage: Usage) -> Option<Due> {
        self.limited(usage, |actual, limit| actual > limit)
    }

    /// Returns the first limit of uses or bytes that has been reached.
    pub(crate) fn exhausted(&self, usage: Usage) -> Option<Due> {
        self.limited(usage, |actual, limit| actual >= limit)
    }

    fn limited(&self, usage: Usage, is_over: fn(u64, u64) -> bool) -> Option<Due> {
        let is_over = |actual, limit: Option<NonZeroU64>| {
            limit.is_some_and(|limit| is_over(actual, limit.get()))
        };
        if is_over(usage.uses, self.uses) {
            return Some(Due::Uses);
        }
        is_over(usage.bytes, self.bytes).then_some(Due::Bytes)
    }

    pub(super) fn write(&self, e: &mut Encoder<&mut Vec<u8>>) -> Written {
        e.array(4)?;
        for limit in [self.age, self.uses, self.bytes, self.deadline] {
            match limit {
                Some(limit) => e.u64(limit.get())?,
                None => e.null()?,
            };
        }
        Ok(())
    }

    pub(super) fn read(d: &mut Reader<'_>) -> Result<Self, CborError> {
        d.array_of(4)?;
        let mut limit = || {
            d.nullable(|d| {
                let limit = d.uint()?;
                NonZeroU64::new(limit).ok_or_else(|| d.refused())
            })
        };
        Ok(Self {
            age: limit()?,
            uses: limit()?,
            bytes: limit()?,
            deadline: limit()?,
        })
    }
}
