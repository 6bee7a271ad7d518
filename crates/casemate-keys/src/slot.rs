//! Slots: the root key, wrapped for a passphrase or a key (`spec/key-store.md`, section 2).

use argon2::{Algorithm, Argon2, Params, Version};
use casemate_cbor::{Encoder, Reader, Written, encode};
use casemate_crypto::{
    Purpose, Secret, SecretBytes,
    hpke::{Aead, AeadKey, Kdf},
    random,
};
use zeroize::Zeroizing;

use crate::{
    StoreError, StoreSecret,
    root::{RootKey, STORE_ID_BYTES},
};

const PASSPHRASE: u64 = 1;
const KEY: u64 = 2;
const SALT_BYTES: usize = 16;
const NONCE_BYTES: usize = 12;
const WRAPPED_BYTES: usize = 48;
/// Maximum of KiB times passes over all passphrase slots: the cost of the most expensive single
/// slot.
pub(crate) const WORK_MAX: u64 = 1 << 24;

/// The cost of one guess at a passphrase (RFC 9106).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassphraseCost {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Default for PassphraseCost {
    /// Returns the second recommended option of RFC 9106, section 4: 64 MiB, 3 passes, 4 lanes.
    fn default() -> Self {
        Self {
            memory_kib: 65_536,
            passes: 3,
            lanes: 4,
        }
    }
}

impl PassphraseCost {
    const MOST: Self = Self {
        memory_kib: 1 << 20,
        passes: 16,
        lanes: 16,
    };

    /// Refuses a cost that would take hours to compute.
    fn check(self) -> Result<Self, StoreError> {
        let most = Self::MOST;
        let fits = self.memory_kib <= most.memory_kib
            && self.passes <= most.passes
            && self.lanes <= most.lanes;
        if fits {
            Ok(self)
        } else {
            Err(StoreError::Header("passphrase cost exceeds its limit"))
        }
    }
}

/// How the key that wraps the root key is derived from a secret.
#[derive(Clone)]
enum Derivation {
    /// Argon2id, from a passphrase.
    Argon2id {
        salt: [u8; SALT_BYTES],
        cost: PassphraseCost,
    },
    /// HKDF, from a random key.
    Hkdf,
}

impl Derivation {
    fn of(secret: &StoreSecret, cost: PassphraseCost) -> Result<Self, StoreError> {
        secret.check_new()?;
        let StoreSecret::Passphrase(_) = secret else {
            return Ok(Self::Hkdf);
        };
        Ok(Self::Argon2id {
            salt: random::bytes()?,
            cost: cost.check()?,
        })
    }

    /// Returns the wrapping key; `None` if the slot is for the other kind of secret.
    fn key(
        &self,
        secret: &StoreSecret,
        store_id: &[u8; STORE_ID_BYTES],
    ) -> Result<Option<AeadKey>, StoreError> {
        let key = match (self, secret) {
            (Self::Argon2id { salt, cost }, StoreSecret::Passphrase(passphrase)) => {
                argon2id(passphrase, salt, *cost)?
            }
            (Self::Hkdf, StoreSecret::Key(key)) => {
                let kdf = Kdf::HkdfSha384;
                let extracted = kdf.extract(store_id, &[key.secret().expose()])?;
                kdf.expand(&extracted, &[Purpose::STORE_KEY_SLOT.as_bytes()], 32)?
            }
            _ => return Ok(None),
        };
        Ok(Some(AeadKey::new(Aead::Aes256Gcm, key.expose())?))
    }

    /// Writes the elements that the wrapping authenticates, in an array with room for `more`.
    fn write(&self, e: &mut Encoder<&mut Vec<u8>>, more: u64) -> Written {
        match self {
            Self::Argon2id { salt, cost } => {
                e.array(more.saturating_add(5))?;
                e.u64(PASSPHRASE)?.bytes(salt)?;
                e.u32(cost.memory_kib)?.u32(cost.passes)?.u32(cost.lanes)?;
            }
            Self::Hkdf => {
                e.array(more.saturating_add(1))?.u64(KEY)?;
            }
        }
        Ok(())
    }

