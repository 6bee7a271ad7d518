//! `casemate age` and SLH-DSA signers. `cargo xtask interop` has the same files with other people's
//! clients.

use crate::support::House;

const IDENTITY: &str =
    "AGE-SECRET-KEY-PQ-1HZLGZUPT4ETPKDEV8HSGFDCYZ4E522W0A7PU2LHT8EH9W6YLNC3SW78XKG\n";

#[test]
fn a_secret_goes_to_a_recipient_and_back_and_wrong_use_leaves_nothing() {
    let house = House::empty();
    house.ok(&["keys", "init"]);
    let generate = ["keys", "generate", "--name", "recovery", "--kind", "kem"];
    house.ok(&[generate.as_slice(), &["--suite", "mlkem768-x25519"]].concat());
    let recipient = house.ok(&["keys", "export", "recovery", "--age"]);
    assert!(recipient.starts_with("age1pq1"), "{recipient}");
    house.write("secret", b"correct horse");
    house.ok(&[
        "age",
        "encrypt",
        "secret",
        "--to",
        recipient.trim(),
        "--armor",
    ]);
    assert!(
        house
            .read("secret.age")
            .starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----")
    );
    house.ok(&["age", "decrypt", "secret.age", "-o", "back"]);
    assert_eq!(house.read("back"), b"correct horse");
    assert_eq!(
        house.ok(&["age", "decrypt", "secret.age", "-o", "-"]),
        "correct horse"
    );

    house.refused(
        &["age", "decrypt", "secret.age", "-o", "back"],
        2,
        "cannot write back",
    );
    house.write("identity", IDENTITY.as_bytes());
    let other = [
        "age",
        "decrypt",
        "secret.age",
        "-o",
        "no",
        "--identity",
        "identity",
    ];
    house.refused(&other, 4, "no key fits");
    house.refused(
        &[&["--policy", "cnsa2"], other.as_slice()].concat(),
        4,
        "does not allow",
    );
    let said = house.run(&["age", "encrypt", "secret", "--to", IDENTITY.trim()]);
    assert!(said.code == 2 && !said.err.contains("HZLGZ"), "{said:?}");
    house.write("plain", b"no age file");
    house.refused(
        &["age", "decrypt", "plain", "-o", "no"],
        1,
        "not a well-formed age file",
    );
    house.refused(
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
    assert!(!house.names().contains(&"no".to_owned()));
}

#[test]
fn a_hash_based_root_signs_and_its_artifact_opens() {
    let house = House::with_keys();
    let generate = ["keys", "generate", "--name", "root", "--kind", "sign"];
    house.ok(&[generate.as_slice(), &["--suite", "slhdsa-sha2-192s"]].concat());
    house.ok(&["keys", "export", "root", "-o", "root.pub"]);
    let model = vec![7; 100_000];
    house.write("model", &model);
    house.ok(&["seal", "model", "--to", "alice", "--sign", "root"]);
    house.ok(&["verify", "model.sealed", "--signer", "./root.pub"]);
    house.ok(&[
        "open",
        "model.sealed",
        "-o",
        "back",
        "--signer",
        "./root.pub",
    ]);
    assert_eq!(house.read("back"), model);
    let cnsa = [
        "--policy",
        "cnsa2",
        "verify",
        "model.sealed",
        "--signer",
        "./root.pub",
    ];
    house.refused(&cnsa, 4, "does not allow the suite slhdsa-sha2-192s");
    let mut bytes = house.read("model.sealed");
    bytes[200] ^= 1;
    house.write("model.sealed", &bytes);
    house.refused(
        &["verify", "model.sealed", "--signer", "./root.pub"],
        1,
        "segment 0",
    );
}
