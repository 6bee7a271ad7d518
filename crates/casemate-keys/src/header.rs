//! The header and its slots (`spec/key-store.md`, section 2).

use argon2::{Algorithm, Argon2, Params, Version};
use casemate_crypto::{
    Secret, SecretBytes,
    hpke::{Aead, AeadKey},
    random,
};
use minicbor::{Decoder, Encoder};
use zeroize::Zeroizing;

use crate::{
    StoreError,
    root::{RootKey, STORE_ID_BYTES},
};

const VERSION: u64 = 1;
const SLOT_PASSPHRASE: u64 = 1;
const SLOTS_MAX: u64 = 16;
const SALT_BYTES: usize = 16;
const NONCE_BYTES: usize = 12;
const WRAPPED_BYTES: usize = 48;
const COMMITMENT_BYTES: usize = 32;
/// Shortest passphrase for a new slot, in bytes.
const PASSPHRASE_BYTES_MIN: usize = 8;

/// What one guess at a passphrase costs (RFC 9106).
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
    /// The second recommended option of RFC 9106, section 4: 64 MiB, 3 passes, 4 lanes.
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

    /// Refuses a header that would make us compute for hours.
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

/// A slot that a passphrase opens.
pub(crate) struct PassphraseSlot {
    salt: [u8; SALT_BYTES],
    cost: PassphraseCost,
    nonce: [u8; NONCE_BYTES],
    wrapped: Vec<u8>,
}

type CborResult = Result<(), minicbor::encode::Error<core::convert::Infallible>>;

impl PassphraseSlot {
    fn new(
        passphrase: &SecretBytes,
        cost: PassphraseCost,
        root: &RootKey,
        store_id: &[u8; STORE_ID_BYTES],
    ) -> Result<Self, StoreError> {
        let actual = passphrase.expose().len();
        if actual < PASSPHRASE_BYTES_MIN {
            return Err(StoreError::PassphraseTooShort {
                actual,
                least: PASSPHRASE_BYTES_MIN,
            });
        }
        let (salt, nonce) = (random::bytes()?, random::bytes()?);
        let mut slot = Self {
            salt,
            cost: cost.check()?,
            nonce,
            wrapped: Vec::new(),
        };
        slot.wrapped =
            slot.key(passphrase)?
                .seal(&slot.nonce, &slot.aad(store_id), root.secret().expose())?;
        Ok(slot)
    }

    fn key(&self, passphrase: &SecretBytes) -> Result<AeadKey, StoreError> {
        let PassphraseCost {
            memory_kib,
            passes,
            lanes,
        } = self.cost;
        let bad = |_| StoreError::Header("passphrase cost is not valid");
        let params = Params::new(memory_kib, passes, lanes, Some(32)).map_err(bad)?;
        let mut key = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase.expose(), &self.salt, key.as_mut_slice())
            .map_err(bad)?;
        Ok(AeadKey::new(Aead::Aes256Gcm, key.as_slice())?)
    }

    fn open(
        &self,
        passphrase: &SecretBytes,
        store_id: &[u8; STORE_ID_BYTES],
    ) -> Result<Secret<32>, StoreError> {
        let root = self
            .key(passphrase)?
            .open(&self.nonce, &self.aad(store_id), &self.wrapped)
            .map_err(|_| StoreError::WrongPassphrase)?;
        Ok(Secret::copy_from("root key", &Zeroizing::new(root))?)
    }

    fn write_parameters(&self, e: &mut Encoder<&mut Vec<u8>>) -> CborResult {
        e.u64(SLOT_PASSPHRASE)?.bytes(&self.salt)?;
        e.u32(self.cost.memory_kib)?
            .u32(self.cost.passes)?
            .u32(self.cost.lanes)?;
        Ok(())
    }

    fn aad(&self, store_id: &[u8; STORE_ID_BYTES]) -> Vec<u8> {
        let parameters = encode(|e| self.write_parameters(e.array(5)?));
        [store_id.as_slice(), &parameters].concat()
    }

    fn write(&self, e: &mut Encoder<&mut Vec<u8>>) -> CborResult {
        self.write_parameters(e.array(7)?)?;
        e.bytes(&self.nonce)?.bytes(&self.wrapped)?;
        Ok(())
    }

    fn read(d: &mut Decoder<'_>) -> Result<Self, StoreError> {
        let kind = (d.array().map_err(damaged)?, d.u64().map_err(damaged)?);
        if kind != (Some(7), SLOT_PASSPHRASE) {
            return Err(StoreError::Header("unknown kind of slot"));
        }
        let salt = fixed(d)?;
        let cost = PassphraseCost {
            memory_kib: d.u32().map_err(damaged)?,
            passes: d.u32().map_err(damaged)?,
            lanes: d.u32().map_err(damaged)?,
        };
        let nonce = fixed(d)?;
        let wrapped = fixed::<WRAPPED_BYTES>(d)?.to_vec();
        Ok(Self {
            salt,
            cost: cost.check()?,
            nonce,
            wrapped,
        })
    }
}

