//! Comparison of two reports.

use casemate_bench::compare::{Change, changes, render};
use serde_json::{Value, json};

use crate::sample;

fn compared(change: impl FnOnce(&mut Value)) -> Vec<(String, f64)> {
    let before = sample::read(&sample::json());
    let mut value = sample::json();
    change(&mut value);
    let real = changes(&before, &sample::read(&value));
    let real = real.into_iter().filter(Change::is_real);
    real.map(|change| (change.name, change.ratio)).collect()
}

#[test]
fn equal_reports_have_every_figure_and_no_change() {
    let report = sample::read(&sample::json());
    let all = changes(&report, &report);
    let names: Vec<_> = all.iter().map(|change| change.name.as_str()).collect();
    let expected = [
        "ML-KEM-768 encapsulate",
        "mlkem768-x25519 seal",
        "AES-256-GCM on 1 threads",
        "gradient 1048576 B, steady",
        "checkpoint 1073741824 B seal",
        "checkpoint 1073741824 B open",
        "TLS X25519MLKEM768 ECDSA P-256",
        "round 1000000 at 100 Mbit/s (in process) protected",
    ];
    assert_eq!(names, expected);
    assert!(all.iter().all(|change| !change.is_real()));
    assert_eq!(render(&report, &report).matches(" * ").count(), 0);
}

#[test]
fn a_figure_that_doubled_is_the_only_real_change() {
    let changed = compared(|value| value["handshakes"][0]["time"]["median_us"] = json!(1300.0));
    assert_eq!(
        changed,
        [("TLS X25519MLKEM768 ECDSA P-256".to_owned(), 2.0)]
    );
    let changed = compared(|value| value["bulk"][0]["gb_per_second"] = json!(10.5));
    assert_eq!(changed, [("AES-256-GCM on 1 threads".to_owned(), 2.0)]);
}

#[test]
fn a_change_within_the_spread_or_from_few_samples_is_not_real() {
    let within = compared(|value| {
        value["handshakes"][0]["time"] =
            json!({ "median_us": 670.0, "mad_us": 13.0, "samples": 9 });
    });
    assert_eq!(within, []);
    let few = compared(|value| {
        value["handshakes"][0]["time"] =
            json!({ "median_us": 1300.0, "mad_us": 0.0, "samples": 2 });
    });
    assert_eq!(few, []);
}

#[test]
fn figures_of_one_report_only_are_left_out() {
    let before = sample::read(&sample::json());
    let mut value = sample::json();
    value["handshakes"] = json!([]);
    value["primitives"][0]["name"] = json!("ML-KEM-1024");
    let all = changes(&before, &sample::read(&value));
    assert!(all.iter().all(|change| !change.name.starts_with("TLS")));
    assert!(all.iter().all(|change| !change.name.starts_with("ML-KEM")));
    assert_eq!(all.len(), 6);
}

#[test]
fn a_time_of_zero_gives_finite_figures() {
    let mut value = sample::json();
    value["handshakes"][0]["time"] = json!({ "median_us": 0.0, "mad_us": 0.0, "samples": 9 });
    let zero = sample::read(&value);
    for change in changes(&zero, &zero) {
        assert!(
            change.ratio.is_finite() && change.spread.is_finite(),
            "{change:?}"
        );
    }
}

#[test]
fn reports_of_two_machines_are_marked() {
    let before = sample::read(&sample::json());
    assert!(!render(&before, &before).contains("different machines"));
    for (field, other) in [("cpu", json!("Other CPU")), ("cores", json!(4))] {
        let mut value = sample::json();
        value["machine"][field] = other;
        let shown = render(&before, &sample::read(&value));
        assert!(shown.contains("different machines"), "{field}");
    }
}
