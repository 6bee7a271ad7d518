//! Runs every case of `casemate-ct` under memcheck, to check for constant time.
//!
//! The step fails if memcheck reports a clean case, if it does not report a case that leaks on
//! purpose, or if the program runs a case outside memcheck. A check that cannot fail proves
//! nothing.

use std::{
    process::{Command, Output},
    sync::atomic::{AtomicUsize, Ordering},
};

use crate::step::{Outcome, command, install, root, succeed, target};

/// Exit code of a program in which memcheck found something.
const REPORTED: i32 = 99;
/// Exit code of `casemate-ct` if nothing was measured.
const UNUSABLE: i32 = 2;

pub(crate) fn run() -> Outcome {
    if !install("valgrind", &["valgrind"]) {
        let reason =
            "valgrind is not installed (Debian: valgrind): skipped the constant-time check";
        return Outcome::Skipped(vec![reason.to_owned()]);
    }
    let build = ["build", "--release", "--package", "casemate-ct"];
    if let Outcome::Failed(reason) = succeed(&mut command("cargo", &build)) {
        return Outcome::Failed(reason);
    }
    match measure() {
        Ok(0) => Outcome::Passed,
        Ok(failed) => Outcome::Failed(format!("{failed} cases failed")),
        Err(reason) => Outcome::Failed(reason),
    }
}

/// Runs the cases on all cores and returns how many failed.
fn measure() -> Result<usize, String> {
    let listed = output(Command::new(program()).arg("list"))?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let cases: Vec<_> = listed.lines().filter_map(|l| l.split_once(' ')).collect();
    let leaky = cases.iter().filter(|(expected, _)| *expected == "leaky");
    if leaky.count() == 0 || cases.iter().all(|(expected, _)| *expected == "leaky") {
        return Err("casemate-ct must list both clean and leaky cases".to_owned());
    }
    refuses_to_run_unwatched(&cases)?;
    let failed = AtomicUsize::new(0);
    let check = |(): &mut (), at: u64| {
        let case = usize::try_from(at).ok().and_then(|at| cases.get(at));
        if case.is_some_and(|(expected, name)| !one(expected, name)) {
            failed.fetch_add(1, Ordering::Relaxed);
        }
        Ok::<_, String>(())
    };
    casemate_parallel::for_each_on(casemate_parallel::cores(), cases.len() as u64, || (), check)?;
    Ok(failed.into_inner())
}

fn program() -> std::path::PathBuf {
    target().join("release/casemate-ct")
}

fn output(command: &mut Command) -> Result<Output, String> {
    let shown = format!("{command:?}");
    command
        .output()
        .map_err(|error| format!("{shown}: {error}"))
}

/// Checks that no case runs outside memcheck, where every case would pass.
fn refuses_to_run_unwatched(cases: &[(&str, &str)]) -> Result<(), String> {
    for (_, name) in cases {
        let ran = output(Command::new(program()).args(["run", name]))?;
        if ran.status.code() != Some(UNUSABLE) {
            return Err(format!("`{name}` ran outside memcheck without an error"));
        }
    }
    Ok(())
}

/// Runs one case and prints a line, with memcheck's output if the result is not the expected one.
fn one(expected: &str, name: &str) -> bool {
    let as_expected = |ran: &Output| match expected {
        "leaky" => ran.status.code() == Some(REPORTED),
        _ => ran.status.success(),
    };
    // Tracking the origin of undefined bits doubles the time, so it is done only after a finding.
    let ran = memcheck(name, "no").and_then(|ran| {
        if as_expected(&ran) {
            Ok(ran)
        } else {
            memcheck(name, "yes")
        }
    });
    match ran {
        Ok(ran) if as_expected(&ran) => {
            let said = String::from_utf8_lossy(&ran.stderr);
            println!("{expected}  {name} ({} suppressed)", suppressed(&said));
            true
        }
        Ok(ran) => {
            let said = String::from_utf8_lossy(&ran.stderr);
            println!("FAILED {name}: expected {expected}, {}\n{said}", ran.status);
            false
        }
        Err(reason) => {
            println!("FAILED {name}: {reason}");
            false
        }
    }
}

fn memcheck(name: &str, track_origins: &str) -> Result<Output, String> {
    let suppressions = root().join("crates/casemate-ct/public.supp");
    let mut valgrind = Command::new("valgrind");
    valgrind
        .arg(format!("--error-exitcode={REPORTED}"))
        .arg(format!("--suppressions={}", suppressions.display()))
        .arg(format!("--track-origins={track_origins}"))
        .arg("--num-callers=30")
        .arg(program())
        .args(["run", name]);
    output(&mut valgrind)
}

/// Returns how often a branch depended on a bit that `public.supp` lists as public.
fn suppressed(said: &str) -> &str {
    said.rsplit_once("(suppressed: ")
        .and_then(|(_, rest)| rest.split_once(' '))
        .map_or("?", |(count, _)| count)
}
