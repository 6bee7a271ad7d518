//! What binds a round, and what is derived in it (`spec/secure-aggregation.md`, section 3).

use std::sync::Arc;

use casemate_crypto::{
    Purpose, Secret, SecretBytes,
    hash::sha384_of,
    hpke::{HpkeSuite, Kdf},
    kem::{KemPrivateKey, KemPublicKey},
    suite::{KemSuite, MLKEM768_X25519},
};

use super::{
    error::AggregateError,
    floors::Floors,
    policy::{AggregationPolicy, Parameters},
};
use crate::{Member, Roster};

pub(super) const KEM: &KemSuite = &MLKEM768_X25519;
/// Length of a seed, a share or a part of an edge's secret.
pub(super) const SEED_BYTES: usize = 32;
/// Length of [`Round::ctx`].
pub(super) const CONTEXT_BYTES: usize = 48;

/// A member's position in the roster.
pub(super) type Position = u16;

/// Which of a client's secrets a share or a commitment is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The seed of its pairwise masks, revealed if it drops out.
    Mask,
    /// The seed of its own mask, revealed if it survives.
    Own,
    /// The seed of its own mask as a whole.
    OwnWhole,
}

impl Kind {
    pub(super) const fn id(self) -> u8 {
        match self {
            Self::Mask => 1,
            Self::Own => 2,
            Self::OwnWhole => 3,
        }
    }
}

/// A round of a job: its number, and the model that all clients start from.
#[derive(Clone, Debug)]
pub struct Round {
    roster: Arc<Roster>,
    policy: Arc<AggregationPolicy>,
    number: u64,
    ctx: [u8; CONTEXT_BYTES],
}

impl Round {
    /// Describes a round. `model` is the digest of the model that the clients start from, which
    /// each client computes itself.
    ///
    /// # Errors
    ///
    /// [`AggregateError::PolicyRoster`] if the policy is for another roster.
    pub fn new(
        roster: Arc<Roster>,
        policy: Arc<AggregationPolicy>,
        number: u64,
        model: &[u8; 48],
    ) -> Result<Self, AggregateError> {
        if policy.roster() != roster.digest() {
            return Err(AggregateError::PolicyRoster);
        }
        let ctx = sha384_of(&[
            Purpose::AGGREGATE.as_bytes(),
            &[0],
            policy.digest(),
            &number.to_be_bytes(),
            model,
        ]);
        Ok(Self {
            roster,
            policy,
            number,
            ctx,
        })
    }

    /// Returns the number of the round.
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Returns what every message is bound to: 48 bytes that no other round has.
    pub const fn context(&self) -> &[u8; CONTEXT_BYTES] {
        &self.ctx
    }

    /// Returns the policy.
    pub fn policy(&self) -> &AggregationPolicy {
        &self.policy
    }

    /// Returns how many of the survivors of a round have certainly added noise to what the server
    /// learns, if these floors count the corrupt members.
    pub fn noisy_clients(&self, survivors: usize, floors: &Floors) -> usize {
        let members = self.roster.members().len();
        floors.noisy_in(self.parameters(), survivors, members)
    }

    pub(super) fn parameters(&self) -> &Parameters {
        self.policy.parameters()
    }

    pub(super) fn roster(&self) -> &Roster {
        &self.roster
    }

    pub(super) fn member(&self, at: Position) -> Option<&Member> {
        self.roster.members().get(usize::from(at))
    }

    /// Returns a member's name, or its position if there is none.
    pub(super) fn name(&self, at: Position) -> String {
        self.member(at)
            .map_or_else(|| at.to_string(), |member| member.name.clone())
    }

    pub(super) fn position(&self, name: &str) -> Result<Position, AggregateError> {
        let at = self.roster.position(name)?;
        // A roster has at most 4,096 members.
        Ok(Position::try_from(at).unwrap_or(Position::MAX))
    }

    /// Returns `purpose || 00 || ctx || parts`.
    pub(super) fn info(&self, purpose: Purpose, parts: &[&[u8]]) -> Vec<u8> {
        [&[purpose.as_bytes(), &[0], &self.ctx], parts]
            .concat()
            .concat()
    }

