//! Parameters for a cohort.

use super::{
    error::AggregateError,
    floors::Floors,
    graph::{corrupt_holders, dropped_holders},
    policy::{HOLDERS_MAX, Noise, Parameters, VARIANCE_MAX},
    privacy::noise_multiplier,
};

/// Cohorts up to this size use the complete graph.
const COMPLETE_MAX: usize = 40;
const THRESHOLD_COMPLETE: u32 = 667;

/// What a job decides itself.
#[derive(Clone, Copy, Debug)]
pub struct Wishes {
    /// Coordinates of an update.
    pub length: usize,
    /// Largest absolute value of a coordinate, in 10^-9.
    pub clip_nano: u64,
    /// Smallest and largest number of clients in a round.
    pub cohort: (usize, usize),
    /// Largest weight of a client.
    pub weight_max: u32,
    /// Bits of a quantised coordinate.
    pub bits: u32,
    /// Noise, if the job wants any.
    pub noise: Option<WishedNoise>,
}

/// Noise as a job wants it.
#[derive(Clone, Copy, Debug)]
pub struct WishedNoise {
    /// Largest Euclidean norm of an update, in 10^-9.
    pub norm_nano: u64,
    /// Ratio of the noise to the sensitivity, in thousandths: that of the smallest cohort without
    /// its corrupt clients.
    pub multiplier: u32,
}

impl Parameters {
    /// Returns parameters that pass these floors for a roster with this many members: the complete
    /// graph up to 40 clients, and else the smallest sparse graph that protects them and which a
    /// tenth of them may leave in a round.
    ///
    /// # Errors
    ///
    /// [`AggregateError::Policy`] if there are none.
    pub fn recommended(
        wishes: &Wishes,
        floors: &Floors,
        members: usize,
    ) -> Result<Self, AggregateError> {
        let (cohort_min, cohort_max) = wishes.cohort;
        let mut parameters = Self {
            length: wishes.length,
            bits: wishes.bits,
            ring_bits: 32,
            clip_nano: wishes.clip_nano,
            weight_max: wishes.weight_max,
            cohort_min,
            cohort_max,
            // Only to check the rest.
            neighbours: if cohort_max > COMPLETE_MAX { 2 } else { 0 },
            threshold: THRESHOLD_COMPLETE.max(floors.threshold),
            noise: None,
        };
        if let Some(noise) = wishes.noise {
            let noisy = floors.noisy_in(&parameters, cohort_min, members);
            parameters = parameters.with_noise(noise, noisy)?;
        }
        parameters.check()?;
        // The fewest bits in which the sum has room.
        while parameters.ring_bits > parameters.bits {
            let fewer = Self {
                ring_bits: parameters.ring_bits.saturating_sub(1),
                ..parameters
            };
            if fewer.check().is_err() {
                break;
            }
            parameters = fewer;
        }
        if cohort_max <= COMPLETE_MAX {
            // How the threshold rounds decides which cohort is the weakest.
            let strict = |threshold| Self {
                threshold,
                ..parameters
            };
            return (parameters.threshold..=999)
                .map(strict)
                .find(|stricter| floors.check(stricter, members).is_ok())
                .map_or_else(
                    || floors.check(&parameters, members).map(|()| parameters),
                    Ok,
                );
        }
        let most = HOLDERS_MAX.min(cohort_min.saturating_sub(1));
        (floors.neighbours.max(2)..=most)
            .map(|neighbours| parameters.with_neighbours(neighbours, floors, members))
            .find(|sparse| {
                sparse.check().is_ok() && floors.check(sparse, members).is_ok() && sparse.survives_dropouts()
            })
            .ok_or(AggregateError::Policy(
                "no graph protects so small a cohort from so many corrupt clients; raise the smallest cohort",
            ))
    }

    /// Returns the same parameters with noise that this many clients make as strong as it must be.
    fn with_noise(&self, wished: WishedNoise, clients: usize) -> Result<Self, AggregateError> {
        let with = |variance| Self {
            noise: Some(Noise {
                norm_nano: wished.norm_nano,
                variance,
            }),
            ..*self
        };
        // The least variance for which the multiplier is reached, as floors compute it.
        let reached = |variance| noise_multiplier(&with(variance), clients) >= wished.multiplier;
        let (mut below, mut enough) = (0u64, VARIANCE_MAX);
        if !reached(enough) {
            return Err(AggregateError::Policy(
                "that much noise does not fit; use fewer bits",
            ));
        }
        while enough.saturating_sub(below) > 1 {
            let middle = below.midpoint(enough);
            if reached(middle) {
                enough = middle;
            } else {
                below = middle;
            }
        }
        Ok(with(enough))
    }

