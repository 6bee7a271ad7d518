//! A model that several clients train together, and whose updates nobody sees: softmax regression
//! on handwritten digits (assets/digits/README.md), with secure aggregation and beside it with
//! plain averaging.

use std::{collections::BTreeMap, sync::Arc};

use casemate_crypto::{
    kem::KemPrivateKey,
    random,
    signature::SigningKey,
    suite::{MLDSA65_ED25519, MLKEM768_X25519},
};
use casemate_train::{
    Identity, Roster,
    aggregate::{
        Aggregate, AggregateError, AggregationPolicy, Client, Floors, Outgoing, Parameters,
        Participation, Round, Server, Wishes,
    },
};

const EXAMPLES: &[u8] = include_bytes!("../../../../assets/digits/examples.bin");
const PIXELS: usize = 64;
const CLASSES: usize = 10;
/// A weight for each pixel and a constant, for each class.
const WEIGHTS: usize = (PIXELS + 1) * CLASSES;
const TRAINING: usize = 500;
const CLIENTS: usize = 5;
const ROUNDS: u64 = 12;
/// Steps of a client between two rounds, and their size.
const STEPS: usize = 5;
const RATE: f32 = 0.5;
/// The round in which one client sends no update, and the client.
const DROPOUT: (u64, usize) = (3, 2);
/// The time at which everything happens.
const NOW: u64 = 1;

type Messages = BTreeMap<String, Vec<u8>>;

struct Example {
    input: [f32; PIXELS + 1],
    label: usize,
}

fn examples() -> Vec<Example> {
    let (rows, _) = EXAMPLES.as_chunks::<{ PIXELS + 1 }>();
    let example = |row: &[u8; PIXELS + 1]| {
        let mut input = [1.0; PIXELS + 1];
        let (pixels, label) = row.split_at(PIXELS);
        for (to, pixel) in input.iter_mut().zip(pixels) {
            *to = f32::from(*pixel) / 16.0;
        }
        let label = label.first().copied().unwrap_or_default().into();
        Example { input, label }
    };
    rows.iter().map(example).collect()
}

/// Returns the scores of the classes.
fn scores(weights: &[f32], input: &[f32; PIXELS + 1]) -> [f32; CLASSES] {
    let mut scores = [0.0; CLASSES];
    for (row, value) in weights.chunks(CLASSES).zip(input) {
        for (score, weight) in scores.iter_mut().zip(row) {
            *score += weight * value;
        }
    }
    scores
}

/// Trains on a client's examples; returns how the weights change.
#[expect(clippy::cast_precision_loss, reason = "there are hundreds of examples")]
fn train(weights: &[f32], examples: &[&Example]) -> Vec<f32> {
    let mut own = weights.to_vec();
    let rate = RATE / examples.len() as f32;
    for _ in 0..STEPS {
        let mut gradient = vec![0.0; WEIGHTS];
        for example in examples {
            let mut chances = scores(&own, &example.input);
            let highest = chances.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            chances
                .iter_mut()
                .for_each(|chance| *chance = (*chance - highest).exp());
            let sum: f32 = chances.iter().sum();
            chances.iter_mut().for_each(|chance| *chance /= sum);
            if let Some(chance) = chances.get_mut(example.label) {
                *chance -= 1.0;
            }
            for (row, value) in gradient.chunks_mut(CLASSES).zip(example.input) {
                for (slope, chance) in row.iter_mut().zip(chances) {
                    *slope += chance * value;
                }
            }
        }
        for (weight, slope) in own.iter_mut().zip(&gradient) {
            *weight -= rate * slope;
        }
    }
    own.iter()
        .zip(weights)
        .map(|(after, before)| after - before)
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "there are hundreds of examples")]
fn accuracy(weights: &[f32], examples: &[&Example]) -> f64 {
    let is_right = |example: &&&Example| {
        let scores = scores(weights, &example.input);
        let best = scores.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
        best.is_some_and(|(class, _)| class == example.label)
    };
    let right = examples.iter().filter(is_right).count();
    100.0 * right as f64 / examples.len() as f64
}

