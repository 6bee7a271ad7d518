//! The server's side of a round (`spec/secure-aggregation.md`, sections 4 and 6).

use std::collections::BTreeMap;

use casemate_crypto::{
    hash::sha384,
    kem::{KemPrivateKey, KemPublicKey},
};

use super::{
    error::{AggregateError, Step, at_least, refused},
    fields::{Fields, MESSAGE_BYTES_MAX, check_len, write_count, write_members, write_sized},
    outcome::{Aggregate, Unmasking},
    peers::{ADVERTISEMENT_BYTES_MAX, SEALED_BYTES},
    reveal::{Revealed, read_reveal},
    round::{KEM, Position, Round},
    signed::{
        HEAD_BYTES, agreement_message, check_signature, survivors_message, transcript,
        update_message, verify,
    },
    vector::add_packed,
};
use crate::parts::SIGNATURE_BYTES_MAX;

/// What a client sent for its share holders.
pub(super) struct Shares {
    /// The hash of the whole message, which the client signs again with its update.
    hash: [u8; 48],
    /// The commitment to its self seed.
    pub(super) own: [u8; 48],
    pub(super) holders: Vec<Position>,
    /// What was sealed for each holder, in the same order.
    pub(super) sealed: Vec<Vec<u8>>,
}

/// What the server sends at the end of a step.
#[derive(Debug)]
pub enum Outgoing {
    /// The same message to each of these clients.
    All {
        /// The clients' names.
        to: Vec<String>,
        /// The message.
        message: Vec<u8>,
    },
    /// A message to each of these clients.
    Each(BTreeMap<String, Vec<u8>>),
    /// The result: the round is over.
    Aggregate(Aggregate),
}

/// A server in a round: collects the clients' messages of one step after the other.
pub struct Server {
    round: Round,
    /// Which messages are collected; `None` after the round.
    collects: Option<Step>,
    advertisements: BTreeMap<Position, Vec<u8>>,
    /// The hash of the message that lists the cohort.
    listed: [u8; 48],
    shares: BTreeMap<Position, Shares>,
    sum: Vec<u32>,
    survivors: Vec<Position>,
    agreements: BTreeMap<Position, Vec<u8>>,
    revealed: Vec<Revealed>,
    answered: Vec<Position>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("collects", &self.collects)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Begins a round, and collects advertisements. `aggregator` is the private key of the policy's
    /// aggregator, which [`Self::receive`] needs.
    ///
    /// # Errors
    ///
    /// [`AggregateError::Policy`] if the policy names another aggregator.
    pub fn new(round: Round, aggregator: &KemPrivateKey) -> Result<Self, AggregateError> {
        if aggregator.public_key().as_bytes() != round.policy().aggregator().as_bytes() {
            return Err(AggregateError::Policy("it names another aggregator's key"));
        }
        Ok(Self {
            round,
            collects: Some(Step::Advertisement),
            advertisements: BTreeMap::new(),
            listed: [0; 48],
            shares: BTreeMap::new(),
            sum: Vec::new(),
            survivors: Vec::new(),
            agreements: BTreeMap::new(),
            revealed: Vec::new(),
            answered: Vec::new(),
        })
    }

    /// Returns which messages the server collects; `None` after the round.
    pub const fn collects(&self) -> Option<Step> {
        self.collects
    }

    /// Takes a client's message of the current step, and returns the client's name. A message that
    /// is refused changes nothing. `aggregator` is the private key of the policy's aggregator.
    ///
    /// # Errors
    ///
    /// [`AggregateError::Message`] with the client's name.
    pub fn receive(
        &mut self,
        message: &[u8],
        aggregator: &KemPrivateKey,
    ) -> Result<String, AggregateError> {
        let sender = match self.collects {
            Some(Step::Advertisement) => self.take_advertisement(message)?,
            Some(Step::Shares) => self.take_shares(message)?,
            Some(Step::Update) => self.take_update(message)?,
            Some(Step::Agreement) => self.take_agreement(message)?,
            Some(Step::Reveal) => self.take_reveal(message, aggregator)?,
            _ => return Err(refused(Step::Reveal, "the round is over")),
        };
        Ok(self.round.name(sender))
    }

