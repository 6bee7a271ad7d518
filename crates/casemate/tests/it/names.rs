//! A word on the command line never resolves to a file that somebody placed in the working
//! folder.

use casemate_crypto::encoding::PrivateKey;
use serde_json::Value;

use crate::support::Sandbox;

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

/// The full id of a key of the sandbox.
fn id_of(sandbox: &Sandbox, name: &str) -> String {
    let shown: Value =
        serde_json::from_str(&sandbox.ok(&["keys", "show", name, "--json"])).unwrap();
    shown.get("id").and_then(Value::as_str).unwrap().to_owned()
}

#[test]
fn a_planted_file_is_never_taken_for_a_publisher() {
    let sandbox = Sandbox::with_keys();
    sandbox.write("m", b"model");
    sandbox.ok(&["seal", "m", "--to", "alice", "--sign", "publisher"]);
    let id = id_of(&sandbox, "publisher");
    // Whoever made the folder names their own key as the publisher's, by name and by id.
    for name in ["publisher", &id] {
        sandbox.write(name, public_pem("mldsa87-p384").as_bytes());
    }
    let list = "[[publisher]]\nkey = \"publisher\"\nroles = [\"model\"]";
    sandbox.write("trust.toml", list.as_bytes());
    for named in ["publisher", &id] {
        sandbox.ok(&["verify", "m.sealed", "--signer", named]);
        sandbox.ok(&[
            "open", "m.sealed", "-o", "out", "--force", "--signer", named,
        ]);
        sandbox.refused(
            &["verify", "m.sealed", "--signer", &format!("./{named}")],
            1,
            "not by",
        );
    }
    sandbox.ok(&["verify", "m.sealed", "--trust", "trust.toml"]);
    sandbox.write("vendor", public_pem("mldsa87-p384").as_bytes());
    sandbox.refused(
        &["verify", "m.sealed", "--signer", "vendor"],
        2,
        "write `./vendor`",
    );
}

#[test]
fn a_planted_file_is_never_taken_for_a_recipient() {
    let sandbox = Sandbox::with_keys();
    sandbox.write("m", b"model");
    sandbox.write("alice", public_pem("mlkem1024-p384").as_bytes());
    sandbox.write("eve", public_pem("mlkem1024-p384").as_bytes());
    let recipients = |artifact: &str| {
        let seen = sandbox.ok(&["--json", "inspect", artifact]);
        let seen: Value = serde_json::from_str(&seen).unwrap();
        seen["recipients"][0]["key"].as_str().unwrap().to_owned()
    };
    let seal = ["seal", "m", "--sign", "publisher", "--force", "--to"];
    sandbox.ok(&[&seal[..], &["alice"]].concat());
    assert_eq!(recipients("m.sealed"), id_of(&sandbox, "alice"));
    let refused = [&seal[..], &["eve"]].concat();
    sandbox.refused(&refused, 2, "write `./eve`");
    sandbox.refused(&["rewrap", "m.sealed", "--add", "eve"], 2, "no key `eve`");
    sandbox.refused(&["age", "encrypt", "m", "--to", "eve"], 2, "no key `eve`");
    sandbox.ok(&[&seal[..], &["./alice"]].concat());
    assert_ne!(recipients("m.sealed"), id_of(&sandbox, "alice"));
}

#[test]
fn a_planted_file_is_never_taken_for_a_policy() {
    let sandbox = Sandbox::with_keys();
    sandbox.write("m", b"model");
    sandbox.write("hybrid", WEAK_POLICY.as_bytes());
    sandbox.write("ours", WEAK_POLICY.as_bytes());
    let seal = [
        "seal",
        "m",
        "--to",
        "alice",
        "--sign",
        "publisher",
        "--force",
    ];
    sandbox.ok(&[&seal[..], &["--policy", "hybrid"]].concat());
    sandbox.refused(
        &[&seal[..], &["--policy", "./hybrid"]].concat(),
        4,
        "does not allow the suite mlkem1024-p384",
    );
    sandbox.refused(
        &[&seal[..], &["--policy", "ours"]].concat(),
        2,
        "write `./ours`",
    );
    for (value, code) in [("hybrid", 0), ("./hybrid", 4), ("ours", 2)] {
        let seen = sandbox.run_with(&seal, &[("CASEMATE_POLICY", value)]);
        assert_eq!(seen.code, code, "{value}: {seen:?}");
    }
}

