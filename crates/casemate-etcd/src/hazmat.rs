//! The parsers of what etcd answers, for fuzzing.

use crate::{
    api::{Failure, RangeResponse, TxnResponse},
    generation::Generation,
    staged,
};

/// Reads bytes as everything that etcd may answer, and checks what was read.
///
/// # Panics
///
/// If what was read is written differently.
pub fn read(bytes: &[u8]) {
    if let Some(puts) = staged::decode(bytes) {
        assert_eq!(staged::encode(&puts).as_deref(), Some(bytes));
    }
    if let Some(generation) = Generation::decode(bytes) {
        assert_eq!(generation.encode(), bytes);
    }
    _ = serde_json::from_slice::<TxnResponse>(bytes);
    _ = serde_json::from_slice::<RangeResponse>(bytes);
    _ = serde_json::from_slice::<Failure>(bytes);
}
