//! Eight readers of one object against one, from a store that answers after 20 ms: `cargo bench -p
//! casemate-store --bench parallel`.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a program for people, which ends at the first error"
)]

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use casemate_crypto::policy::Policy;
use casemate_seal::ReadAt as _;
use casemate_store::{Client, RemoteObject};

const LATENCY: Duration = Duration::from_millis(20);
const PART: usize = 64 << 10;
const READS: u64 = 64;
const ROUNDS: usize = 5;

fn serve(stream: TcpStream) {
    let body = vec![7; PART];
    let mut stream = BufReader::new(stream);
    loop {
        let (mut first, mut range) = (String::new(), String::new());
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if first.is_empty() {
                first.clone_from(&line);
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
                value.trim().clone_into(&mut range);
            }
            if line.trim().is_empty() {
                break;
            }
        }
        thread::sleep(LATENCY);
        let all = READS.saturating_mul(PART as u64);
        let common = "etag: x\r\nlast-modified: Sun, 29 Nov 2026 12:00:00 GMT\r\n";
        let head = if first.starts_with("HEAD") {
            format!("HTTP/1.1 200 OK\r\n{common}content-length: {all}\r\n\r\n")
        } else {
            format!(
                "HTTP/1.1 206 Partial\r\n{common}content-range: bytes {range}/{all}\r\ncontent-length: {PART}\r\n\r\n"
            )
        };
        let body: &[u8] = if first.starts_with("HEAD") {
            &[]
        } else {
            &body
        };
        if stream
            .get_mut()
            .write_all(&[head.as_bytes(), body].concat())
            .is_err()
        {
            return;
        }
    }
}

/// Reads all of the object with this many readers.
fn read(object: &RemoteObject, readers: u64) -> Duration {
    let start = Instant::now();
    thread::scope(|scope| {
        for reader in 0..readers {
            scope.spawn(move || {
                let mut out = vec![0; PART];
                let mut at = reader;
                while at < READS {
                    object
                        .read_exact_at(&mut out, at.saturating_mul(PART as u64))
                        .unwrap();
                    at = at.saturating_add(readers);
                }
            });
        }
    });
    start.elapsed()
}

fn main() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            stream.set_nodelay(true).unwrap();
            thread::spawn(move || serve(stream));
        }
    });
    let settings = [
        ("AWS_ENDPOINT", endpoint.as_str()),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_ACCESS_KEY_ID", "a"),
        ("AWS_SECRET_ACCESS_KEY", "b"),
        ("AWS_REGION", "us-east-1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let policy = Policy::by_name("hybrid").unwrap();
    let tls = casemate_tls::store_config(policy.tls_groups(), None).unwrap();
    let client = Client::new(settings, tls).unwrap();
    let object = RemoteObject::open(&client.locate("s3://bucket/key").unwrap()).unwrap();
    let median = |readers| {
        let mut times: Vec<_> = (0..ROUNDS).map(|_| read(&object, readers)).collect();
        times.sort();
        times.get(ROUNDS / 2).copied().unwrap_or_default()
    };
    let one = median(1);
    println!("{READS} reads of {PART} B, {LATENCY:?} each, median of {ROUNDS}");
    println!("1 reader    {one:>10.1?}");
    for readers in [2, 4, 8] {
        let many = median(readers);
        let ratio = one.as_secs_f64() / many.as_secs_f64();
        println!("{readers} readers   {many:>10.1?}  {ratio:.1} x");
    }
}
