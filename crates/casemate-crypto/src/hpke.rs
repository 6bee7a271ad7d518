//! Hybrid public key encryption in base mode (RFC 9180, draft-ietf-hpke-hpke-05,
//! draft-ietf-hpke-pq-05).
//!
//! Post-quantum KEMs have no authenticated mode; use a signature to authenticate the sender.

mod kdf;

use std::fmt;

use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};

pub use kdf::Kdf;

use crate::{
    Error, Secret,
    holder::HpkeMessage,
    kem::{KemPrivateKey, KemPublicKey, SHARED_SECRET_BYTES},
    suite::{HpkeTriple, KemSuite},
};

/// Length of every AEAD nonce, in bytes.
const NONCE_BYTES: usize = 12;
/// Length of every AEAD tag, in bytes.
pub const TAG_BYTES: usize = 16;
const MODE_BASE: u8 = 0;

/// The AEAD of an HPKE suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aead {
    /// AES-128-GCM, 0x0001.
    Aes128Gcm,
    /// AES-256-GCM, 0x0002.
    Aes256Gcm,
    /// ChaCha20-Poly1305, 0x0003.
    ChaCha20Poly1305,
}

impl Aead {
    /// Finds an AEAD by its HPKE identifier.
    pub const fn by_id(id: u16) -> Option<Self> {
        match id {
            0x0001 => Some(Self::Aes128Gcm),
            0x0002 => Some(Self::Aes256Gcm),
            0x0003 => Some(Self::ChaCha20Poly1305),
            _ => None,
        }
    }

    /// Returns the HPKE identifier.
    pub const fn id(self) -> u16 {
        match self {
            Self::Aes128Gcm => 0x0001,
            Self::Aes256Gcm => 0x0002,
            Self::ChaCha20Poly1305 => 0x0003,
        }
    }

    /// Returns the key length in bytes, `Nk`.
    pub const fn key_bytes(self) -> usize {
        match self {
            Self::Aes128Gcm => 16,
            Self::Aes256Gcm | Self::ChaCha20Poly1305 => 32,
        }
    }

    /// Returns the nonce length in bytes, `Nn`.
    pub const fn nonce_bytes(self) -> usize {
        NONCE_BYTES
    }

    fn algorithm(self) -> &'static aead::Algorithm {
        match self {
            Self::Aes128Gcm => &aead::AES_128_GCM,
            Self::Aes256Gcm => &aead::AES_256_GCM,
            Self::ChaCha20Poly1305 => &aead::CHACHA20_POLY1305,
        }
    }
}

/// A key bound to one AEAD, for protocols that derive key and nonce from an HPKE export (RFC 9458,
/// section 4.4).
pub struct AeadKey(LessSafeKey);

impl AeadKey {
    /// Binds `key` to `aead`.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] if the key is not [`Aead::key_bytes`] long.
    pub fn new(aead: Aead, key: &[u8]) -> Result<Self, Error> {
        let unbound = UnboundKey::new(aead.algorithm(), key).map_err(|_| Error::Length {
            what: "AEAD key",
            actual: key.len(),
            expected: aead.key_bytes(),
        })?;
        Ok(Self(LessSafeKey::new(unbound)))
    }

