//! The tables of the page.

use std::fmt::Write as _;

use crate::{article::article, plot::escape, report::Report, rows::Timing, text};

/// A cell with markup.
struct Cell(String);

fn plain(text: impl AsRef<str>) -> Cell {
    Cell(escape(text.as_ref()))
}

fn timed(timing: &Timing) -> Cell {
    if timing.samples < 3 {
        let time = text::time(timing.median_us);
        return Cell(format!(
            "{time} <span class=\"spread\">n={}</span>",
            timing.samples
        ));
    }
    let share = 100.0 * timing.mad_us / timing.median_us.max(1e-3);
    Cell(format!(
        "{} <span class=\"spread\">±{share:.0}%</span>",
        text::time(timing.median_us)
    ))
}

fn table(out: &mut String, head: &[&str], rows: &[Vec<Cell>]) {
    out.push_str("<div class=\"scroll\"><table><thead><tr>");
    head.iter()
        .for_each(|name| _ = write!(out, "<th>{}</th>", escape(name)));
    out.push_str("</tr></thead><tbody>\n");
    for row in rows {
        out.push_str("<tr>");
        row.iter()
            .for_each(|Cell(cell)| _ = write!(out, "<td>{cell}</td>"));
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
}

pub(super) fn primitives(report: &Report, out: &mut String) {
    if report.primitives.is_empty() {
        return;
    }
    let rows: Vec<_> = report
        .primitives
        .iter()
        .map(|row| {
            let mut cells = vec![plain(&row.name), plain(&row.family)];
            for at in 0..3 {
                cells.push(
                    row.operations
                        .get(at)
                        .map_or_else(|| plain("–"), |operation| timed(&operation.timing)),
                );
            }
            let per_second = row
                .operations
                .get(1)
                .map_or(0.0, |operation| 1e6 / operation.timing.median_us.max(1e-3));
            let expanded = row.sizes.private_key_expanded;
            cells.extend([
                plain(format!("{per_second:.0}")),
                plain(row.sizes.public_key.to_string()),
                plain(row.sizes.private_key.to_string()),
                plain(expanded.map_or_else(|| "–".to_owned(), |bytes| bytes.to_string())),
                plain(row.sizes.output.to_string()),
                plain(
                    row.peak_memory_bytes
                        .map_or_else(|| "–".to_owned(), text::bytes),
                ),
                plain(&row.library),
            ]);
            cells
        })
        .collect();
    out.push_str("<h3>Every operation</h3>\n<p>Sizes are in bytes.</p>\n");
    let head = [
        "Algorithm",
        "Family",
        "Key generation",
        "Encrypt / agree / sign",
        "Decrypt / verify",
        "Encrypt or sign per second",
        "Public key",
        "Private key",
        "expanded",
        "Ciphertext or signature",
        "Peak memory",
        "Library",
    ];
    table(out, &head, &rows);
}

/// Writes the article's figures next to the measured ones.
pub(super) fn stated(report: &Report, out: &mut String) {
    let mut rows = Vec::new();
    for row in &report.primitives {
        let Some(there) = &row.article else { continue };
        for (at, operation) in row.operations.iter().enumerate() {
            let Some(time) = operation.article else {
                continue;
            };
            let sizes = if at == 0 {
                text::stated_sizes(row)
            } else {
                String::new()
            };
            rows.push(vec![
                plain(format!("{} as {}", there.name, row.name)),
                plain(&operation.name),
                plain(text::time(time.us)),
                timed(&operation.timing),
                plain(text::ratio(time.ratio)),
                plain(sizes),
            ]);
        }
    }
    if rows.is_empty() {
        return;
    }
    _ = writeln!(
        out,
        "<h3 id=\"article\">The article's figures</h3>\n<p>“{}” states times and sizes without a machine or a method. The table compares them with the measured figures, using the final standards in place of the round-3 algorithms.</p>",
        escape(&article().title)
    );
    let head = [
        "Algorithm",
        "Operation",
        "Article",
        "Here",
        "Times faster",
        "Bytes in the article (here)",
    ];
    table(out, &head, &rows);
    out.push_str("<p>Wrong sizes in the article:</p>\n<ul>\n");
    for (what, error) in &article().size_errors {
        _ = writeln!(out, "<li>{}: {}</li>", escape(what), escape(error));
    }
    out.push_str("</ul>\n");
}

pub(super) fn parts(report: &Report, out: &mut String) {
    let mut rows = Vec::new();
    for row in &report.primitives {
        for operation in &row.operations {
            if let Some(parts) = &operation.parts {
                rows.push(vec![
                    plain(format!("{} {}", row.name, operation.name)),
                    timed(&operation.timing),
                    plain(text::time(parts.sum_us)),
                    plain(format!("{:.2}x", parts.ratio)),
                    plain(parts.of.join(" + ")),
                ]);
            }
        }
    }
    if rows.is_empty() {
        return;
    }
    out.push_str("<h3>Cost of a hybrid compared with its parts</h3>\n");
    table(
        out,
        &["Hybrid", "Whole", "Sum of parts", "Ratio", "Parts"],
        &rows,
    );
}

pub(super) fn bulk(report: &Report, out: &mut String) {
    if report.bulk.is_empty() {
        return;
    }
    let rows: Vec<_> = report
        .bulk
        .iter()
        .map(|row| {
            let share = 100.0 * row.mad / row.gb_per_second.max(1e-9);
            let limit = match (&row.limit, row.percent_of_limit) {
                (Some(limit), Some(percent)) => format!("{percent:.0} % of {limit}"),
                _ => "this row is a limit".to_owned(),
            };
            vec![
                plain(&row.name),
                plain(row.threads.to_string()),
                Cell(format!(
                    "{:.2} <span class=\"spread\">±{share:.0}%</span>",
                    row.gb_per_second
                )),
                plain(limit),
            ]
        })
        .collect();
    out.push_str("<h2 id=\"bulk\">Throughput</h2>\n<p>No AES cipher can be faster than its AES rounds alone, and no algorithm can be faster than a copy.</p>\n");
    table(
        out,
        &["Algorithm", "Threads", "GB/s", "Share of the limit"],
        &rows,
    );
}

pub(super) fn gradients(report: &Report, out: &mut String) {
    if report.gradients.is_empty() {
        return;
    }
    let rows: Vec<_> = report
        .gradients
        .iter()
        .map(|row| {
            vec![
                plain(text::binary(row.message_bytes)),
                plain(&row.phase),
                plain(row.added_bytes.to_string()),
                plain(format!("{:.4} %", row.added_percent)),
                timed(&row.cpu),
                timed(&row.copy),
            ]
        })
        .collect();
    _ = writeln!(
        out,
        "<h3>Gradient exchange</h3>\n<p>A handshake that proves both ends, followed by a series of authenticated messages. The article states <strong>{}</strong> bandwidth. Processor time is the sum of both ends. Two copies of the message are the minimum cost of an unprotected exchange.</p>",
        article().overhead("gradients")
    );
    table(
        out,
        &[
            "Message",
            "Phase",
            "Bytes added",
            "Added",
            "CPU, both ends",
            "Two copies",
        ],
        &rows,
    );
}

pub(super) fn checkpoints(report: &Report, out: &mut String) {
    if report.checkpoints.is_empty() {
        return;
    }
    let rows: Vec<_> = report
        .checkpoints
        .iter()
        .map(|row| {
            let timing =
                |timing: &Option<Timing>| timing.as_ref().map_or_else(|| plain("–"), timed);
            let measured = row
                .artifact_bytes
                .map(|bytes| bytes.saturating_sub(row.content_bytes));
            vec![
                plain(text::bytes(row.content_bytes)),
                plain(
                    row.artifact_bytes_formula
                        .saturating_sub(row.content_bytes)
                        .to_string(),
                ),
                plain(measured.map_or_else(|| "–".to_owned(), |bytes| bytes.to_string())),
                plain(format!("{:.5} %", row.overhead_percent)),
                timing(&row.seal),
                timing(&row.copy),
                timing(&row.open),
            ]
        })
        .collect();
    _ = writeln!(
        out,
        "<h3>Checkpoints</h3>\n<p>Sealed to one recipient and signed. The article states <strong>{}</strong> size.</p>",
        article().overhead("checkpoints")
    );
    table(
        out,
        &[
            "Checkpoint",
            "Bytes added, formula",
            "measured",
            "Overhead",
            "Seal",
            "Copy",
            "Verify and open",
        ],
        &rows,
    );
}

pub(super) fn handshakes(report: &Report, out: &mut String) {
    if report.handshakes.is_empty() && report.rounds.is_empty() {
        return;
    }
    out.push_str("<h2 id=\"network\">Network</h2>\n");
    if report.handshakes.is_empty() {
        return;
    }
    let rows: Vec<_> = report
        .handshakes
        .iter()
        .map(|row| {
            vec![
                plain(&row.group),
                plain(&row.certificate),
                plain(&row.kind),
                plain(row.client_bytes.to_string()),
                plain(row.server_bytes.to_string()),
                timed(&row.time),
            ]
        })
        .collect();
    out.push_str("<h3>TLS 1.3 handshakes</h3>\n<p>Full handshakes in memory with one certificate. Hybrid and pure groups protect the session against a future quantum computer. The certificate needs to be secure only during the handshake.</p>\n");
    table(
        out,
        &[
            "Group",
            "Certificate",
            "Kind",
            "Client bytes",
            "Server bytes",
            "Time, both ends",
        ],
        &rows,
    );
}

pub(super) fn rounds(report: &Report, out: &mut String) {
    if report.rounds.is_empty() {
        return;
    }
    let rows: Vec<_> = report
        .rounds
        .iter()
        .map(|row| {
            vec![
                plain(format!("{} at {} Mbit/s", row.parameters, row.megabits)),
                plain(&row.mode),
                timed(&row.time),
                plain(format!("{:+.2} %", row.added_percent)),
                plain(text::bytes(row.bytes)),
                plain(row.time.samples.to_string()),
                plain(&row.link),
            ]
        })
        .collect();
    _ = writeln!(
        out,
        "<h3>Federated rounds</h3>\n<p>Four bytes per parameter, including the handshake. The article states <strong>{}</strong> time.</p>",
        article().overhead("rounds")
    );
    table(
        out,
        &[
            "Parameters and link",
            "Mode",
            "Round",
            "Added",
            "Bytes",
            "Samples",
            "Rate limited by",
        ],
        &rows,
    );
}

pub(super) fn baselines(report: &Report, out: &mut String) {
    if report.baselines.is_empty() {
        return;
    }
    let rows: Vec<_> = report
        .baselines
        .iter()
        .map(|row| {
            let ours = row
                .ours
                .map_or_else(|| "–".to_owned(), |ours| format!("{ours:.2} {}", row.unit));
            vec![
                plain(&row.row),
                plain(&row.program),
                plain(format!("{:.2} {}", row.value, row.unit)),
                plain(ours),
            ]
        })
        .collect();
    out.push_str(
        "<h2>OpenSSL on the same machine</h2>\n<p>An independent check of these figures.</p>\n",
    );
    table(
        out,
        &["Operation", "Program", "Its figure", "Casemate"],
        &rows,
    );
}
