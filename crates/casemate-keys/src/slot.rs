//! Slots: the root key, or a share of it, wrapped for whoever opens it (`spec/key-store.md`,
//! section 2.1).

mod cost;
mod keeper;
mod method;

use casemate_cbor::{Encoder, Reader, Written, encode};
use casemate_crypto::{
    Purpose, Secret, SecretBytes,
    hpke::{Aead, AeadKey},
    random,
};
use zeroize::Zeroizing;

use crate::{
    StoreError,
    name::SlotName,
    root::{RootKey, STORE_ID_BYTES, derive},
};
pub use cost::PassphraseCost;
pub(crate) use cost::{SALT_BYTES, WORK_MAX};
pub use keeper::{KeeperError, KeeperKind, SlotKeeper};
pub(crate) use method::{Method, Takes, of_store_key};
pub use method::{NewSlot, Openers};

pub(crate) const NONCE_BYTES: usize = 12;
pub(crate) const WRAPPED_BYTES: usize = 48;
const KEPT_BYTES: usize = NONCE_BYTES + WRAPPED_BYTES;
pub(crate) const SHARING_BYTES: usize = 16;

/// The place of a slot in a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Membership {
    pub(crate) group: SlotName,
    pub(crate) share: u8,
}

/// One wrapping of the root key, or of a share of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) name: SlotName,
    created: u64,
    pub(crate) method: Method,
    pub(crate) membership: Option<Membership>,
    nonce: [u8; NONCE_BYTES],
    wrapped: [u8; WRAPPED_BYTES],
    kept: [u8; KEPT_BYTES],
}

/// What came of trying a slot.
pub(crate) enum Answer {
    /// It opened; this is its payload.
    Payload(Secret<32>),
    /// Nothing was given that could open it.
    NotAsked,
    /// What was given is wrong, or the slot was changed.
    Wrong,
    /// Its keeper failed.
    Failed(KeeperError),
}

/// What a slot wraps, and in which sharing.
#[derive(Clone, Copy)]
pub(crate) struct Payload<'a> {
    pub(crate) secret: &'a Secret<32>,
    pub(crate) sharing: Option<&'a [u8; SHARING_BYTES]>,
}

impl Slot {
    /// Creates a slot that opens the key store alone.
    pub(crate) fn create(
        name: SlotName,
        new: NewSlot<'_>,
        created: u64,
        root: &RootKey,
    ) -> Result<Self, StoreError> {
        let (method, key) = Method::create(new, &context_of(root.store_id(), &name))?;
        Self::of_method(name, method, &key, created, root)
    }

    /// Creates the slot of a slot key that is found in this way.
    pub(crate) fn of_method(
        name: SlotName,
        method: Method,
        key: &Secret<32>,
        created: u64,
        root: &RootKey,
    ) -> Result<Self, StoreError> {
        let mut slot = Self {
            name,
            created,
            method,
            membership: None,
            nonce: [0; NONCE_BYTES],
            wrapped: [0; WRAPPED_BYTES],
            kept: [0; KEPT_BYTES],
        };
        slot.keep(key, root)?;
        let payload = Payload {
            secret: root.secret(),
            sharing: None,
        };
        slot.wrap(key, payload, root.store_id())?;
        Ok(slot)
    }

    /// Returns the slot with another payload, as a member of a group or alone.
    pub(crate) fn with_payload(
        &self,
        membership: Option<Membership>,
        payload: Payload<'_>,
        root: &RootKey,
    ) -> Result<Self, StoreError> {
        let key = self.kept_key(root)?;
        let mut slot = Self {
            membership,
            ..self.clone()
        };
        slot.wrap(&key, payload, root.store_id())?;
        Ok(slot)
    }

    fn wrap(
        &mut self,
        key: &Secret<32>,
        payload: Payload<'_>,
        store_id: &[u8; STORE_ID_BYTES],
    ) -> Result<(), StoreError> {
        self.nonce = random::bytes()?;
        let sealed = wrapping_key(key, store_id)?.seal(
            &self.nonce,
            &self.aad(store_id, payload.sharing),
            payload.secret.expose(),
        )?;
        self.wrapped = sealed
            .try_into()
            .map_err(|_| casemate_crypto::Error::Internal)?;
        Ok(())
    }

