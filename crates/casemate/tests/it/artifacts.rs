//! `casemate seal`, `open`, `verify`, `inspect`, `rewrap` on good and on bad input.

use serde_json::Value;

use crate::support::Sandbox;

fn sealed() -> Sandbox {
    let sandbox = Sandbox::with_keys();
    sandbox.write("model", &vec![7; 200_000]);
    sandbox.ok(&[
        "seal",
        "model",
        "--to",
        "alice",
        "--sign",
        "publisher",
        "--segment-size",
        "64k",
    ]);
    sandbox.ok(&["keys", "export", "publisher", "-o", "publisher.pub"]);
    sandbox
}

#[test]
fn a_file_is_sealed_inspected_verified_opened_and_rewrapped() {
    let sandbox = sealed();
    let seen: Value =
        serde_json::from_str(&sandbox.ok(&["inspect", "model.sealed", "--json"])).unwrap();
    assert_eq!(seen["schema"], "casemate.artifact/1");
    assert_eq!(
        (&seen["content_bytes"], &seen["segments"]),
        (&200_000.into(), &4.into())
    );
    sandbox.ok(&["verify", "model.sealed", "--signer", "./publisher.pub"]);
    sandbox.ok(&["open", "model.sealed", "-o", "copy"]);
    assert_eq!(sandbox.read("copy"), sandbox.read("model"));
    assert_eq!(
        sandbox.run(&["open", "model.sealed", "-o", "-"]).out.len(),
        200_000
    );

    sandbox.ok(&["rewrap", "model.sealed", "--to", "alice", "--to", "bob"]);
    let seen: Value =
        serde_json::from_str(&sandbox.ok(&["inspect", "model.sealed", "--json"])).unwrap();
    assert_eq!(seen["recipients"].as_array().unwrap().len(), 2);
    sandbox.ok(&["verify", "model.sealed", "--signer", "publisher"]);
    sandbox.ok(&["rewrap", "model.sealed", "--to", "bob"]);
    sandbox.ok(&["open", "model.sealed", "-o", "copy", "--force"]);
    assert_eq!(sandbox.read("copy"), sandbox.read("model"));
}

