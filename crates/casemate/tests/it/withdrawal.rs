//! Keys, signers and passphrases that are taken back.

use serde_json::Value;

use crate::support::Sandbox;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap().to_owned()
}

/// A sandbox with `m.sealed` by `publisher`, a folder `d.sealed`, and a detached signature `m.sig`.
fn signed() -> Sandbox {
    let sandbox = Sandbox::with_keys();
    sandbox.write("m", b"model");
    std::fs::create_dir(sandbox.path("d")).unwrap();
    sandbox.write("d/w", b"weights");
    for input in ["m", "d"] {
        sandbox.ok(&["seal", input, "--to", "alice", "--sign", "publisher"]);
    }
    sandbox.ok(&["sign", "m", "--sign", "publisher"]);
    sandbox.ok(&["keys", "export", "publisher", "-o", "publisher.pub"]);
    sandbox
}

/// Every way in which a signature by the store's `publisher` is asked for.
const TRUSTING: [&[&str]; 8] = [
    &["verify", "m.sealed", "--signer", "publisher"],
    &["verify", "d.sealed", "--signer", "publisher"],
    &[
        "verify",
        "m",
        "--signature",
        "m.sig",
        "--signer",
        "publisher",
    ],
    &["open", "m.sealed", "-o", "out"],
    &["open", "d.sealed", "-o", "dir"],
    &["open", "m.sealed", "-o", "out", "--signer", "publisher"],
    &["rewrap", "m.sealed", "--to", "alice"],
    &["run", "--memory", "d.sealed", "--", "true"],
];

fn clear(sandbox: &Sandbox) {
    _ = std::fs::remove_file(sandbox.path("out"));
    _ = std::fs::remove_dir_all(sandbox.path("dir"));
}

#[test]
fn nothing_by_a_compromised_signer_is_accepted_whatever_its_date() {
    let sandbox = signed();
    for command in TRUSTING {
        sandbox.ok(command);
        clear(&sandbox);
    }
    sandbox.ok(&["keys", "retire", "publisher", "--compromised"]);
    for command in TRUSTING {
        sandbox.refused(command, 4, "is compromised");
        assert!(!sandbox.path("out").exists() && !sandbox.path("dir").exists());
    }
    sandbox.refused(
        &[
            "seal",
            "m",
            "--to",
            "alice",
            "--sign",
            "publisher",
            "-o",
            "x",
        ],
        4,
        "is compromised",
    );
    sandbox.refused(
        &["sign", "m", "--sign", "publisher", "-o", "x"],
        4,
        "is compromised",
    );
    sandbox.refused(
        &["keys", "retire", "publisher", "--superseded"],
        4,
        "cannot be undone",
    );
    assert!(sandbox.ok(&["keys", "list"]).contains("(compromised)"));
}

#[test]
fn a_superseded_signer_keeps_what_it_signed_before() {
    let sandbox = signed();
    sandbox.ok(&["keys", "retire", "publisher", "--superseded=2100-01-01"]);
    for command in TRUSTING.iter().filter(|command| command[1] != "m") {
        sandbox.ok(command);
        clear(&sandbox);
    }
    // Without a signed date it counts as later.
    sandbox.refused(TRUSTING[2], 4, "no signed date");
    sandbox.refused(
        &[
            "seal",
            "m",
            "--to",
            "alice",
            "--sign",
            "publisher",
            "-o",
            "x",
        ],
        4,
        "superseded",
    );
    sandbox.ok(&["keys", "retire", "publisher", "--superseded=2001-01-01"]);
    for command in TRUSTING.iter().filter(|command| command[1] != "m") {
        sandbox.refused(command, 4, "superseded when it was used");
    }
    sandbox.refused(
        &["keys", "retire", "publisher", "--superseded=soon"],
        2,
        "is not a date",
    );
}

#[test]
fn a_key_counts_from_when_to_when_its_validity_says() {
    let sandbox = signed();
    sandbox.ok(&[
        "keys",
        "retire",
        "publisher",
        "--valid-from",
        "2001-01-01",
        "--valid-until",
        "2100-01-01",
    ]);
    sandbox.ok(TRUSTING[0]);
    sandbox.ok(&["keys", "retire", "publisher", "--valid-until", "2002-01-01"]);
    sandbox.refused(TRUSTING[0], 4, "had expired when it was used");
    sandbox.refused(
        &[
            "seal",
            "m",
            "--to",
            "alice",
            "--sign",
            "publisher",
            "-o",
            "x",
        ],
        4,
        "was valid until",
    );
    sandbox.ok(&[
        "keys",
        "retire",
        "publisher",
        "--valid-from",
        "2099-01-01",
        "--valid-until",
        "2100-01-01",
    ]);
    sandbox.refused(TRUSTING[0], 4, "not yet valid");
    sandbox.refused(
        &[
            "seal",
            "m",
            "--to",
            "alice",
            "--sign",
            "publisher",
            "-o",
            "x",
        ],
        4,
        "is not valid before",
    );
    sandbox.ok(&["keys", "retire", "bob", "--superseded"]);
    sandbox.refused(
        &["seal", "m", "--to", "bob", "--sign", "publisher", "-o", "x"],
        4,
        "`bob` was superseded on",
    );
}

