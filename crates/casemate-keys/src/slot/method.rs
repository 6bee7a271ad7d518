//! How a slot key is found (`spec/key-store.md`, section 2.1).

use casemate_cbor::{Encoder, Reader, Written};
use casemate_crypto::{
    Purpose, Secret, SecretBytes,
    encoding::KeyId,
    hpke::{HpkeSuite, Kdf},
    kem::{KemPrivateKey, KemPublicKey},
    random,
};
use zeroize::Zeroizing;

use super::{
    cost::{PassphraseCost, SALT_BYTES},
    keeper::{KeeperError, KeeperKind, SlotKeeper},
};
use crate::{StoreError, StoreKey, StoreSecret};

const PASSPHRASE: u64 = 1;
const STORE_KEY: u64 = 2;
const RECIPIENT: u64 = 3;
/// Length of a sealed slot key: the key and a tag.
pub(super) const SEALED_BYTES: usize = 48;
const WRAPPED_BYTES_MAX: usize = 8192;
/// Enough for an age recipient, which has 1,959 characters.
const LOCATION_CHARS_MAX: usize = 4096;

/// What opens a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Passphrase {
        salt: [u8; SALT_BYTES],
        cost: PassphraseCost,
    },
    StoreKey {
        salt: [u8; SALT_BYTES],
    },
    Recipient {
        key: KeyId,
        enc: Vec<u8>,
        sealed: [u8; SEALED_BYTES],
    },
    Kept {
        kind: KeeperKind,
        location: String,
        wrapped: Vec<u8>,
    },
}

/// The kind of secret that a slot takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// A passphrase.
    Passphrase,
    /// A store key.
    Key,
    /// A private key, or nothing that a user knows.
    Other,
}

/// What a new slot is for.
#[derive(Clone, Copy)]
pub enum NewSlot<'a> {
    /// A passphrase or a store key.
    Secret(&'a StoreSecret, PassphraseCost),
    /// A key pair that is kept elsewhere.
    Recipient(&'a KemPublicKey),
    /// A keeper and a location in it.
    Keeper(&'a dyn SlotKeeper, &'a str),
}

impl std::fmt::Debug for NewSlot<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Secret(..) => "NewSlot::Secret",
            Self::Recipient(_) => "NewSlot::Recipient",
            Self::Keeper(..) => "NewSlot::Keeper",
        })
    }
}

/// What may open slots.
#[derive(Clone, Copy, Default)]
pub struct Openers<'a> {
    /// Passphrases, store keys and private keys.
    pub secrets: &'a [StoreSecret],
    /// Tokens, services and file formats.
    pub keepers: &'a [&'a dyn SlotKeeper],
}

impl std::fmt::Debug for Openers<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Openers(..)")
    }
}

impl<'a> From<&'a StoreSecret> for Openers<'a> {
    fn from(secret: &'a StoreSecret) -> Self {
        Self {
            secrets: std::slice::from_ref(secret),
            keepers: &[],
        }
    }
}

/// Keys that may be those of a slot, and what went wrong.
#[derive(Default)]
pub(super) struct Candidates {
    pub(super) keys: Vec<Secret<32>>,
    pub(super) failed: Option<KeeperError>,
}

