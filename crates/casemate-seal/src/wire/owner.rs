//! The owner's recipient list (`spec/sealed-artifact.md`, section 5.7).

use casemate_cbor::{Encoder, Reader, Written, encode, expect_same};
use casemate_crypto::{
    Purpose,
    encoding::{KeyId, PublicKey},
    hash::sha384,
    signature::{SigningKey, VerifyingKey},
};

use super::{check_limit, encode_recipients};
use crate::{
    RecipientRecord,
    error::{Malformed, OpenError, OwnerError, SealError},
    limits::{SIGNATURE_BYTES_MAX, SPKI_BYTES_MAX},
    wire::Header,
};

pub(super) const LIST: &str = "recipient list";
const DELEGATION: &str = "delegation";

/// The owner's permission for another key to sign recipient lists, up to a date and an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegation {
    delegate: Vec<u8>,
    /// Latest date of a list by the delegate, in seconds since 1970-01-01 UTC.
    pub until: u64,
    /// Highest epoch that a list by the delegate may have.
    pub last_epoch: u64,
    signature: Vec<u8>,
}

impl Delegation {
    /// Signs a delegation.
    ///
    /// # Errors
    ///
    /// [`SealError`] if signing fails.
    pub fn sign(
        owner: &SigningKey,
        delegate: &VerifyingKey,
        until: u64,
        last_epoch: u64,
    ) -> Result<Self, SealError> {
        let message = Self::message(
            owner.verifying_key().id()?,
            delegate.id()?,
            until,
            last_epoch,
        );
        Ok(Self {
            delegate: delegate.to_spki_der()?,
            until,
            last_epoch,
            signature: owner.sign(Purpose::DELEGATION, &message)?,
        })
    }

    /// Verifies that `owner` signed it, and returns the delegate.
    ///
    /// # Errors
    ///
    /// [`OwnerError::Delegation`] if the owner did not sign it; [`OwnerError::Key`] if the
    /// delegate's key cannot be read.
    pub fn verify(&self, owner: &VerifyingKey) -> Result<VerifyingKey, OwnerError> {
        let delegate = verifying_key(&self.delegate)?;
        let ids = owner.id().and_then(|owner| Ok((owner, delegate.id()?)));
        let (owner_id, delegate_id) = ids.map_err(|_| OwnerError::Key)?;
        let message = Self::message(owner_id, delegate_id, self.until, self.last_epoch);
        owner
            .verify(Purpose::DELEGATION, &message, &self.signature)
            .map_err(|_| OwnerError::Delegation)?;
        Ok(delegate)
    }

    fn message(owner: KeyId, delegate: KeyId, until: u64, last_epoch: u64) -> Vec<u8> {
        [
            owner.as_bytes().as_slice(),
            delegate.as_bytes(),
            &until.to_be_bytes(),
            &last_epoch.to_be_bytes(),
        ]
        .concat()
    }

    /// Returns the encoding used in a recipient list and in a delegation file.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(|e| self.write(e))
    }

    /// Reads the encoding of [`Self::to_bytes`], without verifying the signature.
    ///
    /// # Errors
    ///
    /// [`OpenError::Malformed`] or [`OpenError::Limit`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, OpenError> {
        let read = Self::read(&mut Reader::new(bytes, DELEGATION))?;
        expect_same(bytes, &read.to_bytes(), DELEGATION)?;
        Ok(read)
    }

    fn write(&self, e: &mut Encoder<&mut Vec<u8>>) -> Written {
        e.array(4)?.bytes(&self.delegate)?;
        e.u64(self.until)?.u64(self.last_epoch)?;
        e.bytes(&self.signature).map(drop)
    }

    fn read(d: &mut Reader<'_>) -> Result<Self, OpenError> {
        d.array_of(4)?;
        Ok(Self {
            delegate: bounded(d, "delegate's key", SPKI_BYTES_MAX)?,
            until: d.uint()?,
            last_epoch: d.uint()?,
            signature: bounded(d, "delegation's signature", SIGNATURE_BYTES_MAX)?,
        })
    }
}

/// A recipient list signed by the owner or a delegate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipientList {
    /// Epoch of the list, from 1; each later list has a higher one.
    pub epoch: u64,
    /// When it was signed, as claimed by the signer, in seconds since 1970-01-01 UTC.
    pub date: u64,
    pub(super) owner: Vec<u8>,
    /// The delegation, if a delegate signed the list.
    pub delegation: Option<Delegation>,
    pub(super) signature: Vec<u8>,
}

/// The signer of recipient lists.
#[derive(Clone, Copy, Debug)]
pub struct ListSigner<'a> {
    /// The owner's key, or the delegate's.
    pub key: &'a SigningKey,
    /// The owner and the delegation, if `key` is the key of a delegate.
    pub delegation: Option<(&'a VerifyingKey, &'a Delegation)>,
    /// Epoch of the list; `None` for the next one. Skipping ahead can end a delegation.
    pub epoch: Option<u64>,
    /// The current time, in seconds since 1970-01-01 UTC.
    pub now: u64,
}

