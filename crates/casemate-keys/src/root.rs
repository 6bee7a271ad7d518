//! The root key and the keys derived from it.

use aws_lc_rs::{
    digest::{SHA384, digest},
    hmac,
};
use casemate_crypto::{
    Error as CryptoError, Purpose, Secret, SecretBytes,
    hpke::{Aead, AeadKey, Kdf},
};
use subtle::ConstantTimeEq;

use crate::{
    KeyName,
    row::{RowId, RowKind},
};

pub(crate) const STORE_ID_BYTES: usize = 16;
pub(crate) const TAG_BYTES: usize = 48;
pub(crate) const COMMITMENT_BYTES: usize = 32;

/// `HKDF(secret, info, length)` of the specification.
pub(crate) fn derive(
    secret: &Secret<32>,
    store_id: &[u8; STORE_ID_BYTES],
    info: &[u8],
    len: usize,
) -> Result<SecretBytes, CryptoError> {
    let kdf = Kdf::HkdfSha384;
    kdf.expand(&kdf.extract(store_id, &[secret.expose()])?, &[info], len)
}

/// The key that encrypts every row, through derived keys. It never leaves memory unwrapped.
pub(crate) struct RootKey {
    secret: Secret<32>,
    store_id: [u8; STORE_ID_BYTES],
}

impl RootKey {
    pub(crate) const fn new(secret: Secret<32>, store_id: [u8; STORE_ID_BYTES]) -> Self {
        Self { secret, store_id }
    }

    pub(crate) const fn secret(&self) -> &Secret<32> {
        &self.secret
    }

    pub(crate) const fn store_id(&self) -> &[u8; STORE_ID_BYTES] {
        &self.store_id
    }

    fn derive(&self, info: &[u8], len: usize) -> Result<SecretBytes, CryptoError> {
        derive(&self.secret, &self.store_id, info, len)
    }

    /// Returns a public value that only this root key yields, so that a wrong key is detected
    /// before it is used.
    pub(crate) fn commitment(&self) -> Result<[u8; COMMITMENT_BYTES], CryptoError> {
        let derived = self.derive(Purpose::STORE_COMMITMENT.as_bytes(), COMMITMENT_BYTES)?;
        let bytes = derived.expose().try_into();
        bytes.map_err(|_| CryptoError::Internal)
    }

    /// Returns whether `commitment` is that of this root key, in constant time.
    pub(crate) fn is_committed(
        &self,
        commitment: &[u8; COMMITMENT_BYTES],
    ) -> Result<bool, CryptoError> {
        Ok(self.commitment()?.ct_eq(commitment).into())
    }

    /// Returns the key and the additional data of one row in one generation.
    pub(crate) fn row(
        &self,
        id: RowId,
        generation: u64,
    ) -> Result<(AeadKey, Vec<u8>), CryptoError> {
        self.sealing(Purpose::STORE_ROW, id, generation)
    }

    /// As [`Self::row`], for a record of version 1.
    pub(crate) fn record_1(
        &self,
        id: RowId,
        generation: u64,
    ) -> Result<(AeadKey, Vec<u8>), CryptoError> {
        self.sealing(Purpose::STORE_RECORD_1, id, generation)
    }

    fn sealing(
        &self,
        purpose: Purpose,
        id: RowId,
        generation: u64,
    ) -> Result<(AeadKey, Vec<u8>), CryptoError> {
        let identity = [id.to_bytes().as_slice(), &generation.to_be_bytes()].concat();
        let key = self.derive(&purpose.with(&identity), 32)?;
        let aad = purpose.with(&[self.store_id.as_slice(), &identity].concat());
        Ok((AeadKey::new(Aead::Aes256Gcm, key.expose())?, aad))
    }

    /// Returns the id of a name's row, which does not reveal the name.
    pub(crate) fn name_row(&self, name: &KeyName) -> Result<RowId, CryptoError> {
        let id = self.hidden(Purpose::STORE_NAME, name.as_str().as_bytes())?;
        Ok(RowId::new(id, RowKind::Name))
    }

    /// Returns the id of a binding's row, which reveals neither the place nor the name.
    pub(crate) fn binding_row(&self, place: &str, name: &KeyName) -> Result<RowId, CryptoError> {
        let both = [place.as_bytes(), &[0], name.as_str().as_bytes()].concat();
        let id = self.hidden(Purpose::STORE_BINDING, &both)?;
        Ok(RowId::new(id, RowKind::Binding))
    }

    fn hidden(&self, purpose: Purpose, content: &[u8]) -> Result<[u8; 32], CryptoError> {
        let key = self.derive(purpose.as_bytes(), TAG_BYTES)?;
        let key = hmac::Key::new(hmac::HMAC_SHA384, key.expose());
        let tag = hmac::sign(&key, content);
        let id = tag.as_ref().first_chunk::<32>();
        id.copied().ok_or(CryptoError::Internal)
    }

    /// Returns the key of the tags of log entries.
    pub(crate) fn entry_key(&self) -> Result<hmac::Key, CryptoError> {
        let key = self.derive(Purpose::STORE_ENTRY.as_bytes(), TAG_BYTES)?;
        Ok(hmac::Key::new(hmac::HMAC_SHA384, key.expose()))
    }

    /// Starts the MAC of an index. The header's hash comes first, so that no slot can be restored
    /// or exchanged.
    fn index_mac(
        &self,
        header: &[u8],
        encoded: &[u8],
    ) -> Result<(hmac::Key, Vec<u8>), CryptoError> {
        let key = self.derive(Purpose::STORE_INDEX.as_bytes(), TAG_BYTES)?;
        let header = digest(&SHA384, header);
        let message = [header.as_ref(), encoded].concat();
        Ok((hmac::Key::new(hmac::HMAC_SHA384, key.expose()), message))
    }

    pub(crate) fn tag(&self, header: &[u8], encoded: &[u8]) -> Result<Vec<u8>, CryptoError> {
        let (key, message) = self.index_mac(header, encoded)?;
        Ok(hmac::sign(&key, &message).as_ref().to_vec())
    }

    /// Verifies a tag in constant time.
    pub(crate) fn tag_matches(
        &self,
        header: &[u8],
        encoded: &[u8],
        tag: &[u8],
    ) -> Result<bool, CryptoError> {
        let (key, message) = self.index_mac(header, encoded)?;
        Ok(hmac::verify(&key, &message, tag).is_ok())
    }
}
