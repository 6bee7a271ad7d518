//! The random choice of share holders in a sparse graph.

use casemate_crypto::{Secret, keystream::Keystream};

use super::{error::AggregateError, round::Position};

/// Chooses `count` of `others` at random, and returns them in ascending order.
pub(super) fn choose(
    mut others: Vec<Position>,
    count: usize,
    key: &Secret<32>,
) -> Result<Vec<Position>, AggregateError> {
    let mut stream = Keystream::new(key)?;
    let mut chosen = Vec::new();
    while chosen.len() < count && !others.is_empty() {
        let at = below(&mut stream, others.len())?;
        chosen.push(others.swap_remove(at));
    }
    chosen.sort_unstable();
    Ok(chosen)
}

/// Returns a uniform number below `limit`, which is at most 65,536.
fn below(stream: &mut Keystream, limit: usize) -> Result<usize, AggregateError> {
    let limit = u32::try_from(limit).unwrap_or(u32::MAX);
    // Numbers at the top would make the first remainders more likely.
    let end = u32::MAX.saturating_sub(u32::MAX.checked_rem(limit).unwrap_or_default());
    loop {
        let drawn = stream.words(4)?.find(|word| *word < end);
        if let Some(word) = drawn {
            return Ok(word.checked_rem(limit).unwrap_or_default() as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_is_chosen_about_equally_often_and_none_twice() {
        let mut counts = [0u32; 20];
        for _ in 0..2000 {
            let chosen = choose((0..20).collect(), 5, &Secret::random().unwrap()).unwrap();
            assert_eq!(chosen.len(), 5);
            assert!(chosen.is_sorted_by(|a, b| a < b));
            chosen.iter().for_each(|at| counts[usize::from(*at)] += 1);
        }
        // 500 expected, standard deviation 19.4: six of them.
        assert!(
            counts.iter().all(|count| (384..=616).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn the_choice_follows_from_the_key() {
        let [one, two] = [1, 2].map(|byte| Secret::take(&mut [byte; 32]));
        let all = || (0..300).collect();
        assert_eq!(
            choose(all(), 40, &one).unwrap(),
            choose(all(), 40, &one).unwrap()
        );
        assert_ne!(
            choose(all(), 40, &one).unwrap(),
            choose(all(), 40, &two).unwrap()
        );
    }
}
