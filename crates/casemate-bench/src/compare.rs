//! Compares two reports: ratios, and whether they exceed the spread.

use std::fmt::Write as _;

use crate::{report::Report, rows::Timing};

/// A figure that both reports have.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The row and operation.
    pub name: String,
    /// The figure in the first report.
    pub before: f64,
    /// The figure in the second report.
    pub after: f64,
    /// The unit of both figures.
    pub unit: &'static str,
    /// The second figure divided by the first.
    pub ratio: f64,
    /// The spread of the ratio, computed from both spreads.
    pub spread: f64,
}

impl Change {
    /// Returns whether the ratio differs from one by more than three times its spread and by more
    /// than 1 %.
    pub fn is_real(&self) -> bool {
        (self.ratio - 1.0).abs() > (3.0 * self.spread).max(0.01)
    }
}

/// Returns every figure that both reports have, in the order of the second report.
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
    // Fewer than three samples give no spread, so such changes never count as real.
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

/// Renders the comparison as a table that marks changes beyond the spread.
pub fn render(before: &Report, after: &Report) -> String {
    let mut out = format!(
        "{:<44} {:>12} {:>12} {:>8} {:>8}\n",
        "FIGURE", "FIRST", "SECOND", "RATIO", "SPREAD"
    );
    if before.machine.cpu != after.machine.cpu || before.machine.cores != after.machine.cores {
        _ = writeln!(out, "note: the reports are from different machines");
    }
    for change in changes(before, after) {
        let mark = if change.is_real() { "*" } else { " " };
        _ = writeln!(
            out,
            "{:<44} {:>12.2} {:>12.2} {:>7.3}x {:>8.3} {mark} {}",
            change.name, change.before, change.after, change.ratio, change.spread, change.unit
        );
    }
    out.push_str("* differs by more than three times the spread");
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
    fn only_a_change_beyond_the_spread_is_real() {
        assert!(change(1.2, 0.05).is_real());
        assert!(!change(1.2, 0.1).is_real());
        assert!(!change(1.005, 0.0).is_real());
        assert!(change(0.5, 0.05).is_real());
    }
}
