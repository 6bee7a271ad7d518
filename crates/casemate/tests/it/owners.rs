//! Owners of recipients, delegates, and new keys for what is sealed already.

use std::fs;

use serde_json::Value;

use crate::support::Sandbox;

/// A file whose recipients belong to `publisher`, sealed to alice.
fn owned() -> Sandbox {
    let sandbox = Sandbox::with_keys();
    sandbox.write("model", b"content");
    let seal = ["seal", "model", "--to", "alice", "--sign", "publisher"];
    sandbox.ok(&[&seal[..], &["--owner", "publisher", "--revision", "3"]].concat());
    for name in ["rotation", "stranger"] {
        sandbox.ok(&["keys", "generate", "--name", name, "--kind", "sign"]);
    }
    sandbox
}

/// A file by `publisher` whose recipients belong to `owner`, sealed to alice; `helper` is one whom
/// the owner may delegate to.
fn owned_by_another() -> Sandbox {
    let sandbox = Sandbox::with_keys();
    sandbox.write("model", b"content");
    for name in ["owner", "helper"] {
        sandbox.ok(&["keys", "generate", "--name", name, "--kind", "sign"]);
    }
    let seal = ["seal", "model", "--to", "alice", "--sign", "publisher"];
    sandbox.ok(&[&seal[..], &["--owner", "owner"]].concat());
    sandbox
}

fn inspect(sandbox: &Sandbox, path: &str) -> Value {
    serde_json::from_str(&sandbox.ok(&["inspect", path, "--json"])).unwrap()
}

#[test]
fn only_the_owner_changes_the_recipients() {
    let sandbox = owned();
    let add = ["rewrap", "model.sealed", "--add", "bob"];
    sandbox.refused(&add, 4, "only the owner, key");
    let other = [&add[..], &["--owner", "stranger"]].concat();
    sandbox.refused(&other, 4, "the recipient list belongs to another owner");
    assert_eq!(inspect(&sandbox, "model.sealed")["owner"]["epoch"], 1);
    sandbox.ok(&[&add[..], &["--owner", "publisher"]].concat());
    let seen = inspect(&sandbox, "model.sealed");
    assert_eq!(seen["owner"]["epoch"], 2);
    assert_eq!(seen["recipients"].as_array().unwrap().len(), 2);
    let verify = ["verify", "model.sealed", "--signer", "publisher"];
    let said = sandbox.ok(&verify);
    assert!(said.contains("recipients checked (2)"), "{said}");
    sandbox.ok(&[&verify[..], &["--min-epoch", "2"]].concat());
    sandbox.refused(&[&verify[..], &["--min-epoch", "3"]].concat(), 1, "epoch 2");

    sandbox.write("plain", b"content");
    sandbox.ok(&["seal", "plain", "--to", "alice", "--sign", "publisher"]);
    let said = sandbox.ok(&["verify", "plain.sealed", "--signer", "publisher"]);
    assert!(said.contains("recipients not checked (1)"), "{said}");
    let nobodys = [
        "rewrap",
        "plain.sealed",
        "--add",
        "bob",
        "--owner",
        "publisher",
    ];
    sandbox.refused(&nobodys, 2, "the artifact has no owner");
    let least = [
        "verify",
        "plain.sealed",
        "--signer",
        "publisher",
        "--min-epoch",
        "1",
    ];
    sandbox.refused(&least, 1, "has no epoch");
}

