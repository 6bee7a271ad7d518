//! `casemate-ct list` lists the cases, `casemate-ct run NAME` runs one under memcheck; `cargo xtask
//! ct` does both.
//!
//! A case marks secrets undefined, calls the code that handles them, checks that the result depends
//! on them, and only then makes the result public. Memcheck reports by its exit code whether a
//! secret reached a branch or an address.

mod case;
mod cases;
mod mark;

use std::process::ExitCode;

use case::Case;

/// Exit code for wrong usage, or if not run under memcheck: nothing was measured.
const UNUSABLE: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let cases = cases::all();
    match arguments
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        ["list"] => {
            list(&cases);
            ExitCode::SUCCESS
        }
        ["run", name] => match cases.iter().find(|case| case.name == *name) {
            Some(case) => run(case),
            None => unusable(&format!("there is no case named `{name}`")),
        },
        _ => unusable("usage: casemate-ct list | run NAME"),
    }
}

#[expect(clippy::print_stdout, reason = "read by xtask")]
fn list(cases: &[Case]) {
    for case in cases {
        println!("{} {}", case.expectation.as_str(), case.name);
    }
}

fn run(case: &Case) -> ExitCode {
    if !mark::is_watched() {
        return unusable(
            "not running under memcheck, so nothing would be measured; run `cargo xtask ct`",
        );
    }
    match (case.run)() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("{}: {error}", case.name));
            ExitCode::FAILURE
        }
    }
}

fn unusable(reason: &str) -> ExitCode {
    say(reason);
    ExitCode::from(UNUSABLE)
}

#[expect(clippy::print_stderr, reason = "a tool for people")]
fn say(text: &str) {
    eprintln!("{text}");
}
