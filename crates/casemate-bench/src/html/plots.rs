//! The plots of the page.

use std::fmt::Write as _;

use super::key;
use crate::{
    plot::{self, Bar, Line, Point},
    report::Report,
    rows::Primitive,
    text,
};

/// Formats a number with three significant digits; a power of ten is not padded.
fn short(value: f64) -> String {
    let digits = match value.abs() {
        value if value < 10.0 => 2,
        value if value < 100.0 => 1,
        _ => 0,
    };
    if value > 0.0 && value < 0.01 {
        return value.to_string();
    }
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    text
}

fn time_unit(us: f64) -> String {
    match us {
        us if us < 1e3 => format!("{} µs", short(us)),
        us if us < 1e6 => format!("{} ms", short(us / 1e3)),
        us => format!("{} s", short(us / 1e6)),
    }
}

fn byte_unit(bytes: f64) -> String {
    match bytes {
        bytes if bytes < 1e3 => format!("{} B", short(bytes)),
        bytes if bytes < 1e6 => format!("{} kB", short(bytes / 1e3)),
        bytes if bytes < 1e9 => format!("{} MB", short(bytes / 1e6)),
        bytes => format!("{} GB", short(bytes / 1e9)),
    }
}

fn percent_unit(percent: f64) -> String {
    format!("{} %", short(percent))
}

fn figure(out: &mut String, svg: &str) {
    _ = writeln!(out, "<div class=\"scroll\">{svg}</div>");
}

/// Returns the operations of one role, slowest last.
fn role<'a>(report: &'a Report, names: &'a [&str]) -> Vec<(&'a Primitive, f64)> {
    let mut found: Vec<_> = report
        .primitives
        .iter()
        .filter_map(|row| {
            let operation = row
                .operations
                .iter()
                .find(|one| names.contains(&one.name.as_str()))?;
            Some((row, operation.timing.median_us))
        })
        .collect();
    found.sort_by(|(_, left), (_, right)| left.total_cmp(right));
    found
}

/// Plots bars for each role on a logarithmic axis.
pub(super) fn speed(report: &Report, out: &mut String) {
    if report.primitives.is_empty() {
        return;
    }
    out.push_str("<h2 id=\"speed\">Speed</h2>\n<p>Shorter is faster. Each grid line is ten times the previous one.</p>\n");
    key(report, out);
    for (title, names) in [
        (
            "Establish a key: sender",
            ["encapsulate", "seal", "agree", "encrypt"].as_slice(),
        ),
        (
            "Establish a key: receiver (for a key exchange, one agreement)",
            ["decapsulate", "open", "decrypt", "agree"].as_slice(),
        ),
        ("Sign", ["sign"].as_slice()),
        ("Verify", ["verify"].as_slice()),
        ("Generate a key", ["keygen"].as_slice()),
    ] {
        let bars: Vec<_> = role(report, names)
            .into_iter()
            .map(|(row, us)| Bar {
                label: row.name.clone(),
                class: row.family.clone(),
                value: us,
                text: text::time(us),
            })
            .collect();
        if !bars.is_empty() {
            _ = writeln!(out, "<h3>{title}</h3>");
            out.push_str(&plot::bars(title, time_unit, &bars));
        }
    }
}

/// Plots bytes on the wire, alone and against speed.
pub(super) fn sizes(report: &Report, out: &mut String) {
    if report.primitives.is_empty() {
        return;
    }
    out.push_str("<h2 id=\"sizes\">Sizes</h2>\n<p>Public key plus ciphertext or signature: the bytes that a new peer must receive.</p>\n");
    key(report, out);
    let wire = |row: &Primitive| row.sizes.public_key.saturating_add(row.sizes.output) as f64;
    for (title, names) in [
        (
            "Key establishment: bytes versus receiver time",
            ["decapsulate", "open", "decrypt", "agree"].as_slice(),
        ),
        (
            "Signatures: bytes versus verification time",
            ["verify"].as_slice(),
        ),
    ] {
        let rows = role(report, names);
        if rows.is_empty() {
            continue;
        }
        let points: Vec<_> = rows
            .iter()
            .map(|(row, us)| Point {
                label: row.name.clone(),
                class: row.family.clone(),
                x: wire(row),
                y: *us,
            })
            .collect();
        _ = writeln!(out, "<h3>{title}</h3>");
        let names = ("public key + ciphertext or signature", "time");
        figure(
            out,
            &plot::scatter(title, (byte_unit, time_unit), names, &points),
        );
    }
    let mut bars: Vec<_> = report
        .primitives
        .iter()
        .map(|row| Bar {
            label: row.name.clone(),
            class: row.family.clone(),
            value: wire(row),
            text: text::bytes(row.sizes.public_key.saturating_add(row.sizes.output) as u64),
        })
        .collect();
    bars.sort_by(|left, right| left.value.total_cmp(&right.value));
    out.push_str("<h3>Public key and ciphertext or signature</h3>\n");
    out.push_str(&plot::bars("sizes", byte_unit, &bars));
}

/// Plots the bytes added to gradients and checkpoints against their size.
pub(super) fn overhead(report: &Report, out: &mut String) {
    let line = |label: &str, class: &str, points: Vec<(f64, f64)>| Line {
        label: label.to_owned(),
        class: class.to_owned(),
        points,
    };
    let gradients = |phase: &str| -> Vec<(f64, f64)> {
        report
            .gradients
            .iter()
            .filter(|row| row.phase == phase)
            .map(|row| (row.message_bytes as f64, row.added_percent))
            .collect()
    };
    let checkpoints: Vec<_> = report
        .checkpoints
        .iter()
        .map(|row| (row.content_bytes as f64, row.overhead_percent))
        .collect();
    let lines: Vec<_> = [
        line("first message of a session", "hybrid", gradients("first")),
        line("later message", "lattice", gradients("steady")),
        line("sealed checkpoint", "code-based", checkpoints),
    ]
    .into_iter()
    .filter(|line| !line.points.is_empty())
    .collect();
    if lines.is_empty() {
        return;
    }
    out.push_str("<h2 id=\"workloads\">AI workloads</h2>\n<h3>Bytes added, by message size</h3>\n");
    let names = ("bytes of the message or checkpoint", "bytes added");
    figure(
        out,
        &plot::lines("overhead", (byte_unit, percent_unit), names, &lines),
    );
}
