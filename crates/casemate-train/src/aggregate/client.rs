//! A client's side of a round (`spec/secure-aggregation.md`, section 4).

#[cfg(test)]
mod dishonest;

use casemate_crypto::{Error, Purpose, Secret, hash::sha384, hpke::HpkeSuite};

use super::{
    choose::choose,
    error::{AggregateError, Step, at_least, refused},
    fields::{Fields, check_len, write_count, write_sized},
    floors::Floors,
    inbox::Inbox,
    peers::{SHARES_BYTES, keys_of, read_cohort, share_message},
    policy::COHORT_MAX,
    round::{KEM, Kind, Position, Round, SEED_BYTES},
    signed::{
        agreement_message, count_agreements, head, reveal_message, survivors_message, transcript,
        update_message,
    },
    vector::{Quantiser, check_update, mask_update},
};
use crate::{Identity, Random};

/// Who takes part, in which round, and on which terms.
#[derive(Clone, Copy, Debug)]
pub struct Participation<'a> {
    /// The round.
    pub round: &'a Round,
    /// What the client demands of the policy.
    pub floors: &'a Floors,
    /// Its name and key in the roster.
    pub own: Identity<'a>,
    /// The current time, in seconds since 1970-01-01 UTC.
    pub now: u64,
}

/// A client's secrets of a round.
pub(super) struct Seeds {
    pub(super) mask: Secret<SEED_BYTES>,
    pub(super) own: Secret<SEED_BYTES>,
    pub(super) channel: Secret<SEED_BYTES>,
}

/// The shares of another client's secrets.
pub(super) struct Held {
    pub(super) of: Position,
    pub(super) shares: Secret<SHARES_BYTES>,
}

/// What a client keeps between two messages.
pub(super) enum Stage {
    /// Its advertisement was sent.
    Advertised {
        seeds: Seeds,
        advertisement: [u8; 48],
    },
    /// Its shares were sent.
    Shared {
        seeds: Seeds,
        message: [u8; 48],
        /// The hash of the message that lists the cohort.
        listed: [u8; 48],
        cohort: Vec<Position>,
        holders: Vec<Position>,
    },
    /// Its masked update was sent.
    Masked {
        transcript: [u8; 48],
        members: Vec<Position>,
        holders: Vec<Position>,
        held: Vec<Held>,
    },
    /// Its agreement was sent.
    Agreed {
        transcript: [u8; 48],
        survivors: Vec<Position>,
        holders: Vec<Position>,
        held: Vec<Held>,
    },
}

/// A client in a round. Each step consumes it and returns it for the next: after an error, the
/// client has dropped out of the round.
pub struct Client {
    pub(super) at: Position,
    pub(super) ctx: [u8; 48],
    pub(super) stage: Stage,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("waits for", &self.expects())
            .finish_non_exhaustive()
    }
}

/// A masked update: one message in two parts, to be sent one after the other.
#[derive(Debug)]
pub struct MaskedUpdate {
    /// Its sender and signature.
    pub head: Vec<u8>,
    /// Its coordinates.
    pub vector: Vec<u8>,
}

fn seed(random: Random<'_>) -> Result<Secret<SEED_BYTES>, Error> {
    Secret::try_init(|seed| random(seed))
}

impl Client {
    /// Returns the message that the client waits for.
    pub const fn expects(&self) -> Step {
        match self.stage {
            Stage::Advertised { .. } => Step::Cohort,
            Stage::Shared { .. } => Step::Inbox,
            Stage::Masked { .. } => Step::Survivors,
            Stage::Agreed { .. } => Step::Agreements,
        }
    }

    fn phase<T>(&self, found: Step) -> Result<T, AggregateError> {
        Err(AggregateError::Phase {
            expected: self.expects(),
            found,
        })
    }

    /// Checks that the client is used in the round that it began.
    fn check_round(&self, with: &Participation<'_>) -> Result<(), AggregateError> {
        with.round.roster().own(with.own.name, with.own.key)?;
        let at = with.round.position(with.own.name)?;
        if self.ctx == *with.round.context() && self.at == at {
            return Ok(());
        }
        Err(AggregateError::OtherRound)
    }

