//! `cargo xtask test` runs every check; `cargo xtask tidy` and the other names run one check. With
//! `--strict`, as in CI, a skipped part fails.
#![expect(
    clippy::disallowed_methods,
    reason = "a tool reads its environment and the clock"
)]
#![expect(clippy::print_stdout, reason = "a tool for people")]

mod ct;
mod deny;
mod fuzz;
mod interop;
mod lanes;
mod page;
mod python;
mod readme;
mod step;
mod tidy;
mod tools;

use std::process::ExitCode;

use step::{Report, Step};

/// The steps that compile the workspace, on all cores.
const FIRST: [Step; 5] = [
    Step::new("fmt", tools::fmt),
    Step::new("tidy", tidy::run),
    Step::new("deny", deny::run),
    Step::new("clippy", tools::clippy),
    Step::new("build", tools::program),
];

/// Steps that wait for servers and timers or use one core, so two lanes share the machine. The
/// first lane compiles in the workspace; the second finds the program built, and the fuzzers have a
/// target folder of their own.
const LANES: [&[Step]; 2] = [
    &[
        Step::new("tests", tools::tests),
        Step::new("doctests", tools::doctests),
        Step::new("docs", tools::docs),
        Step::new("features", tools::features),
        Step::new("readme", readme::run),
        Step::new("python", python::run),
        Step::new("ct", ct::run),
        Step::new("page", page::run),
    ],
    &[
        Step::new("fuzz", fuzz::run),
        Step::new("interop", interop::run),
    ],
];

fn main() -> ExitCode {
    let (options, words): (Vec<_>, Vec<_>) = std::env::args()
        .skip(1)
        .partition(|argument| argument.starts_with("--"));
    let wanted = words.first().map(String::as_str).unwrap_or_default();
    let is_known = options.iter().all(|option| option == "--strict") && words.len() == 1;
    let every = || FIRST.iter().chain(LANES.into_iter().flatten());
    let is_whole = wanted == "test";
    let chosen: Vec<_> = every().filter(|step| step.name == wanted).collect();
    if !is_known || chosen.is_empty() && !is_whole {
        let names: Vec<_> = every().map(|step| step.name).collect();
        println!("usage: cargo xtask [--strict] test | {}", names.join(" | "));
        return ExitCode::from(2);
    }
    if !options.is_empty() {
        step::forbid_skips();
    }
    let mut report = Report::default();
    if is_whole {
        FIRST.iter().for_each(|step| report.run(step));
        let lanes = LANES.map(|lane| lane.iter().collect());
        lanes::run(&lanes, &mut report);
    }
    chosen.into_iter().for_each(|step| report.run(step));
    report.finish()
}
