//! A job whose clients and server exchange messages in memory.

use std::{collections::BTreeMap, sync::Arc};

use casemate_crypto::{kem::KemPrivateKey, signature::SigningKey, suite};

use crate::{
    Identity, Roster,
    aggregate::{
        Aggregate, AggregateError, AggregationPolicy, Client, Floors, Outgoing, Parameters,
        Participation, Round, Server, Step,
    },
    tests::{JOB, NOW, fill, signing_key},
};

pub(super) const MODEL: [u8; 48] = [9; 48];

pub(super) struct Job {
    pub(super) owner: SigningKey,
    pub(super) keys: BTreeMap<String, SigningKey>,
    pub(super) roster: Arc<Roster>,
    pub(super) aggregator: KemPrivateKey,
    pub(super) floors: Floors,
}

/// Parameters of a complete graph, in which an update has 5 coordinates.
pub(super) fn parameters(clients: usize) -> Parameters {
    Parameters {
        length: 5,
        bits: 20,
        ring_bits: 27,
        clip_nano: 2_000_000_000,
        weight_max: 100,
        cohort_min: 3,
        cohort_max: clients,
        neighbours: 0,
        threshold: 667,
        noise: None,
    }
}

impl Job {
    pub(super) fn new(clients: usize) -> Self {
        let keys: BTreeMap<String, SigningKey> = (0..clients)
            .map(|at| (format!("client-{at:03}"), signing_key()))
            .collect();
        let members: Vec<_> = keys
            .iter()
            .map(|(name, key)| (name.as_str(), key.verifying_key()))
            .collect();
        let roster = Roster::new(JOB, 1, NOW, NOW + 1000, &members).unwrap();
        Self {
            owner: signing_key(),
            roster: Arc::new(roster),
            aggregator: KemPrivateKey::generate(&suite::MLKEM768_X25519).unwrap(),
            floors: Floors::default(),
            keys,
        }
    }

    pub(super) fn round(&self, parameters: Parameters, number: u64) -> Round {
        self.round_from(parameters, number, &MODEL)
    }

    pub(super) fn round_from(
        &self,
        parameters: Parameters,
        number: u64,
        model: &[u8; 48],
    ) -> Round {
        let policy = AggregationPolicy::new(&self.roster, parameters, self.aggregator.public_key());
        let policy = Arc::new(policy.unwrap());
        Round::new(Arc::clone(&self.roster), policy, number, model).unwrap()
    }

    pub(super) fn with<'a>(&'a self, round: &'a Round, name: &'a str) -> Participation<'a> {
        Participation {
            round,
            floors: &self.floors,
            own: Identity {
                name,
                key: &self.keys[name],
            },
            now: NOW,
        }
    }
}

/// Messages by the name of the client that receives or sent them.
pub(super) type Messages = BTreeMap<String, Vec<u8>>;

/// A round in progress.
pub(super) struct Run<'a> {
    pub(super) job: &'a Job,
    pub(super) round: Round,
    pub(super) server: Server,
    pub(super) clients: BTreeMap<String, Client>,
    pub(super) updates: BTreeMap<String, (Vec<f32>, u32)>,
    /// What the server sent last.
    pub(super) sent: Messages,
}

impl<'a> Run<'a> {
    /// Begins a round in which every client has an update and a weight of its own.
    pub(super) fn new(job: &'a Job, parameters: Parameters) -> Self {
        let round = job.round(parameters, 7);
        let updates = job.keys.keys().enumerate().map(|(client, name)| {
            let value = |at| ((client * 31 + at * 17) % 41) as f32 / 20.0 - 1.0;
            let values = (0..parameters.length).map(value).collect();
            let weight = u32::try_from(client).unwrap() % parameters.weight_max + 1;
            (name.clone(), (values, weight))
        });
        Self {
            job,
            server: Server::new(round.clone(), &job.aggregator).unwrap(),
            clients: BTreeMap::new(),
            updates: updates.collect(),
            sent: Messages::new(),
            round,
        }
    }

