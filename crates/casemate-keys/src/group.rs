//! Groups of slots that open the key store together (`spec/key-store.md`, section 2.2).

use casemate_cbor::{Encoder, Reader, Written, encode};
use casemate_crypto::{
    Purpose, Secret, SecretBytes,
    hpke::{Aead, AeadKey},
    random, sharing,
};
use zeroize::Zeroizing;

use crate::{
    StoreError,
    name::SlotName,
    root::{RootKey, STORE_ID_BYTES, derive},
    slot::{Membership, NONCE_BYTES, Payload, SHARING_BYTES, Slot, WRAPPED_BYTES},
};

/// A group: `threshold` of its members open the key store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) name: SlotName,
    pub(crate) threshold: u8,
    pub(crate) sharing: [u8; SHARING_BYTES],
    nonce: [u8; NONCE_BYTES],
    wrapped: [u8; WRAPPED_BYTES],
}

impl Group {
    /// Shares a new group key among the members, and returns the group and its slots.
    pub(crate) fn create(
        name: SlotName,
        threshold: u8,
        members: &[Slot],
        root: &RootKey,
    ) -> Result<(Self, Vec<Slot>), StoreError> {
        let key = Secret::<32>::random()?;
        let shares = sharing::split(
            &key,
            usize::from(threshold),
            members.len(),
            &Secret::random()?,
        )?;
        let mut group = Self {
            name,
            threshold,
            sharing: random::bytes()?,
            nonce: random::bytes()?,
            wrapped: [0; WRAPPED_BYTES],
        };
        let sealed = group.wrapping_key(&key, root.store_id())?.seal(
            &group.nonce,
            &group.aad(root.store_id()),
            root.secret().expose(),
        )?;
        group.wrapped = sealed
            .try_into()
            .map_err(|_| casemate_crypto::Error::Internal)?;
        let slots = members
            .iter()
            .zip(&shares)
            .zip(1_u8..)
            .map(|((slot, secret), share)| {
                let membership = Membership {
                    group: group.name.clone(),
                    share,
                };
                let sharing = Some(&group.sharing);
                slot.with_payload(Some(membership), Payload { secret, sharing }, root)
            })
            .collect::<Result<_, _>>()?;
        Ok((group, slots))
    }

    /// Restores the root key from shares by their numbers; `None` if they are not of one sharing.
    pub(crate) fn open(
        &self,
        shares: &[(u8, Secret<32>)],
        store_id: &[u8; STORE_ID_BYTES],
    ) -> Result<Option<Secret<32>>, StoreError> {
        let places: Vec<(u8, &[u8])> = shares
            .iter()
            .map(|(place, share)| (*place, share.expose().as_slice()))
            .collect();
        let key = sharing::combine(&places)?;
        let key = Secret::<32>::copy_from("group key", &key)?;
        let opened = self.wrapping_key(&key, store_id)?.open(
            &self.nonce,
            &self.aad(store_id),
            &self.wrapped,
        );
        let Ok(root) = opened else {
            return Ok(None);
        };
        let root = SecretBytes::from(Zeroizing::new(root));
        Ok(Some(Secret::copy_from("root key", root.expose())?))
    }

    #[expect(clippy::unused_self, reason = "it is the key of this group")]
    fn wrapping_key(
        &self,
        key: &Secret<32>,
        store_id: &[u8; STORE_ID_BYTES],
    ) -> Result<AeadKey, StoreError> {
        let key = derive(key, store_id, Purpose::STORE_GROUP.as_bytes(), 32)?;
        Ok(AeadKey::new(Aead::Aes256Gcm, key.expose())?)
    }

    fn aad(&self, store_id: &[u8; STORE_ID_BYTES]) -> Vec<u8> {
        let parameters = encode(|e| {
            e.array(3)?;
            self.write_parameters(e)
        });
        Purpose::STORE_GROUP.with(&[store_id, parameters.as_slice()].concat())
    }

    fn write_parameters(&self, e: &mut Encoder<&mut Vec<u8>>) -> Written {
        e.str(self.name.as_str())?
            .u8(self.threshold)?
            .bytes(&self.sharing)?;
        Ok(())
    }

    pub(crate) fn write(&self, e: &mut Encoder<&mut Vec<u8>>) -> Written {
        e.array(5)?;
        self.write_parameters(e)?;
        e.bytes(&self.nonce)?.bytes(&self.wrapped)?;
        Ok(())
    }

    pub(crate) fn read(d: &mut Reader<'_>) -> Result<Self, StoreError> {
        d.array_of(5)?;
        Ok(Self {
            name: d.text()?.parse().map_err(|_| d.refused())?,
            threshold: d
                .uint()?
                .try_into()
                .ok()
                .filter(|threshold| *threshold >= 2)
                .ok_or(StoreError::Header("the threshold of a group is below 2"))?,
            sharing: d.fixed("sharing id")?,
            nonce: d.fixed("nonce")?,
            wrapped: d.fixed("wrapped key")?,
        })
    }
}

/// A group, as anyone who reads the key store's file can see it.
#[derive(Clone, Debug)]
pub struct GroupInfo {
    /// Its name.
    pub name: SlotName,
    /// How many of its slots open the key store.
    pub threshold: u8,
    /// How many slots it has.
    pub members: usize,
}
