//! Oblivious HTTP (RFC 9458) with KEM 0x647a.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use casemate_crypto::{
    Purpose, SecretBytes,
    encoding::KeyId,
    hpke::{Aead, AeadKey, HpkeSuite, Kdf, RecipientContext, SenderContext},
    kem::{KemPrivateKey, KemPublicKey},
    random,
    suite::{HpkeTriple, MLKEM768_X25519},
};

/// Media type of a list of key configurations.
pub const KEYS_MEDIA_TYPE: &str = "application/ohttp-keys";
/// Media type of an encapsulated request.
pub const REQUEST_MEDIA_TYPE: &str = "message/ohttp-req";
/// Media type of an encapsulated response.
pub const RESPONSE_MEDIA_TYPE: &str = "message/ohttp-res";

const REQUEST_LABEL: &[u8] = b"message/bhttp request";
const RESPONSE_LABEL: &[u8] = b"message/bhttp response";
const HEADER_BYTES: usize = 7;
const CHANNEL_BYTES: usize = 32;
/// The symmetric suites offered, in order of preference.
const SYMMETRIC: [(Kdf, Aead); 2] = [
    (Kdf::HkdfSha256, Aead::Aes256Gcm),
    (Kdf::HkdfSha256, Aead::ChaCha20Poly1305),
];

/// Why an encapsulated message was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OhttpError {
    /// The key configurations are malformed; the whole list is refused.
    #[error("malformed key configuration list")]
    KeyConfig,
    /// No configuration uses a suite that this program accepts.
    #[error("no key configuration offers MLKEM768-X25519 with a supported cipher")]
    NoSuite,
    /// The message is for another key or another suite.
    #[error("the message is encrypted to an unknown key or with a suite that is not offered")]
    UnknownKey,
    /// The message cannot be opened.
    #[error("the message cannot be opened")]
    Rejected,
    /// The cryptographic library failed for a reason unrelated to the message.
    #[error(transparent)]
    Crypto(casemate_crypto::Error),
}

fn rejected(error: casemate_crypto::Error) -> OhttpError {
    use casemate_crypto::Error as C;
    match error {
        C::Randomness | C::Internal => OhttpError::Crypto(error),
        _ => OhttpError::Rejected,
    }
}

/// A value that only the two ends of one request know; the signatures cover it.
#[derive(Clone, PartialEq, Eq)]
pub struct ChannelBinding(Vec<u8>);

impl ChannelBinding {
    /// Returns the 32 bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for ChannelBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChannelBinding(..)")
    }
}

/// A public key with the suites it may be used with.
#[derive(Debug)]
pub struct KeyConfig {
    id: u8,
    key: KemPublicKey,
    symmetric: Vec<(Kdf, Aead)>,
    /// The configuration as received, without its length prefix; the channel binding covers it.
    encoded: Vec<u8>,
}

/// Encodes a key configuration with the offered suites, without its length prefix.
fn encode_config(id: u8, key: &KemPublicKey) -> Vec<u8> {
    let suites: Vec<u8> = SYMMETRIC
        .iter()
        .flat_map(|(kdf, aead)| [kdf.id().to_be_bytes(), aead.id().to_be_bytes()].concat())
        .collect();
    let suites_len = u16::try_from(suites.len()).unwrap_or(u16::MAX);
    [
        &[id],
        key.suite().hpke.kem.to_be_bytes().as_slice(),
        key.as_bytes(),
        &suites_len.to_be_bytes(),
        &suites,
    ]
    .concat()
}

impl KeyConfig {
    /// Encodes a list of only this configuration (`application/ohttp-keys`).
    pub fn encode_list(&self) -> Vec<u8> {
        let len = u16::try_from(self.encoded.len()).unwrap_or(u16::MAX);
        [len.to_be_bytes().as_slice(), &self.encoded].concat()
    }