    /// Ends the current step with the clients that have answered, and returns what to send them.
    ///
    /// # Errors
    ///
    /// [`AggregateError::TooFew`] if too few have; the round is then over.
    pub fn close(&mut self) -> Result<Outgoing, AggregateError> {
        let least = self.round.parameters().cohort_min;
        match self.collects.take() {
            Some(Step::Advertisement) => {
                at_least(
                    "clients that advertised keys",
                    self.advertisements.len(),
                    least,
                )?;
                self.collects = Some(Step::Shares);
                let mut cohort = vec![Step::Cohort.id()];
                write_count(&mut cohort, self.advertisements.len());
                for advertisement in self.advertisements.values() {
                    write_sized(&mut cohort, advertisement);
                }
                self.listed = sha384(&cohort);
                Ok(self.to_all(self.advertisements.keys(), cohort))
            }
            Some(Step::Shares) => {
                at_least("clients that sent shares", self.shares.len(), least)?;
                self.collects = Some(Step::Update);
                self.sum = vec![0; self.round.parameters().length.saturating_add(1)];
                Ok(self.inboxes())
            }
            Some(Step::Update) => {
                at_least("clients that sent updates", self.survivors.len(), least)?;
                self.collects = Some(Step::Agreement);
                self.survivors.sort_unstable();
                let list = survivors_message(&self.survivors);
                Ok(self.to_all(self.survivors.iter(), list))
            }
            Some(Step::Agreement) => {
                self.collects = Some(Step::Reveal);
                let mut message = vec![Step::Agreements.id()];
                write_count(&mut message, self.agreements.len());
                for (member, signature) in &self.agreements {
                    message.extend_from_slice(&member.to_be_bytes());
                    write_sized(&mut message, signature);
                }
                Ok(self.to_all(self.agreements.keys(), message))
            }
            Some(Step::Reveal) => {
                let unmasking = Unmasking {
                    round: &self.round,
                    advertisements: &self.advertisements,
                    shares: &self.shares,
                    survivors: &self.survivors,
                };
                let sum = std::mem::take(&mut self.sum);
                Ok(Outgoing::Aggregate(unmasking.finish(sum, &self.revealed)?))
            }
            _ => Err(refused(Step::Reveal, "the round is over")),
        }
    }

    /// Opens a reveal alone: of whom, the kind and the share.
    #[cfg(test)]
    pub(crate) fn open_reveal(
        round: &Round,
        message: &[u8],
        signed: (&[u8; 48], &[u8]),
        aggregator: &KemPrivateKey,
    ) -> Result<Vec<(Position, u8, Vec<u8>)>, AggregateError> {
        let fields = Fields::of_client(message, Step::Reveal, round)?;
        let revealed = read_reveal(round, fields, signed, aggregator)?;
        let plain = |one: &Revealed| (one.of, one.kind.id(), one.share.expose().to_vec());
        Ok(revealed.iter().map(plain).collect())
    }

    /// Adds to a coordinate of the sum, as a client does whose update is not as it must be.
    #[cfg(test)]
    pub(crate) fn add_to_sum(&mut self, at: usize, value: u32) {
        self.sum[at] = self.sum[at].wrapping_add(value);
    }

    /// Returns the kinds of the shares that were revealed of a client.
    #[cfg(test)]
    pub(crate) fn revealed_kinds(&self, of: Position) -> Vec<u8> {
        let of = self.revealed.iter().filter(|one| one.of == of);
        of.map(|one| one.kind.id()).collect()
    }

