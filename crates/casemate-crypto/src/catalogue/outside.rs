//! What external policies say about an algorithm, and from which date.
//!
//! A verdict is decided in this order: Casemate's block list, disallowed, deprecated, hybrid only,
//! only where a protocol needs it, acceptable. An algorithm that a policy does not name is "not
//! addressed", never acceptable. Each rule cites its source; none was taken from the policy's
//! primary text, see [`Evidence`].

use std::fmt;

use super::{Algorithm, Classical, Scheme, Status, Usage};

mod rules;

pub use rules::OUTSIDE_POLICIES;

/// A calendar day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    /// Year.
    pub year: u16,
    /// Month, 1 to 12.
    pub month: u8,
    /// Day, 1 to 31.
    pub day: u8,
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

/// A ruling of a policy, from the mildest to the strictest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ruling {
    /// The policy does not name the algorithm. This does not mean acceptable.
    NotAddressed,
    /// May be used.
    Acceptable,
    /// Only where a protocol leaves no other choice.
    WhereNeeded,
    /// Only as one half of a hybrid.
    HybridOnly,
    /// May be used, but should be replaced.
    Deprecated,
    /// Must not be used.
    Disallowed,
    /// On Casemate's block list.
    Blocked,
}

impl Ruling {
    /// Returns its name in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotAddressed => "not addressed",
            Self::Acceptable => "acceptable",
            Self::WhereNeeded => "only where a protocol needs it",
            Self::HybridOnly => "hybrid only",
            Self::Deprecated => "deprecated",
            Self::Disallowed => "disallowed",
            Self::Blocked => "blocked",
        }
    }
}

/// How well a rule is supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// Taken from documents that cite the policy.
    Secondary,
    /// General knowledge; check it before relying on it.
    General,
    /// Casemate's own decision.
    Own,
}

impl Evidence {
    /// Returns its name in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Secondary => "secondary source",
            Self::General => "general knowledge",
            Self::Own => "Casemate",
        }
    }
}

/// Parameter sets of a scheme, by security category.
type Sets = &'static [(Scheme, &'static [u8])];

/// The algorithms that a rule covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// These post-quantum parameter sets without a classical half.
    Alone(Sets),
    /// These post-quantum parameter sets with a classical half.
    Hybrid(Sets),
    /// These post-quantum parameter sets, with or without a classical half.
    Any(Sets),
    /// Every hybrid.
    EveryHybrid,
    /// These classical primitives without a post-quantum half.
    Classical(&'static [Classical]),
    /// Every algorithm without a post-quantum half.
    EveryClassical,
}

impl Subject {
    fn covers(self, row: &Algorithm) -> bool {
        let hybrid = row.post_quantum.is_some() && row.classical.is_some();
        let named = |sets: Sets| {
            sets.iter().any(|(scheme, levels)| {
                row.post_quantum == Some(*scheme)
                    && row.level.is_some_and(|level| levels.contains(&level))
            })
        };
        match self {
            Self::Alone(sets) => !hybrid && named(sets),
            Self::Hybrid(sets) => hybrid && named(sets),
            Self::Any(sets) => named(sets),
            Self::EveryHybrid => hybrid,
            Self::Classical(list) => {
                row.post_quantum.is_none() && row.classical.is_some_and(|own| list.contains(&own))
            }
            Self::EveryClassical => row.post_quantum.is_none(),
        }
    }
}

/// The field that a rule covers: key establishment, signatures, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Keys,
    Signatures,
    Both,
}

impl Field {
    fn covers(self, usage: Usage) -> bool {
        match self {
            Self::Keys => usage != Usage::Signature,
            Self::Signatures => usage == Usage::Signature,
            Self::Both => true,
        }
    }
}

/// One rule of a policy.
#[derive(Debug)]
struct Rule {
    field: Field,
    subject: Subject,
    step: Step,
}

