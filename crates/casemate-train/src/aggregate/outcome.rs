//! Removes the masks from a sum (`spec/secure-aggregation.md`, section 6).

use std::collections::BTreeMap;

use casemate_crypto::{Error, Purpose, Secret, sharing::combine};
use zeroize::Zeroizing;

use super::{
    error::{AggregateError, Step, at_least, refused},
    peers::{SEALED_EDGE_BYTES, SEALED_SHARES_BYTES},
    policy::Parameters,
    reveal::Revealed,
    round::{KEM, Kind, Position, Round, SEED_BYTES},
    server::Shares,
    signed::HEAD_BYTES,
    vector::{Masks, apply_masks, clip, mask_of},
};

/// A client that revealed a share which is not the one that it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blame {
    /// The client.
    pub name: String,
    /// Whose share it is.
    pub of: String,
}

/// Streams that are removed from a sum at once.
const STREAMS_MAX: usize = 128;
const OUT_OF_RANGE: &str =
    "the sum is out of range: a client sent an invalid update; discard the round";
const NOT_RESTORED: &str = "its shares do not restore its secret; leave it out of the next round";
const NOT_OPENED: &str =
    "what it sealed for a client that dropped out does not open; leave it out of the next round";

/// The result of a round.
#[derive(Debug)]
pub struct Aggregate {
    /// The weighted mean of the survivors' updates.
    pub mean: Vec<f32>,
    /// The sum of their weights.
    pub weight: u64,
    /// The clients whose updates it contains.
    pub survivors: Vec<String>,
    /// The clients that sent shares and no update.
    pub dropped: Vec<String>,
    /// Clients whose shares were left out.
    pub blamed: Vec<Blame>,
}

/// Everything that is known when the last step ends.
pub(super) struct Unmasking<'a> {
    pub(super) round: &'a Round,
    pub(super) advertisements: &'a BTreeMap<Position, Vec<u8>>,
    pub(super) shares: &'a BTreeMap<Position, Shares>,
    pub(super) survivors: &'a [Position],
}

