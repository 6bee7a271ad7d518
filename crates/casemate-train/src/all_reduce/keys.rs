//! The keys of a session (`spec/masked-all-reduce.md`, sections 2 and 3).

use std::sync::atomic::{AtomicU64, Ordering};

use casemate_crypto::{
    Purpose, Secret, SecretBytes,
    hpke::{Aead, AeadKey, Kdf},
};

use super::{error::AllReduceError, masks::MaskKeys};

pub(super) const KDF: Kdf = Kdf::HkdfSha384;
pub(super) const SECRET_BYTES: usize = 48;
/// First number that no reduction has.
const NUMBER_END: u64 = 1 << 48;

/// Which ranks know the key of an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Its two ranks: other ranks learn the sum only.
    Pairs,
    /// All ranks: a rank that records the network learns everything.
    Group,
}

impl Mode {
    pub(super) const fn id(self) -> u8 {
        match self {
            Self::Pairs => 1,
            Self::Group => 2,
        }
    }
}

/// What one rank knows of a session, and how many reductions it has begun.
pub struct Ring {
    pub(super) names: Vec<String>,
    pub(super) rank: usize,
    pub(super) transcript: [u8; 48],
    pub(super) group: SecretBytes,
    /// The secrets of the edges to the rank before and to the one after.
    pub(super) edges: [SecretBytes; 2],
    pub(crate) next: AtomicU64,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring")
            .field("names", &self.names)
            .field("rank", &self.rank)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

fn derive(
    secret: &SecretBytes,
    purpose: Purpose,
    number: u64,
) -> Result<Secret<32>, AllReduceError> {
    let info = purpose.with(&number.to_be_bytes());
    let key = KDF.expand(secret, &[&info], 32)?;
    Ok(Secret::copy_from("key", key.expose())?)
}

impl Ring {
    /// Returns the names of the ranks.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Returns this rank.
    pub const fn rank(&self) -> usize {
        self.rank
    }

    /// Returns the number of the next reduction.
    pub fn next_number(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// Takes a number, which no other reduction of the session will have.
    pub(super) fn count(&self) -> Result<u64, AllReduceError> {
        let next = |number: u64| (number < NUMBER_END).then(|| number.saturating_add(1));
        let taken = self
            .next
            .try_update(Ordering::Relaxed, Ordering::Relaxed, next);
        taken.map_err(|_| AllReduceError::UsedUp)
    }

    pub(super) fn ranks(&self) -> usize {
        self.names.len()
    }

    pub(super) fn name(&self, rank: usize) -> String {
        self.names.get(rank).cloned().unwrap_or_default()
    }

    pub(super) fn mask_keys(&self, number: u64) -> Result<MaskKeys, AllReduceError> {
        let [before, after] = &self.edges;
        Ok(MaskKeys {
            before: derive(before, Purpose::ALL_REDUCE_MASK, number)?,
            after: derive(after, Purpose::ALL_REDUCE_MASK, number)?,
            output: derive(&self.group, Purpose::ALL_REDUCE_OUTPUT, number)?,
            first: self.rank == 0,
        })
    }

    pub(super) fn tag_key(&self, number: u64) -> Result<Secret<32>, AllReduceError> {
        derive(&self.group, Purpose::ALL_REDUCE_TAG, number)
    }

    /// Returns the key of what a rank sends to all others.
    pub(super) fn sender_key(&self, number: u64, rank: usize) -> Result<AeadKey, AllReduceError> {
        let rank = u16::try_from(rank).unwrap_or(u16::MAX).to_be_bytes();
        let info = Purpose::ALL_REDUCE_SENDER.with(&[&number.to_be_bytes()[..], &rank].concat());
        let key = KDF.expand(&self.group, &[&info], 32)?;
        Ok(AeadKey::new(Aead::Aes256Gcm, key.expose())?)
    }
}