/// Who takes part, and on which terms.
struct Job {
    keys: BTreeMap<String, SigningKey>,
    roster: Arc<Roster>,
    policy: Arc<AggregationPolicy>,
    aggregator: KemPrivateKey,
    floors: Floors,
}

fn fill(out: &mut [u8]) -> Result<(), casemate_crypto::Error> {
    random::fill(out)
}

impl Job {
    fn new() -> Result<Self, AggregateError> {
        let keys = (0..CLIENTS)
            .map(|at| {
                Ok((
                    format!("client-{at}"),
                    SigningKey::generate(&MLDSA65_ED25519)?,
                ))
            })
            .collect::<Result<BTreeMap<_, _>, casemate_crypto::Error>>()?;
        let members: Vec<_> = keys
            .iter()
            .map(|(name, key)| (name.as_str(), key.verifying_key()))
            .collect();
        let roster = Roster::new([0; 16], 1, NOW, NOW.saturating_add(1), &members)?;
        let aggregator = KemPrivateKey::generate(&MLKEM768_X25519)?;
        let floors = Floors::default();
        let wishes = Wishes {
            length: WEIGHTS,
            clip_nano: 2_000_000_000,
            cohort: (3, CLIENTS),
            weight_max: 1,
            bits: 20,
            noise: None,
        };
        let parameters = Parameters::recommended(&wishes, &floors, CLIENTS)?;
        let policy = AggregationPolicy::new(&roster, parameters, aggregator.public_key())?;
        Ok(Self {
            keys,
            roster: Arc::new(roster),
            policy: Arc::new(policy),
            aggregator,
            floors,
        })
    }

    fn round(&self, number: u64) -> Result<Round, AggregateError> {
        let (roster, policy) = (Arc::clone(&self.roster), Arc::clone(&self.policy));
        // The weights are the same for all clients by construction.
        Round::new(roster, policy, number, &[0; 48])
    }

    fn with<'a>(
        &'a self,
        round: &'a Round,
        name: &'a str,
    ) -> Result<Participation<'a>, AggregateError> {
        Ok(Participation {
            round,
            floors: &self.floors,
            own: Identity {
                name,
                key: self.keys.get(name).ok_or(AggregateError::NotInRound)?,
            },
            now: NOW,
        })
    }

    /// Hands the clients' messages to the server, and returns what it answers.
    fn deliver(
        &self,
        server: &mut Server,
        messages: &Messages,
    ) -> Result<Outgoing, AggregateError> {
        for message in messages.values() {
            server.receive(message, &self.aggregator)?;
        }
        server.close()
    }

    /// Lets each client of a step answer what it was sent.
    fn answer(
        &self,
        round: &Round,
        clients: &mut BTreeMap<String, Client>,
        sent: Outgoing,
        step: impl Fn(
            Client,
            &Participation<'_>,
            &str,
            &[u8],
        ) -> Result<(Option<Client>, Vec<u8>), AggregateError>,
    ) -> Result<Messages, AggregateError> {
        let sent: Messages = match sent {
            Outgoing::All { to, message } => {
                to.into_iter().map(|name| (name, message.clone())).collect()
            }
            Outgoing::Each(messages) => messages,
            Outgoing::Aggregate(_) => Messages::new(),
        };
        let mut answers = Messages::new();
        for (name, message) in sent {
            let Some(client) = clients.remove(&name) else {
                continue;
            };
            let (client, answer) = step(client, &self.with(round, &name)?, &name, &message)?;
            answers.insert(name.clone(), answer);
            clients.extend(client.map(|client| (name, client)));
        }
        Ok(answers)
    }

    /// Goes through a round with these updates. Clients without one drop out after they shared.
    fn aggregate(
        &self,
        number: u64,
        updates: &BTreeMap<String, Vec<f32>>,
    ) -> Result<Option<Aggregate>, AggregateError> {
        let round = self.round(number)?;
        let mut server = Server::new(round.clone(), &self.aggregator)?;
        let (mut clients, mut messages) = (BTreeMap::new(), Messages::new());
        for name in self.keys.keys() {
            let (client, message) = Client::advertise(&self.with(&round, name)?, &mut fill)?;
            messages.insert(name.clone(), message);
            clients.insert(name.clone(), client);
        }
        let sent = self.deliver(&mut server, &messages)?;
        let shares = self.answer(&round, &mut clients, sent, |client, with, _, cohort| {
            let (client, message) = client.share(with, cohort, &mut fill)?;
            Ok((Some(client), message))
        })?;
        let sent = self.deliver(&mut server, &shares)?;
        clients.retain(|name, _| updates.contains_key(name));
        let masked = self.answer(&round, &mut clients, sent, |client, with, name, inbox| {
            let update = updates.get(name).ok_or(AggregateError::NotInRound)?;
            let (client, update) = client.mask(with, inbox, (update, 1), &mut fill)?;
            Ok((Some(client), [update.head, update.vector].concat()))
        })?;
        let sent = self.deliver(&mut server, &masked)?;
        let agreements =
            self.answer(&round, &mut clients, sent, |client, with, _, survivors| {
                let (client, message) = client.agree(with, survivors)?;
                Ok((Some(client), message))
            })?;
        let sent = self.deliver(&mut server, &agreements)?;
        let reveals = self.answer(&round, &mut clients, sent, |client, with, _, agreements| {
            // The demo's clients live as long as the round, so nothing has to be stored.
            Ok((None, client.reveal(with, agreements, &mut || true)?))
        })?;
        match self.deliver(&mut server, &reveals)? {
            Outgoing::Aggregate(aggregate) => Ok(Some(aggregate)),
            _ => Ok(None),
        }
    }
}