    /// Returns whether every client keeps enough share holders if a tenth of the clients drop out.
    fn survives_dropouts(&self) -> bool {
        let needed = self.shares_needed(self.neighbours);
        [self.cohort_min, self.cohort_max]
            .into_iter()
            .all(|cohort| {
                let gone = dropped_holders(cohort, cohort / 10, self.neighbours);
                needed.saturating_add(gone) <= self.neighbours
            })
    }

    /// Returns the same parameters with a sparse graph, whose threshold is as low as the corrupt
    /// clients of the floors allow.
    fn with_neighbours(&self, neighbours: usize, floors: &Floors, members: usize) -> Self {
        let worst = [self.cohort_min, self.cohort_max]
            .map(|cohort| corrupt_holders(cohort, floors.corrupt_in(cohort, members), neighbours));
        let worst = worst.into_iter().max().unwrap_or(neighbours);
        // One more than half of both, and a threshold that rounds down to it.
        let needed = neighbours.saturating_add(worst) / 2;
        let thousandths = needed.saturating_mul(1000).div_ceil(neighbours.max(1));
        Self {
            neighbours,
            threshold: u32::try_from(thousandths).unwrap_or(u32::MAX).max(500),
            ..*self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes(least: usize, most: usize) -> Wishes {
        Wishes {
            length: 10,
            clip_nano: 1_000_000_000,
            cohort: (least, most),
            weight_max: 1,
            bits: 20,
            noise: None,
        }
    }

    #[test]
    fn recommended_parameters_pass_the_floors_and_use_few_bits() {
        let floors = Floors::default();
        for (least, most, neighbours, ring_bits) in [
            (3, 10, 0, 24),
            (3, 16, 0, 24),
            (20, 40, 0, 26),
            (80, 100, 30, 27),
            (900, 1000, 95, 30),
        ] {
            let found = Parameters::recommended(&wishes(least, most), &floors, most).unwrap();
            assert_eq!(floors.check(&found, most), Ok(()));
            assert_eq!(found.ring_bits, ring_bits, "{most} clients");
            let near = found.neighbours.abs_diff(neighbours);
            assert!(near <= neighbours / 4, "{most} clients: {found:?}");
            let holders = found.holders(most);
            assert!(
                found.shares_needed(holders) < holders,
                "nobody may drop out: {found:?}"
            );
        }
    }

    #[test]
    fn noise_is_as_strong_as_wished_and_no_stronger() {
        let floors = Floors::default();
        let mut noisy = wishes(18, 20);
        noisy.bits = 12;
        for multiplier in [1, 500, 1300, 4000] {
            noisy.noise = Some(WishedNoise {
                norm_nano: 1_000_000_000,
                multiplier,
            });
            let found = Parameters::recommended(&noisy, &floors, 20).unwrap();
            // Two of 20 members may be corrupt.
            assert_eq!(noise_multiplier(&found, 16), multiplier);
            let noise = found.noise.unwrap();
            let weaker = Parameters {
                noise: Some(Noise {
                    variance: noise.variance - 1,
                    ..noise
                }),
                ..found
            };
            assert!(noise.variance == 1 || noise_multiplier(&weaker, 16) < multiplier);
        }
        noisy.noise = Some(WishedNoise {
            norm_nano: 1_000_000_000,
            multiplier: u32::MAX,
        });
        let refused = Parameters::recommended(&noisy, &floors, 20).unwrap_err();
        assert!(refused.to_string().contains("use fewer bits"), "{refused}");
    }

    #[test]
    fn in_a_sparse_graph_the_noise_suffices_without_one_more_client() {
        let floors = Floors {
            noise_multiplier: 1300,
            ..Floors::default()
        };
        let mut noisy = wishes(80, 100);
        noisy.bits = 12;
        noisy.noise = Some(WishedNoise {
            norm_nano: 1_000_000_000,
            multiplier: 1300,
        });
        let found = Parameters::recommended(&noisy, &floors, 100).unwrap();
        // Ten of 100 members may be corrupt, and the server can leave out one.
        assert_eq!(floors.noisy_in(&found, 80, 100), 69);
        assert_eq!(noise_multiplier(&found, 69), 1300);
        assert!(noise_multiplier(&found, 68) < 1300);
        let complete = Parameters {
            neighbours: 0,
            ..found
        };
        assert_eq!(floors.noisy_in(&complete, 80, 100), 70);
    }

    #[test]
    fn a_cohort_that_no_graph_protects_is_refused() {
        let floors = Floors {
            corrupt: 900,
            ..Floors::default()
        };
        let refused = Parameters::recommended(&wishes(45, 50), &floors, 50).unwrap_err();
        assert!(
            refused.to_string().contains("no graph protects"),
            "{refused}"
        );
        let mut wide = wishes(3, 10);
        wide.bits = 30;
        Parameters::recommended(&wide, &floors, 10).unwrap_err();
    }
}