    /// Joins a round. Returns the client and its advertisement.
    ///
    /// # Errors
    ///
    /// [`AggregateError::Floor`] for a policy that is too weak; [`AggregateError::Train`] for the
    /// roster, the name or the key; [`AggregateError::Crypto`].
    pub fn advertise(
        with: &Participation<'_>,
        random: Random<'_>,
    ) -> Result<(Self, Vec<u8>), AggregateError> {
        let round = with.round;
        round.roster().check_date(with.now)?;
        round.roster().own(with.own.name, with.own.key)?;
        with.floors
            .check(round.parameters(), round.roster().members().len())?;
        let at = round.position(with.own.name)?;
        let seeds = Seeds {
            mask: seed(random)?,
            own: seed(random)?,
            channel: seed(random)?,
        };
        let mut advertisement = head(Step::Advertisement, at, round.context());
        for seed in [&seeds.mask, &seeds.channel] {
            let key = round.kem_key(seed)?;
            advertisement.extend_from_slice(key.public_key().as_bytes());
        }
        let signature = with
            .own
            .key
            .sign(Purpose::AGGREGATE_MESSAGE, &advertisement)?;
        advertisement.extend_from_slice(&signature);
        let client = Self {
            at,
            ctx: *round.context(),
            stage: Stage::Advertised {
                advertisement: sha384(&advertisement),
                seeds,
            },
        };
        Ok((client, advertisement))
    }

    /// Reads the cohort, and shares the client's secrets among its share holders.
    ///
    /// # Errors
    ///
    /// [`AggregateError::Message`], [`AggregateError::Phase`], [`AggregateError::TooFew`],
    /// [`AggregateError::Floor`], [`AggregateError::Crypto`].
    pub fn share(
        self,
        with: &Participation<'_>,
        cohort: &[u8],
        random: Random<'_>,
    ) -> Result<(Self, Vec<u8>), AggregateError> {
        self.check_round(with)?;
        let (at, round) = (self.at, with.round);
        let Stage::Advertised {
            seeds,
            advertisement,
        } = self.stage
        else {
            return self.phase(Step::Cohort);
        };
        let found = read_cohort(round, cohort)?;
        let mine = found.iter().find(|(sender, _)| *sender == at);
        if mine.is_none_or(|(_, mine)| sha384(mine) != advertisement) {
            return Err(refused(
                Step::Cohort,
                "it does not contain this client's advertisement",
            ));
        }
        let parameters = round.parameters();
        with.floors
            .check_graph(parameters, found.len(), round.roster().members().len())?;
        let others: Vec<Position> = found
            .iter()
            .map(|(sender, _)| *sender)
            .filter(|sender| *sender != at)
            .collect();
        let holders = match parameters.neighbours {
            0 => others,
            k => choose(others, k, &seed(random)?)?,
        };
        let keys = keys_of(round, &found, &holders)?;
        let message = share_message(with, &seeds, &holders, &keys, &seed(random)?)?;
        let client = Self {
            at,
            ctx: self.ctx,
            stage: Stage::Shared {
                seeds,
                message: sha384(&message),
                listed: sha384(cohort),
                cohort: found.into_iter().map(|(sender, _)| sender).collect(),
                holders,
            },
        };
        Ok((client, message))
    }

    /// Reads what others sealed for the client, and masks its update: `values` with a weight from 1
    /// to the policy's largest.
    ///
    /// # Errors
    ///
    /// As [`Self::share`], and [`AggregateError::Update`].
    pub fn mask(
        self,
        with: &Participation<'_>,
        inbox: &[u8],
        (values, weight): (&[f32], u32),
        random: Random<'_>,
    ) -> Result<(Self, MaskedUpdate), AggregateError> {
        self.check_round(with)?;
        let (at, round) = (self.at, with.round);
        let Stage::Shared {
            seeds,
            message,
            listed,
            cohort,
            holders,
        } = self.stage
        else {
            return self.phase(Step::Inbox);
        };
        check_update(round.parameters(), values, weight)?;
        let inbox = Inbox::read(round, at, &seeds, inbox)?;
        inbox.check(round, at, &cohort, &holders)?;
        let masks = inbox.masks(round, at, &seeds, &holders)?;
        let parameters = round.parameters();
        let mut vector = vec![0; parameters.vector_bytes()];
        let update = (values, weight);
        let quantiser = Quantiser::new(parameters, update, &seed(random)?, &seed(random)?)?;
        mask_update(parameters, update, quantiser, masks, &mut vector)?;
        let signed = update_message(at, &self.ctx, &message, &vector);
        let signature = with.own.key.sign(Purpose::AGGREGATE_MESSAGE, &signed)?;
        let mut head = head(Step::Update, at, &self.ctx);
        write_sized(&mut head, &signature);
        let client = Self {
            at,
            ctx: self.ctx,
            stage: Stage::Masked {
                transcript: transcript(&listed, &inbox.members),
                members: inbox.members,
                holders,
                held: inbox.held,
            },
        };
        Ok((client, MaskedUpdate { head, vector }))
    }

