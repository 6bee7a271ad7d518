//! `verify --lineage`: what a model was trained on.

use serde_json::{Value, json};

use crate::support::Sandbox;

const SIGNED: [&str; 4] = ["--to", "alice", "--sign", "publisher"];
const LINEAGE: &str = "m/casemate-lineage.json";

/// A sealed data set, sealed code, and a model that was trained on both and on plaintext.
fn trained() -> Sandbox {
    let sandbox = Sandbox::with_keys();
    for folder in ["m", "data", "src/lib"] {
        std::fs::create_dir_all(sandbox.path(folder)).unwrap();
    }
    sandbox.write("data/train.csv", &vec![b'7'; 100_000]);
    sandbox.write("code", b"print('train')");
    sandbox.write("src/lib/a.py", b"a");
    sandbox.write("src/lib-b.py", b"b");
    sandbox.write("m/model.safetensors", &vec![7; 200_000]);
    seal(&sandbox, "data");
    seal(&sandbox, "code");
    let sources = json!([
        source(&sandbox, "data", "digits", "data.sealed"),
        source(&sandbox, "code", "trainer", "code.sealed"),
        source(&sandbox, "code", "library", "src"),
    ]);
    state(&sandbox, &json!({ "step": 1200, "sources": sources }));
    sandbox
}

fn seal(sandbox: &Sandbox, what: &str) {
    sandbox.ok(&[&["seal", what, "--force"], &SIGNED[..]].concat());
}

/// Seals a model with this statement.
fn state(sandbox: &Sandbox, statement: &Value) {
    let statement = with(statement, "casemate-lineage", json!(1));
    sandbox.write(LINEAGE, statement.to_string().as_bytes());
    seal(sandbox, "m");
}

/// An object with one more field, or another value of one.
fn with(object: &Value, name: &str, value: Value) -> Value {
    let mut changed = object.clone();
    changed
        .as_object_mut()
        .unwrap()
        .insert(name.to_owned(), value);
    changed
}

const VERIFY: [&str; 5] = ["verify", "m.sealed", "--signer", "publisher", "--lineage"];

/// The reference of a source, from the fault that says what was found.
fn source(sandbox: &Sandbox, role: &str, name: &str, place: &str) -> Value {
    state(sandbox, &json!({ "sources": [] }));
    let refused = sandbox.run(&[&VERIFY[..], &["--source", place]].concat());
    assert_eq!(refused.code, 1, "{refused:?}");
    let text = format!("{refused:?}");
    let (_, found) = text.split_once("found ").unwrap();
    let words: Vec<_> = found
        .split([' ', ',', '\\', '"'])
        .filter(|word| !word.is_empty())
        .collect();
    let hex = |text: &str| {
        text.chars()
            .take_while(char::is_ascii_hexdigit)
            .collect::<String>()
    };
    match words[..] {
        ["folder", id, "revision", revision, "root", root, ..] => {
            let revision: u64 = revision.parse().unwrap();
            json!({ "role": role, "name": name, "folder": id, "revision": revision, "root": hex(root) })
        }
        ["artifact", id, "root", root, ..] => {
            json!({ "role": role, "name": name, "artifact": id, "root": hex(root) })
        }
        ["files", "sha384", digest, ..] => {
            json!({ "role": role, "name": name, "sha384": hex(digest) })
        }
        _ => panic!("{text}"),
    }
}

#[test]
fn a_model_names_what_it_was_trained_on() {
    let sandbox = trained();
    let shown = sandbox.ok(&VERIFY);
    assert!(shown.contains("step 1200"), "{shown}");
    assert!(shown.contains("data `digits`: folder "), "{shown}");
    assert!(
        shown.contains("as stated; compare it with --source"),
        "{shown}"
    );
    let given = [
        "--source",
        "data.sealed",
        "--source",
        "code.sealed",
        "--source",
        "./src",
    ];
    let shown = sandbox.ok(&[&VERIFY[..], &given].concat());
    for place in ["data.sealed", "code.sealed", "./src"] {
        assert!(shown.contains(&format!("(verified in {place})")), "{shown}");
    }
    let found: Value =
        serde_json::from_str(&sandbox.ok(&[&VERIFY[..], &given, &["--json"]].concat())).unwrap();
    assert_eq!(found["lineage"]["step"], 1200);
    assert_eq!(found["lineage"]["sources"][0]["verified"], "data.sealed");
    // Other recipients, the same content.
    sandbox.ok(&["rewrap", "data.sealed", "--add", "bob"]);
    sandbox.ok(&[&VERIFY[..], &given].concat());
    // The digest of a folder is what coreutils print.
    let printed = std::process::Command::new("sh")
        .args([
            "-c",
            "find . -type f -printf '%P\\0' | LC_ALL=C sort -z | xargs -0 sha384sum | sha384sum",
        ])
        .current_dir(sandbox.path("src"))
        .output()
        .unwrap();
    let printed = String::from_utf8(printed.stdout).unwrap();
    let stated = found["lineage"]["sources"][2]["reference"]
        .as_str()
        .unwrap();
    assert_eq!(stated, format!("files, sha384 {}", &printed[..96]));
}

