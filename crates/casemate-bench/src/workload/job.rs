//! A training job of a client and an aggregator, for the workloads.

use casemate_crypto::{Error, random, signature::SigningKey, suite::MLDSA65_ED25519};
use casemate_train::{Channel, Identity, Initiator, Order, Responder, Roster};

use crate::BenchError;

const CLIENT: &str = "client";
const AGGREGATOR: &str = "aggregator";
/// The time at which everything happens.
const NOW: u64 = 1;

/// The roster and both members' keys.
pub(super) struct Job {
    roster: Roster,
    client: SigningKey,
    aggregator: SigningKey,
}

fn fill(out: &mut [u8]) -> Result<(), Error> {
    random::fill(out)
}

impl Job {
    pub(super) fn new() -> Result<Self, BenchError> {
        let client = SigningKey::generate(&MLDSA65_ED25519)?;
        let aggregator = SigningKey::generate(&MLDSA65_ED25519)?;
        let members = [
            (CLIENT, client.verifying_key()),
            (AGGREGATOR, aggregator.verifying_key()),
        ];
        Ok(Self {
            roster: Roster::new([7; 16], 1, NOW, NOW + 1, &members)?,
            client,
            aggregator,
        })
    }

    /// Starts a handshake as the client; returns the hello.
    pub(super) fn start(&self) -> Result<(Initiator, Vec<u8>), BenchError> {
        let own = Identity {
            name: CLIENT,
            key: &self.client,
        };
        Ok(Initiator::start(
            &self.roster,
            own,
            AGGREGATOR,
            NOW,
            &mut fill,
        )?)
    }

    /// Answers a hello as the aggregator.
    pub(super) fn answer(&self, hello: &[u8]) -> Result<(Responder, Vec<u8>), BenchError> {
        let own = Identity {
            name: AGGREGATOR,
            key: &self.aggregator,
        };
        Ok(Responder::answer(&self.roster, own, hello, NOW, &mut fill)?)
    }

    /// Reads the answer as the client; returns the finish.
    pub(super) fn finish(
        &self,
        initiator: Initiator,
        answer: &[u8],
    ) -> Result<(Channel, Vec<u8>), BenchError> {
        Ok(initiator.finish(&self.roster, &self.client, answer, Order::Strict)?)
    }

    /// Reads the finish as the aggregator.
    pub(super) fn accept(
        &self,
        responder: Responder,
        finish: &[u8],
    ) -> Result<Channel, BenchError> {
        Ok(responder.finish(&self.roster, finish, Order::Strict)?)
    }
}