    fn to_all<'a>(
        &self,
        members: impl Iterator<Item = &'a Position>,
        message: Vec<u8>,
    ) -> Outgoing {
        let to = members.map(|member| self.round.name(*member)).collect();
        Outgoing::All { to, message }
    }

    /// Returns each client's inbox.
    fn inboxes(&self) -> Outgoing {
        let members: Vec<Position> = self.shares.keys().copied().collect();
        let mut start = vec![Step::Inbox.id()];
        write_members(&mut start, &members);
        let inbox = |to: Position| {
            let for_client: Vec<_> = self
                .shares
                .iter()
                .filter_map(|(from, shares)| {
                    let at = shares.holders.binary_search(&to).ok()?;
                    Some((*from, shares.sealed.get(at)?))
                })
                .collect();
            let mut inbox = start.clone();
            write_count(&mut inbox, for_client.len());
            for (from, sealed) in for_client {
                inbox.extend_from_slice(&from.to_be_bytes());
                inbox.extend_from_slice(sealed);
            }
            (self.round.name(to), inbox)
        };
        Outgoing::Each(members.iter().copied().map(inbox).collect())
    }

    fn take_advertisement(&mut self, message: &[u8]) -> Result<Position, AggregateError> {
        check_len(message, Step::Advertisement, ADVERTISEMENT_BYTES_MAX)?;
        let (mut fields, sender) = Fields::of_client(message, Step::Advertisement, &self.round)?;
        let keys = [
            fields.take(KEM.public_key_bytes)?,
            fields.take(KEM.public_key_bytes)?,
        ];
        check_signature(&self.round, sender, message, &fields)?;
        if self.advertisements.contains_key(&sender) {
            return Err(fields.refused("the client sent it already"));
        }
        check_keys(keys, self.advertisements.values()).map_err(|rule| fields.refused(rule))?;
        if self.advertisements.len() >= self.round.parameters().cohort_max {
            return Err(fields.refused("the cohort is full"));
        }
        self.advertisements.insert(sender, message.to_vec());
        Ok(sender)
    }

    fn take_shares(&mut self, message: &[u8]) -> Result<Position, AggregateError> {
        check_len(message, Step::Shares, MESSAGE_BYTES_MAX)?;
        let (mut fields, sender) = Fields::of_client(message, Step::Shares, &self.round)?;
        if !self.advertisements.contains_key(&sender) {
            return Err(fields.refused("the client is not in the cohort"));
        }
        if self.shares.contains_key(&sender) {
            return Err(fields.refused("the client sent it already"));
        }
        let own = *fields.array()?;
        let count = usize::from(fields.position()?);
        let (mut holders, mut sealed) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let holder = fields.position()?;
            fields.check_next(&self.round, holders.last().copied(), holder)?;
            if holder == sender || !self.advertisements.contains_key(&holder) {
                return Err(fields.refused("a share holder is not another client of the cohort"));
            }
            holders.push(holder);
            sealed.push(fields.take(SEALED_BYTES)?.to_vec());
        }
        if count != self.round.parameters().holders(self.advertisements.len()) {
            return Err(fields.refused("it has the wrong number of share holders"));
        }
        check_signature(&self.round, sender, message, &fields)?;
        let shares = Shares {
            hash: sha384(message),
            own,
            holders,
            sealed,
        };
        self.shares.insert(sender, shares);
        Ok(sender)
    }

    fn take_update(&mut self, message: &[u8]) -> Result<Position, AggregateError> {
        let parameters = self.round.parameters();
        let most = MESSAGE_BYTES_MAX.saturating_add(parameters.vector_bytes());
        check_len(message, Step::Update, most)?;
        let (mut fields, sender) = Fields::of_client(message, Step::Update, &self.round)?;
        let Some(shares) = self.shares.get(&sender) else {
            return Err(fields.refused("the client did not send shares"));
        };
        if self.survivors.contains(&sender) {
            return Err(fields.refused("the client sent it already"));
        }
        let signature = fields.sized(SIGNATURE_BYTES_MAX)?;
        let vector = fields.take(parameters.vector_bytes())?;
        fields.end()?;
        let signed = update_message(sender, self.round.context(), &shares.hash, vector);
        verify(&self.round, sender, &signed, signature)
            .ok_or_else(|| fields.refused("its signature is not the client's"))?;
        add_packed(&mut self.sum, vector, parameters.ring_bits);
        self.survivors.push(sender);
        Ok(sender)
    }

    fn take_agreement(&mut self, message: &[u8]) -> Result<Position, AggregateError> {
        check_len(message, Step::Agreement, MESSAGE_BYTES_MAX)?;
        let (mut fields, sender) = Fields::of_client(message, Step::Agreement, &self.round)?;
        if !self.survivors.contains(&sender) {
            return Err(fields.refused("the client is not among the survivors"));
        }
        if self.agreements.contains_key(&sender) {
            return Err(fields.refused("the client sent it already"));
        }
        let (found, hash): (&[u8; 48], &[u8; 48]) = (fields.array()?, fields.array()?);
        let transcript = self.transcript();
        let list = survivors_message(&self.survivors);
        if *found != transcript || *hash != sha384(&list) {
            return Err(fields.refused("it is for another list of survivors"));
        }
        let signed = agreement_message(sender, &self.round, &transcript, &list);
        verify(&self.round, sender, &signed, fields.rest)
            .ok_or_else(|| fields.refused("its signature is not the client's"))?;
        self.agreements.insert(sender, fields.rest.to_vec());
        Ok(sender)
    }

    /// Returns the hash of who advertised which keys, and of who sent shares.
    fn transcript(&self) -> [u8; 48] {
        let members: Vec<Position> = self.shares.keys().copied().collect();
        transcript(&self.listed, &members)
    }

    fn take_reveal(
        &mut self,
        message: &[u8],
        aggregator: &KemPrivateKey,
    ) -> Result<Position, AggregateError> {
        check_len(message, Step::Reveal, MESSAGE_BYTES_MAX)?;
        let (fields, sender) = Fields::of_client(message, Step::Reveal, &self.round)?;
        if !self.agreements.contains_key(&sender) {
            return Err(fields.refused("the client did not agree on the survivors"));
        }
        if self.answered.contains(&sender) {
            return Err(fields.refused("the client sent it already"));
        }
        let (transcript, list) = (self.transcript(), survivors_message(&self.survivors));
        let signed = (&transcript, list.as_slice());
        let mut revealed = read_reveal(&self.round, (fields, sender), signed, aggregator)?;
        self.revealed.append(&mut revealed);
        self.answered.push(sender);
        Ok(sender)
    }
}

/// Returns why every client would refuse a cohort with these keys, if it would: the client that
/// sent them is then left out instead.
fn check_keys<'a>(
    keys: [&[u8]; 2],
    others: impl Iterator<Item = &'a Vec<u8>>,
) -> Result<(), &'static str> {
    let [mask, channel] = keys;
    let others: Vec<&[u8]> = others
        .filter_map(|other| other.get(HEAD_BYTES..))
        .flat_map(|other| other.chunks(KEM.public_key_bytes).take(2))
        .collect();
    if mask == channel || keys.iter().any(|key| others.contains(key)) {
        return Err("another client has one of its keys, or both are the same");
    }
    for key in keys {
        KemPublicKey::new(KEM, key)
            .and_then(|key| key.encapsulate())
            .map_err(|_| "a key is malformed")?;
    }
    Ok(())
}
