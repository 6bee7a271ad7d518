use super::*;

use crate::{StoreError, header::Header};

fn method(elements: &[Vec<u8>]) -> Vec<u8> {
    array(elements)
}

fn key_method() -> Vec<u8> {
    method(&[uint(2), bytes(&[3; 16])])
}

fn passphrase_method(memory_kib: u64, passes: u64, lanes: u64) -> Vec<u8> {
    method(&[
        uint(1),
        bytes(&[3; 16]),
        uint(memory_kib),
        uint(passes),
        uint(lanes),
    ])
}

fn slot_with(name: &str, method: Vec<u8>, membership: Vec<u8>) -> Vec<u8> {
    array(&[
        text(name),
        uint(100),
        method,
        membership,
        bytes(&[4; 12]),
        bytes(&[5; 48]),
        bytes(&[6; 60]),
    ])
}

fn slot(name: &str, method: Vec<u8>) -> Vec<u8> {
    slot_with(name, method, NULL.to_vec())
}

fn member(name: &str, share: u64) -> Vec<u8> {
    let membership = array(&[text("zones"), uint(share)]);
    slot_with(name, key_method(), membership)
}

fn group(name: &str, threshold: u64) -> Vec<u8> {
    array(&[
        text(name),
        uint(threshold),
        bytes(&[7; 16]),
        bytes(&[4; 12]),
        bytes(&[5; 48]),
    ])
}

fn entries(groups: &[Vec<u8>], slots: &[Vec<u8>]) -> Vec<(u64, Vec<u8>)> {
    vec![
        (0, uint(2)),
        (1, bytes(&[1; 16])),
        (2, uint(1_700_000_000)),
        (3, array(groups)),
        (4, array(slots)),
        (5, bytes(&[6; 32])),
    ]
}

fn decoded(groups: &[Vec<u8>], slots: &[Vec<u8>]) -> Result<Header, StoreError> {
    Header::decode(&map(&entries(groups, slots)))
}

fn with(key: usize, value: Vec<u8>) -> Result<Header, StoreError> {
    let mut entries = entries(&[], &[slot("a", key_method())]);
    entries[key].1 = value;
    Header::decode(&map(&entries))
}

fn one(method: Vec<u8>) -> Result<Header, StoreError> {
    decoded(&[], &[slot("a", method)])
}

#[track_caller]
fn assert_damaged(refused: Result<Header, StoreError>, rule: &str) {
    match refused {
        Err(StoreError::Header(found)) => assert_eq!(found, rule),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("accepted, but {rule}"),
    }
}

const STRUCTURE: &str = "not the expected CBOR structure";

#[test]
fn a_header_is_read_and_written_back_without_a_change() {
    let kept = |kind: u64| method(&[uint(kind), text("place"), bytes(&[1; 100])]);
    let recipient = method(&[uint(3), bytes(&[2; 32]), bytes(&[1; 1120]), bytes(&[9; 48])]);
    for (groups, slots) in [
        (vec![], vec![slot("a", key_method())]),
        (
            vec![],
            vec![
                slot("a", passphrase_method(65_536, 3, 4)),
                slot("b", recipient),
            ],
        ),
        (
            vec![],
            (4..10)
                .map(|kind| slot(&format!("k{kind}"), kept(kind)))
                .collect(),
        ),
        (
            vec![group("zones", 2)],
            vec![member("a", 1), member("b", 255), slot("c", key_method())],
        ),
        (
            vec![],
            (0..32)
                .map(|at| slot(&format!("s{at:02}"), key_method()))
                .collect(),
        ),
    ] {
        let encoded = map(&entries(&groups, &slots));
        let header = Header::decode(&encoded).unwrap();
        assert_eq!((header.store_id, header.commitment), ([1; 16], [6; 32]));
        assert_eq!(header.encode(), encoded);
    }
}

#[test]
fn another_version_is_named_before_the_rest_is_read() {
    for version in [0, 1, 3, u64::MAX] {
        let refused = Header::decode(&map(&[(0, uint(version)), (9, text("unknown"))]));
        assert!(matches!(refused, Err(StoreError::Version(found)) if found == version));
    }
}

#[test]
fn entries_that_are_missing_more_or_out_of_order_are_refused() {
    let good = || entries(&[], &[slot("a", key_method())]);
    for missing in 0..6 {
        let mut left = good();
        left.remove(missing);
        assert_damaged(Header::decode(&map(&left)), STRUCTURE);
    }
    let mut more = good();
    more.push((6, uint(0)));
    assert_damaged(Header::decode(&map(&more)), STRUCTURE);
    for first in 0..5 {
        let mut swapped = good();
        swapped.swap(first, first + 1);
        assert_damaged(Header::decode(&map(&swapped)), STRUCTURE);
    }
    let encoded = map(&good());
    let trailing = [&encoded[..], &[0]].concat();
    assert_damaged(Header::decode(&trailing), "not in deterministic encoding");
    for len in 0..encoded.len() {
        assert_damaged(Header::decode(&encoded[..len]), STRUCTURE);
    }
}

