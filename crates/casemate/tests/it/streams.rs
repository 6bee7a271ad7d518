//! Standard output that is full or not read, names that are no text, and passphrases from files.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{Read as _, Write as _},
    os::unix::ffi::OsStrExt as _,
    process::Stdio,
};

use crate::support::Sandbox;

fn sealed() -> Sandbox {
    let sandbox = Sandbox::with_keys();
    sandbox.write("f", &vec![7; 300_000]);
    sandbox.ok(&["seal", "f", "--to", "alice", "--sign", "publisher"]);
    sandbox
}

#[test]
fn a_full_disk_behind_standard_output_is_an_error() {
    let sandbox = sealed();
    for arguments in [
        &["keys", "export", "publisher"] as &[_],
        &["keys", "list"],
        &["inspect", "f.sealed"],
        &["--json", "inspect", "f.sealed"],
        &["--json", "verify", "f.sealed", "--signer", "publisher"],
        &["open", "f.sealed", "-o", "-"],
        &["suites"],
        &["completions", "bash"],
        &["--help"],
        &["--version"],
    ] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let done = sandbox.command(arguments).stdout(full).output().unwrap();
        let told = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(3), "{arguments:?}: {told}");
        let expected = "cannot write to standard output";
        assert!(told.contains(expected), "{arguments:?}: {told}");
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let sandbox = sealed();
    for arguments in [
        &["inspect", "f.sealed"] as &[_],
        &["open", "f.sealed", "-o", "-"],
        &["completions", "bash"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let done = sandbox.command(arguments).stdout(writer).output().unwrap();
        let told = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(0), "{arguments:?}: {told}");
        assert!(!told.contains("error"), "{arguments:?}: {told}");
    }
    // What is wrong with the artifact is said all the same where it is found first.
    let mut damaged = sandbox.read("f.sealed");
    damaged[1000] ^= 1;
    sandbox.write("damaged.sealed", &damaged);
    let open = ["open", "damaged.sealed", "-o", "-"];
    sandbox.refused(&open, 1, "segment");
}

#[test]
fn what_is_wrong_with_the_input_is_told_when_the_reader_has_gone() {
    let sandbox = Sandbox::with_keys();
    sandbox.ok(&[
        "keys",
        "generate",
        "--kind",
        "kem",
        "--name",
        "a",
        "--suite",
        "mlkem768-x25519",
    ]);
    // Two chunks of age: the first fits into a pipe.
    sandbox.write("f", &vec![7; 100_000]);
    sandbox.ok(&["age", "encrypt", "f", "--to", "a"]);
    let whole = sandbox.read("f.age");
    let mut damaged = whole.clone();
    *damaged.last_mut().unwrap() ^= 1;
    for (content, code, words) in [(damaged, 1, "error"), (whole, 0, "")] {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut command = sandbox.command(&["age", "decrypt", "-", "-o", "-"]);
        command.stdin(Stdio::piped()).stdout(writer);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        drop(command);
        let mut input = child.stdin.take().unwrap();
        let (first, rest) = content.split_at(80_000);
        input.write_all(first).unwrap();
        reader.read_exact(&mut [0]).unwrap();
        drop(reader);
        input.write_all(rest).unwrap();
        drop(input);
        let done = child.wait_with_output().unwrap();
        let told = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(code), "{told}");
        assert!(told.contains(words), "{told}");
    }
}

