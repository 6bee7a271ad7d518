//! Public-key algorithms, with their operations and sizes.

mod classical;
mod hybrid;
mod pq;
#[cfg(feature = "catalogue")]
mod research;

use casemate_crypto::catalogue::{Algorithm, catalogue};

use crate::{
    BenchError, Options,
    rows::{Operation, Parts, Primitive, Sizes},
    timer::{self, Action, Budget},
};

/// The message to sign and the plaintext to encrypt, as long as a hash or a key.
const MESSAGE: &[u8; 32] = &[0x5a; 32];

/// An algorithm that is ready to be measured, with generated keys and checked operations.
pub(crate) struct Subject {
    name: &'static str,
    family: &'static str,
    library: &'static str,
    sizes: Sizes,
    pub(crate) actions: Vec<(&'static str, Action<'static>)>,
}

type Make = fn(&'static str) -> Result<Subject, BenchError>;

/// Returns the name and constructor of every built-in algorithm, in the order of the table.
fn makers() -> Vec<(&'static str, Make)> {
    let mut makers = classical::MAKERS.to_vec();
    makers.extend(pq::MAKERS);
    makers.extend(hybrid::makers());
    #[cfg(feature = "catalogue")]
    makers.extend(research::MAKERS);
    makers
}

/// Returns the algorithm with this name; `None` if it is not built in or fails its check.
pub(crate) fn subject(name: &str) -> Option<Subject> {
    let (name, make) = makers().into_iter().find(|(known, _)| *known == name)?;
    make(name).ok()
}

/// Returns the registry entry of a row; `None` if there is none.
fn registered(name: &str) -> Option<&'static Algorithm> {
    Algorithm::by_name(name).or_else(|| catalogue().find(|row| row.title == name))
}

/// Returns an error if a check of an algorithm failed.
fn check(algorithm: &str, holds: bool, what: &'static str) -> Result<(), BenchError> {
    if holds {
        return Ok(());
    }
    Err(BenchError::Check {
        algorithm: algorithm.to_owned(),
        what,
    })
}

pub(crate) fn measure(
    options: &Options,
    progress: &mut dyn FnMut(&str, usize, usize),
) -> Result<Vec<Primitive>, BenchError> {
    let mut subjects = Vec::new();
    for (name, make) in makers() {
        if options.wants("primitives", name) || is_part_of_wanted(options, name) {
            progress(name, 0, 0);
            subjects.push(make(name)?);
        }
    }
    let mut rows = Vec::new();
    let mut actions = Vec::new();
    let mut names = Vec::new();
    for subject in subjects {
        names.push(subject.actions.len());
        let mut operations = Vec::new();
        for (name, action) in subject.actions {
            operations.push(name);
            actions.push(action);
        }
        rows.push((
            Primitive {
                name: subject.name.to_owned(),
                family: subject.family.to_owned(),
                library: subject.library.to_owned(),
                operations: Vec::new(),
                sizes: subject.sizes,
                peak_memory_bytes: None,
                article: None,
            },
            operations,
        ));
    }
    let mut timings = timer::interleaved(actions, Budget::of(options.effort), &mut |at, of| {
        progress("all", at, of);
    })
    .into_iter();
    let mut measured: Vec<_> = rows
        .into_iter()
        .map(|(mut row, operations)| {
            row.operations = operations
                .into_iter()
                .zip(timings.by_ref())
                .map(|(name, timing)| Operation {
                    name: name.to_owned(),
                    timing,
                    parts: None,
                    article: None,
                })
                .collect();
            row
        })
        .collect();
    add_parts(&mut measured);
    Ok(measured)
}

/// Returns whether a row is part of a selected hybrid: the parts of a hybrid are measured whenever
/// the hybrid is.
fn is_part_of_wanted(options: &Options, name: &str) -> bool {
    hybrid::parts()
        .iter()
        .filter(|row| options.wants("primitives", row.hybrid))
        .any(|row| row.parts.iter().any(|(part, _)| *part == name))
}

