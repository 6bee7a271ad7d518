//! Rounds in which everyone follows the protocol.

use proptest::prelude::*;

use super::{
    NOBODY,
    job::{Job, Run, parameters},
};
use crate::aggregate::{AggregateError, Parameters};

#[test]
fn the_mean_is_that_of_the_plain_updates() {
    for clients in [3, 5, 12] {
        let job = Job::new(clients);
        let aggregate = Run::new(&job, parameters(clients)).finish([NOBODY; 5]);
        assert_eq!(aggregate.survivors.len(), clients);
        assert!(aggregate.dropped.is_empty());
        assert!(aggregate.blamed.is_empty());
    }
}

#[test]
fn clients_can_drop_out_in_every_step() {
    let job = Job::new(10);
    let at = |step: usize| {
        let mut dropped = [NOBODY; 5];
        dropped[step] = &["client-003", "client-007"];
        Run::new(&job, parameters(10)).finish(dropped)
    };
    for (step, survivors, dropped) in [(0, 8, 0), (1, 8, 0), (2, 8, 2), (3, 10, 0), (4, 10, 0)] {
        let aggregate = at(step);
        assert_eq!(aggregate.survivors.len(), survivors, "step {step}");
        assert_eq!(aggregate.dropped.len(), dropped, "step {step}");
    }
    let aggregate = Run::new(&job, parameters(10)).finish([
        &["client-000"],
        &["client-004"],
        &["client-009"],
        NOBODY,
        NOBODY,
    ]);
    assert_eq!(aggregate.dropped, ["client-009"]);
    assert_eq!(aggregate.survivors.len(), 7);
}

#[test]
fn a_round_with_too_few_clients_fails_and_names_what_is_missing() {
    let job = Job::new(4);
    let mut run = Run::new(&job, parameters(4));
    let messages = run.answers(&["client-000", "client-001"]);
    let failed = run.deliver(&messages).unwrap_err();
    assert_eq!(
        failed.to_string(),
        "clients that advertised keys: 2; the round needs 3"
    );
    // Each client's share holders must answer: 3 of 3 here.
    let mut run = Run::new(&job, parameters(4));
    for _ in 0..4 {
        run.step(NOBODY);
    }
    let messages = run.answers(&["client-002"]);
    let failed = run.deliver(&messages).unwrap_err();
    assert_eq!(
        failed,
        AggregateError::TooFew {
            what: "valid shares of a client's secret",
            found: 2,
            minimum: 3
        }
    );
}

fn sparse(clients: usize) -> Parameters {
    Parameters {
        neighbours: 20,
        threshold: 700,
        cohort_min: clients - 5,
        ..parameters(clients)
    }
}

#[test]
fn a_sparse_graph_gives_the_same_mean_with_dropouts() {
    let mut job = Job::new(45);
    // A cohort this small is checked against few corrupt clients.
    job.floors.corrupt = 20;
    let aggregate = Run::new(&job, sparse(45)).finish([
        NOBODY,
        NOBODY,
        &["client-011", "client-030"],
        &["client-001"],
        NOBODY,
    ]);
    assert_eq!(aggregate.survivors.len(), 43);
    assert_eq!(aggregate.dropped, ["client-011", "client-030"]);
}

#[test]
fn a_hundred_clients_finish_with_ten_dropouts() {
    let job = Job::new(100);
    let parameters = Parameters {
        neighbours: 40,
        threshold: 650,
        cohort_min: 80,
        ..parameters(100)
    };
    let gone: Vec<String> = (0..10).map(|at| format!("client-{:03}", at * 9)).collect();
    let gone: Vec<&str> = gone.iter().map(String::as_str).collect();
    let aggregate = Run::new(&job, parameters).finish([NOBODY, NOBODY, &gone, NOBODY, NOBODY]);
    assert_eq!(aggregate.survivors.len(), 90);
}

#[test]
fn lengths_around_the_blocks_and_all_widths_are_aggregated() {
    let mut job = Job::new(3);
    job.floors.bits = 4;
    for (length, bits, ring_bits) in [
        (1, 4, 6),
        (2047, 20, 22),
        (2048, 8, 10),
        (2049, 22, 24),
        (4096, 28, 32),
        (5000, 28, 30),
        (7, 24, 31),
    ] {
        let parameters = Parameters {
            length,
            bits,
            ring_bits,
            weight_max: 3,
            ..parameters(3)
        };
        job.round(parameters, 1);
        Run::new(&job, parameters).finish([NOBODY; 5]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn any_clients_may_drop_out_of_any_step(steps in proptest::collection::vec(0usize..12, 9)) {
        let job = Job::new(9);
        // A client that drops out of step 5 or later stays; at most two drop out.
        let gone: Vec<(String, usize)> = steps
            .iter()
            .enumerate()
            .filter(|(_, step)| **step < 5)
            .map(|(client, step)| (format!("client-{client:03}"), *step))
            .take(2)
            .collect();
        let in_step = |wanted: usize| -> Vec<&str> {
            let here = gone.iter().filter(|(_, step)| *step == wanted);
            here.map(|(name, _)| name.as_str()).collect()
        };
        let lists: Vec<Vec<&str>> = (0..5).map(in_step).collect();
        let dropped = [0, 1, 2, 3, 4].map(|step| lists[step].as_slice());
        let aggregate = Run::new(&job, parameters(9)).finish(dropped);
        prop_assert!(aggregate.survivors.len() >= 7);
    }
}
