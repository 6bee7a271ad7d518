//! Keys and messages of others, of other models and of other rounds.

use casemate_crypto::{Error, Purpose};

use super::{
    FIRST, FIRST_ADVERTISEMENT, HEAD, NOBODY, after,
    job::{Job, Run, parameters},
    refused,
};
use crate::{
    aggregate::{AggregateError, Client, Server},
    tests::{assert_text, fill},
};

#[test]
fn a_generator_that_fails_ends_the_round_and_each_secret_has_256_bits() {
    let job = Job::new(3);
    let round = job.round(parameters(3), 1);
    let with = job.with(&round, FIRST);
    let failed = Client::advertise(&with, &mut |_| Err(Error::Randomness)).unwrap_err();
    assert_eq!(failed, AggregateError::Crypto(Error::Randomness));
    // Each of the three secrets is drawn whole, and the keys follow from them.
    let mut drawn = Vec::new();
    let mut counting = |out: &mut [u8]| {
        drawn.push(out.len());
        out.fill(u8::try_from(drawn.len()).unwrap());
        Ok(())
    };
    let (_, one) = Client::advertise(&with, &mut counting).unwrap();
    assert_eq!(drawn, [32, 32, 32]);
    let (_, two) = Client::advertise(&with, &mut fill).unwrap();
    let keys = HEAD..HEAD + 2 * 1216;
    assert_ne!(one[keys.clone()], two[keys]);
}

#[test]
fn a_key_that_the_server_substituted_is_refused() {
    let job = Job::new(5);
    for at in [HEAD + 100, HEAD + 1216 + 100] {
        let mut run = after(&job, 1);
        // The second advertisement, as the first is the client's own.
        let length = usize::try_from(u32::from_be_bytes(
            run.sent[FIRST][3..7].try_into().unwrap(),
        ));
        let second = FIRST_ADVERTISEMENT + length.unwrap() + 4;
        let error = refused(&mut run, |cohort| cohort[second + at] ^= 1);
        assert_text(
            &error,
            "advertisement of `client-001`: its signature is not the client's",
        );
        let mut run = after(&job, 1);
        let error = refused(&mut run, |cohort| cohort[FIRST_ADVERTISEMENT + at] ^= 1);
        assert_text(
            &error,
            "cohort: it does not contain this client's advertisement",
        );
    }
}

#[test]
fn a_client_cannot_speak_for_another() {
    let job = Job::new(5);
    let mut run = after(&job, 0);
    let mut messages = run.answers(NOBODY);
    let taken = messages[FIRST].clone();
    // Another client's advertisement under the first one's position.
    let forged = messages.get_mut("client-001").unwrap();
    forged[1..3].copy_from_slice(&[0, 0]);
    let error = run.server.receive(forged, &job.aggregator).unwrap_err();
    assert_text(
        &error,
        "advertisement of `client-000`: its signature is not the client's",
    );
    run.server.receive(&taken, &job.aggregator).unwrap();
    let error = run.server.receive(&taken, &job.aggregator).unwrap_err();
    assert_text(
        &error,
        "advertisement of `client-000`: the client sent it already",
    );
}

#[test]
fn clients_that_start_from_another_model_are_refused_by_name() {
    let job = Job::new(5);
    let mut run = after(&job, 0);
    let other = job.round_from(parameters(5), 7, &[8; 48]);
    let (_, foreign) = Client::advertise(&job.with(&other, "client-004"), &mut fill).unwrap();
    let error = run.server.receive(&foreign, &job.aggregator).unwrap_err();
    assert_text(
        &error,
        "advertisement of `client-004`: it is of another round, model, policy or roster",
    );
    // A server that passes it on is refused by the clients.
    let messages = run.answers(NOBODY);
    run.deliver(&messages).unwrap();
    let error = refused(&mut run, |cohort| {
        let at = cohort
            .windows(3)
            .rposition(|bytes| bytes == [1, 0, 4])
            .unwrap();
        cohort.truncate(at - 4);
        cohort.extend_from_slice(&u32::try_from(foreign.len()).unwrap().to_be_bytes());
        cohort.extend_from_slice(&foreign);
    });
    assert_text(
        &error,
        "advertisement of `client-004`: it is of another round, model, policy or roster",
    );
}

#[test]
fn messages_of_another_round_are_refused_in_every_step() {
    let job = Job::new(5);
    let mut before = Vec::new();
    let mut run = after(&job, 0);
    for _ in 0..5 {
        let messages = run.answers(NOBODY);
        before.push(messages.clone());
        run.deliver(&messages).unwrap();
    }
    let round = job.round(parameters(5), 8);
    let mut run = Run::new(&job, parameters(5));
    run.server = Server::new(round.clone(), &job.aggregator).unwrap();
    run.round = round;
    for old in &before {
        let error = run
            .server
            .receive(&old[FIRST], &job.aggregator)
            .unwrap_err();
        assert_text(&error, "it is of another round, model, policy or roster");
        run.step(NOBODY);
    }
}

/// Changes both keys of an advertisement.
type Change<'a> = &'a dyn Fn(&mut [u8]);

#[test]
fn keys_that_every_client_would_refuse_leave_out_who_sent_them() {
    let job = Job::new(5);
    let mut run = after(&job, 0);
    let mut messages = run.answers(NOBODY);
    let keys = HEAD..HEAD + 2 * 1216;
    let others = messages["client-001"][keys.clone()].to_vec();
    let first = messages[FIRST].clone();
    let changes: [(Change<'_>, &str); 3] = [
        (
            &|keys| keys.copy_from_slice(&others),
            "another client has one of its keys",
        ),
        (
            &|keys| keys.copy_within(..1216, 1216),
            "or both are the same",
        ),
        // A coefficient of ML-KEM that is not reduced.
        (&|keys| keys[..3].fill(0xff), "a key is malformed"),
    ];
    run.server
        .receive(&messages["client-001"], &job.aggregator)
        .unwrap();
    for (change, rule) in changes {
        let mut bad = first[..keys.end].to_vec();
        change(&mut bad[keys.clone()]);
        let signature = job.keys[FIRST]
            .sign(Purpose::AGGREGATE_MESSAGE, &bad)
            .unwrap();
        bad.extend_from_slice(&signature);
        let error = run.server.receive(&bad, &job.aggregator).unwrap_err();
        assert_text(&error, "advertisement of `client-000`");
        assert_text(&error, rule);
    }
    messages.remove("client-001");
    run.deliver(&messages).unwrap();
}
