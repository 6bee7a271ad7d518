//! Every limit is the specification's.

use casemate_crypto::kem::KemPublicKey;
use casemate_seal::{SealError, SealOptions, limits as l};

use crate::support::{KEM, options, seal_in_memory};

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

/// Seals with these of the fields that have a limit.
fn sealed(
    content_type: &str,
    public_part: &[u8],
    recipients: &[&KemPublicKey],
) -> Result<(), SealError> {
    let options = SealOptions {
        signer: None,
        content_type,
        public_part,
        ..options(recipients)
    };
    seal_in_memory(b"weights", &options).map(drop)
}

#[test]
fn what_reaches_a_limit_is_sealed_and_one_more_is_refused() {
    let refused = |result: Result<(), SealError>, name: &str, more: usize| {
        let error = result.unwrap_err();
        assert!(
            matches!(error, SealError::FieldTooLong { field, actual, .. } if (field, actual) == (name, more)),
            "{error}"
        );
    };
    let key = [KEM.public_key()];

    let longest = format!("a/{}", "b".repeat(l::CONTENT_TYPE_BYTES_MAX - 2));
    sealed(&longest, b"", &key).unwrap();
    let more = l::CONTENT_TYPE_BYTES_MAX + 1;
    refused(
        sealed(&format!("{longest}b"), b"", &key),
        "content type",
        more,
    );

    let largest = vec![0; l::PUBLIC_PART_BYTES_MAX + 1];
    sealed("a/b", &largest[1..], &key).unwrap();
    refused(sealed("a/b", &largest, &key), "public part", largest.len());
}

#[test]
fn recipients_are_counted_before_they_are_compared() {
    let many = vec![KEM.public_key(); l::RECIPIENTS_MAX + 1];
    let count = |recipients| sealed("a/b", b"", recipients).unwrap_err();
    assert!(matches!(
        count(&many[1..]),
        SealError::DuplicateRecipient(_)
    ));
    assert!(
        matches!(count(&many), SealError::TooManyRecipients { actual } if actual == l::RECIPIENTS_MAX + 1)
    );
}
