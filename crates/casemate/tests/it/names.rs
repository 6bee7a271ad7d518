//! A word on the command line never resolves to a file that somebody placed in the working
//! directory.

use casemate_crypto::encoding::PrivateKey;
use serde_json::Value;

use crate::support::House;

const WEAK_POLICY: &str = r#"
name = "hybrid"
description = "planted"
kem = ["mlkem1024"]
signature = ["mldsa87"]
tls = ["X25519MLKEM768"]
hash = "blake3"
"#;

fn public_pem(suite: &str) -> String {
    let key = PrivateKey::generate(suite).unwrap().unwrap();
    key.public_key().unwrap().to_pem().unwrap()
}

/// The full id of a key of the house.
fn id_of(house: &House, name: &str) -> String {
    let shown: Value = serde_json::from_str(&house.ok(&["keys", "show", name, "--json"])).unwrap();
    shown.get("id").and_then(Value::as_str).unwrap().to_owned()
}

#[test]
fn a_planted_file_is_never_taken_for_a_publisher() {
    let house = House::with_keys();
    house.write("m", b"model");
    house.ok(&["seal", "m", "--to", "alice", "--sign", "publisher"]);
    let id = id_of(&house, "publisher");
    // Whoever made the folder names their own key as the publisher's, by name and by id.
    for name in ["publisher", &id] {
        house.write(name, public_pem("mldsa87-p384").as_bytes());
    }
    let list = "[[publisher]]\nkey = \"publisher\"\nroles = [\"model\"]";
    house.write("trust.toml", list.as_bytes());
    for named in ["publisher", &id] {
        house.ok(&["verify", "m.sealed", "--signer", named]);
        house.ok(&[
            "open", "m.sealed", "-o", "out", "--force", "--signer", named,
        ]);
        house.refused(
            &["verify", "m.sealed", "--signer", &format!("./{named}")],
            1,
            "not by",
        );
    }
    house.ok(&["verify", "m.sealed", "--trust", "trust.toml"]);
    house.write("vendor", public_pem("mldsa87-p384").as_bytes());
    house.refused(
        &["verify", "m.sealed", "--signer", "vendor"],
        2,
        "write `./vendor`",
    );
}

#[test]
fn a_planted_file_is_never_taken_for_a_recipient() {
    let house = House::with_keys();
    house.write("m", b"model");
    house.write("alice", public_pem("mlkem1024-p384").as_bytes());
    house.write("eve", public_pem("mlkem1024-p384").as_bytes());
    let recipients = |artifact: &str| {
        let seen = house.ok(&["--json", "inspect", artifact]);
        let seen: Value = serde_json::from_str(&seen).unwrap();
        seen["recipients"][0]["key"].as_str().unwrap().to_owned()
    };
    let seal = ["seal", "m", "--sign", "publisher", "--force", "--to"];
    house.ok(&[&seal[..], &["alice"]].concat());
    assert_eq!(recipients("m.sealed"), id_of(&house, "alice"));
    let refused = [&seal[..], &["eve"]].concat();
    house.refused(&refused, 2, "write `./eve`");
    house.refused(&["rewrap", "m.sealed", "--add", "eve"], 2, "no key `eve`");
    house.refused(&["age", "encrypt", "m", "--to", "eve"], 2, "no key `eve`");
    house.ok(&[&seal[..], &["./alice"]].concat());
    assert_ne!(recipients("m.sealed"), id_of(&house, "alice"));
}

#[test]
fn a_planted_file_is_never_taken_for_a_policy() {
    let house = House::with_keys();
    house.write("m", b"model");
    house.write("hybrid", WEAK_POLICY.as_bytes());
    house.write("ours", WEAK_POLICY.as_bytes());
    let seal = [
        "seal",
        "m",
        "--to",
        "alice",
        "--sign",
        "publisher",
        "--force",
    ];
    house.ok(&[&seal[..], &["--policy", "hybrid"]].concat());
    house.refused(
        &[&seal[..], &["--policy", "./hybrid"]].concat(),
        4,
        "does not allow the suite mlkem1024-p384",
    );
    house.refused(
        &[&seal[..], &["--policy", "ours"]].concat(),
        2,
        "write `./ours`",
    );
    for (value, code) in [("hybrid", 0), ("./hybrid", 4), ("ours", 2)] {
        let seen = house.run_with(&seal, &[("CASEMATE_POLICY", value)]);
        assert_eq!(seen.code, code, "{value}: {seen:?}");
    }
}

