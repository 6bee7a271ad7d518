//! The body: FLOE under a key derived from the artifact key (`spec/sealed-artifact.md`, section 4).

use casemate_crypto::{Error as CryptoError, Purpose, Secret, hpke::Kdf};
use fast_floe::{
    Header as FloeHeader, Key as FloeKey,
    low_level::{
        SharedDecryptionContext, SharedEncryptionContext, start_decryption, start_encryption,
    },
};

use crate::{error::OpenError, wire::Header};

fn floe_key(artifact_key: &Secret<32>) -> Result<FloeKey, CryptoError> {
    let kdf = Kdf::HkdfSha384;
    let prk = kdf.extract(b"", &[artifact_key.expose()])?;
    let key = kdf.expand(&prk, &[Purpose::ARTIFACT_BODY.as_bytes()], 32)?;
    FloeKey::try_from(key.expose()).map_err(|_| CryptoError::Internal)
}

/// Starts the body of a new artifact.
pub(crate) fn start(
    artifact_key: &Secret<32>,
    header: &Header,
) -> Result<(SharedEncryptionContext, FloeHeader), CryptoError> {
    let parameters = header.layout.parameters().ok_or(CryptoError::Internal)?;
    let (state, floe_header) =
        start_encryption(&floe_key(artifact_key)?, &header.digest(), parameters)
            .map_err(|_| CryptoError::Internal)?;
    Ok((state.into_shared(), floe_header))
}

/// Verifies the tag of the FLOE header, which commits to the key and to the artifact's header.
pub(crate) fn resume(
    artifact_key: &Secret<32>,
    header: &Header,
    floe_header: &FloeHeader,
) -> Result<SharedDecryptionContext, OpenError> {
    let parameters = header.layout.parameters().ok_or(OpenError::Rejected)?;
    let key = floe_key(artifact_key).map_err(OpenError::Crypto)?;
    let state = start_decryption(&key, &header.digest(), parameters, floe_header)
        .map_err(|_| OpenError::Rejected)?;
    Ok(state.into_shared())
}
