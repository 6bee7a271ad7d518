//! The `casemate` command.
#![expect(
    clippy::disallowed_methods,
    reason = "a program reads its environment and the clock"
)]

mod args;
mod below;
mod commands;
mod context;
#[cfg(feature = "onnx")]
mod demo;
mod fault;
mod folder;
mod keepers;
mod keyring;
mod lineage;
mod listening;
mod memory;
mod output;
mod owner;
mod passphrase;
mod place;
mod printer;
mod progress;
mod runtime;
mod seen;
mod signature;
mod stop;
mod trust;
mod unlock;

use std::{ffi::OsString, process::ExitCode};

use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};

use args::{Arguments, Command};
use context::Context;
use fault::{Fault, Outcome};

fn main() -> ExitCode {
    let is_secret = |text: OsString| {
        let text = text.to_string_lossy().to_ascii_uppercase();
        text.starts_with("AGE-SECRET-KEY-")
    };
    if std::env::args_os().any(is_secret) {
        // Do not repeat the key: standard error may go to a log.
        let fault = Fault::usage("a private key was given as an argument")
            .hint("make a new key and keep it in a file; other users of this machine may have seen this one");
        printer::Printer::new(false).fault(&fault);
        return ExitCode::from(fault.code());
    }
    let parsed = Arguments::command().try_get_matches().and_then(|matches| {
        let arguments = Arguments::from_arg_matches(&matches)?;
        Ok((arguments, verb_of(&matches)))
    });
    let (arguments, verb) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            let printer = printer::Printer::new(false);
            printer.parser(&error);
            let code = u8::try_from(error.exit_code()).unwrap_or(2);
            return ended(&printer, Ok(ExitCode::from(code)));
        }
    };
    let printer = printer::Printer::new(arguments.json);
    let before = memory::protect(&printer);
    let done = run(arguments, verb, &printer, &before);
    ended(&printer, done)
}

/// Returns the words of the command, such as `keys rotate`.
fn verb_of(matches: &ArgMatches) -> String {
    let mut words = Vec::new();
    let mut below = matches;
    while let Some((word, next)) = below.subcommand() {
        words.push(word);
        below = next;
    }
    words.join(" ")
}

/// Prints the error, if any, and returns the exit code.
fn ended(printer: &printer::Printer, done: Result<ExitCode, Fault>) -> ExitCode {
    let done = match done {
        // The reader closed the output early, which is not an error.
        Err(fault) if fault.outcome() == Outcome::OutputClosed => Ok(ExitCode::SUCCESS),
        done => done,
    };
    let written = printer.finish();
    match done.and_then(|code| written.map(|()| code)) {
        Ok(code) => code,
        Err(fault) => {
            printer.fault(&fault);
            ExitCode::from(fault.code())
        }
    }
}

fn run(
    arguments: Arguments,
    verb: String,
    printer: &printer::Printer,
    before: &memory::CoreDumpLimit,
) -> Result<ExitCode, Fault> {
    let Arguments {
        command,
        home,
        policy,
        passphrase_file: passphrase_files,
        ..
    } = arguments;
    let context = Context::new(printer, home, policy, (verb, passphrase_files));
    stop::clean_up_on_signal();
    let code = dispatch(&context, command, before);
    let classical = casemate_tls::classical_connections();
    if classical > 0 {
        let text = format!(
            "{classical} connections to the object store had no post-quantum key exchange: the content is sealed, but names and lengths are not"
        );
        printer.note(&text);
    }
    code
}

fn dispatch(
    context: &Context<'_>,
    command: Command,
    before: &memory::CoreDumpLimit,
) -> Result<ExitCode, Fault> {
    match command {
        #[cfg(not(feature = "onnx"))]
        Command::Demo(_) => Err(Fault::not_built(
            "ONNX engine, which the demo needs",
            "onnx",
        )),
        #[cfg(feature = "onnx")]
        Command::Demo(options) => demo::run(context, &options),
        Command::Keys {
            command: args::KeysCommand::Rewrap(options),
        } => commands::rewrap::rotate(context, &options),
        Command::Keys { command } => commands::keys::run(context, command),
        Command::Seal(options) => commands::seal::run(context, &options),
        Command::Open(options) => commands::open::run(context, &options),
        Command::Sign(options) => commands::sign::run(context, &options),
        Command::Verify(options) => commands::verify::run(context, &options),
        Command::Inspect(options) => commands::inspect::run(context, &options),
        Command::Rewrap(options) => commands::rewrap::run(context, &options),
        Command::Copy(options) => commands::copy::run(context, &options),
        Command::Mount(options) => commands::mount::mount(context, &options),
        Command::Run(options) => return commands::mount::run(context, &options, before),
        Command::Gateway(options) => commands::gateway::run(context, &options),
        Command::Serve(options) => commands::serve::run(context, &options),
        Command::Connect(options) => commands::connect::run(context, &options),
        #[cfg(feature = "age")]
        Command::Age { command } => commands::age::run(context, &command),
        #[cfg(not(feature = "age"))]
        Command::Age { .. } => Err(Fault::not_built("age files", "age")),
        #[cfg(feature = "bench")]
        Command::Bench(options) => commands::bench::run(context, &options),
        #[cfg(not(feature = "bench"))]
        Command::Bench(_) => Err(Fault::not_built("benchmark", "bench")),
        Command::Suites(options) => commands::suites::run(context, &options),
        Command::Completions { shell } => commands::completions::run(context, shell),
    }?;
    Ok(ExitCode::SUCCESS)
}
