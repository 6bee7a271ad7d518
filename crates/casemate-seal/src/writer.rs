//! Sealing artifacts.

use casemate_crypto::{
    Purpose, Secret, encoding::KeyId, hash::sha384, hpke::HpkeSuite, kem::KemPublicKey,
    signature::SigningKey,
};
use casemate_memory::Buffer;
use casemate_parallel::Turn;
use fast_floe::low_level::{SEGMENT_PAYLOAD_OFFSET, SharedEncryptionContext};

use crate::{
    HashAlgorithm, Progress, ReadAt, SegmentSize, WriteAt, body,
    digest::{HashList, READING, layout_of, refuse_changed_source},
    error::SealError,
    footer,
    hash::Labelled as _,
    limits::{CONTENT_TYPE_BYTES_MAX, PUBLIC_PART_BYTES_MAX, RECIPIENTS_MAX},
    wire::{
        ArtifactId, Header, ListSigner, Private, RecipientRecord, SignatureRecord, Tail,
        encode_recipients, is_content_type, seal_publisher_part, seal_recipient_part,
    },
};

/// How to seal an artifact.
#[derive(Debug)]
pub struct SealOptions<'a> {
    /// The recipients; at least one.
    pub recipients: &'a [&'a KemPublicKey],
    /// The publisher. Without one, nothing proves who sealed the artifact.
    pub signer: Option<&'a SigningKey>,
    /// Content bytes per segment.
    pub segment_size: SegmentSize,
    /// The hash over the segments.
    pub hash: HashAlgorithm,
    /// The current time, in seconds since 1970-01-01 UTC.
    pub created: u64,
    /// Media type of the content; readable without a key.
    pub content_type: &'a str,
    /// The revision, starting at 1, which lets recipients refuse older ones.
    pub revision: Option<u64>,
    /// The publisher part, which only recipients can read.
    pub private: &'a Private,
    /// The public part, which everyone can read; at most 64 MiB.
    pub public_part: &'a [u8],
    /// The signer of the recipient list. From then on, only the owner may change recipients;
    /// without an owner, any recipient may.
    pub owner: Option<ListSigner<'a>>,
    /// Whether to also compute a digest of the content, which lets a later version detect that it
    /// is unchanged. Keep the digest secret: it confirms a correct guess of the content.
    pub digest_content: bool,
}

/// The result of sealing.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// The new artifact's id.
    pub id: ArtifactId,
    /// Length of the content, in bytes.
    pub content_len: u64,
    /// Length of the whole artifact, in bytes.
    pub artifact_len: u64,
    /// The root of the segment hashes, which identifies this exact ciphertext.
    pub root: Vec<u8>,
    /// SHA-384 of the header, which everything is bound to.
    pub header_digest: [u8; 48],
    /// The digest of the content, if requested.
    pub content: Option<Vec<u8>>,
}

/// Encrypts all of `source` into `sink`, which must be empty.
///
/// Uses memory for two segments per core, regardless of the length. The artifact is not usable
/// until this returns.
///
/// # Errors
///
/// [`SealError`]; `sink` then does not hold a valid artifact.
pub fn seal(
    source: &impl ReadAt,
    sink: &impl WriteAt,
    options: &SealOptions<'_>,
    progress: Progress<'_>,
) -> Result<Sealed, SealError> {
    let header = new_header(source, options)?;
    let artifact_key = Secret::random()?;
    let (context, floe_header) = body::start(&artifact_key, &header)?;
    sink.write_all_at(floe_header.as_bytes(), 0)
        .map_err(SealError::io("cannot write the artifact"))?;

    let layout = &header.layout;
    let digest_content = options.digest_content;
    let Encrypted { hashes, content } =
        encrypt_segments(source, sink, &header, &context, digest_content, progress)?;
    refuse_changed_source(source, layout.content_len())?;

    let publisher_part = seal_publisher_part(options.private, &header, &artifact_key)?;
    let segments = layout.segments();
    let parts = [publisher_part.as_slice(), options.public_part];
    let root = options
        .hash
        .root(floe_header.as_bytes(), parts, segments, &hashes);
    let digest = header.digest();
    let signature = options
        .signer
        .map(|key| sign(key, &digest, &root))
        .transpose()?;
    let Wrapped {
        recipients,
        recipient_part,
    } = wrap(
        &artifact_key,
        &header,
        &root,
        Vec::new(),
        options.recipients,
    )?;
    let list = options
        .owner
        .map(|owner| owner.sign(&header, None, &recipients))
        .transpose()?;
    let tail = Tail {
        header: header.encode(),
        recipients,
        publisher_part,
        hashes,
        signature,
        recipient_part,
        list,
        public_part: options.public_part.to_vec(),
    }
    .encode();
    let artifact_len = write_tail(sink, &tail, layout.body_len())?;
    Ok(Sealed {
        id: header.id,
        content_len: layout.content_len(),
        artifact_len,
        root,
        header_digest: digest,
        content,
    })
}

