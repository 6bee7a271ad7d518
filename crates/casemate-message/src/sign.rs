//! The two signatures of a message (RFC 9421, RFC 9530; `spec/inference.md`, section 7).

mod base;

use aws_lc_rs::digest::{SHA512, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use casemate_crypto::{
    Purpose,
    encoding::KeyId,
    random,
    signature::{HttpSignatures, HttpSigningKey, HttpVerifyingKey},
};
use subtle::ConstantTimeEq;

use crate::{
    MessageError, Request, Response, limits::WINDOW_SECONDS, message::Fields, ohttp::ChannelBinding,
};
use base::{Covered, ParsedInput, REQUEST_COMPONENTS, RESPONSE_COMPONENTS};

/// Fields that signing adds.
pub const SIGNATURE_FIELDS: [&str; 5] = [
    "date",
    "content-digest",
    "casemate-channel",
    "signature-input",
    "signature",
];

const ED25519: (&str, &str) = ("c", "ed25519");
const ML_DSA_65: (&str, &str) = ("pq", "ml-dsa-65");
const NONCE_BYTES: usize = 18;

/// Why a message's signatures were refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// A field that must be there once is missing or doubled.
    #[error("field `{0}` is missing or occurs twice")]
    Field(&'static str),
    /// The signature fields do not have the prescribed form.
    #[error("signature fields are malformed: {0}")]
    Malformed(&'static str),
    /// The key is not admitted.
    #[error("key {0} is not admitted")]
    UnknownKey(KeyId),
    /// The date is too far from the clock.
    #[error("date is {seconds} seconds from the clock, at most {WINDOW_SECONDS} are allowed")]
    Date {
        /// Distance from the clock, in seconds.
        seconds: u64,
    },
    /// The content is not the one that was signed.
    #[error("content digest does not match")]
    Digest,
    /// The message belongs to another encryption.
    #[error("channel binding does not match")]
    Channel,
    /// A signature does not verify.
    #[error("signature does not verify")]
    BadSignature,
    /// The message cannot carry the fields.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The cryptographic library failed.
    #[error(transparent)]
    Crypto(#[from] casemate_crypto::Error),
}

/// Checks a date against the clock, both in seconds since 1970 UTC.
fn check_clock(now: u64, date: u64) -> Result<(), SignError> {
    let seconds = now.abs_diff(date);
    if seconds > WINDOW_SECONDS {
        Err(SignError::Date { seconds })
    } else {
        Ok(())
    }
}

/// Who signed a message, and how it is told apart from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The key that signed.
    pub key: KeyId,
    /// The signer's nonce.
    pub nonce: String,
    /// When the message can be forgotten, in seconds since 1970 UTC.
    pub expires: u64,
}

/// Adds date, digest, channel binding and both signatures to a request.
///
/// Fields of these names that are there already are replaced.
///
/// # Errors
///
/// [`SignError::Message`] if the request has too many fields already; [`SignError::Crypto`].
pub fn sign_request(
    request: &mut Request,
    key: &HttpSigningKey,
    channel: &ChannelBinding,
    now: u64,
) -> Result<(), SignError> {
    add_digest_fields(&mut request.fields, &request.content, channel, now)?;
    let covered = Covered::request(request);
    let fields = sign(&covered, &REQUEST_COMPONENTS, key, Purpose::REQUEST, now)?;
    push_all(&mut request.fields, fields)
}

/// Adds date, digest, channel binding and both signatures to a response.
///
/// # Errors
///
/// As [`sign_request`].
pub fn sign_response(
    response: &mut Response,
    key: &HttpSigningKey,
    channel: &ChannelBinding,
    now: u64,
) -> Result<(), SignError> {
    add_digest_fields(&mut response.fields, &response.content, channel, now)?;
    let covered = Covered::response(response);
    let fields = sign(&covered, &RESPONSE_COMPONENTS, key, Purpose::RESPONSE, now)?;
    push_all(&mut response.fields, fields)
}

/// Checks a request: date, digest, channel binding and both signatures by a key that `admitted` knows.
///
/// # Errors
///
/// [`SignError`], naming the first check that failed.
pub fn verify_request<'k>(
    request: &Request,
    channel: &ChannelBinding,
    now: u64,
    admitted: impl FnOnce(&KeyId) -> Option<&'k HttpVerifyingKey>,
) -> Result<Verified, SignError> {
    check_date(&request.fields, now)?;
    check_digest_fields(&request.fields, &request.content, channel)?;
    verify(
        &Covered::request(request),
        &REQUEST_COMPONENTS,
        Purpose::REQUEST,
        now,
        admitted,
    )
}

/// Checks a response by the gateway whose key is `key`.
///
/// # Errors
///
/// [`SignError`], naming the first check that failed.
pub fn verify_response(
    response: &Response,
    channel: &ChannelBinding,
    now: u64,
    key: &HttpVerifyingKey,
) -> Result<Verified, SignError> {
    let pinned = key.id()?;
    check_date(&response.fields, now)?;
    check_digest_fields(&response.fields, &response.content, channel)?;
    let covered = Covered::response(response);
    verify(
        &covered,
        &RESPONSE_COMPONENTS,
        Purpose::RESPONSE,
        now,
        |id| (*id == pinned).then_some(key),
    )
}

fn content_digest(content: &[u8]) -> String {
    format!("sha-512=:{}:", BASE64.encode(digest(&SHA512, content)))
}

fn channel_field(channel: &ChannelBinding) -> String {
    format!(":{}:", BASE64.encode(channel.as_bytes()))
}

fn add_digest_fields(
    fields: &mut Fields,
    content: &[u8],
    channel: &ChannelBinding,
    now: u64,
) -> Result<(), SignError> {
    SIGNATURE_FIELDS.iter().for_each(|name| fields.remove(name));
    let date = std::time::UNIX_EPOCH
        .checked_add(std::time::Duration::from_secs(now))
        .ok_or(SignError::Malformed("date"))?;
    fields.push("date", &httpdate::fmt_http_date(date))?;
    fields.push("content-digest", &content_digest(content))?;
    fields.push("casemate-channel", &channel_field(channel))?;
    Ok(())
}

fn push_all(fields: &mut Fields, (input, signature): (String, String)) -> Result<(), SignError> {
    fields.push("signature-input", &input)?;
    fields.push("signature", &signature)?;
    Ok(())
}

fn check_date(fields: &Fields, now: u64) -> Result<(), SignError> {
    let date = fields.single("date").ok_or(SignError::Field("date"))?;
    let date = httpdate::parse_http_date(date).map_err(|_| SignError::Malformed("date"))?;
    let date = date
        .duration_since(std::time::UNIX_EPOCH)
        .map_err(|_| SignError::Malformed("date"))?
        .as_secs();
    check_clock(now, date)
}

fn check_digest_fields(
    fields: &Fields,
    content: &[u8],
    channel: &ChannelBinding,
) -> Result<(), SignError> {
    let digest = fields
        .single("content-digest")
        .ok_or(SignError::Field("content-digest"))?;
    if digest != content_digest(content) {
        return Err(SignError::Digest);
    }
    let found = fields
        .single("casemate-channel")
        .ok_or(SignError::Field("casemate-channel"))?;
    if bool::from(found.as_bytes().ct_eq(channel_field(channel).as_bytes())) {
        return Ok(());
    }
    Err(SignError::Channel)
}

/// Makes the values of `signature-input` and `signature`.
fn sign(
    covered: &Covered<'_>,
    components: &[&'static str],
    key: &HttpSigningKey,
    purpose: Purpose,
    now: u64,
) -> Result<(String, String), SignError> {
    let nonce = BASE64.encode(random::bytes::<NONCE_BYTES>()?);
    let key_id = key.verifying_key().id()?.to_hex();
    let shared = base::Parameters {
        created: now,
        nonce: &nonce,
        key_id: &key_id,
        tag: purpose.as_str(),
    };
    let [c, pq] =
        [ED25519, ML_DSA_65].map(|(_, alg)| shared.for_algorithm(covered, components, alg));
    let signatures = key.sign(covered.base(&c)?.as_bytes(), covered.base(&pq)?.as_bytes())?;
    let (c_label, pq_label) = (ED25519.0, ML_DSA_65.0);
    let (ed25519, mldsa65) = (
        BASE64.encode(&signatures.ed25519),
        BASE64.encode(&signatures.mldsa65),
    );
    Ok((
        format!("{c_label}={}, {pq_label}={}", c.serialized, pq.serialized),
        format!("{c_label}=:{ed25519}:, {pq_label}=:{mldsa65}:"),
    ))
}

fn verify<'k>(
    covered: &Covered<'_>,
    components: &[&'static str],
    purpose: Purpose,
    now: u64,
    admitted: impl FnOnce(&KeyId) -> Option<&'k HttpVerifyingKey>,
) -> Result<Verified, SignError> {
    let input = covered
        .field("signature-input")
        .ok_or(SignError::Field("signature-input"))?;
    let [c, pq] = base::parse_inputs(input, [ED25519.0, ML_DSA_65.0])?;
    check_input(&c, covered, components, ED25519.1, purpose)?;
    check_input(&pq, covered, components, ML_DSA_65.1, purpose)?;
    if (&c.nonce, &c.key_id, c.created) != (&pq.nonce, &pq.key_id, pq.created) {
        return Err(SignError::Malformed(
            "the two signatures have different parameters",
        ));
    }
    check_clock(now, c.created)?;
    let id: KeyId = c
        .key_id
        .parse()
        .map_err(|_| SignError::Malformed("keyid"))?;
    let key = admitted(&id).ok_or(SignError::UnknownKey(id))?;
    let signature = covered
        .field("signature")
        .ok_or(SignError::Field("signature"))?;
    let [ed25519, mldsa65] = base::parse_signatures(signature, [ED25519.0, ML_DSA_65.0])?;
    let signatures = HttpSignatures { ed25519, mldsa65 };
    key.verify(
        covered.base(&c)?.as_bytes(),
        covered.base(&pq)?.as_bytes(),
        &signatures,
    )
    .map_err(|_| SignError::BadSignature)?;
    let expires = c.created.saturating_add(WINDOW_SECONDS).saturating_add(1);
    Ok(Verified {
        key: id,
        nonce: c.nonce,
        expires,
    })
}

fn check_input(
    input: &ParsedInput,
    covered: &Covered<'_>,
    components: &[&'static str],
    alg: &str,
    purpose: Purpose,
) -> Result<(), SignError> {
    let required = covered.required(components);
    let complete = input.components.len() == required.len()
        && required
            .iter()
            .all(|name| input.components.iter().any(|found| found == name));
    if !complete {
        return Err(SignError::Malformed("covered components"));
    }
    if input.alg != alg || input.tag != purpose.as_str() {
        return Err(SignError::Malformed("alg or tag"));
    }
    if !(16..=64).contains(&input.nonce.len()) {
        return Err(SignError::Malformed("nonce"));
    }
    Ok(())
}
