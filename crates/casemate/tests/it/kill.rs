//! `kill -9` at any moment leaves the old state or the new one, and no stray file.

use std::{thread, time::Duration};

use crate::support::Sandbox;

const MEGABYTES: usize = 24;
/// Kills for each test, unless `CASEMATE_KILLS` says another number.
const ROUNDS: u64 = 12;
/// The moments lie in this time after the start: the key store is open then, and what follows is
/// over in it.
const FIRST: Duration = Duration::from_millis(90);
const SPAN: Duration = Duration::from_millis(200);

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::with_keys();
    sandbox.write("model", &vec![9; MEGABYTES << 20]);
    sandbox
}

/// Starts a command, kills it after a while, and says whether it had finished by itself.
fn killed(sandbox: &Sandbox, arguments: &[&str], after: Duration) -> bool {
    let mut child = sandbox.spawn(arguments);
    thread::sleep(after);
    let finished = child.try_wait().unwrap().is_some();
    child.kill().unwrap();
    child.wait().unwrap();
    finished
}

/// Moments spread over the time the command takes.
fn moments() -> impl Iterator<Item = Duration> {
    let rounds = std::env::var("CASEMATE_KILLS").map_or(ROUNDS, |text| text.parse().unwrap());
    let rounds = u32::try_from(rounds).unwrap();
    (0..rounds).map(move |round| FIRST + SPAN * round / rounds)
}

#[test]
fn a_killed_seal_leaves_no_file_or_a_whole_one() {
    let sandbox = sandbox();
    let before = sandbox.names();
    for after in moments() {
        killed(
            &sandbox,
            &["seal", "model", "--to", "alice", "--sign", "publisher"],
            after,
        );
        let now = sandbox.names();
        if now == before {
            continue;
        }
        assert_eq!(now.len(), before.len() + 1, "{now:?}");
        sandbox.ok(&["verify", "model.sealed", "--signer", "publisher"]);
        std::fs::remove_file(sandbox.path("model.sealed")).unwrap();
    }
}

#[test]
fn a_killed_open_leaves_no_plaintext_or_all_of_it() {
    let sandbox = sandbox();
    sandbox.ok(&["seal", "model", "--to", "alice", "--sign", "publisher"]);
    let before = sandbox.names();
    for after in moments() {
        killed(&sandbox, &["open", "model.sealed", "-o", "copy"], after);
        let now = sandbox.names();
        if now == before {
            continue;
        }
        assert_eq!(now.len(), before.len() + 1, "{now:?}");
        assert!(
            sandbox.read("copy") == sandbox.read("model"),
            "a part of the plaintext was left"
        );
        std::fs::remove_file(sandbox.path("copy")).unwrap();
    }
}

#[test]
fn a_killed_rewrap_leaves_the_old_recipients_or_the_new_ones() {
    let sandbox = sandbox();
    sandbox.ok(&["seal", "model", "--to", "alice", "--sign", "publisher"]);
    for (round, after) in moments().enumerate() {
        let both = ["rewrap", "model.sealed", "--to", "alice", "--to", "bob"];
        let one = ["rewrap", "model.sealed", "--to", "alice"];
        killed(&sandbox, if round % 2 == 0 { &both } else { &one }, after);
        sandbox.ok(&["verify", "model.sealed", "--signer", "publisher"]);
        let seen = sandbox.ok(&["inspect", "model.sealed"]);
        let recipients = seen
            .lines()
            .filter(|line| line.starts_with("recipient"))
            .count();
        assert!([1, 2].contains(&recipients), "{seen}");
    }
    sandbox.ok(&["open", "model.sealed", "-o", "copy"]);
    assert!(sandbox.read("copy") == sandbox.read("model"));
}

/// A folder of forty files of half a megabyte.
fn folder() -> Sandbox {
    let sandbox = Sandbox::with_keys();
    std::fs::create_dir(sandbox.path("m")).unwrap();
    for number in 0..40 {
        sandbox.write(&format!("m/shard-{number:02}"), &vec![number; 500_000]);
    }
    sandbox
}

