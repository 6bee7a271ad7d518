//! Messages, policies and states of secure aggregation.

use std::sync::{Arc, LazyLock, Mutex};

use casemate_crypto::{
    Purpose,
    hash::sha384,
    kem::KemPrivateKey,
    signature::SigningKey,
    suite::{MLDSA65_ED25519, MLKEM768_X25519},
};
use casemate_train::{
    Identity, Roster,
    aggregate::{
        AggregateError, AggregationPolicy, Client, Floors, Outgoing, Parameters, Participation,
        Round, Server, Step,
    },
};

use crate::{POLICY, signer};

const NAMES: [&str; 3] = ["a", "b", "c"];
const UPDATE: ([f32; 3], u32) = ([0.5, -0.5, 2.0], 1);

static KEYS: LazyLock<Vec<SigningKey>> = LazyLock::new(|| {
    let key = |byte| SigningKey::from_components(&MLDSA65_ED25519, &[byte; 32], Some(&[byte; 32]));
    (1..=3).map(|byte| key(byte).unwrap()).collect()
});
static AGGREGATOR: LazyLock<KemPrivateKey> =
    LazyLock::new(|| KemPrivateKey::from_seed(&MLKEM768_X25519, &[7; 32]).unwrap());
static ROSTER: LazyLock<Arc<Roster>> = LazyLock::new(|| {
    let members: Vec<_> = NAMES
        .into_iter()
        .zip(KEYS.iter().map(SigningKey::verifying_key))
        .collect();
    Arc::new(Roster::new([7; 16], 1, 1, 9, &members).unwrap())
});
static ROUND: LazyLock<Round> = LazyLock::new(|| {
    let policy = AggregationPolicy::new(&ROSTER, parameters(), AGGREGATOR.public_key()).unwrap();
    Round::new(Arc::clone(&ROSTER), Arc::new(policy), 1, &[0; 48]).unwrap()
});
static FLOORS: LazyLock<Floors> = LazyLock::new(Floors::default);
const fn parameters() -> Parameters {
    Parameters {
        length: 3,
        bits: 8,
        ring_bits: 10,
        clip_nano: 1_000_000_000,
        weight_max: 1,
        cohort_min: 3,
        cohort_max: 3,
        neighbours: 0,
        threshold: 667,
        noise: None,
    }
}

/// Returns the signed policy of the round.
pub fn signed_policy() -> Vec<u8> {
    ROUND.policy().sign(signer()).unwrap()
}

fn with(client: usize) -> Participation<'static> {
    Participation {
        round: &ROUND,
        floors: &FLOORS,
        own: Identity {
            name: NAMES.get(client).unwrap(),
            key: KEYS.get(client).unwrap(),
        },
        now: 5,
    }
}

/// A round in which the clients have not yet answered in one step.
struct Reached {
    server: Server,
    /// The first client's state, empty before the first step.
    state: Vec<u8>,
    /// What the first client received, and what it answers.
    received: Vec<u8>,
    answer: Vec<u8>,
}

/// Lets a client answer. Its secrets are the same in every process, so that seeds still open.
fn answer(at: usize, client: Option<Client>, received: &[u8]) -> (Option<Client>, Vec<u8>) {
    let with = with(at);
    let mut drawn = u8::try_from(at).unwrap().wrapping_mul(16);
    let random = &mut |out: &mut [u8]| {
        drawn = drawn.wrapping_add(1);
        out.fill(drawn);
        Ok(())
    };
    let Some(client) = client else {
        let (client, message) = Client::advertise(&with, random).unwrap();
        return (Some(client), message);
    };
    take(client, &with, received, random).unwrap()
}

/// Gives a client the message that it waits for.
fn take(
    client: Client,
    with: &Participation<'_>,
    received: &[u8],
    random: casemate_train::Random<'_>,
) -> Result<(Option<Client>, Vec<u8>), AggregateError> {
    let (client, message) = match client.expects() {
        Step::Cohort => client.share(with, received, random)?,
        Step::Inbox => {
            let (values, weight) = &UPDATE;
            let (client, update) = client.mask(with, received, (values, *weight), random)?;
            (client, [update.head, update.vector].concat())
        }
        Step::Survivors => client.agree(with, received)?,
        _ => return Ok((None, client.reveal(with, received, &mut || true)?)),
    };
    Ok((Some(client), message))
}

fn reach(step: usize) -> Reached {
    let mut server = Server::new(ROUND.clone(), &AGGREGATOR).unwrap();
    let mut clients = [None, None, None];
    let mut received: [Vec<u8>; 3] = Default::default();
    for now in 0..=step {
        let state = clients
            .first()
            .and_then(Option::as_ref)
            .map(Client::to_bytes);
        let mut answers = Vec::new();
        for (at, (client, received)) in clients.iter_mut().zip(&received).enumerate() {
            let (after, message) = answer(at, client.take(), received);
            *client = after;
            answers.push(message);
        }
        if now == step {
            let [received, ..] = received;
            return Reached {
                server,
                state: state.map_or_else(Vec::new, |state| state.expose().to_vec()),
                received,
                answer: answers.swap_remove(0),
            };
        }
        for message in &answers {
            server.receive(message, &AGGREGATOR).unwrap();
        }
        match server.close().unwrap() {
            Outgoing::Each(messages) => {
                for (slot, message) in received.iter_mut().zip(messages.into_values()) {
                    *slot = message;
                }
            }
            Outgoing::All { message, .. } => received.fill(message),
            Outgoing::Aggregate(_) => (),
        }
    }
    unreachable!("the last step returns")
}

static REACHED: LazyLock<Vec<Mutex<Reached>>> =
    LazyLock::new(|| (0..5).map(|step| Mutex::new(reach(step))).collect());

/// Returns the messages and states of a round, as seeds.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for reached in REACHED.iter() {
        let reached = reached.lock().unwrap();
        seeds.extend([&reached.received, &reached.answer, &reached.state].map(Vec::clone));
    }
    seeds.retain(|seed| !seed.is_empty());
    seeds
}

/// Gives a message to a server and a client in each step, and reads it as a client's state.
pub fn aggregation(bytes: &[u8]) {
    for reached in REACHED.iter() {
        let mut reached = reached.lock().unwrap();
        _ = reached.server.receive(bytes, &AGGREGATOR);
        if let Ok(client) = Client::from_bytes(&reached.state) {
            let random = &mut |out: &mut [u8]| casemate_crypto::random::fill(out);
            _ = take(client, &with(0), bytes, random);
        }
    }
    if let Ok(client) = Client::from_bytes(bytes) {
        assert_eq!(client.to_bytes().expose(), bytes);
    }
}

/// Reads a signed policy, and a policy that its signer signed whatever it says.
pub fn aggregation_policy(bytes: &[u8]) {
    let open =
        |bytes: &[u8]| AggregationPolicy::open(bytes, &ROSTER, signer().verifying_key(), &POLICY);
    _ = open(bytes);
    let signature = signer().sign(Purpose::AGGREGATE_POLICY, bytes).unwrap();
    let signed = casemate_cbor::encode(|e| e.array(2)?.bytes(bytes)?.bytes(&signature).map(drop));
    if let Ok(opened) = open(&signed) {
        assert_eq!(opened.digest(), &sha384(bytes));
        // Checking a graph against floors must end in reasonable time.
        _ = FLOORS.check(opened.parameters(), NAMES.len());
    }
}
