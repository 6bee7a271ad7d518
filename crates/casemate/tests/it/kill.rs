//! `kill -9` at any moment leaves the old state or the new one, and no stray file.

use std::{thread, time::Duration};

use crate::support::House;

const MEGABYTES: usize = 24;
/// Kills for each test, unless `CASEMATE_KILLS` says another number.
const ROUNDS: u64 = 12;
/// The moments lie in this time after the start: the key store is open then, and what follows is
/// over in it.
const FIRST: Duration = Duration::from_millis(90);
const SPAN: Duration = Duration::from_millis(200);

fn house() -> House {
    let house = House::with_keys();
    house.write("model", &vec![9; MEGABYTES << 20]);
    house
}

/// Starts a command, kills it after a while, and says whether it had finished by itself.
fn killed(house: &House, arguments: &[&str], after: Duration) -> bool {
    let mut child = house.spawn(arguments);
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
    let house = house();
    let before = house.names();
    for after in moments() {
        killed(
            &house,
            &["seal", "model", "--to", "alice", "--sign", "publisher"],
            after,
        );
        let now = house.names();
        if now == before {
            continue;
        }
        assert_eq!(now.len(), before.len() + 1, "{now:?}");
        house.ok(&["verify", "model.sealed", "--signer", "publisher"]);
        std::fs::remove_file(house.path("model.sealed")).unwrap();
    }
}

#[test]
fn a_killed_open_leaves_no_plaintext_or_all_of_it() {
    let house = house();
    house.ok(&["seal", "model", "--to", "alice", "--sign", "publisher"]);
    let before = house.names();
    for after in moments() {
        killed(&house, &["open", "model.sealed", "-o", "copy"], after);
        let now = house.names();
        if now == before {
            continue;
        }
        assert_eq!(now.len(), before.len() + 1, "{now:?}");
        assert!(
            house.read("copy") == house.read("model"),
            "a part of the plaintext was left"
        );
        std::fs::remove_file(house.path("copy")).unwrap();
    }
}

#[test]
fn a_killed_rewrap_leaves_the_old_recipients_or_the_new_ones() {
    let house = house();
    house.ok(&["seal", "model", "--to", "alice", "--sign", "publisher"]);
    for (round, after) in moments().enumerate() {
        let both = ["rewrap", "model.sealed", "--to", "alice", "--to", "bob"];
        let one = ["rewrap", "model.sealed", "--to", "alice"];
        killed(&house, if round % 2 == 0 { &both } else { &one }, after);
        house.ok(&["verify", "model.sealed", "--signer", "publisher"]);
        let seen = house.ok(&["inspect", "model.sealed"]);
        let recipients = seen
            .lines()
            .filter(|line| line.starts_with("recipient"))
            .count();
        assert!([1, 2].contains(&recipients), "{seen}");
    }
    house.ok(&["open", "model.sealed", "-o", "copy"]);
    assert!(house.read("copy") == house.read("model"));
}

/// A folder of forty files of half a megabyte.
fn folder() -> House {
    let house = House::with_keys();
    std::fs::create_dir(house.path("m")).unwrap();
    for number in 0..40 {
        house.write(&format!("m/shard-{number:02}"), &vec![number; 500_000]);
    }
    house
}

const SEAL: [&str; 6] = ["seal", "m", "--to", "alice", "--sign", "publisher"];

#[test]
fn a_killed_seal_of_a_folder_leaves_none_or_a_whole_one_and_the_next_clears_up() {
    let house = folder();
    let before = house.names();
    let (mut none, mut whole) = (0, 0);
    for after in moments() {
        killed(&house, &SEAL, after * 3);
        if house.path("m.sealed").exists() {
            whole += 1;
            house.ok(&["verify", "m.sealed", "--signer", "publisher"]);
            std::fs::remove_dir_all(house.path("m.sealed")).unwrap();
        } else {
            none += 1;
        }
    }
    println!("{none} killed before, {whole} after");
    house.ok(&SEAL);
    std::fs::remove_dir_all(house.path("m.sealed")).unwrap();
    assert_eq!(house.names(), before);
}

#[test]
fn a_killed_rewrap_of_a_folder_opens_still_and_is_finished_by_the_same_command() {
    let house = folder();
    house.ok(&SEAL);
    for (round, after) in moments().enumerate() {
        let change = if round % 2 == 0 { "--add" } else { "--remove" };
        let command = ["rewrap", "m.sealed", change, "bob"];
        let finished = killed(&house, &command, after);
        house.ok(&["verify", "m.sealed", "--signer", "publisher"]);
        if !finished && house.path("m.sealed/.casemate-rewrap").exists() {
            house.ok(&command);
        }
        assert!(!house.path("m.sealed/.casemate-rewrap").exists());
        // Whether or not the killed one had begun, the wanted state is reached by --to.
        let all = ["rewrap", "m.sealed", "--to", "alice", "--to", "bob"];
        house.ok(if round % 2 == 0 { &all } else { &all[..4] });
    }
    house.ok(&["open", "m.sealed", "-o", "copy"]);
    assert_eq!(house.read("copy/shard-39"), house.read("m/shard-39"));
}

#[test]
fn a_stopped_folder_leaves_nothing_in_the_clear() {
    let house = House::with_keys();
    std::fs::create_dir(house.path("folder")).unwrap();
    for number in 0..64 {
        house.write(&format!("folder/{number}"), &vec![9; 1 << 20]);
    }
    let seal = ["seal", "folder", "--to", "alice", "--sign", "publisher"];
    house.ok(&seal);
    let before = house.names();
    let again = [&seal[..], &["-o", "again"]].concat();
    let open = ["open", "folder.sealed", "-o", "out"];
    for (arguments, signal) in [(&open[..], "-INT"), (&open, "-TERM"), (&again, "-INT")] {
        let mut child = house.spawn(arguments);
        while house.names() == before && child.try_wait().unwrap().is_none() {
            thread::sleep(Duration::from_millis(1));
        }
        let id = child.id().to_string();
        let sent = std::process::Command::new("kill")
            .args([signal, &id])
            .status();
        assert!(sent.unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(130), "{arguments:?}");
        assert_eq!(house.names(), before, "{arguments:?}");
    }
}
