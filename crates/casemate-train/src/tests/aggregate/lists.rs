//! Servers that hide, invent or split clients, or ask twice.

use super::{
    FIRST, HEAD, NOBODY, after,
    job::{Job, Messages, Run, parameters},
    refused,
};
use crate::{
    aggregate::{AggregateError, Client, Parameters, Step},
    tests::{assert_text, fill},
};

#[test]
fn an_inbox_that_hides_or_invents_clients_is_refused() {
    let job = Job::new(5);
    for (list, rule) in [
        (vec![0, 1], "clients that sent shares: 2; the round needs 3"),
        (vec![1, 2, 3, 4], "it does not list this client"),
        (
            vec![0, 1, 2, 3],
            "it has shares of someone whom it does not list",
        ),
        (vec![0, 1, 1, 3], "its members are not in ascending order"),
        (vec![0, 3, 1], "its members are not in ascending order"),
        (
            vec![0, 1, 2, 3, 9],
            "it names someone who is not in the roster",
        ),
    ] {
        let mut run = after(&job, 2);
        let error = refused(&mut run, |inbox| {
            let mut changed = vec![4];
            changed.extend_from_slice(&u16::try_from(list.len()).unwrap().to_be_bytes());
            list.iter()
                .for_each(|at: &u16| changed.extend_from_slice(&at.to_be_bytes()));
            changed.extend_from_slice(&inbox[3 + 10..]);
            *inbox = changed;
        });
        assert_text(&error, rule);
    }
    // A member's shares are withheld.
    let mut run = after(&job, 2);
    let error = refused(&mut run, |inbox| {
        let len = inbox.len();
        inbox.truncate(len - (len - 15) / 4);
        inbox[14] = 3;
    });
    assert_text(&error, "shares of a client that it lists are missing");
}

/// Returns a list of survivors as the server sends it.
fn survivors(list: &[u16]) -> Vec<u8> {
    let mut message = vec![6];
    message.extend_from_slice(&u16::try_from(list.len()).unwrap().to_be_bytes());
    list.iter()
        .for_each(|at| message.extend_from_slice(&at.to_be_bytes()));
    message
}

#[test]
fn lists_of_survivors_that_overlap_or_shrink_are_refused() {
    let job = Job::new(5);
    for (list, rule) in [
        (survivors(&[0, 1]), "survivors: 2; the round needs 3"),
        (survivors(&[1, 2, 3, 4]), "it does not contain this client"),
        (
            survivors(&[0, 1, 1, 2]),
            "its members are not in ascending order",
        ),
        (
            survivors(&[2, 1, 0]),
            "its members are not in ascending order",
        ),
        (
            survivors(&[0, 1, 2, 7]),
            "it names someone who is not in the roster",
        ),
        (
            [survivors(&[0, 1, 2]), vec![0]].concat(),
            "bytes follow its end",
        ),
        (survivors(&[0, 1, 2])[..7].to_vec(), "it is too short"),
    ] {
        let mut run = after(&job, 3);
        let error = refused(&mut run, |sent| sent.clone_from(&list));
        assert_text(&error, rule);
    }
    // Someone who never sent shares.
    let mut run = after(&job, 1);
    run.step(&["client-004"]);
    run.step(NOBODY);
    let error = refused(&mut run, |sent| {
        sent.clone_from(&survivors(&[0, 1, 2, 3, 4]));
    });
    assert_text(&error, "it names someone who was not in the inbox");
}

#[test]
fn a_server_that_shows_clients_different_survivors_gets_no_shares() {
    let job = Job::new(6);
    let mut run = after(&job, 3);
    // Half of the clients are told that the last one dropped out, to learn both of its secrets.
    let short = survivors(&[0, 1, 2, 3, 4]);
    for name in [FIRST, "client-001", "client-002"] {
        run.sent.insert(name.to_owned(), short.clone());
    }
    let agreements = run.answers(NOBODY);
    let signature = |name: &str| agreements[name][3 + 48 + 2 * 48..].to_vec();
    let collect = |names: &[&str]| {
        let mut message = vec![8];
        message.extend_from_slice(&u16::try_from(names.len()).unwrap().to_be_bytes());
        for name in names {
            let at: u16 = name[7..].parse().unwrap();
            message.extend_from_slice(&at.to_be_bytes());
            let signature = signature(name);
            message.extend_from_slice(&u32::try_from(signature.len()).unwrap().to_be_bytes());
            message.extend_from_slice(&signature);
        }
        message
    };
    // Those who signed the same list are too few; 4 of 5 share holders are needed.
    let same = collect(&["client-001", "client-002"]);
    let error = refused(&mut run, |sent| *sent = same);
    assert_text(
        &error,
        "share holders that agree on the survivors: 2; the round needs 4",
    );
    // The others' signatures are over another list.
    let all = collect(&[
        "client-000",
        "client-002",
        "client-003",
        "client-004",
        "client-005",
    ]);
    run.sent.insert("client-001".to_owned(), all);
    let error = run.answer("client-001").unwrap_err();
    assert_text(
        &error,
        "agreements of `client-003`: its signature does not cover this list of survivors",
    );
    // The server itself does not take an agreement on another list either.
    let error = run
        .server
        .receive(&agreements[FIRST], &job.aggregator)
        .unwrap_err();
    assert_text(
        &error,
        "agreement of `client-000`: it is for another list of survivors",
    );
}