impl ListSigner<'_> {
    /// Returns the key id of the owner.
    ///
    /// # Errors
    ///
    /// [`casemate_crypto::Error`] if the key cannot be encoded.
    pub fn owner(&self) -> Result<KeyId, casemate_crypto::Error> {
        match self.delegation {
            Some((owner, _)) => owner.id(),
            None => self.key.verifying_key().id(),
        }
    }

    /// Returns the epoch of the next list, if this key may sign it.
    pub(crate) fn next_epoch(&self, before: Option<u64>) -> Result<u64, SealError> {
        let next = before
            .unwrap_or(0)
            .checked_add(1)
            .ok_or(SealError::LastEpoch)?;
        let epoch = self.epoch.unwrap_or(next);
        if epoch < next {
            return Err(SealError::Epoch { epoch, next });
        }
        if let Some((owner, delegation)) = self.delegation {
            let delegate = delegation.verify(owner).map_err(SealError::Owner)?;
            let same = delegate.id()? == self.key.verifying_key().id()?;
            if !same || self.now > delegation.until || epoch > delegation.last_epoch {
                return Err(SealError::Owner(OwnerError::Delegation));
            }
        }
        Ok(epoch)
    }

    /// Signs the recipients of an artifact whose current list has the epoch `before`.
    pub(crate) fn sign(
        &self,
        header: &Header,
        before: Option<u64>,
        recipients: &[RecipientRecord],
    ) -> Result<RecipientList, SealError> {
        let epoch = self.next_epoch(before)?;
        let key = self.key.verifying_key();
        let owner = self.delegation.map_or(key, |(owner, _)| owner);
        let message = message(header, epoch, self.now, recipients);
        Ok(RecipientList {
            epoch,
            date: self.now,
            owner: owner.to_spki_der()?,
            delegation: self.delegation.map(|(_, delegation)| delegation.clone()),
            signature: self.key.sign(Purpose::RECIPIENTS, &message)?,
        })
    }
}

fn message(header: &Header, epoch: u64, date: u64, recipients: &[RecipientRecord]) -> Vec<u8> {
    [
        header.digest().as_slice(),
        &epoch.to_be_bytes(),
        &date.to_be_bytes(),
        &sha384(&encode_recipients(recipients)),
    ]
    .concat()
}

fn verifying_key(spki: &[u8]) -> Result<VerifyingKey, OwnerError> {
    match PublicKey::from_spki_der(spki) {
        Ok(PublicKey::Sign(key)) => Ok(key),
        _ => Err(OwnerError::Key),
    }
}

fn bounded(d: &mut Reader<'_>, what: &'static str, limit: usize) -> Result<Vec<u8>, OpenError> {
    let bytes = d.bytes()?;
    check_limit(what, bytes.len(), limit)?;
    Ok(bytes.to_vec())
}

impl RecipientList {
    pub(super) fn write(&self, e: &mut Encoder<&mut Vec<u8>>) -> Written {
        e.array(5)?.u64(self.epoch)?.u64(self.date)?;
        e.bytes(&self.owner)?;
        match &self.delegation {
            None => e.null().map(drop)?,
            Some(delegation) => delegation.write(e)?,
        }
        e.bytes(&self.signature).map(drop)
    }

    pub(super) fn read(d: &mut Reader<'_>) -> Result<Self, OpenError> {
        d.array_of(5)?;
        let epoch = d.uint()?;
        if epoch == 0 {
            return Err(Malformed::Epoch.into());
        }
        let date = d.uint()?;
        let owner = bounded(d, "owner's key", SPKI_BYTES_MAX)?;
        let delegation = d.nullable(|d| d.within(DELEGATION, Delegation::read))?;
        Ok(Self {
            epoch,
            date,
            owner,
            delegation,
            signature: bounded(d, "recipient list's signature", SIGNATURE_BYTES_MAX)?,
        })
    }

    /// Returns the owner's key.
    ///
    /// # Errors
    ///
    /// [`OwnerError::Key`].
    pub fn owner_key(&self) -> Result<VerifyingKey, OwnerError> {
        verifying_key(&self.owner)
    }

    /// Returns the key that signed the list: the owner's or the delegate's.
    ///
    /// # Errors
    ///
    /// [`OwnerError::Key`].
    pub fn signer(&self) -> Result<VerifyingKey, OwnerError> {
        match &self.delegation {
            None => verifying_key(&self.owner),
            Some(delegation) => verifying_key(&delegation.delegate),
        }
    }

    /// Returns the SHA-384 of the message that the list's signature covers.
    pub(crate) fn message_digest(
        &self,
        header: &Header,
        recipients: &[RecipientRecord],
    ) -> [u8; 48] {
        sha384(&message(header, self.epoch, self.date, recipients))
    }

    fn verify(
        &self,
        owner: KeyId,
        header: &Header,
        recipients: &[RecipientRecord],
    ) -> Result<(), OwnerError> {
        let key = verifying_key(&self.owner)?;
        if key.id().ok() != Some(owner) {
            return Err(OwnerError::OtherOwner);
        }
        let signer = match &self.delegation {
            None => key,
            Some(delegation) => {
                if self.date > delegation.until || self.epoch > delegation.last_epoch {
                    return Err(OwnerError::Delegation);
                }
                delegation.verify(&key)?
            }
        };
        let message = message(header, self.epoch, self.date, recipients);
        signer
            .verify(Purpose::RECIPIENTS, &message, &self.signature)
            .map_err(|_| OwnerError::Signature)
    }

    /// Checks the recipient list of an artifact, or that it has none.
    pub(crate) fn check(
        list: Option<&Self>,
        header: &Header,
        recipients: &[RecipientRecord],
    ) -> Result<(), OpenError> {
        match (header.owner(), list) {
            (None, None) => Ok(()),
            (None, Some(_)) => Err(Malformed::ListWithoutOwner.into()),
            (Some(_), None) => Err(OpenError::Owner(OwnerError::Missing)),
            (Some(owner), Some(list)) => list
                .verify(owner, header, recipients)
                .map_err(OpenError::Owner),
        }
    }
}