const SEAL: [&str; 6] = ["seal", "m", "--to", "alice", "--sign", "publisher"];

#[test]
fn a_killed_seal_of_a_folder_leaves_none_or_a_whole_one_and_the_next_clears_up() {
    let sandbox = folder();
    let before = sandbox.names();
    let (mut none, mut whole) = (0, 0);
    for after in moments() {
        killed(&sandbox, &SEAL, after * 3);
        if sandbox.path("m.sealed").exists() {
            whole += 1;
            sandbox.ok(&["verify", "m.sealed", "--signer", "publisher"]);
            std::fs::remove_dir_all(sandbox.path("m.sealed")).unwrap();
        } else {
            none += 1;
        }
    }
    println!("{none} killed before, {whole} after");
    sandbox.ok(&SEAL);
    std::fs::remove_dir_all(sandbox.path("m.sealed")).unwrap();
    assert_eq!(sandbox.names(), before);
}

#[test]
fn a_killed_rewrap_of_a_folder_opens_still_and_is_finished_by_the_same_command() {
    let sandbox = folder();
    sandbox.ok(&SEAL);
    for (round, after) in moments().enumerate() {
        let change = if round % 2 == 0 { "--add" } else { "--remove" };
        let command = ["rewrap", "m.sealed", change, "bob"];
        let finished = killed(&sandbox, &command, after);
        sandbox.ok(&["verify", "m.sealed", "--signer", "publisher"]);
        if !finished && sandbox.path("m.sealed/.casemate-rewrap").exists() {
            sandbox.ok(&command);
        }
        assert!(!sandbox.path("m.sealed/.casemate-rewrap").exists());
        // Whether or not the killed one had begun, the wanted state is reached by --to.
        let all = ["rewrap", "m.sealed", "--to", "alice", "--to", "bob"];
        sandbox.ok(if round % 2 == 0 { &all } else { &all[..4] });
    }
    sandbox.ok(&["open", "m.sealed", "-o", "copy"]);
    assert_eq!(sandbox.read("copy/shard-39"), sandbox.read("m/shard-39"));
}

#[test]
fn a_stopped_folder_leaves_nothing_in_the_clear() {
    let sandbox = Sandbox::with_keys();
    std::fs::create_dir(sandbox.path("folder")).unwrap();
    for number in 0..64 {
        sandbox.write(&format!("folder/{number}"), &vec![9; 1 << 20]);
    }
    let seal = ["seal", "folder", "--to", "alice", "--sign", "publisher"];
    sandbox.ok(&seal);
    let before = sandbox.names();
    let again = [&seal[..], &["-o", "again"]].concat();
    let open = ["open", "folder.sealed", "-o", "out"];
    for (arguments, signal) in [(&open[..], "-INT"), (&open, "-TERM"), (&again, "-INT")] {
        // On a busy machine the command may end before the signal; then there was nothing to test.
        let stopped = (0..20).any(|_| {
            let mut child = sandbox.spawn(arguments);
            while sandbox.names() == before && child.try_wait().unwrap().is_none() {
                thread::sleep(Duration::from_millis(1));
            }
            let id = child.id().to_string();
            let sent = std::process::Command::new("kill")
                .args([signal, &id])
                .status();
            assert!(sent.unwrap().success());
            let code = child.wait().unwrap().code();
            if code == Some(0) {
                let names = sandbox.names();
                for name in names.iter().filter(|name| !before.contains(name)) {
                    std::fs::remove_dir_all(sandbox.path(name)).unwrap();
                }
                return false;
            }
            assert_eq!(code, Some(130), "{arguments:?}");
            true
        });
        assert!(stopped, "{arguments:?} was never stopped");
        assert_eq!(sandbox.names(), before, "{arguments:?}");
    }
}
