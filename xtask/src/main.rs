//! `cargo xtask test` runs every check; `cargo xtask tidy` and the other names run one of them. With `--strict`, as in CI, a
//! part that cannot run here fails.
#![expect(
    clippy::disallowed_methods,
    reason = "a tool reads its environment and the clock"
)]
#![expect(clippy::print_stdout, reason = "a tool for people")]

mod ct;
mod fuzz;
mod interop;
mod page;
mod python;
mod readme;
mod step;
mod tidy;
mod tools;

use std::process::ExitCode;

use step::{Report, Step};

const STEPS: [Step; 13] = [
    Step {
        name: "fmt",
        run: tools::fmt,
    },
    Step {
        name: "clippy",
        run: tools::clippy,
    },
    Step {
        name: "tidy",
        run: tidy::run,
    },
    Step {
        name: "deny",
        run: tools::deny,
    },
    Step {
        name: "tests",
        run: tools::tests,
    },
    Step {
        name: "doctests",
        run: tools::doctests,
    },
    Step {
        name: "docs",
        run: tools::docs,
    },
    Step {
        name: "readme",
        run: readme::run,
    },
    Step {
        name: "interop",
        run: interop::run,
    },
    Step {
        name: "python",
        run: python::run,
    },
    Step {
        name: "page",
        run: page::run,
    },
    Step {
        name: "ct",
        run: ct::run,
    },
    Step {
        name: "fuzz",
        run: fuzz::run,
    },
];

fn main() -> ExitCode {
    let (options, words): (Vec<_>, Vec<_>) = std::env::args()
        .skip(1)
        .partition(|argument| argument.starts_with("--"));
    let wanted = words.first().map(String::as_str).unwrap_or_default();
    let is_known = options.iter().all(|option| option == "--strict") && words.len() == 1;
    let chosen: Vec<_> = STEPS
        .iter()
        .filter(|step| is_known && (wanted == "test" || step.name == wanted))
        .collect();
    if chosen.is_empty() {
        let names: Vec<_> = STEPS.iter().map(|step| step.name).collect();
        println!("usage: cargo xtask [--strict] test | {}", names.join(" | "));
        return ExitCode::from(2);
    }
    if !options.is_empty() {
        step::forbid_skips();
    }
    let mut report = Report::default();
    for step in chosen {
        report.run(step);
    }
    report.finish()
}
