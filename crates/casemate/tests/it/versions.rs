//! Rotation: versions, states, limits, rewrapping and successors.

use std::fs;

use serde_json::Value;

use crate::support::Sandbox;

fn json(sandbox: &Sandbox, arguments: &[&str]) -> Value {
    serde_json::from_str(&sandbox.ok(&[arguments, &["--json"]].concat())).unwrap()
}

fn sealed(sandbox: &Sandbox, name: &str) {
    sandbox.write(name, name.as_bytes());
    sandbox.ok(&["seal", name, "--to", "alice", "--sign", "publisher"]);
    fs::remove_file(sandbox.path(name)).unwrap();
}

/// The versions of `alice` that an artifact is sealed to.
#[expect(clippy::indexing_slicing, reason = "a missing member fails the test")]
fn sealed_to(sandbox: &Sandbox, name: &str) -> Vec<u64> {
    let keys = json(sandbox, &["keys", "list"]);
    let keys = keys["keys"].as_array().unwrap();
    let found = json(sandbox, &["inspect", name]);
    let recipients = found["recipients"].as_array().unwrap();
    let mut versions: Vec<_> = keys
        .iter()
        .filter(|key| key["name"] == "alice")
        .filter(|key| recipients.iter().any(|one| one["key"] == key["id"]))
        .map(|key| key["version"].as_u64().unwrap())
        .collect();
    versions.sort_unstable();
    versions
}

#[test]
fn a_rotated_key_opens_old_and_new_until_it_is_disabled() {
    let sandbox = Sandbox::with_keys();
    sealed(&sandbox, "old");
    let rotated = json(&sandbox, &["keys", "rotate", "alice"]);
    assert_eq!(
        (&rotated["new"]["version"], &rotated["old"]["state"]),
        (&2.into(), &"decrypt-only".into())
    );
    sealed(&sandbox, "new");
    assert_eq!(sealed_to(&sandbox, "old.sealed"), [1]);
    assert_eq!(sealed_to(&sandbox, "new.sealed"), [2]);
    for name in ["old", "new"] {
        sandbox.ok(&["open", &format!("{name}.sealed"), "-o", name]);
        assert_eq!(sandbox.read(name), name.as_bytes());
    }
    sandbox.refused(
        &["seal", "old", "--to", "alice@1"],
        4,
        "version 1 of `alice` is decrypt-only",
    );
    sandbox.ok(&["keys", "disable", "alice@1"]);
    sandbox.refused(
        &["open", "old.sealed", "-o", "x"],
        4,
        "`alice@1` would open this artifact, but it is disabled",
    );
    sandbox.ok(&["keys", "enable", "alice@1"]);
    sandbox.ok(&["open", "old.sealed", "-o", "x"]);
    sandbox.refused(&["keys", "destroy", "alice@1"], 4, "cannot be undone");
    sandbox.ok(&["keys", "destroy", "alice@1", "--yes"]);
    sandbox.refused(
        &["open", "old.sealed", "-o", "y"],
        4,
        "no private key in the key store opens",
    );
    sandbox.refused(
        &["keys", "enable", "alice@1"],
        2,
        "`alice@1` is not disabled",
    );
    sandbox.refused(&["keys", "disable", "alice"], 2, "does not name a version");
    sandbox.refused(&["keys", "rotate", "carol"], 2, "has no key `carol`");
}

#[test]
fn a_staged_version_waits_for_its_activation() {
    let sandbox = Sandbox::with_keys();
    sandbox.ok(&["keys", "rotate", "alice", "--stage"]);
    sealed(&sandbox, "a");
    assert_eq!(sealed_to(&sandbox, "a.sealed"), [1]);
    sandbox.write("b", b"b");
    sandbox.refused(&["seal", "b", "--to", "alice@2"], 4, "pre-active");
    sandbox.ok(&["keys", "activate", "alice@2"]);
    sealed(&sandbox, "b");
    assert_eq!(sealed_to(&sandbox, "b.sealed"), [2]);
    sandbox.refused(
        &["keys", "activate", "alice@2"],
        2,
        "`alice@2` is already active",
    );
}

