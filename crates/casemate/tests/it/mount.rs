//! `casemate mount` and `casemate run`, with the kernel's own FUSE where the machine has it.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::{FileExt, MetadataExt, PermissionsExt},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::support::Sandbox;

fn has_fuse() -> bool {
    let found = fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/fuse")
        .is_ok();
    if !found {
        casemate_testkit::skip("/dev/fuse cannot be opened here");
    }
    found
}

/// Three segments and a bit.
fn content() -> Vec<u8> {
    (0..3_300_000_u32).map(|at| (at / 251 + at) as u8).collect()
}

fn sealed() -> Sandbox {
    let sandbox = Sandbox::with_keys();
    sandbox.write("model.bin", &content());
    sandbox.ok(&["seal", "model.bin", "--to", "alice", "--sign", "publisher"]);
    fs::create_dir(sandbox.path("view")).unwrap();
    sandbox
}

/// A mount in the background; waits until `file` can be seen.
fn mounted(sandbox: &Sandbox, input: &str, file: &Path) -> Child {
    mounted_with(sandbox, &[input, "view"], file)
}

fn mounted_with(sandbox: &Sandbox, arguments: &[&str], file: &Path) -> Child {
    let mut child = sandbox
        .command(&[&["mount"], arguments].concat())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while fs::File::open(file).is_err() {
        assert!(child.try_wait().unwrap().is_none(), "it ended");
        assert!(start.elapsed() < Duration::from_secs(30), "never mounted");
        thread::sleep(Duration::from_millis(20));
    }
    child
}

fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    let done = Command::new("kill").args([name, &pid]).status().unwrap();
    assert!(done.success());
}

fn is_mounted(point: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    mounts.contains(point.to_str().unwrap())
}

#[test]
fn a_mounted_file_reads_as_the_plain_one_and_goes_with_the_command() {
    if !has_fuse() {
        return;
    }
    let sandbox = sealed();
    let (point, content) = (sandbox.path("view"), content());
    let file = point.join("model.bin");
    let mut child = mounted(&sandbox, "model.bin.sealed", &file);
    assert_eq!(fs::read(&file).unwrap(), content);
    let open = fs::File::open(&file).unwrap();
    for (offset, len) in [
        (0, 10),
        (1_048_570, 20),
        (3_299_999, 1),
        (500_000, 2_500_000),
    ] {
        let mut part = vec![0; len];
        open.read_exact_at(&mut part, offset as u64).unwrap();
        assert_eq!(part, content[offset..offset + len]);
    }
    assert_eq!(open.read_at(&mut [0; 10], 3_300_000).unwrap(), 0);
    drop(open);
    let metadata = fs::metadata(&file).unwrap();
    assert_eq!(
        (metadata.len(), metadata.mode() & 0o777),
        (3_300_000, 0o400)
    );
    // Zip archives have no time before 1980, and a file system without blocks looks empty.
    assert!(metadata.mtime() > 315_532_800);
    let told = rustix::fs::statfs(&file).unwrap();
    let block = u64::try_from(told.f_bsize).unwrap();
    assert_eq!(told.f_blocks, 3_300_000_u64.div_ceil(block));
    assert_eq!((told.f_files, told.f_bavail), (1, 0));
    fs::write(point.join("new"), b"x").unwrap_err();
    fs::File::options().write(true).open(&file).unwrap_err();
    signal(&child, "-TERM");
    assert!(child.wait().unwrap().success());
    assert!(!is_mounted(&point) && !file.exists());
}

