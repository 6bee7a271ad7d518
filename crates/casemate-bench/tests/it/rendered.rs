//! The table and the page show every row, and nothing that a report could inject.

use casemate_bench::{html, text};
use serde_json::json;

use crate::sample;

#[test]
fn the_table_shows_every_row_and_no_empty_heading() {
    let shown = text::render(&sample::read(&sample::json()));
    for part in [
        "Test CPU, 2 cores",
        "standard run",
        "ML-KEM-768",
        "mlkem768-x25519",
        "AES-256-GCM",
        "5.25",
        "X25519MLKEM768",
        "OpenSSL 3.5",
        "2.00x",
        "the machine was noisy",
        "bench-catalogue",
    ] {
        assert!(shown.contains(part), "{part} is missing in\n{shown}");
    }
    let empty = text::render(&sample::empty());
    for part in ["ML-KEM-768", "AES-256-GCM", "X25519MLKEM768", "OpenSSL"] {
        assert!(!empty.contains(part), "{part} is in\n{empty}");
    }
}

#[test]
fn few_samples_are_shown_as_such_and_not_as_a_spread() {
    let mut value = sample::json();
    value["primitives"][0]["operations"][0]["timing"]["samples"] = json!(2);
    let shown = text::render(&sample::read(&value));
    assert!(shown.contains("n=2"), "{shown}");
    assert!(shown.contains("±1%"), "{shown}");
}

#[test]
fn the_page_shows_every_table_and_links_to_it() {
    let page = html::render(&sample::read(&sample::json()));
    for part in [
        "ML-KEM-768",
        "AES-256-GCM",
        "X25519MLKEM768",
        "OpenSSL 3.5",
        "2026-01-01",
    ] {
        assert!(page.contains(part), "{part} is missing");
    }
    let mut links = 0;
    for link in page.split("href=\"#").skip(1) {
        let target = link.split('"').next().unwrap();
        assert!(
            page.contains(&format!("id=\"{target}\"")),
            "#{target} leads nowhere"
        );
        links += 1;
    }
    assert!(links >= 6, "{links}");
    let empty = html::render(&sample::empty());
    assert!(!empty.contains("X25519MLKEM768"));
}

#[test]
fn a_report_cannot_inject_markup() {
    let hostile = "<script>alert(1)</script>\"'&";
    let mut value = sample::json();
    value["machine"]["cpu"] = json!(hostile);
    value["machine"]["features"] = json!([hostile]);
    value["notes"] = json!([hostile]);
    value["effort"] = json!(hostile);
    for (table, fields) in [
        ("primitives", &["name", "family", "library"][..]),
        ("bulk", &["name", "limit"]),
        ("gradients", &["phase"]),
        ("handshakes", &["group", "certificate", "kind"]),
        ("rounds", &["link", "mode"]),
        ("baselines", &["program", "row", "unit"]),
    ] {
        for field in fields {
            value[table][0][*field] = json!(hostile);
        }
    }
    let page = html::render(&sample::read(&value));
    assert!(!page.contains("<script"), "markup in the page");
    assert!(page.contains("&lt;script&gt;"));
    // An attribute would end at a quotation mark.
    assert!(
        !page.contains("script&gt;\"'"),
        "a quotation mark in the page"
    );
    // The page works without any request.
    for part in ["http://", "https://", "url(", "src="] {
        assert!(!page.contains(part), "{part}");
    }
}