#[test]
fn a_policy_counts_uses_and_says_what_is_due() {
    let sandbox = Sandbox::with_keys();
    sandbox.ok(&[
        "keys",
        "policy",
        "alice",
        "--max-uses",
        "2",
        "--max-age",
        "90d",
    ]);
    sealed(&sandbox, "a");
    let shown = sandbox.ok(&["keys", "policy", "alice"]);
    assert!(
        shown.contains("uses      1 of 2") && shown.contains("age       90 days"),
        "{shown}"
    );
    sealed(&sandbox, "b");
    assert!(
        sandbox
            .ok(&["keys", "policy", "alice"])
            .contains("reached its limit of uses")
    );
    sandbox.write("c", b"c");
    sandbox.refused(
        &["seal", "c", "--to", "alice"],
        4,
        "has reached its limit of uses",
    );
    assert!(!sandbox.path("c.sealed").exists());
    let rotated = json(&sandbox, &["keys", "rotate", "--due"]);
    assert_eq!(rotated["rotated"].as_array().unwrap().len(), 1);
    sandbox.ok(&["seal", "c", "--to", "alice"]);
    assert!(
        sandbox
            .ok(&["keys", "rotate", "--due"])
            .contains("no key is due")
    );
    sandbox.ok(&["keys", "policy", "alice", "--none"]);
    assert_eq!(sandbox.ok(&["keys", "policy", "alice"]), "no limits\n");
    for bad in ["90", "x", "0d", "-1d"] {
        sandbox.refused(
            &["keys", "policy", "alice", &format!("--max-age={bad}")],
            2,
            "days or hours",
        );
    }
}

/// Artifacts and a folder sealed to `alice`, and one that is sealed to `bob`.
fn models() -> Sandbox {
    let sandbox = Sandbox::with_keys();
    fs::create_dir_all(sandbox.path("models/sub/plain")).unwrap();
    for name in ["models/a", "models/sub/b", "c"] {
        sealed(&sandbox, name);
    }
    sandbox.write("models/sub/plain/readme", b"plain");
    fs::create_dir(sandbox.path("tree")).unwrap();
    for name in ["one", "two"] {
        sandbox.write(&format!("tree/{name}"), name.as_bytes());
    }
    sandbox.ok(&[
        "seal",
        "tree",
        "-o",
        "models/tree",
        "--to",
        "alice",
        "--sign",
        "publisher",
    ]);
    sandbox.write("models/d", b"d");
    sandbox.ok(&["seal", "models/d", "--to", "bob", "--sign", "publisher"]);
    sandbox
}

#[test]
fn a_rotation_ends_in_a_statement_that_nothing_is_below() {
    let sandbox = models();
    sandbox.ok(&["keys", "rotate", "alice"]);
    let count = json(
        &sandbox,
        &["keys", "rewrap", "alice", "models", "--dry-run"],
    );
    assert_eq!(
        (&count["below"], &count["places"][0]["artifacts"]),
        (&5.into(), &6.into())
    );
    assert_eq!(sealed_to(&sandbox, "models/a.sealed"), [1]);
    let run = [
        "keys",
        "rewrap",
        "alice",
        "models",
        "c.sealed",
        "--statement",
        "done.json",
        "--sign",
        "publisher",
    ];
    let done = json(&sandbox, &run);
    assert_eq!(done["complete"], true, "{done}");
    assert_eq!(
        (&done["places"][0]["changed"], &done["places"][0]["other"]),
        (&5.into(), &1.into())
    );
    for name in [
        "models/a.sealed",
        "models/sub/b.sealed",
        "c.sealed",
        "models/tree",
    ] {
        assert_eq!(sealed_to(&sandbox, name), [2], "{name}");
    }
    assert_eq!(sealed_to(&sandbox, "models/d.sealed"), [0_u64; 0]);
    sandbox.ok(&["open", "models/tree", "-o", "opened"]);
    let shown = json(
        &sandbox,
        &["keys", "statement", "done.json", "--signer", "publisher"],
    );
    assert_eq!(
        (&shown["complete"], &shown["version"], &shown["below"]),
        (&true.into(), &2.into(), &0.into())
    );
    sandbox.refused(
        &["keys", "statement", "done.json", "--signer", "alice"],
        2,
        "kind `sign`",
    );
    let mut changed = sandbox.read("done.json");
    let at = changed
        .windows(10)
        .position(|part| part == b"\"payload\":")
        .unwrap();
    changed[at + 20] ^= 1;
    sandbox.write("changed.json", &changed);
    sandbox.refused(
        &["keys", "statement", "changed.json", "--signer", "publisher"],
        1,
        "",
    );
    // Run again, it finds nothing to do.
    let again = json(&sandbox, &[&run[..], &["--force"]].concat());
    assert_eq!(
        (&again["places"][0]["changed"], &again["complete"]),
        (&0.into(), &true.into())
    );
}