    /// Encrypts; the result is [`TAG_BYTES`] longer than `plaintext`.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] if the nonce is not 12 bytes long.
    ///
    /// # Security
    ///
    /// Never use a nonce twice with the same key.
    pub fn seal(&self, nonce: &[u8], aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, Error> {
        let mut out = Vec::with_capacity(plaintext.len().saturating_add(TAG_BYTES));
        out.extend_from_slice(plaintext);
        self.seal_in_place(nonce, aad, &mut out)?;
        Ok(out)
    }

    /// Encrypts `plaintext` into `ciphertext`, of the same length, and its tag into `tag`.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] if the nonce is not 12 bytes long; [`Error::Internal`] if an output does
    /// not have its length.
    ///
    /// # Security
    ///
    /// Never use a nonce twice with the same key.
    pub fn seal_into(
        &self,
        nonce: &[u8],
        aad: &[u8],
        plaintext: &[u8],
        ciphertext: &mut [u8],
        tag: &mut [u8],
    ) -> Result<(), Error> {
        let nonce = parse_nonce(nonce)?;
        Ok(self.0.seal_out_of_place_scatter(
            nonce,
            Aad::from(aad),
            plaintext,
            ciphertext,
            &[],
            tag,
        )?)
    }

    /// Decrypts `ciphertext` and `tag` into `plaintext`, of the same length as the ciphertext.
    ///
    /// # Errors
    ///
    /// [`Error::Rejected`] if the tag does not verify. What is in `plaintext` must then not be
    /// used.
    pub fn open_into(
        &self,
        nonce: &[u8],
        aad: &[u8],
        ciphertext: &[u8],
        tag: &[u8],
        plaintext: &mut [u8],
    ) -> Result<(), Error> {
        self.0
            .open_separate_gather(
                parse_nonce(nonce)?,
                Aad::from(aad),
                ciphertext,
                tag,
                plaintext,
            )
            .map_err(|_| Error::Rejected)
    }

    /// Encrypts `buffer` in place and appends the tag.
    fn seal_in_place(&self, nonce: &[u8], aad: &[u8], buffer: &mut Vec<u8>) -> Result<(), Error> {
        Ok(self
            .0
            .seal_in_place_append_tag(parse_nonce(nonce)?, Aad::from(aad), buffer)?)
    }

    /// Decrypts.
    ///
    /// # Errors
    ///
    /// [`Error::Rejected`] if the tag does not verify; no plaintext is returned.
    pub fn open(&self, nonce: &[u8], aad: &[u8], ciphertext: &[u8]) -> Result<Vec<u8>, Error> {
        let mut out = ciphertext.to_vec();
        self.open_in_place(nonce, aad, &mut out)?;
        Ok(out)
    }

    /// Decrypts `buffer` in place and truncates the tag. On an error, the buffer contains no
    /// plaintext.
    fn open_in_place(&self, nonce: &[u8], aad: &[u8], buffer: &mut Vec<u8>) -> Result<(), Error> {
        let plaintext = self
            .0
            .open_in_place(parse_nonce(nonce)?, Aad::from(aad), buffer)
            .map_err(|_| Error::Rejected)?
            .len();
        buffer.truncate(plaintext);
        Ok(())
    }
}

impl fmt::Debug for AeadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AeadKey(..)")
    }
}

fn parse_nonce(nonce: &[u8]) -> Result<Nonce, Error> {
    Nonce::try_assume_unique_for_key(nonce).map_err(|_| Error::Length {
        what: "AEAD nonce",
        actual: nonce.len(),
        expected: NONCE_BYTES,
    })
}

/// A KEM suite with the KDF and AEAD of one HPKE triple.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HpkeSuite {
    kem: &'static KemSuite,
    kdf: Kdf,
    aead: Aead,
}

impl HpkeSuite {
    /// Returns the suite that identifies `kem` on the wire.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`] if the registry has an identifier that this module does not know.
    pub fn of(kem: &'static KemSuite) -> Result<Self, Error> {
        Self::by_triple(kem.hpke).ok_or(Error::Internal)
    }

    /// Combines a KEM suite with another KDF and AEAD, for interoperation with age, JOSE or OHTTP.
    pub const fn new(kem: &'static KemSuite, kdf: Kdf, aead: Aead) -> Self {
        Self { kem, kdf, aead }
    }

    /// Finds a suite by its three identifiers. The KEM is looked up by its own identifier only.
    pub fn by_triple(triple: HpkeTriple) -> Option<Self> {
        let kem = crate::suite::KEM_SUITES
            .into_iter()
            .find(|row| row.hpke.kem == triple.kem)?;
        Some(Self {
            kem,
            kdf: Kdf::by_id(triple.kdf)?,
            aead: Aead::by_id(triple.aead)?,
        })
    }

    /// Returns the three identifiers.
    pub const fn triple(self) -> HpkeTriple {
        HpkeTriple {
            kem: self.kem.hpke.kem,
            kdf: self.kdf.id(),
            aead: self.aead.id(),
        }
    }

