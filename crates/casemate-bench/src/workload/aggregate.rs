//! Secure aggregation among three clients, one of which is measured.

use std::{
    io::{self, Read, Write},
    sync::Arc,
    thread,
};

use casemate_crypto::{
    kem::KemPrivateKey,
    random,
    signature::SigningKey,
    suite::{MLDSA65_ED25519, MLKEM768_X25519},
};
use casemate_train::{
    Identity, Roster,
    aggregate::{
        AggregationPolicy, Client, Floors, Outgoing, Parameters, Participation, Round, Server,
        Wishes,
    },
};

use super::round::{read_frame, write_frame};
use crate::BenchError;

/// Names of the clients; the first is measured.
const NAMES: [&str; 3] = ["client", "other-1", "other-2"];
/// The time at which everything happens.
const NOW: u64 = 1;
/// Steps of a client.
const STEPS: usize = 5;

fn fill(out: &mut [u8]) -> Result<(), casemate_crypto::Error> {
    random::fill(out)
}

/// A job of three clients and an aggregator.
pub(super) struct Cohort {
    keys: [SigningKey; 3],
    round: Round,
    aggregator: KemPrivateKey,
    floors: Floors,
}

impl Cohort {
    /// Makes a job whose updates have so many coordinates.
    pub(super) fn new(length: usize) -> Result<Self, BenchError> {
        let key = || SigningKey::generate(&MLDSA65_ED25519);
        let keys = [key()?, key()?, key()?];
        let members = NAMES.iter().zip(&keys);
        let members: Vec<_> = members
            .map(|(name, key)| (*name, key.verifying_key()))
            .collect();
        let roster = Arc::new(Roster::new([7; 16], 1, NOW, NOW + 1, &members)?);
        let aggregator = KemPrivateKey::generate(&MLKEM768_X25519)?;
        let wishes = Wishes {
            length,
            clip_nano: 1_000_000_000,
            cohort: (3, 3),
            weight_max: 1,
            bits: 20,
            noise: None,
        };
        let floors = Floors::default();
        let parameters = Parameters::recommended(&wishes, &floors, NAMES.len())?;
        let policy = AggregationPolicy::new(&roster, parameters, aggregator.public_key())?;
        Ok(Self {
            round: Round::new(roster, Arc::new(policy), 1, &[0; 48])?,
            keys,
            aggregator,
            floors,
        })
    }

    /// Returns one of the clients at the beginning of a round.
    pub(super) fn participant(&self, at: usize) -> Participant<'_> {
        Participant {
            cohort: self,
            at,
            state: State::New,
        }
    }

    /// Returns the server, and the two other clients.
    pub(super) fn serving(&self) -> Result<Serving<'_>, BenchError> {
        Ok(Serving {
            server: Server::new(self.round.clone(), &self.aggregator)?,
            others: [1, 2].map(|at| (self.participant(at), Vec::new())),
            cohort: self,
        })
    }
}

enum State {
    New,
    Advertised(Client),
    Shared(Client),
    Masked(Client),
    Agreed(Client),
    Ended,
}

/// A client in a round.
pub(super) struct Participant<'a> {
    cohort: &'a Cohort,
    at: usize,
    state: State,
}

impl Participant<'_> {
    /// Takes the next step: reads what the server sent, and returns what to send.
    pub(super) fn step(&mut self, received: &[u8], update: &[f32]) -> Result<Vec<u8>, BenchError> {
        let missing = || casemate_crypto::Error::Internal;
        let with = Participation {
            round: &self.cohort.round,
            floors: &self.cohort.floors,
            own: Identity {
                name: NAMES.get(self.at).ok_or_else(missing)?,
                key: self.cohort.keys.get(self.at).ok_or_else(missing)?,
            },
            now: NOW,
        };
        let (state, message) = match std::mem::replace(&mut self.state, State::Ended) {
            State::New => {
                let (client, message) = Client::advertise(&with, &mut fill)?;
                (State::Advertised(client), message)
            }
            State::Advertised(client) => {
                let (client, message) = client.share(&with, received, &mut fill)?;
                (State::Shared(client), message)
            }
            State::Shared(client) => {
                let (client, masked) = client.mask(&with, received, (update, 1), &mut fill)?;
                (State::Masked(client), [masked.head, masked.vector].concat())
            }
            State::Masked(client) => {
                let (client, message) = client.agree(&with, received)?;
                (State::Agreed(client), message)
            }
            State::Agreed(client) => {
                let message = client.reveal(&with, received, &mut || true)?;
                (State::Ended, message)
            }
            State::Ended => return Err(missing().into()),
        };
        self.state = state;
        Ok(message)
    }
}

