//! Sealed rows (`spec/key-store.md`, section 3).

use casemate_crypto::{SecretBytes, random};
use zeroize::Zeroizing;

use crate::{StoreError, root::RootKey, row::RowId, slot::NONCE_BYTES, tree::Entry};

const GENERATION_BYTES: usize = 8;
/// Longest row.
const ROW_BYTES_MAX: usize = 64 * 1024;

/// Encrypts a row, and returns it with what the tree knows of it.
pub(crate) fn seal(
    plaintext: &SecretBytes,
    root: &RootKey,
    id: RowId,
    generation: u64,
) -> Result<(Entry, Vec<u8>), StoreError> {
    let (key, aad) = root.row(id, generation)?;
    let nonce = random::bytes::<NONCE_BYTES>()?;
    let ciphertext = key.seal(&nonce, &aad, plaintext.expose())?;
    let sealed = [generation.to_be_bytes().as_slice(), &nonce, &ciphertext].concat();
    if sealed.len() > ROW_BYTES_MAX {
        return Err(StoreError::RowTooLong(id));
    }
    Ok((Entry::new(id, generation, &sealed), sealed))
}

/// Returns what a tree would know of a sealed row; `None` if it is too short for one.
pub(crate) fn entry_of(id: RowId, sealed: &[u8]) -> Option<Entry> {
    let generation = sealed.first_chunk::<GENERATION_BYTES>()?;
    Some(Entry::new(id, u64::from_be_bytes(*generation), sealed))
}

/// Decrypts a row that the tree lists.
pub(crate) fn open(
    sealed: &[u8],
    root: &RootKey,
    entry: &Entry,
) -> Result<SecretBytes, StoreError> {
    let damaged = || StoreError::DamagedRow(entry.id);
    if entry_of(entry.id, sealed).as_ref() != Some(entry) {
        return Err(damaged());
    }
    let (key, aad) = root.row(entry.id, entry.generation)?;
    let rest = sealed.get(GENERATION_BYTES..).unwrap_or_default();
    let (nonce, ciphertext) = rest.split_at_checked(NONCE_BYTES).ok_or_else(damaged)?;
    let plaintext = key.open(nonce, &aad, ciphertext).map_err(|_| damaged())?;
    Ok(SecretBytes::from(Zeroizing::new(plaintext)))
}
