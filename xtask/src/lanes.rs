//! Runs steps in parallel, each in a separate process whose output is shown when it ends.

use std::{
    fs,
    fs::File,
    io,
    path::PathBuf,
    process::{Command, ExitStatus},
    sync::Mutex,
    thread,
    time::Instant,
};

use crate::step::{OUTCOME, Outcome, Report, Step, command, target};

/// Runs the steps of each lane one after another, and the lanes in parallel.
pub(crate) fn run(lanes: &[Vec<&Step>], report: &mut Report) {
    let report = Mutex::new(report);
    thread::scope(|scope| {
        for lane in lanes {
            let report = &report;
            scope.spawn(move || {
                for step in lane {
                    let started = Instant::now();
                    println!("{}: started", step.name);
                    let (outcome, output) = child(step.name);
                    let seconds = started.elapsed().as_secs();
                    if let Ok(mut report) = report.lock() {
                        println!("\n=== {} ===\n{output}", step.name);
                        report.add(step.name, seconds, outcome);
                    }
                }
            });
        }
    });
}

/// Runs one step in a separate process, and returns its outcome and its output.
fn child(name: &str) -> (Outcome, String) {
    let folder = target().join("xtask");
    let place = |ending: &str| folder.join(format!("{name}.{ending}"));
    match spawn(name, &folder, &place("log"), &place("outcome")) {
        Ok(status) => {
            let output = fs::read(place("log")).unwrap_or_default();
            let output = String::from_utf8_lossy(&output).into_owned();
            let details = fs::read_to_string(place("outcome")).unwrap_or_default();
            let details: Vec<_> = details.lines().map(str::to_owned).collect();
            let outcome = match status.code() {
                Some(0) if details.is_empty() => Outcome::Passed,
                Some(0) => Outcome::Skipped(details),
                _ => Outcome::Failed(details.join("; ")),
            };
            (outcome, output)
        }
        Err(error) => (Outcome::Failed(error.to_string()), String::new()),
    }
}

fn spawn(name: &str, folder: &PathBuf, log: &PathBuf, outcome: &PathBuf) -> io::Result<ExitStatus> {
    fs::create_dir_all(folder)?;
    // A file from an earlier run would be mistaken for one of this run.
    _ = fs::remove_file(outcome);
    let log = File::create(log)?;
    // By this name it is found even if cargo has built it anew meanwhile.
    let mut child: Command = command("/proc/self/exe", &[name]);
    child.stdout(log.try_clone()?).stderr(log);
    child.env(OUTCOME, outcome).status()
}