    /// Decodes a list and returns the first configuration with KEM 0x647a and a supported cipher.
    ///
    /// # Errors
    ///
    /// [`OhttpError::KeyConfig`] if any part is malformed; [`OhttpError::NoSuite`] if no
    /// configuration matches.
    pub fn decode_list(mut bytes: &[u8]) -> Result<Self, OhttpError> {
        let mut chosen = None;
        if bytes.is_empty() {
            return Err(OhttpError::KeyConfig);
        }
        while !bytes.is_empty() {
            let (config, rest) = take_prefixed(bytes).ok_or(OhttpError::KeyConfig)?;
            bytes = rest;
            let config = Self::decode(config)?;
            chosen = chosen.or(config);
        }
        chosen.ok_or(OhttpError::NoSuite)
    }

    /// Returns `None` for another KEM, whose key length is unknown.
    fn decode(config: &[u8]) -> Result<Option<Self>, OhttpError> {
        let (id, rest) = config.split_first().ok_or(OhttpError::KeyConfig)?;
        let (kem, rest) = rest.split_first_chunk().ok_or(OhttpError::KeyConfig)?;
        let suite = &MLKEM768_X25519;
        if u16::from_be_bytes(*kem) != suite.hpke.kem {
            return Ok(None);
        }
        let (key, rest) = rest
            .split_at_checked(suite.public_key_bytes)
            .ok_or(OhttpError::KeyConfig)?;
        let (suites, rest) = take_prefixed(rest).ok_or(OhttpError::KeyConfig)?;
        if !rest.is_empty() || suites.is_empty() || !suites.len().is_multiple_of(4) {
            return Err(OhttpError::KeyConfig);
        }
        let key = KemPublicKey::new(suite, key).map_err(|_| OhttpError::KeyConfig)?;
        let symmetric: Vec<_> = suites
            .chunks_exact(4)
            .filter_map(|pair| {
                let (kdf, aead) = pair.split_first_chunk::<2>()?;
                let aead = u16::from_be_bytes(aead.try_into().ok()?);
                let offered = (Kdf::by_id(u16::from_be_bytes(*kdf))?, Aead::by_id(aead)?);
                SYMMETRIC.contains(&offered).then_some(offered)
            })
            .collect();
        Ok((!symmetric.is_empty()).then_some(Self {
            id: *id,
            key,
            symmetric,
            encoded: config.to_vec(),
        }))
    }

    /// Starts a request to the gateway that listed this configuration in a key document signed by
    /// `signer`.
    ///
    /// The caller signs over the channel binding first, then seals the content.
    ///
    /// # Errors
    ///
    /// [`OhttpError::KeyConfig`] if the public key is not valid.
    pub fn start_request(&self, signer: &KeyId) -> Result<RequestSealer, OhttpError> {
        let (kdf, aead) = self.symmetric.first().copied().ok_or(OhttpError::NoSuite)?;
        let suite = HpkeSuite::new(self.key.suite(), kdf, aead);
        let header = encode_header(self.id, suite.triple());
        let (enc, context) = suite
            .setup_sender(&self.key, &request_info(&header))
            .map_err(|_| OhttpError::KeyConfig)?;
        let label = channel_label(signer, &self.encoded);
        let channel = export_channel(|len| context.export(&label, len))?;
        Ok(RequestSealer {
            header,
            enc,
            context,
            channel,
            suite,
        })
    }
}

fn take_prefixed(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(u16::from_be_bytes(*len).into())
}

fn encode_header(id: u8, triple: HpkeTriple) -> [u8; HEADER_BYTES] {
    let [k0, k1] = triple.kem.to_be_bytes();
    let [d0, d1] = triple.kdf.to_be_bytes();
    let [a0, a1] = triple.aead.to_be_bytes();
    [id, k0, k1, d0, d1, a0, a1]
}

fn request_info(header: &[u8]) -> Vec<u8> {
    [REQUEST_LABEL, &[0], header].concat()
}

/// Returns the exporter context of the channel binding: purpose, signer of the key document, and
/// key configuration in use.
fn channel_label(signer: &KeyId, config: &[u8]) -> Vec<u8> {
    let config = digest(&SHA256, config);
    Purpose::CHANNEL.with(&[signer.as_bytes(), config.as_ref()].concat())
}

