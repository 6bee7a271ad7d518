//! The validity of a key (`spec/key-store.md`, section 3.1).

use std::fmt;

use casemate_cbor::{CborError, Encoder, Reader, Written};
use casemate_crypto::encoding::KeyId;

use crate::versions::State;

const SUPERSEDED: u64 = 1;
const COMPROMISED: u64 = 2;
/// Maximum length of a chain of successors.
pub(crate) const SUCCESSORS_MAX: usize = 64;

/// How a key ended. Times are in seconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Another key replaced it; its earlier signatures stay valid.
    Superseded {
        /// When it was superseded.
        at: u64,
    },
    /// Someone else may have the key; none of its signatures is valid.
    Compromised {
        /// When the compromise was recorded.
        at: u64,
    },
}

/// The status of a key. Times are in seconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// First instant at which it is valid.
    pub valid_from: Option<u64>,
    /// First instant at which it is no longer valid.
    pub valid_until: Option<u64>,
    /// How it ended, if it has.
    pub end: Option<End>,
    /// The key that named this one as its successor.
    pub successor_of: Option<KeyId>,
}

/// Why a key is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Withdrawn {
    /// The date is before the key becomes valid.
    #[error("the key was not yet valid when it was used")]
    NotYetValid {
        /// First instant at which it is valid.
        from: u64,
    },
    /// The date is after the key expired.
    #[error("the key had expired when it was used")]
    Expired {
        /// First instant at which it was no longer valid.
        until: u64,
    },
    /// The key was superseded before the date.
    #[error("the key had been superseded when it was used")]
    Superseded {
        /// When it was superseded.
        at: u64,
    },
    /// There is no signed date, and the key is not valid forever.
    #[error("the signature has no signed date, but the key is not valid forever")]
    Undated,
    /// The version of the key is not in use.
    #[error("the key is {0} in the key store")]
    State(State),
    /// The key, or one that it succeeds, is compromised.
    #[error("the key is no longer trusted: key {0} is compromised")]
    Compromised(KeyId),
}

/// As an entry of the audit log says it.
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if let Some(from) = self.valid_from {
            parts.push(format!("valid from {from}"));
        }
        if let Some(until) = self.valid_until {
            parts.push(format!("valid until {until}"));
        }
        match self.end {
            Some(End::Superseded { at }) => parts.push(format!("superseded at {at}")),
            Some(End::Compromised { at }) => parts.push(format!("compromised at {at}")),
            None => {}
        }
        if let Some(key) = self.successor_of {
            parts.push(format!("successor of {key}"));
        }
        if parts.is_empty() {
            parts.push("valid".to_owned());
        }
        f.write_str(&parts.join(", "))
    }
}

impl Status {
    pub(crate) const NONE: Self = Self {
        valid_from: None,
        valid_until: None,
        end: None,
        successor_of: None,
    };

    /// Checks that the key may be used for something new at this time.
    ///
    /// # Errors
    ///
    /// [`Withdrawn`].
    pub fn check_now(&self, key: KeyId, now: u64) -> Result<(), Withdrawn> {
        match self.end {
            Some(End::Compromised { .. }) => Err(Withdrawn::Compromised(key)),
            Some(End::Superseded { at }) => Err(Withdrawn::Superseded { at }),
            None => self.check_date(Some(now)),
        }
    }

