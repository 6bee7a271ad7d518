//! Renders the report as tables for a terminal.

use std::fmt::Write as _;

use crate::{
    article::article,
    report::Report,
    rows::{Primitive, Timing},
};

/// Formats a time with three digits and a suitable unit.
pub(crate) fn time(us: f64) -> String {
    if us < 1_000.0 {
        format!("{} µs", three(us))
    } else if us < 1e6 {
        format!("{} ms", three(us / 1e3))
    } else {
        format!("{} s", three(us / 1e6))
    }
}

/// Formats a number with three significant digits.
fn three(value: f64) -> String {
    match value {
        value if value < 10.0 => format!("{value:.2}"),
        value if value < 100.0 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

/// Formats a number of bytes with three digits.
pub(crate) fn bytes(count: u64) -> String {
    let value = count as f64;
    match count {
        0..10_000 => format!("{count} B"),
        10_000..1_000_000 => format!("{} kB", three(value / 1e3)),
        1_000_000..1_000_000_000 => format!("{} MB", three(value / 1e6)),
        _ => format!("{} GB", three(value / 1e9)),
    }
}

/// Formats a message size in KiB or MiB.
pub(crate) fn binary(count: u64) -> String {
    match count {
        0..1_048_576 => format!("{} KiB", count >> 10),
        _ => format!("{} MiB", count >> 20),
    }
}

fn spread(timing: &Timing) -> String {
    if timing.samples < 3 {
        return format!("{} n={}", time(timing.median_us), timing.samples);
    }
    let share = 100.0 * timing.mad_us / timing.median_us.max(1e-3);
    format!("{} ±{share:.0}%", time(timing.median_us))
}

/// Renders the whole report, without tables that were not measured.
pub fn render(report: &Report) -> String {
    let mut out = String::new();
    let machine = &report.machine;
    _ = writeln!(
        out,
        "{}, {} cores, {}, {}\n{} run; times are medians with the median absolute deviation",
        machine.cpu,
        machine.cores,
        machine.features.join(" "),
        machine.system,
        report.effort
    );
    primitives(report, &mut out);
    stated(report, &mut out);
    bulk(report, &mut out);
    workloads(report, &mut out);
    network(report, &mut out);
    baselines(report, &mut out);
    if !report.catalogue {
        out.push_str(
            "\nThis build does not measure Falcon, Classic McEliece, HQC, FrodoKEM, BIKE, MAYO, UOV and CROSS, which have no final standard. To measure them (needs cmake and libclang; never used to protect data):\n  cargo run --release --features bench-catalogue -- bench\n",
        );
    }
    for note in &report.notes {
        _ = writeln!(out, "note: {note}");
    }
    out.trim_end().to_owned()
}

fn primitives(report: &Report, out: &mut String) {
    if report.primitives.is_empty() {
        return;
    }
    _ = writeln!(
        out,
        "\n{:<24} {:<12} {:>15} {:>17} {:>17}  {:>9} {:>8} {:>8} {:>9}",
        "ALGORITHM",
        "FAMILY",
        "KEY GENERATION",
        "ENCRYPT / SIGN",
        "DECRYPT / VERIFY",
        "PUBLIC B",
        "PRIV. B",
        "OUTPUT B",
        "MEMORY"
    );
    for row in &report.primitives {
        let [first, second, third] = columns(row);
        let memory = row.peak_memory_bytes.map_or_else(|| "-".to_owned(), bytes);
        _ = writeln!(
            out,
            "{:<24} {:<12} {first:>15} {second:>17} {third:>17}  {:>9} {:>8} {:>8} {memory:>9}",
            row.name, row.family, row.sizes.public_key, row.sizes.private_key, row.sizes.output
        );
    }
    for row in &report.primitives {
        for operation in &row.operations {
            if let Some(parts) = &operation.parts {
                _ = writeln!(
                    out,
                    "{:<24} {:<8} {:>5.2}x its parts ({}, {})",
                    row.name,
                    operation.name,
                    parts.ratio,
                    parts.of.join(" + "),
                    time(parts.sum_us)
                );
            }
        }
    }
}

/// Writes the article's figures next to the measured ones.
fn stated(report: &Report, out: &mut String) {
    let rows = || report.primitives.iter().filter(|row| row.article.is_some());
    if rows().next().is_none() {
        return;
    }
    _ = writeln!(
        out,
        "\n\"{}\"\nThe article names neither machine nor method. Its figures, compared with this machine:\n\n{:<14} {:<16} {:<12} {:>12} {:>12} {:>9}   SIZES THERE (HERE)",
        article().title,
        "ARTICLE",
        "HERE",
        "OPERATION",
        "ARTICLE",
        "HERE",
        "FASTER"
    );
    for row in rows() {
        let Some(there) = &row.article else { continue };
        let mut sizes = stated_sizes(row);
        for operation in &row.operations {
            let Some(time_there) = operation.article else {
                continue;
            };
            _ = writeln!(
                out,
                "{:<14} {:<16} {:<12} {:>12} {:>12} {:>9}   {}",
                there.name,
                row.name,
                operation.name,
                time(time_there.us),
                time(operation.timing.median_us),
                ratio(time_there.ratio),
                std::mem::take(&mut sizes)
            );
        }
    }
    for (what, error) in &article().size_errors {
        let is_shown = |row: &Primitive| {
            let there = row.article.as_ref();
            there.is_some_and(|there| what.starts_with(&there.name))
        };
        if rows().any(is_shown) {
            _ = writeln!(out, "wrong size in the article: {what}: {error}");
        }
    }
}

/// Formats how many times faster a figure is, with significant digits only.
pub(crate) fn ratio(ratio: f64) -> String {
    format!("{}x", three(ratio))
}

/// Formats the sizes in the article, each with the measured size.
pub(crate) fn stated_sizes(row: &Primitive) -> String {
    let Some(there) = &row.article else {
        return String::new();
    };
    let here = row.sizes;
    let private = match here.private_key_expanded {
        Some(expanded) => format!("{expanded} expanded"),
        None => here.private_key.to_string(),
    };
    let mut text = format!(
        "public {} ({}), private {} ({private})",
        there.sizes.public, here.public_key, there.sizes.private
    );
    if let Some(output) = there.sizes.output {
        _ = write!(text, ", output {output} ({})", here.output);
    }
    text
}

/// Returns three columns: key generation; encrypt, encapsulate, agree, sign or seal; and the
/// counterpart of the second.
fn columns(row: &Primitive) -> [String; 3] {
    let mut cells = [String::from("-"), String::from("-"), String::from("-")];
    for (cell, operation) in cells.iter_mut().zip(&row.operations) {
        *cell = spread(&operation.timing);
    }
    cells
}

fn bulk(report: &Report, out: &mut String) {
    if report.bulk.is_empty() {
        return;
    }
    _ = writeln!(
        out,
        "\n{:<24} {:>8} {:>10} {:>8}  OF THE LIMIT",
        "BULK", "THREADS", "GB/s", "SPREAD"
    );
    for row in &report.bulk {
        let limit = match (&row.limit, row.percent_of_limit) {
            (Some(limit), Some(percent)) => format!("{percent:.0} % of {limit}"),
            _ => "this row is a limit".to_owned(),
        };
        let share = 100.0 * row.mad / row.gb_per_second.max(1e-9);
        _ = writeln!(
            out,
            "{:<24} {:>8} {:>10.2} {share:>7.0}%  {limit}",
            row.name, row.threads, row.gb_per_second
        );
    }
}

fn workloads(report: &Report, out: &mut String) {
    if !report.gradients.is_empty() {
        _ = writeln!(
            out,
            "\n{:<12} {:<8} {:>10} {:>12} {:>16} {:>16}   article: {} bytes",
            "GRADIENT",
            "MESSAGE",
            "ADDED",
            "ADDED",
            "CPU BOTH ENDS",
            "TWO COPIES",
            article().overhead("gradients")
        );
        for row in &report.gradients {
            _ = writeln!(
                out,
                "{:<12} {:<8} {:>10} {:>11.4}% {:>16} {:>16}",
                binary(row.message_bytes),
                row.phase,
                format!("{} B", row.added_bytes),
                row.added_percent,
                spread(&row.cpu),
                spread(&row.copy)
            );
        }
    }
    if !report.checkpoints.is_empty() {
        _ = writeln!(
            out,
            "\n{:<12} {:>12} {:>12} {:>14} {:>14} {:>14}   article: {} bytes",
            "CHECKPOINT",
            "OVERHEAD",
            "MEASURED",
            "SEAL",
            "COPY",
            "VERIFY + OPEN",
            article().overhead("checkpoints")
        );
        for row in &report.checkpoints {
            let timing =
                |timing: &Option<Timing>| timing.as_ref().map_or_else(|| "-".to_owned(), spread);
            let measured = row.artifact_bytes.map_or_else(
                || "formula".to_owned(),
                |bytes| format!("+{} B", bytes.saturating_sub(row.content_bytes)),
            );
            _ = writeln!(
                out,
                "{:<12} {:>11.5}% {measured:>12} {:>14} {:>14} {:>14}",
                bytes(row.content_bytes),
                row.overhead_percent,
                timing(&row.seal),
                timing(&row.copy),
                timing(&row.open)
            );
        }
    }
}

fn network(report: &Report, out: &mut String) {
    if !report.handshakes.is_empty() {
        _ = writeln!(
            out,
            "\n{:<20} {:<12} {:<10} {:>10} {:>10} {:>14}",
            "TLS 1.3 HANDSHAKE", "CERTIFICATE", "KIND", "CLIENT", "SERVER", "BOTH ENDS"
        );
        for row in &report.handshakes {
            _ = writeln!(
                out,
                "{:<20} {:<12} {:<10} {:>10} {:>10} {:>14}",
                row.group,
                row.certificate,
                row.kind,
                format!("{} B", row.client_bytes),
                format!("{} B", row.server_bytes),
                spread(&row.time)
            );
        }
    }
    if !report.rounds.is_empty() {
        _ = writeln!(
            out,
            "\n{:<12} {:>12} {:<14} {:>16} {:>9} {:>12} {:>4}   article: {} time",
            "PARAMETERS",
            "LINK",
            "MODE",
            "ROUND",
            "ADDED",
            "BYTES",
            "N",
            article().overhead("rounds")
        );
        for row in &report.rounds {
            _ = writeln!(
                out,
                "{:<12} {:>12} {:<14} {:>16} {:>8.2}% {:>12} {:>4}",
                row.parameters,
                format!("{} Mbit/s", row.megabits),
                row.mode,
                spread(&row.time),
                row.added_percent,
                bytes(row.bytes),
                row.time.samples
            );
        }
    }
}

fn baselines(report: &Report, out: &mut String) {
    if report.baselines.is_empty() {
        return;
    }
    _ = writeln!(
        out,
        "\n{:<24} {:<18} {:>12} {:>12} {:>8}",
        "BASELINE", "PROGRAM", "ITS FIGURE", "CASEMATE", "RATIO"
    );
    for row in &report.baselines {
        let ours = row
            .ours
            .map_or_else(|| "-".to_owned(), |ours| format!("{ours:.2} {}", row.unit));
        // Above one, Casemate is faster, whatever the unit.
        let ratio = row
            .ours
            .map(|ours| {
                if row.unit == "us" {
                    row.value / ours
                } else {
                    ours / row.value
                }
            })
            .map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}x"));
        _ = writeln!(
            out,
            "{:<24} {:<18} {:>12} {ours:>12} {ratio:>8}",
            row.row,
            row.program,
            format!("{:.2} {}", row.value, row.unit)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_have_three_digits_and_a_unit() {
        let times = [
            (0.5, "0.50 µs"),
            (42.25, "42.2 µs"),
            (999.4, "999 µs"),
            (1_500.0, "1.50 ms"),
            (2.5e6, "2.50 s"),
        ];
        for (us, text) in times {
            assert_eq!(time(us), text);
        }
        assert_eq!(
            (
                bytes(9_999).as_str(),
                bytes(10_000).as_str(),
                bytes(2_500_000_000).as_str()
            ),
            ("9999 B", "10.0 kB", "2.50 GB")
        );
        assert_eq!(
            (binary(1 << 10).as_str(), binary(256 << 20).as_str()),
            ("1 KiB", "256 MiB")
        );
    }
}
