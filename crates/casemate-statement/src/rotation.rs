//! Finished rotations (`spec/key-statements.md`, section 4).

use casemate_crypto::{
    encoding::KeyId,
    signature::{SigningKey, VerifyingKey},
};
use serde::{Deserialize, Serialize};

use crate::{
    StatementError,
    envelope::{self, Unverified, check_number},
};

const KIND: &str = "urn:casemate:key-rotation:1";
const LIST_MAX: usize = 1_000;
const WHY_CHARS_MAX: usize = 500;

/// What was found at a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// The place, as it was named.
    pub place: String,
    /// Artifacts there.
    pub artifacts: u64,
    /// Artifacts that were rewrapped.
    pub changed: u64,
    /// Artifacts that are still sealed to a lower version.
    pub below: u64,
    /// Artifacts that are not sealed to any version of the key.
    pub other: u64,
}

/// Something that could not be read or changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unreachable {
    /// The place.
    pub place: String,
    /// Why it could not be.
    pub why: String,
}

/// A statement that a rotation is finished at some places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Name of the key.
    pub name: String,
    /// Id of the version that everything was to be sealed to.
    pub key: KeyId,
    /// Its number.
    pub version: u64,
    /// When it was finished, in seconds since 1970-01-01 UTC.
    pub finished: u64,
    /// What was looked at.
    pub places: Vec<Place>,
    /// What could not be reached: the first thousand.
    pub unreachable: Vec<Unreachable>,
    /// How much could not be reached.
    pub unreachable_count: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Predicate {
    version: u64,
    finished: u64,
    places: Vec<Place>,
    below: u64,
    unreachable: Vec<Unreachable>,
    unreachable_count: u64,
}

impl Rotation {
    /// Returns the number of artifacts that are sealed to a lower version.
    pub fn below(&self) -> u64 {
        let below = self.places.iter().map(|place| place.below);
        below.fold(0, u64::saturating_add)
    }

    /// Returns whether nothing is sealed to a lower version, and everything could be reached.
    pub fn is_complete(&self) -> bool {
        self.below() == 0 && self.unreachable_count == 0
    }

    /// Signs the statement. Of what could not be reached, it lists the first thousand.
    ///
    /// # Errors
    ///
    /// [`StatementError::Rule`] if there are more than 1,000 places, or it would be too long.
    pub fn sign(&self, signer: &SigningKey) -> Result<Vec<u8>, StatementError> {
        let shortened = |one: &Unreachable| Unreachable {
            place: one.place.clone(),
            why: one.why.chars().take(WHY_CHARS_MAX).collect(),
        };
        let listed = self.unreachable.iter().take(LIST_MAX);
        let predicate = Predicate {
            version: self.version,
            finished: self.finished,
            places: self.places.clone(),
            below: self.below(),
            unreachable: listed.map(shortened).collect(),
            unreachable_count: self.unreachable_count,
        };
        check(&predicate)?;
        envelope::sign(KIND, (&self.name, self.key), predicate, &[signer])
    }

    /// Verifies a statement by this signer.
    ///
    /// # Errors
    ///
    /// [`StatementError`].
    pub fn verify(file: &[u8], signer: &VerifyingKey) -> Result<Self, StatementError> {
        let unverified = Unverified::read(file)?;
        unverified.check(signer)?;
        let statement = unverified.statement::<Predicate>(KIND)?;
        let predicate = statement.predicate;
        check(&predicate)?;
        let rotation = Self {
            name: statement.name,
            key: statement.key,
            version: predicate.version,
            finished: predicate.finished,
            places: predicate.places,
            unreachable: predicate.unreachable,
            unreachable_count: predicate.unreachable_count,
        };
        if rotation.below() != predicate.below {
            return Err(StatementError::Rule("its sum is not that of its places"));
        }
        Ok(rotation)
    }
}

