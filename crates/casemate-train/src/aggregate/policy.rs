//! The signed parameters of secure aggregation (`spec/secure-aggregation.md`, section 2).

use casemate_cbor::{Reader, encode, expect_same};
use casemate_crypto::{
    Purpose,
    encoding::PublicKey,
    hash::sha384,
    kem::KemPublicKey,
    policy::Policy,
    signature::{SigningKey, VerifyingKey},
    suite::MLKEM768_X25519,
};

use super::error::AggregateError;
use crate::{Roster, parts::SIGNATURE_BYTES_MAX};

/// Maximum number of coordinates of an update.
pub const LENGTH_MAX: usize = 1 << 28;
/// Maximum number of clients of a round.
pub const COHORT_MAX: usize = 1024;
/// Maximum number of clients that hold shares of one client.
pub const HOLDERS_MAX: usize = 255;
/// Maximum length of a signed policy, in bytes.
pub const POLICY_BYTES_MAX: usize = 64 * 1024;
const COHORT_MIN: usize = 3;
/// Maximum variance of the noise of one client.
pub(super) const VARIANCE_MAX: u64 = 1 << 50;
const CLIP_NANO_MAX: u64 = 1_000_000_000_000_000;
const VERSION: u64 = 1;
const WHAT: &str = "aggregation policy";

/// Noise for differential privacy (section 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noise {
    /// Largest Euclidean norm of an update, in 10^-9.
    pub norm_nano: u64,
    /// Variance of the noise that each client adds, in units of the ring.
    pub variance: u64,
}

/// The parameters of secure aggregation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// Coordinates of an update, 1 to [`LENGTH_MAX`].
    pub length: usize,
    /// Bits of a quantised coordinate, 4 to 28.
    pub bits: u32,
    /// Bits of the ring, up to 32.
    pub ring_bits: u32,
    /// Largest absolute value of a coordinate, in 10^-9.
    pub clip_nano: u64,
    /// Largest weight of a client.
    pub weight_max: u32,
    /// Smallest number of clients, at least 3.
    pub cohort_min: usize,
    /// Largest number of clients, at most [`COHORT_MAX`]; 256 in the complete graph.
    pub cohort_max: usize,
    /// Share holders that each client chooses, at most [`HOLDERS_MAX`]; 0 for the complete graph.
    pub neighbours: usize,
    /// Threshold in thousandths of the share holders, 500 to 999.
    pub threshold: u32,
    /// Noise, if the policy demands it.
    pub noise: Option<Noise>,
}

const fn rule(text: &'static str) -> AggregateError {
    AggregateError::Policy(text)
}

impl Parameters {
    /// Returns the number of share holders of a client in a cohort.
    pub fn holders(&self, cohort: usize) -> usize {
        if self.neighbours == 0 {
            cohort.saturating_sub(1)
        } else {
            self.neighbours
        }
    }

    /// Returns how many of `holders` shares restore a secret.
    pub fn shares_needed(&self, holders: usize) -> usize {
        let share = holders.saturating_mul(self.threshold as usize) / 1000;
        share.saturating_add(1)
    }

    /// Returns the largest quantised value, `2^b - 1`.
    pub(super) const fn level_max(&self) -> u32 {
        (1u32 << self.bits).saturating_sub(1)
    }

    /// Returns how far the noise of the largest cohort may reach.
    pub(super) fn tail(&self) -> u64 {
        self.noise.map_or(0, |noise| {
            let variance = noise.variance.saturating_mul(self.cohort_max as u64);
            let root = variance.isqrt();
            let up = u64::from(root.saturating_mul(root) < variance);
            root.saturating_add(up)
                .saturating_mul(24)
                .saturating_add(24)
        })
    }

    /// Returns the bytes of a masked vector.
    pub fn vector_bytes(&self) -> usize {
        let bits = self
            .length
            .saturating_add(1)
            .saturating_mul(self.ring_bits as usize);
        bits.div_ceil(8)
    }

