//! Whom commands trust: lists of publishers, revisions, and detached signatures.

use serde_json::Value;

use crate::support::Sandbox;

const LIST: &str = r#"
[[publisher]]
key = "./publisher.pub"
roles = ["model", "tokenizer"]

[[publisher]]
key = "curator"
roles = ["dataset"]
"#;

/// A sandbox with a list, a model that `publisher` sealed, and a data set that `curator` sealed.
fn listed() -> Sandbox {
    let sandbox = Sandbox::with_keys();
    sandbox.ok(&["keys", "generate", "--name", "curator", "--kind", "sign"]);
    sandbox.ok(&["keys", "generate", "--name", "stranger", "--kind", "sign"]);
    sandbox.ok(&["keys", "export", "publisher", "-o", "publisher.pub"]);
    sandbox.write("trust.toml", LIST.as_bytes());
    for (name, signer) in [
        ("model", "publisher"),
        ("data", "curator"),
        ("other", "stranger"),
    ] {
        sandbox.write(name, name.as_bytes());
        sandbox.ok(&["seal", name, "--to", "alice", "--sign", signer]);
    }
    sandbox
}

#[test]
fn a_publisher_is_trusted_for_the_listed_roles_only() {
    let sandbox = listed();
    let trust = |input: &'static str, role: &'static str| {
        [
            "open",
            input,
            "-o",
            "out",
            "--force",
            "--trust",
            "trust.toml",
            "--role",
            role,
        ]
    };
    sandbox.ok(&trust("model.sealed", "model"));
    sandbox.ok(&trust("model.sealed", "tokenizer"));
    sandbox.ok(&trust("data.sealed", "dataset"));
    sandbox.ok(&["verify", "model.sealed", "--trust", "trust.toml"]);
    sandbox.refused(
        &trust("data.sealed", "model"),
        4,
        "trusts for dataset, not for model",
    );
    sandbox.refused(
        &trust("other.sealed", "model"),
        4,
        "which trust.toml does not list",
    );
    let seen = sandbox.run_with(
        &["open", "other.sealed", "-o", "never"],
        &[("CASEMATE_TRUST", "trust.toml")],
    );
    assert_eq!(seen.code, 4, "{seen:?}");
    assert!(!sandbox.path("never").exists());
    // A variable that is always there does not keep anybody from naming a publisher.
    let named = ["verify", "other.sealed", "--signer", "stranger"];
    let seen = sandbox.run_with(&named, &[("CASEMATE_TRUST", "trust.toml")]);
    assert_eq!(seen.code, 0, "{seen:?}");
}

#[test]
fn a_list_that_cannot_be_read_trusts_nobody() {
    let sandbox = listed();
    for (list, words) in [
        ("publisher = 1", "invalid type"),
        ("[[publisher]]\nkey = \"curator\"", "missing field `roles`"),
        (
            "[[publisher]]\nkey = \"curator\"\nroles = [\"\"]",
            "a role may contain only",
        ),
        (
            "[[publisher]]\nkey = \"curator\"\nroles = [\"model\"]\nsince = 1",
            "unknown field",
        ),
        (
            "[[publisher]]\nkey = \"nobody\"\nroles = [\"model\"]",
            "nobody",
        ),
    ] {
        sandbox.write("list.toml", list.as_bytes());
        sandbox.refused(
            &["verify", "model.sealed", "--trust", "list.toml"],
            2,
            words,
        );
    }
}

