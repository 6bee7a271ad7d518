//! Policies and updates that a client must not accept.

use casemate_crypto::policy::Policy;

use super::{
    FIRST, NOBODY, after,
    job::{Job, Run, parameters},
};
use crate::{
    Roster,
    aggregate::{AggregateError, AggregationPolicy, Client, Floors, Noise, Parameters},
    tests::{JOB, NOW, assert_text, fill},
};

/// What a policy has instead, and the rule that this breaks.
type Change = (fn(&mut Parameters), &'static str);

const BELOW_FLOORS: [Change; 7] = [
    (
        |p| p.cohort_min = 19,
        "the smallest cohort is 19, must be at least 20",
    ),
    (
        |p| p.bits = 11,
        "the number of bits is 11, must be at least 12",
    ),
    (
        |p| p.threshold = 666,
        "the threshold in thousandths is 666, must be at least 667",
    ),
    (
        |p| p.clip_nano = 999_999,
        "the clip in 10^-9 is 999999, must be 1000000 to 4000000000",
    ),
    (
        |p| p.clip_nano = 4_000_000_001,
        "the clip in 10^-9 is 4000000001, must be",
    ),
    (
        |p| (p.neighbours, p.cohort_min) = (19, 30),
        "the number of neighbours is 19, must be at least 20",
    ),
    (
        |p| (p.neighbours, p.cohort_min, p.threshold) = (20, 35, 500),
        "the number of shares needed is 11, must be at least",
    ),
];

#[test]
fn a_policy_below_the_floors_is_refused_whoever_signed_it() {
    let job = Job::new(40);
    let floors = Floors {
        cohort_min: 20,
        bits: 12,
        clip_nano: 1_000_000..=4_000_000_000,
        ..Floors::default()
    };
    let mut strong = parameters(40);
    strong.cohort_min = 20;
    assert_eq!(floors.check(&strong, 40), Ok(()));
    for (change, rule) in BELOW_FLOORS {
        let mut weak = strong;
        change(&mut weak);
        assert_text(&floors.check(&weak, 40).unwrap_err(), rule);
    }
    let noisy = Floors {
        noise_multiplier: 1,
        ..floors
    };
    assert_text(
        &noisy.check(&strong, 40).unwrap_err(),
        "the noise multiplier in thousandths is 0",
    );
    // The client checks when it joins.
    let mut weak = strong;
    weak.threshold = 600;
    let round = job.round(weak, 1);
    let error = Client::advertise(&job.with(&round, FIRST), &mut fill).unwrap_err();
    assert_text(
        &error,
        "the threshold in thousandths is 600, must be at least 667",
    );
}

const BROKEN: [Change; 20] = [
    (|p| p.length = 0, "1 to 2^28 coordinates"),
    (|p| p.length = (1 << 28) + 1, "1 to 2^28 coordinates"),
    (|p| p.bits = 3, "4 to 28 bits"),
    (|p| p.ring_bits = 33, "at most 32"),
    (|p| p.clip_nano = 0, "the clip must be"),
    (|p| p.weight_max = 1 << 20, "the largest weight"),
    (|p| p.weight_max = 0, "the largest weight"),
    (|p| p.cohort_min = 2, "a cohort must have 3"),
    (
        |p| (p.cohort_max, p.neighbours) = (1025, 2),
        "a cohort must have 3",
    ),
    (|p| p.cohort_max = 2, "the largest cohort is smaller"),
    (|p| p.threshold = 499, "500 to 999"),
    (|p| p.threshold = 1000, "500 to 999"),
    (|p| p.cohort_max = 257, "at most 255 share holders"),
    (|p| p.neighbours = 1, "at least 2 neighbours"),
    (|p| p.neighbours = 3, "fewer neighbours than clients"),
    (|p| p.noise = Some(noise(0, 1)), "noise needs a norm"),
    (
        |p| (p.noise, p.weight_max) = (Some(noise(1, 1)), 2),
        "a largest weight of 1",
    ),
    (
        |p| (p.noise, p.weight_max) = (Some(noise(1, 1 << 51)), 1),
        "at most 2^50",
    ),
    (
        |p| (p.noise, p.weight_max) = (Some(noise(1, 1 << 42)), 1),
        "the ring has no room",
    ),
    // Three updates of 20 bits need 22.
    (|p| p.ring_bits = 21, "the ring has no room"),
];

const fn noise(norm_nano: u64, variance: u64) -> Noise {
    Noise {
        norm_nano,
        variance,
    }
}

#[test]
fn a_policy_that_breaks_a_rule_is_refused() {
    let job = Job::new(3);
    for (change, rule) in BROKEN {
        let mut broken = parameters(3);
        change(&mut broken);
        let refused = AggregationPolicy::new(&job.roster, broken, job.aggregator.public_key());
        assert_text(&refused.unwrap_err(), rule);
    }
    let mut least = parameters(3);
    least.ring_bits = 22;
    job.round(least, 1);
}

#[test]
fn the_sum_of_extreme_updates_does_not_wrap_around() {
    let job = Job::new(5);
    for extreme in [-9e9f32, 9e9] {
        let parameters = Parameters {
            ring_bits: 23,
            weight_max: 1,
            ..parameters(5)
        };
        let mut run = Run::new(&job, parameters);
        for (values, weight) in run.updates.values_mut() {
            values.fill(extreme);
            *weight = 1;
        }
        for _ in 0..4 {
            run.step(NOBODY);
        }
        let aggregate = run.step(NOBODY).unwrap();
        // Clipped to the clip of 2, which five levels of 2^20 still hold.
        let wanted = 2.0 * extreme.signum();
        assert!(
            aggregate
                .mean
                .iter()
                .all(|mean| (mean - wanted).abs() < 1e-5),
            "{aggregate:?}"
        );
    }
}

#[test]
fn a_policy_of_another_signer_or_roster_or_with_changed_bytes_is_refused() {
    let job = Job::new(3);
    let policy = AggregationPolicy::new(&job.roster, parameters(3), job.aggregator.public_key());
    let signed = policy.unwrap().sign(&job.owner).unwrap();
    let algorithms = Policy::by_name("hybrid").unwrap();
    let owner = job.owner.verifying_key();
    let open = |bytes: &[u8]| AggregationPolicy::open(bytes, &job.roster, owner, &algorithms);
    assert_eq!(*open(&signed).unwrap().parameters(), parameters(3));
    let stranger = job.keys[FIRST].verifying_key();
    let other = AggregationPolicy::open(&signed, &job.roster, stranger, &algorithms);
    assert_eq!(other.unwrap_err(), AggregateError::PolicySignature);
    let members: Vec<_> = job
        .keys
        .iter()
        .map(|(name, key)| (name.as_str(), key.verifying_key()))
        .collect();
    let later = Roster::new(JOB, 2, NOW, NOW + 1000, &members).unwrap();
    let other = AggregationPolicy::open(&signed, &later, owner, &algorithms);
    assert_eq!(other.unwrap_err(), AggregateError::PolicyRoster);
    for at in (0..signed.len()).step_by(97) {
        let mut bad = signed.clone();
        bad[at] ^= 1;
        assert!(open(&bad).is_err(), "byte {at}");
    }
    for end in 0..40 {
        open(&signed[..end]).unwrap_err();
    }
}

#[test]
fn updates_that_cannot_be_aggregated_are_refused() {
    let job = Job::new(3);
    let with_update = |values: Vec<f32>, weight| {
        let mut run = after(&job, 2);
        run.updates.insert(FIRST.to_owned(), (values, weight));
        run.answer(FIRST)
            .map(drop)
            .map_err(|error| error.to_string())
    };
    assert_eq!(with_update(vec![0.0; 5], 100), Ok(()));
    for (values, weight, rule) in [
        (vec![0.0; 4], 1, "it has 4 coordinates, must have 5"),
        (vec![0.0; 6], 1, "it has 6 coordinates, must have 5"),
        (vec![0.0; 5], 0, "its weight is 0, must be 1 to 100"),
        (vec![0.0; 5], 101, "its weight is 101, must be 1 to 100"),
        (
            vec![0.0, 0.0, f32::NAN, 0.0, 0.0],
            1,
            "coordinate 2 is not a finite number",
        ),
        (
            vec![0.0, 0.0, 0.0, f32::INFINITY, 0.0],
            1,
            "coordinate 3 is not a finite number",
        ),
    ] {
        let error = with_update(values, weight).unwrap_err();
        assert!(error.contains(rule), "{error} instead of: {rule}");
    }
}

#[test]
fn every_size_of_a_cohort_is_checked() {
    let mut policy = parameters(10);
    policy.cohort_min = 7;
    // Of 30 members, 3 are corrupt. With 8 clients, 5 of 7 shares are needed: 2 * 5 = 7 + 3.
    let error = Floors::default().check(&policy, 30).unwrap_err();
    assert_text(
        &error,
        "the number of shares needed is 5, must be at least 6",
    );
    policy.threshold = 750;
    assert_eq!(Floors::default().check(&policy, 30), Ok(()));
}
