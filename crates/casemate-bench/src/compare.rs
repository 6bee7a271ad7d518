//! Two reports beside each other: ratios, and whether they are beyond the spread.

use std::fmt::Write as _;

use crate::{report::Report, rows::Timing};

/// One figure of both reports.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Row and operation.
    pub name: String,
    /// Figure of the first report.
    pub before: f64,
    /// Figure of the second.
    pub after: f64,
    /// Unit of both.
    pub unit: &'static str,
    /// Second over first.
    pub ratio: f64,
    /// Spread of the ratio, from both spreads.
    pub spread: f64,
}

impl Change {
    /// Whether the ratio differs from one by more than three times its spread and more than a hundredth.
    pub fn is_real(&self) -> bool {
        (self.ratio - 1.0).abs() > (3.0 * self.spread).max(0.01)
    }
}

/// Every figure that both reports have, in the order of the second.
pub fn changes(before: &Report, after: &Report) -> Vec<Change> {
    let before = figures(before);
    figures(after)
        .into_iter()
        .filter_map(|(name, unit, value, mad)| {
            let (_, _, old, old_mad) = before.iter().find(|(other, ..)| *other == name)?;
            let share = |value: f64, mad: f64| mad / value.max(1e-12);
            let ratio = value / old.max(1e-12);
            Some(Change {
                name,
                before: *old,
                after: value,
                unit,
                ratio,
                spread: ratio * share(*old, *old_mad).hypot(share(value, mad)),
            })
        })
        .collect()
}

type Figure = (String, &'static str, f64, f64);

fn figures(report: &Report) -> Vec<Figure> {
    // Fewer than three samples say nothing about a spread, so no change of theirs is real.
    let us = |name: String, timing: &Timing| {
        let spread = if timing.samples < 3 {
            timing.median_us
        } else {
            timing.mad_us
        };
        (name, "us", timing.median_us, spread)
    };
    let mut all = Vec::new();
    for row in &report.primitives {
        for operation in &row.operations {
            all.push(us(
                format!("{} {}", row.name, operation.name),
                &operation.timing,
            ));
        }
    }
    for row in &report.bulk {
        let name = format!("{} on {} threads", row.name, row.threads);
        all.push((name, "GB/s", row.gb_per_second, row.mad));
    }
    for row in &report.gradients {
        let name = format!("gradient {} B, {}", row.message_bytes, row.phase);
        all.push(us(name, &row.cpu));
    }
    for row in &report.checkpoints {
        for (what, timing) in [("seal", &row.seal), ("open", &row.open)] {
            if let Some(timing) = timing {
                all.push(us(
                    format!("checkpoint {} B {what}", row.content_bytes),
                    timing,
                ));
            }
        }
    }
    for row in &report.handshakes {
        all.push(us(
            format!("TLS {} {}", row.group, row.certificate),
            &row.time,
        ));
    }
    for row in &report.rounds {
        let name = format!(
            "round {} at {} Mbit/s ({}) {}",
            row.parameters, row.megabits, row.link, row.mode
        );
        all.push(us(name, &row.time));
    }
    all
}

/// The comparison as a table; changes beyond the spread are marked.
pub fn render(before: &Report, after: &Report) -> String {
    let mut out = format!(
        "{:<44} {:>12} {:>12} {:>8} {:>8}\n",
        "FIGURE", "FIRST", "SECOND", "RATIO", "SPREAD"
    );
    if before.machine.cpu != after.machine.cpu || before.machine.cores != after.machine.cores {
        _ = writeln!(out, "note: the two were measured on different machines");
    }
    for change in changes(before, after) {
        let mark = if change.is_real() { "*" } else { " " };
        _ = writeln!(
            out,
            "{:<44} {:>12.2} {:>12.2} {:>7.3}x {:>8.3} {mark} {}",
            change.name, change.before, change.after, change.ratio, change.spread, change.unit
        );
    }
    out.push_str("* beyond three times the spread");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(ratio: f64, spread: f64) -> Change {
        Change {
            name: String::new(),
            before: 1.0,
            after: ratio,
            unit: "us",
            ratio,
            spread,
        }
    }

    #[test]
    fn only_what_exceeds_the_spread_is_real() {
        assert!(change(1.2, 0.05).is_real());
        assert!(!change(1.2, 0.1).is_real());
        assert!(!change(1.005, 0.0).is_real());
        assert!(change(0.5, 0.05).is_real());
    }
}