/// The server in a round, with the clients that are not measured.
pub(super) struct Serving<'a> {
    cohort: &'a Cohort,
    server: Server,
    others: [(Participant<'a>, Vec<u8>); 2],
}

impl Serving<'_> {
    /// Has the other clients take their step, while the measured one takes its own and sends.
    pub(super) fn others(&mut self, update: &[f32]) -> Result<Vec<Vec<u8>>, BenchError> {
        let others = self.others.iter_mut();
        others
            .map(|(participant, received)| participant.step(received, update))
            .collect()
    }

    /// Takes the messages of all clients, and ends the step. Returns what to send to the measured
    /// client, or `None` at the end of the round.
    pub(super) fn close(&mut self, messages: &[Vec<u8>]) -> Result<Option<Vec<u8>>, BenchError> {
        for message in messages {
            self.server.receive(message, &self.cohort.aggregator)?;
        }
        let mut to_client = None;
        let mut deliver = |name: &str, message: &[u8]| match self
            .others
            .iter_mut()
            .find(|(one, _)| NAMES.get(one.at) == Some(&name))
        {
            Some((_, received)) => *received = message.to_vec(),
            None => to_client = Some(message.to_vec()),
        };
        match self.server.close()? {
            Outgoing::All { to, message } => to.iter().for_each(|name| deliver(name, &message)),
            Outgoing::Each(messages) => {
                for (name, message) in &messages {
                    deliver(name, message);
                }
            }
            Outgoing::Aggregate(_) => (),
        }
        Ok(to_client)
    }
}

/// What both ends of a round have.
pub(super) struct SumRound<'a> {
    pub(super) cohort: &'a Cohort,
    pub(super) model: &'a [u8],
    pub(super) update: &'a [f32],
}

impl SumRound<'_> {
    /// Runs the side of the measured client.
    pub(super) fn take_part(&self, stream: &mut (impl Read + Write)) -> Result<(), BenchError> {
        write_frame(stream, b"model")?;
        if read_frame(stream)?.len() != self.model.len() {
            return Err(io::Error::other("the model has the wrong length").into());
        }
        let mut client = self.cohort.participant(0);
        let mut received = Vec::new();
        for step in 1..=STEPS {
            write_frame(stream, &client.step(&received, self.update)?)?;
            if step < STEPS {
                received = read_frame(stream)?;
            }
        }
        let mut acknowledged = [0];
        stream.read_exact(&mut acknowledged)?;
        Ok(())
    }

    /// Runs the aggregator's side, and the clients that are not measured.
    pub(super) fn serve(&self, stream: &mut (impl Read + Write)) -> Result<(), BenchError> {
        read_frame(stream)?;
        write_frame(stream, self.model)?;
        let mut serving = self.cohort.serving()?;
        loop {
            let (others, own) = thread::scope(|scope| {
                let others = scope.spawn(|| serving.others(self.update));
                let own = read_frame(stream);
                (others.join(), own)
            });
            let stopped = || io::Error::other("another client stopped early");
            let mut messages = others.map_err(|_| stopped())??;
            messages.push(own?);
            match serving.close(&messages)? {
                Some(message) => write_frame(stream, &message)?,
                None => break,
            }
        }
        stream.write_all(&[1])?;
        Ok(stream.flush()?)
    }
}
