//! `kill -9` at any moment leaves the old state or the new one, and no stray file.

use std::{thread, time::Duration};

use crate::support::House;

const MEGABYTES: usize = 24;
const ROUNDS: u64 = 12;

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
    (0..ROUNDS).map(|round| Duration::from_millis(90u64.saturating_add(round.saturating_mul(17))))
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
