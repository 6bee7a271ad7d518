//! Whether a sparse graph protects a cohort (`spec/secure-aggregation.md`, section 7).
#![expect(
    clippy::cast_precision_loss,
    reason = "counts are at most 1,024, far below the precision of a double"
)]

/// Logarithm of the probability that may remain: 2^-40.
const LN_FAILURE: f64 = -40.0 * std::f64::consts::LN_2;

/// Logarithms of binomial coefficients.
struct Choose(Vec<f64>);

impl Choose {
    /// Prepares coefficients of up to `most`.
    fn new(most: usize) -> Self {
        let mut sum = 0.0;
        let logs = (0..=most).map(|number| {
            sum += (number.max(1) as f64).ln();
            sum
        });
        Self(logs.collect())
    }

    /// Returns the logarithm of the number of ways to choose `k` of `n`.
    fn ln(&self, n: usize, k: usize) -> f64 {
        let Some(rest) = n.checked_sub(k) else {
            return f64::NEG_INFINITY;
        };
        match [n, k, rest].map(|at| self.0.get(at)) {
            [Some(n), Some(k), Some(rest)] => n - k - rest,
            _ => f64::NEG_INFINITY,
        }
    }
}

/// Returns the logarithm of the sum of the numbers whose logarithms are given.
fn ln_sum(terms: impl Iterator<Item = f64>) -> f64 {
    let terms: Vec<f64> = terms.collect();
    let largest = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if largest == f64::NEG_INFINITY {
        return largest;
    }
    largest
        + terms
            .iter()
            .map(|term| (term - largest).exp())
            .sum::<f64>()
            .ln()
}

/// Returns how many of the `k` holders that each client of a cohort of `n` chooses at random can
/// be corrupt, if `corrupt` clients are, except with a probability of 2^-40 for the cohort.
pub(super) fn corrupt_holders(n: usize, corrupt: usize, k: usize) -> usize {
    holders_among(n, corrupt, k, LN_FAILURE)
}

/// Returns how many of them can drop out, if `dropped` clients do, except with a probability of
/// 2^-20 for the cohort.
pub(super) fn dropped_holders(n: usize, dropped: usize, k: usize) -> usize {
    holders_among(n, dropped, k, LN_FAILURE / 2.0)
}

fn holders_among(n: usize, corrupt: usize, k: usize, ln_failure: f64) -> usize {
    let others = n.saturating_sub(1);
    let corrupt = corrupt.min(others);
    let choose = Choose::new(n);
    let honest = others.saturating_sub(corrupt);
    let all = choose.ln(others, k);
    let probability =
        |count: usize| choose.ln(corrupt, count) + choose.ln(honest, k.saturating_sub(count)) - all;
    let most = k.min(corrupt);
    // The largest count first, as long as all from it on are improbable together.
    let mut tail = f64::NEG_INFINITY;
    for count in (1..=most).rev() {
        tail = ln_sum([tail, probability(count)].into_iter());
        if tail + (n as f64).ln() > ln_failure {
            return count;
        }
    }
    0
}

/// Returns whether honest clients could survive in two groups with no edge between them with a
/// probability above 2^-40: then each group's sum would be known, even if the server chooses who
/// drops out. `honest` clients of a cohort of `n` choose `k` holders each; a group has at least
/// `least` members, and both together at least `survivors`.
pub(super) fn can_split(
    n: usize,
    honest: usize,
    k: usize,
    (least, survivors): (usize, usize),
) -> bool {
    let choose = Choose::new(n);
    let others = n.saturating_sub(1) as f64;
    let miss = |members: usize| (1.0 - members as f64 / others).max(0.0).ln();
    let split = |a: usize, b: usize| {
        let ways = choose.ln(honest, a) + choose.ln(honest.saturating_sub(a), b);
        let edges = k as f64 * (a as f64 * miss(b) + b as f64 * miss(a));
        ways + edges
    };
    let pairs = (least.max(1)..=honest / 2).flat_map(|a| {
        let from = survivors.saturating_sub(a).max(a);
        (from..=honest.saturating_sub(a)).map(move |b| (a, b))
    });
    ln_sum(pairs.map(|(a, b)| split(a, b))) > LN_FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corrupt_holders_match_an_exact_computation() {
        // `scipy.stats.hypergeom(n - 1, corrupt, k).sf(c) * n <= 2**-40`, the smallest such c.
        for (n, corrupt, k, most) in CASES {
            assert_eq!(corrupt_holders(n, corrupt, k), most, "{n} {corrupt} {k}");
        }
    }

    const CASES: [(usize, usize, usize, usize); 6] = [
        (100, 10, 40, 10),
        (100, 0, 40, 0),
        (300, 30, 74, 26),
        (1000, 100, 98, 37),
        (1000, 50, 60, 21),
        (500, 50, 255, 49),
    ];

    #[test]
    fn few_neighbours_let_a_cohort_be_split_and_many_do_not() {
        assert!(can_split(100, 90, 2, (1, 70)));
        assert!(can_split(1000, 900, 4, (1, 700)));
        // A server that may drop almost everyone can cut out small groups.
        assert!(can_split(1000, 900, 98, (20, 40)));
        assert!(!can_split(100, 90, 40, (16, 40)));
        assert!(!can_split(1000, 900, 98, (20, 700)));
    }
}
