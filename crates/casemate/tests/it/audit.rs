//! `casemate keys audit`.

use std::{fs, os::unix::fs::symlink, process::Command};

use serde_json::Value;

use crate::support::Sandbox;

/// A sandbox whose key store has a log, and its keys in `log.keys`.
fn logged() -> Sandbox {
    let sandbox = Sandbox::with_keys();
    sandbox.ok(&[
        "keys",
        "audit",
        "enable",
        "--origin",
        "example.com/keys",
        "-o",
        "log.keys",
    ]);
    sandbox
}

#[expect(clippy::indexing_slicing, reason = "a missing member fails the test")]
fn whats(sandbox: &Sandbox, more: &[&str]) -> Vec<String> {
    let shown = sandbox.ok(&[&["keys", "audit", "show", "--json"], more].concat());
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let entries = shown["entries"].as_array().unwrap();
    let what = |entry: &Value| entry["what"].as_str().unwrap().to_owned();
    entries.iter().map(what).collect()
}

#[test]
fn the_log_tells_who_used_which_key() {
    let sandbox = logged();
    sandbox.write("a", b"a");
    sandbox.ok(&["seal", "a", "--to", "alice", "--sign", "publisher"]);
    sandbox.ok(&["open", "a.sealed", "-o", "b"]);
    sandbox.ok(&["keys", "rotate", "alice"]);
    assert_eq!(
        whats(&sandbox, &[]),
        [
            "enabled",
            "opened",
            "private-key",
            "opened",
            "private-key",
            "opened",
            "rotated",
            "opened"
        ]
    );
    assert_eq!(
        whats(&sandbox, &["--key", "alice"]),
        ["private-key", "rotated"]
    );
    assert_eq!(whats(&sandbox, &["--key", "alice@2"]), ["rotated"]);
    let text = sandbox.ok(&["keys", "audit", "show", "--key", "alice@1"]);
    assert!(
        text.contains("casemate open") && text.contains("uid "),
        "{text}"
    );
    sandbox.refused(
        &["keys", "audit", "enable", "--origin", "x"],
        2,
        "already has an audit log",
    );
    let cnsa = [
        "keys", "audit", "enable", "--origin", "x", "--policy", "cnsa2",
    ];
    Sandbox::with_keys().refused(&cnsa, 4, "demands category 5");
    Sandbox::with_keys().refused(&["keys", "audit", "show"], 2, "has no audit log");
}

#[test]
fn a_log_is_verified_against_checkpoints_from_earlier() {
    let sandbox = logged();
    sandbox.ok(&["keys", "audit", "checkpoint", "-o", "one"]);
    let database = sandbox.read("home/keys.db");
    sandbox.ok(&["keys", "rotate", "alice"]);
    sandbox.ok(&["keys", "audit", "checkpoint", "-o", "two"]);
    sandbox.ok(&[
        "keys",
        "audit",
        "verify",
        "--checkpoint",
        "one",
        "--checkpoint",
        "two",
    ]);
    let other = logged();
    other.ok(&["keys", "audit", "checkpoint", "-o", "one"]);
    sandbox.write("other", &other.read("one"));
    sandbox.refused(
        &["keys", "audit", "verify", "--checkpoint", "other"],
        1,
        "signature by the log's key",
    );
    // Someone put the older key store back: only the checkpoint from outside knows.
    for suffix in ["-wal", "-shm"] {
        _ = fs::remove_file(sandbox.path(&format!("home/keys.db{suffix}")));
    }
    sandbox.write("home/keys.db", &database);
    sandbox.ok(&["keys", "audit", "verify", "--checkpoint", "one"]);
    sandbox.refused(
        &["keys", "audit", "verify", "--checkpoint", "two"],
        1,
        "two",
    );
    // An entry that was changed is named.
    let database = rusqlite::Connection::open(sandbox.path("home/keys.db")).unwrap();
    database
        .execute(
            "UPDATE entries SET value = zeroblob(80) WHERE seq = x'0000000000000001'",
            [],
        )
        .unwrap();
    drop(database);
    sandbox.refused(
        &["keys", "audit", "verify"],
        1,
        "entry 1 of the audit log was changed",
    );
}

