//! Every limit is the specification's.

use casemate_seal::limits as l;

/// Returns the value of a row of the specification's table, from its beginning.
fn specified(name: &str) -> &'static str {
    let text = include_str!("../../../../spec/sealed-artifact.md");
    let table = text.split("## 3. Limits").nth(1).unwrap();
    table
        .lines()
        .find_map(|line| {
            line.strip_prefix("| ")?
                .strip_prefix(name)?
                .strip_prefix(" | ")
        })
        .unwrap()
}

/// Writes a number as the specification does.
fn written(number: impl TryInto<u64>) -> String {
    let digits = number.try_into().ok().unwrap().to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| str::from_utf8(group).unwrap())
        .collect();
    groups.join(",")
}

#[test]
fn the_limits_are_those_of_the_specification() {
    for (name, limit) in [
        ("tail", written(l::TAIL_BYTES_MAX)),
        ("header (encoded)", written(l::HEADER_BYTES_MAX as u64)),
        ("content type", written(l::CONTENT_TYPE_BYTES_MAX as u64)),
        ("publisher part", written(l::PRIVATE_BYTES_MAX as u64)),
        (
            "recipient part",
            written(l::RECIPIENT_PART_BYTES_MAX as u64),
        ),
        ("public part", written(l::PUBLIC_PART_BYTES_MAX as u64)),
        ("signature", written(l::SIGNATURE_BYTES_MAX as u64)),
        (
            "public key in a recipient list",
            written(l::SPKI_BYTES_MAX as u64),
        ),
        (
            "recipients",
            format!("1 to {}", written(l::RECIPIENTS_MAX as u64)),
        ),
        ("segments `n`", format!("2^{}", l::SEGMENTS_MAX.ilog2())),
    ] {
        assert!(specified(name).starts_with(&limit), "{name}: {limit}");
    }
    let size = specified("segment size `S`");
    for limit in [
        l::SEGMENT_BYTES_MIN,
        l::SEGMENT_BYTES_MAX,
        l::SEGMENT_BYTES_DEFAULT,
    ] {
        assert!(size.contains(&written(limit)), "{limit}");
    }
    assert!(l::SEGMENTS_MAX.is_power_of_two());
    // Twice the largest tail, and with its footer.
    assert_eq!(
        (l::SEARCH_HASHED_MAX, l::GAP_BYTES_MAX),
        (805_306_368, 805_306_432)
    );
    assert_eq!((l::FILES_MAX, l::MANIFEST_BYTES_MAX), (65_536, 67_108_864));
}