/// The result of encrypting: hashes of the segments, and the digest of the content if requested.
struct Encrypted {
    hashes: Vec<u8>,
    content: Option<Vec<u8>>,
}

/// Encrypts every segment.
fn encrypt_segments(
    source: &impl ReadAt,
    sink: &impl WriteAt,
    header: &Header,
    context: &SharedEncryptionContext,
    digest_content: bool,
    progress: Progress<'_>,
) -> Result<Encrypted, SealError> {
    let (layout, hash) = (&header.layout, header.hash);
    let hashes = HashList::new(hash, layout.segments());
    let contents = digest_content.then(|| HashList::new(hash, layout.segments()));
    let turn = Turn::default();
    casemate_parallel::for_each(
        layout.segments(),
        || (context.fork(), Buffer::default()),
        |(floe, buffer), index| {
            let segment = layout
                .floe_segment(index)
                .ok_or(casemate_crypto::Error::Internal)?;
            let content_len = segment.plaintext_length();
            buffer.resize(segment.ciphertext_length(), 0);
            let note = |content: &[u8]| match &contents {
                Some(contents) => contents.set(index, &hash.content_segment(content)),
                None => Ok(()),
            };
            let offset = layout.content_offset(index);
            let encrypted = if let Some(content) = source.in_memory(offset, content_len) {
                note(content)?;
                floe.encrypt_segment_into(content, segment, buffer)
            } else {
                let content = buffer
                    .get_mut(SEGMENT_PAYLOAD_OFFSET..)
                    .and_then(|payload| payload.get_mut(..content_len))
                    .ok_or(casemate_crypto::Error::Internal)?;
                source
                    .read_exact_at(content, offset)
                    .map_err(SealError::io(READING))?;
                note(content)?;
                floe.encrypt_segment_in_place_raw(buffer, segment)
            };
            encrypted.map_err(|_| casemate_crypto::Error::Internal)?;
            hashes.set(index, &hash.segment(buffer))?;
            turn.take(|| sink.write_all_at(buffer, layout.body_offset(index)))
                .map_err(SealError::io("cannot write the artifact"))?;
            progress(content_len as u64);
            Ok::<_, SealError>(())
        },
    )?;
    let contents = contents.map(HashList::into_bytes).transpose()?;
    Ok(Encrypted {
        hashes: hashes.into_bytes()?,
        content: contents.map(|list| hash.content_root(layout.content_len(), &list)),
    })
}

