//! `casemate keys slots`, backups, and what opens a key store.

use std::fs;

use serde_json::Value;

use crate::support::Sandbox;

fn with<'a>(files: &[&'a str], arguments: &[&'a str]) -> Vec<&'a str> {
    let given = files.iter().flat_map(|file| ["--passphrase-file", *file]);
    given.chain(arguments.iter().copied()).collect()
}

#[expect(clippy::indexing_slicing, reason = "a missing member fails the test")]
fn slots(sandbox: &Sandbox) -> Vec<(String, String, bool)> {
    let list: Value =
        serde_json::from_str(&sandbox.ok(&["keys", "slots", "list", "--json"])).unwrap();
    assert_eq!(
        (list["schema"].as_str(), list["checked"].as_bool()),
        (Some("casemate.slots/1"), Some(true))
    );
    let one = |slot: &Value| {
        (
            slot["name"].as_str().unwrap().to_owned(),
            slot["kind"].as_str().unwrap().to_owned(),
            slot["group"].is_string(),
        )
    };
    list["slots"].as_array().unwrap().iter().map(one).collect()
}

#[test]
fn a_recovery_key_opens_the_store_and_a_backup_after_the_passphrase_is_lost() {
    let sandbox = Sandbox::with_keys();
    sandbox.ok(&[
        "keys",
        "slots",
        "add",
        "recovery",
        "--recovery-key",
        "recovery.pem",
    ]);
    assert_eq!(
        slots(&sandbox),
        [
            ("main".to_owned(), "passphrase".to_owned(), false),
            ("recovery".to_owned(), "recipient".to_owned(), false)
        ]
    );
    sandbox.ok(&["keys", "backup", "keys.backup"]);
    sandbox.refused(&["keys", "backup", "keys.backup"], 2, "exists");
    let listed = sandbox.ok(&["keys", "list"]);
    sandbox.ok(&["keys", "slots", "remove", "main"]);
    sandbox.refused(&["keys", "list"], 4, "no secret for it was given");
    assert_eq!(
        sandbox.ok(&with(&["recovery.pem"], &["keys", "list"])),
        listed
    );
    // Another private key is not the one.
    let other = Sandbox::with_keys();
    other.ok(&[
        "keys",
        "slots",
        "add",
        "recovery",
        "--recovery-key",
        "other.pem",
    ]);
    sandbox.write("other.pem", &other.read("other.pem"));
    sandbox.refused(
        &with(&["other.pem"], &["keys", "list"]),
        4,
        "no secret for it was given",
    );
    // The backup opens with either, in another place.
    let elsewhere = Sandbox::empty();
    elsewhere.write("keys.backup", &sandbox.read("keys.backup"));
    elsewhere.write("recovery.pem", &sandbox.read("recovery.pem"));
    elsewhere.ok(&with(
        &["recovery.pem"],
        &["keys", "restore", "keys.backup"],
    ));
    assert_eq!(elsewhere.ok(&["keys", "list"]), listed);
    elsewhere.refused(&["keys", "restore", "keys.backup"], 2, "already exists");
    assert_eq!(
        elsewhere.names(),
        ["home", "keys.backup", "passphrase", "recovery.pem"]
    );
    assert_eq!(
        casemate_testkit::names(&elsewhere.path("home")),
        ["keys.db"]
    );
}

#[test]
fn a_damaged_backup_is_refused_and_leaves_nothing() {
    let sandbox = Sandbox::with_keys();
    sandbox.ok(&["keys", "backup", "keys.backup"]);
    let database = rusqlite::Connection::open(sandbox.path("keys.backup")).unwrap();
    database
        .execute(
            "UPDATE rows SET value = zeroblob(100) WHERE id = (SELECT min(id) FROM rows)",
            [],
        )
        .unwrap();
    drop(database);
    let elsewhere = Sandbox::empty();
    elsewhere.write("keys.backup", &sandbox.read("keys.backup"));
    elsewhere.refused(&["keys", "restore", "keys.backup"], 1, "damaged");
    assert!(casemate_testkit::names(&elsewhere.path("home")).is_empty());
    elsewhere.refused(&["keys", "restore", "none"], 2, "there is no file");
}

#[test]
fn two_of_three_passphrases_open_a_store() {
    let sandbox = Sandbox::with_keys();
    for zone in ["asia", "eu", "us"] {
        sandbox.write(zone, format!("horse of {zone}\n").as_bytes());
        sandbox.ok(&["keys", "slots", "add", zone, "--new-passphrase-file", zone]);
    }
    sandbox.ok(&[
        "keys",
        "slots",
        "group",
        "zones",
        "--threshold",
        "2",
        "asia",
        "eu",
        "us",
    ]);
    sandbox.ok(&with(&["eu", "us"], &["keys", "slots", "remove", "main"]));
    sandbox.refused(
        &["keys", "list"],
        4,
        "group `zones` needs 2 of its 3 slots, and 0 opened",
    );
    sandbox.refused(
        &with(&["us"], &["keys", "list"]),
        4,
        "`us` (passphrase): opened",
    );
    for pair in [["asia", "us"], ["eu", "asia"]] {
        let listed = sandbox.ok(&with(&pair, &["keys", "list"]));
        assert_eq!(listed.lines().count(), 4);
    }
    let tested = sandbox.ok(&with(
        &["asia", "us"],
        &["keys", "slots", "test", "asia", "us"],
    ));
    assert_eq!(tested, "asia: opens\nus: opens\n");
    sandbox.refused(
        &with(&["asia", "us"], &["keys", "slots", "test", "eu"]),
        4,
        "does not open",
    );
    sandbox.ok(&with(&["asia", "us"], &["keys", "slots", "remove", "eu"]));
    let last = with(&["asia", "us"], &["keys", "slots", "remove", "us"]);
    sandbox.refused(&last, 2, "needs 2 slots");
}

#[test]
fn slots_are_refused_with_what_to_do() {
    let sandbox = Sandbox::with_keys();
    let add = |rest: &[&'static str]| [&["keys", "slots", "add"], rest].concat();
    sandbox.refused(
        &["keys", "slots", "remove", "main"],
        2,
        "it is the last slot",
    );
    sandbox.refused(
        &["keys", "slots", "remove", "none"],
        2,
        "no slot named `none`",
    );
    sandbox.refused(
        &add(&["main", "--random-key", "file"]),
        2,
        "`main` already exists",
    );
    assert!(!sandbox.path("file").exists());
    sandbox.refused(
        &add(&["x", "--to", "alice"]),
        2,
        "is in the key store that the slot would open",
    );
    sandbox.refused(&add(&["x", "--to", "publisher"]), 2, "is in the key store");
    sandbox.refused(
        &add(&["Bad name", "--random-key", "file"]),
        2,
        "not a valid name for a slot",
    );
    sandbox.refused(
        &add(&["x", "--random-key", "file", "--group", "none"]),
        2,
        "no group named",
    );
    sandbox.refused(&add(&["x"]), 2, "required");
    sandbox.refused(
        &["keys", "slots", "group", "g", "--threshold", "2", "main"],
        2,
        "2 of 1 shares",
    );
    sandbox.refused(&["keys", "slots", "ungroup", "g"], 2, "no group named `g`");
    sandbox.write("passphrase", b"incorrect horse\n");
    sandbox.refused(&["keys", "slots", "list"], 4, "wrong passphrase");
    let unchecked = sandbox.ok(&["keys", "slots", "list", "--unchecked"]);
    assert!(unchecked.contains("main"), "{unchecked}");
}

#[test]
fn a_new_root_key_names_the_slots_that_are_gone() {
    let sandbox = Sandbox::with_keys();
    sandbox.ok(&[
        "keys",
        "slots",
        "add",
        "recovery",
        "--recovery-key",
        "recovery.pem",
    ]);
    sandbox.write("new", b"another horse\n");
    let said = sandbox.run(&[
        "keys",
        "passwd",
        "--new-passphrase-file",
        "new",
        "--compromised",
    ]);
    assert!(
        said.code == 0
            && said.err.contains("these slots are gone")
            && said.err.contains("recovery"),
        "{said:?}"
    );
    sandbox.refused(&with(&["recovery.pem"], &["keys", "list"]), 4, "");
    assert_eq!(
        sandbox
            .ok(&with(&["new"], &["keys", "list"]))
            .lines()
            .count(),
        4
    );
}

#[test]
fn a_private_key_leaves_the_store_only_sealed_and_signed() {
    let [ours, theirs] = [Sandbox::with_keys(), Sandbox::with_keys()];
    theirs.ok(&["keys", "export", "alice", "-o", "them.pub"]);
    ours.write("them.pub", &theirs.read("them.pub"));
    ours.ok(&["keys", "export", "publisher", "-o", "us.pub"]);
    theirs.write("us.pub", &ours.read("us.pub"));
    let export = ["keys", "export", "bob", "--private"];
    ours.refused(&export, 2, "required");
    let export = [
        &export[..],
        &[
            "--to",
            "./them.pub",
            "--sign",
            "publisher",
            "-o",
            "bob.sealed",
        ],
    ]
    .concat();
    ours.ok(&export);
    assert!(
        !ours
            .read("bob.sealed")
            .windows(11)
            .any(|part| part == b"PRIVATE KEY")
    );
    theirs.write("bob.sealed", &ours.read("bob.sealed"));
    let import = ["keys", "import", "bob.sealed", "--name", "their-bob"];
    theirs.refused(&import, 4, "which is not in the key store");
    theirs.ok(&[&import[..], &["--signer", "./us.pub"]].concat());
    let key = |sandbox: &Sandbox, name: &str| -> Value {
        serde_json::from_str(&sandbox.ok(&["keys", "show", name, "--json"])).unwrap()
    };
    assert_eq!(key(&theirs, "their-bob")["id"], key(&ours, "bob")["id"]);
    assert_eq!(key(&theirs, "their-bob")["half"], "private");
    // Someone else's store cannot read it, and other sealed files are not keys.
    let third = Sandbox::with_keys();
    third.write("bob.sealed", &ours.read("bob.sealed"));
    third.write("us.pub", &ours.read("us.pub"));
    third.refused(
        &[&import[..], &["--signer", "./us.pub"]].concat(),
        4,
        "no private key in the key store opens",
    );
    fs::write(theirs.path("text"), b"not a key").unwrap();
    theirs.ok(&["seal", "text", "--to", "alice", "--sign", "publisher"]);
    theirs.refused(
        &["keys", "import", "text.sealed", "--name", "x"],
        2,
        "not as a private key",
    );
}

#[test]
fn a_slot_that_leaves_a_group_does_not_open_alone() {
    let sandbox = Sandbox::with_keys();
    for slot in ["a", "b", "c"] {
        sandbox.ok(&[
            "keys",
            "slots",
            "add",
            slot,
            "--random-key",
            &format!("{slot}.key"),
        ]);
    }
    sandbox.ok(&[
        "keys",
        "slots",
        "group",
        "g",
        "--threshold",
        "2",
        "a",
        "b",
        "c",
    ]);
    let done = sandbox.run(&["keys", "slots", "group", "g", "--threshold", "2", "a", "b"]);
    assert!(
        done.err.contains("removed slots that left the group: c"),
        "{}",
        done.err
    );
    sandbox.refused(&with(&["c.key"], &["keys", "list"]), 4, "");
    assert!(!slots(&sandbox).iter().any(|(name, ..)| name == "c"));
    sandbox.ok(&with(&["a.key", "b.key"], &["keys", "list"]));
}

#[test]
fn files_that_are_no_backups_are_named() {
    let sandbox = Sandbox::with_keys();
    sandbox.write(
        "junk",
        b"not a database, but long enough to be looked at as one",
    );
    sandbox.ok(&["keys", "backup", "keys.backup"]);
    let whole = sandbox.read("keys.backup");
    sandbox.write("cut", &whole[..whole.len() / 2]);
    let elsewhere = Sandbox::empty();
    for name in ["junk", "cut", "keys.backup"] {
        elsewhere.write(name, &sandbox.read(name));
    }
    elsewhere.refused(&["keys", "restore", "junk"], 1, "not a database");
    elsewhere.refused(&["keys", "restore", "cut"], 1, "damaged or cut off");
    fs::create_dir_all(elsewhere.path("home")).unwrap();
    elsewhere.write("home/keys.db-wal", b"x");
    elsewhere.refused(
        &["keys", "restore", "keys.backup"],
        2,
        "was left behind by another key store",
    );
    fs::remove_file(elsewhere.path("home/keys.db-wal")).unwrap();
    elsewhere.ok(&["keys", "restore", "keys.backup"]);
    assert_eq!(elsewhere.read("keys.backup"), whole);
    assert_eq!(
        casemate_testkit::names(&elsewhere.path("home")),
        ["keys.db"]
    );
}

#[test]
fn a_slot_that_was_not_added_leaves_no_key() {
    let sandbox = Sandbox::with_keys();
    for number in 1..32 {
        let file = format!("{number}.key");
        let name = format!("slot-{number}");
        sandbox.ok(&["keys", "slots", "add", &name, "--random-key", &file]);
        assert!(sandbox.path(&file).exists());
    }
    for option in ["--random-key", "--recovery-key"] {
        sandbox.refused(&["keys", "slots", "add", "more", option, "more"], 2, "32");
        assert!(!sandbox.path("more").exists());
    }
}
