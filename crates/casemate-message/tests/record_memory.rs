//! What the replay record weighs under load. A test binary of its own, so that nothing else is in
//! the measured memory.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a failed expectation fails the test"
)]

use casemate_crypto::encoding::KeyId;
use casemate_message::{
    RecordId, Refusal, RequestId, RequestMark, limits::RECORD_MARKS_MAX, replay::ReplayRecord,
    sign::Verified,
};

const START: u64 = 1_800_000_000;
const CLIENTS: u8 = 4;

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.unwrap().split_whitespace().nth(1).unwrap();
    kib.parse().unwrap()
}

fn request(number: u64, now: u64) -> Verified {
    let [.., last] = number.to_be_bytes();
    let id = u128::from(number).to_be_bytes();
    Verified {
        key: KeyId::from_bytes([last % CLIENTS; 32]),
        mark: RequestMark {
            id: RequestId(id),
            first: now,
            record: RecordId([9; 16]),
        },
        date: now,
    }
}

#[test]
fn five_thousand_requests_a_second_fit_into_64_mib() {
    let before = resident_kib();
    let clients = (0..CLIENTS).map(|number| KeyId::from_bytes([number; 32]));
    let mut record = ReplayRecord::new(RecordId([9; 16]), clients, RECORD_MARKS_MAX);
    let started = std::time::Instant::now();
    let (rate, seconds) = (5000, 400);
    for second in 0..seconds {
        let now = START + second;
        for number in second * rate..(second + 1) * rate {
            assert_eq!(record.admit(&request(number, now), now), Ok(()));
        }
        // One replay a second, of the oldest request that is still in time.
        let old = second.saturating_sub(60);
        let replayed = record.admit(&request(old * rate, START + old), now);
        assert_eq!(replayed, Err(Refusal::Duplicate));
    }
    let (took, kib) = (started.elapsed(), resident_kib() - before);
    let micros = took.as_secs_f64() * 1e6 / f64::from(u32::try_from(seconds * rate).unwrap());
    println!("{} marks, {kib} KiB, {micros:.2} us each", record.len());
    assert!(kib <= 64 * 1024, "{kib} KiB");
}
