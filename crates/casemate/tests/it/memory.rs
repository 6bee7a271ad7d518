//! What the process keeps of its memory from core dumps and swap, and who may read the files with
//! its secrets.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use casemate_crypto::encoding::PrivateKey;

use crate::support::Sandbox;

fn sealed() -> Sandbox {
    let sandbox = Sandbox::with_keys();
    sandbox.write("m", b"model");
    sandbox.ok(&["seal", "m", "--to", "alice", "--sign", "publisher"]);
    sandbox
}

/// A process that has unlocked the key store and holds the model in the clear, with core dumps
/// allowed by the shell.
fn running(sandbox: &Sandbox, folder: &Path) -> Child {
    let run = "ulimit -c unlimited; cd \"$1\"; shift; exec \"$@\"";
    let ready = folder.join("ready");
    let script = format!("touch {}; sleep 20", ready.display());
    let home = sandbox.path("home");
    let passphrase = sandbox.path("passphrase");
    let mut command = Command::new("sh");
    command
        .args(["-c", run, "sh"])
        .arg(folder)
        .arg(env!("CARGO_BIN_EXE_casemate"))
        .arg("--home")
        .arg(home)
        .arg("--passphrase-file")
        .arg(passphrase)
        .args(["run", "--memory"])
        .arg(sandbox.path("m.sealed"))
        .args(["--", "sh", "-c", &script])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let child = command.spawn().unwrap();
    let start = Instant::now();
    while !ready.exists() {
        assert!(start.elapsed() < Duration::from_secs(30), "never started");
        thread::sleep(Duration::from_millis(20));
    }
    child
}

fn cores(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("core")).count()
}

#[test]
fn a_crash_leaves_no_core_and_keys_are_locked() {
    let sandbox = sealed();
    let folder = tempfile::tempdir().unwrap();
    let mut child = running(&sandbox, folder.path());
    let about = |name: &str| fs::read_to_string(format!("/proc/{}/{name}", child.id()));
    if let Ok(maps) = about("smaps") {
        let flags = maps
            .lines()
            .filter_map(|line| line.strip_prefix("VmFlags:"));
        let has = |flags: &str, flag: &str| flags.split_whitespace().any(|found| found == flag);
        let locked = flags
            .clone()
            .any(|flags| has(flags, "lo") && has(flags, "dd"));
        assert!(locked, "no pages are locked and out of core dumps");
    } else {
        casemate_testkit::skip("only root may read the map of a process that cannot be dumped");
    }
    let limits = about("limits").unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    let soft = core.unwrap().split_whitespace().nth(4);
    assert_eq!(soft, Some("0"), "{limits}");
    let id = child.id().to_string();
    let sent = Command::new("kill").args(["-ABRT", &id]).status().unwrap();
    assert!(sent.success());
    child.wait().unwrap();
    assert_eq!(cores(folder.path()), 0);
    // The twin: a process that allows it leaves one here, so that its absence says something.
    let crash = "ulimit -c unlimited; cd \"$1\"; kill -ABRT $$";
    let mut twin = Command::new("sh");
    twin.args(["-c", crash, "sh"]).arg(folder.path());
    twin.status().unwrap();
    if cores(folder.path()) == 0 {
        println!("this system writes core dumps elsewhere, so only the limit was looked at");
    }
}

#[test]
fn a_program_that_is_run_keeps_its_own_limit() {
    let sandbox = sealed();
    let line = "ulimit -S -c 7; exec \"$@\"";
    let run = [
        "run",
        "--memory",
        "m.sealed",
        "--",
        "sh",
        "-c",
        "sleep 0.5; ulimit -S -c",
    ];
    let given = sandbox.command(&run);
    let mut command = Command::new("sh");
    command
        .args(["-c", line, "sh"])
        .arg(given.get_program())
        .args(given.get_args())
        .current_dir(sandbox.folder.path())
        .env("CASEMATE_HOME", sandbox.path("home"))
        .stdin(Stdio::null());
    let done = command.output().unwrap();
    let shown = String::from_utf8(done.stdout).unwrap();
    assert_eq!(
        shown.trim(),
        "7",
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
}

#[test]
fn a_file_with_a_secret_that_others_can_read_is_refused() {
    let sandbox = sealed();
    let key = PrivateKey::generate("mlkem768-x25519").unwrap().unwrap();
    sandbox.write("key.pem", key.to_pem().unwrap().expose());
    let readable = |name: &str, mode| {
        fs::set_permissions(sandbox.path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    let words = "other users can read or change";
    for mode in [0o644, 0o604, 0o660] {
        readable("passphrase", mode);
        sandbox.refused(&["keys", "list"], 4, words);
        readable("passphrase", 0o600);
        readable("key.pem", mode);
        sandbox.refused(&["keys", "import", "key.pem", "--name", "k"], 4, words);
        sandbox.refused(
            &["sign", "m", "--oms", "key.pem", "--allow-classical"],
            4,
            words,
        );
        sandbox.refused(
            &["age", "decrypt", "m", "--identity", "key.pem", "-o", "x"],
            4,
            words,
        );
    }
    // What a group shares is the group's own decision.
    readable("key.pem", 0o640);
    readable("passphrase", 0o640);
    sandbox.ok(&["keys", "import", "key.pem", "--name", "k"]);
    // A public key is anyone's to read.
    sandbox.ok(&["keys", "export", "publisher", "-o", "publisher.pub"]);
    readable("publisher.pub", 0o644);
    sandbox.ok(&["verify", "m.sealed", "--signer", "./publisher.pub"]);
}