#[test]
fn a_copy_is_verified_without_the_key_store_and_every_change_is_named() {
    let sandbox = logged();
    sandbox.ok(&["keys", "audit", "checkpoint", "-o", "one"]);
    for _ in 0..3 {
        sandbox.ok(&["keys", "list"]);
    }
    sandbox.ok(&["keys", "audit", "export", "log"]);
    let verify = [
        "keys",
        "audit",
        "verify",
        "--log",
        "log",
        "--keys",
        "log.keys",
        "--checkpoint",
        "one",
    ];
    let without = |arguments: &[&str]| {
        let mut command = sandbox.command(arguments);
        command.env("CASEMATE_HOME", "/nonexistent");
        let output = command.output().unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (code, said) = without(&verify);
    assert!(code == 0 && said.contains("against 1 checkpoint"), "{said}");
    let files: Vec<_> = [
        "log/checkpoint",
        "log/tile/0/000.p/6",
        "log/tile/entries/000.p/6",
    ]
    .into();
    for name in files {
        let good = sandbox.read(name);
        for at in [0, good.len() / 2, good.len() - 2] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(sandbox.path(name), &bad).unwrap();
            let (code, said) = without(&verify);
            assert_eq!(code, 1, "{name} byte {at}: {said}");
        }
        fs::remove_file(sandbox.path(name)).unwrap();
        assert_ne!(without(&verify).0, 0, "{name}");
        // A pipe never delivers anything, and a link leads out of the copy.
        let pipe = Command::new("mkfifo").arg(sandbox.path(name)).status();
        assert!(pipe.unwrap().success());
        let (code, errors) = without(&verify);
        assert_ne!(code, 0, "{name}");
        assert!(errors.contains("not a regular file"), "{errors}");
        fs::remove_file(sandbox.path(name)).unwrap();
        fs::write(sandbox.path("elsewhere"), &good).unwrap();
        symlink(sandbox.path("elsewhere"), sandbox.path(name)).unwrap();
        assert_ne!(without(&verify).0, 0, "{name}");
        fs::remove_file(sandbox.path(name)).unwrap();
        fs::write(sandbox.path(name), &good).unwrap();
    }
    assert_eq!(without(&verify).0, 0);
    // A copy that goes on is written where it differs.
    sandbox.ok(&["keys", "list"]);
    sandbox.ok(&["keys", "audit", "export", "log"]);
    assert_eq!(without(&verify).0, 0);
}

#[test]
fn a_proof_shows_its_entry_to_whoever_has_the_keys_of_the_log() {
    let sandbox = logged();
    sandbox.ok(&["keys", "rotate", "alice"]);
    sandbox.ok(&["keys", "audit", "prove", "2", "-o", "proof"]);
    let shown = sandbox.ok(&["keys", "audit", "check", "proof", "--keys", "log.keys"]);
    assert!(
        shown.contains("rotated") && shown.contains("alice@2"),
        "{shown}"
    );
    let mut bad = sandbox.read("proof");
    let at = bad.windows(6).position(|part| part == b"entry ").unwrap() + 40;
    bad[at] = if bad[at] == b'A' { b'B' } else { b'A' };
    sandbox.write("bad", &bad);
    sandbox.refused(
        &["keys", "audit", "check", "bad", "--keys", "log.keys"],
        1,
        "does not show that the entry is in the log",
    );
    sandbox.refused(
        &["keys", "audit", "prove", "99", "-o", "x"],
        2,
        "no entry 99",
    );
    let other = logged();
    sandbox.write("other.keys", &other.read("log.keys"));
    sandbox.refused(
        &["keys", "audit", "check", "proof", "--keys", "other.keys"],
        1,
        "signature",
    );
}

