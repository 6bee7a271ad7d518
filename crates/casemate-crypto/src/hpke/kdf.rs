//! Key derivation of HPKE: the two-stage HKDF functions and one-stage SHAKE256.

use aws_lc_rs::{
    hkdf::{self, KeyType, Prk},
    hmac,
};
use casemate_awslc::shake256;
use zeroize::Zeroizing;

use super::NONCE_BYTES;
use crate::{Error, Secret, SecretBytes, kem::SHARED_SECRET_BYTES};

const VERSION: &[u8] = b"HPKE-v1";
/// Maximum length of `info`, exporter context or output that fits a 16-bit length prefix.
const LENGTH_MAX: usize = 65_535;

/// The KDF of an HPKE suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kdf {
    /// HKDF-SHA256, 0x0001.
    HkdfSha256,
    /// HKDF-SHA384, 0x0002.
    HkdfSha384,
    /// SHAKE256, 0x0011, one-stage.
    Shake256,
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// `key`, `base_nonce` and `exporter_secret` of an HPKE context.
pub(super) type Schedule = (SecretBytes, [u8; NONCE_BYTES], SecretBytes);

impl Kdf {
    /// Finds a KDF by its HPKE identifier.
    pub const fn by_id(id: u16) -> Option<Self> {
        match id {
            0x0001 => Some(Self::HkdfSha256),
            0x0002 => Some(Self::HkdfSha384),
            0x0011 => Some(Self::Shake256),
            _ => None,
        }
    }

    /// Returns the HPKE identifier.
    pub const fn id(self) -> u16 {
        match self {
            Self::HkdfSha256 => 0x0001,
            Self::HkdfSha384 => 0x0002,
            Self::Shake256 => 0x0011,
        }
    }

    /// Returns the length of an extracted key in bytes, `Nh`.
    pub const fn output_bytes(self) -> usize {
        match self {
            Self::HkdfSha256 => 32,
            Self::HkdfSha384 => 48,
            Self::Shake256 => 64,
        }
    }

    fn two_stage(self) -> Option<(hkdf::Algorithm, hmac::Algorithm)> {
        match self {
            Self::HkdfSha256 => Some((hkdf::HKDF_SHA256, hmac::HMAC_SHA256)),
            Self::HkdfSha384 => Some((hkdf::HKDF_SHA384, hmac::HMAC_SHA384)),
            Self::Shake256 => None,
        }
    }

    /// Computes HKDF-Extract (RFC 5869), without labels.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`] for a one-stage KDF, which has no extraction.
    pub fn extract(self, salt: &[u8], ikm: &[&[u8]]) -> Result<SecretBytes, Error> {
        let (_, mac) = self.two_stage().ok_or(Error::Internal)?;
        let mut context = hmac::Context::with_key(&hmac::Key::new(mac, salt));
        ikm.iter().for_each(|part| context.update(part));
        Ok(SecretBytes::new(context.sign().as_ref().to_vec()))
    }

    /// Computes HKDF-Expand (RFC 5869), without labels.
    ///
    /// # Errors
    ///
    /// [`Error::ExportTooLong`] beyond 255 hash outputs; [`Error::Internal`] for a one-stage KDF.
    pub fn expand(
        self,
        prk: &SecretBytes,
        info: &[&[u8]],
        len: usize,
    ) -> Result<SecretBytes, Error> {
        let (algorithm, _) = self.two_stage().ok_or(Error::Internal)?;
        let limit = self.output_bytes().saturating_mul(255);
        let mut out = Zeroizing::new(vec![0; len]);
        Prk::new_less_safe(algorithm, prk.expose())
            .expand(info, Length(len))
            .and_then(|okm| okm.fill(&mut out))
            .map_err(|_| Error::ExportTooLong { asked: len, limit })?;
        Ok(out.into())
    }

    fn labeled_extract(
        self,
        suite_id: &[u8],
        salt: &[u8],
        label: &[u8],
        ikm: &[u8],
    ) -> Result<SecretBytes, Error> {
        self.extract(salt, &[VERSION, suite_id, label, ikm])
    }

