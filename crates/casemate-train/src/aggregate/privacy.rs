//! What rounds with noise reveal about a client (`spec/secure-aggregation.md`, section 8).

use super::{
    error::AggregateError,
    policy::{Noise, Parameters},
    vector::{clip, nano},
};

/// Orders of the Rényi divergence that are kept.
const ORDERS: std::ops::RangeInclusive<u32> = 2..=256;

/// Adds up the privacy loss of rounds: the Rényi divergence of the Skellam mechanism by Agarwal,
/// Kairouz and Liu (2021), between a client's update and an update of zeros.
#[derive(Clone, Debug)]
pub struct Accountant {
    /// Euclidean sensitivity, in units of the ring.
    sensitivity: f64,
    /// Sensitivity in the sum of absolute values.
    absolute: f64,
    /// Variance of the noise of one client.
    variance: f64,
    divergences: Vec<f64>,
}

impl Accountant {
    /// Starts with no round.
    ///
    /// # Errors
    ///
    /// [`AggregateError::Policy`] for a policy without noise.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a length is at most 2^28, and a variance 2^50"
    )]
    pub fn new(parameters: &Parameters) -> Result<Self, AggregateError> {
        let Some(noise) = parameters.noise else {
            return Err(AggregateError::Policy(
                "it has no noise; sign one with noise",
            ));
        };
        let root = (parameters.length as f64).sqrt();
        let sensitivity = sensitivity(parameters, noise);
        Ok(Self {
            sensitivity,
            absolute: (root * sensitivity).min(sensitivity * sensitivity),
            variance: noise.variance as f64,
            divergences: ORDERS.map(|_| 0.0).collect(),
        })
    }

    /// Adds a round in which this many clients added noise: the survivors less those that may not
    /// have added any.
    pub fn add_round(&mut self, clients: u32) {
        let variance = self.variance * f64::from(clients);
        let square = self.sensitivity * self.sensitivity;
        for (order, sum) in ORDERS.zip(&mut self.divergences) {
            let order = f64::from(order);
            let normal = order * square / (2.0 * variance);
            let correction =
                ((2.0 * order - 1.0) * square + 6.0 * self.absolute) / (4.0 * variance * variance);
            *sum += normal + correction.min(3.0 * self.absolute / (2.0 * variance));
        }
    }

    /// Returns epsilon of the rounds so far, with the conversion of Canonne, Kamath and Steinke
    /// (2020); infinite for a `delta` that is not between 0 and 1.
    pub fn epsilon(&self, delta: f64) -> f64 {
        if !(delta > 0.0 && delta < 1.0) {
            return f64::INFINITY;
        }
        if self.divergences.iter().all(|divergence| *divergence <= 0.0) {
            return 0.0;
        }
        let epsilon = |order: f64, divergence: f64| {
            divergence + (-1.0 / order).ln_1p() - (delta * order).ln() / (order - 1.0)
        };
        let orders = ORDERS.map(f64::from).zip(&self.divergences);
        orders
            .map(|(order, divergence)| epsilon(order, *divergence))
            .fold(f64::INFINITY, f64::min)
            .max(0.0)
    }
}

/// Returns the Euclidean sensitivity of a sum, in units of the ring.
#[expect(clippy::cast_precision_loss, reason = "a length is at most 2^28")]
fn sensitivity(parameters: &Parameters, noise: Noise) -> f64 {
    let scale = f64::from(parameters.level_max()) / (2.0 * clip(parameters));
    // Rounding moves each coordinate of both updates by less than one unit.
    scale * nano(noise.norm_nano) + (parameters.length as f64).sqrt()
}

/// Returns the ratio of the noise of this many clients to the sensitivity, in thousandths.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a variance is at most 2^50, and the ratio is positive and saturates"
)]
pub(super) fn noise_multiplier(parameters: &Parameters, clients: usize) -> u32 {
    parameters.noise.map_or(0, |noise| {
        let deviation = (noise.variance as f64 * clients as f64).sqrt();
        (deviation / sensitivity(parameters, noise) * 1000.0) as u32
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(norm_nano: u64, variance: u64) -> Parameters {
        Parameters {
            length: 100,
            bits: 16,
            ring_bits: 32,
            clip_nano: 1_000_000_000,
            weight_max: 1,
            cohort_min: 10,
            cohort_max: 10,
            neighbours: 0,
            threshold: 667,
            noise: Some(Noise {
                norm_nano,
                variance,
            }),
        }
    }

    /// Norm in 10^-9, variance, clients and rounds; epsilon at a delta of 10^-5 by plain Python
    /// from the paper's formulas, and that of a Gaussian of the same variance by `dp_accounting`
    /// 0.6.0 with the same orders.
    const EPSILONS: [(u64, u64, u32, u32, f64, f64); 3] = [
        (
            1_000_000_000,
            100_000_000,
            10,
            1,
            4.938_639_604_862_635,
            4.938_639_602_444_821,
        ),
        (
            500_000_000,
            400_000_000,
            8,
            20,
            6.447_299_618_031_991,
            6.447_299_617_112_915_5,
        ),
        (
            1_000_000_000,
            1_000_000,
            10,
            1,
            117.563_089_791_500_77,
            117.563_081_728_850_34,
        ),
    ];

    #[test]
    fn epsilon_is_that_of_an_independent_computation_and_not_below_the_gaussians() {
        for (norm, variance, clients, rounds, epsilon, gaussian) in EPSILONS {
            let mut accountant = Accountant::new(&parameters(norm, variance)).unwrap();
            assert!(accountant.epsilon(1e-5).abs() < f64::EPSILON);
            (0..rounds).for_each(|_| accountant.add_round(clients));
            let found = accountant.epsilon(1e-5);
            assert!(
                (found - epsilon).abs() < 1e-9,
                "{found} instead of {epsilon}"
            );
            assert!(found > gaussian, "{found} is below {gaussian}");
            for delta in [0.0, -1.0, 1.0, 5.0, f64::NAN] {
                assert!(accountant.epsilon(delta).is_infinite(), "{delta}");
            }
        }
    }

    #[test]
    fn more_rounds_cost_more_and_more_noise_costs_less() {
        let epsilon = |variance, clients, rounds| {
            let mut accountant = Accountant::new(&parameters(1_000_000_000, variance)).unwrap();
            (0..rounds).for_each(|_| accountant.add_round(clients));
            accountant.epsilon(1e-5)
        };
        assert!(epsilon(1 << 27, 10, 2) > epsilon(1 << 27, 10, 1));
        assert!(epsilon(1 << 28, 10, 1) < epsilon(1 << 27, 10, 1));
        assert!(epsilon(1 << 27, 10, 1) < epsilon(1 << 27, 9, 1));
        let mut plain = parameters(1, 1);
        plain.noise = None;
        Accountant::new(&plain).unwrap_err();
    }
}