#[test]
fn a_signal_right_after_the_mount_unmounts() {
    if !has_fuse() {
        return;
    }
    let sandbox = sealed();
    for _ in 0..5 {
        let mut child = sandbox
            .command(&["mount", "model.bin.sealed", "view"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("mounted at") {
            assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "{line}");
        }
        signal(&child, "-TERM");
        assert!(child.wait().unwrap().success());
        assert!(!is_mounted(&sandbox.path("view")));
    }
}

#[test]
fn a_signed_model_is_checked_as_it_is_read() {
    if !has_fuse() {
        return;
    }
    let (sandbox, content) = (Sandbox::with_keys(), content());
    for folder in ["model/sub", "view"] {
        fs::create_dir_all(sandbox.path(folder)).unwrap();
    }
    sandbox.write("model/sub/large.bin", &content);
    sandbox.write("model/small", b"small");
    sandbox.ok(&["sign", "model", "--sign", "publisher"]);
    let file = sandbox.path("view/sub/large.bin");
    let arguments = [
        "model",
        "view",
        "--signature",
        "model.sig",
        "--signer",
        "publisher",
    ];
    let child = mounted_with(&sandbox, &arguments, &file);
    assert_eq!(fs::read(sandbox.path("view/small")).unwrap(), b"small");
    // The kernel has not read the last segment when it is changed.
    let mut first = [0; 100];
    let open = fs::File::open(&file).unwrap();
    open.read_exact_at(&mut first, 0).unwrap();
    assert_eq!(first, content[..100]);
    let original = sandbox.path("model/sub/large.bin");
    let target = fs::File::options().write(true).open(original).unwrap();
    target
        .write_all_at(&[!content[3_200_000]], 3_200_000)
        .unwrap();
    let refused = open.read_exact_at(&mut first, 3_199_950).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(5), "an input/output error");
    open.read_exact_at(&mut first, 2_000_000).unwrap();
    assert_eq!(first, content[2_000_000..2_000_100]);
    drop(open);
    signal(&child, "-TERM");
    let told = child.wait_with_output().unwrap();
    assert!(told.status.success());
    let told = String::from_utf8(told.stderr).unwrap();
    assert!(told.contains("sub/large.bin was changed"), "{told}");
    // What is not the signed model is not shown at all.
    sandbox.write("model/added", b"");
    let again = ["mount", "model", "view", "--signature", "model.sig"];
    sandbox.refused(&again, 1, "added was not signed");
}

#[test]
fn a_view_whose_process_was_killed_is_replaced() {
    if !has_fuse() {
        return;
    }
    let sandbox = sealed();
    let point = sandbox.path("view");
    let file = point.join("model.bin");
    let mut child = mounted(&sandbox, "model.bin.sealed", &file);
    signal(&child, "-KILL");
    child.wait().unwrap();
    fs::read_dir(&point).expect_err("the view is stale");
    let mut child = mounted(&sandbox, "model.bin.sealed", &file);
    assert_eq!(fs::read(&file).unwrap(), content());
    signal(&child, "-INT");
    assert!(child.wait().unwrap().success());
    assert!(!is_mounted(&point));
}

#[test]
fn damage_is_an_error_to_the_reader_and_named_to_the_user() {
    if !has_fuse() {
        return;
    }
    let sandbox = sealed();
    let artifact = sandbox.path("model.bin.sealed");
    let mut bytes = fs::read(&artifact).unwrap();
    bytes[2_200_000] ^= 1;
    fs::write(&artifact, bytes).unwrap();
    let file = sandbox.path("view").join("model.bin");
    let child = mounted(&sandbox, "model.bin.sealed", &file);
    let open = fs::File::open(&file).unwrap();
    let mut part = [0; 100];
    open.read_exact_at(&mut part, 100).unwrap();
    assert_eq!(part, content()[100..200]);
    let refused = open.read_exact_at(&mut part, 2_500_000).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(5), "{refused}");
    drop(open);
    signal(&child, "-TERM");
    let said = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("segment 2"), "{said}");
}