fn check(predicate: &Predicate) -> Result<(), StatementError> {
    if predicate.places.len() > LIST_MAX || predicate.unreachable.len() > LIST_MAX {
        return Err(StatementError::Rule("it lists more than 1,000 places"));
    }
    if predicate.unreachable_count < predicate.unreachable.len() as u64 {
        return Err(StatementError::Rule(
            "it lists more than it says could not be reached",
        ));
    }
    let numbers = [
        predicate.version,
        predicate.finished,
        predicate.below,
        predicate.unreachable_count,
    ];
    let places = predicate
        .places
        .iter()
        .flat_map(|place| [place.artifacts, place.changed, place.below, place.other]);
    for number in numbers.into_iter().chain(places) {
        check_number(number)?;
    }
    let is_long = |one: &Unreachable| one.why.chars().count() > WHY_CHARS_MAX;
    if predicate.unreachable.iter().any(is_long) {
        return Err(StatementError::Rule(
            "a reason is longer than 500 characters",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use casemate_crypto::suite::MLDSA65_ED25519;

    use super::*;

    fn rotation() -> Rotation {
        Rotation {
            name: "model".to_owned(),
            key: KeyId::from_bytes([7; 32]),
            version: 3,
            finished: 1_800_000_000,
            places: vec![
                Place {
                    place: "s3://models/".to_owned(),
                    artifacts: 12,
                    changed: 4,
                    below: 0,
                    other: 2,
                },
                Place {
                    place: "./local".to_owned(),
                    artifacts: 1,
                    changed: 0,
                    below: 0,
                    other: 0,
                },
            ],
            unreachable: Vec::new(),
            unreachable_count: 0,
        }
    }

    #[test]
    fn a_rotation_is_complete_if_nothing_is_below_and_all_was_reached() {
        let signer = SigningKey::generate(&MLDSA65_ED25519).unwrap();
        let verify = |file: &[u8]| Rotation::verify(file, signer.verifying_key()).unwrap();
        let done = rotation();
        let read = verify(&done.sign(&signer).unwrap());
        assert_eq!(read, done);
        assert!(read.is_complete());
        let mut below = rotation();
        below.places[1].below = 1;
        let read = verify(&below.sign(&signer).unwrap());
        assert_eq!((read.below(), read.is_complete()), (1, false));
        let mut partial = rotation();
        partial.unreachable_count = 1_500;
        partial.unreachable = vec![
            Unreachable {
                place: "s3://gone/x".to_owned(),
                why: "x".repeat(600),
            };
            1_500
        ];
        let read = verify(&partial.sign(&signer).unwrap());
        assert_eq!((read.unreachable.len(), read.is_complete()), (1_000, false));
        assert_eq!(read.unreachable[0].why.len(), 500);
    }

    #[test]
    fn another_signer_a_wrong_sum_and_absurd_numbers_are_refused() {
        let [signer, other] = [(), ()].map(|()| SigningKey::generate(&MLDSA65_ED25519).unwrap());
        let file = rotation().sign(&signer).unwrap();
        Rotation::verify(&file, other.verifying_key()).unwrap_err();
        let signed = |change: &dyn Fn(&mut Predicate)| {
            let mut predicate = Predicate {
                version: 3,
                finished: 1,
                places: rotation().places,
                below: 0,
                unreachable: Vec::new(),
                unreachable_count: 0,
            };
            change(&mut predicate);
            let subject = ("model", KeyId::from_bytes([7; 32]));
            let file = envelope::sign(KIND, subject, predicate, &[&signer]).unwrap();
            Rotation::verify(&file, signer.verifying_key())
        };
        signed(&|_| ()).unwrap();
        signed(&|predicate| predicate.below = 1).unwrap_err();
        signed(&|predicate| predicate.places[0].below = 1).unwrap_err();
        signed(&|predicate| predicate.version = 1 << 53).unwrap_err();
        signed(&|predicate| predicate.places[0].artifacts = u64::MAX).unwrap_err();
        signed(&|predicate| {
            let place = predicate.places[0].clone();
            predicate.places = vec![place; 1_001];
        })
        .unwrap_err();
        signed(&|predicate| {
            let why = "x".repeat(501);
            let place = String::new();
            predicate.unreachable = vec![Unreachable { place, why }];
            predicate.unreachable_count = 1;
        })
        .unwrap_err();
        signed(&|predicate| {
            let (place, why) = (String::new(), String::new());
            predicate.unreachable = vec![Unreachable { place, why }];
        })
        .unwrap_err();
    }
}
