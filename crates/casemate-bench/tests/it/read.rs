//! Reports come from other machines, so reading one trusts nothing in it.

use casemate_bench::{BenchError, REPORT_BYTES_MAX, Report};
use serde_json::{Value, json};

use crate::sample;

fn refused(change: impl FnOnce(&mut Value)) -> BenchError {
    let mut value = sample::json();
    change(&mut value);
    Report::from_json(value.to_string().as_bytes()).unwrap_err()
}

#[test]
fn a_report_is_read_and_written_without_loss() {
    let value = sample::json();
    let report = sample::read(&value);
    assert_eq!(serde_json::to_value(&report).unwrap(), value);
    assert!(!report.is_empty());
    assert!(sample::empty().is_empty());
}

#[test]
fn each_single_table_makes_a_report_not_empty() {
    for table in sample::TABLES {
        let mut value = serde_json::to_value(sample::empty()).unwrap();
        value[table] = sample::json()[table].clone();
        assert!(!sample::read(&value).is_empty(), "{table}");
    }
}

#[test]
fn fields_that_are_unknown_missing_or_of_another_type_are_refused() {
    let is_shape = |error: BenchError| matches!(error, BenchError::Report(_));
    assert!(is_shape(refused(|value| value["extra"] = json!(1))));
    assert!(is_shape(refused(
        |value| value["machine"]["extra"] = json!(1)
    )));
    assert!(is_shape(refused(
        |value| value["bulk"][0]["threads"] = json!("two")
    )));
    assert!(is_shape(refused(
        |value| value["rounds"][0]["bytes"] = json!(-1)
    )));
    assert!(is_shape(refused(|value| {
        value["handshakes"][0]
            .as_object_mut()
            .unwrap()
            .remove("time");
    })));
    for text in ["", "{", "[]", "null", "{}", "\u{feff}{}"] {
        let error = Report::from_json(text.as_bytes()).unwrap_err();
        assert!(is_shape(error), "{text}");
    }
}

#[test]
fn another_schema_is_named_without_its_control_characters() {
    let error = refused(|value| value["schema"] = json!("casemate.bench/2 é"));
    let BenchError::Schema { found, expected } = error else {
        panic!("{error}");
    };
    assert_eq!(
        (found.as_str(), expected),
        ("casemate.bench/2", "casemate.bench/1")
    );
}

#[test]
fn text_that_could_deceive_a_terminal_or_a_reader_is_refused() {
    for text in ["\u{1b}[2J", "a\nb", "a\u{7f}", "\u{85}", &"x".repeat(513)] {
        let error = refused(|value| value["machine"]["cpu"] = json!(text));
        assert!(matches!(error, BenchError::Unshowable), "{text:?}");
        let error = refused(|value| value["notes"] = json!([text]));
        assert!(matches!(error, BenchError::Unshowable), "{text:?}");
    }
    let mut value = sample::json();
    value["machine"]["cpu"] = json!("x".repeat(512));
    sample::read(&value);
}

#[test]
fn too_many_values_or_bytes_are_refused() {
    let error = refused(|value| value["notes"] = json!(vec![""; 50_001]));
    assert!(matches!(error, BenchError::Unshowable), "{error}");
    let long = vec![b' '; REPORT_BYTES_MAX + 1];
    let error = Report::from_json(&long).unwrap_err();
    assert!(matches!(error, BenchError::TooLong { actual, .. } if actual == long.len()));
}