/// What the training came to.
pub(super) struct Trained {
    /// Percent of held-out images that are read correctly, and after plain averaging.
    pub(super) accuracy: f64,
    pub(super) plain: f64,
    pub(super) clients: usize,
    pub(super) rounds: u64,
    /// Bytes of a masked update, and of the same update in plain 32-bit floats.
    pub(super) masked_bytes: usize,
    pub(super) plain_bytes: usize,
}

/// Trains twice: with secure aggregation, and with plain averaging.
pub(super) fn run() -> Result<Trained, AggregateError> {
    let job = Job::new()?;
    let all = examples();
    let (training, held_out): (Vec<&Example>, Vec<&Example>) = {
        let (training, held_out) = all.split_at(TRAINING.min(all.len()));
        (training.iter().collect(), held_out.iter().collect())
    };
    // In the order of their labels, so that each client has few of the ten digits.
    let part = training.len().div_ceil(2 * CLIENTS).max(1);
    let shards: Vec<&[&Example]> = training.chunks(part).collect();
    let of_client = |at: usize| -> Vec<&Example> {
        let both = [at, at.saturating_add(CLIENTS)];
        let shards = both.into_iter().filter_map(|at| shards.get(at));
        shards.flat_map(|shard| shard.iter().copied()).collect()
    };
    let parts: Vec<Vec<&Example>> = (0..CLIENTS).map(of_client).collect();
    let (mut secure, mut plain) = (vec![0.0; WEIGHTS], vec![0.0; WEIGHTS]);
    for number in 1..=ROUNDS {
        let takes_part = |at: &usize| (number, *at) != DROPOUT;
        let updates = (0..CLIENTS).filter(takes_part).filter_map(|at| {
            let update = train(&secure, parts.get(at)?);
            Some((format!("client-{at}"), update))
        });
        if let Some(aggregate) = job.aggregate(number, &updates.collect())? {
            for (weight, mean) in secure.iter_mut().zip(&aggregate.mean) {
                *weight += mean;
            }
        }
        let updates: Vec<Vec<f32>> = (0..CLIENTS)
            .filter(takes_part)
            .filter_map(|at| Some(train(&plain, parts.get(at)?)))
            .collect();
        for update in &updates {
            for (weight, change) in plain.iter_mut().zip(update) {
                *weight += change / f32::from(u8::try_from(updates.len()).unwrap_or(u8::MAX));
            }
        }
    }
    Ok(Trained {
        accuracy: accuracy(&secure, &held_out),
        plain: accuracy(&plain, &held_out),
        clients: CLIENTS,
        rounds: ROUNDS,
        masked_bytes: job.policy.parameters().vector_bytes(),
        plain_bytes: WEIGHTS.saturating_mul(4),
    })
}
