//! `seal`, `open`, `verify`, `inspect` and `rewrap` on folders.

use std::fs;

use serde_json::Value;

use crate::support::Sandbox;

/// A model folder with a cache that nobody wants and a link into it.
fn model() -> Sandbox {
    let sandbox = Sandbox::with_keys();
    fs::create_dir_all(sandbox.path("m/.cache")).unwrap();
    fs::create_dir_all(sandbox.path("m/onnx")).unwrap();
    sandbox.write("m/config.json", b"{\"layers\": 2}");
    sandbox.write("m/model.safetensors", &vec![7; 200_000]);
    sandbox.write("m/onnx/model.onnx", &vec![9; 70_000]);
    sandbox.write("m/.cache/lock", b"x");
    sandbox.write("m/notes.tmp", b"x");
    sandbox.write("m/.casemateignore", b"*.tmp\n");
    sandbox
}

const SEAL: [&str; 8] = [
    "seal",
    "m",
    "--to",
    "alice",
    "--sign",
    "publisher",
    "--exclude",
    ".cache/",
];

fn json(sandbox: &Sandbox, arguments: &[&str]) -> Value {
    let arguments = [arguments, &["--json"]].concat();
    serde_json::from_str(&sandbox.ok(&arguments)).unwrap()
}

#[test]
fn a_folder_is_not_sealed_into_itself() {
    let sandbox = model();
    for output in ["m/m.sealed", "m", "./m/onnx/x", "m/../m/x"] {
        let refused = sandbox.run(&[&SEAL[..], &["-o", output]].concat());
        assert_eq!(refused.code, 2, "{refused:?}");
    }
    sandbox.refused(
        &[&SEAL[..], &["-o", "m/x"]].concat(),
        2,
        "m/x is inside the input, m",
    );
    let here = [&["seal", "."], &SEAL[2..]].concat();
    sandbox.refused(&here, 2, "is inside the input, .");
    sandbox.ok(&[&SEAL[..], &["-o", "mm"]].concat());
    sandbox.refused(
        &["open", "mm", "-o", "mm/out"],
        2,
        "mm/out is inside the input, mm",
    );
    sandbox.ok(&["open", "mm", "-o", "mmm"]);
}

