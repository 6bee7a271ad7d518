//! What another local user places where commands make and remove temporary folders.
//!
//! The attacks need two users, so they run where the tests are root's; elsewhere they say that they
//! were skipped.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use crate::support::{Run, Sandbox};

const NOBODY: u32 = 65_534;

fn is_root() -> bool {
    let root = fs::metadata("/proc/self").unwrap().uid() == 0;
    if !root {
        casemate_testkit::skip("another user is needed, and only root can become one");
    }
    root
}

/// Runs a shell line as another user.
fn as_nobody(line: &str) {
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "sh",
        "-ec",
        line,
    ]);
    let done = command.output().unwrap();
    assert!(done.status.success(), "{line}: {done:?}");
}

/// A sandbox with a sealed file and folder, and a private tree that must survive.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::with_keys();
    fs::create_dir_all(sandbox.path("m/a")).unwrap();
    sandbox.write("m/a/w", b"weights");
    sandbox.write("f", b"file");
    for input in ["m", "f"] {
        sandbox.ok(&["seal", input, "--to", "alice", "--sign", "publisher"]);
    }
    fs::create_dir(sandbox.path("private")).unwrap();
    sandbox.write("private/thesis", b"years");
    sandbox
}

fn assert_precious(sandbox: &Sandbox) {
    assert_eq!(sandbox.read("private/thesis"), b"years");
    assert_eq!(sandbox.read("f"), b"file");
}

/// Paths that go with the test, whoever made them.
struct Planted(Vec<PathBuf>);

impl Drop for Planted {
    fn drop(&mut self) {
        for path in &self.0 {
            _ = fs::remove_file(path).or_else(|_| fs::remove_dir_all(path));
        }
    }
}

#[test]
fn a_run_in_memory_touches_nothing_that_another_user_placed_there() {
    if !is_root() {
        return;
    }
    let sandbox = sandbox();
    let private = sandbox.path("private");
    let at = |digit: char| {
        PathBuf::from(format!(
            "/dev/shm/casemate-run-{}",
            digit.to_string().repeat(16)
        ))
    };
    let planted = Planted(['b', 'c', 'd', 'e'].map(at).to_vec());
    let shown = |path: &Path| path.to_str().unwrap().to_owned();
    let [folder, link, open, new] = planted
        .0
        .iter()
        .map(|p| shown(p))
        .collect::<Vec<_>>()
        .try_into()
        .unwrap();
    // A folder with a link to what only root can change, the link itself, and the same for folders
    // that everyone can enter.
    for (path, mode) in [
        (&folder, "0700"),
        (&open, "0777"),
        (&format!("{new}.new"), "0700"),
    ] {
        as_nobody(&format!(
            "mkdir -m {mode} {path}; echo mine > {path}/file; ln -s {} {path}/link",
            private.display()
        ));
    }
    as_nobody(&format!("ln -s {} {link}", private.display()));
    for input in ["m.sealed", "f.sealed"] {
        sandbox.ok(&["run", "--memory=/dev/shm", input, "--", "true"]);
        assert_precious(&sandbox);
        for path in [&folder, &open, &format!("{new}.new")] {
            assert_eq!(fs::read(Path::new(path).join("file")).unwrap(), b"mine\n");
        }
        assert!(Path::new(&link).is_symlink());
    }
    _ = fs::remove_dir_all(format!("{new}.new"));
}

