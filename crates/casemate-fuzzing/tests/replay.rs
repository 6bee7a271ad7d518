//! The seed corpus and its simplest mutations, in ordinary test runs.

#![expect(clippy::unwrap_used, reason = "a failed expectation fails the test")]

use std::{fs, path::PathBuf};

use casemate_fuzzing::TARGETS;

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let files =
        fs::read_dir(&folder).unwrap_or_else(|_| panic!("no seeds in {}", folder.display()));
    files
        .map(|file| fs::read(file.unwrap().path()).unwrap())
        .collect()
}

#[test]
fn every_target_survives_its_seeds_cut_and_bent() {
    for (name, target) in TARGETS {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "{name} has no seeds");
        for seed in seeds {
            target(&seed);
            let step = seed.len() / 64 + 1;
            for at in (0..seed.len()).step_by(step) {
                target(&seed[..at]);
                let mut bent = seed.clone();
                bent[at] ^= 0x81;
                target(&bent);
            }
        }
    }
}