impl Method {
    /// Returns the method of a new slot, and its slot key.
    pub(super) fn create(
        new: NewSlot<'_>,
        context: &[u8],
    ) -> Result<(Self, Secret<32>), StoreError> {
        match new {
            NewSlot::Secret(secret, cost) => {
                secret.check_new()?;
                match secret {
                    StoreSecret::Passphrase(passphrase) => {
                        let salt = random::bytes()?;
                        let key = cost.check()?.derive(passphrase, &salt)?;
                        Ok((Self::Passphrase { salt, cost }, key))
                    }
                    StoreSecret::Key(key) => {
                        let salt = random::bytes()?;
                        Ok((Self::StoreKey { salt }, of_store_key(key, &salt)?))
                    }
                    StoreSecret::Recipient(key) => {
                        Self::create(NewSlot::Recipient(key.public_key()), context)
                    }
                }
            }
            NewSlot::Recipient(recipient) => {
                let key = Secret::<32>::random()?;
                let info = Purpose::STORE_SLOT_KEY.with(context);
                let suite = HpkeSuite::of(recipient.suite())?;
                let (enc, sealed) = suite.seal(recipient, &info, &[], key.expose())?;
                let method = Self::Recipient {
                    key: recipient.id()?,
                    enc,
                    sealed: sealed
                        .try_into()
                        .map_err(|_| casemate_crypto::Error::Internal)?,
                };
                Ok((method, key))
            }
            NewSlot::Keeper(keeper, location) => {
                let key = Secret::<32>::random()?;
                let wrapped = keeper
                    .wrap(location, context, &key)
                    .map_err(StoreError::Keeper)?;
                let method = Self::Kept {
                    kind: keeper.kind(),
                    location: location.to_owned(),
                    wrapped,
                };
                method.check()?;
                Ok((method, key))
            }
        }
    }

    fn check(&self) -> Result<(), StoreError> {
        let Self::Kept {
            location, wrapped, ..
        } = self
        else {
            return Ok(());
        };
        let plain = !location.is_empty()
            && location.chars().count() <= LOCATION_CHARS_MAX
            && !location.chars().any(char::is_control);
        if !plain {
            return Err(StoreError::Header("the location of a slot is not valid"));
        }
        if wrapped.len() > WRAPPED_BYTES_MAX {
            return Err(StoreError::Header("a wrapped slot key is too long"));
        }
        Ok(())
    }

    /// Returns the keys that the openers give for the slot. Only the slot's tag says whether one is
    /// right.
    pub(super) fn candidates(
        &self,
        openers: Openers<'_>,
        context: &[u8],
    ) -> Result<Candidates, StoreError> {
        let mut found = Candidates::default();
        for secret in openers.secrets {
            match (self, secret) {
                (Self::Passphrase { salt, cost }, StoreSecret::Passphrase(passphrase)) => {
                    found.keys.push(cost.derive(passphrase, salt)?);
                }
                (Self::StoreKey { salt }, StoreSecret::Key(key)) => {
                    found.keys.push(of_store_key(key, salt)?);
                }
                // An age file contains a store key, which opens the slot without the identity.
                (
                    Self::Kept {
                        kind: KeeperKind::Age,
                        ..
                    },
                    StoreSecret::Key(key),
                ) => found
                    .keys
                    .push(Secret::copy_from("store key", key.secret().expose())?),
                (Self::Recipient { key, enc, sealed }, StoreSecret::Recipient(private))
                    if private.public_key().id()? == *key =>
                {
                    found
                        .keys
                        .extend(open_sealed(private, context, enc, sealed)?);
                }
                _ => {}
            }
        }
        let Self::Kept {
            kind,
            location,
            wrapped,
        } = self
        else {
            return Ok(found);
        };
        for keeper in openers
            .keepers
            .iter()
            .filter(|keeper| keeper.kind() == *kind)
        {
            match keeper.unwrap(location, context, wrapped) {
                Ok(key) => found.keys.push(key),
                Err(KeeperError::NotMine) => {}
                Err(error) => found.failed = Some(error),
            }
        }
        Ok(found)
    }

