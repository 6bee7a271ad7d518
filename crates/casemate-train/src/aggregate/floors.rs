//! What a client demands of a policy, whoever signed it.

use std::{fmt::Display, ops::RangeInclusive};

use super::{
    error::AggregateError,
    graph::{can_split, corrupt_holders},
    policy::Parameters,
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
    /// Clients that may work together with the server, in thousandths of a cohort.
    pub corrupt: u32,
    /// Least number of bits of a quantised coordinate.
    pub bits: u32,
    /// Allowed clips, in 10^-9.
    pub clip_nano: RangeInclusive<u64>,
    /// Least variance of the noise; 0 if none is demanded.
    pub noise_variance: u64,
}

impl Default for Floors {
    /// The floors against a malicious server with a tenth of the clients.
    fn default() -> Self {
        Self {
            cohort_min: 3,
            threshold: 667,
            neighbours: 20,
            corrupt: 100,
            bits: 8,
            clip_nano: 1..=u64::MAX,
            noise_variance: 0,
        }
    }
}

impl Floors {
    /// Checks a policy.
    ///
    /// # Errors
    ///
    /// [`AggregateError::Floor`] for the first parameter that is too weak.
    pub fn check(&self, policy: &Parameters) -> Result<(), AggregateError> {
        at_least("the smallest cohort", policy.cohort_min, self.cohort_min)?;
        at_least("the number of bits", policy.bits, self.bits)?;
        if !self.clip_nano.contains(&policy.clip_nano) {
            let (least, most) = (self.clip_nano.start(), self.clip_nano.end());
            let must = format!("{least} to {most}");
            return Err(floor("the clip in 10^-9", policy.clip_nano, must));
        }
        let variance = policy.noise.map_or(0, |noise| noise.variance);
        at_least("the variance of the noise", variance, self.noise_variance)?;
        if policy.neighbours == 0 {
            return at_least(
                "the threshold in thousandths",
                policy.threshold,
                self.threshold,
            );
        }
        at_least(
            "the number of neighbours",
            policy.neighbours,
            self.neighbours,
        )?;
        for cohort in [policy.cohort_min, policy.cohort_max] {
            self.check_graph(policy, cohort)?;
        }
        Ok(())
    }

    /// Checks that the sparse graph of a cohort protects each client.
    pub(super) fn check_graph(
        &self,
        policy: &Parameters,
        cohort: usize,
    ) -> Result<(), AggregateError> {
        let k = policy.neighbours;
        let corrupt = cohort.saturating_mul(self.corrupt as usize) / 1000;
        let worst = corrupt_holders(cohort, corrupt, k);
        let needed = policy.shares_needed(k);
        let least = k.saturating_add(worst) / 2;
        at_least(
            "the number of shares needed",
            needed,
            least.saturating_add(1),
        )?;
        // Each survivor has this many honest share holders among the survivors.
        let group = needed.saturating_sub(worst).saturating_add(1);
        let survivors = policy.cohort_min.saturating_sub(corrupt);
        let honest = cohort.saturating_sub(corrupt);
        if can_split(cohort, honest, k, (group, survivors)) {
            let must = "enough that survivors stay connected".to_owned();
            return Err(floor("the number of neighbours", k, must));
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