#[test]
fn a_delegate_changes_them_within_its_delegation() {
    let sandbox = owned();
    let delegate = |until: &str, epoch: &str, file: &str| {
        let start = ["keys", "delegate", "publisher", "--to", "rotation"];
        let end = ["--until", until, "--last-epoch", epoch, "-o", file];
        sandbox.ok(&[&start[..], &end].concat());
    };
    let change = |whom: [&str; 2], with: [&str; 4]| {
        [&["rewrap", "model.sealed"][..], &whom, &with]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let run = |arguments: &[String], code: i32, says: &str| {
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        if code == 0 {
            sandbox.ok(&arguments);
        } else {
            sandbox.refused(&arguments, code, says);
        }
    };
    delegate("2999-12-31", "2", "good");
    delegate("2020-01-01", "9", "late");
    let with = |file| ["--delegate", "rotation", "--delegation", file];
    run(
        &change(["--add", "bob"], with("late")),
        4,
        "the delegation does not cover",
    );
    let stranger = ["--delegate", "stranger", "--delegation", "good"];
    run(
        &change(["--add", "bob"], stranger),
        4,
        "the delegation does not cover",
    );
    run(&change(["--add", "bob"], with("good")), 0, "");
    assert_eq!(
        inspect(&sandbox, "model.sealed")["owner"]["delegated"],
        true
    );
    sandbox.ok(&["open", "model.sealed", "-o", "copy"]);
    // The next list would be the third.
    run(
        &change(["--remove", "bob"], with("good")),
        4,
        "the delegation does not cover",
    );
    fs::write(sandbox.path("bad"), b"no delegation").unwrap();
    run(
        &change(["--remove", "bob"], with("bad")),
        2,
        "bad is not a delegation",
    );
}

#[test]
fn a_folder_has_one_owner_for_all_its_files() {
    let sandbox = owned();
    fs::create_dir(sandbox.path("tree")).unwrap();
    for name in ["tree/a", "tree/b"] {
        sandbox.write(name, name.as_bytes());
    }
    let seal = [
        "seal",
        "tree",
        "--to",
        "alice",
        "--sign",
        "publisher",
        "--owner",
        "publisher",
    ];
    sandbox.ok(&seal);
    let add = ["rewrap", "tree.sealed", "--add", "bob"];
    sandbox.refused(&add, 4, "only the owner, key");
    sandbox.ok(&[&add[..], &["--owner", "publisher"]].concat());
    for path in [
        "tree.sealed",
        "tree.sealed/a.sealed",
        "tree.sealed/b.sealed",
    ] {
        assert_eq!(inspect(&sandbox, path)["owner"]["epoch"], 2, "{path}");
    }
    sandbox.ok(&["open", "tree.sealed", "-o", "copy"]);
    assert_eq!(sandbox.read("copy/a"), b"tree/a");
}

#[test]
fn a_new_key_shuts_out_who_knew_the_old_one() {
    let sandbox = owned();
    let before = inspect(&sandbox, "model.sealed");
    let rekey = [
        "rewrap",
        "model.sealed",
        "--rekey",
        "--to",
        "bob",
        "--owner",
        "publisher",
    ];
    sandbox.refused(&rekey, 4, "only the artifact's publisher, key");
    sandbox.refused(
        &[&rekey[..], &["--sign", "stranger"]].concat(),
        4,
        "only the artifact's publisher, key",
    );
    sandbox.ok(&[&rekey[..], &["--sign", "publisher"]].concat());
    let after = inspect(&sandbox, "model.sealed");
    assert_eq!(after["revision"], 4);
    for field in ["id", "root"] {
        assert_ne!(before[field], after[field], "{field}");
    }
    assert_eq!(before["content_bytes"], after["content_bytes"]);
    sandbox.ok(&["open", "model.sealed", "-o", "copy", "--min-revision", "4"]);
    assert_eq!(sandbox.read("copy"), b"content");
    // The owner stays the owner.
    let other = [
        "rewrap",
        "model.sealed",
        "--rekey",
        "--to",
        "bob",
        "--sign",
        "publisher",
    ];
    sandbox.refused(
        &[&other[..], &["--owner", "stranger"]].concat(),
        4,
        "the recipient list belongs to another owner",
    );
    sandbox.refused(&other, 4, "only the owner");
    sandbox.refused(
        &["rewrap", "model.sealed", "--rekey", "--remove", "bob"],
        2,
        "--to",
    );
}

#[test]
fn a_link_and_the_mode_survive_a_new_key() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let sandbox = owned();
    let target = sandbox.path("model.sealed");
    fs::set_permissions(&target, fs::Permissions::from_mode(0o640)).unwrap();
    symlink(&target, sandbox.path("link")).unwrap();
    let before = inspect(&sandbox, "model.sealed")["id"].clone();
    sandbox.ok(&[
        "rewrap",
        "link",
        "--rekey",
        "--to",
        "alice",
        "--sign",
        "publisher",
        "--owner",
        "publisher",
    ]);
    assert!(sandbox.path("link").is_symlink());
    assert_ne!(inspect(&sandbox, "model.sealed")["id"], before);
    let mode = fs::metadata(&target).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    let remote = ["rewrap", "s3://b/k", "--rekey", "--to", "alice"];
    sandbox.refused(&remote, 2, "--rekey does not work in an object store");
}

#[test]
fn a_folder_is_sealed_anew_as_its_next_revision() {
    let sandbox = owned();
    fs::create_dir(sandbox.path("tree")).unwrap();
    sandbox.write("tree/a", b"a");
    sandbox.ok(&["seal", "tree", "--to", "alice", "--sign", "publisher"]);
    let before = inspect(&sandbox, "tree.sealed")["folder"].clone();
    let rekey = [
        "rewrap",
        "tree.sealed",
        "--rekey",
        "--to",
        "alice",
        "--sign",
        "publisher",
    ];
    sandbox.ok(&rekey);
    let after = inspect(&sandbox, "tree.sealed")["folder"].clone();
    assert_eq!(before["id"], after["id"]);
    assert_eq!(
        (&before["revision"], &after["revision"]),
        (&1.into(), &2.into())
    );
    assert_ne!(before["files"][0]["id"], after["files"][0]["id"]);
    for part in ["tree.sealed/a.sealed", "tree.sealed/manifest.casemate"] {
        let rekey = [
            "rewrap",
            part,
            "--rekey",
            "--to",
            "alice",
            "--sign",
            "publisher",
        ];
        sandbox.refused(&rekey, 2, "is part of a sealed folder");
    }
    sandbox.ok(&["open", "tree.sealed", "-o", "copy", "--signer", "publisher"]);
    assert_eq!(sandbox.read("copy/a"), b"a");
}