#[test]
fn a_file_older_than_the_floor_is_refused() {
    let sandbox = Sandbox::with_keys();
    sandbox.write("m", b"model");
    let seal = ["seal", "m", "--to", "alice", "--sign", "publisher"];
    sandbox.ok(&[&seal[..], &["-o", "2.sealed", "--revision", "2"]].concat());
    sandbox.ok(&[&seal[..], &["-o", "none.sealed"]].concat());
    let seen: Value =
        serde_json::from_str(&sandbox.ok(&["--json", "inspect", "2.sealed"])).unwrap();
    assert_eq!(seen["revision"], 2);
    let open = |name: &'static str, floor: &'static str| {
        [
            "open",
            name,
            "-o",
            "out",
            "--force",
            "--min-revision",
            floor,
        ]
    };
    sandbox.ok(&open("2.sealed", "2"));
    sandbox.ok(&[
        "verify",
        "2.sealed",
        "--signer",
        "publisher",
        "--min-revision",
        "1",
    ]);
    sandbox.refused(&open("2.sealed", "3"), 1, "revision 2 is older");
    sandbox.refused(&open("none.sealed", "1"), 1, "the artifact has no revision");
    let verify = [
        "verify",
        "2.sealed",
        "--signer",
        "publisher",
        "--min-revision",
        "3",
    ];
    sandbox.refused(&verify, 1, "revision 2 is older");
    sandbox.refused(
        &[&seal[..], &["-o", "x", "--revision", "0"]].concat(),
        2,
        "0 is not in 1",
    );
}

#[test]
fn another_thing_by_the_same_publisher_is_refused_by_its_id() {
    let sandbox = Sandbox::with_keys();
    std::fs::create_dir(sandbox.path("m")).unwrap();
    sandbox.write("m/w", b"w");
    for input in ["m", "m/w"] {
        let seal = ["seal", input, "--to", "alice", "--sign", "publisher", "-o"];
        sandbox.ok(&[&seal[..], &["1"]].concat());
        sandbox.ok(&[&seal[..], &["2"]].concat());
        let seen: Value = serde_json::from_str(&sandbox.ok(&["--json", "inspect", "1"])).unwrap();
        let id = seen["folder"]["id"]
            .as_str()
            .or_else(|| seen["id"].as_str())
            .unwrap();
        sandbox.ok(&["open", "1", "-o", "out", "--id", id]);
        sandbox.ok(&["verify", "1", "--signer", "publisher", "--id", id]);
        sandbox.refused(&["open", "2", "-o", "never", "--id", id], 1, "its id is");
        sandbox.refused(
            &["verify", "2", "--signer", "publisher", "--id", id],
            1,
            "its id is",
        );
        assert!(!sandbox.path("never").exists());
        for name in ["1", "2", "out"] {
            let path = sandbox.path(name);
            _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir_all(&path));
        }
    }
}

#[test]
fn a_model_is_signed_beside_itself_and_checked() {
    let sandbox = listed();
    std::fs::create_dir(sandbox.path("m")).unwrap();
    sandbox.write("m/weights", b"weights");
    sandbox.ok(&["sign", "m", "--sign", "publisher"]);
    let check = ["verify", "m", "--signature", "m.sig"];
    sandbox.ok(&[&check[..], &["--signer", "./publisher.pub"]].concat());
    sandbox.ok(&[&check[..], &["--trust", "trust.toml"]].concat());
    sandbox.refused(
        &[&check[..], &["--signer", "curator"]].concat(),
        1,
        "not by key",
    );
    sandbox.refused(
        &[&check[..], &["--trust", "trust.toml", "--role", "dataset"]].concat(),
        4,
        "not for dataset",
    );
    sandbox.refused(&["sign", "m", "--sign", "publisher"], 2, "already exists");
    sandbox.write("m/weights", b"Weights");
    sandbox.refused(
        &[&check[..], &["--signer", "publisher"]].concat(),
        1,
        "weights was changed",
    );
    sandbox.write("m/weights", b"weights");
    sandbox.ok(&["sign", "m", "--sign", "publisher", "-o", "m/inside.sig"]);
    sandbox.ok(&[
        "verify",
        "m",
        "--signature",
        "m/inside.sig",
        "--signer",
        "publisher",
    ]);
    sandbox.refused(
        &[&check[..], &["--signer", "publisher"]].concat(),
        1,
        "inside.sig was not signed",
    );
}