#[test]
fn data_that_was_exchanged_is_found() {
    let sandbox = trained();
    let data = [&VERIFY[..], &["--source", "data.sealed"]].concat();
    sandbox.ok(&data);
    // A later version of the same folder, by the same publisher.
    sandbox.write("data/train.csv", &vec![b'8'; 100_000]);
    sandbox.ok(&[
        &[
            "seal",
            "data",
            "--since",
            "data.sealed",
            "-o",
            "next.sealed",
        ],
        &SIGNED[..],
    ]
    .concat());
    let next = [&VERIFY[..], &["--source", "next.sealed"]].concat();
    sandbox.refused(
        &next,
        1,
        "next.sealed is not what the model was trained on: data `digits` was folder",
    );
    // Another folder altogether, other code, and plaintext that changed.
    seal(&sandbox, "data");
    sandbox.refused(
        &data,
        1,
        "data.sealed is not among the sources of the model",
    );
    sandbox.write("code", b"print('other')");
    seal(&sandbox, "code");
    sandbox.refused(
        &[&VERIFY[..], &["--source", "code.sealed"]].concat(),
        1,
        "not among the sources",
    );
    sandbox.write("src/lib/a.py", b"c");
    sandbox.refused(
        &[&VERIFY[..], &["--source", "src"]].concat(),
        1,
        "found files, sha384",
    );
    std::os::unix::fs::symlink("lib-b.py", sandbox.path("src/link")).unwrap();
    sandbox.refused(
        &[&VERIFY[..], &["--source", "src"]].concat(),
        2,
        "it is a link or a special file",
    );
}

#[test]
fn a_damaged_source_is_refused() {
    let sandbox = trained();
    let file = sandbox.path("data.sealed/train.csv.sealed");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[50_000] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let refused = sandbox.run(&[&VERIFY[..], &["--source", "data.sealed"]].concat());
    assert_eq!(refused.code, 1, "{refused:?}");
}

#[test]
fn statements_that_break_a_rule_are_refused() {
    let sandbox = Sandbox::with_keys();
    std::fs::create_dir(sandbox.path("m")).unwrap();
    sandbox.write("m/model", b"m");
    seal(&sandbox, "m");
    sandbox.refused(&VERIFY, 1, "m.sealed does not say what it came from");
    let (id, root) = ("a".repeat(32), "b".repeat(64));
    let folder = json!({ "role": "data", "name": "d", "folder": id, "revision": 1, "root": root });
    state(
        &sandbox,
        &json!({ "sources": [folder], "parent": { "folder": id, "revision": 4, "root": root } }),
    );
    let shown = sandbox.ok(&VERIFY);
    assert!(shown.contains("went on from folder aaaa"), "{shown}");
    let with = |name, value| json!({ "sources": [with(&folder, name, value)] });
    for (statement, rule) in [
        (json!({ "sources": [], "more": 1 }), "unknown field `more`"),
        (json!({ "sources": [], "step": -1 }), "invalid value"),
        (
            json!({ "sources": [], "step": 1u64 << 53 }),
            "a number is too large",
        ),
        (json!({}), "missing field `sources`"),
        (
            with("role", json!("Data")),
            "a role or a name that is not allowed",
        ),
        (
            with("role", json!("")),
            "a role or a name that is not allowed",
        ),
        (
            with("name", json!("a\nb")),
            "a role or a name that is not allowed",
        ),
        (
            with("name", json!("x".repeat(257))),
            "a role or a name that is not allowed",
        ),
        (
            with("folder", json!("A".repeat(32))),
            "an id, a revision or a root that is not one",
        ),
        (
            with("revision", json!(0)),
            "an id, a revision or a root that is not one",
        ),
        (
            with("root", json!("b".repeat(65))),
            "an id, a revision or a root that is not one",
        ),
        (
            with("sha384", json!("b".repeat(96))),
            "neither a folder, an artifact, nor files",
        ),
        (
            json!({ "sources": vec![folder.clone(); 1025] }),
            "more than 1,024 sources",
        ),
    ] {
        state(&sandbox, &statement);
        sandbox.refused(&VERIFY, 1, rule);
    }
}

#[test]
fn files_that_are_no_statements_are_refused() {
    let sandbox = Sandbox::with_keys();
    std::fs::create_dir(sandbox.path("m")).unwrap();
    sandbox.write("m/model", b"m");
    sandbox.write(LINEAGE, br#"{"casemate-lineage": 2, "sources": []}"#);
    seal(&sandbox, "m");
    sandbox.refused(&VERIFY, 1, "another version than 1");
    let twice = br#"{"casemate-lineage": 1, "sources": [], "step": 1, "step": 2}"#;
    sandbox.write(LINEAGE, twice);
    seal(&sandbox, "m");
    sandbox.refused(&VERIFY, 1, "duplicate field `step`");
    sandbox.write(LINEAGE, &vec![b' '; (1 << 20) + 1]);
    seal(&sandbox, "m");
    let refused = sandbox.run(&VERIFY);
    assert_eq!(refused.code, 1, "{refused:?}");
    sandbox.ok(&[
        "seal",
        "m/model",
        "--to",
        "alice",
        "--sign",
        "publisher",
        "-o",
        "f.sealed",
    ]);
    let file = ["verify", "f.sealed", "--signer", "publisher", "--lineage"];
    sandbox.refused(&file, 2, "--lineage is for folders");
}