#[test]
fn a_shortened_id_names_nothing_and_a_full_one_is_shown() {
    let sandbox = Sandbox::with_keys();
    sandbox.write("m", b"model");
    let id = id_of(&sandbox, "publisher");
    let short = id.get(..16).unwrap();
    sandbox.refused(&["keys", "show", short], 2, "shortened key id");
    sandbox.refused(
        &["seal", "m", "--to", "alice", "--sign", short],
        2,
        "shortened key id",
    );
    let seen = sandbox.run(&["seal", "m", "--to", "alice", "--sign", "publisher"]);
    assert!(seen.err.contains(&format!("signer: publisher, key {id}")));
    let recipient = format!("recipient: alice, key {}", id_of(&sandbox, "alice"));
    assert!(seen.err.contains(&recipient), "{seen:?}");
    let seen = sandbox.run(&["verify", "m.sealed", "--signer", "publisher"]);
    assert!(seen.out.contains(&format!("signed by {id}")), "{seen:?}");
    let seen = sandbox.run(&["verify", "m.sealed", "--signer", &id]);
    assert_eq!((seen.code, seen.err.as_str()), (0, ""), "{seen:?}");
}

#[test]
fn a_key_that_the_policy_refuses_does_not_hide_one_that_it_allows() {
    let sandbox = Sandbox::with_keys();
    sandbox.write("m", b"model");
    sandbox.ok(&[
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
    sandbox.ok(&[&seal[..], &["--to", "aaa", "--to", "alice", "-o", "both"]].concat());
    sandbox.ok(&[&seal[..], &["--to", "aaa", "-o", "pure"]].concat());
    sandbox.ok(&["open", "both", "-o", "out"]);
    sandbox.refused(
        &["open", "pure", "-o", "never"],
        4,
        "policy `hybrid` does not allow the suite mlkem1024",
    );
}

#[test]
fn whoever_seals_learns_that_they_cannot_open_it_and_can_become_a_recipient() {
    let sandbox = Sandbox::with_keys();
    sandbox.ok(&["keys", "generate", "--name", "away", "--kind", "kem"]);
    sandbox.ok(&["keys", "export", "away", "-o", "away.pub"]);
    sandbox.ok(&["keys", "remove", "away", "--destroy"]);
    sandbox.write("f", b"content");
    let seal = [
        "seal",
        "f",
        "--to",
        "./away.pub",
        "--sign",
        "publisher",
        "--force",
    ];
    let said = sandbox.run(&seal);
    assert!(
        said.code == 0 && said.err.contains("no recipient is a key of this store"),
        "{said:?}"
    );
    assert!(said.err.contains("--to-self"), "{said:?}");
    sandbox.refused(&["open", "f.sealed", "-o", "out"], 4, "no private key");
    // Two keys of the store could be meant.
    sandbox.refused(
        &[&seal[..], &["--to-self"]].concat(),
        2,
        "--to-self could mean alice, bob",
    );
    sandbox.ok(&["keys", "retire", "bob", "--superseded"]);
    let said = sandbox.run(&[&seal[..], &["--to-self"]].concat());
    assert!(
        said.code == 0 && !said.err.contains("no recipient"),
        "{said:?}"
    );
    sandbox.ok(&["open", "f.sealed", "-o", "out"]);
    sandbox.ok(&["seal", "f", "--to-self", "--force"]);
    sandbox.ok(&["seal", "f", "--to", "alice", "--to-self", "--force"]);
    sandbox.refused(&["seal", "f", "--force"], 2, "--to");
}

#[test]
fn a_recipient_whose_key_is_forgotten_is_removed_by_its_id() {
    let sandbox = Sandbox::with_keys();
    sandbox.write("f", b"content");
    sandbox.ok(&[
        "seal",
        "f",
        "--to",
        "alice",
        "--to",
        "bob",
        "--sign",
        "publisher",
    ]);
    let listed: Value = serde_json::from_str(&sandbox.ok(&["--json", "keys", "list"])).unwrap();
    let keys = listed["keys"].as_array().unwrap();
    let bob = keys.iter().find(|key| key["name"] == "bob").unwrap();
    let id = bob["id"].as_str().unwrap();
    sandbox.ok(&["keys", "remove", "bob", "--destroy"]);
    let before = sandbox.read("f.sealed");
    let plan = ["rewrap", "f.sealed", "--remove", id, "--dry-run"];
    let said = sandbox.run(&plan);
    assert!(
        said.code == 0 && said.err.contains(&format!("f.sealed: would remove {id}")),
        "{said:?}"
    );
    assert_eq!(sandbox.read("f.sealed"), before);
    sandbox.ok(&plan[..4]);
    sandbox.refused(&plan[..4], 2, "is not a recipient");
    let planned = sandbox.ok(&["--json", "rewrap", "f.sealed", "--to", "alice", "--dry-run"]);
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
    let sandbox = Sandbox::with_keys();
    sandbox.write("f", b"content");
    let classical = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kudy3p2lqg3dc88";
    for command in [&["seal"] as &[_], &["age", "encrypt"]] {
        let arguments = [command, &["f", "--to", classical]].concat();
        sandbox.refused(&arguments, 2, "is a classical age recipient");
        sandbox.refused(&arguments, 2, "age-keygen -pq");
    }
}
