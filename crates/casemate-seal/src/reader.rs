//! Reading, verifying and opening artifacts.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use casemate_crypto::{
    Purpose, Secret, hash::sha384, hpke::HpkeSuite, kem::KemPrivateKey, signature::VerifyingKey,
};
use casemate_memory::Buffer;
use fast_floe::Header as FloeHeader;
use zeroize::Zeroizing;

use crate::{
    Opened, Progress, ReadAt, body,
    error::{Malformed, OpenError},
    footer,
    hash::Labelled as _,
    layout::FLOE_HEADER_LEN,
    limits::GAP_BYTES_MAX,
    wire::{
        Header, RecipientList, RecipientRecord, SignatureRecord, Tail, open_publisher_part,
        open_recipient_part,
    },
    writer::recipient_aad,
};

/// The publisher that the caller trusts.
#[derive(Clone, Copy, Debug)]
pub enum Origin<'a> {
    /// Only this key; an unsigned artifact is refused.
    SignedBy(&'a VerifyingKey),
    /// Anyone. Nothing proves who wrote the content.
    Unchecked,
}

/// An artifact whose structure was read, but whose secrets are not known yet. Clones share the
/// data.
pub struct Artifact<R>(Arc<Inner<R>>);

struct Inner<R> {
    source: R,
    header: Header,
    tail: Tail,
    floe_header: FloeHeader,
    root: Vec<u8>,
    end: u64,
    gap: u64,
    trailing: u64,
}

impl<R: ReadAt> Artifact<R> {
    /// Reads footer, tail and FLOE header, and checks every rule that needs no key.
    ///
    /// # Errors
    ///
    /// [`OpenError`], which names the broken rule.
    pub fn read(source: R) -> Result<Self, OpenError> {
        let found = footer::find(&source)?;
        let tail = Tail::decode(&found.bytes)?;
        let header = Header::decode(&tail.header)?;
        check_publisher(&header, tail.signature.as_ref())?;
        RecipientList::check(tail.list.as_ref(), &header, &tail.recipients)?;
        let body_len = header.body_len();
        let gap = found
            .offset
            .checked_sub(body_len)
            .ok_or(Malformed::Overlap)?;
        if gap > GAP_BYTES_MAX {
            return Err(Malformed::Gap(gap).into());
        }
        let expected = header.segments().saturating_mul(header.hash.bytes() as u64);
        if tail.hashes.len() as u64 != expected {
            let actual = tail.hashes.len();
            return Err(Malformed::HashCount { actual, expected }.into());
        }
        let mut floe_header = [0; FLOE_HEADER_LEN];
        source
            .read_exact_at(&mut floe_header, 0)
            .map_err(OpenError::io("cannot read the header of the body"))?;
        let floe_header =
            FloeHeader::try_from(floe_header.as_slice()).map_err(|_| Malformed::BodyParameters)?;
        if floe_header.unverified_parameters().ok() != header.layout.parameters() {
            return Err(Malformed::BodyParameters.into());
        }
        let root = header.hash.root(
            floe_header.as_bytes(),
            [&tail.publisher_part, &tail.public_part],
            header.segments(),
            &tail.hashes,
        );
        let len = source
            .byte_len()
            .map_err(OpenError::io("cannot read the length of the artifact"))?;
        let trailing = len.saturating_sub(found.end);
        Ok(Self(Arc::new(Inner {
            source,
            header,
            tail,
            floe_header,
            root,
            end: found.end,
            gap,
            trailing,
        })))
    }

    /// Returns the header, which was fixed when the artifact was sealed.
    pub fn header(&self) -> &Header {
        &self.0.header
    }

    /// Returns the recipients.
    pub fn recipients(&self) -> &[RecipientRecord] {
        &self.0.tail.recipients
    }

    /// Refuses a version older than `minimum`, or one without a revision. Only a verified signature
    /// authenticates the revision.
    ///
    /// # Errors
    ///
    /// [`OpenError::Revision`].
    pub fn require_revision(&self, minimum: u64) -> Result<(), OpenError> {
        let found = self.0.header.revision();
        if found.is_some_and(|found| found >= minimum) {
            return Ok(());
        }
        Err(OpenError::Revision { found, minimum })
    }

    /// Returns the publisher's public part, which is empty in most artifacts. Only a verified
    /// signature authenticates it.
    pub fn public_part(&self) -> &[u8] {
        &self.0.tail.public_part
    }