    /// Returns what opens it, in words.
    pub(super) const fn describe(&self) -> &'static str {
        match self {
            Self::Passphrase { .. } => "passphrase",
            Self::StoreKey { .. } => "key file",
            Self::Recipient { .. } => "recipient",
            Self::Kept { kind, .. } => kind.as_str(),
        }
    }

    /// Returns the kind of secret that opens it.
    pub(crate) const fn takes(&self) -> Takes {
        match self {
            Self::Passphrase { .. } => Takes::Passphrase,
            Self::StoreKey { .. } => Takes::Key,
            Self::Recipient { .. } | Self::Kept { .. } => Takes::Other,
        }
    }

    pub(super) const fn is_offline(&self) -> bool {
        match self {
            Self::Passphrase { .. } | Self::StoreKey { .. } | Self::Recipient { .. } => true,
            Self::Kept { kind, .. } => kind.is_offline(),
        }
    }

    /// Returns the cost of an attempt, in KiB times passes.
    pub(super) fn work(&self) -> u64 {
        match self {
            Self::Passphrase { cost, .. } => cost.work(),
            _ => 0,
        }
    }

    pub(super) fn write(&self, e: &mut Encoder<&mut Vec<u8>>) -> Written {
        match self {
            Self::Passphrase { salt, cost } => {
                e.array(5)?.u64(PASSPHRASE)?.bytes(salt)?;
                e.u32(cost.memory_kib)?.u32(cost.passes)?.u32(cost.lanes)?;
            }
            Self::StoreKey { salt } => {
                e.array(2)?.u64(STORE_KEY)?.bytes(salt)?;
            }
            Self::Recipient { key, enc, sealed } => {
                e.array(4)?
                    .u64(RECIPIENT)?
                    .bytes(key.as_bytes())?
                    .bytes(enc)?
                    .bytes(sealed)?;
            }
            Self::Kept {
                kind,
                location,
                wrapped,
            } => {
                e.array(3)?
                    .u64(kind.number())?
                    .str(location)?
                    .bytes(wrapped)?;
            }
        }
        Ok(())
    }

    pub(super) fn read(d: &mut Reader<'_>) -> Result<Self, StoreError> {
        let elements = d.array()?;
        let method = match (d.uint()?, elements) {
            (PASSPHRASE, 5) => {
                let salt = d.fixed("salt")?;
                let cost = PassphraseCost {
                    memory_kib: d.uint32()?,
                    passes: d.uint32()?,
                    lanes: d.uint32()?,
                };
                Self::Passphrase {
                    salt,
                    cost: cost.check()?,
                }
            }
            (STORE_KEY, 2) => Self::StoreKey {
                salt: d.fixed("salt")?,
            },
            (RECIPIENT, 4) => {
                let key = KeyId::from_bytes(d.fixed("key id")?);
                let enc = d.bytes()?;
                if enc.len() > WRAPPED_BYTES_MAX {
                    return Err(StoreError::Header("a wrapped slot key is too long"));
                }
                Self::Recipient {
                    key,
                    enc: enc.to_vec(),
                    sealed: d.fixed("sealed key")?,
                }
            }
            (kind, 3) => Self::Kept {
                kind: KeeperKind::from_number(kind)
                    .ok_or(StoreError::Header("unknown kind of slot"))?,
                location: d.text()?.to_owned(),
                wrapped: d.bytes()?.to_vec(),
            },
            _ => return Err(StoreError::Header("unknown kind of slot")),
        };
        method.check()?;
        Ok(method)
    }
}

/// Opens a slot key that is sealed to a recipient; nothing if it was changed.
fn open_sealed(
    private: &KemPrivateKey,
    context: &[u8],
    enc: &[u8],
    sealed: &[u8],
) -> Result<Option<Secret<32>>, StoreError> {
    let suite = HpkeSuite::of(private.public_key().suite())?;
    let info = Purpose::STORE_SLOT_KEY.with(context);
    match suite.open(enc, private, &info, &[], sealed) {
        Ok(key) => {
            let key = SecretBytes::from(Zeroizing::new(key));
            Ok(Some(Secret::copy_from("slot key", key.expose())?))
        }
        Err(_) => Ok(None),
    }
}

/// Derives the slot key of a store key. It is kept under the root key, so it must not be the store
/// key itself: that may open other key stores, and this one after its root key was replaced.
pub(crate) fn of_store_key(
    key: &StoreKey,
    salt: &[u8; SALT_BYTES],
) -> Result<Secret<32>, StoreError> {
    let kdf = Kdf::HkdfSha384;
    let extracted = kdf.extract(salt, &[key.secret().expose()])?;
    let derived = kdf.expand(&extracted, &[Purpose::STORE_KEY_SLOT.as_bytes()], 32)?;
    Ok(Secret::copy_from("slot key", derived.expose())?)
}
