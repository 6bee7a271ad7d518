use casemate_cbor::encode;

use super::*;
use crate::{MEMBERS_MAX, ROSTER_BYTES_MAX};

fn open(signed: &[u8]) -> Result<Roster, TrainError> {
    Roster::open(signed, &terms())
}

#[test]
fn a_roster_comes_back_from_its_signer_and_lists_its_members() {
    let made = roster(3);
    let signed = made.sign(&OWNER).unwrap();
    let opened = open(&signed).unwrap();
    assert_eq!(opened.digest(), made.digest());
    assert_eq!((opened.job(), opened.epoch()), (&JOB, 3));
    assert_eq!((opened.created(), opened.expires()), (NOW, NOW + 1000));
    let names: Vec<_> = opened
        .members()
        .iter()
        .map(|member| member.name.as_str())
        .collect();
    assert_eq!(names, ["alice", "bob", "carol"]);
    let bob = opened.member("bob").unwrap();
    assert_eq!(bob.id(), BOB.verifying_key().id().unwrap());
    assert_eq!(
        opened.member("dave").unwrap_err(),
        TrainError::NotAMember("dave".to_owned())
    );
    let stranger = Roster::new(
        JOB,
        3,
        NOW,
        NOW + 1000,
        &[
            ("bob", BOB.verifying_key()),
            ("alice", ALICE.verifying_key()),
        ],
    );
    assert_ne!(stranger.unwrap().digest(), made.digest());
}

#[test]
fn only_the_expected_signer_is_believed() {
    let signed = roster(1).sign(&ALICE).unwrap();
    assert_eq!(open(&signed).unwrap_err(), TrainError::RosterSignature);
    let good = roster(1).sign(&OWNER).unwrap();
    for at in (0..good.len()).step_by(7) {
        let mut changed = good.clone();
        changed[at] ^= 1;
        let refused = open(&changed).unwrap_err();
        assert!(
            matches!(
                refused,
                TrainError::RosterSignature | TrainError::Roster(_) | TrainError::Length { .. }
            ),
            "byte {at}: {refused}"
        );
    }
    for len in (0..good.len()).step_by(11) {
        open(&good[..len]).unwrap_err();
    }
    assert_rule(
        open(&[&good[..], &[0]].concat()),
        "not in deterministic encoding",
    );
    assert_rule(
        open(&vec![0; ROSTER_BYTES_MAX + 1]),
        "signed roster has length 16777217",
    );
}

#[test]
fn a_roster_holds_from_its_date_to_before_its_end_and_never_goes_back() {
    let signed = roster(3).sign(&OWNER).unwrap();
    let at = |now, epoch_min| {
        Roster::open(
            &signed,
            &Terms {
                now,
                epoch_min,
                ..terms()
            },
        )
        .map(drop)
    };
    assert_eq!(at(NOW, 3), Ok(()));
    assert_eq!(at(NOW + 999, 0), Ok(()));
    let (created, expires) = (NOW, NOW + 1000);
    for now in [0, NOW - 1] {
        assert_eq!(at(now, 1), Err(TrainError::RosterEarly { created, now }));
    }
    for now in [expires, u64::MAX] {
        assert_eq!(at(now, 1), Err(TrainError::RosterExpired { expires, now }));
    }
    assert_eq!(
        at(NOW, 4),
        Err(TrainError::RosterEpoch {
            epoch: 3,
            minimum: 4
        })
    );
}

#[test]
fn members_have_names_and_keys_of_their_own() {
    let make = |members: &[(&str, &SigningKey)]| {
        let members: Vec<_> = members
            .iter()
            .map(|(name, key)| (*name, key.verifying_key()))
            .collect();
        Roster::new(JOB, 1, NOW, NOW + 1, &members).map(drop)
    };
    assert_eq!(make(&[("a", &ALICE), ("b.0_c-d", &BOB)]), Ok(()));
    assert_rule(make(&[("a", &ALICE)]), "2 to 4,096 members");
    assert_rule(make(&[("a", &ALICE), ("a", &BOB)]), "ascending order");
    assert_rule(make(&[("a", &ALICE), ("b", &ALICE)]), "the same key");
    let long = "n".repeat(65);
    for name in [
        "", "A", "-a", ".a", "a b", "a/b", "\u{e4}", "a\u{1b}", &long,
    ] {
        assert_rule(make(&[("a", &ALICE), (name, &BOB)]), "1 to 64 characters");
    }
    assert_eq!(make(&[("a", &ALICE), (&long[..64], &BOB)]), Ok(()));
    let dates = |epoch, created, expires| {
        let members = [("a", ALICE.verifying_key()), ("b", BOB.verifying_key())];
        Roster::new(JOB, epoch, created, expires, &members).map(drop)
    };
    assert_rule(dates(0, 1, 2), "epochs start at 1");
    assert_rule(dates(1, 2, 2), "must expire after its creation");
}