    /// Returns the signed recipient list, if the artifact has an owner. It was verified with the
    /// key that it contains.
    pub fn recipient_list(&self) -> Option<&RecipientList> {
        self.0.tail.list.as_ref()
    }

    /// Returns the SHA-384 of the message that the recipient list's signature covers, which
    /// identifies it in a trust file.
    pub fn recipients_digest(&self) -> Option<[u8; 48]> {
        let list = self.recipient_list()?;
        Some(list.message_digest(self.header(), self.recipients()))
    }

    /// Refuses a recipient list older than `minimum`, or an artifact without an owner.
    ///
    /// # Errors
    ///
    /// [`OpenError::Epoch`].
    pub fn require_epoch(&self, minimum: u64) -> Result<(), OpenError> {
        let found = self.recipient_list().map(|list| list.epoch);
        if found.is_some_and(|found| found >= minimum) {
            return Ok(());
        }
        Err(OpenError::Epoch { found, minimum })
    }

    /// Returns the publisher's signature, not yet verified.
    pub fn signature(&self) -> Option<&SignatureRecord> {
        self.0.tail.signature.as_ref()
    }

    /// Returns the message that the publisher's signature covers.
    fn signed_message(&self) -> Vec<u8> {
        [self.0.header.digest().as_slice(), &self.0.root].concat()
    }

    /// Returns the SHA-384 of the message that the publisher's signature covers, which identifies
    /// it in a trust file.
    pub fn message_digest(&self) -> [u8; 48] {
        sha384(&self.signed_message())
    }

    /// Returns the root of the segment hashes, which identifies this exact ciphertext.
    pub fn root(&self) -> &[u8] {
        &self.0.root
    }

    /// Returns the length of body, tail and footer, in bytes.
    pub fn artifact_len(&self) -> u64 {
        self.0.end
    }

    /// Returns the number of bytes that an unfinished rewrap left before the tail or after the
    /// footer. The next rewrap removes them.
    pub fn leftover_len(&self) -> u64 {
        self.0.gap.saturating_add(self.0.trailing)
    }

    /// Verifies the publisher's signature over the header and the hashes.
    ///
    /// Segments are not read. Each is checked against its hash when it is opened, and all of them
    /// by [`Self::verify_segments`].
    ///
    /// # Errors
    ///
    /// [`OpenError::Unsigned`], [`OpenError::OtherSigner`] or [`OpenError::BadSignature`].
    pub fn verify_signature(&self, key: &VerifyingKey) -> Result<(), OpenError> {
        let record = self.0.tail.signature.as_ref().ok_or(OpenError::Unsigned)?;
        let expected = key.id().map_err(|_| OpenError::BadSignature)?;
        if record.key != expected {
            return Err(OpenError::OtherSigner {
                found: record.key,
                expected,
            });
        }
        if record.suite != key.suite() {
            return Err(OpenError::BadSignature);
        }
        key.verify(Purpose::ARTIFACT, &self.signed_message(), &record.signature)
            .map_err(|_| OpenError::BadSignature)
    }

    /// Reads every segment and checks it against its hash, without a key.
    ///
    /// # Errors
    ///
    /// [`OpenError::SegmentHash`] with the first damaged segment found.
    pub fn verify_segments(&self, progress: Progress<'_>) -> Result<(), OpenError> {
        self.will_read_body();
        casemate_parallel::for_each(
            self.0.header.segments(),
            Buffer::default,
            |buffer, index| {
                let content_len = self.load_segment(index, buffer)?;
                progress(content_len);
                Ok(())
            },
        )
    }

    /// Recovers the artifact key and verifies everything that is bound to it.
    ///
    /// # Errors
    ///
    /// As [`Self::verify_signature`] for [`Origin::SignedBy`]; [`OpenError::NotARecipient`];
    /// [`OpenError::Rejected`] for every failure that depends on a secret.
    pub fn open(&self, key: &KemPrivateKey, origin: Origin<'_>) -> Result<Opened<R>, OpenError> {
        if let Origin::SignedBy(signer) = origin {
            self.verify_signature(signer)?;
        }
        let artifact_key = self.artifact_key(key)?;
        let context = body::resume(&artifact_key, &self.0.header, &self.0.floe_header)?;
        let (header, tail) = (&self.0.header, &self.0.tail);
        let aad = recipient_aad(header, &self.0.root, &tail.recipients);
        open_recipient_part(&tail.recipient_part, &artifact_key, &aad)?;
        let private = open_publisher_part(&tail.publisher_part, header, &artifact_key)?;
        Ok(Opened {
            artifact: self.clone(),
            artifact_key,
            context,
            private,
            recent: Mutex::default(),
        })
    }