#[test]
fn an_opened_file_is_the_owners_only_and_nothing_is_replaced_unasked() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = sealed();
    sandbox.ok(&["open", "model.sealed", "-o", "copy"]);
    let mode = std::fs::metadata(sandbox.path("copy"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    sandbox.refused(&["open", "model.sealed"], 2, "cannot write model");
    sandbox.refused(
        &["seal", "model", "--to", "alice"],
        2,
        "cannot write model.sealed",
    );
    assert_eq!(sandbox.read("model"), vec![7; 200_000]);
}

#[test]
fn force_replaces_files_that_are_not_the_input_and_nothing_else() {
    let sandbox = sealed();
    let seal = ["seal", "model", "--to", "alice", "--force", "-o"];
    let to = |output| [seal.as_slice(), &[output]].concat();
    let artifact = sandbox.read("model.sealed");
    for name in ["folder", "socket", "link-to-device"] {
        match name {
            "folder" => std::fs::create_dir(sandbox.path(name)).unwrap(),
            "socket" => {
                std::os::unix::net::UnixListener::bind(sandbox.path(name)).unwrap();
            }
            _ => std::os::unix::fs::symlink("/dev/null", sandbox.path(name)).unwrap(),
        }
        sandbox.refused(&to(name), 2, "it is not a regular file and is not replaced");
        sandbox.refused(
            &["open", "model.sealed", "--force", "-o", name],
            2,
            "it is not a regular file and is not replaced",
        );
    }
    std::os::unix::fs::symlink("model", sandbox.path("link-to-input")).unwrap();
    for name in ["model", "./model", "link-to-input"] {
        sandbox.refused(&to(name), 2, "is both the input and the output");
    }
    sandbox.refused(
        &["open", "model.sealed", "--force", "-o", "model.sealed"],
        2,
        "is both the input and the output",
    );
    sandbox.refused(&to("-"), 2, "cannot seal to standard output");
    assert_eq!(sandbox.read("model"), vec![7; 200_000]);
    assert_eq!(sandbox.read("model.sealed"), artifact);
    sandbox.ok(&to("model.sealed"));
    sandbox.ok(&["open", "model.sealed", "--force", "--allow-unknown-signer"]);
}

#[test]
fn origin_is_demanded_unless_waived() {
    let sandbox = sealed();
    sandbox.ok(&["seal", "model", "--to", "alice", "-o", "unsigned.sealed"]);
    sandbox.refused(&["open", "unsigned.sealed", "-o", "x"], 1, "is not signed");
    sandbox.refused(
        &["verify", "unsigned.sealed", "--signer", "publisher"],
        1,
        "is not signed",
    );
    sandbox.ok(&[
        "open",
        "unsigned.sealed",
        "-o",
        "x",
        "--allow-unknown-signer",
    ]);
    sandbox.ok(&["keys", "generate", "--name", "other", "--kind", "sign"]);
    sandbox.refused(
        &["verify", "model.sealed", "--signer", "other"],
        1,
        "is signed by key",
    );
    sandbox.refused(
        &["open", "model.sealed", "-o", "y", "--signer", "other"],
        1,
        "is signed by key",
    );
    sandbox.refused(
        &["verify", "model.sealed", "--signer", "alice"],
        2,
        "not a key of kind `sign`",
    );

    let stranger = Sandbox::with_keys();
    stranger.write("model.sealed", &sandbox.read("model.sealed"));
    stranger.refused(
        &["open", "model.sealed"],
        4,
        "which is not in the key store",
    );
    stranger.write("publisher.pub", &sandbox.read("publisher.pub"));
    let arguments = ["open", "model.sealed", "--signer", "./publisher.pub"];
    stranger.refused(
        &arguments,
        4,
        "no private key in the key store opens this artifact",
    );
}

/// Every command that reads an artifact.
const READERS: [&[&str]; 5] = [
    &["inspect", "bad.sealed"],
    &["verify", "bad.sealed", "--signer", "publisher"],
    &["open", "bad.sealed", "-o", "out"],
    &["open", "bad.sealed", "-o", "out", "--allow-unknown-signer"],
    &["rewrap", "bad.sealed", "--to", "bob"],
];

#[test]
fn cut_bent_oversized_and_later_artifacts_get_one_error_and_leave_no_file() {
    let sandbox = sealed();
    let good = sandbox.read("model.sealed");
    let body = 74 + 200_000 + 4 * 32;
    let bent = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    let mut later = good.clone();
    let version = later.len() - 27;
    later[version] = 2;
    let cases: [(&str, Vec<u8>, i32); 8] = [
        ("empty", Vec::new(), 1),
        (
            "no artifact",
            b"PK\x03\x04 something else entirely, longer than a footer".to_vec(),
            1,
        ),
        ("cut in the body", good[..1000].to_vec(), 1),
        ("cut in the tail", good[..good.len() - 100].to_vec(), 1),
        ("cut by a byte", good[..good.len() - 1].to_vec(), 1),
        ("bent tail", bent(body + 50), 1),
        ("bent header of the body", bent(5), 1),
        ("later version", later, 1),
    ];
    for (what, bytes, code) in cases {
        for arguments in READERS {
            sandbox.write("bad.sealed", &bytes);
            let said = sandbox.run(arguments);
            assert_eq!(said.code, code, "{what}, {arguments:?}: {said:?}");
            assert!(
                said.err.contains("error: ") && !said.err.contains("panicked"),
                "{said:?}"
            );
            assert_eq!(
                sandbox.read("bad.sealed"),
                bytes,
                "{what}: the artifact itself was changed"
            );
            assert!(!sandbox.path("out").exists(), "{what}: a file was left");
        }
    }
    // A bent segment is seen by whoever reads segments; a rewrap does not.
    sandbox.write("bad.sealed", &bent(100_000));
    for arguments in &READERS[1..4] {
        sandbox.refused(arguments, 1, "segment 1 was changed");
        assert!(!sandbox.path("out").exists());
    }
}

#[test]
fn wrong_use_is_told_apart_from_missing_files() {
    let sandbox = sealed();
    sandbox.refused(&["open", "missing.sealed"], 3, "cannot open missing.sealed");
    sandbox.refused(&["open", "missing"], 3, "cannot open missing");
    sandbox.refused(&["inspect", "missing"], 3, "cannot open missing");
    sandbox.refused(
        &["seal", "missing", "--to", "alice"],
        3,
        "cannot read missing",
    );
    sandbox.refused(
        &["seal", "/dev/null", "--to", "alice"],
        2,
        "is not a regular file",
    );
    sandbox.refused(
        &["seal", "model", "--to", "alice", "--segment-size", "100k"],
        2,
        "power of two",
    );
    sandbox.refused(
        &["seal", "model", "--to", "alice", "--metadata", "x"],
        2,
        "is not NAME=VALUE",
    );
    sandbox.refused(
        &["seal", "model", "--to", "alice", "--to", "alice", "-o", "o"],
        2,
        "given twice",
    );
    sandbox.refused(
        &["seal", "model", "--to", "publisher"],
        2,
        "not a key of kind `kem`",
    );
    sandbox.refused(&["open", "model", "-o", "out"], 1, "not a sealed artifact");
    sandbox.refused(
        &["seal", "model", "--to", "alice", "-o", "no/such/dir"],
        3,
        "cannot write",
    );
    assert_eq!(sandbox.run(&["seal"]).code, 2);
    assert_eq!(sandbox.run(&["nonsense"]).code, 2);
    let said = sandbox.run(&["gateway", "--config", "missing.toml"]);
    assert_eq!(said.code, 3, "{said:?}");
    sandbox.write("bad.toml", b"listen = 1\n");
    sandbox.refused(&["gateway", "--config", "bad.toml"], 2, "bad.toml");
    let connect = [
        "connect",
        "--gateway",
        "http://x",
        "--gateway-key",
        "publisher",
        "--identity",
        "alice",
    ];
    sandbox.refused(&connect, 2, "not a key of kind `http`");
}