#[test]
fn a_folder_is_mounted_whole_and_a_changed_one_not_at_all() {
    if !has_fuse() {
        return;
    }
    let sandbox = sealed();
    fs::create_dir_all(sandbox.path("m/a/b")).unwrap();
    sandbox.write("m/config.json", b"{}");
    sandbox.write("m/a/b/w.bin", &content());
    sandbox.ok(&["seal", "m", "--to", "alice", "--sign", "publisher"]);
    let point = sandbox.path("view");
    let mut child = mounted(&sandbox, "m.sealed", &point.join("config.json"));
    assert_eq!(fs::read(point.join("a/b/w.bin")).unwrap(), content());
    assert_eq!(casemate_testkit::names(&point), ["a", "config.json"]);
    assert_eq!(casemate_testkit::names(&point.join("a/b")), ["w.bin"]);
    signal(&child, "-TERM");
    assert!(child.wait().unwrap().success());

    sandbox.write("m.sealed/extra", b"x");
    let refused = sandbox.run(&["mount", "m.sealed", "view"]);
    assert_eq!(refused.code, 1);
    assert!(
        refused.err.contains("extra does not belong"),
        "{}",
        refused.err
    );
    sandbox.write("view/full", b"x");
    fs::remove_file(sandbox.path("m.sealed/extra")).unwrap();
    let refused = sandbox.run(&["mount", "m.sealed", "view"]);
    assert!(
        refused.err.contains("not an empty folder"),
        "{}",
        refused.err
    );
}