#[test]
fn an_owner_ends_a_delegation_with_a_higher_epoch() {
    let sandbox = owned();
    let rewrap = |more: &[&str]| {
        let start = ["rewrap", "model.sealed", "--owner", "publisher"];
        sandbox.run(&[&start[..], more].concat())
    };
    assert_eq!(rewrap(&["--add", "bob", "--epoch", "100"]).code, 0);
    assert_eq!(inspect(&sandbox, "model.sealed")["owner"]["epoch"], 100);
    let said = rewrap(&["--remove", "bob", "--epoch", "100"]);
    assert!(
        said.code == 2 && said.err.contains("use 101 or higher"),
        "{said:?}"
    );
    let said = rewrap(&["--remove", "bob", "--min-epoch", "101"]);
    assert!(said.code == 1 && said.err.contains("epoch 100"), "{said:?}");
    assert_eq!(rewrap(&["--remove", "bob", "--min-epoch", "100"]).code, 0);
}

#[test]
fn a_recipient_list_by_a_key_that_has_ended_does_not_count() {
    let sandbox = owned_by_another();
    for name in ["owner", "publisher"] {
        sandbox.ok(&["keys", "export", name, "-o", &format!("{name}.pub")]);
    }
    let open = ["open", "model.sealed", "--force"];
    let listed = [&open[..], &["--trust", "trust.toml"]].concat();
    let write = |status: &str| {
        let entry =
            |name: &str| format!("[[publisher]]\nkey = \"./{name}.pub\"\nroles = [\"model\"]\n");
        sandbox.write(
            "trust.toml",
            (entry("publisher") + &entry("owner") + status).as_bytes(),
        );
    };
    write("");
    sandbox.ok(&open);
    sandbox.ok(&listed);
    write("compromised = true\n");
    sandbox.refused(&listed, 4, "is compromised");
    // The date of the list counts, not that of the content.
    write("superseded = 2100-01-01\n");
    sandbox.ok(&listed);
    write("superseded = 2001-01-01\n");
    sandbox.refused(&listed, 4, "superseded");
    sandbox.ok(&["keys", "retire", "owner", "--compromised"]);
    for signer in [&[] as &[&str], &["--signer", "publisher"]] {
        sandbox.refused(&[&open[..], signer].concat(), 4, "is compromised");
    }
    let verify = ["verify", "model.sealed", "--signer", "publisher"];
    sandbox.refused(&verify, 4, "is compromised");
    // A file of a key says nothing of others, and whoever asks for nobody gets what there is.
    sandbox.ok(&[&open[..], &["--signer", "./publisher.pub"]].concat());
    sandbox.ok(&[&open[..], &["--allow-unknown-signer"]].concat());
}

#[test]
fn an_owner_replaces_the_list_of_a_delegate_that_is_compromised() {
    let sandbox = owned_by_another();
    let delegate = ["keys", "delegate", "owner", "--to", "helper"];
    let until = ["--until", "2100-01-01", "--last-epoch", "1000"];
    sandbox.ok(&[&delegate[..], &until, &["-o", "helper.delegation"]].concat());
    let by_helper = ["--delegate", "helper", "--delegation", "helper.delegation"];
    let rewrap = ["rewrap", "model.sealed"];
    sandbox.ok(&[&rewrap[..], &["--add", "bob"], &by_helper].concat());
    sandbox.ok(&["keys", "retire", "helper", "--compromised"]);
    let open = ["open", "model.sealed", "--force"];
    sandbox.refused(&open, 4, "its recipient list was signed by key");
    sandbox.refused(&open, 4, "is compromised");
    // Whoever the delegate may have let in would stay.
    let by_owner = ["--owner", "owner", "--epoch", "1001"];
    // A plan is refused for what the change would be refused for.
    sandbox.refused(
        &[&rewrap[..], &["--to", "alice", "--dry-run"]].concat(),
        4,
        "its recipient list was signed by key",
    );
    sandbox.refused(
        &[&rewrap[..], &["--add", "alice"], &by_owner].concat(),
        4,
        "its recipient list was signed by key",
    );
    sandbox.ok(&[&rewrap[..], &["--to", "alice"], &by_owner].concat());
    sandbox.ok(&open);
    let owner = inspect(&sandbox, "model.sealed")["owner"].clone();
    assert_eq!(
        (owner["epoch"].as_u64(), owner["delegated"].as_bool()),
        (Some(1001), Some(false))
    );
    // By its digest a list can count all the same.
    sandbox.ok(&["keys", "export", "owner", "-o", "owner.pub"]);
    sandbox.ok(&["keys", "export", "publisher", "-o", "publisher.pub"]);
    let digest = owner["message_sha384"].as_str().unwrap();
    let write = |accept: &str| {
        let list = format!(
            "[[publisher]]\nkey = \"./publisher.pub\"\nroles = [\"model\"]\n\
             [[publisher]]\nkey = \"./owner.pub\"\nroles = [\"model\"]\ncompromised = true\naccept = [{accept}]\n"
        );
        sandbox.write("trust.toml", list.as_bytes());
    };
    let listed = [&open[..], &["--trust", "trust.toml"]].concat();
    write("");
    sandbox.refused(&listed, 4, "is compromised");
    write(&format!("\"{digest}\""));
    sandbox.ok(&listed);
}