#[test]
fn values_of_another_type_or_length_are_refused() {
    for key in 0..6 {
        for value in [NULL.to_vec(), text("x"), map(&[])] {
            assert_damaged(with(key, value), STRUCTURE);
        }
    }
    for len in [0, 15, 17] {
        assert_damaged(with(1, bytes(&vec![0; len])), STRUCTURE);
    }
    for len in [0, 31, 33] {
        assert_damaged(with(5, bytes(&vec![0; len])), STRUCTURE);
    }
    assert_damaged(with(2, vec![0x18, 0]), "not in deterministic encoding");
}

#[test]
fn numbers_of_slots_and_groups_are_bounded() {
    let range = "there must be 1 to 32 slots";
    assert_damaged(with(4, array(&[])), range);
    let many: Vec<_> = (0..33)
        .map(|at| slot(&format!("s{at:02}"), key_method()))
        .collect();
    assert_damaged(with(4, array(&many)), range);
    let absurd = || encode(|e| e.array(u64::MAX).map(drop));
    assert_damaged(with(4, absurd()), range);
    let many = "there are more than 8 groups";
    assert_damaged(with(3, absurd()), many);
    assert_damaged(with(3, array(&vec![group("g", 2); 9])), many);
}

#[test]
fn slots_have_an_order_and_names_of_their_own() {
    let order = "slots are not in the order of their names";
    let slots =
        |names: &[&str]| -> Vec<_> { names.iter().map(|name| slot(name, key_method())).collect() };
    decoded(&[], &slots(&["a", "b"])).unwrap();
    assert_damaged(decoded(&[], &slots(&["b", "a"])), order);
    assert_damaged(decoded(&[], &slots(&["a", "a"])), order);
    for bad in ["", "A", "a b", &"x".repeat(65)] {
        assert_damaged(decoded(&[], &slots(&[bad])), STRUCTURE);
    }
}

#[test]
fn a_group_has_as_many_members_as_it_needs_with_shares_of_their_own() {
    let zones = |threshold, slots: &[Vec<u8>]| decoded(&[group("zones", threshold)], slots);
    zones(2, &[member("a", 1), member("b", 2)]).unwrap();
    let few = "a group has fewer slots than it needs to open";
    assert_damaged(zones(3, &[member("a", 1), member("b", 2)]), few);
    assert_damaged(zones(2, &[slot("a", key_method())]), few);
    assert_damaged(
        zones(1, &[member("a", 1), member("b", 2)]),
        "the threshold of a group is below 2",
    );
    assert_damaged(
        zones(2, &[member("a", 1), member("b", 1)]),
        "two slots have the same share",
    );
    for share in [0, 256] {
        assert_damaged(zones(2, &[member("a", 1), member("b", share)]), STRUCTURE);
    }
    assert_damaged(
        decoded(&[], &[member("a", 1)]),
        "a slot belongs to a group that is missing",
    );
}

#[test]
fn a_slot_is_of_a_known_kind_with_all_its_elements() {
    let kind = "unknown kind of slot";
    assert_damaged(one(method(&[uint(0)])), kind);
    assert_damaged(one(method(&[uint(2)])), kind);
    assert_damaged(one(method(&[uint(2), uint(0)])), STRUCTURE);
    // A passphrase slot with the elements of a key slot, and the reverse.
    assert_damaged(one(method(&[uint(1)])), kind);
    assert_damaged(one(method(&[uint(10), text("x"), bytes(&[])])), kind);
    let long_salt = [uint(1), bytes(&[3; 17]), uint(8), uint(1), uint(1)];
    assert_damaged(one(method(&long_salt)), STRUCTURE);
    let place = "the location of a slot is not valid";
    let long = "x".repeat(4097);
    for location in ["", "a\nb", &long] {
        let kept = [uint(6), text(location), bytes(&[])];
        assert_damaged(one(method(&kept)), place);
    }
    let wrapped = "a wrapped slot key is too long";
    let kept = |len| one(method(&[uint(6), text("x"), bytes(&vec![0; len])]));
    kept(8192).unwrap();
    assert_damaged(kept(8193), wrapped);
    let recipient = |enc: usize, sealed: usize| {
        one(method(&[
            uint(3),
            bytes(&[2; 32]),
            bytes(&vec![1; enc]),
            bytes(&vec![1; sealed]),
        ]))
    };
    recipient(8192, 48).unwrap();
    assert_damaged(recipient(8193, 48), wrapped);
    assert_damaged(recipient(1120, 47), STRUCTURE);
}

#[test]
fn the_cost_of_a_passphrase_is_bounded_alone_and_in_sum() {
    let cost = |memory, passes, lanes| one(passphrase_method(memory, passes, lanes));
    cost(1 << 20, 16, 16).unwrap();
    let limit = "passphrase cost exceeds its limit";
    assert_damaged(cost((1 << 20) + 1, 1, 1), limit);
    assert_damaged(cost(8, 17, 1), limit);
    assert_damaged(cost(8, 1, 17), limit);
    assert_damaged(cost(1 << 32, 1, 1), STRUCTURE);
    // Two slots at half the limit fit; any more does not.
    let half = |name: &str| slot(name, passphrase_method(1 << 20, 8, 1));
    decoded(&[], &[half("a"), half("b"), slot("c", key_method())]).unwrap();
    let refused = decoded(
        &[],
        &[half("a"), half("b"), slot("c", passphrase_method(1, 1, 1))],
    );
    assert_damaged(refused, "the total cost of its slots exceeds the limit");
}
