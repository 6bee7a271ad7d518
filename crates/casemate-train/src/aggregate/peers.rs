//! The other clients' keys, and the shares for them.

use std::collections::HashSet;

use casemate_crypto::{Purpose, Secret, kem::KemPublicKey, sharing::split};

use super::{
    client::{Participation, Seeds},
    error::{AggregateError, Step, at_least},
    fields::{Fields, check_len, write_count},
    policy::COHORT_MAX,
    round::{KEM, Kind, Position, Round, SEED_BYTES},
    signed::{check_signature, head},
};

/// Maximum length of an advertisement.
pub(super) const ADVERTISEMENT_BYTES_MAX: usize = 40 * 1024;
/// Length of the two shares that a holder gets, and of what is sealed for it.
pub(super) const SHARES_BYTES: usize = 2 * SEED_BYTES;
const TAG_BYTES: usize = 16;
pub(super) const SEALED_SHARES_BYTES: usize = KEM.ciphertext_bytes + SHARES_BYTES + TAG_BYTES;
pub(super) const SEALED_EDGE_BYTES: usize = KEM.ciphertext_bytes + SEED_BYTES + TAG_BYTES;
pub(super) const SEALED_BYTES: usize = SEALED_SHARES_BYTES + SEALED_EDGE_BYTES + 2 * 48;

/// Another client's keys in a round.
pub(super) struct Advertised {
    mask: KemPublicKey,
    channel: KemPublicKey,
}

/// Reads a cohort: senders and advertisements.
pub(super) fn read_cohort<'a>(
    round: &Round,
    message: &'a [u8],
) -> Result<Vec<(Position, &'a [u8])>, AggregateError> {
    let parameters = round.parameters();
    let most = 3 + COHORT_MAX * (4 + ADVERTISEMENT_BYTES_MAX);
    check_len(message, Step::Cohort, most)?;
    let mut fields = Fields::new(message, Step::Cohort)?;
    let count = usize::from(fields.position()?);
    at_least("clients in the cohort", count, parameters.cohort_min)?;
    if count > parameters.cohort_max {
        return Err(fields.refused("it has more clients than the policy allows"));
    }
    let mut found: Vec<(Position, &[u8])> = Vec::new();
    for _ in 0..count {
        let advertisement = fields.sized(ADVERTISEMENT_BYTES_MAX)?;
        let (_, sender) = Fields::of_client(advertisement, Step::Advertisement, round)?;
        fields.check_next(round, found.last().map(|(before, _)| *before), sender)?;
        found.push((sender, advertisement));
    }
    fields.end()?;
    Ok(found)
}

/// Returns the keys of the share holders, after checking their signatures, and that no two clients
/// have the same key.
pub(super) fn keys_of(
    round: &Round,
    cohort: &[(Position, &[u8])],
    holders: &[Position],
) -> Result<Vec<Advertised>, AggregateError> {
    let mut seen = HashSet::new();
    let mut keys = Vec::new();
    for (sender, advertisement) in cohort {
        let (mut fields, _) = Fields::of_client(advertisement, Step::Advertisement, round)?;
        let mask = fields.take(KEM.public_key_bytes)?;
        let channel = fields.take(KEM.public_key_bytes)?;
        if !seen.insert(mask) || !seen.insert(channel) {
            return Err(fields.refused("another client has one of its keys"));
        }
        // Also those of clients that get no shares: they may have chosen this one, and are counted.
        check_signature(round, *sender, advertisement, &fields)?;
        if !holders.contains(sender) {
            continue;
        }
        let key =
            |bytes| KemPublicKey::new(KEM, bytes).map_err(|_| fields.refused("a key is malformed"));
        keys.push(Advertised {
            mask: key(mask)?,
            channel: key(channel)?,
        });
    }
    Ok(keys)
}

/// Splits the seeds, and returns the signed message to the server.
pub(super) fn share_message(
    with: &Participation<'_>,
    seeds: &Seeds,
    holders: &[Position],
    keys: &[Advertised],
    polynomials: &Secret<SEED_BYTES>,
) -> Result<Vec<u8>, AggregateError> {
    let round = with.round;
    let at = round.position(with.own.name)?;
    let both = Secret::<SHARES_BYTES>::try_init(|both| {
        let (mask, own) = both.split_at_mut(SEED_BYTES);
        mask.copy_from_slice(seeds.mask.expose());
        own.copy_from_slice(seeds.own.expose());
        Ok::<(), AggregateError>(())
    })?;
    let needed = round.parameters().shares_needed(holders.len());
    let shares = split(&both, needed, holders.len(), polynomials)?;
    let mut message = head(Step::Shares, at, round.context());
    message.extend_from_slice(&round.commitment(Kind::OwnWhole, at, at, seeds.own.expose()));
    write_count(&mut message, holders.len());
    for ((holder, share), key) in holders.iter().zip(&shares).zip(keys) {
        let to = (at, *holder);
        message.extend_from_slice(&holder.to_be_bytes());
        round.seal(
            Purpose::AGGREGATE_SHARE,
            to,
            &key.channel,
            share.expose(),
            &mut message,
        )?;
        let part = round.edge_part(&seeds.mask, *holder)?;
        round.seal(
            Purpose::AGGREGATE_EDGE,
            to,
            &key.mask,
            part.expose(),
            &mut message,
        )?;
        let (mask, own) = share.expose().split_at(SEED_BYTES);
        for (kind, share) in [(Kind::Mask, mask), (Kind::Own, own)] {
            message.extend_from_slice(&round.commitment(kind, at, *holder, share));
        }
    }
    let signature = with.own.key.sign(Purpose::AGGREGATE_MESSAGE, &message)?;
    message.extend_from_slice(&signature);
    Ok(message)
}