    /// Lets one client answer what the server sent, and returns its message.
    pub(super) fn answer(&mut self, name: &str) -> Result<Vec<u8>, AggregateError> {
        let with = self.job.with(&self.round, name);
        let Some(client) = self.clients.remove(name) else {
            let (client, message) = Client::advertise(&with, &mut fill)?;
            self.clients.insert(name.to_owned(), client);
            return Ok(message);
        };
        let received = &self.sent[name];
        let (client, message) = match client.expects() {
            Step::Cohort => client.share(&with, received, &mut fill)?,
            Step::Inbox => {
                let (values, weight) = &self.updates[name];
                let (client, update) =
                    client.mask(&with, received, (values, *weight), &mut fill)?;
                (client, [update.head, update.vector].concat())
            }
            Step::Survivors => client.agree(&with, received)?,
            _ => return client.reveal(&with, received, &mut || true),
        };
        self.clients.insert(name.to_owned(), client);
        Ok(message)
    }

    /// Returns the messages of all clients that the server waits for, except those in `dropped`.
    pub(super) fn answers(&mut self, dropped: &[&str]) -> Messages {
        let names: Vec<String> = if self.sent.is_empty() {
            self.job.keys.keys().cloned().collect()
        } else {
            self.sent.keys().cloned().collect()
        };
        let answering = names
            .into_iter()
            .filter(|name| !dropped.contains(&name.as_str()));
        answering
            .map(|name| {
                let message = self.answer(&name).unwrap();
                (name, message)
            })
            .collect()
    }

    /// Hands messages to the server and ends its step.
    pub(super) fn deliver(
        &mut self,
        messages: &Messages,
    ) -> Result<Option<Aggregate>, AggregateError> {
        for (name, message) in messages {
            assert_eq!(self.server.receive(message, &self.job.aggregator)?, *name);
        }
        match self.server.close()? {
            Outgoing::Each(sent) => {
                self.sent = sent;
                Ok(None)
            }
            Outgoing::All { to, message } => {
                self.sent = to.into_iter().map(|name| (name, message.clone())).collect();
                Ok(None)
            }
            Outgoing::Aggregate(aggregate) => Ok(Some(aggregate)),
        }
    }

    /// Takes a step in which these clients do not answer.
    pub(super) fn step(&mut self, dropped: &[&str]) -> Option<Aggregate> {
        let messages = self.answers(dropped);
        self.deliver(&messages).unwrap()
    }

    /// Goes through the whole round; `dropped` are the clients that do not answer in each step.
    pub(super) fn finish(mut self, dropped: [&[&str]; 5]) -> Aggregate {
        let updates = self.updates.clone();
        let mut result = None;
        for dropped in dropped {
            result = self.step(dropped);
        }
        let aggregate = result.unwrap();
        assert_mean(&aggregate, &updates, self.round.policy().parameters());
        aggregate
    }
}

/// Compares a mean with that of the plain updates.
pub(super) fn assert_mean(
    aggregate: &Aggregate,
    updates: &BTreeMap<String, (Vec<f32>, u32)>,
    parameters: &Parameters,
) {
    let of: Vec<_> = aggregate
        .survivors
        .iter()
        .map(|name| &updates[name])
        .collect();
    let total: u32 = of.iter().map(|(_, weight)| weight).sum();
    assert_eq!(aggregate.weight, u64::from(total));
    // One level for each client, scaled as the mean is.
    let level = 2.0 * parameters.clip_nano as f64 / 1e9 / f64::from((1u32 << parameters.bits) - 1);
    let most = level * of.len() as f64 * f64::from(parameters.weight_max) / f64::from(total);
    for (at, found) in aggregate.mean.iter().enumerate() {
        let sum: f64 = of
            .iter()
            .map(|(values, weight)| f64::from(values[at]) * f64::from(*weight))
            .sum();
        let wanted = sum / f64::from(total);
        assert!(
            (f64::from(*found) - wanted).abs() <= most + 1e-6,
            "{at}: {found} {wanted}"
        );
    }
}