    pub(super) fn check(&self) -> Result<(), AggregateError> {
        if !(1..=LENGTH_MAX).contains(&self.length) {
            return Err(rule("an update must have 1 to 2^28 coordinates"));
        }
        if !(4..=28).contains(&self.bits) || !(self.bits..=32).contains(&self.ring_bits) {
            return Err(rule(
                "a coordinate must have 4 to 28 bits, and the ring at least as many and at most 32",
            ));
        }
        if !(1..=CLIP_NANO_MAX).contains(&self.clip_nano) {
            return Err(rule("the clip must be 1 to 10^15, in 10^-9"));
        }
        if !(1..=self.level_max()).contains(&self.weight_max) {
            return Err(rule("the largest weight must be 1 to 2^b - 1"));
        }
        if self.cohort_min < COHORT_MIN || self.cohort_max > COHORT_MAX {
            return Err(rule("a cohort must have 3 to 1,024 clients"));
        }
        if self.cohort_max < self.cohort_min {
            return Err(rule("the largest cohort is smaller than the smallest"));
        }
        if !(500..=999).contains(&self.threshold) {
            return Err(rule("the threshold must be 500 to 999 thousandths"));
        }
        if self.holders(self.cohort_max) > HOLDERS_MAX {
            return Err(rule(
                "a client must have at most 255 share holders; choose fewer neighbours",
            ));
        }
        if self.neighbours == 1 {
            // Its threshold would be 1: each share would be the secret.
            return Err(rule("a client must choose at least 2 neighbours"));
        }
        if self.neighbours >= self.cohort_min {
            return Err(rule(
                "there must be fewer neighbours than clients in the smallest cohort",
            ));
        }
        if let Some(noise) = self.noise {
            if noise.norm_nano == 0 || noise.variance == 0 || self.weight_max != 1 {
                return Err(rule(
                    "noise needs a norm and a variance, and a largest weight of 1",
                ));
            }
            if noise.norm_nano > CLIP_NANO_MAX {
                return Err(rule("the norm must be at most 10^15, in 10^-9"));
            }
            if noise.variance > VARIANCE_MAX {
                return Err(rule("the variance of the noise must be at most 2^50"));
            }
        }
        let sum = u64::from(self.level_max()).saturating_mul(self.cohort_max as u64);
        if sum.saturating_add(self.tail().saturating_mul(2)) >= 1 << self.ring_bits {
            return Err(rule(
                "the ring has no room for the sum of the largest cohort",
            ));
        }
        Ok(())
    }
}

/// A policy that was checked.
#[derive(Debug)]
pub struct AggregationPolicy {
    roster: [u8; 48],
    parameters: Parameters,
    aggregator: KemPublicKey,
    encoded: Vec<u8>,
    digest: [u8; 48],
}

impl AggregationPolicy {
    /// Makes the policy of a roster.
    ///
    /// # Errors
    ///
    /// [`AggregateError::Policy`] for a rule that the parameters break.
    pub fn new(
        roster: &Roster,
        parameters: Parameters,
        aggregator: &KemPublicKey,
    ) -> Result<Self, AggregateError> {
        let aggregator = KemPublicKey::new(aggregator.suite(), aggregator.as_bytes())?;
        Self::checked(*roster.digest(), parameters, aggregator)
    }

    fn checked(
        roster: [u8; 48],
        parameters: Parameters,
        aggregator: KemPublicKey,
    ) -> Result<Self, AggregateError> {
        parameters.check()?;
        if aggregator.suite().name != MLKEM768_X25519.name {
            return Err(rule(
                "the aggregator's key must be of the suite mlkem768-x25519",
            ));
        }
        let mut policy = Self {
            roster,
            parameters,
            aggregator,
            encoded: Vec::new(),
            digest: [0; 48],
        };
        policy.encoded = policy.encode()?;
        policy.digest = sha384(&policy.encoded);
        Ok(policy)
    }

    fn encode(&self) -> Result<Vec<u8>, AggregateError> {
        let key = self.aggregator.to_spki_der();
        let key = key.map_err(|_| rule("the aggregator's key cannot be encoded"))?;
        let p = &self.parameters;
        Ok(encode(|e| {
            e.map(13)?.u8(0)?.u64(VERSION)?.u8(1)?.bytes(&self.roster)?;
            e.u8(2)?.u64(p.length as u64)?.u8(3)?.u32(p.bits)?;
            e.u8(4)?.u32(p.ring_bits)?.u8(5)?.u64(p.clip_nano)?;
            e.u8(6)?
                .u32(p.weight_max)?
                .u8(7)?
                .u64(p.cohort_min as u64)?;
            e.u8(8)?
                .u64(p.cohort_max as u64)?
                .u8(9)?
                .u64(p.neighbours as u64)?;
            e.u8(10)?.u32(p.threshold)?.u8(11)?.bytes(&key)?.u8(12)?;
            match p.noise {
                None => e.array(0)?,
                Some(noise) => e.array(2)?.u64(noise.norm_nano)?.u64(noise.variance)?,
            };
            Ok(())
        }))
    }

