//! Shares and updates in the wrong hands, and wrong shares.

use casemate_crypto::Purpose;

use super::{
    FIRST, HEAD, NOBODY, after,
    job::{Job, Run, parameters},
    refused,
};
use crate::{aggregate::Outgoing, tests::assert_text};

#[test]
fn shares_for_another_client_or_from_another_round_do_not_open() {
    let job = Job::new(5);
    let other = after(&job, 2);
    let entries = 1 + 2 + 2 * 5 + 2;
    // The same client and model, but the keys of another run.
    let replayed = other.sent[FIRST].clone();
    let mut run = after(&job, 2);
    let error = refused(&mut run, |inbox| inbox.clone_from(&replayed));
    assert_text(&error, "inbox of `client-001`: a share does not open");
    // What was sealed for another client.
    let mut run = after(&job, 2);
    let sealed = 1120 + 80 + 1120 + 48 + 96;
    // The second client's inbox from the third one, in the same place.
    let foreign = run.sent["client-001"].clone();
    let error = refused(&mut run, |inbox| {
        let at = entries + 2 + sealed + 2;
        inbox[at..at + sealed].copy_from_slice(&foreign[at..at + sealed]);
    });
    assert_text(&error, "inbox of `client-002`: a share does not open");
    let mut run = after(&job, 2);
    let error = refused(&mut run, |inbox| *inbox.last_mut().unwrap() ^= 1);
    assert_text(
        &error,
        "inbox of `client-004`: a share does not match its commitment",
    );
}

#[test]
fn the_late_vector_of_a_dropped_client_stays_masked() {
    let job = Job::new(5);
    let mut run = after(&job, 2);
    let messages = run.answers(NOBODY);
    let late = messages["client-003"].clone();
    let mut rest = messages;
    rest.remove("client-003");
    run.deliver(&rest).unwrap();
    let error = run.server.receive(&late, &job.aggregator).unwrap_err();
    assert_text(&error, "agreement: another message came instead");
    run.step(NOBODY);
    // The server now learns the mask seed, but nobody gives it a share of the self seed.
    let reveals = run.answers(NOBODY);
    for reveal in reveals.values() {
        run.server.receive(reveal, &job.aggregator).unwrap();
    }
    let kinds = run.server.revealed_kinds(3);
    assert_eq!(kinds, [1, 1, 1, 1]);
    let Outgoing::Aggregate(aggregate) = run.server.close().unwrap() else {
        panic!("the round is not over");
    };
    assert_eq!(aggregate.dropped, ["client-003"]);
}

#[test]
fn masked_vectors_of_the_same_update_have_nothing_in_common() {
    let job = Job::new(3);
    let vector = |run: &mut Run<'_>| {
        let update = run.answers(NOBODY)[FIRST].clone();
        update[update.len() - parameters(3).vector_bytes()..].to_vec()
    };
    let (one, two) = (vector(&mut after(&job, 2)), vector(&mut after(&job, 2)));
    let same = one.iter().zip(&two).filter(|(a, b)| a == b).count();
    assert!(same < 6, "{same} of {} bytes are equal", one.len());
}

/// Signs what a client of the tests changed in its message.
fn sign_again(job: &Job, name: &str, message: &mut Vec<u8>, signature_bytes: usize) {
    message.truncate(message.len() - signature_bytes);
    let signature = job.keys[name]
        .sign(Purpose::AGGREGATE_MESSAGE, message)
        .unwrap();
    message.extend_from_slice(&signature);
}

#[test]
fn a_client_that_gives_out_shares_that_do_not_match_is_named_by_its_holders() {
    let job = Job::new(5);
    let mut run = after(&job, 1);
    let mut messages = run.answers(NOBODY);
    // The commitment of the first holder's share, which is the last 48 bytes of the entry.
    let entry = 2 + 1120 + 80 + 1120 + 48 + 96;
    let changed = messages.get_mut("client-002").unwrap();
    changed[HEAD + 48 + 2 + entry - 1] ^= 1;
    let signature_bytes = changed.len() - (HEAD + 48 + 2 + 4 * entry);
    sign_again(&job, "client-002", changed, signature_bytes);
    run.deliver(&messages).unwrap();
    let error = run.answer(FIRST).unwrap_err();
    assert_text(
        &error,
        "inbox of `client-002`: a share does not match its commitment",
    );
}

