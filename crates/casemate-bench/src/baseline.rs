//! Figures of an independent program from the same run: `openssl speed`.

use std::process::Command;

use crate::{Effort, Options, Report, rows::Baseline};

/// OpenSSL's names of the asymmetric algorithms.
const ASYMMETRIC: [&str; 8] = [
    "rsa2048",
    "rsa3072",
    "ecdsap256",
    "ecdsap384",
    "ecdhx25519",
    "ecdhp256",
    "ecdhp384",
    "ed25519",
];
/// OpenSSL's names of the symmetric algorithms, and the rows of this report.
const SYMMETRIC: [(&str, &str); 4] = [
    ("aes-256-gcm", "AES-256-GCM"),
    ("chacha20-poly1305", "ChaCha20-Poly1305"),
    ("sha256", "SHA-256"),
    ("sha384", "SHA-384"),
];

pub(crate) fn measure(options: &Options, report: &mut Report) {
    if !options.wants("baseline openssl", "") && options.filter.is_some() {
        return;
    }
    let Some(version) = output(&["version"]) else {
        report
            .notes
            .push("openssl is not installed: skipped the baseline of another program".to_owned());
        return;
    };
    let program = version.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let seconds = if options.effort == Effort::Thorough {
        "3"
    } else {
        "1"
    };
    if options.effort != Effort::Quick {
        let mut arguments = vec!["speed", "-elapsed", "-mr", "-seconds", seconds];
        arguments.extend(ASYMMETRIC);
        let lines = output(&arguments).unwrap_or_default();
        for (row, operation, per_second) in lines.lines().flat_map(asymmetric) {
            report.baselines.push(Baseline {
                program: program.clone(),
                row: format!("{row} {operation}"),
                value: 1e6 / per_second,
                unit: "us".to_owned(),
                ours: report.median_us(&row, operation),
            });
        }
    }
    for (name, row) in SYMMETRIC {
        let arguments = [
            "speed", "-elapsed", "-mr", "-seconds", seconds, "-bytes", "1048576", "-evp", name,
        ];
        let lines = output(&arguments).unwrap_or_default();
        let Some(rate) = lines.lines().find_map(symmetric) else {
            continue;
        };
        let ours = report
            .bulk
            .iter()
            .find(|one| one.name == row && one.threads == 1);
        report.baselines.push(Baseline {
            program: program.clone(),
            row: row.to_owned(),
            value: rate / 1e9,
            unit: "GB/s".to_owned(),
            ours: ours.map(|one| one.gb_per_second),
        });
    }
}

fn output(arguments: &[&str]) -> Option<String> {
    let output = Command::new("openssl").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then_some(text)
}

/// Returns the rows and operations per second in a line of `openssl speed -mr`.
fn asymmetric(line: &str) -> Vec<(String, &'static str, f64)> {
    let fields: Vec<_> = line.split(':').collect();
    let number = |at: usize| {
        let value = fields.get(at)?.parse::<f64>().ok()?;
        (value > 0.0).then_some(value)
    };
    let (kind, bits) = match fields.as_slice() {
        [kind, _, bits, ..] => (*kind, *bits),
        _ => return Vec::new(),
    };
    let both = |row: String, at: usize| {
        let sign = number(at).map(|rate| (row.clone(), "sign", rate));
        let verify = number(at + 1).map(|rate| (row, "verify", rate));
        sign.into_iter().chain(verify).collect()
    };
    match (kind, bits) {
        ("+F2", "2048" | "3072") => both(format!("RSA-{bits} PKCS#1 v1.5"), 3),
        ("+F4", "256" | "384") => both(format!("ECDSA P-{bits}"), 3),
        ("+F5", "253") => number(3)
            .map(|rate| ("X25519".to_owned(), "agree", rate))
            .into_iter()
            .collect(),
        ("+F5", "256" | "384") => number(3)
            .map(|rate| (format!("ECDH P-{bits}"), "agree", rate))
            .into_iter()
            .collect(),
        ("+F6", _) if fields.get(3) == Some(&"Ed25519") => both("Ed25519".to_owned(), 4),
        _ => Vec::new(),
    }
}

/// Returns the bytes per second in a line of `openssl speed -mr -evp`.
fn symmetric(line: &str) -> Option<f64> {
    line.strip_prefix("+F:")?.rsplit(':').next()?.parse().ok()
}

#[cfg(test)]
#[expect(clippy::unreadable_literal, reason = "figures as OpenSSL prints them")]
mod tests {
    use super::*;

    /// Lines printed by OpenSSL 3.0.19.
    #[test]
    fn only_lines_with_figures_are_read() {
        let rows = |line| asymmetric(line);
        assert_eq!(
            rows("+F2:2:2048:1465.789474:52662.500000"),
            [
                ("RSA-2048 PKCS#1 v1.5".to_owned(), "sign", 1465.789474),
                ("RSA-2048 PKCS#1 v1.5".to_owned(), "verify", 52662.5)
            ]
        );
        assert_eq!(
            rows("+F4:3:256:41337.5:14520.0")[1],
            ("ECDSA P-256".to_owned(), "verify", 14520.0)
        );
        assert_eq!(
            rows("+F5:22:253:27277.5:0.000037"),
            [("X25519".to_owned(), "agree", 27277.5)]
        );
        assert_eq!(
            rows("+F6:0:253:Ed25519:23046.1:8362.5")[0],
            ("Ed25519".to_owned(), "sign", 23046.1)
        );
        assert_eq!(
            symmetric("+F:25:AES-256-GCM:3960390892.31"),
            Some(3_960_390_892.31)
        );
        for line in ["", "+F2", "+F2:2:1024:1:1", "+F4:3:256:x:0", "+H:1048576"] {
            assert!(rows(line).is_empty(), "{line}");
        }
        assert_eq!(symmetric("+H:1048576"), None);
    }
}
