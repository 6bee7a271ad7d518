//! What a client of secure aggregation computes in a round, step by step.
//!
//! `cargo bench -p casemate-train --bench aggregate [-- CLIENTS COORDINATES]`
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    reason = "a tool that stops on the first failure and reads the clock"
)]

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use casemate_crypto::{kem::KemPrivateKey, random, signature::SigningKey, suite};
use casemate_train::{
    Identity, Roster,
    aggregate::{
        AggregationPolicy, Client, Floors, Outgoing, Parameters, Participation, Round, Server,
    },
};

const NOW: u64 = 1_800_000_000;

fn fill(out: &mut [u8]) -> Result<(), casemate_crypto::Error> {
    random::fill(out)
}

fn parameters(clients: usize, length: usize) -> Parameters {
    Parameters {
        length,
        bits: 20,
        ring_bits: 20 + usize::BITS - (clients - 1).leading_zeros(),
        clip_nano: 1_000_000_000,
        weight_max: 1,
        cohort_min: (clients - clients / 10).max(3),
        cohort_max: clients,
        neighbours: 0,
        threshold: 667,
        noise: None,
    }
}

type Messages = BTreeMap<String, Vec<u8>>;

struct Job {
    keys: BTreeMap<String, SigningKey>,
    round: Round,
    aggregator: KemPrivateKey,
    floors: Floors,
    server: Server,
}

impl Job {
    fn new(clients: usize, length: usize) -> Self {
        let keys: BTreeMap<String, SigningKey> = (0..clients)
            .map(|at| {
                let key = SigningKey::generate(&suite::MLDSA65_ED25519).unwrap();
                (format!("client-{at:03}"), key)
            })
            .collect();
        let members: Vec<_> = keys
            .iter()
            .map(|(name, key)| (name.as_str(), key.verifying_key()))
            .collect();
        let roster = Arc::new(Roster::new([1; 16], 1, NOW, NOW + 1, &members).unwrap());
        let aggregator = KemPrivateKey::generate(&suite::MLKEM768_X25519).unwrap();
        let parameters = parameters(clients, length);
        let policy = AggregationPolicy::new(&roster, parameters, aggregator.public_key()).unwrap();
        let round = Round::new(roster, Arc::new(policy), 1, &[0; 48]).unwrap();
        Self {
            keys,
            server: Server::new(round.clone(), &aggregator).unwrap(),
            round,
            aggregator,
            floors: Floors::default(),
        }
    }

    fn with<'a>(&'a self, name: &'a str) -> Participation<'a> {
        Participation {
            round: &self.round,
            floors: &self.floors,
            own: Identity {
                name,
                key: self.keys.get(name).unwrap(),
            },
            now: NOW,
        }
    }

    /// Runs one step of every client and the server's, and prints both.
    fn step<T>(
        &mut self,
        label: &str,
        clients: BTreeMap<String, T>,
        mut answer: impl FnMut(&Self, &str, T) -> (Option<Client>, Vec<u8>),
    ) -> (BTreeMap<String, Client>, Outgoing) {
        let (mut next, mut times, mut messages) = (BTreeMap::new(), Vec::new(), Messages::new());
        for (name, client) in clients {
            let start = Instant::now();
            let (client, message) = answer(self, &name, client);
            times.push(start.elapsed().as_secs_f64() * 1e3);
            messages.insert(name.clone(), message);
            next.extend(client.map(|client| (name, client)));
        }
        times.sort_by(f64::total_cmp);
        let median = times.get(times.len() / 2).unwrap();
        let bytes = messages.values().map(Vec::len).max().unwrap();
        let start = Instant::now();
        for message in messages.values() {
            self.server.receive(message, &self.aggregator).unwrap();
        }
        let outgoing = self.server.close().unwrap();
        let server = start.elapsed().as_secs_f64() * 1e3;
        println!("{label:<14} client {median:9.2} ms, {bytes:>9} bytes   server {server:9.2} ms");
        (next, outgoing)
    }
}

fn messages(outgoing: Outgoing) -> Messages {
    match outgoing {
        Outgoing::Each(messages) => messages,
        Outgoing::All { to, message } => {
            to.into_iter().map(|name| (name, message.clone())).collect()
        }
        Outgoing::Aggregate(_) => Messages::new(),
    }
}

fn main() {
    let numbers: Vec<usize> = std::env::args()
        .filter_map(|word| word.parse().ok())
        .collect();
    let clients = numbers.first().copied().unwrap_or(10);
    let length = numbers.get(1).copied().unwrap_or(10_000_000);
    let mut job = Job::new(clients, length);
    println!(
        "{clients} clients, {length} coordinates: plain fp32 has {} bytes",
        length * 4
    );
    let values: Vec<f32> = (0..length).map(|at| (at as f32 * 0.37).sin()).collect();
    let all = job.keys.keys().map(|name| (name.clone(), ())).collect();
    let (clients, sent) = job.step("advertise", all, |job, name, ()| {
        let (client, message) = Client::advertise(&job.with(name), &mut fill).unwrap();
        (Some(client), message)
    });
    let sent = messages(sent);
    let (clients, sent) = job.step("share", clients, |job, name, client| {
        let cohort = sent.get(name).unwrap();
        let (client, message) = client.share(&job.with(name), cohort, &mut fill).unwrap();
        (Some(client), message)
    });
    let sent = messages(sent);
    let (clients, sent) = job.step("mask", clients, |job, name, client| {
        let inbox = sent.get(name).unwrap();
        let update = (values.as_slice(), 1);
        let (client, update) = client
            .mask(&job.with(name), inbox, update, &mut fill)
            .unwrap();
        let mut message = update.head;
        message.extend_from_slice(&update.vector);
        (Some(client), message)
    });
    let sent = messages(sent);
    let (clients, sent) = job.step("agree", clients, |job, name, client| {
        let (client, message) = client
            .agree(&job.with(name), sent.get(name).unwrap())
            .unwrap();
        (Some(client), message)
    });
    let sent = messages(sent);
    job.step("reveal", clients, |job, name, client| {
        let agreements = sent.get(name).unwrap();
        let message = client
            .reveal(&job.with(name), agreements, &mut || true)
            .unwrap();
        (None, message)
    });
}
