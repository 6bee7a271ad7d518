//! `casemate bench`: what it prints, writes and compares. Its figures are not judged here.

use serde_json::Value;

use crate::support::Sandbox;

fn measured(sandbox: &Sandbox, filter: &str) -> Value {
    let arguments = ["--json", "bench", "--effort", "quick", "--filter", filter];
    serde_json::from_str(&sandbox.ok(&arguments)).unwrap()
}

#[test]
fn a_hybrid_is_measured_with_its_parts_sizes_and_memory() {
    let sandbox = Sandbox::empty();
    let report = measured(&sandbox, "mlkem768-x25519");
    assert_eq!(report["schema"], "casemate.bench/1");
    let rows = report["primitives"].as_array().unwrap();
    let names: Vec<_> = rows
        .iter()
        .map(|row| row["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["X25519", "ML-KEM-768", "mlkem768-x25519"]);
    let hybrid = &rows[2];
    assert_eq!(hybrid["sizes"]["public_key"], 1216);
    assert_eq!(hybrid["sizes"]["private_key"], 32);
    // An encapsulation of 1120 bytes, and 32 bytes of plaintext with their tag.
    assert_eq!(hybrid["sizes"]["output"], 1168);
    assert!(hybrid["peak_memory_bytes"].is_u64(), "{hybrid}");
    let operations = hybrid["operations"].as_array().unwrap();
    assert_eq!(operations.len(), 3);
    let seal = &operations[1];
    assert_eq!(seal["name"], "seal");
    let whole = seal["timing"]["median_us"].as_f64().unwrap();
    let sum = seal["parts"]["sum_us"].as_f64().unwrap();
    let ratio = seal["parts"]["ratio"].as_f64().unwrap();
    assert!(whole > 0.0 && (ratio - whole / sum).abs() < 1e-9);
    assert!(report["bulk"].as_array().unwrap().is_empty());
}

#[test]
fn tables_are_chosen_by_name_and_nothing_is_an_error() {
    let sandbox = Sandbox::empty();
    let report = measured(&sandbox, "tls handshake");
    let groups: Vec<_> = report["handshakes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            (
                row["group"].as_str().unwrap(),
                row["kind"].as_str().unwrap(),
            )
        })
        .collect();
    assert!(groups.contains(&("X25519MLKEM768", "hybrid")));
    assert!(groups.contains(&("MLKEM1024", "pure")));
    assert!(report["primitives"].as_array().unwrap().is_empty());
    sandbox.refused(
        &["bench", "--filter", "rot13"],
        2,
        "no table or algorithm matches",
    );
    let bad = ["bench", "--folder", "nowhere"];
    sandbox.refused(&bad, 2, "nowhere is not a folder");
}

#[test]
fn the_text_names_the_machine_and_the_page_stands_alone() {
    let sandbox = Sandbox::empty();
    let text = sandbox.ok(&[
        "bench",
        "--effort",
        "quick",
        "--filter",
        "ed25519",
        "--html",
        "page.html",
    ]);
    assert!(text.contains("cores") && text.contains("Ed25519"), "{text}");
    assert!(text.contains("--features bench-catalogue"), "{text}");
    let page = String::from_utf8(sandbox.read("page.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    assert!(!page.contains("<script") && !page.contains("http://") && !page.contains("https://"));
}

#[test]
fn two_reports_are_compared_and_other_files_are_refused() {
    let sandbox = Sandbox::empty();
    let report = measured(&sandbox, "ed25519").to_string();
    sandbox.write("first.json", report.as_bytes());
    sandbox.write("second.json", report.as_bytes());
    let compare = |first, second| ["--json", "bench", "--compare", first, second];
    let said = sandbox.ok(&compare("first.json", "second.json"));
    let changes: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(changes["schema"], "casemate.bench-comparison/1");
    let changes = changes["changes"].as_array().unwrap();
    assert!(changes.len() > 3);
    for change in changes {
        assert_eq!(
            (&change["ratio"], &change["beyond_spread"]),
            (&1.0.into(), &false.into())
        );
    }
    // A name that is not in the report would make a comparison of nothing.
    let slower = report.replace("\"median_us\":", "\"median_us\":9");
    sandbox.write("slower.json", slower.as_bytes());
    let said = sandbox.ok(&["bench", "--compare", "first.json", "slower.json"]);
    assert!(said.lines().any(|line| line.contains(" * us")), "{said}");

    sandbox.write("other.json", b"{\"schema\":\"casemate.bench/9\"}");
    sandbox.refused(&compare("first.json", "other.json"), 2, "casemate.bench/9");
    let forged = report.replacen("Ed25519", "\\u001b[31mEd", 1);
    sandbox.write("forged.json", forged.as_bytes());
    sandbox.refused(&compare("forged.json", "first.json"), 2, "too many values");
    sandbox.write("no.json", b"[1,2]");
    sandbox.refused(
        &compare("no.json", "first.json"),
        2,
        "not a benchmark report",
    );
    let unknown = report.replacen("\"created\":", "\"invented\":1,\"created\":", 1);
    sandbox.write("unknown.json", unknown.as_bytes());
    sandbox.refused(
        &compare("unknown.json", "first.json"),
        2,
        "not a benchmark report",
    );
    sandbox.refused(
        &compare("gone.json", "first.json"),
        3,
        "cannot read gone.json",
    );
}

#[test]
fn a_page_that_cannot_be_written_is_said_before_anything_is_measured() {
    let sandbox = Sandbox::empty();
    let bench = ["bench", "--effort", "thorough", "--html"];
    let started = std::time::Instant::now();
    sandbox.refused(
        &[&bench[..], &["none/page.html"]].concat(),
        3,
        "none/page.html",
    );
    sandbox.refused(
        &[&bench[..], &["/dev/null"]].concat(),
        2,
        "not a regular file",
    );
    // A thorough run takes many minutes.
    assert!(started.elapsed().as_secs() < 20);
}

#[test]
fn the_figures_of_the_article_stand_beside_ours() {
    let sandbox = Sandbox::empty();
    let bench = ["bench", "--effort", "quick", "--filter", "ml-kem-1024"];
    let said = sandbox.ok(&bench);
    let row = said
        .lines()
        .find(|line| line.contains("Kyber-1024") && line.contains("encapsulate"));
    assert!(
        row.is_some_and(|row| row.contains("15.6 ms") && row.contains("µs")),
        "{said}"
    );
    assert!(
        said.contains("public 1568 (1568), private 3168 (3168 expanded)"),
        "{said}"
    );
    let none = sandbox.ok(&[
        "bench",
        "--effort",
        "quick",
        "--filter",
        "slh-dsa-sha2-128f",
    ]);
    assert!(!none.contains("Kyber"), "{none}");
}