    /// Returns the signed policy.
    ///
    /// # Errors
    ///
    /// [`AggregateError::Crypto`] if signing fails.
    pub fn sign(&self, signer: &SigningKey) -> Result<Vec<u8>, AggregateError> {
        let signature = signer.sign(Purpose::AGGREGATE_POLICY, &self.encoded)?;
        Ok(envelope(&self.encoded, &signature))
    }

    /// Verifies the signed policy of a roster.
    ///
    /// # Errors
    ///
    /// [`AggregateError::PolicySignature`], [`AggregateError::PolicyRoster`],
    /// [`AggregateError::Algorithms`], or [`AggregateError::Policy`] for a rule that it breaks.
    pub fn open(
        bytes: &[u8],
        roster: &Roster,
        signer: &VerifyingKey,
        algorithms: &Policy,
    ) -> Result<Self, AggregateError> {
        if bytes.len() > POLICY_BYTES_MAX {
            return Err(rule("it is longer than 65,536 bytes"));
        }
        let d = &mut Reader::new(bytes, WHAT);
        d.array_of(2)?;
        let (encoded, signature) = (d.bytes()?, d.bytes()?);
        if !(1..=SIGNATURE_BYTES_MAX).contains(&signature.len()) {
            return Err(rule("its signature has the wrong length"));
        }
        expect_same(bytes, &envelope(encoded, signature), WHAT)?;
        // Nothing in it is believed before its signature.
        algorithms.check_signature(signer.suite())?;
        signer
            .verify(Purpose::AGGREGATE_POLICY, encoded, signature)
            .map_err(|_| AggregateError::PolicySignature)?;
        let policy = Self::decode(encoded)?;
        if policy.roster != *roster.digest() {
            return Err(AggregateError::PolicyRoster);
        }
        algorithms.check_kem(policy.aggregator.suite())?;
        Ok(policy)
    }

    fn decode(bytes: &[u8]) -> Result<Self, AggregateError> {
        let d = &mut Reader::new(bytes, WHAT);
        let entries = d.map()?;
        d.key(0)?;
        if d.uint()? != VERSION {
            return Err(rule("unknown version"));
        }
        if entries != 13 {
            return Err(d.refused().into());
        }
        d.key(1)?;
        let roster = d.fixed("roster digest")?;
        let mut fields = [0; 9];
        for (at, field) in (2..).zip(&mut fields) {
            d.key(at)?;
            *field = d.uint()?;
        }
        d.key(11)?;
        let PublicKey::Kem(aggregator) = PublicKey::from_spki_der(d.bytes()?)
            .map_err(|_| rule("the aggregator's key cannot be read"))?
        else {
            return Err(rule("the aggregator's key is not a KEM key"));
        };
        d.key(12)?;
        let noise = match d.array()? {
            0 => None,
            2 => Some(Noise {
                norm_nano: d.uint()?,
                variance: d.uint()?,
            }),
            _ => return Err(d.refused().into()),
        };
        // A number that does not fit is larger than any limit.
        let size = |value| usize::try_from(value).unwrap_or(usize::MAX);
        let small = |value| u32::try_from(value).unwrap_or(u32::MAX);
        let [
            length,
            bits,
            ring,
            clip_nano,
            weight,
            least,
            most,
            neighbours,
            threshold,
        ] = fields;
        let parameters = Parameters {
            length: size(length),
            bits: small(bits),
            ring_bits: small(ring),
            clip_nano,
            weight_max: small(weight),
            cohort_min: size(least),
            cohort_max: size(most),
            neighbours: size(neighbours),
            threshold: small(threshold),
            noise,
        };
        let policy = Self::checked(roster, parameters, aggregator)?;
        expect_same(bytes, &policy.encoded, WHAT)?;
        Ok(policy)
    }

    /// Returns the parameters.
    pub const fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Returns the key that reveals are encrypted to.
    pub const fn aggregator(&self) -> &KemPublicKey {
        &self.aggregator
    }

    /// Returns the digest that every message of a round is bound to.
    pub const fn digest(&self) -> &[u8; 48] {
        &self.digest
    }

    /// Returns the digest of the roster that the policy is for.
    pub(super) const fn roster(&self) -> &[u8; 48] {
        &self.roster
    }
}

fn envelope(policy: &[u8], signature: &[u8]) -> Vec<u8> {
    encode(|e| e.array(2)?.bytes(policy)?.bytes(signature).map(drop))
}
