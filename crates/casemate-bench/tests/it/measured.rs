//! A quick run measures what the filter selects.

use casemate_bench::{BenchError, Effort, Options, Report, memory, probe_round, run};

fn measured(filter: &str) -> Report {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        effort: Effort::Quick,
        filter: Some(filter.to_owned()),
        folder: folder.path().to_owned(),
        program: None,
        created: 1_767_225_600,
    };
    let mut steps = 0;
    let report = run(&options, &mut |_, at, of| {
        assert!(at <= of, "{at} of {of}");
        steps += 1;
    });
    assert!(steps >= 8, "{steps}");
    report.unwrap()
}

#[test]
fn a_hybrid_is_measured_with_its_parts_and_nothing_else() {
    let report = measured("mlkem768-x25519");
    let names: Vec<_> = report
        .primitives
        .iter()
        .map(|row| row.name.as_str())
        .collect();
    assert_eq!(names, ["X25519", "ML-KEM-768", "mlkem768-x25519"]);
    let hybrid = report.primitives.last().unwrap();
    assert_eq!(
        (hybrid.sizes.public_key, hybrid.sizes.private_key),
        (1216, 32)
    );
    for operation in &hybrid.operations {
        assert!(operation.timing.median_us > 0.0, "{}", operation.name);
        assert!(operation.timing.samples >= 3, "{}", operation.name);
        let parts = operation.parts.as_ref().map(|parts| parts.of.len());
        let expected = match operation.name.as_str() {
            "seal" => Some(3),
            "open" => Some(2),
            _ => None,
        };
        assert_eq!(parts, expected, "{}", operation.name);
    }
    assert!(report.handshakes.is_empty() && report.checkpoints.is_empty());
    assert_eq!(
        (report.created, report.effort.as_str()),
        (1_767_225_600, "quick")
    );
}

#[test]
fn a_filter_that_matches_nothing_measures_nothing() {
    assert!(measured("no such row").is_empty());
}

#[test]
fn gradients_add_the_same_bytes_at_every_length() {
    let report = measured("gradient");
    let steady: Vec<_> = report
        .gradients
        .iter()
        .filter(|row| row.phase == "steady")
        .map(|row| row.added_bytes)
        .collect();
    assert!(steady.len() >= 2, "{steady:?}");
    assert!(steady.iter().all(|added| *added == steady[0]), "{steady:?}");
}

#[test]
fn probes_of_unknown_names_are_refused() {
    assert!(memory::probe("Kyber-1024").is_none());
    for text in ["", "x", "1 2 3", "99999999999999999999 1 plain"] {
        let refused = probe_round(text);
        assert!(
            matches!(refused, Err(BenchError::Report(_) | BenchError::Io(_))),
            "{text}"
        );
    }
}
