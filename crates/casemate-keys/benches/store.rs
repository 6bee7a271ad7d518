//! What a key store costs as it grows, beside SQLite alone in the same run.
//!
//! `cargo bench -p casemate-keys --bench store [-- KEYS]`
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    reason = "a tool that stops on the first failure and reads the clock"
)]

use std::{env, path::Path, time::Instant};

use aws_lc_rs::digest::{SHA256, digest};
use casemate_keys::{
    Binding, KeyName, KeyStore, PassphraseCost, SqliteEngine, StoreError, StoreKey, StoreSecret,
};
use rusqlite::{Connection, params};

const SUITE: &str = "mlkem768-x25519";
const NOW: u64 = 1_800_000_000;
/// Keys that are made in one change.
const BATCH: usize = 1_000;
const ROUNDS: usize = 200;

type Store = KeyStore<SqliteEngine>;

/// Returns the median time of one call, in microseconds.
fn median(mut call: impl FnMut(usize)) -> f64 {
    let mut times: Vec<_> = (0..ROUNDS)
        .map(|round| {
            let start = Instant::now();
            call(round);
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times.get(ROUNDS / 2).copied().unwrap_or_default()
}

fn row(what: &str, micros: f64) {
    println!("{what:<44} {micros:>10.0} us {:>10.0} /s", 1e6 / micros);
}

fn name(text: &str) -> KeyName {
    text.parse().unwrap()
}

/// Durable inserts of a value as long as the row of a key, without any of our rules.
fn sqlite_alone(folder: &Path) {
    let connection = Connection::open(folder.join("alone.db")).unwrap();
    connection
        .pragma_update(None, "journal_mode", "WAL")
        .unwrap();
    connection
        .pragma_update(None, "synchronous", "FULL")
        .unwrap();
    let table = "CREATE TABLE rows (id BLOB PRIMARY KEY, value BLOB NOT NULL) STRICT";
    connection.execute(table, []).unwrap();
    let value = vec![7_u8; 2_100];
    let micros = median(|round| {
        let id = (round as u64).to_be_bytes();
        connection
            .execute(
                "INSERT INTO rows VALUES (?1, ?2)",
                params![id.as_slice(), value],
            )
            .unwrap();
    });
    row("SQLite alone: durable insert of 2.1 kB", micros);
}

fn measure(store: &mut Store, keys: usize) {
    println!("with {keys} keys:");
    row(
        "  generate a key, durable",
        median(|round| {
            let name = name(&format!("new-{keys}-{round}"));
            store.generate(name, SUITE, NOW).unwrap();
        }),
    );
    let rotated = name(&format!("new-{keys}-0"));
    row(
        "  rotate a key, durable",
        median(|_| drop(store.rotate(&rotated, None, NOW, false).unwrap())),
    );
    let place = |round: usize| Binding {
        place: format!("s3://models/{round}"),
        name: rotated.clone(),
        version: 1,
        seen: NOW,
    };
    let bindings: Vec<_> = (0..512).map(place).collect();
    let micros = median(|_| store.bind(&bindings).unwrap());
    row("  record what a binding says, in batches", micros / 512.0);
    row(
        "  read a private key by its name",
        median(|round| {
            let name = name(&format!("new-{keys}-{}", 1 + round % (ROUNDS - 1)));
            let entry = store.by_name(&name).unwrap().unwrap();
            drop(store.private_key(&entry).unwrap());
        }),
    );
}

/// Verifies the log, beside hashing its entries alone.
fn verify_log(store: &Store) {
    let mut entries = Vec::new();
    store
        .verify_log(&mut |_, entry, _| {
            entries.push(entry.to_vec());
            Ok::<(), StoreError>(())
        })
        .unwrap();
    let start = Instant::now();
    for entry in &entries {
        std::hint::black_box(digest(&SHA256, entry));
    }
    println!(
        "SHA-256 alone: hashed {} entries in {:.2} s",
        entries.len(),
        start.elapsed().as_secs_f64()
    );
    let start = Instant::now();
    let verified = store
        .verify_log(&mut |_, _, _| Ok::<(), StoreError>(()))
        .unwrap();
    println!(
        "verified {} entries of the log in {:.2} s",
        verified.size,
        start.elapsed().as_secs_f64()
    );
}

fn main() {
    let keys = env::args()
        .skip(1)
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(100_000_usize);
    let folder = tempfile::tempdir_in(".").unwrap();
    sqlite_alone(folder.path());
    let secret = StoreSecret::Key(StoreKey::generate().unwrap());
    let engine = SqliteEngine::open(&folder.path().join("keys.db"), true).unwrap();
    let cost = PassphraseCost::default();
    let mut store = KeyStore::create(engine, &secret, cost, NOW).unwrap();
    measure(&mut store, 0);
    store.enable_log("example.com/bench").unwrap();
    println!("from here on with an audit log");
    let start = Instant::now();
    for batch in 0..keys.div_ceil(BATCH) {
        let numbers = batch * BATCH..keys.min((batch + 1) * BATCH);
        let names: Vec<_> = numbers
            .map(|number| name(&format!("key-{number}")))
            .collect();
        store.generate_all(&names, SUITE, NOW).unwrap();
    }
    println!(
        "generated {keys} keys in {:.1} s",
        start.elapsed().as_secs_f64()
    );
    measure(&mut store, keys);
    let start = Instant::now();
    let listed = store.list().unwrap().keys.len();
    println!(
        "listed {listed} versions in {:.1} s",
        start.elapsed().as_secs_f64()
    );
    verify_log(&store);
    let start = Instant::now();
    let alone = Connection::open(folder.path().join("keys.db")).unwrap();
    let target = folder.path().join("vacuumed.db");
    alone
        .execute("VACUUM INTO ?1", [target.to_str().unwrap()])
        .unwrap();
    println!(
        "SQLite alone: copied in {:.1} s",
        start.elapsed().as_secs_f64()
    );
    let start = Instant::now();
    let copy = SqliteEngine::open(&folder.path().join("copy.db"), true).unwrap();
    let copy = store.copy_to(copy).unwrap();
    println!(
        "copied and verified in {:.1} s",
        start.elapsed().as_secs_f64()
    );
    assert_eq!(copy.list().unwrap().keys.len(), listed);
}