#[test]
fn a_client_whose_shares_restore_another_seed_is_named_and_the_round_fails() {
    let job = Job::new(5);
    let mut run = after(&job, 1);
    let mut messages = run.answers(NOBODY);
    // The commitment to the whole self seed.
    let changed = messages.get_mut("client-002").unwrap();
    changed[HEAD] ^= 1;
    let entry = 2 + 1120 + 80 + 1120 + 48 + 96;
    let signature_bytes = changed.len() - (HEAD + 48 + 2 + 4 * entry);
    sign_again(&job, "client-002", changed, signature_bytes);
    run.clients
        .get_mut("client-002")
        .unwrap()
        .set_shares_hash(changed);
    run.deliver(&messages).unwrap();
    for _ in 0..2 {
        run.step(NOBODY);
    }
    let messages = run.answers(NOBODY);
    let error = run.deliver(&messages).unwrap_err();
    assert_text(
        &error,
        "shares of `client-002`: its shares do not restore its secret",
    );
}

#[test]
fn a_holder_that_reveals_a_wrong_share_is_blamed_and_left_out() {
    let job = Job::new(6);
    let mut run = after(&job, 4);
    run.clients
        .get_mut("client-005")
        .unwrap()
        .spoil_held_share(1);
    let messages = run.answers(NOBODY);
    let aggregate = run.deliver(&messages).unwrap().unwrap();
    let [blame] = aggregate.blamed.as_slice() else {
        panic!("{:?}", aggregate.blamed);
    };
    assert_eq!(
        (blame.name.as_str(), blame.of.as_str()),
        ("client-005", "client-001")
    );
    assert_eq!(aggregate.survivors.len(), 6);
}

#[test]
fn a_reveal_for_another_aggregator_or_changed_is_refused() {
    let job = Job::new(5);
    let mut run = after(&job, 4);
    let reveal = run.answer(FIRST).unwrap();
    let other = Job::new(3);
    let error = run.server.receive(&reveal, &other.aggregator).unwrap_err();
    assert_text(
        &error,
        "reveal of `client-000`: it does not open with the aggregator's key",
    );
    let mut bad = reveal.clone();
    *bad.last_mut().unwrap() ^= 1;
    run.server.receive(&bad, &job.aggregator).unwrap_err();
    run.server.receive(&reveal, &job.aggregator).unwrap();
}

#[test]
fn nobody_reveals_in_the_name_of_another_client() {
    let job = Job::new(5);
    let mut run = after(&job, 4);
    let messages = run.answers(NOBODY);
    // A client that signs with its own key, and a reveal of another attempt at the same round.
    let mut forged = messages["client-004"].clone();
    forged[1..3].copy_from_slice(&1u16.to_be_bytes());
    let mut other = after(&job, 4);
    let replayed = other.answer("client-001").unwrap();
    for reveal in [forged, replayed] {
        let error = run.server.receive(&reveal, &job.aggregator).unwrap_err();
        assert_text(
            &error,
            "reveal of `client-001`: its signature is not the client's",
        );
    }
    let aggregate = run.deliver(&messages).unwrap().unwrap();
    assert_eq!(aggregate.blamed, []);
    assert_eq!(aggregate.survivors.len(), 5);
}

#[test]
fn a_sum_that_no_updates_within_the_limits_have_is_refused() {
    let job = Job::new(4);
    // The weights are 1 to 4, of at most 100; a coordinate is at most 2^20 - 1.
    for (at, value) in [(5, 0u32.wrapping_sub(7)), (5, 391), (0, 4 << 20)] {
        let mut run = after(&job, 3);
        run.server.add_to_sum(at, value);
        run.step(NOBODY);
        let messages = run.answers(NOBODY);
        let result = run.deliver(&messages);
        let error = result.map(drop).unwrap_err();
        assert_text(&error, "masked update: the sum is out of range");
    }
}