    /// Tries the slot.
    pub(crate) fn open(
        &self,
        openers: Openers<'_>,
        store_id: &[u8; STORE_ID_BYTES],
        sharing: Option<&[u8; SHARING_BYTES]>,
    ) -> Result<Answer, StoreError> {
        let context = context_of(store_id, &self.name);
        let candidates = self.method.candidates(openers, &context)?;
        for key in &candidates.keys {
            if let Some(payload) = self.open_with(key, store_id, sharing)? {
                return Ok(Answer::Payload(payload));
            }
        }
        Ok(match candidates.failed {
            Some(error) => Answer::Failed(error),
            None if candidates.keys.is_empty() && !self.is_recipient_of(openers)? => {
                Answer::NotAsked
            }
            None => Answer::Wrong,
        })
    }

    /// Returns whether the key that the slot is for was given, although it did not open it.
    fn is_recipient_of(&self, openers: Openers<'_>) -> Result<bool, StoreError> {
        let Method::Recipient { key, .. } = &self.method else {
            return Ok(false);
        };
        for secret in openers.secrets {
            if let crate::StoreSecret::Recipient(private) = secret
                && private.public_key().id()? == *key
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn open_with(
        &self,
        key: &Secret<32>,
        store_id: &[u8; STORE_ID_BYTES],
        sharing: Option<&[u8; SHARING_BYTES]>,
    ) -> Result<Option<Secret<32>>, StoreError> {
        let aad = self.aad(store_id, sharing);
        let opened = wrapping_key(key, store_id)?.open(&self.nonce, &aad, &self.wrapped);
        let Ok(payload) = opened else {
            return Ok(None);
        };
        let payload = SecretBytes::from(Zeroizing::new(payload));
        Ok(Some(Secret::copy_from("root key", payload.expose())?))
    }

    fn keep(&mut self, key: &Secret<32>, root: &RootKey) -> Result<(), StoreError> {
        let (wrapping, aad) = self.keeping(root)?;
        let nonce = random::bytes::<NONCE_BYTES>()?;
        let sealed = wrapping.seal(&nonce, &aad, key.expose())?;
        self.kept = [nonce.as_slice(), &sealed]
            .concat()
            .try_into()
            .map_err(|_| casemate_crypto::Error::Internal)?;
        Ok(())
    }

    fn kept_key(&self, root: &RootKey) -> Result<Secret<32>, StoreError> {
        let (wrapping, aad) = self.keeping(root)?;
        let (nonce, sealed) = self
            .kept
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or(casemate_crypto::Error::Internal)?;
        let key = wrapping.open(nonce, &aad, sealed)?;
        let key = SecretBytes::from(Zeroizing::new(key));
        Ok(Secret::copy_from("slot key", key.expose())?)
    }

    fn keeping(&self, root: &RootKey) -> Result<(AeadKey, Vec<u8>), StoreError> {
        let purpose = Purpose::STORE_SLOT_KEPT;
        let key = derive(root.secret(), root.store_id(), purpose.as_bytes(), 32)?;
        let aad = purpose.with(&context_of(root.store_id(), &self.name));
        Ok((AeadKey::new(Aead::Aes256Gcm, key.expose())?, aad))
    }

    fn aad(
        &self,
        store_id: &[u8; STORE_ID_BYTES],
        sharing: Option<&[u8; SHARING_BYTES]>,
    ) -> Vec<u8> {
        let parameters = encode(|e| {
            e.array(4)?;
            self.write_parameters(e)
        });
        let sharing = sharing.map_or(&[][..], |id| id);
        Purpose::STORE_SLOT.with(&[store_id, parameters.as_slice(), sharing].concat())
    }

    fn write_parameters(&self, e: &mut Encoder<&mut Vec<u8>>) -> Written {
        e.str(self.name.as_str())?.u64(self.created)?;
        self.method.write(e)?;
        match &self.membership {
            None => e.null()?,
            Some(member) => e.array(2)?.str(member.group.as_str())?.u8(member.share)?,
        };
        Ok(())
    }

    pub(crate) fn write(&self, e: &mut Encoder<&mut Vec<u8>>) -> Written {
        e.array(7)?;
        self.write_parameters(e)?;
        e.bytes(&self.nonce)?
            .bytes(&self.wrapped)?
            .bytes(&self.kept)?;
        Ok(())
    }

    pub(crate) fn read(d: &mut Reader<'_>) -> Result<Self, StoreError> {
        d.array_of(7)?;
        Ok(Self {
            name: d.text()?.parse().map_err(|_| d.refused())?,
            created: d.uint()?,
            method: Method::read(d)?,
            membership: d.nullable(|d| {
                d.array_of(2)?;
                Ok::<_, StoreError>(Membership {
                    group: d.text()?.parse().map_err(|_| d.refused())?,
                    share: d
                        .uint()?
                        .try_into()
                        .ok()
                        .filter(|share| *share > 0)
                        .ok_or_else(|| d.refused())?,
                })
            })?,
            nonce: d.fixed("nonce")?,
            wrapped: d.fixed("wrapped key")?,
            kept: d.fixed("kept key")?,
        })
    }

    /// Returns the cost of an attempt, in KiB times passes.
    pub(crate) fn work(&self) -> u64 {
        self.method.work()
    }

    pub(crate) const fn is_offline(&self) -> bool {
        self.method.is_offline()
    }

    /// Returns whether only a [`SlotKeeper`] opens the slot.
    pub(crate) const fn needs_keeper(&self) -> bool {
        matches!(self.method, Method::Kept { .. })
    }

    pub(crate) const fn kind(&self) -> &'static str {
        self.method.describe()
    }

    pub(crate) const fn takes(&self) -> Takes {
        self.method.takes()
    }

    /// Describes the slot for people.
    pub(crate) fn info(&self) -> SlotInfo {
        let (location, wrapped) = match &self.method {
            Method::Kept {
                location, wrapped, ..
            } => (Some(location.clone()), Some(wrapped.clone())),
            _ => (None, None),
        };
        let recipient = match &self.method {
            Method::Recipient { key, .. } => Some(*key),
            _ => None,
        };
        SlotInfo {
            name: self.name.clone(),
            kind: self.method.describe(),
            created: self.created,
            group: self.membership.as_ref().map(|member| member.group.clone()),
            location,
            recipient,
            wrapped,
            is_offline: self.is_offline(),
        }
    }
}

/// A slot, as anyone who reads the key store's file can see it.
#[derive(Clone, Debug)]
pub struct SlotInfo {
    /// Its name.
    pub name: SlotName,
    /// What opens it.
    pub kind: &'static str,
    /// When it was added, in seconds since 1970-01-01 UTC.
    pub created: u64,
    /// The group it belongs to.
    pub group: Option<SlotName>,
    /// Where its key is wrapped.
    pub location: Option<String>,
    /// Its wrapped key, as the place of `location` made it.
    pub wrapped: Option<Vec<u8>>,
    /// The key that it is sealed to.
    pub recipient: Option<casemate_crypto::encoding::KeyId>,
    /// Whether it opens without a token, an account or a service.
    pub is_offline: bool,
}

/// Returns what identifies a slot to whoever wraps its key.
fn context_of(store_id: &[u8; STORE_ID_BYTES], name: &SlotName) -> Vec<u8> {
    [store_id.as_slice(), name.as_str().as_bytes()].concat()
}

fn wrapping_key(key: &Secret<32>, store_id: &[u8; STORE_ID_BYTES]) -> Result<AeadKey, StoreError> {
    let key = derive(key, store_id, Purpose::STORE_SLOT.as_bytes(), 32)?;
    Ok(AeadKey::new(Aead::Aes256Gcm, key.expose())?)
}
