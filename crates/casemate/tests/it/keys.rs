//! `casemate keys`, policies and the environment.

use std::{
    fs,
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
};

use serde_json::Value;

use crate::support::{Run, Sandbox};

#[test]
fn version_help_and_completions_work_without_a_store() {
    let sandbox = Sandbox::empty();
    let mut odd = sandbox.command(&[]);
    odd.arg(std::ffi::OsStr::from_bytes(b"\xff"));
    let said = Run::from(odd.output().unwrap());
    assert!(said.code == 2 && !said.err.contains("panicked"), "{said:?}");
    assert!(sandbox.ok(&["--version"]).starts_with("casemate "));
    assert!(sandbox.ok(&["--help"]).contains("Usage: casemate"));
    for shell in ["bash", "zsh", "fish"] {
        assert!(sandbox.ok(&["completions", shell]).contains("casemate"));
    }
}

#[test]
fn keys_are_listed_shown_exported_and_imported() {
    let sandbox = Sandbox::with_keys();
    let list: Value = serde_json::from_str(&sandbox.ok(&["keys", "list", "--json"])).unwrap();
    assert_eq!(list["schema"], "casemate.keys/1");
    let names: Vec<_> = list["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| &key["name"])
        .collect();
    assert_eq!(names, ["alice", "bob", "publisher"]);
    assert_eq!(list["keys"][0]["suite"], "mlkem1024-p384");
    assert_eq!(list["keys"][2]["suite"], "mldsa87-p384");

    sandbox.ok(&["keys", "export", "publisher", "-o", "publisher.pub"]);
    let shown: Value =
        serde_json::from_str(&sandbox.ok(&["keys", "show", "./publisher.pub", "--json"])).unwrap();
    assert_eq!(shown["id"], list["keys"][2]["id"]);
    let other = Sandbox::with_keys();
    other.write("publisher.pub", &sandbox.read("publisher.pub"));
    other.ok(&["keys", "import", "publisher.pub", "--name", "vendor"]);
    assert!(other.ok(&["keys", "list"]).contains("vendor"));
    other.refused(
        &["keys", "import", "publisher.pub", "--name", "again"],
        2,
        "already has this key",
    );
}

#[test]
fn a_random_key_opens_the_store_in_place_of_a_passphrase() {
    let sandbox = Sandbox::empty();
    let with = |file: &'static str, arguments: &[&'static str]| {
        sandbox.ok(&[&["--passphrase-file", file], arguments].concat());
    };
    let refused = |file: &'static str, arguments: &[&'static str], code, words| {
        sandbox.refused(
            &[&["--passphrase-file", file], arguments].concat(),
            code,
            words,
        );
    };
    let init = ["keys", "init", "--random-key"];
    refused("passphrase", &init, 2, "write the random key to");
    assert_eq!(sandbox.read("passphrase"), b"correct horse\n");
    refused("-", &init, 2, "no file was given for the random key");
    with("store.key", &init);
    let mode = fs::metadata(sandbox.path("store.key"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    with(
        "store.key",
        &["keys", "generate", "--name", "a", "--kind", "kem"],
    );
    refused("other.key", &init, 2, "a key store already exists at");
    assert!(!sandbox.names().contains(&"other.key".to_owned()));

    refused(
        "passphrase",
        &["keys", "list"],
        4,
        "opens with its key file, not with a passphrase",
    );
    sandbox.write("short.key", &sandbox.read("store.key")[..50]);
    refused("short.key", &["keys", "list"], 2, "the key file is damaged");
    let other = Sandbox::empty();
    other.ok(&[
        "--passphrase-file",
        "store.key",
        "keys",
        "init",
        "--random-key",
    ]);
    sandbox.write("other.key", &other.read("store.key"));
    refused("other.key", &["keys", "list"], 4, "wrong key file");
}

#[test]
fn a_database_without_a_store_is_no_obstacle_to_making_one() {
    let sandbox = Sandbox::empty();
    fs::create_dir(sandbox.path("home")).unwrap();
    sandbox.write("home/keys.db", b"");
    sandbox.refused(&["keys", "list"], 2, "there is no key store");
    sandbox.ok(&["keys", "init"]);
    sandbox.refused(&["keys", "init"], 2, "a key store already exists at");
}

#[test]
fn a_store_that_cannot_be_written_is_read() {
    let sandbox = Sandbox::with_keys();
    for (name, mode) in [(".", 0o755), ("home/keys.db", 0o444), ("home", 0o555)] {
        fs::set_permissions(sandbox.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    // For the user of below; where the tests are not root's it is the same user as now.
    _ = std::os::unix::fs::chown(sandbox.path("passphrase"), Some(65_534), None);
    // The superuser can write whatever the mode says.
    let as_nobody = |arguments: &[&str]| {
        let plain = sandbox.command(arguments);
        let mut command = std::process::Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(plain.get_program())
            .args(plain.get_args())
            .current_dir(sandbox.path("."))
            .env("CASEMATE_HOME", sandbox.path("home"));
        Run::from(command.output().unwrap())
    };
    let is_root = as_nobody(&["--version"]).code == 0;
    let run = |arguments: &[&str]| {
        if is_root {
            as_nobody(arguments)
        } else {
            sandbox.run(arguments)
        }
    };
    let listed = run(&["keys", "list"]);
    assert_eq!(listed.code, 0, "{listed:?}");
    assert!(listed.out.contains("publisher"));
    let refused = run(&["keys", "generate", "--name", "x", "--kind", "kem"]);
    assert_eq!(refused.code, 3, "{refused:?}");
    fs::write(sandbox.path("home/keys.db-wal"), b"x").unwrap();
    let unfinished = run(&["keys", "list"]);
    assert!(unfinished.err.contains("unfinished"), "{unfinished:?}");
    // For whoever removes the folder.
    fs::set_permissions(sandbox.path("home"), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn wrong_use_of_keys_names_what_is_wrong() {
    let sandbox = Sandbox::empty();
    sandbox.refused(&["keys", "list"], 2, "there is no key store");
    sandbox.ok(&["keys", "init"]);
    sandbox.refused(&["keys", "init"], 2, "a key store already exists at");
    sandbox.ok(&["keys", "generate", "--name", "a", "--kind", "kem"]);
    sandbox.refused(
        &["keys", "generate", "--name", "a", "--kind", "kem"],
        2,
        "already exists",
    );
    sandbox.refused(
        &["keys", "generate", "--name", "A B", "--kind", "kem"],
        2,
        "is not a valid key name",
    );
    let kyber = [
        "keys",
        "generate",
        "--name",
        "k",
        "--kind",
        "kem",
        "--suite",
        "kyber1024",
    ];
    sandbox.refused(&kyber, 2, "no suite is named");
    sandbox.refused(&["keys", "show", "nobody"], 2, "no key `nobody`");
    sandbox.write(
        "junk.pem",
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
    );
    sandbox.refused(
        &["keys", "import", "junk.pem", "--name", "j"],
        2,
        "malformed",
    );
    sandbox.write("empty.pem", b"");
    sandbox.refused(
        &["keys", "import", "empty.pem", "--name", "j"],
        2,
        "not a PEM key file",
    );
    sandbox.write("long.pem", &vec![b'x'; 100_000]);
    sandbox.refused(
        &["keys", "import", "long.pem", "--name", "j"],
        2,
        "exceeds the limit of 65536",
    );
    sandbox.refused(
        &["keys", "import", "missing.pem", "--name", "j"],
        3,
        "cannot read missing.pem",
    );
    sandbox.write("passphrase", b"wrong horse battery");
    sandbox.refused(&["keys", "list"], 4, "wrong passphrase");
    sandbox.write("passphrase", b"short");
    let other = Sandbox::empty();
    other.write("passphrase", b"short");
    other.refused(&["keys", "init"], 2, "shorter than 8");
    assert!(!other.path("home/keys.db").exists());
}

#[test]
fn a_flipped_bit_in_the_database_is_named_and_the_other_keys_work() {
    let sandbox = Sandbox::with_keys();
    let database = rusqlite::Connection::open(sandbox.path("home/keys.db")).unwrap();
    let (id, mut value): (Vec<u8>, Vec<u8>) = database
        .query_row("SELECT id, value FROM rows LIMIT 1", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    *value.last_mut().unwrap() ^= 1;
    database
        .execute("UPDATE rows SET value = ?1 WHERE id = ?2", (value, id))
        .unwrap();
    drop(database);
    let said = sandbox.run(&["keys", "list"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("damaged"), "{said:?}");
    assert_eq!(
        said.out.lines().count(),
        3,
        "a head and the two good keys: {said:?}"
    );
}

#[test]
fn policies_decide_which_suites_may_be_used() {
    let sandbox = Sandbox::with_keys();
    let pure = [
        "keys",
        "generate",
        "--name",
        "pure",
        "--kind",
        "kem",
        "--suite",
        "mlkem1024",
    ];
    sandbox.refused(
        &pure,
        4,
        "policy `hybrid` does not allow the suite mlkem1024",
    );
    sandbox.ok(&[
        "keys", "generate", "--name", "pure", "--kind", "kem", "--policy", "cnsa2",
    ]);
    sandbox.write("model", b"weights");
    sandbox.refused(&["seal", "model", "--to", "pure"], 4, "does not allow");
    let arguments = ["seal", "model", "--to", "alice", "--policy", "cnsa2"];
    sandbox.refused(
        &arguments,
        4,
        "policy `cnsa2` does not allow the suite mlkem1024-p384",
    );
    sandbox.refused(
        &["seal", "model", "--to", "alice", "--policy", "nonsense"],
        2,
        "no built-in policy `nonsense`",
    );

    let under = |value| {
        sandbox.run_with(
            &["seal", "model", "--to", "pure"],
            &[("PQC_KEY_MANAGEMENT", value)],
        )
    };
    assert_eq!(under("classical").code, 4);
    assert_eq!(under("both").code, 2);
    assert_eq!(under("hybrid").code, 4);
    assert_eq!(under("pq").code, 0);
}
