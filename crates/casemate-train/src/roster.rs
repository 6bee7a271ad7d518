//! The signed list of a job's members (`spec/training.md`, section 2).

use std::collections::HashSet;

use casemate_cbor::{Reader, encode, expect_same};
use casemate_crypto::{
    Purpose,
    encoding::{KeyId, PublicKey},
    hash::sha384,
    policy::Policy,
    signature::{SigningKey, VerifyingKey},
};

use crate::{
    error::{TrainError, check_len},
    parts::SIGNATURE_BYTES_MAX,
};

/// Maximum length of a signed roster, in bytes.
pub const ROSTER_BYTES_MAX: usize = 1 << 24;
/// Maximum number of members.
pub const MEMBERS_MAX: usize = 4096;
const MEMBERS_MIN: usize = 2;
const NAME_BYTES_MAX: usize = 64;
const KEY_BYTES_MAX: usize = 8 * 1024;
const VERSION: u64 = 1;
const ROSTER: &str = "roster";

/// A member of a job.
#[derive(Debug)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// The key that it signs with.
    pub key: VerifyingKey,
    id: KeyId,
}

impl Member {
    /// Returns the id of its key.
    pub const fn id(&self) -> KeyId {
        self.id
    }
}

/// What a member demands of a roster.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// The roster's signer, known from elsewhere.
    pub signer: &'a VerifyingKey,
    /// The current time, in seconds since 1970-01-01 UTC.
    pub now: u64,
    /// The job; `None` only for a member that has not accepted any roster of it yet.
    pub job: Option<[u8; 16]>,
    /// The highest epoch accepted for the job before; 0 or 1 if there was none.
    pub epoch_min: u64,
    /// The policy in force, which every key must meet.
    pub policy: &'a Policy,
}

/// The members of a job.
#[derive(Debug)]
pub struct Roster {
    job: [u8; 16],
    epoch: u64,
    created: u64,
    expires: u64,
    members: Vec<Member>,
    encoded: Vec<u8>,
    digest: [u8; 48],
}

/// Returns whether a name has 1 to 64 characters from `a-z 0-9 . _ -` and begins with a letter or
/// digit.
fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().next().is_some_and(plain)
        && name
            .bytes()
            .all(|byte| plain(byte) || b"._-".contains(&byte))
}

impl Roster {
    /// Makes a roster of members in any order.
    ///
    /// # Errors
    ///
    /// [`TrainError::Roster`] for a rule that it breaks.
    pub fn new(
        job: [u8; 16],
        epoch: u64,
        created: u64,
        expires: u64,
        members: &[(&str, &VerifyingKey)],
    ) -> Result<Self, TrainError> {
        let mut sorted = members.to_vec();
        sorted.sort_by_key(|(name, _)| *name);
        let members = sorted.into_iter().map(|(name, key)| {
            let key = VerifyingKey::new(key.suite(), key.as_bytes())?;
            Self::member_of(name, key)
        });
        let mut roster = Self {
            job,
            epoch,
            created,
            expires,
            members: members.collect::<Result<_, _>>()?,
            encoded: Vec::new(),
            digest: [0; 48],
        };
        roster.check()?;
        roster.encoded = roster.encode()?;
        roster.digest = sha384(&roster.encoded);
        Ok(roster)
    }

    fn member_of(name: &str, key: VerifyingKey) -> Result<Member, TrainError> {
        if !is_name(name) {
            return Err(TrainError::Roster(
                "a name must have 1 to 64 characters from a-z, 0-9, `.`, `_` and `-`, and begin with a letter or digit",
            ));
        }
        let id = key.id()?;
        Ok(Member {
            name: name.to_owned(),
            key,
            id,
        })
    }

