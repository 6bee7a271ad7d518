//! Secure aggregation among clients and servers that follow the protocol and others.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::cast_precision_loss,
    clippy::panic_in_result_fn,
    reason = "a failed expectation fails the test"
)]

mod bytes;
mod job;
mod keys;
mod lists;
mod noise;
mod policy;
mod rounds;
mod shares;
mod vectors;

use self::job::{Job, Run, parameters};
use crate::aggregate::AggregateError;

/// The clients that drop out of a step in which none does.
const NOBODY: &[&str] = &[];
const FIRST: &str = "client-000";

/// A round of five clients after this many steps.
fn after(job: &Job, steps: usize) -> Run<'_> {
    let mut run = Run::new(job, parameters(job.keys.len()));
    for _ in 0..steps {
        run.step(NOBODY);
    }
    run
}

/// Changes what the server sends to the first client, and returns the client's error.
fn refused(run: &mut Run<'_>, change: impl FnOnce(&mut Vec<u8>)) -> AggregateError {
    change(run.sent.get_mut(FIRST).unwrap());
    run.answer(FIRST).unwrap_err()
}

/// Where the first advertisement of a cohort message begins.
const FIRST_ADVERTISEMENT: usize = 3 + 4;
/// Length of the beginning of a client's message.
const HEAD: usize = 3 + 48;