    /// Opens the body with a known artifact key; the other parts stay encrypted.
    #[cfg(feature = "hazmat")]
    pub(crate) fn open_body(&self, artifact_key: Secret<32>) -> Result<Opened<R>, OpenError> {
        let context = body::resume(&artifact_key, &self.0.header, &self.0.floe_header)?;
        Ok(Opened {
            artifact: self.clone(),
            artifact_key,
            context,
            private: crate::Private::default(),
            recent: Mutex::default(),
        })
    }

    pub(crate) fn artifact_key(&self, key: &KemPrivateKey) -> Result<Secret<32>, OpenError> {
        let id = key.public_key().id().map_err(|_| OpenError::Rejected)?;
        let record = self
            .0
            .tail
            .recipients
            .iter()
            .find(|record| record.key == id)
            .ok_or(OpenError::NotARecipient { key: id })?;
        let info = Purpose::ARTIFACT_KEY.with(&self.0.header.digest());
        let opened = HpkeSuite::of(record.suite)
            .and_then(|suite| suite.open(&record.enc, key, &info, b"", &record.ct))
            .map_err(OpenError::secret)?;
        let opened = Zeroizing::new(opened);
        Secret::copy_from("artifact key", &opened).map_err(OpenError::secret)
    }

    /// Reads segment `index` into `buffer`, checks its hash, and returns its content length.
    pub(crate) fn load_segment(&self, index: u64, buffer: &mut Vec<u8>) -> Result<u64, OpenError> {
        let content_len = self.fetch_segment(index, buffer)?;
        self.check_segment(index, buffer)?;
        Ok(content_len)
    }

    /// Reads segment `index` into `buffer` and returns its content length. The bytes are unverified
    /// until [`Self::check_segment`].
    pub(crate) fn fetch_segment(&self, index: u64, buffer: &mut Vec<u8>) -> Result<u64, OpenError> {
        let layout = &self.0.header.layout;
        let segment = layout
            .floe_segment(index)
            .ok_or(OpenError::SegmentHash { segment: index })?;
        buffer.resize(segment.ciphertext_length(), 0);
        self.0
            .source
            .read_exact_at(buffer, layout.body_offset(index))
            .map_err(OpenError::io("cannot read a segment"))?;
        Ok(segment.plaintext_length() as u64)
    }

    /// Checks the encrypted bytes of segment `index` against their hash.
    pub(crate) fn check_segment(&self, index: u64, segment: &[u8]) -> Result<(), OpenError> {
        let hash_len = self.0.header.hash.bytes();
        let at = usize::try_from(index)
            .unwrap_or(usize::MAX)
            .saturating_mul(hash_len);
        let expected = self
            .0
            .tail
            .hashes
            .get(at..)
            .and_then(|rest| rest.get(..hash_len));
        if expected == Some(self.0.header.hash.segment(segment).as_slice()) {
            return Ok(());
        }
        Err(OpenError::SegmentHash { segment: index })
    }

    /// Tells the source that the whole body will be read.
    pub(crate) fn will_read_body(&self) {
        let layout = &self.0.header.layout;
        let body = layout.body_offset(0)..layout.body_len();
        self.0.source.will_read(body);
    }

    pub(crate) fn tail(&self) -> &Tail {
        &self.0.tail
    }
}

/// Refuses a signature that is not by the publisher in the header.
fn check_publisher(header: &Header, signature: Option<&SignatureRecord>) -> Result<(), Malformed> {
    let Some(signed) = signature.map(|record| record.key) else {
        return Ok(());
    };
    if header.publisher() == Some(signed) {
        return Ok(());
    }
    let sealed = header
        .publisher()
        .map_or_else(|| "none".to_owned(), |key| key.to_string());
    Err(Malformed::Publisher { sealed, signed })
}

impl<R> Clone for Artifact<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R> fmt::Debug for Artifact<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Artifact")
            .field("header", &self.0.header)
            .finish_non_exhaustive()
    }
}