#[test]
fn a_shortened_id_names_nothing_and_a_full_one_is_shown() {
    let house = House::with_keys();
    house.write("m", b"model");
    let id = id_of(&house, "publisher");
    let short = id.get(..16).unwrap();
    house.refused(&["keys", "show", short], 2, "shortened key id");
    house.refused(
        &["seal", "m", "--to", "alice", "--sign", short],
        2,
        "shortened key id",
    );
    let seen = house.run(&["seal", "m", "--to", "alice", "--sign", "publisher"]);
    assert!(seen.err.contains(&format!("signer: publisher, key {id}")));
    let recipient = format!("recipient: alice, key {}", id_of(&house, "alice"));
    assert!(seen.err.contains(&recipient), "{seen:?}");
    let seen = house.run(&["verify", "m.sealed", "--signer", "publisher"]);
    assert!(seen.out.contains(&format!("signed by {id}")), "{seen:?}");
    let seen = house.run(&["verify", "m.sealed", "--signer", &id]);
    assert_eq!((seen.code, seen.err.as_str()), (0, ""), "{seen:?}");
}

#[test]
fn a_key_that_the_policy_refuses_does_not_hide_one_that_it_allows() {
    let house = House::with_keys();
    house.write("m", b"model");
    house.ok(&[
        "keys", "generate", "--name", "aaa", "--kind", "kem", "--policy", "cnsa2",
    ]);
    let seal = [
        "seal",
        "m",
        "--sign",
        "publisher",
        "--policy",
        "experimental",
    ];
    house.ok(&[&seal[..], &["--to", "aaa", "--to", "alice", "-o", "both"]].concat());
    house.ok(&[&seal[..], &["--to", "aaa", "-o", "pure"]].concat());
    house.ok(&["open", "both", "-o", "out"]);
    house.refused(
        &["open", "pure", "-o", "never"],
        4,
        "policy `hybrid` does not allow the suite mlkem1024",
    );
}

#[test]
fn whoever_seals_learns_that_they_cannot_open_it_and_can_become_a_recipient() {
    let house = House::with_keys();
    house.ok(&["keys", "generate", "--name", "away", "--kind", "kem"]);
    house.ok(&["keys", "export", "away", "-o", "away.pub"]);
    house.ok(&["keys", "remove", "away", "--destroy"]);
    house.write("f", b"content");
    let seal = [
        "seal",
        "f",
        "--to",
        "./away.pub",
        "--sign",
        "publisher",
        "--force",
    ];
    let said = house.run(&seal);
    assert!(
        said.code == 0 && said.err.contains("no recipient is a key of this store"),
        "{said:?}"
    );
    assert!(said.err.contains("--to-self"), "{said:?}");
    house.refused(&["open", "f.sealed", "-o", "out"], 4, "no private key");
    // Two keys of the store could be meant.
    house.refused(
        &[&seal[..], &["--to-self"]].concat(),
        2,
        "--to-self could mean alice, bob",
    );
    house.ok(&["keys", "retire", "bob", "--superseded"]);
    let said = house.run(&[&seal[..], &["--to-self"]].concat());
    assert!(
        said.code == 0 && !said.err.contains("no recipient"),
        "{said:?}"
    );
    house.ok(&["open", "f.sealed", "-o", "out"]);
    house.ok(&["seal", "f", "--to-self", "--force"]);
    house.ok(&["seal", "f", "--to", "alice", "--to-self", "--force"]);
    house.refused(&["seal", "f", "--force"], 2, "--to");
}

#[test]
fn a_recipient_whose_key_is_forgotten_is_removed_by_its_id() {
    let house = House::with_keys();
    house.write("f", b"content");
    house.ok(&[
        "seal",
        "f",
        "--to",
        "alice",
        "--to",
        "bob",
        "--sign",
        "publisher",
    ]);
    let listed: Value = serde_json::from_str(&house.ok(&["--json", "keys", "list"])).unwrap();
    let keys = listed["keys"].as_array().unwrap();
    let bob = keys.iter().find(|key| key["name"] == "bob").unwrap();
    let id = bob["id"].as_str().unwrap();
    house.ok(&["keys", "remove", "bob", "--destroy"]);
    let before = house.read("f.sealed");
    let plan = ["rewrap", "f.sealed", "--remove", id, "--dry-run"];
    let said = house.run(&plan);
    assert!(
        said.code == 0 && said.err.contains(&format!("f.sealed: would remove {id}")),
        "{said:?}"
    );
    assert_eq!(house.read("f.sealed"), before);
    house.ok(&plan[..4]);
    house.refused(&plan[..4], 2, "is not a recipient");
    let planned = house.ok(&["--json", "rewrap", "f.sealed", "--to", "alice", "--dry-run"]);
    let planned: Value = serde_json::from_str(&planned).unwrap();
    assert_eq!(
        (
            planned["removed"].as_array().unwrap().len(),
            planned["added"].as_array().unwrap().len()
        ),
        (0, 0)
    );
}

#[test]
fn a_classical_recipient_of_age_is_refused_for_its_reason() {
    let house = House::with_keys();
    house.write("f", b"content");
    let classical = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kudy3p2lqg3dc88";
    for command in [&["seal"] as &[_], &["age", "encrypt"]] {
        let arguments = [command, &["f", "--to", classical]].concat();
        house.refused(&arguments, 2, "is a classical age recipient");
        house.refused(&arguments, 2, "age-keygen -pq");
    }
}