/// Encoding into a vector cannot fail.
pub(crate) fn encode(build: impl FnOnce(&mut Encoder<&mut Vec<u8>>) -> CborResult) -> Vec<u8> {
    let mut out = Vec::new();
    let encoded = build(&mut Encoder::new(&mut out));
    debug_assert!(encoded.is_ok(), "writing into a vector cannot fail");
    out
}

fn damaged(_: minicbor::decode::Error) -> StoreError {
    StoreError::Header("not the expected CBOR structure")
}

fn fixed<const N: usize>(d: &mut Decoder<'_>) -> Result<[u8; N], StoreError> {
    let bytes = d.bytes().map_err(damaged)?;
    bytes
        .try_into()
        .map_err(|_| StoreError::Header("a field has the wrong length"))
}

/// What is needed to recover the root key.
pub(crate) struct Header {
    pub(crate) store_id: [u8; STORE_ID_BYTES],
    created: u64,
    slots: Vec<PassphraseSlot>,
    pub(crate) commitment: [u8; COMMITMENT_BYTES],
}

impl Header {
    /// Makes a new store's header and root key.
    pub(crate) fn create(
        passphrase: &SecretBytes,
        cost: PassphraseCost,
        created: u64,
    ) -> Result<(Self, RootKey), StoreError> {
        let store_id = random::bytes()?;
        let root = RootKey::new(Secret::random()?, store_id);
        let slots = vec![PassphraseSlot::new(passphrase, cost, &root, &store_id)?];
        let commitment = root
            .commitment()?
            .try_into()
            .map_err(|_| StoreError::Crypto(casemate_crypto::Error::Internal))?;
        Ok((
            Self {
                store_id,
                created,
                slots,
                commitment,
            },
            root,
        ))
    }

    /// Recovers the root key through whichever slot the passphrase opens.
    pub(crate) fn unlock(&self, passphrase: &SecretBytes) -> Result<RootKey, StoreError> {
        let mut refused = StoreError::WrongPassphrase;
        for slot in &self.slots {
            match slot.open(passphrase, &self.store_id) {
                Ok(secret) => {
                    let root = RootKey::new(secret, self.store_id);
                    return if root.is_committed(&self.commitment)? {
                        Ok(root)
                    } else {
                        Err(StoreError::WrongPassphrase)
                    };
                }
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        encode(|e| {
            e.map(5)?
                .u8(0)?
                .u64(VERSION)?
                .u8(1)?
                .bytes(&self.store_id)?;
            e.u8(2)?
                .u64(self.created)?
                .u8(3)?
                .array(self.slots.len() as u64)?;
            for slot in &self.slots {
                slot.write(e)?;
            }
            e.u8(4)?.bytes(&self.commitment)?;
            Ok(())
        })
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let mut decoder = Decoder::new(bytes);
        let d = &mut decoder;
        let shape = StoreError::Header("not the expected CBOR structure");
        let entries = d.map().map_err(damaged)?;
        if d.u64().map_err(damaged)? != 0 {
            return Err(shape);
        }
        let version = d.u64().map_err(damaged)?;
        if version != VERSION {
            return Err(StoreError::Version(version));
        }
        if entries != Some(5) {
            return Err(shape);
        }
        d.skip().map_err(damaged)?;
        let store_id = fixed(d)?;
        d.skip().map_err(damaged)?;
        let created = d.u64().map_err(damaged)?;
        d.skip().map_err(damaged)?;
        let count = d
            .array()
            .map_err(damaged)?
            .filter(|count| (1..=SLOTS_MAX).contains(count));
        let count = count.ok_or(StoreError::Header("there must be 1 to 16 slots"))?;
        let slots = (0..count)
            .map(|_| PassphraseSlot::read(d))
            .collect::<Result<_, _>>()?;
        d.skip().map_err(damaged)?;
        let header = Self {
            store_id,
            created,
            slots,
            commitment: fixed(d)?,
        };
        // Keys, order, shortest forms and trailing bytes are all compared here.
        if header.encode() == bytes {
            return Ok(header);
        }
        Err(StoreError::Header("not in deterministic encoding"))
    }
}