    fn expand(
        &self,
        secret: &[u8],
        purpose: Purpose,
        parts: &[&[u8]],
    ) -> Result<Secret<SEED_BYTES>, AggregateError> {
        let info = self.info(purpose, parts);
        let secret = SecretBytes::new(secret.to_vec());
        let out = Kdf::HkdfSha384.expand(&secret, &[&info], SEED_BYTES)?;
        Ok(Secret::copy_from("derived key", out.expose())?)
    }

    /// Derives a client's KEM key from its mask seed or its channel seed.
    pub(super) fn kem_key(
        &self,
        seed: &Secret<SEED_BYTES>,
    ) -> Result<KemPrivateKey, AggregateError> {
        let seed = self.expand(seed.expose(), Purpose::AGGREGATE_KEY, &[])?;
        Ok(KemPrivateKey::from_seed(KEM, seed.expose())?)
    }

    /// Derives a client's part of the secret of an edge that it chose, from its mask seed.
    pub(super) fn edge_part(
        &self,
        mask_seed: &Secret<SEED_BYTES>,
        to: Position,
    ) -> Result<Secret<SEED_BYTES>, AggregateError> {
        self.expand(
            mask_seed.expose(),
            Purpose::AGGREGATE_EDGE,
            &[&to.to_be_bytes()],
        )
    }

    /// Derives the key of a client's own mask.
    pub(super) fn own_mask(
        &self,
        self_seed: &Secret<SEED_BYTES>,
    ) -> Result<Secret<SEED_BYTES>, AggregateError> {
        self.expand(self_seed.expose(), Purpose::AGGREGATE_SELF, &[])
    }

    /// Derives the key of the mask between two clients, from the part of each that chose the edge.
    pub(super) fn pair_mask(
        &self,
        (lower, part_of_lower): (Position, Option<&Secret<SEED_BYTES>>),
        (higher, part_of_higher): (Position, Option<&Secret<SEED_BYTES>>),
    ) -> Result<Secret<SEED_BYTES>, AggregateError> {
        let mut parts = zeroize::Zeroizing::new(Vec::with_capacity(2 * SEED_BYTES));
        for part in [part_of_lower, part_of_higher].into_iter().flatten() {
            parts.extend_from_slice(part.expose());
        }
        let (lower, higher) = (lower.to_be_bytes(), higher.to_be_bytes());
        self.expand(&parts, Purpose::AGGREGATE_PAIR, &[&lower, &higher])
    }

    /// Returns the commitment to a share of `of` that `holder` has.
    pub(super) fn commitment(
        &self,
        kind: Kind,
        of: Position,
        holder: Position,
        share: &[u8],
    ) -> [u8; 48] {
        sha384_of(&[
            Purpose::AGGREGATE_COMMITMENT.as_bytes(),
            &[0],
            &self.ctx,
            &[kind.id()],
            &of.to_be_bytes(),
            &holder.to_be_bytes(),
            share,
        ])
    }

    /// Encrypts `plaintext` from one member to another's key, and appends it to `out`.
    pub(super) fn seal(
        &self,
        purpose: Purpose,
        (from, to): (Position, Position),
        key: &KemPublicKey,
        plaintext: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), AggregateError> {
        let info = self.info(purpose, &[&from.to_be_bytes(), &to.to_be_bytes()]);
        let (enc, ciphertext) = HpkeSuite::of(KEM)?.seal(key, &info, &[], plaintext)?;
        out.extend_from_slice(&enc);
        out.extend_from_slice(&ciphertext);
        Ok(())
    }

    /// Decrypts what [`Self::seal`] wrote, of exactly `N` bytes.
    pub(super) fn open<const N: usize>(
        &self,
        purpose: Purpose,
        (from, to): (Position, Position),
        key: &KemPrivateKey,
        sealed: &[u8],
    ) -> Result<Secret<N>, AggregateError> {
        let info = self.info(purpose, &[&from.to_be_bytes(), &to.to_be_bytes()]);
        let (enc, ciphertext) = sealed
            .split_at_checked(KEM.ciphertext_bytes)
            .ok_or(casemate_crypto::Error::Rejected)?;
        let opened = HpkeSuite::of(KEM)?.open(enc, key, &info, &[], ciphertext)?;
        let opened = SecretBytes::new(opened);
        Ok(Secret::copy_from("decrypted share", opened.expose())?)
    }
}