    /// Returns the KEM suite.
    pub const fn kem(self) -> &'static KemSuite {
        self.kem
    }

    /// Returns the KDF.
    pub const fn kdf(self) -> Kdf {
        self.kdf
    }

    /// Returns the AEAD.
    pub const fn aead(self) -> Aead {
        self.aead
    }

    fn suite_id(self) -> [u8; 10] {
        let triple = self.triple();
        let [k0, k1] = triple.kem.to_be_bytes();
        let [d0, d1] = triple.kdf.to_be_bytes();
        let [a0, a1] = triple.aead.to_be_bytes();
        [b'H', b'P', b'K', b'E', k0, k1, d0, d1, a0, a1]
    }

    /// Sets up a context for sending to `recipient`; the first value is `enc`, which the recipient
    /// needs.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidPublicKey`] if the key is of another suite or malformed.
    pub fn setup_sender(
        self,
        recipient: &KemPublicKey,
        info: &[u8],
    ) -> Result<(Vec<u8>, SenderContext), Error> {
        self.check_suite(recipient)?;
        let (enc, shared_secret) = recipient.encapsulate()?;
        Ok((enc, SenderContext(self.schedule(&shared_secret, info)?)))
    }

    /// Like [`Self::setup_sender`], with given randomness, for test vectors.
    ///
    /// # Errors
    ///
    /// As [`Self::setup_sender`].
    #[cfg(feature = "hazmat")]
    pub fn setup_sender_derand(
        self,
        recipient: &KemPublicKey,
        info: &[u8],
        randomness: &[u8],
    ) -> Result<(Vec<u8>, SenderContext), Error> {
        self.check_suite(recipient)?;
        let (enc, shared_secret) = recipient.encapsulate_with(randomness)?;
        Ok((enc, SenderContext(self.schedule(&shared_secret, info)?)))
    }

    /// Sets up the context that `enc` belongs to.
    ///
    /// A wrong key or a changed `enc` is detected only when the first message is opened.
    ///
    /// # Errors
    ///
    /// - [`Error::Length`] if `enc` does not have the suite's length.
    /// - [`Error::Rejected`] if the classical half is malformed.
    /// - [`Error::HeldElsewhere`]: a holder opens whole messages only.
    pub fn setup_recipient(
        self,
        enc: &[u8],
        key: &KemPrivateKey,
        info: &[u8],
    ) -> Result<RecipientContext, Error> {
        self.check_suite(key.public_key())?;
        let shared_secret = key.decapsulate(enc)?;
        Ok(RecipientContext(self.schedule(&shared_secret, info)?))
    }

    /// Encrypts one message to `recipient` and returns `(enc, ciphertext)`.
    ///
    /// # Errors
    ///
    /// As [`Self::setup_sender`].
    pub fn seal(
        self,
        recipient: &KemPublicKey,
        info: &[u8],
        aad: &[u8],
        plaintext: &[u8],
    ) -> Result<(Vec<u8>, Vec<u8>), Error> {
        let (enc, mut context) = self.setup_sender(recipient, info)?;
        Ok((enc, context.seal(aad, plaintext)?))
    }

    /// Decrypts one message.
    ///
    /// # Errors
    ///
    /// [`Error::Rejected`] if anything does not match; [`Error::Length`] if `enc` has the wrong
    /// length; [`Error::Holder`] if the holder of the key does not open it.
    pub fn open(
        self,
        enc: &[u8],
        key: &KemPrivateKey,
        info: &[u8],
        aad: &[u8],
        ciphertext: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let Some(holder) = key.holder() else {
            return self.setup_recipient(enc, key, info)?.open(aad, ciphertext);
        };
        self.check_suite(key.public_key())?;
        let message = HpkeMessage {
            suite: self,
            enc,
            info,
            aad,
            ciphertext,
        };
        Ok(holder.open(&message)?.expose().to_vec())
    }

    /// Returns the contexts of both sides for a given KEM secret, for measuring the key schedule
    /// alone.
    ///
    /// # Errors
    ///
    /// As [`Self::setup_sender`].
    #[cfg(feature = "hazmat")]
    pub fn contexts_of(
        self,
        shared_secret: &Secret<SHARED_SECRET_BYTES>,
        info: &[u8],
    ) -> Result<(SenderContext, RecipientContext), Error> {
        let sender = SenderContext(self.schedule(shared_secret, info)?);
        Ok((
            sender,
            RecipientContext(self.schedule(shared_secret, info)?),
        ))
    }

    fn check_suite(self, key: &KemPublicKey) -> Result<(), Error> {
        if key.suite() == self.kem {
            return Ok(());
        }
        Err(Error::InvalidPublicKey {
            suite: self.kem.name,
        })
    }

    fn schedule(
        self,
        shared_secret: &Secret<SHARED_SECRET_BYTES>,
        info: &[u8],
    ) -> Result<Context, Error> {
        let (key, base_nonce, exporter_secret) = self.kdf.schedule(
            &self.suite_id(),
            MODE_BASE,
            shared_secret,
            info,
            self.aead.key_bytes(),
        )?;
        Ok(Context {
            suite: self,
            key: AeadKey::new(self.aead, key.expose())?,
            base_nonce,
            sequence: 0,
            exporter_secret,
        })
    }
}

