//! `casemate suites`.

use serde_json::Value;

use crate::support::Sandbox;

#[test]
fn the_table_fits_100_columns_and_says_what_protects_and_why_not() {
    let sandbox = Sandbox::empty();
    let table = sandbox.ok(&["suites"]);
    for line in table.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
    let row = |name: &str| {
        let start = format!("{name} ");
        let line = table.lines().find(|line| line.starts_with(&start));
        line.unwrap_or_default().to_owned()
    };
    assert!(row("mlkem1024-p384").ends_with(" yes"));
    assert!(row("mlkem1024-p384").contains("hybrid"));
    assert!(row("http-ed25519-mldsa65").ends_with(" yes"));
    assert!(row("mlkem1024").contains(" policy ["));
    assert!(row("mlkem768").contains(" no ["));
    assert!(row("mceliece6688128").contains("1044992    208 no ["));
    assert!(table.contains("[1]  only under --policy cnsa2 or experimental"));
    assert!(
        !sandbox.path("home").exists(),
        "no key store is needed or made"
    );
}

#[test]
fn the_table_follows_the_policy_in_force() {
    let sandbox = Sandbox::empty();
    let table = sandbox.ok(&["suites", "--policy", "cnsa2"]);
    let pure = table.lines().find(|line| line.starts_with("mlkem1024 "));
    assert!(pure.unwrap().ends_with(" yes"));
    let hybrid = table
        .lines()
        .find(|line| line.starts_with("mlkem1024-p384 "));
    assert!(hybrid.unwrap().contains(" policy ["));
}

#[test]
fn json_has_every_suite_with_identifiers_and_verdicts() {
    let sandbox = Sandbox::empty();
    let json: Value = serde_json::from_str(&sandbox.ok(&["suites", "--json"])).unwrap();
    assert_eq!(json["schema"], "casemate.suites/1");
    assert_eq!(json["policy"], "hybrid");
    let rows = json["algorithms"].as_array().unwrap();
    let row = |name: &str| rows.iter().find(|row| row["name"] == name).unwrap();
    let default = row("mlkem1024-p384");
    assert_eq!(default["hpke"]["kem"], 0x0051);
    assert_eq!(default["tls"]["value"], 0x11ed);
    assert_eq!(default["oid"], "1.3.6.1.5.5.7.6.63");
    assert_eq!(default["protects"], "yes");
    assert_eq!(default["profiles"][0]["verdict"], "preferred");
    assert_eq!(default["profiles"][1]["verdict"], "not allowed");
    let classical = row("ecdh-p256");
    assert_eq!(classical["protects"], "no");
    assert!(classical["why_not"].as_str().unwrap().contains("classical"));
    assert_eq!(classical["category"], Value::Null);
    let policies = classical["policies"].as_array().unwrap();
    let nist = policies
        .iter()
        .find(|policy| policy["policy"] == "nist-ir-8547");
    assert_eq!(nist.unwrap()["verdict"], "disallowed");
    assert_eq!(nist.unwrap()["after"], "2035-12-31");
    for row in rows {
        assert_eq!(row["profiles"].as_array().unwrap().len(), 5);
        assert_eq!(row["policies"].as_array().unwrap().len(), 7);
    }
}

#[test]
fn one_algorithm_is_shown_whole_under_any_spelling() {
    let sandbox = Sandbox::empty();
    let page = sandbox.ok(&["suites", "MLKEM768-X25519"]);
    for words in [
        "HPKE          0x647a 0x0001 0x0002 (KEM, KDF, AEAD)",
        "OID           1.3.6.1.5.5.7.6.58",
        "TLS           X25519MLKEM768 0x11ec",
        "JOSE          HPKE-9",
        "  hybrid           allowed, offered in TLS",
        "  CNSA 2.0         disallowed: ",
        "  EU roadmap 1.1   not addressed, so treated as not acceptable",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let json: Value =
        serde_json::from_str(&sandbox.ok(&["suites", "mlkem768-x25519", "--json"])).unwrap();
    assert_eq!(json["algorithms"].as_array().unwrap().len(), 1);
    let dates = sandbox.ok(&["suites", "rsa-2048-pss"]);
    assert!(dates.contains("deprecated after 2030-12-31"));
    assert!(dates.contains("disallowed after 2035-12-31"));
}

#[test]
fn an_unknown_name_is_wrong_use_and_near_names_are_offered() {
    let sandbox = Sandbox::empty();
    sandbox.refused(&["suites", "kyber1024"], 2, "kyber1024-round3");
    sandbox.refused(&["suites", "kyber1024"], 2, "no algorithm is named");
    sandbox.refused(
        &["suites", "quux"],
        2,
        "run `casemate suites` to list all algorithms",
    );
}