fn export_channel(
    export: impl FnOnce(usize) -> Result<SecretBytes, casemate_crypto::Error>,
) -> Result<ChannelBinding, OhttpError> {
    let exported = export(CHANNEL_BYTES).map_err(OhttpError::Crypto)?;
    Ok(ChannelBinding(exported.expose().to_vec()))
}

/// Response key and nonce of RFC 9458, section 4.4.
struct ResponseKeys {
    secret: SecretBytes,
    enc: Vec<u8>,
    suite: HpkeSuite,
}

impl ResponseKeys {
    fn nonce_bytes(suite: HpkeSuite) -> usize {
        suite.aead().key_bytes().max(suite.aead().nonce_bytes())
    }

    fn derive(
        &self,
        response_nonce: &[u8],
    ) -> Result<(AeadKey, SecretBytes), casemate_crypto::Error> {
        let (kdf, aead) = (self.suite.kdf(), self.suite.aead());
        let salt = [self.enc.as_slice(), response_nonce].concat();
        let prk = kdf.extract(&salt, &[self.secret.expose()])?;
        let key = kdf.expand(&prk, &[b"key"], aead.key_bytes())?;
        let nonce = kdf.expand(&prk, &[b"nonce"], aead.nonce_bytes())?;
        Ok((AeadKey::new(aead, key.expose())?, nonce))
    }
}

/// Seals one request.
#[derive(Debug)]
pub struct RequestSealer {
    header: [u8; HEADER_BYTES],
    enc: Vec<u8>,
    context: SenderContext,
    channel: ChannelBinding,
    suite: HpkeSuite,
}

impl RequestSealer {
    /// Returns the channel binding, which the request's signatures must cover.
    pub const fn channel(&self) -> &ChannelBinding {
        &self.channel
    }

    /// Encrypts a binary HTTP request; returns the content to post and the opener for the answer.
    ///
    /// # Errors
    ///
    /// [`OhttpError::Crypto`].
    pub fn seal(mut self, request: &[u8]) -> Result<(Vec<u8>, ResponseOpener), OhttpError> {
        let ct = self
            .context
            .seal(b"", request)
            .map_err(OhttpError::Crypto)?;
        let sealed = [self.header.as_slice(), &self.enc, &ct].concat();
        let len = ResponseKeys::nonce_bytes(self.suite);
        let secret = self
            .context
            .export(RESPONSE_LABEL, len)
            .map_err(OhttpError::Crypto)?;
        Ok((
            sealed,
            ResponseOpener(ResponseKeys {
                secret,
                enc: self.enc,
                suite: self.suite,
            }),
        ))
    }
}

/// Opens the one answer to a request.
pub struct ResponseOpener(ResponseKeys);

impl fmt::Debug for ResponseOpener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseOpener(..)")
    }
}

impl ResponseOpener {
    /// Decrypts an encapsulated response to binary HTTP.
    ///
    /// # Errors
    ///
    /// [`OhttpError::Rejected`] if it is not the answer to this request.
    pub fn open(self, response: &[u8]) -> Result<Vec<u8>, OhttpError> {
        let len = ResponseKeys::nonce_bytes(self.0.suite);
        let (nonce, ct) = response.split_at_checked(len).ok_or(OhttpError::Rejected)?;
        let (key, aead_nonce) = self.0.derive(nonce).map_err(OhttpError::Crypto)?;
        key.open(aead_nonce.expose(), b"", ct).map_err(rejected)
    }
}

/// The gateway's private part of a key configuration.
pub struct GatewayKey {
    id: u8,
    key: KemPrivateKey,
    config: Vec<u8>,
}

impl fmt::Debug for GatewayKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewayKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// An opened request.
#[derive(Debug)]
pub struct OpenedRequest {
    /// The binary HTTP request.
    pub request: Vec<u8>,
    /// The channel binding, which its signatures must cover.
    pub channel: ChannelBinding,
    /// Seals the answer.
    pub sealer: ResponseSealer,
}

/// An encapsulated request whose header has been read.
#[derive(Debug)]
pub struct ReceivedRequest {
    suite: HpkeSuite,
    header: [u8; HEADER_BYTES],
    enc: Vec<u8>,
    ct: Vec<u8>,
}