/// State shared by both directions.
struct Context {
    suite: HpkeSuite,
    key: AeadKey,
    base_nonce: [u8; NONCE_BYTES],
    sequence: u64,
    exporter_secret: crate::SecretBytes,
}

impl Context {
    fn nonce(&self) -> [u8; NONCE_BYTES] {
        let mut nonce = self.base_nonce;
        let low = nonce
            .iter_mut()
            .rev()
            .zip(self.sequence.to_be_bytes().into_iter().rev());
        low.for_each(|(byte, counter)| *byte ^= counter);
        nonce
    }

    fn advance(&mut self) -> Result<(), Error> {
        self.sequence = self.sequence.checked_add(1).ok_or(Error::Exhausted)?;
        Ok(())
    }

    fn export(&self, context: &[u8], len: usize) -> Result<crate::SecretBytes, Error> {
        self.suite
            .kdf
            .export(&self.suite.suite_id(), &self.exporter_secret, context, len)
    }
}

/// The sender's side: seals messages in order.
pub struct SenderContext(Context);

impl SenderContext {
    /// Encrypts the next message.
    ///
    /// # Errors
    ///
    /// [`Error::Exhausted`] after 2^64 - 1 messages.
    pub fn seal(&mut self, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, Error> {
        let sealed = self.0.key.seal(&self.0.nonce(), aad, plaintext)?;
        self.0.advance()?;
        Ok(sealed)
    }

    /// Encrypts the next message in place and appends a tag of [`TAG_BYTES`], for large messages in
    /// a reused buffer.
    ///
    /// # Errors
    ///
    /// As [`Self::seal`].
    pub fn seal_in_place(&mut self, aad: &[u8], buffer: &mut Vec<u8>) -> Result<(), Error> {
        self.0.key.seal_in_place(&self.0.nonce(), aad, buffer)?;
        self.0.advance()
    }

    /// Derives `len` secret bytes that both sides can compute.
    ///
    /// # Errors
    ///
    /// [`Error::ExportTooLong`] beyond 255 hash outputs (two-stage KDFs) or 65535 bytes.
    pub fn export(&self, context: &[u8], len: usize) -> Result<crate::SecretBytes, Error> {
        self.0.export(context, len)
    }
}

impl fmt::Debug for SenderContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SenderContext({}, ..)", self.0.suite.kem.name)
    }
}

/// The recipient's side: opens messages in order.
pub struct RecipientContext(Context);

impl RecipientContext {
    /// Decrypts the next message. A message that fails does not advance the context.
    ///
    /// # Errors
    ///
    /// [`Error::Rejected`] if the tag does not verify.
    pub fn open(&mut self, aad: &[u8], ciphertext: &[u8]) -> Result<Vec<u8>, Error> {
        let plaintext = self.0.key.open(&self.0.nonce(), aad, ciphertext)?;
        self.0.advance()?;
        Ok(plaintext)
    }

    /// Decrypts the next message in place and truncates the tag. A message that fails does not
    /// advance the context.
    ///
    /// # Errors
    ///
    /// [`Error::Rejected`] if the tag does not verify; the content of the buffer is then undefined.
    pub fn open_in_place(&mut self, aad: &[u8], buffer: &mut Vec<u8>) -> Result<(), Error> {
        self.0.key.open_in_place(&self.0.nonce(), aad, buffer)?;
        self.0.advance()
    }

    /// Derives `len` secret bytes that both sides can compute.
    ///
    /// # Errors
    ///
    /// As [`SenderContext::export`].
    pub fn export(&self, context: &[u8], len: usize) -> Result<crate::SecretBytes, Error> {
        self.0.export(context, len)
    }
}

impl fmt::Debug for RecipientContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecipientContext({}, ..)", self.0.suite.kem.name)
    }
}

/// Implements `DeriveKeyPair` of draft-ietf-hpke-pq-05, which uses SHAKE256 for every KDF of the
/// triple.
///
/// # Errors
///
/// As [`KemPrivateKey::from_seed`].
pub fn derive_key_pair(suite: &'static KemSuite, ikm: &[u8]) -> Result<KemPrivateKey, Error> {
    let [k0, k1] = suite.hpke.kem.to_be_bytes();
    let suite_id = [b'K', b'E', b'M', k0, k1];
    let seed =
        kdf::labeled_derive_shake256(&suite_id, ikm, b"DeriveKeyPair", b"", suite.seed_bytes)?;
    KemPrivateKey::from_seed(suite, seed.expose())
}
