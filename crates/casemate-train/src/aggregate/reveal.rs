//! What clients reveal to the aggregator.

use casemate_crypto::{Purpose, SecretBytes, hash::sha384, hpke::HpkeSuite, kem::KemPrivateKey};

use super::{
    error::AggregateError,
    fields::Fields,
    round::{KEM, Kind, Position, Round, SEED_BYTES},
    signed::{reveal_message, verify},
};
use crate::parts::SIGNATURE_BYTES_MAX;

/// A share that a client revealed.
pub(super) struct Revealed {
    pub(super) by: Position,
    pub(super) of: Position,
    pub(super) kind: Kind,
    pub(super) share: SecretBytes,
}

/// Verifies, decrypts and reads what a client reveals.
pub(super) fn read_reveal(
    round: &Round,
    (mut fields, sender): (Fields<'_>, Position),
    (transcript, survivors): (&[u8; 48], &[u8]),
    aggregator: &KemPrivateKey,
) -> Result<Vec<Revealed>, AggregateError> {
    let signature = fields.sized(SIGNATURE_BYTES_MAX)?;
    let signed = reveal_message(sender, round, transcript, fields.rest);
    verify(round, sender, &signed, signature)
        .ok_or_else(|| fields.refused("its signature is not the client's"))?;
    let enc = fields.take(KEM.ciphertext_bytes)?;
    let info = round.info(Purpose::AGGREGATE_REVEAL, &[&sender.to_be_bytes()]);
    let opened = HpkeSuite::of(KEM)?
        .open(enc, aggregator, &info, &sha384(survivors), fields.rest)
        .map_err(|_| fields.refused("it does not open with the aggregator's key"))?;
    let opened = SecretBytes::new(opened);
    let mut fields = fields.within(opened.expose());
    let count = fields.position()?;
    let (mut revealed, mut before) = (Vec::new(), None);
    for _ in 0..count {
        let of = fields.position()?;
        fields.check_next(round, before, of)?;
        before = Some(of);
        let [kind] = *fields.array()?;
        let kind = [Kind::Mask, Kind::Own]
            .into_iter()
            .find(|known| known.id() == kind);
        let share = fields.take(SEED_BYTES)?;
        revealed.push(Revealed {
            by: sender,
            of,
            kind: kind.ok_or_else(|| fields.refused("a share is of an unknown kind"))?,
            share: SecretBytes::new(share.to_vec()),
        });
    }
    fields.end()?;
    Ok(revealed)
}
