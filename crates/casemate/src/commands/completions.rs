//! `casemate completions`.

use std::io::Write as _;

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use crate::{
    args::Arguments,
    context::Context,
    fault::{Fault, Outcome},
};

pub(crate) fn run(context: &Context<'_>, shell: Shell) -> Result<(), Fault> {
    let mut script = Vec::new();
    generate(shell, &mut Arguments::command(), "casemate", &mut script);
    context
        .printer
        .content()
        .and_then(|mut out| out.write_all(&script))
        .map_err(|error| {
            let message = "cannot write to standard output".to_owned();
            let fault = Fault::caused(Outcome::Io, message, error);
            context.printer.content_failed(fault)
        })
}
