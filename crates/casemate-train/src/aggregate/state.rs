//! A client's state between two messages, for programs that do not keep it in memory.

use casemate_cbor::{Reader, encode_into, expect_same};
use casemate_crypto::{Secret, SecretBytes};

use super::{
    client::{Client, Held, Seeds, Stage},
    error::AggregateError,
    peers::SHARES_BYTES,
    round::{Position, SEED_BYTES},
};

const VERSION: u64 = 1;
const WHAT: &str = "state of a round";
/// Lists are never longer than a roster.
const MEMBERS_MAX: u64 = 4096;

type Encoder<'a> = casemate_cbor::Encoder<&'a mut Vec<u8>>;

fn write_list(e: &mut Encoder<'_>, list: &[Position]) -> casemate_cbor::Written {
    e.array(list.len() as u64)?;
    list.iter().try_for_each(|member| e.u16(*member).map(drop))
}

fn write_seeds(e: &mut Encoder<'_>, seeds: &Seeds) -> casemate_cbor::Written {
    for seed in [&seeds.mask, &seeds.own, &seeds.channel] {
        e.bytes(seed.expose())?;
    }
    Ok(())
}

fn write_held(e: &mut Encoder<'_>, held: &[Held]) -> casemate_cbor::Written {
    e.array(held.len() as u64)?;
    for one in held {
        e.array(2)?.u16(one.of)?.bytes(one.shares.expose())?;
    }
    Ok(())
}

fn read_list(d: &mut Reader<'_>) -> Result<Vec<Position>, AggregateError> {
    let count = d.array()?;
    if count > MEMBERS_MAX {
        return Err(AggregateError::State);
    }
    (0..count)
        .map(|_| Position::try_from(d.uint()?).map_err(|_| AggregateError::State))
        .collect()
}

fn read_seeds(d: &mut Reader<'_>) -> Result<Seeds, AggregateError> {
    let mut seed = || -> Result<Secret<SEED_BYTES>, AggregateError> {
        Ok(Secret::copy_from("seed", d.bytes()?)?)
    };
    Ok(Seeds {
        mask: seed()?,
        own: seed()?,
        channel: seed()?,
    })
}

fn read_held(d: &mut Reader<'_>) -> Result<Vec<Held>, AggregateError> {
    let count = d.array()?;
    if count > MEMBERS_MAX {
        return Err(AggregateError::State);
    }
    let mut held = Vec::new();
    for _ in 0..count {
        d.array_of(2)?;
        let of = Position::try_from(d.uint()?).map_err(|_| AggregateError::State)?;
        let shares: Secret<SHARES_BYTES> = Secret::copy_from("shares", d.bytes()?)?;
        held.push(Held { of, shares });
    }
    Ok(held)
}

impl Client {
    /// Returns the client's state, which contains its secrets of the round. Store it durably in
    /// place of the state before **before** sending the message that the step returned, and never
    /// use a state twice: a second update under the same masks reveals the difference of both.
    pub fn to_bytes(&self) -> SecretBytes {
        // One allocation: growing would leave copies of secrets behind.
        let mut bytes = Vec::with_capacity(self.state_bytes_max());
        encode_into(&mut bytes, |e| {
            e.array(6)?.u64(VERSION)?.u16(self.at)?.bytes(&self.ctx)?;
            match &self.stage {
                Stage::Advertised {
                    seeds,
                    advertisement,
                } => {
                    e.u8(1)?.array(3)?;
                    write_seeds(e, seeds)?;
                    e.bytes(advertisement)?;
                }
                Stage::Shared {
                    seeds,
                    message,
                    listed,
                    cohort,
                    holders,
                } => {
                    e.u8(2)?.array(3)?;
                    write_seeds(e, seeds)?;
                    e.array(4)?.bytes(message)?.bytes(listed)?;
                    write_list(e, cohort)?;
                    write_list(e, holders)?;
                }
                Stage::Masked {
                    transcript,
                    members: list,
                    holders,
                    held,
                }
                | Stage::Agreed {
                    transcript,
                    survivors: list,
                    holders,
                    held,
                } => {
                    let is_masked = matches!(self.stage, Stage::Masked { .. });
                    e.u8(if is_masked { 3 } else { 4 })?;
                    write_list(e, list)?;
                    e.array(3)?.bytes(transcript)?;
                    write_list(e, holders)?;
                    write_held(e, held)?;
                }
            }
            Ok(())
        });
        debug_assert!(bytes.len() <= self.state_bytes_max(), "the state was moved");
        SecretBytes::new(bytes)
    }

    /// Returns a length that the state does not exceed.
    fn state_bytes_max(&self) -> usize {
        let (lists, held) = match &self.stage {
            Stage::Advertised { .. } => (0, 0),
            Stage::Shared {
                cohort, holders, ..
            } => (cohort.len().saturating_add(holders.len()), 0),
            Stage::Masked {
                members: list,
                holders,
                held,
                ..
            }
            | Stage::Agreed {
                survivors: list,
                holders,
                held,
                ..
            } => (list.len().saturating_add(holders.len()), held.len()),
        };
        // Seeds, hashes and heads; three bytes for each member; a head for each pair of shares.
        lists
            .saturating_mul(3)
            .saturating_add(held.saturating_mul(SHARES_BYTES.saturating_add(8)))
            .saturating_add(512)
    }

    /// Reads a state.
    ///
    /// # Errors
    ///
    /// [`AggregateError::State`] if it is damaged.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, AggregateError> {
        let client = Self::read(bytes).map_err(|_| AggregateError::State)?;
        let again = client.to_bytes();
        expect_same(bytes, again.expose(), WHAT).map_err(|_| AggregateError::State)?;
        Ok(client)
    }

    fn read(bytes: &[u8]) -> Result<Self, AggregateError> {
        let d = &mut Reader::new(bytes, WHAT);
        d.array_of(6)?;
        if d.uint()? != VERSION {
            return Err(AggregateError::State);
        }
        let at = Position::try_from(d.uint()?).map_err(|_| AggregateError::State)?;
        let ctx = d.fixed("round")?;
        let stage = match d.uint()? {
            1 => {
                d.array_of(3)?;
                Stage::Advertised {
                    seeds: read_seeds(d)?,
                    advertisement: d.fixed("advertisement")?,
                }
            }
            2 => {
                d.array_of(3)?;
                let seeds = read_seeds(d)?;
                d.array_of(4)?;
                Stage::Shared {
                    seeds,
                    message: d.fixed("message")?,
                    listed: d.fixed("cohort")?,
                    cohort: read_list(d)?,
                    holders: read_list(d)?,
                }
            }
            kind => {
                let list = read_list(d)?;
                d.array_of(3)?;
                let transcript = d.fixed("transcript")?;
                let (holders, held) = (read_list(d)?, read_held(d)?);
                match kind {
                    3 => Stage::Masked {
                        transcript,
                        members: list,
                        holders,
                        held,
                    },
                    4 => Stage::Agreed {
                        transcript,
                        survivors: list,
                        holders,
                        held,
                    },
                    _ => return Err(AggregateError::State),
                }
            }
        };
        Ok(Self { at, ctx, stage })
    }
}