#[test]
fn agreements_that_are_repeated_do_not_count_twice() {
    let job = Job::new(5);
    let mut run = after(&job, 4);
    let error = refused(&mut run, |sent| {
        let entry = (sent.len() - 3) / 5;
        let one = sent[3 + entry..3 + 2 * entry].to_vec();
        *sent = [vec![8, 0, 4], one.repeat(4)].concat();
    });
    assert_text(&error, "agreements: its members are not in ascending order");
}

#[test]
fn a_client_answers_once_and_only_after_it_recorded_that() {
    let job = Job::new(5);
    let mut run = after(&job, 4);
    let client = run.clients.remove(FIRST).unwrap();
    let stored = client.to_bytes();
    let round = run.round.clone();
    let with = job.with(&round, FIRST);
    let refused = client
        .reveal(&with, &run.sent[FIRST], &mut || false)
        .unwrap_err();
    assert_eq!(refused, AggregateError::NotRecorded);
    // The record is asked for once, and before the answer exists.
    let client = Client::from_bytes(stored.expose()).unwrap();
    let mut records = 0;
    client
        .reveal(&with, &run.sent[FIRST], &mut || {
            records += 1;
            true
        })
        .unwrap();
    assert_eq!(records, 1);
    // A client that is asked for something that it has already given refuses by phase.
    let mut run = after(&job, 3);
    let inbox = Messages::from([(FIRST.to_owned(), vec![4])]);
    let client = run.clients.remove(FIRST).unwrap();
    let error = client
        .mask(&with, &inbox[FIRST], (&[0.0; 5], 1), &mut fill)
        .unwrap_err();
    assert_eq!(
        error,
        AggregateError::Phase {
            expected: Step::Survivors,
            found: Step::Inbox
        }
    );
}

#[test]
fn in_a_sparse_graph_the_client_chooses_and_the_server_cannot_overload_it() {
    let mut job = Job::new(30);
    job.floors.corrupt = 0;
    job.floors.neighbours = 5;
    let sparse = Parameters {
        neighbours: 6,
        threshold: 700,
        cohort_min: 29,
        ..parameters(30)
    };
    let mut run = Run::new(&job, sparse);
    run.step(NOBODY);
    let shares = run.answers(NOBODY);
    let holders = |name: &str| -> Vec<u16> {
        let entry = 2 + 1120 + 80 + 1120 + 48 + 96;
        let place = |at: usize| HEAD + 48 + 2 + at * entry;
        (0..6)
            .map(|at| {
                let bytes = &shares[name][place(at)..place(at) + 2];
                u16::from_be_bytes(bytes.try_into().unwrap())
            })
            .collect()
    };
    let all: std::collections::HashSet<Vec<u16>> =
        shares.keys().map(|name| holders(name)).collect();
    assert!(all.len() > 28, "the choices are {all:?}");
    run.deliver(&shares).unwrap();
    // Four times as many senders as a client chooses are too many.
    let whole = run.sent[FIRST].clone();
    let at = 1 + 2 + 2 * 30;
    let state = run.clients[FIRST].to_bytes();
    for (count, rule) in [
        (25u16, "too many clients chose this one"),
        (24, "it is too short"),
    ] {
        let mut changed = whole.clone();
        changed[at..at + 2].copy_from_slice(&count.to_be_bytes());
        run.sent.insert(FIRST.to_owned(), changed);
        let error = run.answer(FIRST).unwrap_err();
        assert_text(&error, rule);
        let again = Client::from_bytes(state.expose()).unwrap();
        run.clients.insert(FIRST.to_owned(), again);
    }
    run.sent.insert(FIRST.to_owned(), whole);
    run.step(NOBODY);
    assert_eq!(run.server.collects(), Some(Step::Agreement));
}

#[test]
fn agreements_from_an_earlier_attempt_at_the_round_do_not_count() {
    let job = Job::new(5);
    // The server keeps the agreements on all survivors, and begins the same round again.
    let first = after(&job, 4);
    let old = first.sent[FIRST].clone();
    let mut again = after(&job, 4);
    assert_eq!(first.round.context(), again.round.context());
    let error = refused(&mut again, |sent| *sent = old);
    assert_text(
        &error,
        "agreements of `client-001`: its signature does not cover this list of survivors",
    );
}
