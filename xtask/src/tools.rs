//! Checks that run a single tool.

use crate::step::{Outcome, command, has, succeed};

pub(crate) fn fmt() -> Outcome {
    succeed(&mut command("cargo", &["fmt", "--all", "--check"]))
}

pub(crate) fn clippy() -> Outcome {
    let arguments = [
        "clippy",
        "--release",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    succeed(&mut command("cargo", &arguments))
}

/// Builds that people want with fewer features: hosts that only seal and open files, hosts that
/// mount sealed files from buckets, gateways.
const LEAN: [&str; 4] = ["", "age,bench", "stores,mounts", "onnx"];

/// Checks the program with fewer features.
pub(crate) fn features() -> Outcome {
    for features in LEAN {
        let arguments = [
            "clippy",
            "--release",
            "-p",
            "casemate",
            "--no-default-features",
            "--features",
            features,
            "--",
            "-D",
            "warnings",
        ];
        if let Outcome::Failed(reason) = succeed(&mut command("cargo", &arguments)) {
            return Outcome::Failed(format!("features `{features}`: {reason}"));
        }
    }
    Outcome::Passed
}

/// Builds the program with the same features of every dependency as in the tests. Built alone, it
/// would resolve other features and compile the ONNX engine again, which takes many minutes.
pub(crate) fn program() -> Outcome {
    let build = ["build", "--release", "--workspace", "--bins", "--tests"];
    succeed(&mut command("cargo", &build))
}

/// Runs unit and integration tests, with nextest if it is installed, otherwise with `cargo test`.
pub(crate) fn tests() -> Outcome {
    if has("cargo", &["nextest", "--version"]) {
        let arguments = [
            "nextest",
            "run",
            "--release",
            "--workspace",
            "--no-fail-fast",
        ];
        return succeed(&mut command("cargo", &arguments));
    }
    let arguments = [
        "test",
        "--release",
        "--workspace",
        "--lib",
        "--bins",
        "--tests",
        "--no-fail-fast",
    ];
    match succeed(&mut command("cargo", &arguments)) {
        Outcome::Passed => {
            let reason = "cargo-nextest is not installed: ran the same tests with `cargo test`";
            Outcome::Skipped(vec![reason.to_owned()])
        }
        other => other,
    }
}

pub(crate) fn doctests() -> Outcome {
    succeed(&mut command(
        "cargo",
        &["test", "--release", "--workspace", "--doc"],
    ))
}

pub(crate) fn docs() -> Outcome {
    let arguments = [
        "doc",
        "--release",
        "--workspace",
        "--no-deps",
        "--document-private-items",
    ];
    succeed(command("cargo", &arguments).env("RUSTDOCFLAGS", "-D warnings"))
}
