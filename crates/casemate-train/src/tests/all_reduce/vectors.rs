//! `vectors/all-reduce.json`, made by the second implementation in `interop/all_reduce.py`.

use casemate_crypto::{SecretBytes, hash::sha384};
use casemate_testkit::{array_at, hex_at};
use serde_json::Value;

use super::{after, agree, refs, value};
use crate::all_reduce::{Lanes, Mode, Reduction, Ring, derive, transcript};

const VECTOR: &str = include_str!("../../../../../vectors/all-reduce.json");

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn ring(vector: &Value, mode: Mode, rank: usize) -> Ring {
    let names: Vec<String> = serde_json::from_value(vector["names"].clone()).unwrap();
    let parts: Vec<_> = array_at(vector, "parts").iter().map(bytes).collect();
    let parts: Vec<_> = parts.iter().map(Vec::as_slice).collect();
    let exports = array_at(vector, "exports").iter().map(bytes);
    let exports: Vec<_> = exports.map(SecretBytes::new).collect();
    let roster = hex_at(vector, "roster_digest").try_into().unwrap();
    let transcript = transcript(&roster, &names, mode);
    let beside = [&exports[rank], &exports[after(rank, exports.len())]];
    derive((names, rank), (mode, transcript), &parts, beside).unwrap()
}

/// The formula of the generator.
fn values(rank: usize, case: &Value) -> Vec<f32> {
    let size = i32::try_from(case["size"].as_i64().unwrap()).unwrap();
    let count = usize::try_from(case["count"].as_u64().unwrap()).unwrap();
    // Numbers down to the least that 32-bit floating point has, exactly.
    let scaled = |at| f64::from(value(rank, at)) * 2f64.powi(size);
    #[expect(clippy::cast_possible_truncation, reason = "exact")]
    (0..count).map(|at| scaled(at) as f32).collect()
}

#[test]
fn reductions_are_those_of_the_second_implementation() {
    let vector: Value = serde_json::from_str(VECTOR).unwrap();
    let mut cases = 0;
    for session in array_at(&vector, "sessions") {
        let mode = match session["mode"].as_str().unwrap() {
            "pairs" => Mode::Pairs,
            _ => Mode::Group,
        };
        for case in array_at(session, "reductions") {
            check(&vector, mode, case);
            cases += 1;
        }
    }
    assert_eq!(cases, 5);
}

fn check(vector: &Value, mode: Mode, case: &Value) {
    let lanes = match case["lanes"].as_u64().unwrap() {
        2 => Lanes::Two,
        _ => Lanes::Three,
    };
    let ranks = array_at(case, "ranks");
    let sent = |what: &str| {
        ranks
            .iter()
            .map(|rank| hex_at(rank, what))
            .collect::<Vec<_>>()
    };
    let [announced, tags, results] = ["announcement", "tags", "result"].map(sent);
    let mut sum: Vec<u64> = Vec::new();
    let mut begun = Vec::new();
    for (rank, expected) in ranks.iter().enumerate() {
        let mut ring = ring(vector, mode, rank);
        ring.next = case["number"].as_u64().unwrap().into();
        let values = values(rank, case);
        let (reduction, message) = Reduction::begin(&ring, lanes, &values, b"bucket 0").unwrap();
        assert_eq!(message, announced[rank], "announcement of rank {rank}");
        let mut words = vec![0; reduction.words()];
        let (mut masker, unmasker) = agree(reduction, &ring, &announced);
        masker.next(&values, &mut words).unwrap();
        assert_eq!(
            masker.finish(&ring).unwrap(),
            tags[rank],
            "tags of rank {rank}"
        );
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let masked = hex_at(expected, "masked");
        assert_eq!(sha384(&bytes).to_vec(), masked, "words of rank {rank}");
        sum.resize(words.len(), 0);
        sum.iter_mut()
            .zip(words)
            .for_each(|(sum, word)| *sum = sum.wrapping_add(word));
        begun.push((ring, unmasker, values.len()));
    }
    for (rank, (ring, mut unmasker, length)) in begun.into_iter().enumerate() {
        let mut mean = vec![0f32; length];
        unmasker.next(&mut sum.clone(), &mut mean).unwrap();
        let (confirmation, message) = unmasker.finish(&ring, &refs(&tags)).unwrap();
        assert_eq!(message, results[rank]);
        let bytes: Vec<u8> = mean.iter().flat_map(|value| value.to_le_bytes()).collect();
        assert_eq!(sha384(&bytes).to_vec(), hex_at(case, "mean"));
        confirmation.confirm(&ring, &refs(&results)).unwrap();
    }
}
