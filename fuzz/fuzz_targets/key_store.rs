#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| casemate_fuzzing::key_store(bytes));