#[test]
fn an_export_or_a_checkpoint_replaces_only_earlier_ones_of_its_log() {
    let sandbox = logged();
    sandbox.ok(&["keys", "audit", "checkpoint", "-o", "head"]);
    sandbox.ok(&["keys", "audit", "export", "log"]);
    sandbox.ok(&["keys", "audit", "checkpoint", "-o", "head"]);
    // An older copy of the key store would destroy what shows that it is older.
    fs::copy(sandbox.path("home/keys.db"), sandbox.path("older.db")).unwrap();
    sandbox.ok(&["keys", "list"]);
    sandbox.ok(&["keys", "list"]);
    sandbox.ok(&["keys", "audit", "export", "log"]);
    sandbox.ok(&["keys", "audit", "checkpoint", "-o", "head"]);
    let good = (sandbox.read("head"), sandbox.read("log/checkpoint"));
    fs::create_dir(sandbox.path("old")).unwrap();
    fs::rename(sandbox.path("older.db"), sandbox.path("old/keys.db")).unwrap();
    let other = logged();
    fs::create_dir(sandbox.path("other")).unwrap();
    fs::copy(other.path("home/keys.db"), sandbox.path("other/keys.db")).unwrap();
    for (home, why) in [("old", "entries were removed"), ("other", "signature")] {
        for arguments in [["export", "log", "", ""], ["checkpoint", "-o", "head", ""]] {
            let arguments: Vec<_> = ["--home", home, "keys", "audit"]
                .into_iter()
                .chain(arguments.into_iter().filter(|word| !word.is_empty()))
                .collect();
            sandbox.refused(&arguments, 1, why);
        }
    }
    assert_eq!((sandbox.read("head"), sandbox.read("log/checkpoint")), good);
    // Nor does it replace anything else, above all not the key store.
    sandbox.refused(
        &["keys", "audit", "checkpoint", "-o", "home/keys.db"],
        1,
        "not UTF-8",
    );
    sandbox.ok(&["keys", "list"]);
}

#[test]
fn an_export_does_not_follow_links() {
    let sandbox = logged();
    for name in ["log", "victim"] {
        fs::create_dir(sandbox.path(name)).unwrap();
    }
    symlink(sandbox.path("victim"), sandbox.path("log/tile")).unwrap();
    let done = sandbox.run(&["keys", "audit", "export", "log"]);
    assert_ne!(done.code, 0);
    let left = fs::read_dir(sandbox.path("victim/0/000.p"));
    assert!(left.is_err() || left.unwrap().next().is_none());
}

#[test]
fn the_keys_of_another_log_do_not_verify_this_one() {
    let sandbox = logged();
    let other = logged();
    sandbox.write("other.keys", &other.read("log.keys"));
    let verify = |keys| sandbox.run(&["keys", "audit", "verify", "--keys", keys]);
    assert_eq!(verify("log.keys").code, 0);
    let done = verify("other.keys");
    assert!(
        done.code == 1 && done.err.contains("the keys of another log"),
        "{}",
        done.err
    );
}

#[test]
fn a_log_begins_only_if_its_keys_can_be_written() {
    let sandbox = Sandbox::with_keys();
    let enable = |output| ["keys", "audit", "enable", "--origin", "a", "-o", output];
    sandbox.refused(&enable("none/log.keys"), 3, "none");
    sandbox.refused(&["keys", "audit", "keys"], 2, "no audit log");
    for origin in ["", "a b", "a+b", "\u{202e}", &"x".repeat(129)] {
        sandbox.refused(
            &["keys", "audit", "enable", "--origin", origin],
            2,
            "1 to 128 ASCII characters",
        );
    }
    let long = "x".repeat(128);
    sandbox.ok(&["keys", "audit", "enable", "--origin", &long, "-o", "keys"]);
    sandbox.ok(&["keys", "audit", "checkpoint", "-o", "head"]);
}
