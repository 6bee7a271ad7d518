//! Renders the report as one self-contained page, without scripts or requests.

mod plots;
mod tables;

use std::fmt::Write as _;

use crate::{plot::escape, report::Report};

const STYLE: &str = include_str!("../assets/report.css");
const FAMILIES: [&str; 6] = [
    "classical",
    "lattice",
    "hybrid",
    "hash-based",
    "code-based",
    "multivariate",
];

/// Renders the page.
pub fn render(report: &Report) -> String {
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n<link rel=\"icon\" href=\"data:,\">\n<title>Casemate benchmark</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n"
    );
    head(report, &mut out);
    let mut page = String::new();
    sections(report, &mut page);
    navigation(&page, &mut out);
    out.push_str(&page);
    out.push_str("</main>\n</body>\n</html>\n");
    out
}

fn sections(report: &Report, out: &mut String) {
    plots::speed(report, out);
    tables::primitives(report, out);
    tables::stated(report, out);
    plots::sizes(report, out);
    tables::parts(report, out);
    tables::bulk(report, out);
    plots::overhead(report, out);
    tables::gradients(report, out);
    tables::checkpoints(report, out);
    tables::handshakes(report, out);
    tables::rounds(report, out);
    tables::baselines(report, out);
    method(report, out);
}

fn head(report: &Report, out: &mut String) {
    let machine = &report.machine;
    let rows = [
        ("Machine", machine.cpu.clone()),
        ("Cores", machine.cores.to_string()),
        ("Instruction sets", machine.features.join(", ")),
        ("Memory", crate::text::bytes(machine.memory_bytes)),
        ("System", machine.system.clone()),
        ("Measured", date(report.created)),
        (
            "Program",
            format!("casemate {}, {} run", report.version, report.effort),
        ),
    ];
    out.push_str("<h1>Cost of each algorithm on this machine</h1>\n");
    out.push_str("<p>Times are medians with the median absolute deviation. All figures are from one run.</p>\n<dl>\n");
    for (name, value) in rows {
        _ = writeln!(out, "<dt>{name}</dt><dd>{}</dd>", escape(&value));
    }
    out.push_str("</dl>\n");
    for note in &report.notes {
        _ = writeln!(out, "<p class=\"note\">{}</p>", escape(note));
    }
}

/// Writes links to the parts of the page.
fn navigation(page: &str, out: &mut String) {
    out.push_str("<nav>");
    for (id, name) in [
        ("speed", "Speed"),
        ("article", "The article"),
        ("sizes", "Sizes"),
        ("bulk", "Throughput"),
        ("workloads", "AI workloads"),
        ("network", "Network"),
        ("method", "Method"),
    ] {
        if page.contains(&format!("id=\"{id}\"")) {
            _ = write!(out, "<a href=\"#{id}\">{name}</a>");
        }
    }
    out.push_str("</nav>\n");
}

/// Writes the legend: the color of each family in the report.
fn key(report: &Report, out: &mut String) {
    out.push_str("<div class=\"key\">");
    for family in FAMILIES {
        if report.primitives.iter().any(|row| row.family == family) {
            _ = write!(out, "<span><i class=\"{family}\"></i>{family}</span>");
        }
    }
    out.push_str("</div>\n");
}

fn method(report: &Report, out: &mut String) {
    out.push_str("<h2 id=\"method\">Method</h2>\n<ul>\n");
    for line in [
        "Public-key operations are measured on one pinned core, after a warm-up, in interleaved rounds with one sample of each operation in turn. A sample repeats a short operation until the clock can resolve it.",
        "Peak memory is the increase in resident memory while a fresh process generates the keys of an algorithm and runs all its operations.",
        "Throughput is measured with consecutive calls of 1 MiB on data in the cache, and on all cores with one such stream per core.",
        "A federated round downloads the global model and uploads an update of the same size, including the connection and the handshake. Both directions share one rate limit, which the kernel enforces where that is permitted. One round of each mode is run before the counted ones. Sealing uses all cores and a copy uses one. Opening verifies the content into memory.",
        "Hybrids are compared with the public-key operations that they combine, without their hashes, key schedule and AEAD.",
    ] {
        _ = writeln!(out, "<li>{line}</li>");
    }
    if !report.catalogue {
        out.push_str("<li>Falcon, Classic McEliece, HQC, FrodoKEM, BIKE, MAYO, UOV and CROSS have no final standard and are measured only in a build with the feature <code>bench-catalogue</code>.</li>\n");
    }
    out.push_str("</ul>\n");
}

/// Formats a UTC date and time.
fn date(seconds: u64) -> String {
    let days = seconds / 86_400;
    let (hour, minute) = (seconds / 3_600 % 24, seconds / 60 % 60);
    // Convert days to a Gregorian date, counting from 1 March of year 0.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 {
        month_index + 3
    } else {
        month_index - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_gregorian() {
        assert_eq!(date(0), "1970-01-01 00:00 UTC");
        assert_eq!(date(951_782_400), "2000-02-29 00:00 UTC");
        assert_eq!(date(1_795_564_799), "2026-11-24 23:59 UTC");
    }
}