#[test]
fn a_successor_falls_with_the_key_that_named_it() {
    let sandbox = signed();
    let other = Sandbox::with_keys();
    other.ok(&["keys", "export", "publisher", "-o", "next.pub"]);
    sandbox.write("next.pub", &other.read("next.pub"));
    sandbox.ok(&[
        "keys",
        "import",
        "next.pub",
        "--name",
        "next",
        "--successor-of",
        "publisher",
    ]);
    sandbox.ok(&["keys", "export", "alice", "-o", "alice.pub"]);
    other.write("alice.pub", &sandbox.read("alice.pub"));
    other.write("n", b"next");
    other.ok(&["seal", "n", "--to", "./alice.pub", "--sign", "publisher"]);
    sandbox.write("n.sealed", &other.read("n.sealed"));
    let verify = ["verify", "n.sealed", "--signer", "next"];
    sandbox.ok(&verify);
    sandbox.ok(&["keys", "retire", "publisher", "--superseded"]);
    sandbox.ok(&verify);
    sandbox.ok(&["keys", "retire", "publisher", "--compromised"]);
    sandbox.refused(&verify, 4, "is compromised");
}

#[test]
fn a_trust_file_ends_keys_and_lists_what_counts_all_the_same() {
    let sandbox = signed();
    let digest_of = |command: &[&str]| {
        let seen = sandbox.ok(&[&["--json"], command].concat());
        text(&json(&seen), "message_sha384")
    };
    let digest = digest_of(TRUSTING[0]);
    let detached = digest_of(TRUSTING[2]);
    let old = "[[publisher]]\nkey = \"./publisher.pub\"\nroles = [\"model\"]\n";
    let trust = ["verify", "m.sealed", "--trust", "trust.toml"];
    let signature = [
        "verify",
        "m",
        "--signature",
        "m.sig",
        "--trust",
        "trust.toml",
    ];
    for (more, sealed, beside) in [
        ("", None, None),
        ("valid_from = 2001-01-01\n", None, None),
        (
            "valid_until = 2100-01-01T00:00:00Z\n",
            None,
            Some("no signed date"),
        ),
        (
            "valid_until = 2002-01-01\n",
            Some("had expired when it was used"),
            Some("no signed date"),
        ),
        (
            "superseded = 2002-01-01\n",
            Some("superseded"),
            Some("no signed date"),
        ),
        ("superseded = 2100-01-01\n", None, Some("no signed date")),
        (
            "compromised = true\n",
            Some("is compromised"),
            Some("is compromised"),
        ),
        (
            &format!("compromised = true\naccept = [\"{digest}\"]\n"),
            None,
            Some("is compromised"),
        ),
        (
            &format!("compromised = true\naccept = [\"{detached}\"]\n"),
            Some("is compromised"),
            None,
        ),
        // One entry says that the key ended, another does not.
        (
            "\n[[publisher]]\nkey = \"publisher\"\nroles = [\"other\"]\ncompromised = true\n",
            Some("is compromised"),
            Some("is compromised"),
        ),
    ] {
        sandbox.write("trust.toml", format!("{old}{more}").as_bytes());
        for (command, refused) in [(&trust[..], sealed), (&signature, beside)] {
            match refused {
                None => _ = sandbox.ok(command),
                Some(words) => sandbox.refused(command, 4, words),
            }
        }
    }
}

#[test]
fn a_trust_file_that_contradicts_itself_is_refused() {
    let sandbox = signed();
    let old = "[[publisher]]\nkey = \"./publisher.pub\"\nroles = [\"model\"]\n";
    let trust = ["verify", "m.sealed", "--trust", "trust.toml"];
    for (more, words) in [
        (
            "superseded = 2002-01-01\ncompromised = true\n",
            "both superseded and compromised",
        ),
        ("valid_from = 12:00:00\n", "a date must have the form"),
        ("accept = [\"00\"]\n", "96 hex digits"),
        ("successor_of = \"publisher\"\n", "64 digits"),
        ("until = 2002-01-01\n", "unknown field"),
    ] {
        sandbox.write("trust.toml", format!("{old}{more}").as_bytes());
        sandbox.refused(&trust, 2, words);
    }
}

