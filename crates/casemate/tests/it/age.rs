//! `casemate age` and SLH-DSA signers. `cargo xtask interop` has the same files with other people's
//! clients.

use crate::support::Sandbox;

const IDENTITY: &str =
    "AGE-SECRET-KEY-PQ-1HZLGZUPT4ETPKDEV8HSGFDCYZ4E522W0A7PU2LHT8EH9W6YLNC3SW78XKG\n";

#[test]
fn a_secret_goes_to_a_recipient_and_back_and_wrong_use_leaves_nothing() {
    let sandbox = Sandbox::empty();
    sandbox.ok(&["keys", "init"]);
    let generate = ["keys", "generate", "--name", "recovery", "--kind", "kem"];
    sandbox.ok(&[generate.as_slice(), &["--suite", "mlkem768-x25519"]].concat());
    let recipient = sandbox.ok(&["keys", "export", "recovery", "--age"]);
    assert!(recipient.starts_with("age1pq1"), "{recipient}");
    sandbox.write("secret", b"correct horse");
    sandbox.ok(&[
        "age",
        "encrypt",
        "secret",
        "--to",
        recipient.trim(),
        "--armor",
    ]);
    assert!(
        sandbox
            .read("secret.age")
            .starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----")
    );
    sandbox.ok(&["age", "decrypt", "secret.age", "-o", "back"]);
    assert_eq!(sandbox.read("back"), b"correct horse");
    assert_eq!(
        sandbox.ok(&["age", "decrypt", "secret.age", "-o", "-"]),
        "correct horse"
    );

    sandbox.refused(
        &["age", "decrypt", "secret.age", "-o", "back"],
        2,
        "cannot write back",
    );
    sandbox.write("identity", IDENTITY.as_bytes());
    let other = [
        "age",
        "decrypt",
        "secret.age",
        "-o",
        "no",
        "--identity",
        "identity",
    ];
    sandbox.refused(&other, 4, "no key fits");
    sandbox.refused(
        &[&["--policy", "cnsa2"], other.as_slice()].concat(),
        4,
        "does not allow",
    );
    let said = sandbox.run(&["age", "encrypt", "secret", "--to", IDENTITY.trim()]);
    assert!(said.code == 2 && !said.err.contains("HZLGZ"), "{said:?}");
    sandbox.write("plain", b"no age file");
    sandbox.refused(
        &["age", "decrypt", "plain", "-o", "no"],
        1,
        "not a well-formed age file",
    );
    sandbox.refused(
        &[
            "age",
            "encrypt",
            "secret",
            "-o",
            "no",
            "--to",
            "age1pq1qqqq",
        ],
        2,
        "not a hybrid age recipient",
    );
    assert!(!sandbox.names().contains(&"no".to_owned()));
}

#[test]
fn a_hash_based_root_signs_and_its_artifact_opens() {
    let sandbox = Sandbox::with_keys();
    let generate = ["keys", "generate", "--name", "root", "--kind", "sign"];
    sandbox.ok(&[generate.as_slice(), &["--suite", "slhdsa-sha2-192s"]].concat());
    sandbox.ok(&["keys", "export", "root", "-o", "root.pub"]);
    let model = vec![7; 100_000];
    sandbox.write("model", &model);
    sandbox.ok(&["seal", "model", "--to", "alice", "--sign", "root"]);
    sandbox.ok(&["verify", "model.sealed", "--signer", "./root.pub"]);
    sandbox.ok(&[
        "open",
        "model.sealed",
        "-o",
        "back",
        "--signer",
        "./root.pub",
    ]);
    assert_eq!(sandbox.read("back"), model);
    let cnsa = [
        "--policy",
        "cnsa2",
        "verify",
        "model.sealed",
        "--signer",
        "./root.pub",
    ];
    sandbox.refused(&cnsa, 4, "does not allow the suite slhdsa-sha2-192s");
    let mut bytes = sandbox.read("model.sealed");
    bytes[200] ^= 1;
    sandbox.write("model.sealed", &bytes);
    sandbox.refused(
        &["verify", "model.sealed", "--signer", "./root.pub"],
        1,
        "segment 0",
    );
}