impl Rule {
    fn covers(&self, row: &Algorithm) -> bool {
        // Policies do not cover combinations without a specification; they can only rule out the
        // parts.
        let known = row.status != Status::Experiment || self.step.ruling >= Ruling::Deprecated;
        known && self.field.covers(row.usage) && self.subject.covers(row)
    }
}

/// A policy published outside Casemate.
#[derive(Debug)]
pub struct OutsidePolicy {
    /// Short, stable name.
    pub id: &'static str,
    /// Common name.
    pub title: &'static str,
    /// The document and its date.
    pub document: &'static str,
    rules: &'static [Rule],
}

/// A ruling and the day after which it applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The ruling.
    pub ruling: Ruling,
    /// The last day on which it does not apply; `None` if it applies already.
    pub after: Option<Date>,
    /// Whom it applies to, or why.
    pub note: &'static str,
    /// The source.
    pub source: &'static str,
    /// How well it is supported.
    pub evidence: Evidence,
}

/// What a policy says about an algorithm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutsideVerdict {
    /// The strictest ruling, now or later.
    pub ruling: Ruling,
    /// The day after which it first applies to anyone; `None` if it applies already.
    pub after: Option<Date>,
    /// Every ruling, in order of date; empty if the policy does not name the algorithm.
    pub steps: Vec<Step>,
}

impl OutsidePolicy {
    /// Returns the verdict on an algorithm.
    pub fn verdict(&self, row: &Algorithm) -> OutsideVerdict {
        if row.post_quantum.is_some_and(Scheme::is_blocked) {
            return OutsideVerdict {
                ruling: Ruling::Blocked,
                after: None,
                steps: vec![rules::BLOCKED],
            };
        }
        let mut found: Vec<_> = self
            .rules
            .iter()
            .filter(|rule| rule.covers(row))
            .map(|rule| rule.step)
            .collect();
        // A ruling that applies already makes equal and milder ones redundant.
        let already = found
            .iter()
            .filter(|step| step.after.is_none())
            .map(|step| step.ruling)
            .max();
        found.retain(|step| {
            already.is_none_or(|already| {
                step.ruling > already || (step.after.is_none() && step.ruling == already)
            })
        });
        found.sort_by_key(|step| step.after);
        let mut verdict = OutsideVerdict {
            ruling: Ruling::NotAddressed,
            after: None,
            steps: Vec::new(),
        };
        for step in &found {
            if step.ruling > verdict.ruling {
                verdict.ruling = step.ruling;
                verdict.after = step.after;
            }
        }
        verdict.steps = found;
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn step(ruling: Ruling, after: Option<Date>) -> Rule {
        Rule {
            field: Field::Both,
            subject: Subject::EveryClassical,
            step: Step {
                ruling,
                after,
                note: "",
                source: "",
                evidence: Evidence::Own,
            },
        }
    }

    const fn day(year: u16) -> Date {
        Date {
            year,
            month: 1,
            day: 1,
        }
    }

    #[test]
    fn a_ruling_that_changes_nothing_any_more_is_left_out() {
        const RULES: &[Rule] = &[
            step(Ruling::Disallowed, Some(day(2035))),
            step(Ruling::Deprecated, Some(day(2030))),
            step(Ruling::Deprecated, None),
            step(Ruling::Acceptable, None),
        ];
        let policy = OutsidePolicy {
            id: "test",
            title: "",
            document: "",
            rules: RULES,
        };
        let verdict = policy.verdict(Algorithm::by_name("rsa-2048-oaep").unwrap());
        let steps: Vec<_> = verdict.steps.iter().map(|s| (s.ruling, s.after)).collect();
        let expected = [
            (Ruling::Deprecated, None),
            (Ruling::Disallowed, Some(day(2035))),
        ];
        assert_eq!(steps, expected);
        assert_eq!(
            (verdict.ruling, verdict.after),
            (Ruling::Disallowed, Some(day(2035)))
        );
    }
}