    fn check(&self) -> Result<(), TrainError> {
        if self.epoch == 0 {
            return Err(TrainError::Roster("epochs start at 1"));
        }
        if self.expires <= self.created {
            return Err(TrainError::Roster("it must expire after its creation"));
        }
        if !(MEMBERS_MIN..=MEMBERS_MAX).contains(&self.members.len()) {
            return Err(TrainError::Roster("there must be 2 to 4,096 members"));
        }
        if self
            .members
            .windows(2)
            .any(|pair| matches!(pair, [first, second] if first.name >= second.name))
        {
            return Err(TrainError::Roster("names are not in ascending order"));
        }
        let keys: HashSet<_> = self.members.iter().map(|member| member.id).collect();
        if keys.len() != self.members.len() {
            return Err(TrainError::Roster("two members have the same key"));
        }
        Ok(())
    }

    fn encode(&self) -> Result<Vec<u8>, TrainError> {
        let keys = self.members.iter().map(|member| member.key.to_spki_der());
        let keys = keys
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| TrainError::Roster("a member's key cannot be encoded"))?;
        Ok(encode(|e| {
            e.map(6)?.u8(0)?.u64(VERSION)?.u8(1)?.bytes(&self.job)?;
            e.u8(2)?.u64(self.epoch)?.u8(3)?.u64(self.created)?;
            e.u8(4)?.u64(self.expires)?;
            e.u8(5)?.array(self.members.len() as u64)?;
            for (member, key) in self.members.iter().zip(&keys) {
                e.array(2)?.str(&member.name)?.bytes(key)?;
            }
            Ok(())
        }))
    }

    /// Returns the signed roster.
    ///
    /// # Errors
    ///
    /// [`TrainError::Length`] if it has more than [`ROSTER_BYTES_MAX`] bytes;
    /// [`TrainError::Crypto`] if signing fails.
    pub fn sign(&self, signer: &SigningKey) -> Result<Vec<u8>, TrainError> {
        let signature = signer.sign(Purpose::TRAIN_ROSTER, &self.encoded)?;
        let signed = envelope(&self.encoded, &signature);
        check_len("signed roster", signed.len(), 0, ROSTER_BYTES_MAX)?;
        Ok(signed)
    }

    /// Verifies a signed roster.
    ///
    /// # Errors
    ///
    /// [`TrainError::RosterSignature`], [`TrainError::RosterJob`], [`TrainError::RosterEarly`],
    /// [`TrainError::RosterExpired`], [`TrainError::RosterEpoch`], [`TrainError::Policy`], or
    /// [`TrainError::Roster`] for a rule that it breaks.
    pub fn open(bytes: &[u8], terms: &Terms<'_>) -> Result<Self, TrainError> {
        check_len("signed roster", bytes.len(), 0, ROSTER_BYTES_MAX)?;
        let d = &mut Reader::new(bytes, ROSTER);
        d.array_of(2)?;
        let (encoded, signature) = (d.bytes()?, d.bytes()?);
        check_len("signature", signature.len(), 1, SIGNATURE_BYTES_MAX)?;
        expect_same(bytes, &envelope(encoded, signature), ROSTER)?;
        // Nothing in it is believed before its signature.
        terms.policy.check_signature(terms.signer.suite())?;
        terms
            .signer
            .verify(Purpose::TRAIN_ROSTER, encoded, signature)
            .map_err(|_| TrainError::RosterSignature)?;
        let roster = Self::decode(encoded)?;
        if terms.job.is_some_and(|job| job != roster.job) {
            return Err(TrainError::RosterJob);
        }
        roster.check_date(terms.now)?;
        if roster.epoch < terms.epoch_min {
            return Err(TrainError::RosterEpoch {
                epoch: roster.epoch,
                minimum: terms.epoch_min,
            });
        }
        for member in &roster.members {
            terms.policy.check_signature(member.key.suite())?;
        }
        Ok(roster)
    }

    fn decode(bytes: &[u8]) -> Result<Self, TrainError> {
        let d = &mut Reader::new(bytes, ROSTER);
        let entries = d.map()?;
        d.key(0)?;
        if d.uint()? != VERSION {
            return Err(TrainError::Roster("unknown version"));
        }
        if entries != 6 {
            return Err(d.refused().into());
        }
        d.key(1)?;
        let job = d.fixed("job id")?;
        d.key(2)?;
        let epoch = d.uint()?;
        d.key(3)?;
        let created = d.uint()?;
        d.key(4)?;
        let expires = d.uint()?;
        d.key(5)?;
        let count = d.array()?;
        if count > MEMBERS_MAX as u64 {
            return Err(TrainError::Roster("there must be 2 to 4,096 members"));
        }
        // Grows as members are read, so a large count alone allocates nothing.
        let mut members = Vec::new();
        for _ in 0..count {
            d.array_of(2)?;
            let (name, spki) = (d.text()?, d.bytes()?);
            check_len("a member's key", spki.len(), 1, KEY_BYTES_MAX)?;
            let Ok(PublicKey::Sign(key)) = PublicKey::from_spki_der(spki) else {
                return Err(TrainError::Roster("a member's key is not a signing key"));
            };
            members.push(Self::member_of(name, key)?);
        }
        let roster = Self {
            job,
            epoch,
            created,
            expires,
            members,
            encoded: bytes.to_vec(),
            digest: sha384(bytes),
        };
        roster.check()?;
        expect_same(bytes, &roster.encode()?, ROSTER)?;
        Ok(roster)
    }

    /// Checks that the roster is valid at this time.
    pub(crate) const fn check_date(&self, now: u64) -> Result<(), TrainError> {
        if now < self.created {
            return Err(TrainError::RosterEarly {
                created: self.created,
                now,
            });
        }
        if now >= self.expires {
            return Err(TrainError::RosterExpired {
                expires: self.expires,
                now,
            });
        }
        Ok(())
    }

    /// Returns the job, the same in each of its rosters.
    pub const fn job(&self) -> &[u8; 16] {
        &self.job
    }

    /// Returns the epoch, from 1.
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Returns when it was made, in seconds since 1970-01-01 UTC.
    pub const fn created(&self) -> u64 {
        self.created
    }

    /// Returns when it expires, in seconds since 1970-01-01 UTC.
    pub const fn expires(&self) -> u64 {
        self.expires
    }

    /// Returns the members, in ascending order of their names.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Returns the digest that both ends of a channel compare.
    pub const fn digest(&self) -> &[u8; 48] {
        &self.digest
    }

    /// Returns a member's place among the others.
    pub(crate) fn position(&self, name: &str) -> Result<usize, TrainError> {
        self.members
            .binary_search_by(|member| member.name.as_str().cmp(name))
            .map_err(|_| not_a_member(name))
    }

    /// Returns a member.
    ///
    /// # Errors
    ///
    /// [`TrainError::NotAMember`].
    pub fn member(&self, name: &str) -> Result<&Member, TrainError> {
        let at = self.position(name)?;
        self.members.get(at).ok_or_else(|| not_a_member(name))
    }

    /// Returns a member, if this is the roster with which the handshake began.
    pub(crate) fn member_as_begun(
        &self,
        digest: &[u8; 48],
        name: &str,
    ) -> Result<&Member, TrainError> {
        if *digest != self.digest {
            return Err(TrainError::OtherRoster);
        }
        self.member(name)
    }

    /// Returns the member of this name if it has this key.
    pub(crate) fn own(&self, name: &str, key: &SigningKey) -> Result<&Member, TrainError> {
        let member = self.member(name)?;
        if member.id == key.verifying_key().id()? {
            return Ok(member);
        }
        Err(TrainError::OtherKey(member.name.clone()))
    }
}

fn not_a_member(name: &str) -> TrainError {
    // A name may come from the network.
    let shown: String = name.chars().take(NAME_BYTES_MAX).collect();
    TrainError::NotAMember(shown.escape_debug().to_string())
}

fn envelope(roster: &[u8], signature: &[u8]) -> Vec<u8> {
    encode(|e| e.array(2)?.bytes(roster)?.bytes(signature).map(drop))
}
