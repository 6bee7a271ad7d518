//! How the ranks of a ring agree on a session (`spec/masked-all-reduce.md`, section 2).

use std::sync::atomic::AtomicU64;

use casemate_crypto::{Purpose, Secret, SecretBytes, hash::sha384};

use super::{
    error::AllReduceError,
    keys::{KDF, Mode, Ring, SECRET_BYTES},
};
use crate::{Export, Random, Receiver, Roster, Sender};

/// Maximum number of ranks.
pub const RANKS_MAX: usize = 4096;
const PART_BYTES: usize = 32;

/// A session that is being agreed on: `ranks - 1` messages to the rank after this one, and as many
/// from the one before.
pub struct Rendezvous {
    names: Vec<String>,
    rank: usize,
    mode: Mode,
    transcript: [u8; 48],
    /// The parts by rank.
    parts: Vec<Option<Secret<PART_BYTES>>>,
    sent: usize,
    received: usize,
}

impl std::fmt::Debug for Rendezvous {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rendezvous")
            .field("rank", &self.rank)
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}

/// Returns the digest of who takes part and how.
pub(crate) fn transcript(roster: &[u8; 48], names: &[String], mode: Mode) -> [u8; 48] {
    let count = u16::try_from(names.len()).unwrap_or(u16::MAX);
    let mut bytes = Purpose::ALL_REDUCE.with(&[mode.id()]);
    bytes.extend_from_slice(roster);
    bytes.extend_from_slice(&count.to_be_bytes());
    for name in names {
        bytes.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        bytes.extend_from_slice(name.as_bytes());
    }
    sha384(&bytes)
}

impl Rendezvous {
    /// Begins a session of the members `names`, in the order of ranks, as the one of `rank`.
    ///
    /// # Errors
    ///
    /// [`AllReduceError::Ranks`] if they are not 2 to [`RANKS_MAX`] members, each once.
    pub fn new(
        roster: &Roster,
        names: &[String],
        rank: usize,
        mode: Mode,
        random: Random<'_>,
    ) -> Result<Self, AllReduceError> {
        if !(2..=RANKS_MAX).contains(&names.len()) {
            return Err(AllReduceError::Ranks("there must be 2 to 4,096 of them"));
        }
        let mut sorted: Vec<_> = names.iter().collect();
        sorted.sort_unstable();
        sorted.dedup();
        if sorted.len() != names.len() {
            return Err(AllReduceError::Ranks("two have the same name"));
        }
        for name in names {
            roster.member(name)?;
        }
        let mut parts: Vec<_> = names.iter().map(|_| None).collect();
        let own = parts
            .get_mut(rank)
            .ok_or(AllReduceError::Ranks("this rank is not one of them"))?;
        *own = Some(Secret::try_init(|part| random(part))?);
        Ok(Self {
            transcript: transcript(roster.digest(), names, mode),
            names: names.to_vec(),
            rank,
            mode,
            parts,
            sent: 0,
            received: 0,
        })
    }

    /// Returns the number of messages in each direction.
    pub fn messages(&self) -> usize {
        self.names.len().saturating_sub(1)
    }

    /// Returns the rank whose part is `steps` behind.
    fn behind(&self, steps: usize) -> usize {
        let ranks = self.names.len();
        let from = self.rank.saturating_add(ranks).saturating_sub(steps);
        from.checked_rem(ranks).unwrap_or_default()
    }

    fn associated(&self, whose: usize) -> Vec<u8> {
        let whose = u16::try_from(whose).unwrap_or(u16::MAX).to_be_bytes();
        Purpose::ALL_REDUCE.with(&[&self.transcript[..], &whose].concat())
    }

    /// Returns the next message to the rank after this one.
    ///
    /// # Errors
    ///
    /// [`AllReduceError::Turn`] if a message must be received first.
    pub fn message(&mut self, after: &mut Sender) -> Result<Vec<u8>, AllReduceError> {
        let whose = self.behind(self.sent);
        let part = self.parts.get(whose).and_then(Option::as_ref);
        let part = part.filter(|_| self.sent < self.messages());
        let part = part.ok_or(AllReduceError::Turn("there is no part to send now"))?;
        let message = after.seal(part.expose(), &self.associated(whose))?;
        self.sent = self.sent.saturating_add(1);
        Ok(message)
    }

    /// Reads the next message of the rank before this one.
    ///
    /// # Errors
    ///
    /// [`AllReduceError::Train`] for a message of another session, mode or list of ranks.
    pub fn receive(&mut self, before: &mut Receiver, message: &[u8]) -> Result<(), AllReduceError> {
        if self.received >= self.messages() {
            return Err(AllReduceError::Turn("all parts were received"));
        }
        let steps = self.received.saturating_add(1);
        let whose = self.behind(steps);
        let content = zeroize::Zeroizing::new(before.open(message, &self.associated(whose))?);
        if let Some(slot) = self.parts.get_mut(whose) {
            *slot = Some(Secret::copy_from("part", &content)?);
        }
        self.received = steps;
        Ok(())
    }

    /// Derives the session's keys with the channels to the ranks before and after.
    ///
    /// # Errors
    ///
    /// [`AllReduceError::Turn`] if messages are missing; [`AllReduceError::Ranks`] for channels
    /// with other members.
    pub fn finish(self, before: &Export, after: &Export) -> Result<Ring, AllReduceError> {
        let ranks = self.names.len();
        let beside = [self.behind(1), self.behind(ranks.saturating_sub(1))];
        let [wanted_before, wanted_after] = beside.map(|rank| self.names.get(rank));
        let right = |channel: &Export, wanted: Option<&String>| {
            wanted.is_some_and(|wanted| *wanted == channel.peer)
        };
        if !right(before, wanted_before) || !right(after, wanted_after) {
            return Err(AllReduceError::Ranks("a channel is with another rank"));
        }
        let parts: Option<Vec<&[u8]>> = self
            .parts
            .iter()
            .map(|part| part.as_ref().map(|part| part.expose().as_slice()))
            .collect();
        let parts = parts.ok_or(AllReduceError::Turn("parts of some ranks are missing"))?;
        let exports = [&before.secret, &after.secret];
        derive(
            (self.names.clone(), self.rank),
            (self.mode, self.transcript),
            &parts,
            exports,
        )
    }
}

/// Derives the keys of the ring from all parts and the export secrets of the channels before and
/// after.
pub(crate) fn derive(
    (names, rank): (Vec<String>, usize),
    (mode, transcript): (Mode, [u8; 48]),
    parts: &[&[u8]],
    exports: [&SecretBytes; 2],
) -> Result<Ring, AllReduceError> {
    let group = KDF.extract(&transcript, parts)?;
    let next = rank.saturating_add(1);
    let next = next.checked_rem(names.len()).unwrap_or_default();
    let edge = |export: &SecretBytes, edge: usize| match mode {
        Mode::Pairs => KDF.extract(group.expose(), &[export.expose()]),
        Mode::Group => {
            let edge = u16::try_from(edge).unwrap_or(u16::MAX).to_be_bytes();
            let info = Purpose::ALL_REDUCE_EDGE.with(&edge);
            KDF.expand(&group, &[&info], SECRET_BYTES)
        }
    };
    let [before, after] = exports;
    Ok(Ring {
        edges: [edge(before, rank)?, edge(after, next)?],
        names,
        rank,
        transcript,
        group,
        next: AtomicU64::new(0),
    })
}