#[test]
fn a_rotation_names_what_it_could_not_reach() {
    let sandbox = Sandbox::with_keys();
    fs::create_dir(sandbox.path("models")).unwrap();
    for name in ["models/a", "models/b", "c"] {
        sealed(&sandbox, name);
    }
    let rewrap = |places: &[&str]| {
        let all = [&["keys", "rewrap", "alice"], places, &["--json"]].concat();
        let said = sandbox.run(&all);
        (said.code, serde_json::from_str::<Value>(&said.out).unwrap())
    };
    // All are known to be sealed to version 1.
    assert_eq!(rewrap(&["models", "c.sealed"]).0, 0);
    sandbox.ok(&["keys", "rotate", "alice"]);
    let mut damaged = sandbox.read("models/b.sealed");
    let len = damaged.len();
    damaged[len - 30] ^= 1;
    sandbox.write("models/b.sealed", &damaged);
    let (code, found) = rewrap(&["models"]);
    assert_eq!((code, &found["complete"]), (1, &false.into()));
    let missed: Vec<_> = found["unreachable"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["place"].as_str().unwrap().rsplit('/').next().unwrap())
        .collect();
    assert_eq!(missed, ["b.sealed", "c.sealed"]);
    assert_eq!(sealed_to(&sandbox, "models/a.sealed"), [2]);
    // What is gone from a place that was looked at is no longer asked for.
    fs::remove_file(sandbox.path("models/b.sealed")).unwrap();
    assert_eq!(rewrap(&["models", "c.sealed"]).0, 0);
    fs::remove_file(sandbox.path("c.sealed")).unwrap();
    let (code, found) = rewrap(&["c.sealed"]);
    assert_eq!(
        (code, found["unreachable"].as_array().unwrap().len()),
        (1, 1),
        "{found}"
    );
}

/// A publisher that rotated its key, and someone who has an artifact signed by the new key, the old
/// key, and the statement.
fn succeeded() -> [Sandbox; 2] {
    let [ours, theirs] = [Sandbox::with_keys(), Sandbox::with_keys()];
    ours.ok(&["keys", "export", "publisher", "-o", "publisher.pub"]);
    theirs.write("publisher.pub", &ours.read("publisher.pub"));
    theirs.ok(&["keys", "import", "publisher.pub", "--name", "vendor"]);
    theirs.write(
        "trust.toml",
        b"[[publisher]]\nkey = \"./publisher.pub\"\nroles = [\"model\"]\n",
    );
    ours.ok(&["keys", "rotate", "publisher"]);
    ours.ok(&["keys", "succession", "publisher@1", "-o", "next.json"]);
    ours.refused(
        &["keys", "succession", "publisher@2", "-o", "x.json"],
        2,
        "has no successor yet",
    );
    ours.refused(
        &["keys", "succession", "alice@1", "-o", "x.json"],
        2,
        "not a signing key",
    );
    ours.write("model", b"weights");
    theirs.ok(&["keys", "export", "alice", "-o", "them.pub"]);
    ours.write("them.pub", &theirs.read("them.pub"));
    ours.ok(&["seal", "model", "--to", "./them.pub", "--sign", "publisher"]);
    for name in ["model.sealed", "next.json"] {
        theirs.write(name, &ours.read(name));
    }
    [ours, theirs]
}

fn open_model<'a>(output: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["open", "model.sealed", "-o", output], more].concat()
}

