//! Segment hashes and their root (`spec/sealed-artifact.md`, section 5.3), and the digest of
//! content (`spec/sealed-folder.md`, section 4).

use aws_lc_rs::digest::{self, SHA384};
use casemate_crypto::{Purpose, algorithm::HashAlgorithm, hash::sha384};

/// The hashes of an artifact, each under the label of its purpose.
pub(crate) trait Labelled {
    fn segment(self, segment: &[u8]) -> Vec<u8>;
    fn root(self, floe_header: &[u8], parts: [&[u8]; 2], segments: u64, hashes: &[u8]) -> Vec<u8>;
    fn content_segment(self, content: &[u8]) -> Vec<u8>;
    fn content_root(self, content_len: u64, hashes: &[u8]) -> Vec<u8>;
}

impl Labelled for HashAlgorithm {
    fn segment(self, segment: &[u8]) -> Vec<u8> {
        labelled(self, Purpose::ARTIFACT_SEGMENT, &[segment])
    }

    fn root(
        self,
        floe_header: &[u8],
        [publisher_part, public_part]: [&[u8]; 2],
        segments: u64,
        hashes: &[u8],
    ) -> Vec<u8> {
        let (publisher_part, public_part) = (sha384(publisher_part), sha384(public_part));
        let segments = segments.to_be_bytes();
        labelled(
            self,
            Purpose::ARTIFACT_ROOT,
            &[
                floe_header,
                &publisher_part,
                &public_part,
                &segments,
                hashes,
            ],
        )
    }

    fn content_segment(self, content: &[u8]) -> Vec<u8> {
        labelled(self, Purpose::CONTENT_SEGMENT, &[content])
    }

    fn content_root(self, content_len: u64, hashes: &[u8]) -> Vec<u8> {
        labelled(
            self,
            Purpose::CONTENT_ROOT,
            &[&content_len.to_be_bytes(), hashes],
        )
    }
}

fn labelled(hash: HashAlgorithm, purpose: Purpose, parts: &[&[u8]]) -> Vec<u8> {
    match hash {
        HashAlgorithm::Blake3 => {
            let mut hasher = blake3::Hasher::new_derive_key(purpose.as_str());
            parts.iter().for_each(|part| _ = hasher.update(part));
            hasher.finalize().as_bytes().to_vec()
        }
        HashAlgorithm::Sha384 => {
            let mut context = digest::Context::new(&SHA384);
            context.update(purpose.as_bytes());
            context.update(&[0]);
            parts.iter().for_each(|part| context.update(part));
            context.finish().as_ref().to_vec()
        }
    }
}
