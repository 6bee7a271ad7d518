//! What the server passes on to one client.

use casemate_crypto::{Purpose, Secret};

use super::{
    client::{Held, Seeds},
    error::{AggregateError, Step, at_least, refused},
    fields::{Fields, check_len},
    peers::{SEALED_BYTES, SEALED_EDGE_BYTES, SEALED_SHARES_BYTES, SHARES_BYTES},
    policy::COHORT_MAX,
    round::{Kind, Position, Round, SEED_BYTES},
    vector::Masks,
};

/// Clients that may have chosen one client in a sparse graph, as a multiple of `k`.
const CHOSEN_BY_MAX: usize = 4;

/// Shares and parts of edges from others.
pub(super) struct Inbox {
    /// The clients whose shares the server has.
    pub(super) members: Vec<Position>,
    /// The shares of those who chose this client.
    pub(super) held: Vec<Held>,
    /// Their parts of the secrets of edges, in the same order.
    parts: Vec<Secret<SEED_BYTES>>,
}

impl Inbox {
    /// Opens everything in the message.
    pub(super) fn read(
        round: &Round,
        at: Position,
        seeds: &Seeds,
        message: &[u8],
    ) -> Result<Self, AggregateError> {
        check_len(message, Step::Inbox, 5 + COHORT_MAX * (4 + SEALED_BYTES))?;
        let mut fields = Fields::new(message, Step::Inbox)?;
        let members = fields.members(round)?;
        let count = fields.position()?;
        let neighbours = round.parameters().neighbours;
        // Before anything is opened, which costs more than sending it.
        if neighbours > 0 && usize::from(count) > neighbours.saturating_mul(CHOSEN_BY_MAX) {
            let rule = "too many clients chose this one as a share holder";
            return Err(fields.refused(rule));
        }
        let (mask_key, channel_key) = (round.kem_key(&seeds.mask)?, round.kem_key(&seeds.channel)?);
        let (mut held, mut parts) = (Vec::<Held>::new(), Vec::new());
        for _ in 0..count {
            let of = fields.position()?;
            fields.check_next(round, held.last().map(|before| before.of), of)?;
            let (to, sealed_shares) = ((of, at), fields.take(SEALED_SHARES_BYTES)?);
            let sealed_part = fields.take(SEALED_EDGE_BYTES)?;
            let commitments: [&[u8; 48]; 2] = [fields.array()?, fields.array()?];
            let not_opened = |_| fields.refused_of(round, of, "a share does not open");
            let shares: Secret<SHARES_BYTES> = round
                .open(Purpose::AGGREGATE_SHARE, to, &channel_key, sealed_shares)
                .map_err(not_opened)?;
            let part = round
                .open(Purpose::AGGREGATE_EDGE, to, &mask_key, sealed_part)
                .map_err(not_opened)?;
            let (mask, own) = shares.expose().split_at(SEED_BYTES);
            let expected = [(Kind::Mask, mask), (Kind::Own, own)]
                .map(|(kind, share)| round.commitment(kind, of, at, share));
            if commitments.map(|one| *one) != expected {
                let rule = "a share does not match its commitment";
                return Err(fields.refused_of(round, of, rule));
            }
            held.push(Held { of, shares });
            parts.push(part);
        }
        fields.end()?;
        Ok(Self {
            members,
            held,
            parts,
        })
    }

    /// Checks who is in it.
    pub(super) fn check(
        &self,
        round: &Round,
        at: Position,
        cohort: &[Position],
        holders: &[Position],
    ) -> Result<(), AggregateError> {
        let parameters = round.parameters();
        at_least(
            "clients that sent shares",
            self.members.len(),
            parameters.cohort_min,
        )?;
        if self.members.iter().any(|member| !cohort.contains(member)) {
            return Err(refused(
                Step::Inbox,
                "it names someone who is not in the cohort",
            ));
        }
        if !self.members.contains(&at) {
            return Err(refused(Step::Inbox, "it does not list this client"));
        }
        let mut senders = self.held.iter().map(|held| held.of);
        if senders
            .clone()
            .any(|of| of == at || !self.members.contains(&of))
        {
            return Err(refused(
                Step::Inbox,
                "it has shares of someone whom it does not list",
            ));
        }
        let left = holders
            .iter()
            .filter(|holder| self.members.contains(holder));
        let needed = parameters.shares_needed(holders.len());
        at_least("remaining share holders", left.count(), needed)?;
        if parameters.neighbours == 0 {
            let others = self.members.iter().copied().filter(|member| *member != at);
            if !others.eq(&mut senders) {
                return Err(refused(
                    Step::Inbox,
                    "shares of a client that it lists are missing",
                ));
            }
        }
        Ok(())
    }

    /// Returns the client's masks: its own, and those of its edges.
    pub(super) fn masks(
        &self,
        round: &Round,
        at: Position,
        seeds: &Seeds,
        holders: &[Position],
    ) -> Result<Masks, AggregateError> {
        let mut masks = Masks::default();
        masks.add(&round.own_mask(&seeds.own)?)?;
        for other in self.members.iter().copied().filter(|member| *member != at) {
            let mine = holders
                .contains(&other)
                .then(|| round.edge_part(&seeds.mask, other))
                .transpose()?;
            let place = self.held.iter().position(|held| held.of == other);
            let theirs = place.and_then(|place| self.parts.get(place));
            if mine.is_none() && theirs.is_none() {
                continue;
            }
            if at < other {
                masks.add(&round.pair_mask((at, mine.as_ref()), (other, theirs))?)?;
            } else {
                masks.subtract(&round.pair_mask((other, theirs), (at, mine.as_ref()))?)?;
            }
        }
        Ok(masks)
    }
}