    fn read(d: &mut Reader<'_>, elements: u64) -> Result<Self, StoreError> {
        match (d.uint()?, elements) {
            (PASSPHRASE, 7) => {
                let salt = d.fixed("salt")?;
                let cost = PassphraseCost {
                    memory_kib: d.uint32()?,
                    passes: d.uint32()?,
                    lanes: d.uint32()?,
                };
                Ok(Self::Argon2id {
                    salt,
                    cost: cost.check()?,
                })
            }
            (KEY, 3) => Ok(Self::Hkdf),
            _ => Err(StoreError::Header("unknown kind of slot")),
        }
    }
}

fn argon2id(
    passphrase: &SecretBytes,
    salt: &[u8; SALT_BYTES],
    cost: PassphraseCost,
) -> Result<SecretBytes, StoreError> {
    let bad = |_| StoreError::Header("passphrase cost is not valid");
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32)).map_err(bad)?;
    let mut key = Zeroizing::new(vec![0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.expose(), salt, key.as_mut_slice())
        .map_err(bad)?;
    Ok(SecretBytes::new(std::mem::take(&mut key)))
}

/// One wrapping of the root key.
#[derive(Clone)]
pub(crate) struct Slot {
    derivation: Derivation,
    nonce: [u8; NONCE_BYTES],
    wrapped: Vec<u8>,
}

impl Slot {
    pub(crate) fn new(
        secret: &StoreSecret,
        cost: PassphraseCost,
        root: &RootKey,
        store_id: &[u8; STORE_ID_BYTES],
    ) -> Result<Self, StoreError> {
        let mut slot = Self {
            derivation: Derivation::of(secret, cost)?,
            nonce: random::bytes()?,
            wrapped: Vec::new(),
        };
        let key = slot
            .derivation
            .key(secret, store_id)?
            .ok_or(StoreError::Crypto(casemate_crypto::Error::Internal))?;
        slot.wrapped = key.seal(&slot.nonce, &slot.aad(store_id), root.secret().expose())?;
        Ok(slot)
    }

    /// Unwraps the root key; returns `None` if the secret does not open the slot. Fails if the slot
    /// is for the other kind of secret.
    pub(crate) fn open(
        &self,
        secret: &StoreSecret,
        store_id: &[u8; STORE_ID_BYTES],
    ) -> Result<Option<Secret<32>>, StoreError> {
        let key = self.derivation.key(secret, store_id)?.ok_or(match secret {
            StoreSecret::Passphrase(_) => StoreError::NeedsKey,
            StoreSecret::Key(_) => StoreError::NeedsPassphrase,
        })?;
        let Ok(root) = key.open(&self.nonce, &self.aad(store_id), &self.wrapped) else {
            return Ok(None);
        };
        let root = Zeroizing::new(root);
        Ok(Some(Secret::copy_from("root key", &root)?))
    }

    /// Returns the cost of an attempt, in KiB times passes.
    pub(crate) fn work(&self) -> u64 {
        match &self.derivation {
            Derivation::Argon2id { cost, .. } => {
                u64::from(cost.memory_kib).saturating_mul(u64::from(cost.passes))
            }
            Derivation::Hkdf => 0,
        }
    }

    fn aad(&self, store_id: &[u8; STORE_ID_BYTES]) -> Vec<u8> {
        let parameters = encode(|e| self.derivation.write(e, 0));
        [store_id.as_slice(), &parameters].concat()
    }

    pub(crate) fn write(&self, e: &mut Encoder<&mut Vec<u8>>) -> Written {
        self.derivation.write(e, 2)?;
        e.bytes(&self.nonce)?.bytes(&self.wrapped)?;
        Ok(())
    }

    pub(crate) fn read(d: &mut Reader<'_>) -> Result<Self, StoreError> {
        let elements = d.array()?;
        Ok(Self {
            derivation: Derivation::read(d, elements)?,
            nonce: d.fixed("nonce")?,
            wrapped: d.fixed::<WRAPPED_BYTES>("wrapped key")?.to_vec(),
        })
    }
}