    /// Checks that the key is valid on this date, by dates alone.
    fn check_date(&self, date: Option<u64>) -> Result<(), Withdrawn> {
        let superseded = match self.end {
            Some(End::Superseded { at }) => Some(at),
            _ => None,
        };
        let Some(date) = date else {
            // An undated signature counts as later than any date.
            return match superseded.or(self.valid_until) {
                Some(_) => Err(Withdrawn::Undated),
                None => Ok(()),
            };
        };
        match (self.valid_from, self.valid_until, superseded) {
            (Some(from), _, _) if date < from => Err(Withdrawn::NotYetValid { from }),
            (_, Some(until), _) if date >= until => Err(Withdrawn::Expired { until }),
            (_, _, Some(at)) if date >= at => Err(Withdrawn::Superseded { at }),
            _ => Ok(()),
        }
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the number of entries it takes in a record's map.
    pub(crate) fn entries(&self) -> u64 {
        u64::from(!self.is_empty())
    }

    pub(crate) fn write(&self, e: &mut Encoder<&mut Vec<u8>>) -> Written {
        if self.is_empty() {
            return Ok(());
        }
        e.u8(5)?.array(4)?;
        for time in [self.valid_from, self.valid_until] {
            match time {
                Some(time) => e.u64(time)?,
                None => e.null()?,
            };
        }
        match self.end {
            Some(End::Superseded { at }) => e.array(2)?.u64(SUPERSEDED)?.u64(at)?,
            Some(End::Compromised { at }) => e.array(2)?.u64(COMPROMISED)?.u64(at)?,
            None => e.null()?,
        };
        match &self.successor_of {
            Some(key) => e.bytes(key.as_bytes())?,
            None => e.null()?,
        };
        Ok(())
    }

    /// Reads the status that may end a map, under `key`, after `others` of its `entries`.
    pub(crate) fn read_last(
        d: &mut Reader<'_>,
        entries: u64,
        others: u64,
        key: u64,
    ) -> Result<Self, CborError> {
        match entries.checked_sub(others) {
            Some(0) => Ok(Self::default()),
            Some(1) => {
                d.key(key)?;
                Self::read(d)
            }
            _ => Err(d.refused()),
        }
    }

    pub(crate) fn read(d: &mut Reader<'_>) -> Result<Self, CborError> {
        d.array_of(4)?;
        let status = Self {
            valid_from: d.nullable(Reader::uint)?,
            valid_until: d.nullable(Reader::uint)?,
            end: d.nullable(read_end)?,
            successor_of: d.nullable(|d| d.fixed("key id").map(KeyId::from_bytes))?,
        };
        if status.is_empty() {
            return Err(d.refused());
        }
        Ok(status)
    }
}

fn read_end(d: &mut Reader<'_>) -> Result<End, CborError> {
    d.array_of(2)?;
    match (d.uint()?, d.uint()?) {
        (SUPERSEDED, at) => Ok(End::Superseded { at }),
        (COMPROMISED, at) => Ok(End::Compromised { at }),
        _ => Err(d.refused()),
    }
}

/// Checks a signature by `signer` with the signed date `date`.
///
/// `status_of` returns the status of a key. `accepts` returns whether this particular signature is
/// listed as accepted although the key is compromised.
///
/// # Errors
///
/// [`Withdrawn`].
pub fn judge(
    signer: KeyId,
    date: Option<u64>,
    status_of: &dyn Fn(KeyId) -> Option<Status>,
    accepts: &dyn Fn(KeyId) -> bool,
) -> Result<(), Withdrawn> {
    let own = status_of(signer).unwrap_or_default();
    let mut next = Some(signer);
    for _ in 0..SUCCESSORS_MAX {
        let Some(key) = next else {
            return own.check_date(date);
        };
        let status = status_of(key).unwrap_or_default();
        if matches!(status.end, Some(End::Compromised { .. })) {
            if accepts(signer) {
                return Ok(());
            }
            return Err(Withdrawn::Compromised(key));
        }
        next = status.successor_of;
    }
    // Nobody makes a chain this long in good faith.
    Err(Withdrawn::Compromised(signer))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> KeyId {
        KeyId::from_bytes([byte; 32])
    }

    fn judged(status: Status, date: Option<u64>) -> Result<(), Withdrawn> {
        judge(id(1), date, &|_| Some(status), &|_| false)
    }

    #[test]
    fn a_validity_is_from_its_first_instant_to_before_its_last() {
        let status = Status {
            valid_from: Some(100),
            valid_until: Some(200),
            ..Status::default()
        };
        assert_eq!(
            judged(status, Some(99)),
            Err(Withdrawn::NotYetValid { from: 100 })
        );
        assert_eq!(judged(status, Some(100)), Ok(()));
        assert_eq!(judged(status, Some(199)), Ok(()));
        assert_eq!(
            judged(status, Some(200)),
            Err(Withdrawn::Expired { until: 200 })
        );
        assert_eq!(judged(status, None), Err(Withdrawn::Undated));
        let open = Status {
            valid_until: None,
            ..status
        };
        assert_eq!(judged(open, None), Ok(()));
        assert_eq!(judged(Status::default(), None), Ok(()));
    }

    #[test]
    fn a_superseded_key_keeps_what_it_signed_before_and_nothing_else() {
        let status = Status {
            end: Some(End::Superseded { at: 100 }),
            ..Status::default()
        };
        assert_eq!(judged(status, Some(99)), Ok(()));
        assert_eq!(
            judged(status, Some(100)),
            Err(Withdrawn::Superseded { at: 100 })
        );
        assert_eq!(judged(status, None), Err(Withdrawn::Undated));
        assert_eq!(
            status.check_now(id(1), 50),
            Err(Withdrawn::Superseded { at: 100 })
        );
    }

    #[test]
    fn a_compromised_key_takes_its_successors_along_but_for_what_is_listed() {
        let chain = |compromised: u8| {
            move |key: KeyId| {
                let number = key.as_bytes()[0];
                Some(Status {
                    end: (number == compromised).then_some(End::Compromised { at: 1 }),
                    successor_of: (number > 1).then(|| id(number - 1)),
                    ..Status::default()
                })
            }
        };
        let judge = |signer, compromised, listed: bool| {
            judge(id(signer), Some(0), &chain(compromised), &|_| listed)
        };
        assert_eq!(judge(3, 1, false), Err(Withdrawn::Compromised(id(1))));
        assert_eq!(judge(3, 3, false), Err(Withdrawn::Compromised(id(3))));
        assert_eq!(judge(3, 1, true), Ok(()));
        // A compromise of the newer key does not affect the older one.
        assert_eq!(judge(2, 3, false), Ok(()));
        assert_eq!(judge(3, 9, false), Ok(()));
        let circle = |_: KeyId| {
            Some(Status {
                successor_of: Some(id(1)),
                ..Status::default()
            })
        };
        let refused = super::judge(id(1), Some(0), &circle, &|_| false);
        assert_eq!(refused, Err(Withdrawn::Compromised(id(1))));
    }
}
