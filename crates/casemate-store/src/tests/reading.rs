//! Read-ahead, and objects that change.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

use casemate_seal::ReadAt as _;
use object_store::ObjectStoreExt as _;

use super::{RUNTIME, faulty::Faulty, object};
use crate::RemoteObject;

/// A little more than five blocks.
const LEN: usize = 21 << 20;
const BLOCKS: usize = 6;

fn content() -> Vec<u8> {
    (0..LEN).map(|at| (at / 65_521 + at) as u8).collect()
}

fn stored(store: Faulty) -> (Arc<Faulty>, RemoteObject) {
    let store = Arc::new(store);
    let at = object(&store, "model");
    RUNTIME
        .block_on(store.inner.put(&at.path, content().into()))
        .unwrap();
    (store, RemoteObject::open(&at).unwrap())
}

fn read(object: &RemoteObject) -> io::Result<Vec<u8>> {
    let mut out = vec![0; LEN];
    for (number, part) in out.chunks_mut(1_000_003).enumerate() {
        object.read_exact_at(part, number as u64 * 1_000_003)?;
    }
    Ok(out)
}

#[test]
fn blocks_that_come_in_reverse_order_are_read_in_their_own() {
    let (_, object) = stored(Faulty::reversing(BLOCKS));
    object.will_read(0..LEN as u64);
    assert!(read(&object).unwrap() == content());
}

#[test]
fn without_reading_ahead_nothing_waits_for_another_block() {
    let (store, object) = stored(Faulty::new());
    assert!(read(&object).unwrap() == content());
    assert_eq!(store.to_string(), "Faulty");
}

#[test]
fn a_panic_of_the_client_is_an_error_and_the_next_read_succeeds() {
    let (store, object) = stored(Faulty::new());
    store.panics.store(true, Ordering::SeqCst);
    object.will_read(0..LEN as u64);
    // Which block panics depends on the threads.
    let failed = read(&object).unwrap_err();
    assert_eq!(failed.to_string(), "a request panicked");
    assert!(read(&object).unwrap() == content());
}

#[test]
fn an_object_that_was_replaced_is_not_read_on() {
    let (store, object) = stored(Faulty::new());
    let path = &object.location().path;
    let mut first = [0; 16];
    object.read_exact_at(&mut first, 0).unwrap();
    RUNTIME
        .block_on(store.inner.put(path, content().into()))
        .unwrap();
    let refused = object.read_exact_at(&mut first, 16).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ResourceBusy);
    object.will_read(0..LEN as u64);
    assert_eq!(
        read(&object).unwrap_err().kind(),
        io::ErrorKind::ResourceBusy
    );
}

#[test]
fn nothing_is_read_beyond_the_end() {
    let (_, object) = stored(Faulty::new());
    let refused = object.read_exact_at(&mut [0; 2], LEN as u64 - 1);
    assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    object.read_exact_at(&mut [0; 1], LEN as u64 - 1).unwrap();
}