#[test]
fn names_that_are_not_utf8_work() {
    let sandbox = sealed();
    let name = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
    let run = |arguments: &[&OsStr]| {
        let mut command = sandbox.command(&["--json"]);
        command.args(arguments);
        let done = command.output().unwrap();
        let told = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(0), "{arguments:?}: {told}");
        String::from_utf8(done.stdout).unwrap()
    };
    let artifact = name(b"Gr\xf6.bin.sealed");
    fs::copy(sandbox.path("f.sealed"), sandbox.folder().join(&artifact)).unwrap();
    let text =
        |words: &[&str]| -> Vec<_> { words.iter().map(OsStr::new).map(OsStr::to_owned).collect() };
    let with = |words: &[&str], more: &[&OsStr]| {
        let words = text(words);
        let all: Vec<&OsStr> = words
            .iter()
            .map(AsRef::as_ref)
            .chain(more.iter().copied())
            .collect();
        run(&all)
    };
    let shown = with(&["open"], &[&artifact]);
    assert!(shown.contains("Gr\u{fffd}.bin"), "{shown}");
    with(&["open", "f.sealed", "-o"], &[&name(b"out\xff")]);
    with(&["rewrap", "--to", "bob", "--to", "alice"], &[&artifact]);
    with(&["inspect"], &[&artifact]);
    with(&["verify", "--signer", "publisher"], &[&artifact]);
    let folder = name(b"dir\xff");
    fs::create_dir(sandbox.folder().join(&folder)).unwrap();
    fs::write(sandbox.folder().join(&folder).join("a"), "x").unwrap();
    with(
        &["seal", "--to", "alice", "--sign", "publisher"],
        &[&folder],
    );
    let sealed = name(b"dir\xff.sealed");
    with(&["rewrap", "--add", "bob"], &[&sealed]);
    with(&["open", "-o"], &[&name(b"dir-open\xff"), &sealed]);
    with(
        &["sign", "--sign", "publisher", "f", "-o"],
        &[&name(b"sig\xff")],
    );
    with(
        &["verify", "--signer", "publisher", "f", "--signature"],
        &[&name(b"sig\xff")],
    );
}

#[test]
fn a_passphrase_that_nobody_could_type_is_refused_for_a_new_store() {
    let sandbox = Sandbox::empty();
    for (content, why) in [
        (b"first line\nsecond line\n" as &[u8], "more than one line"),
        (b"correct horse\n\n", "more than one line"),
        (b"correct\rhorse\n", "more than one line"),
        (b"\xef\xbb\xbfcorrect horse\n", "byte-order mark"),
        (b"correct\0horse\n", "zero byte"),
    ] {
        sandbox.write("odd", content);
        sandbox.refused(&["--passphrase-file", "odd", "keys", "init"], 2, why);
        assert!(!sandbox.path("home").join("keys.db").exists());
    }
    sandbox.write("windows", b"correct horse\r\n");
    sandbox.ok(&["--passphrase-file", "windows", "keys", "init"]);
    // The same line without its end opens it.
    sandbox.ok(&["keys", "list"]);
    sandbox.write("odd", b"first line\nsecond line\n");
    sandbox.refused(
        &["keys", "passwd", "--new-passphrase-file", "odd"],
        2,
        "more than one line",
    );
}

#[test]
fn the_passphrase_file_can_be_named_in_the_environment() {
    let sandbox = Sandbox::empty();
    sandbox.ok(&["keys", "init"]);
    for (file, code) in [("passphrase", Some(0)), ("missing", Some(3))] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_casemate"));
        command.args(["keys", "list"]).current_dir(sandbox.folder());
        command
            .env_clear()
            .env("CASEMATE_HOME", sandbox.path("home"));
        let done = command.env("CASEMATE_PASSPHRASE_FILE", file).output();
        assert_eq!(done.unwrap().status.code(), code);
    }
}

#[test]
fn standard_input_is_not_passphrase_and_file_at_once() {
    let sandbox = Sandbox::empty();
    sandbox.ok(&["keys", "init"]);
    for verb in [
        &["age", "decrypt"] as &[_],
        &["age", "encrypt", "--to", "x"],
    ] {
        let arguments = [&["--passphrase-file", "-"], verb, &["-"]].concat();
        let mut child = sandbox
            .command(&arguments)
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(b"correct horse\nx")
            .unwrap();
        let done = child.wait_with_output().unwrap();
        let told = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(2), "{told}");
        assert!(told.contains("cannot be both"), "{told}");
    }
}