fn add_parts(rows: &mut [Primitive]) {
    for hybrid::PartsOf {
        hybrid,
        operation,
        parts,
    } in hybrid::parts()
    {
        let find = |row: &str, operation: &str| {
            let row = rows.iter().find(|one| one.name == row)?;
            let found = row.operations.iter().find(|one| one.name == operation)?;
            Some(found.timing.median_us)
        };
        let medians: Option<Vec<f64>> = parts
            .iter()
            .map(|(part, operation)| find(part, operation))
            .collect();
        let (Some(medians), Some(whole)) = (medians, find(hybrid, operation)) else {
            continue;
        };
        let sum_us: f64 = medians.iter().sum();
        let of = parts
            .iter()
            .map(|(part, operation)| format!("{part} {operation}"))
            .collect();
        let target = rows
            .iter_mut()
            .filter(|row| row.name == hybrid)
            .flat_map(|row| &mut row.operations)
            .find(|one| one.name == operation);
        if let Some(target) = target {
            let ratio = whole / sum_us.max(1e-9);
            target.parts = Some(Parts { of, sum_us, ratio });
        }
    }
}

#[cfg(test)]
mod tests {
    use casemate_crypto::{
        hpke::TAG_BYTES,
        suite::{KEM_SUITES, SIGNATURE_SUITES},
    };

    use super::*;

    #[test]
    fn names_are_unique_and_every_part_of_a_hybrid_is_measured() {
        let mut names: Vec<_> = makers().into_iter().map(|(name, _)| name).collect();
        for row in hybrid::parts() {
            assert!(names.contains(&row.hybrid), "{}", row.hybrid);
            for (part, _) in row.parts {
                assert!(names.contains(&part), "{part}");
            }
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(subject("Kyber-1024").is_none());
    }

    #[test]
    fn every_hybrid_suite_is_measured_and_compared_with_its_halves() {
        let parts = hybrid::parts();
        let compared = |name, operation| {
            let row = parts
                .iter()
                .find(|row| row.hybrid == name && row.operation == operation);
            row.map(|row| row.parts.as_slice())
        };
        let sealing = [
            ("ML-KEM-768", "encapsulate"),
            ("X25519", "keygen"),
            ("X25519", "agree"),
        ];
        assert_eq!(compared("mlkem768-x25519", "seal"), Some(&sealing[..]));
        let verifying = [("ML-DSA-87", "verify"), ("ECDSA P-384", "verify")];
        assert_eq!(compared("mldsa87-p384", "verify"), Some(&verifying[..]));
        assert_eq!(compared("mlkem1024", "seal"), None);
        for suite in KEM_SUITES.into_iter().filter(|suite| suite.is_hybrid()) {
            assert!(compared(suite.name, "open").is_some(), "{}", suite.name);
            assert!(subject(suite.name).is_some(), "{}", suite.name);
        }
        for suite in SIGNATURE_SUITES
            .into_iter()
            .filter(|suite| suite.is_hybrid())
        {
            assert!(compared(suite.name, "sign").is_some(), "{}", suite.name);
            assert!(subject(suite.name).is_some(), "{}", suite.name);
        }
    }

    #[test]
    fn sizes_are_those_of_the_registry() {
        let mut compared = 0;
        for (name, make) in makers() {
            let Some(row) = registered(name) else {
                continue;
            };
            let sizes = make(name).unwrap().sizes;
            assert_eq!(sizes.public_key, row.public_key_bytes, "{name}");
            if let Some(private) = row.private_key_bytes {
                assert_eq!(sizes.private_key, private, "{name}");
            }
            // A message sealed with HPKE adds its own length and a tag to the ciphertext.
            let message = if name.starts_with("mlkem") {
                MESSAGE.len() + TAG_BYTES
            } else {
                0
            };
            assert_eq!(sizes.output, row.output_bytes + message, "{name}");
            compared += 1;
        }
        assert!(compared >= 25, "{compared}");
    }
}