    /// Reads the list of survivors, and signs it.
    ///
    /// # Errors
    ///
    /// As [`Self::share`].
    pub fn agree(
        self,
        with: &Participation<'_>,
        survivors: &[u8],
    ) -> Result<(Self, Vec<u8>), AggregateError> {
        self.check_round(with)?;
        let (at, round) = (self.at, with.round);
        let Stage::Masked {
            transcript,
            members,
            holders,
            held,
        } = self.stage
        else {
            return self.phase(Step::Survivors);
        };
        check_len(survivors, Step::Survivors, 3 + 2 * COHORT_MAX)?;
        let mut fields = Fields::new(survivors, Step::Survivors)?;
        let list = fields.members(round)?;
        fields.end()?;
        if !list.contains(&at) {
            return Err(fields.refused("it does not contain this client"));
        }
        if list.iter().any(|member| !members.contains(member)) {
            return Err(fields.refused("it names someone who was not in the inbox"));
        }
        at_least("survivors", list.len(), round.parameters().cohort_min)?;
        let agreement = agreement_message(at, round, &transcript, survivors);
        let signature = with.own.key.sign(Purpose::AGGREGATE_MESSAGE, &agreement)?;
        let client = Self {
            at,
            ctx: self.ctx,
            stage: Stage::Agreed {
                transcript,
                survivors: list,
                holders,
                held,
            },
        };
        Ok((client, [agreement, signature].concat()))
    }

    /// Reads the others' agreements, and reveals one share of each client whose shares it holds.
    /// `record` stores durably that the client answers in this round, and returns whether it has
    /// done so; a client whose record exists must not be asked again.
    ///
    /// # Errors
    ///
    /// As [`Self::share`], and [`AggregateError::NotRecorded`].
    pub fn reveal(
        self,
        with: &Participation<'_>,
        agreements: &[u8],
        record: &mut dyn FnMut() -> bool,
    ) -> Result<Vec<u8>, AggregateError> {
        self.check_round(with)?;
        let (at, round) = (self.at, with.round);
        let Stage::Agreed {
            transcript,
            survivors,
            holders,
            held,
        } = self.stage
        else {
            return self.phase(Step::Agreements);
        };
        let list = survivors_message(&survivors);
        let signed = (&transcript, list.as_slice());
        let agreed = count_agreements(round, agreements, signed, |member| {
            holders.contains(&member) && survivors.contains(&member)
        })?;
        let needed = round.parameters().shares_needed(holders.len());
        at_least("share holders that agree on the survivors", agreed, needed)?;
        let most = held.len().saturating_mul(2 + 1 + SEED_BYTES);
        let mut plaintext = zeroize::Zeroizing::new(Vec::with_capacity(most.saturating_add(2)));
        write_count(&mut plaintext, held.len());
        for one in &held {
            let survived = survivors.contains(&one.of);
            let (mask, own) = one.shares.expose().split_at(SEED_BYTES);
            let (kind, share) = if survived {
                (Kind::Own, own)
            } else {
                (Kind::Mask, mask)
            };
            plaintext.extend_from_slice(&one.of.to_be_bytes());
            plaintext.push(kind.id());
            plaintext.extend_from_slice(share);
        }
        if !record() {
            return Err(AggregateError::NotRecorded);
        }
        let info = round.info(Purpose::AGGREGATE_REVEAL, &[&at.to_be_bytes()]);
        let (enc, sealed) = HpkeSuite::of(KEM)?.seal(
            round.policy().aggregator(),
            &info,
            &sha384(&list),
            &plaintext,
        )?;
        let sealed = [enc, sealed].concat();
        let signed = reveal_message(at, round, &transcript, &sealed);
        let signature = with.own.key.sign(Purpose::AGGREGATE_MESSAGE, &signed)?;
        let mut message = head(Step::Reveal, at, &self.ctx);
        write_sized(&mut message, &signature);
        message.extend_from_slice(&sealed);
        Ok(message)
    }
}