impl GatewayKey {
    /// Wraps `key`, of the suite `mlkem768-x25519`, with the key id `id`.
    ///
    /// # Errors
    ///
    /// [`OhttpError::NoSuite`] for a key of another suite.
    pub fn new(id: u8, key: KemPrivateKey) -> Result<Self, OhttpError> {
        if key.suite() == &MLKEM768_X25519 {
            let config = encode_config(id, key.public_key());
            Ok(Self { id, key, config })
        } else {
            Err(OhttpError::NoSuite)
        }
    }

    /// Returns the configuration that clients need.
    ///
    /// # Errors
    ///
    /// [`OhttpError::KeyConfig`] if the public key cannot be parsed; a valid key always can.
    pub fn config(&self) -> Result<KeyConfig, OhttpError> {
        KeyConfig::decode(&self.config)?.ok_or(OhttpError::NoSuite)
    }

    /// Reads the header of an encapsulated request, without computing anything secret.
    ///
    /// # Errors
    ///
    /// [`OhttpError::UnknownKey`] for another key id or a suite that is not offered;
    /// [`OhttpError::Rejected`] if the request is too short.
    pub fn receive(&self, mut sealed: Vec<u8>) -> Result<ReceivedRequest, OhttpError> {
        let (header, rest) = sealed
            .split_first_chunk::<HEADER_BYTES>()
            .ok_or(OhttpError::Rejected)?;
        let offered = SYMMETRIC.into_iter().find_map(|(kdf, aead)| {
            let suite = HpkeSuite::new(self.key.suite(), kdf, aead);
            (encode_header(self.id, suite.triple()) == *header).then_some(suite)
        });
        let suite = offered.ok_or(OhttpError::UnknownKey)?;
        let enc = rest
            .get(..self.key.suite().ciphertext_bytes)
            .ok_or(OhttpError::Rejected)?
            .to_vec();
        let header = *header;
        // Requests may be large, so the content stays in the buffer it arrived in.
        sealed.drain(..HEADER_BYTES.saturating_add(enc.len()));
        Ok(ReceivedRequest {
            suite,
            header,
            enc,
            ct: sealed,
        })
    }

    /// Decapsulates and decrypts the request; `signer` is the pair that signs this gateway's key
    /// document.
    ///
    /// # Errors
    ///
    /// [`OhttpError::Rejected`], whatever the cause.
    pub fn open(
        &self,
        received: ReceivedRequest,
        signer: &KeyId,
    ) -> Result<OpenedRequest, OhttpError> {
        let ReceivedRequest {
            suite,
            header,
            enc,
            ct: mut request,
        } = received;
        let mut context: RecipientContext = suite
            .setup_recipient(&enc, &self.key, &request_info(&header))
            .map_err(rejected)?;
        context.open_in_place(b"", &mut request).map_err(rejected)?;
        let label = channel_label(signer, &self.config);
        let channel = export_channel(|len| context.export(&label, len))?;
        let len = ResponseKeys::nonce_bytes(suite);
        let secret = context
            .export(RESPONSE_LABEL, len)
            .map_err(OhttpError::Crypto)?;
        Ok(OpenedRequest {
            request,
            channel,
            sealer: ResponseSealer(ResponseKeys { secret, enc, suite }),
        })
    }
}

/// Seals the one answer to a request.
pub struct ResponseSealer(ResponseKeys);

impl fmt::Debug for ResponseSealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseSealer(..)")
    }
}

impl ResponseSealer {
    /// Encrypts a binary HTTP response.
    ///
    /// # Errors
    ///
    /// [`OhttpError::Crypto`].
    pub fn seal(self, response: &[u8]) -> Result<Vec<u8>, OhttpError> {
        let mut nonce = vec![0; ResponseKeys::nonce_bytes(self.0.suite)];
        random::fill(&mut nonce).map_err(OhttpError::Crypto)?;
        let (key, aead_nonce) = self.0.derive(&nonce).map_err(OhttpError::Crypto)?;
        let ct = key
            .seal(aead_nonce.expose(), b"", response)
            .map_err(OhttpError::Crypto)?;
        Ok([nonce, ct].concat())
    }
}
