//! The two signatures of a message (RFC 9421, RFC 9530; `spec/inference.md`, section 7).

mod base;

use std::time::{Duration, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA512, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use casemate_crypto::{
    Purpose,
    encoding::KeyId,
    signature::{HttpSignatures, HttpSigningKey, HttpVerifyingKey},
};
use subtle::ConstantTimeEq;

use crate::{
    MessageError, Request, Response,
    attempt::{self, RequestMark},
    fields::{Fields, SIGNATURE, SIGNATURE_FIELDS, SIGNATURE_INPUT, check_sections},
    limits::WINDOW_SECONDS,
    ohttp::ChannelBinding,
};
use base::{Component, Covered, ParsedInput};

const ED25519: (&str, &str) = ("c", "ed25519");
const ML_DSA_65: (&str, &str) = ("pq", "ml-dsa-65");

/// Why a message's signatures were refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// A required field is missing or occurs more than once.
    #[error("field `{0}` must occur once")]
    Field(&'static str),
    /// The signature fields are malformed.
    #[error("signature fields are malformed: {0}")]
    Malformed(&'static str),
    /// The key is not the expected one, or not admitted.
    #[error("the message is signed by an unexpected key {0}")]
    UnknownKey(KeyId),
    /// The date is too old.
    #[error("date is {seconds} seconds old; at most {WINDOW_SECONDS} are allowed")]
    Past {
        /// Age, in seconds.
        seconds: u64,
    },
    /// The content is not the signed content.
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

/// The signer of a request, its mark, and the time of this attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The key that signed.
    pub key: KeyId,
    /// The request.
    pub mark: RequestMark,
    /// When it was signed, in seconds since 1970 UTC.
    pub date: u64,
}

/// Adds date, digest, channel binding, request mark and both signatures to a request.
///
/// Replaces existing fields with these names.
///
/// # Errors
///
/// [`SignError::Message`] if the request has too many fields; [`SignError::Crypto`].
pub fn sign_request(
    request: &mut Request,
    key: &HttpSigningKey,
    channel: &ChannelBinding,
    mark: &RequestMark,
    now: u64,
) -> Result<(), SignError> {
    add_digest_fields(&mut request.fields, &request.content, channel, now)?;
    request.fields.push(attempt::FIELD, &mark.to_field())?;
    check_sections(&request.fields, &request.trailers)?;
    let fields = sign(&Covered::request(request), key, Purpose::REQUEST, now)?;
    push_all(&mut request.fields, fields)
}

/// Adds date, digest, channel binding and both signatures to the response to a signed request.
///
/// # Errors
///
/// As [`sign_request`].
pub fn sign_response(
    response: &mut Response,
    request: &Request,
    key: &HttpSigningKey,
    channel: &ChannelBinding,
    now: u64,
) -> Result<(), SignError> {
    add_digest_fields(&mut response.fields, &response.content, channel, now)?;
    check_sections(&response.fields, &response.trailers)?;
    let covered = Covered::response(response, request);
    let fields = sign(&covered, key, Purpose::RESPONSE, now)?;
    push_all(&mut response.fields, fields)
}

/// Verifies the date, digest, channel binding and both signatures of a request, by a key that
/// `admitted` returns.
///
/// A date ahead of `now` is left to the replay record, which must mark such a request before
/// refusing it. For a key that is not admitted, the signatures are verified with `stand_in`, so
/// that both refusals take the same time.
///
/// # Errors
///
/// [`SignError`] for the first check that failed.
pub fn verify_request<'k>(
    request: &Request,
    channel: &ChannelBinding,
    now: u64,
    admitted: impl FnOnce(&KeyId) -> Option<&'k HttpVerifyingKey>,
    stand_in: &'k HttpVerifyingKey,
) -> Result<Verified, SignError> {
    let date = read_date(&request.fields)?;
    let seconds = now.saturating_sub(date);
    if seconds > WINDOW_SECONDS {
        return Err(SignError::Past { seconds });
    }
    check_digest_fields(&request.fields, &request.content, channel)?;
    let mark = request
        .fields
        .single(attempt::FIELD)
        .ok_or(SignError::Field(attempt::FIELD))?;
    let mark = RequestMark::from_field(mark)
        .filter(|mark| mark.first <= date)
        .ok_or(SignError::Malformed(attempt::FIELD))?;
    let signed = Signed::read(&Covered::request(request), Purpose::REQUEST, date)?;
    let known = admitted(&signed.key_id);
    let held = signed.verify(known.unwrap_or(stand_in));
    // The opposite order would reveal by time which of the two failed.
    known.ok_or(SignError::UnknownKey(signed.key_id))?;
    held?;
    Ok(Verified {
        key: signed.key_id,
        mark,
        date,
    })
}

/// Verifies the response to the signed `request`, by the gateway with the key `key`.
///
/// # Errors
///
/// [`SignError`] for the first check that failed.
pub fn verify_response(
    response: &Response,
    request: &Request,
    channel: &ChannelBinding,
    key: &HttpVerifyingKey,
) -> Result<(), SignError> {
    let date = read_date(&response.fields)?;
    check_digest_fields(&response.fields, &response.content, channel)?;
    let covered = Covered::response(response, request);
    let signed = Signed::read(&covered, Purpose::RESPONSE, date)?;
    if signed.key_id != key.id()? {
        return Err(SignError::UnknownKey(signed.key_id));
    }
    signed.verify(key)
}

/// Sets the `date` field.
pub(crate) fn set_date(fields: &mut Fields, now: u64) -> Result<(), MessageError> {
    fields.remove("date");
    let date = UNIX_EPOCH.checked_add(Duration::from_secs(now));
    // The format allows only years of four digits.
    let date = date
        .filter(|_| now < 253_402_300_800)
        .ok_or(MessageError::BadBytes("date"))?;
    fields.push("date", &httpdate::fmt_http_date(date))
}

/// Returns the `date` field, in seconds since 1970 UTC.
pub(crate) fn read_date(fields: &Fields) -> Result<u64, SignError> {
    let date = fields.single("date").ok_or(SignError::Field("date"))?;
    let date = httpdate::parse_http_date(date).map_err(|_| SignError::Malformed("date"))?;
    let since = date.duration_since(UNIX_EPOCH);
    Ok(since.map_err(|_| SignError::Malformed("date"))?.as_secs())
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
    set_date(fields, now)?;
    fields.push("content-digest", &content_digest(content))?;
    fields.push("casemate-channel", &channel_field(channel))?;
    Ok(())
}

fn push_all(fields: &mut Fields, (input, signature): (String, String)) -> Result<(), SignError> {
    fields.push(SIGNATURE_INPUT, &input)?;
    fields.push(SIGNATURE, &signature)?;
    Ok(())
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

/// Returns the values of `signature-input` and `signature`.
fn sign(
    covered: &Covered<'_>,
    key: &HttpSigningKey,
    purpose: Purpose,
    now: u64,
) -> Result<(String, String), SignError> {
    let key_id = key.verifying_key().id()?.to_hex();
    let shared = base::Parameters {
        created: now,
        key_id: &key_id,
        tag: purpose.as_str(),
    };
    let required = covered.required();
    let [c, pq] = [ED25519, ML_DSA_65].map(|(_, alg)| shared.for_algorithm(&required, alg));
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

/// Two well-formed signatures, not yet verified.
struct Signed {
    key_id: KeyId,
    bases: [String; 2],
    signatures: HttpSignatures,
}

impl Signed {
    fn read(covered: &Covered<'_>, purpose: Purpose, date: u64) -> Result<Self, SignError> {
        let input = covered
            .field(SIGNATURE_INPUT)
            .ok_or(SignError::Field(SIGNATURE_INPUT))?;
        let [c, pq] = base::parse_inputs(input, [ED25519.0, ML_DSA_65.0])?;
        let required = covered.required();
        check_input(&c, &required, ED25519.1, purpose, date)?;
        check_input(&pq, &required, ML_DSA_65.1, purpose, date)?;
        if c.key_id != pq.key_id {
            return Err(SignError::Malformed(
                "the two signatures have different key ids",
            ));
        }
        let key_id = c.key_id.parse();
        let signature = covered
            .field(SIGNATURE)
            .ok_or(SignError::Field(SIGNATURE))?;
        let [ed25519, mldsa65] = base::parse_signatures(signature, [ED25519.0, ML_DSA_65.0])?;
        Ok(Self {
            key_id: key_id.map_err(|_| SignError::Malformed("keyid"))?,
            bases: [covered.base(&c)?, covered.base(&pq)?],
            signatures: HttpSignatures { ed25519, mldsa65 },
        })
    }

    fn verify(&self, key: &HttpVerifyingKey) -> Result<(), SignError> {
        let [c, pq] = &self.bases;
        key.verify(c.as_bytes(), pq.as_bytes(), &self.signatures)
            .map_err(|_| SignError::BadSignature)
    }
}

fn check_input(
    input: &ParsedInput,
    required: &[Component],
    alg: &str,
    purpose: Purpose,
    date: u64,
) -> Result<(), SignError> {
    if !input.covers(required) {
        return Err(SignError::Malformed("covered components"));
    }
    if input.alg != alg || input.tag != purpose.as_str() {
        return Err(SignError::Malformed("alg or tag"));
    }
    if input.created != date {
        return Err(SignError::Malformed("created is not the second of `date`"));
    }
    Ok(())
}
