//! What clients sign in a round, and how it is checked.

use casemate_crypto::{
    Purpose,
    hash::{sha384, sha384_of},
};

use super::{
    error::{AggregateError, Step},
    fields::{Fields, check_len, write_members},
    policy::COHORT_MAX,
    round::{Position, Round},
};
use crate::parts::SIGNATURE_BYTES_MAX;

/// Length of the beginning of a client's message.
pub(super) const HEAD_BYTES: usize = 1 + 2 + 48;

/// Returns the beginning of a client's message.
pub(super) fn head(step: Step, at: Position, ctx: &[u8; 48]) -> Vec<u8> {
    [&[step.id()][..], &at.to_be_bytes(), ctx].concat()
}

/// Returns what a client signs with its masked update.
pub(super) fn update_message(
    at: Position,
    ctx: &[u8; 48],
    shares: &[u8; 48],
    vector: &[u8],
) -> Vec<u8> {
    let mut message = head(Step::Update, at, ctx);
    message.extend_from_slice(shares);
    // Five times as fast as SHA-384 for what is by far the longest message.
    let hash = blake3::Hasher::new_derive_key(Purpose::AGGREGATE_VECTOR.as_str())
        .update(vector)
        .finalize();
    message.extend_from_slice(hash.as_bytes());
    message
}

/// Returns the message that lists survivors.
pub(super) fn survivors_message(survivors: &[Position]) -> Vec<u8> {
    let mut message = vec![Step::Survivors.id()];
    write_members(&mut message, survivors);
    message
}

/// Returns the hash of who advertised which keys, and of who sent shares. Keys are fresh, so no
/// other attempt at the round has it.
pub(super) fn transcript(cohort: &[u8; 48], members: &[Position]) -> [u8; 48] {
    let mut list = Vec::new();
    write_members(&mut list, members);
    sha384_of(&[cohort, &list])
}

/// Returns what a client signs of a list of survivors.
pub(super) fn agreement_message(
    at: Position,
    round: &Round,
    transcript: &[u8; 48],
    survivors: &[u8],
) -> Vec<u8> {
    let mut message = head(Step::Agreement, at, round.context());
    message.extend_from_slice(transcript);
    message.extend_from_slice(&sha384(survivors));
    message
}

/// Returns what a client signs of what it reveals, which is sealed to the aggregator.
pub(super) fn reveal_message(
    at: Position,
    round: &Round,
    transcript: &[u8; 48],
    sealed: &[u8],
) -> Vec<u8> {
    let mut message = head(Step::Reveal, at, round.context());
    message.extend_from_slice(transcript);
    message.extend_from_slice(sealed);
    message
}

/// Checks the signature that `fields` has left over at the end of a client's message.
pub(super) fn check_signature(
    round: &Round,
    sender: Position,
    message: &[u8],
    fields: &Fields<'_>,
) -> Result<(), AggregateError> {
    let signature = fields.rest;
    let signed = message.len().saturating_sub(signature.len());
    let signed = message.get(..signed).unwrap_or_default();
    verify(round, sender, signed, signature)
        .ok_or_else(|| fields.refused("its signature is not the client's"))
}

/// Returns whether a member signed a message.
pub(super) fn verify(
    round: &Round,
    member: Position,
    message: &[u8],
    signature: &[u8],
) -> Option<()> {
    if signature.len() > SIGNATURE_BYTES_MAX {
        return None;
    }
    let member = round.member(member)?;
    let verified = member
        .key
        .verify(Purpose::AGGREGATE_MESSAGE, message, signature);
    verified.ok()
}

/// Counts the members that `counts`, and whose agreement on a list is right. One that is wrong ends
/// the round.
pub(super) fn count_agreements(
    round: &Round,
    message: &[u8],
    (transcript, survivors): (&[u8; 48], &[u8]),
    counts: impl Fn(Position) -> bool,
) -> Result<usize, AggregateError> {
    let most = 3 + COHORT_MAX * (6 + SIGNATURE_BYTES_MAX);
    check_len(message, Step::Agreements, most)?;
    let mut fields = Fields::new(message, Step::Agreements)?;
    let count = fields.position()?;
    let (mut before, mut agreed) = (None, 0usize);
    for _ in 0..count {
        let member = fields.position()?;
        fields.check_next(round, before, member)?;
        before = Some(member);
        let signature = fields.sized(SIGNATURE_BYTES_MAX)?;
        if !counts(member) {
            continue;
        }
        let signed = agreement_message(member, round, transcript, survivors);
        verify(round, member, &signed, signature).ok_or_else(|| {
            fields.refused_of(
                round,
                member,
                "its signature does not cover this list of survivors",
            )
        })?;
        agreed = agreed.saturating_add(1);
    }
    fields.end()?;
    Ok(agreed)
}