#[test]
fn another_users_run_touches_nothing_of_roots() {
    if !is_root() {
        return;
    }
    let sandbox = sandbox();
    let planted = Planted(
        ['1', '2']
            .map(|digit: char| {
                PathBuf::from(format!(
                    "/dev/shm/casemate-run-{}",
                    digit.to_string().repeat(16)
                ))
            })
            .to_vec(),
    );
    let [ours, theirs] = planted.0.as_slice() else {
        unreachable!()
    };
    fs::create_dir(ours).unwrap();
    fs::set_permissions(ours, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(ours.join("file"), "root's").unwrap();
    as_nobody(&format!(
        "mkdir -m 0700 {}; echo dead > {0}/file",
        theirs.display()
    ));
    let owned = Command::new("chown")
        .args(["-R", "65534:65534"])
        .arg(sandbox.folder.path())
        .status();
    assert!(owned.unwrap().success());
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
        .arg(env!("CARGO_BIN_EXE_casemate"))
        .args([
            "--passphrase-file",
            "passphrase",
            "--home",
            "home",
            "run",
            "--memory=/dev/shm",
            "m.sealed",
            "--",
            "true",
        ])
        .current_dir(sandbox.folder.path());
    let said = Run::from(command.output().unwrap());
    if said.code == 126 || said.err.contains("Permission denied") && said.err.starts_with("setpriv")
    {
        casemate_testkit::skip("another user cannot run the program where it was built");
        return;
    }
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(fs::read(ours.join("file")).unwrap(), b"root's");
    // Their own they clear away.
    assert!(!theirs.exists());
    assert_eq!(fs::metadata(sandbox.path("f")).unwrap().uid(), NOBODY);
}

#[test]
fn a_folder_made_in_a_shared_one_takes_nothing_of_another_user_away() {
    if !is_root() {
        return;
    }
    let sandbox = sandbox();
    let shared = sandbox.path("shared");
    fs::create_dir(&shared).unwrap();
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o1777)).unwrap();
    fs::set_permissions(sandbox.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let private = sandbox.path("private");
    for name in ["m.sealed", "back", "f.sealed"] {
        let at = |digits: &str| shared.join(format!(".{name}.{}.part", digits.repeat(16)));
        let [folder, link, file] = ["a", "b", "c"].map(at);
        as_nobody(&format!(
            "mkdir -m 0700 {0}; echo mine > {0}/file; ln -s {1} {0}/link; ln -s {1} {2}; echo mine > {3}",
            folder.display(),
            private.display(),
            link.display(),
            file.display()
        ));
        let to = format!("shared/{name}");
        let make: Vec<&str> = match name {
            "back" => vec!["open", "m.sealed", "-o", &to],
            "m.sealed" => vec![
                "seal",
                "m",
                "--to",
                "alice",
                "--sign",
                "publisher",
                "-o",
                &to,
            ],
            _ => vec![
                "seal",
                "f",
                "--to",
                "alice",
                "--sign",
                "publisher",
                "--force",
                "-o",
                &to,
            ],
        };
        sandbox.ok(&make);
        assert_precious(&sandbox);
        assert_eq!(fs::read(folder.join("file")).unwrap(), b"mine\n");
        assert_eq!(fs::read(file).unwrap(), b"mine\n");
        assert!(link.is_symlink());
    }
}

#[test]
fn a_journal_that_was_placed_in_a_folder_is_replaced_and_not_written_through() {
    let sandbox = sandbox();
    sandbox.write("precious", b"years");
    let journal = sandbox.path("m.sealed/.casemate-rewrap");
    let place: [fn(&Path, &Path); 2] = [
        |from, to| fs::hard_link(from, to).unwrap(),
        |from, to| symlink(from, to).unwrap(),
    ];
    for (round, place) in place.into_iter().enumerate() {
        place(&sandbox.path("precious"), &journal);
        let change = ["--add", "--remove"][round];
        let said = sandbox.run(&["rewrap", "m.sealed", change, "bob"]);
        assert_eq!(sandbox.read("precious"), b"years", "{said:?}");
        _ = fs::remove_file(&journal);
        sandbox.ok(&["rewrap", "m.sealed", "--to", "alice"]);
        sandbox.ok(&["rewrap", "m.sealed", "--to", "alice", "--to", "bob"]);
    }
}

#[test]
fn no_folder_on_the_way_to_a_sealed_file_is_a_link() {
    let sandbox = sandbox();
    fs::create_dir(sandbox.path("outside")).unwrap();
    fs::rename(sandbox.path("m.sealed/a"), sandbox.path("outside/a")).unwrap();
    symlink("../outside/a", sandbox.path("m.sealed/a")).unwrap();
    for command in [
        ["open", "m.sealed", "-o", "out"],
        ["verify", "m.sealed", "--signer", "publisher"],
        ["rewrap", "m.sealed", "--to", "bob"],
    ] {
        sandbox.refused(&command, 1, "symbolic link");
    }
    fs::remove_file(sandbox.path("m.sealed/a")).unwrap();
    fs::rename(sandbox.path("outside/a"), sandbox.path("m.sealed/a")).unwrap();
    sandbox.ok(&["open", "m.sealed", "-o", "out"]);
}
