//! `casemate bench`.

use std::path::{Path, PathBuf};

use casemate_bench::{Effort, Options, REPORT_BYTES_MAX, Report, compare, html, memory, text};
use casemate_environment::read_limited;
use casemate_gateway::unix_seconds;
use casemate_seal::{
    WriteAt as _,
    file::{Access, AtomicFile, Existing},
};
use serde_json::json;

use crate::{
    args::{BenchOptions, EffortOption},
    context::Context,
    fault::{Fault, Outcome},
    progress,
};

pub(crate) fn run(context: &Context<'_>, options: &BenchOptions) -> Result<(), Fault> {
    if let Some(name) = &options.probe_memory {
        let bytes = memory::probe(name)
            .ok_or_else(|| Fault::usage(format!("no algorithm is named `{name}`")))?;
        context.printer.line(&bytes.to_string());
        return Ok(());
    }
    if let Some(probe) = &options.probe_round {
        context.printer.line(&casemate_bench::probe_round(probe)?);
        return Ok(());
    }
    if let Some([first, second]) = options.compare.as_deref() {
        return run_compare(context, first, second);
    }
    // Create the page first, so that a bad path fails before minutes of measuring.
    let page = options.html.as_deref().map(|path| {
        let target = AtomicFile::create(path, Access::Umask, Existing::Replace)
            .map_err(|error| Fault::file("write", path, error))?;
        Ok::<_, Fault>((path, target))
    });
    let page = page.transpose()?;
    let report = measure(context, options)?;
    let json =
        serde_json::to_value(&report).map_err(|error| Fault::from_error(Outcome::Io, error))?;
    context.printer.data(&json, &text::render(&report));
    if let Some((path, target)) = page {
        let failed = |error| Fault::file("write", path, error);
        let written = target.write_all_at(html::render(&report).as_bytes(), 0);
        written.map_err(failed)?;
        target.commit(Existing::Replace).map_err(failed)?;
        context.printer.done(&format!("wrote {}", path.display()));
    }
    Ok(())
}

fn measure(context: &Context<'_>, options: &BenchOptions) -> Result<Report, Fault> {
    let folder = options.folder.clone().unwrap_or_else(std::env::temp_dir);
    if !folder.is_dir() {
        return Err(Fault::usage(format!(
            "{} is not a folder",
            folder.display()
        )));
    }
    let wanted = Options {
        effort: match options.effort {
            EffortOption::Quick => Effort::Quick,
            EffortOption::Standard => Effort::Standard,
            EffortOption::Thorough => Effort::Thorough,
        },
        filter: options.filter.as_ref().map(|text| text.to_lowercase()),
        folder,
        program: std::env::current_exe().ok(),
        created: unix_seconds(),
    };
    let spinner = progress::spinner();
    let report = casemate_bench::run(&wanted, &mut |what, at, of| {
        spinner.set_message(format!("{}/{of} {what}", at.saturating_add(1)));
        spinner.tick();
    })?;
    spinner.finish_and_clear();
    if report.is_empty() {
        let filter = options.filter.as_deref().unwrap_or_default();
        return Err(Fault::usage(format!("no table or algorithm matches `{filter}`"))
            .hint("give part of an algorithm's name, or a table: primitives, bulk, gradient, checkpoint, tls handshake, federated round, baseline"));
    }
    for note in &report.notes {
        context.printer.warning(note);
    }
    Ok(report)
}

fn run_compare(context: &Context<'_>, first: &Path, second: &Path) -> Result<(), Fault> {
    let [first, second] = [first, second].map(|path: &Path| -> Result<Report, Fault> {
        let bytes = read_limited(&PathBuf::from(path), REPORT_BYTES_MAX)?;
        Ok(Report::from_json(bytes.expose())?)
    });
    let (first, second) = (first?, second?);
    let changes: Vec<_> = compare::changes(&first, &second)
        .into_iter()
        .map(|change| {
            json!({
                "name": change.name,
                "first": change.before,
                "second": change.after,
                "unit": change.unit,
                "ratio": change.ratio,
                "spread": change.spread,
                "beyond_spread": change.is_real(),
            })
        })
        .collect();
    let json = json!({ "schema": "casemate.bench-comparison/1", "changes": changes });
    context
        .printer
        .data(&json, &compare::render(&first, &second));
    Ok(())
}
