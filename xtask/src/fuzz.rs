//! Runs every fuzz target for a short time.
//!
//! The program is an ordinary cargo-fuzz target. It is built here with the flags of cargo-fuzz,
//! which a stable compiler accepts, so nothing has to be installed.

use std::{env, fs, path::Path};

use crate::step::{Outcome, command, root, succeed};

const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing";
const SECONDS_DEFAULT: u32 = 15;

/// Runs each target for `FUZZ_SECONDS` (15 unless set) on a copy of its seeds.
pub(crate) fn run() -> Outcome {
    let host = env!("XTASK_TARGET");
    let build = [
        "build",
        "--release",
        "--manifest-path",
        "fuzz/Cargo.toml",
        "--target",
        host,
    ];
    if let Outcome::Failed(reason) = succeed(command("cargo", &build).env("RUSTFLAGS", COVERAGE)) {
        return Outcome::Failed(reason);
    }
    let seconds = env::var("FUZZ_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok());
    let limit = format!("-max_total_time={}", seconds.unwrap_or(SECONDS_DEFAULT));
    let seeds = root().join("fuzz/corpus");
    let Ok(targets) = fs::read_dir(&seeds) else {
        return Outcome::Failed("fuzz/corpus is missing".to_owned());
    };
    let mut names: Vec<_> = targets.flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    for name in names {
        let name = name.to_string_lossy().into_owned();
        let found = root().join("fuzz/corpus-run").join(&name);
        if let Err(error) = fs::create_dir_all(&found) {
            return Outcome::Failed(format!("{}: {error}", found.display()));
        }
        let outcome = one(&name, &found, &seeds.join(&name), &limit);
        if let Outcome::Failed(reason) = outcome {
            return Outcome::Failed(reason);
        }
    }
    Outcome::Passed
}

fn one(target: &str, found: &Path, seeds: &Path, limit: &str) -> Outcome {
    let program = root().join("fuzz/target").join(env!("XTASK_TARGET"));
    let [program, found, seeds] = [&program.join("release/parser"), found, seeds]
        .map(|path| path.to_string_lossy().into_owned());
    let arguments = [
        limit,
        "-rss_limit_mb=2048",
        "-timeout=10",
        "-max_len=65536",
        "-verbosity=0",
        "-print_final_stats=1",
        &found,
        &seeds,
    ];
    succeed(command(&program, &arguments).env("CASEMATE_FUZZ_TARGET", target))
}
