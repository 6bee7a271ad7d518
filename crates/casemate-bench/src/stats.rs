//! Medians and spreads. Means of a few runs are never used.

use crate::rows::Timing;

/// Returns the median of `values`; zero if there are none.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let upper = values.len() / 2;
    let at = |index: usize| values.get(index).copied().unwrap_or_default();
    if values.len() % 2 == 1 {
        at(upper)
    } else {
        f64::midpoint(at(upper.saturating_sub(1)), at(upper))
    }
}

/// Returns the median and the median absolute deviation of samples in microseconds.
pub(crate) fn timing(mut samples: Vec<f64>) -> Timing {
    let middle = median(&mut samples);
    let mut deviations: Vec<f64> = samples
        .iter()
        .map(|sample| (sample - middle).abs())
        .collect();
    Timing {
        median_us: middle,
        mad_us: median(&mut deviations),
        samples: samples.len(),
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "the values are exact in binary")]
mod tests {
    use super::*;

    #[test]
    fn one_outlier_changes_neither_median_nor_spread() {
        let calm = timing(vec![10.0, 11.0, 9.0, 10.0, 10.5]);
        assert_eq!((calm.median_us, calm.mad_us, calm.samples), (10.0, 0.5, 5));
        let struck = timing(vec![10.0, 11.0, 9.0, 10.0, 1e6]);
        assert_eq!((struck.median_us, struck.mad_us), (10.0, 1.0));
    }

    #[test]
    fn an_even_count_averages_the_middle_two_and_an_empty_one_gives_zero() {
        assert_eq!(median(&mut [4.0, 1.0, 3.0, 2.0]), 2.5);
        assert_eq!(median(&mut []), 0.0);
    }
}
