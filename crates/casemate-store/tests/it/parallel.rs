//! Readers of one object do not wait for each other.

use std::{
    sync::{Condvar, Mutex, PoisonError},
    thread,
    time::Duration,
};

use casemate_seal::ReadAt as _;
use casemate_store::RemoteObject;

use crate::support::{Server, answer, plain, s3};

const READERS: usize = 8;
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn as_many_requests_are_under_way_as_there_are_readers() {
    static WAITING: Mutex<usize> = Mutex::new(0);
    static ALL: Condvar = Condvar::new();
    let server = Server::start(None, |seen| {
        let date = ("last-modified", "Sun, 29 Nov 2026 12:00:00 GMT");
        if seen.line.starts_with("HEAD ") {
            return answer(
                "200 OK",
                &[("etag", "x"), date, ("content-length", "64")],
                b"",
            );
        }
        // Nobody gets an answer before all have asked.
        let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
        *waiting += 1;
        ALL.notify_all();
        let all = ALL.wait_timeout_while(waiting, PATIENCE, |waiting| *waiting < READERS);
        if all.unwrap_or_else(PoisonError::into_inner).1.timed_out() {
            return answer("500 Alone", &[], b"");
        }
        let range = seen.header("range").unwrap().replace('=', " ") + "/64";
        answer(
            "206 Partial Content",
            &[("etag", "x"), date, ("content-range", &range)],
            b"12345678",
        )
    });
    let client = plain(s3(&format!("http://{}", server.address)));
    let object = RemoteObject::open(&client.locate("s3://bucket/key").unwrap()).unwrap();
    thread::scope(|scope| {
        for reader in 0..READERS as u64 {
            let object = &object;
            scope.spawn(move || {
                let mut out = [0; 8];
                object.read_exact_at(&mut out, reader * 8).unwrap();
                assert_eq!(&out, b"12345678");
            });
        }
    });
}