impl Unmasking<'_> {
    /// Removes all masks from a sum.
    pub(super) fn finish(
        &self,
        mut sum: Vec<u32>,
        revealed: &[Revealed],
    ) -> Result<Aggregate, AggregateError> {
        let mut blamed = Vec::new();
        let mut masks = Masks::default();
        for (of, shares) in self.shares {
            let survived = self.survivors.contains(of);
            let kind = if survived { Kind::Own } else { Kind::Mask };
            let seed = self.restore(*of, kind, shares, revealed, &mut blamed)?;
            if survived {
                self.check_own(*of, shares, &seed)?;
                masks.subtract(&self.round.own_mask(&seed)?)?;
            } else {
                self.remove_edges(*of, shares, &seed, &mut masks)?;
            }
            // Each stream has a buffer.
            if masks.streams() >= STREAMS_MAX {
                apply_masks(&mut sum, std::mem::take(&mut masks))?;
            }
        }
        apply_masks(&mut sum, masks)?;
        let names = |members: &mut dyn Iterator<Item = &Position>| {
            members.map(|member| self.round.name(*member)).collect()
        };
        let mut dropped = self.shares.keys().filter(|at| !self.survivors.contains(at));
        let (mean, weight) = mean(self.round.parameters(), &sum, self.survivors.len())?;
        Ok(Aggregate {
            mean,
            weight,
            survivors: names(&mut self.survivors.iter()),
            dropped: names(&mut dropped),
            blamed,
        })
    }

    /// Restores a secret from the shares that its owner committed to.
    fn restore(
        &self,
        of: Position,
        kind: Kind,
        shares: &Shares,
        revealed: &[Revealed],
        blamed: &mut Vec<Blame>,
    ) -> Result<Secret<SEED_BYTES>, AggregateError> {
        let mut right: Vec<(u8, &[u8])> = Vec::new();
        for one in revealed.iter().filter(|one| one.of == of) {
            let place = shares.holders.binary_search(&one.by).ok();
            let committed = place
                .and_then(|at| shares.sealed.get(at))
                .and_then(|sealed| {
                    let commitments = sealed.get(SEALED_SHARES_BYTES + SEALED_EDGE_BYTES..)?;
                    let (mask, own) = commitments.split_at_checked(48)?;
                    Some(if kind == Kind::Mask { mask } else { own })
                });
            let share = one.share.expose();
            let found = self.round.commitment(kind, of, one.by, share);
            if one.kind != kind || committed != Some(found.as_slice()) {
                blamed.push(Blame {
                    name: self.round.name(one.by),
                    of: self.round.name(of),
                });
                continue;
            }
            let place = place.and_then(|at| u8::try_from(at.saturating_add(1)).ok());
            right.push((place.ok_or(Error::Internal)?, share));
        }
        let needed = self.round.parameters().shares_needed(shares.holders.len());
        at_least("valid shares of a client's secret", right.len(), needed)?;
        right.truncate(needed);
        let seed: Zeroizing<Vec<u8>> = combine(&right)?;
        Ok(Secret::copy_from("restored seed", &seed)?)
    }

    /// Blames a client for what it sealed, which makes the round fail.
    fn wrong(&self, of: Position, rule: &'static str) -> AggregateError {
        AggregateError::Message {
            step: Step::Shares,
            from: Some(self.round.name(of)),
            rule,
        }
    }

    fn check_own(
        &self,
        of: Position,
        shares: &Shares,
        seed: &Secret<SEED_BYTES>,
    ) -> Result<(), AggregateError> {
        let found = self.round.commitment(Kind::OwnWhole, of, of, seed.expose());
        if found == shares.own {
            return Ok(());
        }
        Err(self.wrong(of, NOT_RESTORED))
    }

    /// Removes the masks between a client that dropped out and the survivors.
    fn remove_edges(
        &self,
        of: Position,
        shares: &Shares,
        seed: &Secret<SEED_BYTES>,
        masks: &mut Masks,
    ) -> Result<(), AggregateError> {
        let key = self.round.kem_key(seed)?;
        let advertised = self
            .advertisements
            .get(&of)
            .and_then(|advertisement| advertisement.get(HEAD_BYTES..)?.get(..KEM.public_key_bytes));
        if advertised != Some(key.public_key().as_bytes()) {
            return Err(self.wrong(of, NOT_RESTORED));
        }
        for survivor in self.survivors {
            let mine = shares
                .holders
                .contains(survivor)
                .then(|| self.round.edge_part(seed, *survivor))
                .transpose()?;
            let theirs = self.shares.get(survivor).and_then(|theirs| {
                let at = theirs.holders.binary_search(&of).ok()?;
                let sealed = theirs.sealed.get(at)?.get(SEALED_SHARES_BYTES..)?;
                sealed.get(..SEALED_EDGE_BYTES)
            });
            let theirs: Option<Secret<SEED_BYTES>> = theirs
                .map(|sealed| {
                    let to = (*survivor, of);
                    let opened = self.round.open(Purpose::AGGREGATE_EDGE, to, &key, sealed);
                    opened.map_err(|_| self.wrong(*survivor, NOT_OPENED))
                })
                .transpose()?;
            if mine.is_none() && theirs.is_none() {
                continue;
            }
            // The survivor added the mask if it is the lower of the two.
            if *survivor < of {
                let key = self
                    .round
                    .pair_mask((*survivor, theirs.as_ref()), (of, mine.as_ref()))?;
                masks.subtract(&key)?;
            } else {
                let key = self
                    .round
                    .pair_mask((of, mine.as_ref()), (*survivor, theirs.as_ref()))?;
                masks.add(&key)?;
            }
        }
        Ok(())
    }
}

/// Returns the weighted mean and the sum of the weights, if updates within the limits can have
/// them.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "sums have at most 32 bits, and a mean is a 32-bit float"
)]
fn mean(
    parameters: &Parameters,
    sum: &[u32],
    clients: usize,
) -> Result<(Vec<f32>, u64), AggregateError> {
    let mask = mask_of(parameters.ring_bits);
    let size = 1i64 << parameters.ring_bits;
    let tail = i64::try_from(parameters.tail()).unwrap_or(i64::MAX);
    let count = i64::try_from(clients).unwrap_or(i64::MAX);
    let largest = count.saturating_mul(parameters.level_max().into());
    let weight = u64::from(sum.last().copied().unwrap_or_default() & mask);
    let least = clients as u64;
    let most = least.saturating_mul(parameters.weight_max.into());
    let mut is_possible = (least..=most).contains(&weight);
    let clip = clip(parameters);
    let unit = 2.0 * clip / f64::from(parameters.level_max());
    let offset = clients as f64 * clip;
    let scale = f64::from(parameters.weight_max) / weight.max(1) as f64;
    let coordinates = sum.iter().take(parameters.length);
    let mean = coordinates.map(|value| {
        let sum = i64::from(value & mask);
        // With noise, a sum may be slightly below zero.
        let sum = if sum >= size.saturating_sub(tail) {
            sum.saturating_sub(size)
        } else {
            sum
        };
        is_possible &= sum <= largest.saturating_add(tail);
        ((sum as f64 * unit - offset) * scale) as f32
    });
    let mean = mean.collect();
    if is_possible {
        return Ok((mean, weight));
    }
    Err(refused(Step::Update, OUT_OF_RANGE))
}