#[test]
fn a_change_that_cannot_be_made_leaves_no_journal() {
    let sandbox = model();
    sandbox.ok(&SEAL);
    for change in [&["--to", "bob", "--to", "bob"][..], &["--remove", "alice"]] {
        let refused = sandbox.run(&[&["rewrap", "m.sealed"], change].concat());
        assert_eq!(refused.code, 2, "{refused:?}");
        let mut names = fs::read_dir(sandbox.path("m.sealed"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        assert!(names.all(|name| name != ".casemate-rewrap"), "{refused:?}");
    }
    // Nothing was begun that another command would take for its own.
    let stranger = ["rewrap", "m.sealed", "--remove", "bob"];
    sandbox.refused(&stranger, 2, "not a recipient");
}

#[test]
fn a_folder_is_sealed_listed_verified_opened_and_rewrapped() {
    let sandbox = model();
    let sealed = json(&sandbox, &SEAL);
    assert_eq!(sealed["schema"], "casemate.sealed-folder/1");
    assert_eq!(
        (&sealed["files"], &sealed["revision"]),
        (&3.into(), &1.into())
    );
    let seen = json(&sandbox, &["inspect", "m.sealed"]);
    let files = seen["folder"]["files"].as_array().unwrap();
    let paths: Vec<_> = files
        .iter()
        .map(|file| file["path"].as_str().unwrap())
        .collect();
    assert_eq!(
        paths,
        ["config.json", "model.safetensors", "onnx/model.onnx"]
    );
    sandbox.ok(&["verify", "m.sealed", "--signer", "publisher"]);
    sandbox.ok(&["open", "m.sealed/", "-o", "copy"]);
    for path in paths {
        assert_eq!(
            sandbox.read(&format!("copy/{path}")),
            sandbox.read(&format!("m/{path}"))
        );
    }
    assert!(!sandbox.path("copy/notes.tmp").exists() && !sandbox.path("copy/.cache").exists());
    // One file alone, as any other artifact.
    sandbox.ok(&["open", "m.sealed/config.json.sealed", "-o", "config"]);
    assert_eq!(sandbox.read("config"), sandbox.read("m/config.json"));

    let done = json(&sandbox, &["rewrap", "m.sealed", "--add", "bob"]);
    assert_eq!(
        (&done["changed"], &done["recipients_after"]),
        (&4.into(), &2.into())
    );
    let done = json(&sandbox, &["rewrap", "m.sealed", "--add", "bob"]);
    assert_eq!((&done["changed"], &done["skipped"]), (&0.into(), &4.into()));
    sandbox.ok(&["rewrap", "m.sealed", "--remove", "alice"]);
    sandbox.ok(&["verify", "m.sealed", "--signer", "publisher"]);
    let refused = sandbox.run(&["rewrap", "m.sealed", "--remove", "alice"]);
    assert_eq!(refused.code, 2);
    assert!(
        refused.err.contains("is not a recipient"),
        "{}",
        refused.err
    );
}

#[test]
fn the_next_version_takes_over_what_did_not_change() {
    let sandbox = model();
    sandbox.ok(&SEAL);
    sandbox.write("m/config.json", b"{\"layers\": 3}");
    let next = [&SEAL[..], &["--since", "m.sealed", "-o", "next"]].concat();
    let sealed = json(&sandbox, &next);
    assert_eq!(
        (&sealed["unchanged"], &sealed["revision"]),
        (&2.into(), &2.into())
    );
    sandbox.ok(&[
        "verify",
        "next",
        "--signer",
        "publisher",
        "--min-revision",
        "2",
    ]);
    let refused = sandbox.run(&["open", "m.sealed", "-o", "old", "--min-revision", "2"]);
    assert_eq!(refused.code, 1);
    assert!(
        refused.err.contains("revision 1 is older"),
        "{}",
        refused.err
    );
    assert!(!sandbox.path("old").exists());

    // In the place of the version before, in one step.
    let again = [&SEAL[..], &["--since", "next", "-o", "next", "--force"]].concat();
    let said = sandbox.run(&[&again[..], &["--json"]].concat());
    let sealed: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(sealed["revision"], 3);
    let starts_again = "starts again at revision 1";
    assert!(!said.err.contains(starts_again), "{}", said.err);
    sandbox.ok(&[
        "verify",
        "next",
        "--signer",
        "publisher",
        "--min-revision",
        "3",
    ]);
    let said = sandbox.run(&[&SEAL[..], &["-o", "next", "--force"]].concat());
    assert!(
        said.code == 0 && said.err.contains(starts_again),
        "{said:?}"
    );
    let left = fs::read_dir(sandbox.folder.path()).unwrap();
    let hidden: Vec<_> = left
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains(".part"))
        .collect();
    assert_eq!(hidden, Vec::<String>::new());
}

#[test]
fn a_folder_that_was_changed_is_refused_with_its_reason_and_code() {
    let sandbox = model();
    sandbox.ok(&SEAL);
    let verify = || sandbox.run(&["verify", "m.sealed", "--signer", "publisher"]);
    sandbox.write("m.sealed/extra.bin", b"x");
    let refused = verify();
    assert_eq!(refused.code, 1);
    assert!(
        refused.err.contains("extra.bin does not belong"),
        "{}",
        refused.err
    );
    fs::remove_file(sandbox.path("m.sealed/extra.bin")).unwrap();
    assert_eq!(verify().code, 0);

    let shard = sandbox.path("m.sealed/model.safetensors.sealed");
    let mut bytes = fs::read(&shard).unwrap();
    bytes[100] ^= 1;
    fs::write(&shard, bytes).unwrap();
    let refused = verify();
    assert_eq!(refused.code, 1);
    assert!(
        refused.err.contains("model.safetensors: "),
        "{}",
        refused.err
    );
    let refused = sandbox.run(&["open", "m.sealed", "-o", "copy"]);
    assert_eq!(refused.code, 1);
    assert!(!sandbox.path("copy").exists());
}

#[test]
fn wrong_use_is_named() {
    let sandbox = model();
    std::os::unix::fs::symlink("config.json", sandbox.path("m/link.json")).unwrap();
    let refused = sandbox.run(&SEAL);
    assert!(refused.err.contains("--follow-links"), "{}", refused.err);
    let followed = [&SEAL[..], &["--follow-links"]].concat();
    assert_eq!(json(&sandbox, &followed)["files"], 4);
    for (arguments, expected) in [
        (
            &["seal", "m.sealed", "--to", "alice"][..],
            "is already sealed",
        ),
        (&["open", "m", "-o", "x"], "is not a sealed folder"),
        (
            &["open", "m.sealed", "-o", "-"],
            "cannot write a folder to standard output",
        ),
        (
            &[
                "seal",
                "m/config.json",
                "--to",
                "alice",
                "--since",
                "m.sealed",
            ],
            "is not a folder",
        ),
        (
            &["seal", "m", "--to", "alice", "--exclude", "*"],
            "no files to seal",
        ),
        (
            &["seal", "m", "--to", "alice", "--content-type", "model/onnx"],
            "are for single files",
        ),
        (&["rewrap", "m.sealed"], "--to"),
        (
            &["rewrap", "m.sealed", "--to", "bob", "--add", "bob"],
            "cannot be used with",
        ),
    ] {
        let refused = sandbox.run(arguments);
        assert!(refused.code > 0, "{arguments:?}");
        assert!(
            refused.err.contains(expected),
            "{arguments:?}: {}",
            refused.err
        );
    }
}

#[test]
fn a_folder_is_verified_without_a_key() {
    let sandbox = Sandbox::with_keys();
    fs::create_dir(sandbox.path("tree")).unwrap();
    for name in ["tree/a", "tree/b"] {
        sandbox.write(name, name.as_bytes());
    }
    sandbox.ok(&["seal", "tree", "--to", "alice", "--sign", "publisher"]);
    sandbox.ok(&["keys", "export", "publisher", "-o", "publisher.pub"]);
    let verify = |more: &[&str]| {
        let start = [
            "--home",
            "nobody",
            "verify",
            "tree.sealed",
            "--signer",
            "./publisher.pub",
        ];
        sandbox.run(&[&start[..], more].concat())
    };
    let said = verify(&["--json"]);
    let seen: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(
        (&seen["files"], &seen["opened"]),
        (&2.into(), &false.into()),
        "{said:?}"
    );
    assert_eq!(verify(&["--min-revision", "1"]).code, 2);
    let seen: Value = serde_json::from_str(&sandbox.ok(&[
        "verify",
        "tree.sealed",
        "--signer",
        "publisher",
        "--json",
    ]))
    .unwrap();
    assert_eq!(seen["opened"], true);

    let a = sandbox.path("tree.sealed/a.sealed");
    let good = fs::read(&a).unwrap();
    let mut bent = good.clone();
    bent[80] ^= 1;
    fs::write(&a, &bent).unwrap();
    let said = verify(&[]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("segment 0 was changed"), "{said:?}");
    fs::copy(sandbox.path("tree.sealed/b.sealed"), &a).unwrap();
    let said = verify(&[]);
    assert!(said.err.contains("its header differs"), "{said:?}");
    fs::remove_file(&a).unwrap();
    let said = verify(&[]);
    assert!(said.err.contains("a is missing"), "{said:?}");
    fs::write(&a, &good).unwrap();
    sandbox.write("tree.sealed/c.sealed", b"more");
    let said = verify(&[]);
    assert!(said.err.contains("c.sealed does not belong"), "{said:?}");
}

#[test]
fn who_has_keys_checks_less_only_if_asked() {
    let sandbox = Sandbox::with_keys();
    fs::create_dir(sandbox.path("tree")).unwrap();
    sandbox.write("tree/a", b"a");
    sandbox.ok(&["seal", "tree", "--to", "alice", "--sign", "publisher"]);
    let asked = [
        "verify",
        "tree.sealed",
        "--signer",
        "publisher",
        "--without-key",
    ];
    assert!(sandbox.ok(&asked).contains("without a key"));
    // Who has keys is not led to check less by a list of recipients.
    sandbox.ok(&[
        "seal",
        "tree",
        "--to",
        "bob",
        "--sign",
        "publisher",
        "-o",
        "bobs",
    ]);
    let bobs = ["verify", "bobs", "--signer", "publisher"];
    sandbox.ok(&bobs);
    sandbox.ok(&["keys", "remove", "bob", "--destroy"]);
    sandbox.refused(&bobs, 4, "not sealed to key");
}

#[test]
fn a_file_that_others_could_open_is_sealed_anew() {
    let sandbox = Sandbox::with_keys();
    fs::create_dir(sandbox.path("tree")).unwrap();
    sandbox.write("tree/a", b"a");
    let seal = |to: &[&str], since: &str, output: &str| -> u64 {
        let mut arguments = vec![
            "seal",
            "tree",
            "--sign",
            "publisher",
            "--json",
            "-o",
            output,
        ];
        arguments.extend(to.iter().flat_map(|name| ["--to", name]));
        if !since.is_empty() {
            arguments.extend(["--since", since]);
        }
        let seen: Value = serde_json::from_str(&sandbox.ok(&arguments)).unwrap();
        seen["unchanged"].as_u64().unwrap()
    };
    assert_eq!(seal(&["alice"], "", "one"), 0);
    // One more recipient: the artifact is taken over and rewrapped.
    assert_eq!(seal(&["alice", "bob"], "one", "two"), 1);
    // Whoever the version was made for has had the key, whoever was removed since.
    sandbox.ok(&["rewrap", "two", "--remove", "bob"]);
    assert_eq!(seal(&["alice"], "two", "three"), 0);
    sandbox.ok(&["rewrap", "three", "--to", "bob"]);
    assert_eq!(seal(&["alice", "bob"], "three", "four"), 1);
    // Who came by a rewrap counts as well.
    sandbox.ok(&["rewrap", "four", "--to", "alice", "--to", "bob"]);
    assert_eq!(seal(&["bob"], "four", "five"), 0);
}

/// Two revisions of a folder, and the newer one opened once.
fn two_versions() -> Sandbox {
    let sandbox = Sandbox::with_keys();
    fs::create_dir(sandbox.path("tree")).unwrap();
    sandbox.write("tree/a", b"one");
    let seal = ["seal", "tree", "--to", "alice", "--sign", "publisher"];
    sandbox.ok(&[&seal[..], &["-o", "one"]].concat());
    sandbox.write("tree/a", b"two");
    sandbox.ok(&[&seal[..], &["-o", "two", "--since", "one"]].concat());
    sandbox.ok(&["open", "two", "-o", "out", "--force"]);
    sandbox
}

#[test]
fn an_older_version_than_one_seen_before_is_refused() {
    let sandbox = two_versions();
    let older = "revision 1 is older than revision 2, which was already seen";
    sandbox.refused(&["open", "one", "-o", "out", "--force"], 1, older);
    let verify = ["verify", "one", "--signer", "publisher"];
    sandbox.refused(&verify, 1, older);
    sandbox.ok(&[&verify[..], &["--min-revision", "1"]].concat());
    // Having been accepted does not make it the newest.
    sandbox.refused(&verify, 1, older);
    sandbox.ok(&["verify", "two", "--signer", "publisher"]);
    // Who does not know the publisher knows no order either.
    sandbox.ok(&[
        "open",
        "one",
        "-o",
        "out",
        "--force",
        "--allow-unknown-signer",
    ]);

    sandbox.ok(&[
        "seal",
        "tree",
        "--to",
        "alice",
        "--sign",
        "publisher",
        "-o",
        "other",
    ]);
    fs::remove_dir_all(sandbox.path("two")).unwrap();
    fs::rename(sandbox.path("other"), sandbox.path("two")).unwrap();
    let said = sandbox.run(&["verify", "two", "--signer", "publisher"]);
    assert!(
        said.code == 0 && said.err.contains("a different folder was here before"),
        "{said:?}"
    );

    let seen = fs::read_dir(sandbox.path("")).unwrap().find_map(|entry| {
        let file = entry.unwrap().path().join("seen.json");
        file.exists().then_some(file)
    });
    let seen = seen.unwrap();
    let verify = ["verify", "two", "--signer", "publisher"];
    fs::write(&seen, b"{").unwrap();
    let said = sandbox.run(&verify);
    assert!(
        said.code == 0 && said.err.contains("it is damaged"),
        "{said:?}"
    );
    fs::remove_file(&seen).unwrap();
    fs::create_dir(&seen).unwrap();
    let said = sandbox.run(&verify);
    assert!(
        said.code == 0 && said.err.contains("cannot be detected"),
        "{said:?}"
    );
}

#[test]
fn one_revision_is_one_version() {
    let sandbox = two_versions();
    sandbox.write("tree/a", b"another two");
    let seal = ["seal", "tree", "--to", "alice", "--sign", "publisher"];
    let from = ["--since", "one", "--min-revision", "1", "-o", "again"];
    let said = sandbox.run(&[&seal[..], &from].concat());
    assert!(
        said.code == 0
            && said
                .err
                .contains("anyone who has seen revision 2 will refuse it"),
        "{said:?}"
    );
    sandbox.ok(&["verify", "again", "--signer", "publisher"]);
    let other = "a different revision 2 was already seen on this machine";
    sandbox.refused(&["verify", "two", "--signer", "publisher"], 1, other);
}

#[test]
fn a_version_ends_when_its_publisher_says() {
    let sandbox = Sandbox::with_keys();
    fs::create_dir(sandbox.path("tree")).unwrap();
    sandbox.write("tree/a", b"one");
    let seal = ["seal", "tree", "--to", "alice", "--sign", "publisher"];
    sandbox.ok(&[&seal[..], &["-o", "ended", "--expires", "2020-01-01"]].concat());
    sandbox.ok(&[&seal[..], &["-o", "good", "--expires", "2999-01-01"]].concat());
    let said = sandbox.run(&["open", "ended", "-o", "out"]);
    assert!(
        said.code == 0 && said.err.contains("expired on Wed, 01 Jan 2020"),
        "{said:?}"
    );
    let policy = fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../casemate-crypto/policies/hybrid.toml"
    ));
    let strict = policy
        .unwrap()
        .replace("hash =", "expired = \"refuse\"\nhash =");
    sandbox.write("strict.toml", strict.as_bytes());
    let open = |path| {
        [
            "--policy",
            "./strict.toml",
            "open",
            path,
            "-o",
            "out",
            "--force",
        ]
    };
    sandbox.refused(&open("ended"), 4, "expired on Wed, 01 Jan 2020");
    sandbox.ok(&open("good"));
    sandbox.write("plain", b"x");
    let single = [
        "seal",
        "plain",
        "--to",
        "alice",
        "--sign",
        "publisher",
        "--expires",
        "2999-01-01",
    ];
    sandbox.refused(&single, 2, "is not a folder");
}

#[test]
fn an_unsigned_folder_gets_a_next_version() {
    let sandbox = Sandbox::with_keys();
    fs::create_dir(sandbox.path("tree")).unwrap();
    sandbox.write("tree/a", b"one");
    sandbox.ok(&["seal", "tree", "--to", "alice", "-o", "one"]);
    let next = [
        "seal", "tree", "--to", "alice", "-o", "two", "--since", "one",
    ];
    let said = sandbox.run(&next);
    assert!(
        said.code == 0 && said.err.contains("the previous version is not signed"),
        "{said:?}"
    );
    let seen: Value = serde_json::from_str(&sandbox.ok(&["inspect", "two", "--json"])).unwrap();
    assert_eq!(seen["folder"]["revision"], 2);
    // Who signs stands for what was before, so somebody has to have signed that.
    let signed = [
        "seal",
        "tree",
        "--to",
        "alice",
        "--sign",
        "publisher",
        "-o",
        "three",
        "--since",
        "one",
    ];
    sandbox.refused(&signed, 1, "the artifact is not signed");
}
