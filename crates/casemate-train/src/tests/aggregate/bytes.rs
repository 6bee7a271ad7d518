//! Messages and states that are cut or changed.

use super::{
    FIRST, NOBODY, after,
    job::{Job, parameters},
};
use crate::{
    aggregate::{AggregateError, Client},
    tests::fill,
};

#[test]
fn cut_and_changed_messages_are_refused_in_every_step_and_change_nothing() {
    let job = Job::new(4);
    let mut run = after(&job, 0);
    for _ in 0..5 {
        let messages = run.answers(NOBODY);
        let good = &messages[FIRST];
        let near = (0..60).chain((60..good.len()).step_by(211));
        for at in near {
            assert!(
                run.server.receive(&good[..at], &job.aggregator).is_err(),
                "{at}"
            );
            let mut bad = good.clone();
            bad[at] ^= 0x41;
            assert!(run.server.receive(&bad, &job.aggregator).is_err(), "{at}");
        }
        let long = [good.as_slice(), &[0]].concat();
        run.server.receive(&long, &job.aggregator).unwrap_err();
        run.deliver(&messages).unwrap();
    }
}

#[test]
fn what_a_server_sends_is_refused_if_it_is_cut_or_changed() {
    let job = Job::new(4);
    for steps in 1..5 {
        let run = after(&job, steps);
        let good = run.sent[FIRST].clone();
        let state = run.clients[FIRST].to_bytes();
        let with = job.with(&run.round, FIRST);
        let take = |message: &[u8]| {
            let client = Client::from_bytes(state.expose()).unwrap();
            match steps {
                1 => client.share(&with, message, &mut fill).map(drop),
                2 => client
                    .mask(&with, message, (&[0.0; 5], 1), &mut fill)
                    .map(drop),
                3 => client.agree(&with, message).map(drop),
                _ => client.reveal(&with, message, &mut || true).map(drop),
            }
        };
        take(&good).unwrap();
        for at in (0..20).chain((20..good.len()).step_by(1013)) {
            if at < good.len() {
                assert!(take(&good[..at]).is_err(), "step {steps}, cut at {at}");
            }
        }
        // Bytes of the client's own entry in the agreements are not read.
        let from = if steps == 4 { good.len() / 2 } else { 0 };
        for at in (from..good.len()).step_by(509) {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(take(&bad).is_err(), "step {steps}, byte {at}");
        }
    }
}

#[test]
fn a_stored_state_goes_on_and_a_damaged_or_foreign_one_is_refused() {
    let job = Job::new(4);
    let mut run = after(&job, 0);
    for _ in 0..4 {
        run.step(NOBODY);
        for client in run.clients.values_mut() {
            let stored = client.to_bytes();
            for at in (0..stored.expose().len()).step_by(7) {
                let mut bad = stored.expose().to_vec();
                bad[at] ^= 0x80;
                let same = Client::from_bytes(&bad)
                    .is_ok_and(|read| read.to_bytes().expose() == stored.expose());
                assert!(!same);
                Client::from_bytes(&bad[..at]).unwrap_err();
            }
            *client = Client::from_bytes(stored.expose()).unwrap();
        }
    }
    assert_eq!(run.step(NOBODY).unwrap().survivors.len(), 4);
    // The state of another round, or of another client.
    let mut run = after(&job, 1);
    let client = run.clients.remove(FIRST).unwrap();
    let state = client.to_bytes();
    let other = job.round(parameters(4), 8);
    let again = || Client::from_bytes(state.expose()).unwrap();
    let in_other = again().share(&job.with(&other, FIRST), &run.sent[FIRST], &mut fill);
    assert_eq!(in_other.unwrap_err(), AggregateError::OtherRound);
    let with = job.with(&run.round, "client-001");
    let as_other = again().share(&with, &run.sent[FIRST], &mut fill);
    assert_eq!(as_other.unwrap_err(), AggregateError::OtherRound);
}