#[test]
fn a_key_is_removed_and_a_private_one_only_in_words() {
    let sandbox = signed();
    let vendor = Sandbox::with_keys();
    vendor.write("publisher.pub", &sandbox.read("publisher.pub"));
    vendor.ok(&["keys", "import", "publisher.pub", "--name", "vendor"]);
    vendor.ok(&["keys", "remove", "vendor"]);
    vendor.refused(&["keys", "remove", "vendor"], 2, "no key `vendor`");
    sandbox.refused(&["keys", "remove", "bob"], 4, "cannot be undone");
    sandbox.ok(&["keys", "show", "bob"]);
    sandbox.ok(&["keys", "remove", "bob", "--destroy"]);
    sandbox.refused(&["keys", "show", "bob"], 2, "no key `bob`");
    sandbox.ok(&["open", "m.sealed", "-o", "out"]);
}

#[test]
fn a_new_passphrase_opens_the_store_and_the_old_one_does_not() {
    let sandbox = signed();
    sandbox.write("new", b"a longer horse\n");
    sandbox.refused(
        &["keys", "passwd", "--new-passphrase-file", "short"],
        3,
        "cannot read short",
    );
    sandbox.write("short", b"short");
    sandbox.refused(
        &["keys", "passwd", "--new-passphrase-file", "short"],
        2,
        "shorter than 8",
    );
    sandbox.ok(&["keys", "passwd", "--new-passphrase-file", "new"]);
    sandbox.refused(&["keys", "list"], 4, "wrong passphrase");
    let with = |file: &'static str, more: &[&'static str]| {
        let mut command = vec!["--passphrase-file", file];
        command.extend(more);
        sandbox.run(&command)
    };
    assert_eq!(with("new", &["keys", "list"]).code, 0);
    let said = with(
        "new",
        &[
            "keys",
            "passwd",
            "--random-key",
            "--new-passphrase-file",
            "key",
            "--compromised",
        ],
    );
    assert_eq!(said.code, 0, "{said:?}");
    for name in ["alice (key ", "bob (key ", "publisher (key "] {
        assert!(said.err.contains(name), "{said:?}");
    }
    assert_eq!(with("new", &["keys", "list"]).code, 4);
    assert_eq!(with("key", &["open", "m.sealed", "-o", "out"]).code, 0);
    assert_eq!(sandbox.read("out"), b"model");
    // A file that is there may hold what opens something else.
    assert_eq!(
        with(
            "key",
            &[
                "keys",
                "passwd",
                "--random-key",
                "--new-passphrase-file",
                "new"
            ]
        )
        .code,
        2
    );
    assert_eq!(with("key", &["keys", "list"]).code, 0);
}

#[test]
fn errors_repeat_little_of_a_file() {
    let sandbox = signed();
    let long = "x".repeat(60_000);
    for content in [
        format!("{long} = 1"),
        format!("a = \"{long}\""),
        format!("[[publisher]]\nkey = \"{long}\"\nroles = [\"model\"]"),
        format!("[[publisher]]\nkey = \"./publisher.pub\"\nroles = [\"{long}\"]"),
        format!(
            "name = \"{long}\"\ndescription = \"\"\nkem = [\"{long}\"]\nsignature = []\ntls = []\nhash = \"blake3\""
        ),
        long.clone(),
    ] {
        sandbox.write("f.toml", content.as_bytes());
        for command in [
            &["verify", "m.sealed", "--trust", "f.toml"][..],
            &["gateway", "--config", "f.toml"],
            &[
                "keys", "generate", "--name", "k", "--kind", "kem", "--policy", "./f.toml",
            ],
            &["verify", "m.sealed", "--signer", "./f.toml"],
            &["verify", "m.sealed", "--signer", &content],
        ] {
            let said = sandbox.run(command);
            assert_ne!(said.code, 0, "{command:?}");
            assert!(
                said.err.len() < 5_000,
                "{} bytes: {}",
                said.err.len(),
                said.err
            );
        }
    }
}

#[test]
fn what_an_argument_holds_does_not_drive_the_terminal() {
    let sandbox = Sandbox::empty();
    for bad in ["gpj.\u{202e}exe", "a\u{1b}[2Jb", "a\u{9b}2Jb"] {
        for command in [
            &[bad][..],
            &["keys", bad],
            &["keys", "generate", "--kind", bad],
            &["keys", "show", bad],
            &["verify", bad, "--signer", "x"],
            &["seal", bad, "--to", "x"],
        ] {
            let said = sandbox.run(command);
            assert_ne!(said.code, 0);
            let shown = said.out + &said.err;
            assert!(
                !shown.contains(['\u{202e}', '\u{1b}', '\u{9b}']),
                "{shown:?}"
            );
        }
    }
    let said = sandbox.run(&["AGE-SECRET-KEY-PQ-1QQQQ", "--nonsense"]);
    assert!(!said.err.contains("QQQQ"), "{said:?}");
    assert_eq!(sandbox.run(&["--version"]).code, 0);
    assert!(sandbox.run(&["--help"]).out.contains("Usage"));
}
