//! Peak memory of an algorithm, measured in a fresh process.

use std::{fs, process::Command};

use crate::{Options, Report, primitives};

/// The hidden option with which this program starts itself again.
pub const PROBE_OPTION: &str = "--probe-memory";

/// Adds the peak memory of each algorithm to the report.
pub(crate) fn measure(options: &Options, report: &mut Report) {
    let Some(program) = &options.program else {
        return;
    };
    for row in &mut report.primitives {
        let output = Command::new(program)
            .args(["bench", PROBE_OPTION, &row.name])
            .output();
        row.peak_memory_bytes = output
            .ok()
            .filter(|output| output.status.success())
            .and_then(|output| String::from_utf8(output.stdout).ok()?.trim().parse().ok());
    }
}

/// Generates an algorithm's keys, runs each of its operations and returns the increase in resident
/// memory; `None` if there is no such algorithm.
///
/// The library is loaded first, then the kernel's high-water mark is reset.
pub fn probe(name: &str) -> Option<u64> {
    // The first random number initializes the tables and the entropy source of the library.
    casemate_crypto::random::bytes::<32>().ok()?;
    // Resetting needs no privilege. Where it is refused, the mark includes the start of the
    // process.
    _ = fs::write("/proc/self/clear_refs", "5");
    let before = status("VmRSS:")?;
    let subject = primitives::subject(name)?;
    for (_, mut action) in subject.actions {
        action();
    }
    Some(status("VmHWM:")?.saturating_sub(before) * 1024)
}

/// Returns a field of `/proc/self/status`, in KiB.
fn status(field: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}