    fn labeled_expand(
        self,
        suite_id: &[u8],
        prk: &SecretBytes,
        label: &[u8],
        info: &[u8],
        len: usize,
    ) -> Result<SecretBytes, Error> {
        self.expand(
            prk,
            &[&two_bytes(len)?, VERSION, suite_id, label, info],
            len,
        )
    }

    /// Runs `KeySchedule` in base mode, without a pre-shared key.
    pub(super) fn schedule(
        self,
        suite_id: &[u8],
        mode: u8,
        shared_secret: &Secret<SHARED_SECRET_BYTES>,
        info: &[u8],
        key_bytes: usize,
    ) -> Result<Schedule, Error> {
        if self.two_stage().is_none() {
            return self.schedule_one_stage(suite_id, mode, shared_secret, info, key_bytes);
        }
        let psk_id_hash = self.labeled_extract(suite_id, b"", b"psk_id_hash", b"")?;
        let info_hash = self.labeled_extract(suite_id, b"", b"info_hash", info)?;
        let context = [&[mode], psk_id_hash.expose(), info_hash.expose()].concat();
        let secret = self.labeled_extract(suite_id, shared_secret.expose(), b"secret", b"")?;
        let expand = |label, len| self.labeled_expand(suite_id, &secret, label, &context, len);
        let nonce = expand(b"base_nonce", NONCE_BYTES)?;
        let exporter = expand(b"exp", self.output_bytes())?;
        Ok((
            expand(b"key", key_bytes)?,
            to_nonce(nonce.expose())?,
            exporter,
        ))
    }

    fn schedule_one_stage(
        self,
        suite_id: &[u8],
        mode: u8,
        shared_secret: &Secret<SHARED_SECRET_BYTES>,
        info: &[u8],
        key_bytes: usize,
    ) -> Result<Schedule, Error> {
        let none = two_bytes(0)?;
        let secret_len = two_bytes(SHARED_SECRET_BYTES)?;
        let ikm = Zeroizing::new(
            [
                none.as_slice(),
                &secret_len,
                shared_secret.expose().as_slice(),
            ]
            .concat(),
        );
        let context = [[mode].as_slice(), &none, &two_bytes(info.len())?, info].concat();
        let key_and_nonce = key_bytes.saturating_add(NONCE_BYTES);
        let len = key_and_nonce.saturating_add(self.output_bytes());
        let all = labeled_derive_shake256(suite_id, &ikm, b"secret", &context, len)?;
        let (key, rest) = all
            .expose()
            .split_at_checked(key_bytes)
            .ok_or(Error::Internal)?;
        let (nonce, exporter) = rest.split_at_checked(NONCE_BYTES).ok_or(Error::Internal)?;
        let (key, exporter) = (
            SecretBytes::new(key.to_vec()),
            SecretBytes::new(exporter.to_vec()),
        );
        Ok((key, to_nonce(nonce)?, exporter))
    }

    pub(super) fn export(
        self,
        suite_id: &[u8],
        exporter_secret: &SecretBytes,
        context: &[u8],
        len: usize,
    ) -> Result<SecretBytes, Error> {
        if self.two_stage().is_some() {
            return self.labeled_expand(suite_id, exporter_secret, b"sec", context, len);
        }
        labeled_derive_shake256(suite_id, exporter_secret.expose(), b"sec", context, len)
    }
}

/// Computes `LabeledDerive` of the one-stage KDFs, with SHAKE256.
pub(super) fn labeled_derive_shake256(
    suite_id: &[u8],
    ikm: &[u8],
    label: &[u8],
    context: &[u8],
    len: usize,
) -> Result<SecretBytes, Error> {
    let mut out = Zeroizing::new(vec![0; len]);
    let parts = [
        ikm,
        VERSION,
        suite_id,
        &two_bytes(label.len())?,
        label,
        &two_bytes(len)?,
        context,
    ];
    shake256(&parts, &mut out)?;
    Ok(out.into())
}

fn two_bytes(len: usize) -> Result<[u8; 2], Error> {
    u16::try_from(len)
        .map(u16::to_be_bytes)
        .map_err(|_| Error::ExportTooLong {
            asked: len,
            limit: LENGTH_MAX,
        })
}

fn to_nonce(bytes: &[u8]) -> Result<[u8; NONCE_BYTES], Error> {
    bytes.try_into().map_err(|_| Error::Internal)
}