fn new_header(source: &impl ReadAt, options: &SealOptions<'_>) -> Result<Header, SealError> {
    let actual = options.content_type.len();
    if actual > CONTENT_TYPE_BYTES_MAX {
        let (field, limit) = ("content type", CONTENT_TYPE_BYTES_MAX);
        return Err(SealError::FieldTooLong {
            field,
            actual,
            limit,
        });
    }
    if !is_content_type(options.content_type) {
        let shown = options.content_type.escape_debug().to_string();
        return Err(SealError::ContentType(shown));
    }
    if options.revision == Some(0) {
        return Err(SealError::Revision);
    }
    let actual = options.public_part.len();
    if actual > PUBLIC_PART_BYTES_MAX {
        let (field, limit) = ("public part", PUBLIC_PART_BYTES_MAX);
        return Err(SealError::FieldTooLong {
            field,
            actual,
            limit,
        });
    }
    let layout = layout_of(source, options.segment_size)?;
    let publisher = options.signer.map(|key| key.verifying_key().id());
    Ok(Header {
        id: ArtifactId::random()?,
        hash: options.hash,
        layout,
        created: options.created,
        content_type: options.content_type.to_owned(),
        publisher: publisher.transpose()?,
        revision: options.revision,
        owner: options.owner.map(|owner| owner.owner()).transpose()?,
        unknown: Vec::new(),
    })
}

fn sign(key: &SigningKey, digest: &[u8], root: &[u8]) -> Result<SignatureRecord, SealError> {
    let signature = key.sign(Purpose::ARTIFACT, &[digest, root].concat())?;
    let id = key.verifying_key().id()?;
    Ok(SignatureRecord {
        suite: key.suite(),
        key: id,
        signature,
    })
}

/// Returns the additional data of the recipient part.
pub(crate) fn recipient_aad(
    header: &Header,
    root: &[u8],
    recipients: &[RecipientRecord],
) -> Vec<u8> {
    let recipients = sha384(&encode_recipients(recipients));
    [header.digest().as_slice(), root, &recipients].concat()
}

/// The parts of the tail that depend on the recipients.
pub(crate) struct Wrapped {
    pub(crate) recipients: Vec<RecipientRecord>,
    pub(crate) recipient_part: Vec<u8>,
}

/// Encrypts the artifact key to its recipients; `kept` records stay unchanged.
pub(crate) fn wrap(
    artifact_key: &Secret<32>,
    header: &Header,
    root: &[u8],
    kept: Vec<RecipientRecord>,
    added: &[&KemPublicKey],
) -> Result<Wrapped, SealError> {
    let actual = kept.len().saturating_add(added.len());
    if actual == 0 {
        return Err(SealError::NoRecipient);
    }
    if actual > RECIPIENTS_MAX {
        return Err(SealError::TooManyRecipients { actual });
    }
    let info = Purpose::ARTIFACT_KEY.with(&header.digest());
    let mut records = kept;
    for recipient in added {
        let suite = recipient.suite();
        let key: KeyId = recipient.id()?;
        if records.iter().any(|record| record.key == key) {
            return Err(SealError::DuplicateRecipient(key));
        }
        let (enc, ct) = HpkeSuite::of(suite)?.seal(recipient, &info, b"", artifact_key.expose())?;
        records.push(RecipientRecord {
            suite,
            key,
            enc,
            ct,
        });
    }
    let aad = recipient_aad(header, root, &records);
    Ok(Wrapped {
        recipient_part: seal_recipient_part(artifact_key, &aad)?,
        recipients: records,
    })
}

/// Returns tail and footer, to be written at `offset`.
pub(crate) fn with_footer(tail: &[u8], offset: u64) -> Result<Vec<u8>, SealError> {
    let too_long = SealError::TooLong {
        bytes: tail.len() as u64,
    };
    let footer = footer::encode(offset, tail).ok_or(too_long)?;
    Ok([tail, &footer].concat())
}

/// Writes tail and footer at `offset`, and returns where the artifact ends.
pub(crate) fn write_tail(sink: &impl WriteAt, tail: &[u8], offset: u64) -> Result<u64, SealError> {
    let whole = with_footer(tail, offset)?;
    sink.write_all_at(&whole, offset)
        .map_err(SealError::io("cannot write the tail"))?;
    Ok(offset.saturating_add(whole.len() as u64))
}
