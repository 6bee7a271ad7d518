//! Noise, and the norm that it needs.

use super::{
    NOBODY,
    job::{Job, Run, parameters},
};
use crate::aggregate::{Noise, Parameters};

const VARIANCE: u64 = 1_000_000;

fn noisy(length: usize) -> Parameters {
    Parameters {
        length,
        bits: 16,
        ring_bits: 24,
        clip_nano: 1_000_000_000,
        weight_max: 1,
        noise: Some(Noise {
            norm_nano: 3_000_000_000,
            variance: VARIANCE,
        }),
        ..parameters(4)
    }
}

/// Returns the mean of a round in which each client's coordinates are all `value`.
fn mean_of(job: &Job, parameters: Parameters, value: f32) -> Vec<f64> {
    let mut run = Run::new(job, parameters);
    for (values, weight) in run.updates.values_mut() {
        values.fill(value);
        *weight = 1;
    }
    for _ in 0..4 {
        run.step(NOBODY);
    }
    let aggregate = run.step(NOBODY).unwrap();
    aggregate.mean.into_iter().map(f64::from).collect()
}

#[test]
fn the_noise_has_the_variance_of_all_clients_and_no_bias() {
    let (job, length) = (Job::new(4), 20_000);
    for value in [0.0, -1.0, 1.0] {
        let mut parameters = noisy(length);
        parameters.noise.as_mut().unwrap().norm_nano = 1_000_000_000_000;
        let mean = mean_of(&job, parameters, value);
        // In units of the ring, as a sum over the clients.
        let scale = 4.0 * 65_535.0 / 2.0;
        let noise = mean.iter().map(|mean| (mean - f64::from(value)) * scale);
        let (sum, squares) = noise.fold((0.0, 0.0), |(sum, squares), one| {
            (sum + one, squares + one * one)
        });
        let (average, variance) = (sum / length as f64, squares / length as f64);
        let expected = 4.0 * VARIANCE as f64;
        // Six standard deviations of the average and of the variance.
        assert!(
            average.abs() < 6.0 * (expected / length as f64).sqrt(),
            "{average}"
        );
        let spread = 6.0 * expected * (2.0 / length as f64).sqrt();
        assert!(
            (variance - expected).abs() < spread,
            "{variance} instead of {expected}"
        );
    }
}

#[test]
fn updates_are_shrunk_to_the_norm_and_shorter_ones_are_not() {
    let job = Job::new(4);
    let mut parameters = noisy(100);
    parameters.noise.as_mut().unwrap().variance = 1;
    let norm = |value| {
        mean_of(&job, parameters, value)
            .iter()
            .map(|x| x * x)
            .sum::<f64>()
            .sqrt()
    };
    // 100 coordinates of 0.5 have the norm 5, of 0.1 the norm 1.
    assert!((norm(0.5) - 3.0).abs() < 0.01, "{}", norm(0.5));
    assert!((norm(0.1) - 1.0).abs() < 0.01, "{}", norm(0.1));
}
