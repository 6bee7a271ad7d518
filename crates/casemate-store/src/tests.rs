//! The crate against `object_store`'s store in memory, which is told to answer late, wrongly or not
//! at all.
#![expect(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "lengths in these tests are small"
)]

mod addresses;
mod faulty;
mod folders;
mod profiles;
mod reading;
mod writing;

use std::sync::{Arc, LazyLock, Mutex};

use casemate_crypto::{
    kem::KemPrivateKey,
    suite::{MLKEM768_X25519, MLKEM1024_P384},
};
use casemate_seal::{HashAlgorithm, Private, SealOptions, SegmentSize, seal};
use object_store::path::Path;
use tokio::runtime::Runtime;

use crate::location::{Bucket, Location, Plain};
use faulty::Faulty;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
static ALICE: LazyLock<KemPrivateKey> =
    LazyLock::new(|| KemPrivateKey::generate(&MLKEM1024_P384).unwrap());
static BOB: LazyLock<KemPrivateKey> =
    LazyLock::new(|| KemPrivateKey::generate(&MLKEM768_X25519).unwrap());

/// Returns the object `name` in a store.
fn object(store: &Arc<Faulty>, name: &str) -> Location {
    let bucket = Bucket {
        store: Arc::<Faulty>::clone(store),
        multipart: Arc::<Faulty>::clone(store),
        pages: Arc::<Faulty>::clone(store),
        provider: Box::new(Plain),
        handle: RUNTIME.handle().clone(),
    };
    Location {
        bucket: Arc::new(bucket),
        path: Path::parse(name).unwrap(),
        is_prefix: false,
        address: format!("memory://test/{name}"),
    }
}

/// Returns an artifact for Alice with `len` bytes of content, in which no two megabytes are the
/// same.
fn artifact(len: usize) -> Vec<u8> {
    let content: Vec<u8> = (0..len).map(|at| (at / 65_521 + at) as u8).collect();
    let options = SealOptions {
        recipients: &[ALICE.public_key()],
        signer: None,
        segment_size: SegmentSize::default(),
        hash: HashAlgorithm::Blake3,
        created: 1_700_000_000,
        content_type: "application/octet-stream",
        private: &Private::default(),
        revision: None,
        owner: None,
        public_part: &[],
        digest_content: false,
    };
    let sink = Mutex::new(Vec::new());
    seal(&content, &sink, &options, &|_| ()).unwrap();
    sink.into_inner().unwrap()
}
