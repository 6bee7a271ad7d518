//! What a client demands of a policy, whoever signed it.

use std::{fmt::Display, ops::RangeInclusive};

use super::{
    error::AggregateError,
    graph::{can_split, corrupt_holders},
    policy::Parameters,
    privacy::noise_multiplier,
};

/// The weakest policy that a client takes part in. No message can lower it.
#[derive(Clone, Debug, PartialEq)]
pub struct Floors {
    /// Smallest number of clients whose sum may become known.
    pub cohort_min: usize,
    /// Least threshold in the complete graph, in thousandths; 667 for a malicious server.
    pub threshold: u32,
    /// Least number of neighbours in a sparse graph.
    pub neighbours: usize,
    /// Members that may work together with the server, in thousandths of the roster. The server
    /// chooses the cohort, so all of them may be in it.
    pub corrupt: u32,
    /// Least number of bits of a quantised coordinate.
    pub bits: u32,
    /// Allowed clips, in 10^-9.
    pub clip_nano: RangeInclusive<u64>,
    /// Least noise multiplier of the smallest cohort without its corrupt clients, in thousandths; 0
    /// if no noise is demanded.
    pub noise_multiplier: u32,
}

impl Default for Floors {
    /// The floors against a malicious server with a tenth of the members.
    fn default() -> Self {
        Self {
            cohort_min: 3,
            threshold: 667,
            neighbours: 20,
            corrupt: 100,
            bits: 8,
            clip_nano: 1..=u64::MAX,
            noise_multiplier: 0,
        }
    }
}

impl Floors {
    /// Returns how many of `members` may be corrupt in a cohort.
    pub(super) fn corrupt_in(&self, cohort: usize, members: usize) -> usize {
        let corrupt = members.saturating_mul(self.corrupt as usize) / 1000;
        corrupt.min(cohort.saturating_sub(1))
    }

    /// Returns how many clients have certainly added noise to what a server learns of a cohort: not
    /// the corrupt ones, and in a sparse graph not the one that the server can leave out.
    pub(super) fn noisy_in(&self, policy: &Parameters, cohort: usize, members: usize) -> usize {
        let left_out = usize::from(policy.neighbours > 0);
        cohort
            .saturating_sub(self.corrupt_in(cohort, members))
            .saturating_sub(left_out)
    }

    /// Checks a policy for a roster with this many members.
    ///
    /// # Errors
    ///
    /// [`AggregateError::Floor`] for the first parameter that is too weak.
    pub fn check(&self, policy: &Parameters, members: usize) -> Result<(), AggregateError> {
        let corrupt = self.corrupt_in(policy.cohort_min, members);
        // With one honest client, the sum is its update.
        let least = self.cohort_min.max(corrupt.saturating_add(2));
        at_least("the smallest cohort", policy.cohort_min, least)?;
        at_least("the number of bits", policy.bits, self.bits)?;
        if !self.clip_nano.contains(&policy.clip_nano) {
            let (least, most) = (self.clip_nano.start(), self.clip_nano.end());
            let must = format!("{least} to {most}");
            return Err(floor("the clip in 10^-9", policy.clip_nano, must));
        }
        let noisy = self.noisy_in(policy, policy.cohort_min, members);
        let multiplier = noise_multiplier(policy, noisy);
        at_least(
            "the noise multiplier in thousandths",
            multiplier,
            self.noise_multiplier,
        )?;
        if policy.neighbours == 0 {
            at_least(
                "the threshold in thousandths",
                policy.threshold,
                self.threshold,
            )?;
        } else {
            at_least(
                "the number of neighbours",
                policy.neighbours,
                self.neighbours,
            )?;
        }
        if policy.neighbours == 0 {
            // Which cohort is the weakest depends on how the threshold rounds.
            return (policy.cohort_min..=policy.cohort_max)
                .try_for_each(|cohort| self.check_graph(policy, cohort, members));
        }
        for cohort in [policy.cohort_min, policy.cohort_max] {
            self.check_graph(policy, cohort, members)?;
        }
        Ok(())
    }

    /// Checks that the graph of a cohort protects each client.
    pub(super) fn check_graph(
        &self,
        policy: &Parameters,
        cohort: usize,
        members: usize,
    ) -> Result<(), AggregateError> {
        let corrupt = self.corrupt_in(cohort, members);
        let holders = policy.holders(cohort);
        let worst = if policy.neighbours == 0 {
            corrupt.min(holders)
        } else {
            corrupt_holders(cohort, corrupt, holders)
        };
        let needed = policy.shares_needed(holders);
        let least = holders.saturating_add(worst) / 2;
        at_least(
            "the number of shares needed",
            needed,
            least.saturating_add(1),
        )?;
        if policy.neighbours == 0 {
            return Ok(());
        }
        // Each survivor has this many honest share holders among the survivors.
        let group = needed.saturating_sub(worst).saturating_add(1);
        let survivors = policy.cohort_min.saturating_sub(corrupt);
        let honest = cohort.saturating_sub(corrupt);
        if can_split(cohort, honest, holders, (group, survivors)) {
            let must = "enough that survivors stay connected".to_owned();
            return Err(floor("the number of neighbours", holders, must));
        }
        Ok(())
    }
}

fn floor(what: &'static str, found: impl Display, must: String) -> AggregateError {
    AggregateError::Floor {
        what,
        found: format!("{found}"),
        must,
    }
}

fn at_least<T: PartialOrd + Display + Copy>(
    what: &'static str,
    found: T,
    least: T,
) -> Result<(), AggregateError> {
    if found >= least {
        return Ok(());
    }
    Err(floor(what, found, format!("at least {least}")))
}
