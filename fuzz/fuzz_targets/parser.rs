//! One program for every parser, because building it takes longer than running it: the environment
//! names the target, `CASEMATE_FUZZ_TARGET=artifact`.
#![no_main]

use std::sync::LazyLock;

use casemate_fuzzing::{TARGETS, Target};

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("CASEMATE_FUZZ_TARGET").unwrap_or_default();
    let found = TARGETS.iter().find(|(target, _)| *target == name);
    let Some((_, target)) = found else {
        let names: Vec<_> = TARGETS.iter().map(|(name, _)| *name).collect();
        panic!("set CASEMATE_FUZZ_TARGET to one of: {}", names.join(", "));
    };
    *target
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| TARGET(bytes));