#[test]
fn a_program_runs_on_it_and_nothing_stays() {
    let sandbox = sealed();
    let ways: &[&[&str]] = if has_fuse() {
        &[&[], &["--memory"]]
    } else {
        &[&["--memory"]]
    };
    for way in ways {
        let run = |command: &[&str]| {
            sandbox.run(&[&["run", "model.bin.sealed"], *way, &["--"], command].concat())
        };
        let same = run(&["cmp", "{}", "model.bin"]);
        assert_eq!(same.code, 0, "{}", same.err);
        assert_eq!(
            run(&["sh", "-c", "test -r \"$CASEMATE_PATH\" && exit 7"]).code,
            7
        );
        assert_eq!(run(&["sh", "-c", "kill -9 $$"]).code, 137);
        let missing = run(&["no-such-program"]);
        assert_eq!(missing.code, 127);
        assert!(
            missing.err.contains("error: cannot run `no-such-program`"),
            "{missing:?}"
        );
        let denied = run(&["/etc/passwd"]);
        assert_eq!(denied.code, 126);
        assert!(
            denied.err.contains("error: cannot run `/etc/passwd`"),
            "{denied:?}"
        );
    }
    // What a killed run left, of a file and of a folder.
    let dead = Path::new("/dev/shm/casemate-run-00000000000000aa");
    fs::create_dir_all(dead.join("folder")).unwrap();
    fs::set_permissions(dead, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(dead.join("folder/w"), b"plaintext").unwrap();
    fs::create_dir_all(sandbox.path("m/a")).unwrap();
    sandbox.write("m/a/w.bin", &content());
    sandbox.ok(&["seal", "m", "--to", "alice", "--sign", "publisher"]);
    for way in ways {
        let same =
            sandbox.run(&[&["run", "m.sealed"], *way, &["--", "diff", "-r", "m", "{}"]].concat());
        assert_eq!(same.code, 0, "{}", same.err);
        let shown = sandbox.run(&[&["run", "m.sealed"], *way, &["--", "echo", "{}"]].concat());
        let place = Path::new(shown.out.trim_end());
        let is_own = |name: &str| name.starts_with("casemate-");
        let own = place.ancestors().find(|path| {
            path.file_name()
                .is_some_and(|name| is_own(name.to_str().unwrap()))
        });
        assert!(!own.unwrap().exists(), "{shown:?}");
    }
    assert!(!dead.exists());
}

#[test]
fn a_killed_run_is_cleared_away_by_the_next_with_its_view() {
    let sandbox = sealed();
    let runtime = sandbox.path("runtime");
    fs::create_dir(&runtime).unwrap();
    fs::set_permissions(&runtime, fs::Permissions::from_mode(0o700)).unwrap();
    let ways: &[&[&str]] = if has_fuse() {
        &[&[], &["--memory=/dev/shm"]]
    } else {
        &[&["--memory=/dev/shm"]]
    };
    for way in ways {
        let shown = sandbox.path("shown");
        let script = "echo {} > shown.new; mv shown.new shown; sleep 30";
        let run = [
            &["run", "model.bin.sealed"],
            *way,
            &["--", "sh", "-c", script],
        ]
        .concat();
        let mut command = sandbox.command(&run);
        command.env("XDG_RUNTIME_DIR", &runtime);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let start = Instant::now();
        while !shown.exists() {
            assert!(start.elapsed() < Duration::from_secs(30), "never started");
            thread::sleep(Duration::from_millis(20));
        }
        let content = fs::read_to_string(&shown).unwrap();
        fs::remove_file(&shown).unwrap();
        let own = Path::new(content.trim_end())
            .ancestors()
            .find(|path| {
                path.file_name()
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .starts_with("casemate-")
            })
            .unwrap()
            .to_owned();
        assert_eq!(own.starts_with(&runtime), way.is_empty(), "{own:?}");
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(own.exists());
        let again = [&["run", "model.bin.sealed"], *way, &["--", "true"]].concat();
        let seen = sandbox.run_with(&again, &[("XDG_RUNTIME_DIR", runtime.to_str().unwrap())]);
        assert_eq!(seen.code, 0, "{seen:?}");
        assert!(!own.exists(), "{own:?}");
    }
}

#[test]
fn a_copy_in_memory_goes_where_it_is_told_and_only_to_memory() {
    let sandbox = sealed();
    let own = tempfile::tempdir_in("/dev/shm").unwrap();
    let memory = format!("--memory={}", own.path().display());
    let seen = sandbox.run(&["run", &memory, "model.bin.sealed", "--", "echo", "{}"]);
    assert!(
        seen.out.starts_with(own.path().to_str().unwrap()),
        "{seen:?}"
    );
    let disk = ["run", "--memory=/proc", "model.bin.sealed", "--", "true"];
    sandbox.refused(&disk, 4, "not on an in-memory file system");
}

#[test]
fn the_name_in_the_artifact_reaches_no_shell() {
    let sandbox = sealed();
    sandbox.write("w$(touch INJECTED).bin", b"x");
    sandbox.ok(&[
        "seal",
        "w$(touch INJECTED).bin",
        "-o",
        "m.sealed",
        "--to",
        "alice",
        "--sign",
        "publisher",
    ]);
    let shown = sandbox.run(&["run", "--memory", "m.sealed", "--", "sh", "-c", "echo {}"]);
    assert!(shown.out.ends_with("/m\n"), "{}", shown.out);
    fs::copy(
        sandbox.path("m.sealed"),
        sandbox.path("$(touch INJECTED).sealed"),
    )
    .unwrap();
    let shown = sandbox.run(&[
        "run",
        "--memory",
        "$(touch INJECTED).sealed",
        "--",
        "sh",
        "-c",
        "echo {}",
    ]);
    assert!(shown.out.ends_with("/content\n"), "{}", shown.out);
    assert!(!sandbox.path("INJECTED").exists());
}

#[test]
fn plaintext_goes_to_memory_only_where_that_was_asked_for() {
    let sandbox = sealed();
    let refused = sandbox.run(&["open", "model.bin.sealed", "-o", "out", "--to-memory"]);
    let in_memory = Command::new("stat")
        .args(["-f", "-c", "%T", sandbox.folder.path().to_str().unwrap()])
        .output()
        .unwrap();
    if in_memory.stdout.starts_with(b"tmpfs") {
        casemate_testkit::skip("the temporary folder is in memory here");
        return;
    }
    assert_eq!(refused.code, 4);
    assert!(
        refused.err.contains("not on an in-memory file system"),
        "{}",
        refused.err
    );
    let target = tempfile::tempdir_in("/dev/shm").unwrap();
    let out = target.path().join("out");
    sandbox.ok(&[
        "open",
        "model.bin.sealed",
        "--to-memory",
        "-o",
        out.to_str().unwrap(),
    ]);
    assert_eq!(fs::read(out).unwrap(), content());
}
