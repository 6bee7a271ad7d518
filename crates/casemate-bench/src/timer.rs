//! Timing in interleaved rounds.

use std::time::{Duration, Instant};

use crate::{Effort, rows::Timing, stats};

/// An operation to time.
pub(crate) type Action<'a> = Box<dyn FnMut() + 'a>;

/// The number of samples of an operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// Approximate length of a sample, which repeats short operations.
    sample: Duration,
    /// Time after which an operation stops, if it has `samples_min` samples.
    operation: Duration,
    samples_min: usize,
    samples_max: usize,
}

impl Budget {
    pub(crate) const fn of(effort: Effort) -> Self {
        let (sample, operation, samples_min, samples_max) = match effort {
            Effort::Quick => (200, 4_000, 3, 7),
            Effort::Standard => (1_000, 150_000, 5, 51),
            Effort::Thorough => (2_000, 1_000_000, 11, 201),
        };
        Self {
            sample: Duration::from_micros(sample),
            operation: Duration::from_micros(operation),
            samples_min,
            samples_max,
        }
    }
}

struct Running<'a> {
    action: Action<'a>,
    /// Repetitions per sample.
    batch: u32,
    spent: Duration,
    samples: Vec<f64>,
}

impl Running<'_> {
    /// Warms up and determines how many repetitions a sample needs.
    fn calibrate(&mut self, budget: &Budget) {
        (self.action)();
        let started = Instant::now();
        (self.action)();
        let once = started.elapsed().max(Duration::from_nanos(50));
        let batch = budget.sample.as_nanos() / once.as_nanos();
        self.batch = u32::try_from(batch).unwrap_or(u32::MAX).max(1);
    }

    fn is_done(&self, budget: &Budget) -> bool {
        let enough = self.samples.len() >= budget.samples_min;
        (enough && self.spent >= budget.operation) || self.samples.len() >= budget.samples_max
    }

    fn sample(&mut self) {
        let started = Instant::now();
        for _ in 0..self.batch {
            (self.action)();
        }
        let took = started.elapsed();
        self.spent += took;
        self.samples
            .push(took.as_secs_f64() * 1e6 / f64::from(self.batch));
    }
}

/// Times every action, one sample of each in turn, until each has used its budget.
pub(crate) fn interleaved(
    actions: Vec<Action<'_>>,
    budget: Budget,
    progress: &mut dyn FnMut(usize, usize),
) -> Vec<Timing> {
    let mut running: Vec<_> = actions
        .into_iter()
        .map(|action| Running {
            action,
            batch: 1,
            spent: Duration::ZERO,
            samples: Vec::new(),
        })
        .collect();
    progress(0, budget.samples_max);
    for one in &mut running {
        one.calibrate(&budget);
    }
    for round in 0..budget.samples_max {
        progress(round + 1, budget.samples_max);
        let mut sampled = false;
        for one in running.iter_mut().filter(|one| !one.is_done(&budget)) {
            one.sample();
            sampled = true;
        }
        if !sampled {
            break;
        }
    }
    running
        .into_iter()
        .map(|one| stats::timing(one.samples))
        .collect()
}

/// Returns the processor time that this thread has used, in seconds.
pub(crate) fn thread_cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_gets_its_minimum_of_samples_and_slower_actions_measure_slower() {
        let work = |rounds: u64| -> Action<'static> {
            Box::new(move || {
                let mut sum = 0_u64;
                for value in 0..rounds {
                    sum = std::hint::black_box(sum ^ value);
                }
            })
        };
        let actions = vec![work(10), work(1_000_000)];
        let timings = interleaved(actions, Budget::of(Effort::Quick), &mut |_, _| ());
        assert!(timings.iter().all(|timing| timing.samples >= 3));
        assert!(timings[1].median_us > 100.0 * timings[0].median_us);
    }
}
