//! The domain-separation labels of every use of a key.
//!
//! A purpose is the HPKE `info` prefix, the composite signature context or the HKDF info of one
//! use. Casemate never derives, encrypts or signs under a label that is not in this table.

/// The use of a key, as the ASCII string that enters the computation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purpose(&'static str);

impl Purpose {
    /// HPKE `info` prefix: wraps the key of a sealed artifact to a recipient.
    pub const ARTIFACT_KEY: Self = Self("casemate/v1/artifact-key");
    /// Composite signature context: the publisher's signature over a sealed artifact.
    pub const ARTIFACT: Self = Self("casemate/v1/artifact");
    /// HKDF info: the FLOE key of an artifact's body.
    pub const ARTIFACT_BODY: Self = Self("casemate/v1/artifact-body");
    /// HKDF info: the key of an artifact's publisher part.
    pub const ARTIFACT_PUBLISHER: Self = Self("casemate/v1/artifact-publisher");
    /// HKDF info: the key of an artifact's recipient part.
    pub const ARTIFACT_RECIPIENTS: Self = Self("casemate/v1/artifact-recipients");
    /// Signature context: the owner's list of an artifact's recipients.
    pub const RECIPIENTS: Self = Self("casemate/v1/recipients");
    /// Signature context: an owner delegates the signing of recipient lists.
    pub const DELEGATION: Self = Self("casemate/v1/delegation");
    /// Hash domain: one ciphertext segment of an artifact.
    pub const ARTIFACT_SEGMENT: Self = Self("casemate/v1/artifact-segment");
    /// Hash domain: the list of segment hashes of an artifact.
    pub const ARTIFACT_ROOT: Self = Self("casemate/v1/artifact-root");
    /// Hash domain: the plaintext of one segment, as recorded in a folder's manifest.
    pub const CONTENT_SEGMENT: Self = Self("casemate/v1/content-segment");
    /// Hash domain: the list of plaintext segment hashes.
    pub const CONTENT_ROOT: Self = Self("casemate/v1/content-root");
    /// Composite signature context: the publisher's detached signature over a model.
    pub const MODEL: Self = Self("casemate/v1/model");
    /// HPKE `info` prefix and exporter context: a key for another program.
    pub const EXCHANGE: Self = Self("casemate/v1/exchange");
    /// Composite signature context: data of another program.
    pub const DATA: Self = Self("casemate/v1/data");
    /// Composite signature context: the roster of a training job.
    pub const TRAIN_ROSTER: Self = Self("casemate/v1/train-roster");
    /// Composite signature context: the hello and the answer of a channel's handshake.
    pub const TRAIN_HANDSHAKE: Self = Self("casemate/v1/train-handshake");
    /// HPKE `info` prefix, exporter context and hash domain of a channel.
    pub const TRAIN_CHANNEL: Self = Self("casemate/v1/train-channel");
    /// HKDF info: the key of one generation of a channel.
    pub const TRAIN_KEY: Self = Self("casemate/v1/train-key");
    /// HKDF info: the chain of the next generation of a channel.
    pub const TRAIN_NEXT: Self = Self("casemate/v1/train-next");
    /// HKDF info: the key that proves the end of a channel's handshake.
    pub const TRAIN_FINISH: Self = Self("casemate/v1/train-finish");
    /// HKDF info: what a channel gives to the protocol above it.
    pub const TRAIN_EXPORT: Self = Self("casemate/v1/train-export");
    /// Hash domain and associated data: the ranks of a masked all-reduce.
    pub const ALL_REDUCE: Self = Self("casemate/v1/all-reduce");
    /// HKDF info: the secret of an edge that all ranks know.
    pub const ALL_REDUCE_EDGE: Self = Self("casemate/v1/all-reduce-edge");
    /// HKDF info: the key of an edge's mask in one reduction.
    pub const ALL_REDUCE_MASK: Self = Self("casemate/v1/all-reduce-mask");
    /// HKDF info: the key of the mask of a reduction's sum.
    pub const ALL_REDUCE_OUTPUT: Self = Self("casemate/v1/all-reduce-output");
    /// HKDF info: the key of a reduction's tags.
    pub const ALL_REDUCE_TAG: Self = Self("casemate/v1/all-reduce-tag");
    /// HKDF info: the key of what a rank sends to all others in one reduction.
    pub const ALL_REDUCE_SENDER: Self = Self("casemate/v1/all-reduce-sender");
    /// Composite signature context: the policy of secure aggregation.
    pub const AGGREGATE_POLICY: Self = Self("casemate/v1/aggregate-policy");
    /// Hash domain: what every message of an aggregation round is bound to.
    pub const AGGREGATE: Self = Self("casemate/v1/aggregate");
    /// Composite signature context: a client's message in an aggregation round.
    pub const AGGREGATE_MESSAGE: Self = Self("casemate/v1/aggregate-message");
    /// HKDF info: a client's KEM keys of a round.
    pub const AGGREGATE_KEY: Self = Self("casemate/v1/aggregate-key");
    /// HKDF info and HPKE `info` prefix: a client's part of an edge's secret.
    pub const AGGREGATE_EDGE: Self = Self("casemate/v1/aggregate-edge");
    /// HKDF info: the key of a client's own mask.
    pub const AGGREGATE_SELF: Self = Self("casemate/v1/aggregate-self");
    /// HKDF info: the key of the mask between two clients.
    pub const AGGREGATE_PAIR: Self = Self("casemate/v1/aggregate-pair");
    /// HPKE `info` prefix: shares for another client.
    pub const AGGREGATE_SHARE: Self = Self("casemate/v1/aggregate-share");
    /// Hash domain: the commitment to a share.
    pub const AGGREGATE_COMMITMENT: Self = Self("casemate/v1/aggregate-commitment");
    /// BLAKE3 context: a masked vector.
    pub const AGGREGATE_VECTOR: Self = Self("casemate/v1/aggregate-vector");
    /// HPKE `info` prefix: revealed shares for the aggregator.
    pub const AGGREGATE_REVEAL: Self = Self("casemate/v1/aggregate-reveal");
    /// HPKE `info` prefix: a data key of a key service.
    pub const DATA_KEY: Self = Self("casemate/v1/data-key");
    /// RFC 9421 tag of a signed request.
    pub const REQUEST: Self = Self("casemate/v1/request");
    /// RFC 9421 tag of a signed response.
    pub const RESPONSE: Self = Self("casemate/v1/response");
    /// HPKE exporter context that ties a signed request to its encryption.
    pub const CHANNEL: Self = Self("casemate/v1/channel");
    /// Signature domain of a gateway's key document.
    pub const KEY_DOCUMENT: Self = Self("casemate/v1/key-document");
    /// Signature domain of the statement that one HTTP signing pair succeeds another.
    pub const SUCCESSION: Self = Self("casemate/v1/succession");
    /// Composite signature context: a statement about keys.
    pub const KEY_STATEMENT: Self = Self("casemate/v1/key-statement");
    /// HKDF info: the key that encrypts a row of a key store.
    pub const STORE_ROW: Self = Self("casemate/v2/store-row");
    /// HKDF info: the key that authenticates the set of rows of a key store.
    pub const STORE_INDEX: Self = Self("casemate/v1/store-index");
    /// HKDF info: the key that hides the names of a key store.
    pub const STORE_NAME: Self = Self("casemate/v2/store-name");
    /// HKDF info: the key that hides what a key store knows to be sealed to its keys.
    pub const STORE_BINDING: Self = Self("casemate/v2/store-binding");
    /// HKDF info: the key that authenticates entries of a key store's audit log.
    pub const STORE_ENTRY: Self = Self("casemate/v2/store-entry");
    /// Hash domain: a leaf of the tree over a key store's rows.
    pub const STORE_LEAF: Self = Self("casemate/v2/store-leaf");
    /// Hash domain: a branch of the tree over a key store's rows.
    pub const STORE_BRANCH: Self = Self("casemate/v2/store-branch");
    /// HKDF info: the slot key of a store key.
    pub const STORE_KEY_SLOT: Self = Self("casemate/v2/store-key-slot");
    /// HKDF info and associated data: what a slot of a key store wraps.
    pub const STORE_SLOT: Self = Self("casemate/v2/store-slot");
    /// HPKE `info` prefix: the key of a slot, to a recipient.
    pub const STORE_SLOT_KEY: Self = Self("casemate/v2/store-slot-key");
    /// HKDF info and associated data: the key of a slot, under the root key.
    pub const STORE_SLOT_KEPT: Self = Self("casemate/v2/store-slot-kept");
    /// HKDF info and associated data: the root key, under the key of a group of slots.
    pub const STORE_GROUP: Self = Self("casemate/v2/store-group");
    /// HKDF info: the value that commits to a key store's root key.
    pub const STORE_COMMITMENT: Self = Self("casemate/v1/store-commitment");
    /// HKDF info of version 1: the key that encrypts records of a key store.
    pub const STORE_RECORD_1: Self = Self("casemate/v1/store-record");
    /// HKDF info of version 1: the key that wraps a key store's root key for a key file.
    pub const STORE_KEY_SLOT_1: Self = Self("casemate/v1/store-key-slot");

    /// Returns the label as bytes.
    pub const fn as_bytes(self) -> &'static [u8] {
        self.0.as_bytes()
    }

    /// Returns the label.
    pub const fn as_str(self) -> &'static str {
        self.0
    }

    /// Returns `purpose || 0x00 || suffix`, the form of every HPKE `info`.
    pub fn with(self, suffix: &[u8]) -> Vec<u8> {
        [self.as_bytes(), &[0], suffix].concat()
    }
}