#[test]
fn a_trust_file_follows_the_statement_of_a_successor() {
    let [_, theirs] = succeeded();
    let open = open_model;
    theirs.refused(&open("x", &["--trust", "trust.toml"]), 4, "does not list");
    theirs.write(
        "trust.toml",
        b"[[publisher]]\nkey = \"./publisher.pub\"\nroles = [\"model\"]\nsuccessions = [\"./next.json\"]\n",
    );
    theirs.ok(&open("x", &["--trust", "trust.toml"]));
    theirs.refused(
        &open("z", &["--trust", "trust.toml", "--role", "data"]),
        4,
        "not for data",
    );
    theirs.write(
        "bad.toml",
        b"[[publisher]]\nkey = \"./publisher.pub\"\nroles = [\"model\"]\ncompromised = true\nsuccessions = [\"./next.json\"]\n",
    );
    theirs.refused(&open("z", &["--trust", "bad.toml"]), 4, "is compromised");
    // Someone else's statement does not do.
    let third = Sandbox::with_keys();
    third.ok(&["keys", "rotate", "publisher"]);
    third.ok(&["keys", "succession", "publisher@1", "-o", "next.json"]);
    theirs.write("theirs.json", &third.read("next.json"));
    theirs.write(
        "bad.toml",
        b"[[publisher]]\nkey = \"./publisher.pub\"\nroles = [\"model\"]\nsuccessions = [\"./theirs.json\"]\n",
    );
    theirs.refused(&open("z", &["--trust", "bad.toml"]), 2, "not signed by key");
}

#[test]
fn a_key_store_follows_the_statement_of_a_successor() {
    let [_, theirs] = succeeded();
    let open = open_model;
    // Someone else's statement does not do.
    let third = Sandbox::with_keys();
    third.ok(&["keys", "rotate", "publisher"]);
    third.ok(&["keys", "succession", "publisher@1", "-o", "next.json"]);
    theirs.write("theirs.json", &third.read("next.json"));
    // In the key store, the name stands for the new key from then on.
    theirs.refused(&open("z", &[]), 4, "which is not in the key store");
    theirs.refused(
        &["keys", "import", "next.json", "--name", "vendor"],
        2,
        "--next-version",
    );
    theirs.refused(
        &[
            "keys",
            "import",
            "theirs.json",
            "--name",
            "vendor",
            "--next-version",
        ],
        1,
        "not signed by key",
    );
    theirs.ok(&[
        "keys",
        "import",
        "next.json",
        "--name",
        "vendor",
        "--next-version",
    ]);
    theirs.ok(&open("y", &[]));
    theirs.ok(&["keys", "retire", "vendor@1", "--compromised"]);
    theirs.refused(&open("z", &[]), 4, "is compromised");
}

#[test]
fn a_rotation_does_not_believe_what_it_did_not_see() {
    let sandbox = models();
    sandbox.ok(&["keys", "rewrap", "alice", "models"]);
    fs::copy(
        sandbox.path("models/tree/two.sealed"),
        sandbox.path("old-two"),
    )
    .unwrap();
    sandbox.ok(&["keys", "rotate", "alice"]);
    sandbox.ok(&["keys", "rewrap", "alice", "models", "c.sealed"]);
    let refused = |words: &str| {
        sandbox.refused(&["keys", "rewrap", "alice", "models"], 1, words);
    };
    // A file of a folder that is as it was before.
    let now = sandbox.read("models/tree/two.sealed");
    fs::copy(
        sandbox.path("old-two"),
        sandbox.path("models/tree/two.sealed"),
    )
    .unwrap();
    refused("the rotation is not complete");
    fs::write(sandbox.path("models/tree/two.sealed"), &now).unwrap();
    sandbox.ok(&["keys", "rewrap", "alice", "models"]);
    // A link to somewhere else.
    std::os::unix::fs::symlink("../c.sealed", sandbox.path("models/link.sealed")).unwrap();
    refused("the rotation is not complete");
    fs::remove_file(sandbox.path("models/link.sealed")).unwrap();
    // A folder that cannot be found, and one that is empty, as if nothing were mounted.
    sandbox.ok(&["keys", "rotate", "alice"]);
    fs::rename(sandbox.path("models/sub"), sandbox.path("away")).unwrap();
    refused("the rotation is not complete");
    fs::create_dir(sandbox.path("models/sub")).unwrap();
    refused("the rotation is not complete");
    fs::remove_dir(sandbox.path("models/sub")).unwrap();
    fs::rename(sandbox.path("away"), sandbox.path("models/sub")).unwrap();
    // All that is left is what was not asked for.
    refused("the rotation is not complete: 1 could not be read or rewrapped");
    // What is known to be used is not destroyed by the way.
    sandbox.refused(
        &["keys", "destroy", "alice@2", "--yes"],
        4,
        "c.sealed was sealed to",
    );
    sandbox.refused(
        &["keys", "destroy", "alice@3", "--yes"],
        4,
        "is the active version",
    );
    sandbox.ok(&["keys", "destroy", "alice@2", "--yes", "--even-if-used"]);
    sandbox.refused(
        &[
            "keys",
            "rewrap",
            "alice",
            "models",
            "--dry-run",
            "--statement",
            "x",
            "--sign",
            "publisher",
        ],
        2,
        "cannot be used with",
    );
}