/// A signed roster with this content, whatever a writer of ours would think of it.
fn signed(content: &[u8]) -> Vec<u8> {
    let signature = OWNER
        .sign(casemate_crypto::Purpose::TRAIN_ROSTER, content)
        .unwrap();
    encode(|e| e.array(2)?.bytes(content)?.bytes(&signature).map(drop))
}

#[test]
fn a_signature_does_not_excuse_another_form() {
    let key = ALICE.verifying_key().to_spki_der().unwrap();
    let other = BOB.verifying_key().to_spki_der().unwrap();
    let content = |version: u64, members: &[(&str, &[u8])], more: bool| {
        encode(|e| {
            e.map(if more { 7 } else { 6 })?
                .u8(0)?
                .u64(version)?
                .u8(1)?
                .bytes(&JOB)?;
            e.u8(2)?.u8(1)?.u8(3)?.u64(NOW)?.u8(4)?.u64(NOW + 1)?;
            e.u8(5)?.array(members.len() as u64)?;
            for (name, key) in members {
                e.array(2)?.str(name)?.bytes(key)?;
            }
            if more {
                e.u8(6)?.u8(0)?;
            }
            Ok(())
        })
    };
    let two = [("a", &key[..]), ("b", &other[..])];
    open(&signed(&content(1, &two, false))).unwrap();
    assert_rule(open(&signed(&content(2, &two, false))), "unknown version");
    assert_rule(
        open(&signed(&content(1, &two, true))),
        "unexpected CBOR structure",
    );
    assert_rule(
        open(&signed(&content(1, &[two[1], two[0]], false))),
        "ascending order",
    );
    assert_rule(
        open(&signed(&content(1, &[two[0], ("b", b"key")], false))),
        "not a signing key",
    );
    assert_rule(
        open(&signed(&content(1, &[two[0], ("b", &[])], false))),
        "a member's key has length 0",
    );
    let trailing = [&content(1, &two, false)[..], &[0]].concat();
    assert_rule(open(&signed(&trailing)), "not in deterministic encoding");
    assert_rule(open(&signed(b"")), "unexpected CBOR structure");
    let many = vec![two[0]; MEMBERS_MAX + 1];
    assert_rule(
        open(&signed(&content(1, &many, false))),
        "2 to 4,096 members",
    );
}

#[test]
fn a_roster_is_of_the_job_that_is_known() {
    let signed = roster(9).sign(&OWNER).unwrap();
    let opened = |job| Roster::open(&signed, &Terms { job, ..terms() }).map(drop);
    assert_eq!(opened(None), Ok(()));
    assert_eq!(opened(Some(JOB)), Ok(()));
    assert_eq!(opened(Some([8; 16])), Err(TrainError::RosterJob));
}

#[test]
fn the_policy_applies_to_every_key() {
    let pure = SigningKey::generate(&suite::MLDSA87).unwrap();
    let members = [("a", ALICE.verifying_key()), ("b", pure.verifying_key())];
    let mixed = Roster::new(JOB, 1, NOW, NOW + 1, &members).unwrap();
    let refused = open(&mixed.sign(&OWNER).unwrap()).unwrap_err();
    assert!(matches!(refused, TrainError::Policy(_)), "{refused}");
    let signed = roster(1).sign(&pure).unwrap();
    let terms = Terms {
        signer: pure.verifying_key(),
        ..terms()
    };
    let refused = Roster::open(&signed, &terms).unwrap_err();
    assert!(matches!(refused, TrainError::Policy(_)), "{refused}");
}