#[test]
fn what_is_forgotten_is_not_missed_and_a_dry_run_records_nothing() {
    let sandbox = models();
    sandbox.ok(&[
        "keys",
        "audit",
        "enable",
        "--origin",
        "keys.example",
        "-o",
        "log.keys",
    ]);
    let entries = |what: &str| {
        let log = sandbox.ok(&["keys", "audit", "show", "--json"]);
        log.matches(what).count()
    };
    sandbox.ok(&["keys", "rewrap", "alice", "models", "c.sealed", "--dry-run"]);
    assert_eq!(entries("\"bound\""), 0);
    sandbox.ok(&["keys", "rewrap", "alice", "models", "c.sealed"]);
    assert!(entries("\"bound\"") > 0);
    sandbox.ok(&["keys", "rotate", "alice"]);
    let place = sandbox.path("c.sealed").canonicalize().unwrap();
    let rewrap = ["keys", "rewrap", "alice", "models"];
    sandbox.refused(&rewrap, 1, "the rotation is not complete");
    let forget = ["--forget", place.to_str().unwrap()];
    sandbox.ok(&[rewrap.as_slice(), &forget].concat());
    sandbox.ok(&rewrap);
}

#[test]
fn what_a_compromised_or_disabled_key_does_is_refused_everywhere() {
    let sandbox = Sandbox::with_keys();
    sandbox.ok(&[
        "keys",
        "generate",
        "--name",
        "small",
        "--kind",
        "kem",
        "--suite",
        "mlkem768-x25519",
    ]);
    sandbox.write("note", b"note");
    sandbox.ok(&["age", "encrypt", "note", "--to", "small"]);
    sandbox.ok(&["keys", "rotate", "small"]);
    sandbox.ok(&["age", "decrypt", "note.age", "-o", "again"]);
    sandbox.ok(&["keys", "disable", "small@1"]);
    sandbox.refused(&["age", "decrypt", "note.age", "-o", "x"], 4, "");
    sandbox.refused(&["keys", "disable", "small@2"], 2, "is the active version");
    sealed(&sandbox, "a");
    let rewrap = [
        "keys",
        "rewrap",
        "alice",
        "a.sealed",
        "--statement",
        "done.json",
        "--sign",
        "publisher",
    ];
    sandbox.ok(&rewrap);
    sandbox.ok(&["keys", "rotate", "publisher"]);
    sandbox.ok(&["keys", "retire", "publisher@1", "--compromised"]);
    sandbox.refused(
        &["keys", "statement", "done.json", "--signer", "publisher@1"],
        4,
        "is compromised",
    );
    sandbox.write("b", b"b");
    sandbox.refused(
        &["seal", "b", "--to", "alice", "--sign", "publisher"],
        4,
        "succeeds a compromised key",
    );
    // It stays known after the key is gone.
    sandbox.ok(&["keys", "destroy", "publisher@1", "--yes"]);
    sandbox.refused(
        &["seal", "b", "--to", "alice", "--sign", "publisher"],
        4,
        "succeeds a compromised key",
    );
    sandbox.refused(&["open", "a.sealed", "-o", "x"], 4, "");
    sandbox.ok(&["keys", "rotate", "publisher"]);
    sandbox.ok(&["seal", "b", "--to", "alice", "--sign", "publisher"]);
    sandbox.ok(&["verify", "b.sealed", "--signer", "publisher"]);
    sandbox.refused(
        &["keys", "remove", "publisher@3", "--destroy"],
        2,
        "is one version",
    );
}
