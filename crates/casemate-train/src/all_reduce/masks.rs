//! The masks of a reduction.

use casemate_crypto::{
    Secret,
    keystream::{Keystream, WORDS_MAX},
};

use super::{checksum::Tags, error::AllReduceError};

/// Words that are processed at once, while they are in the L1 cache.
pub(super) const BLOCK: usize = WORDS_MAX / 2;

/// The keys of a reduction's masks at one rank.
pub(super) struct MaskKeys {
    pub(super) before: Secret<32>,
    pub(super) after: Secret<32>,
    pub(super) output: Secret<32>,
    /// Whether this rank adds the output mask.
    pub(super) first: bool,
}

fn add(block: &mut [u64], mask: impl Iterator<Item = u64>) {
    for (word, mask) in block.iter_mut().zip(mask) {
        *word = word.wrapping_add(mask);
    }
}

fn subtract(block: &mut [u64], mask: impl Iterator<Item = u64>) {
    for (word, mask) in block.iter_mut().zip(mask) {
        *word = word.wrapping_sub(mask);
    }
}

/// What a rank adds to the words that it sends.
pub(super) struct Mask {
    before: Keystream,
    after: Keystream,
    output: Option<Keystream>,
}

impl Mask {
    pub(super) fn new(keys: &MaskKeys) -> Result<Self, AllReduceError> {
        let output = keys.first.then(|| Keystream::new(&keys.output));
        Ok(Self {
            before: Keystream::new(&keys.before)?,
            after: Keystream::new(&keys.after)?,
            output: output.transpose()?,
        })
    }

    /// Masks the next words, at most [`BLOCK`]; an odd number of them ends the vector.
    pub(super) fn apply(&mut self, block: &mut [u64]) -> Result<(), AllReduceError> {
        let len = block.len();
        // After an odd number, the stream goes on after one unused word.
        let drawn = len.next_multiple_of(2);
        add(block, self.before.long_words(drawn)?);
        subtract(block, self.after.long_words(drawn)?);
        if let Some(output) = &mut self.output {
            add(block, output.long_words(len)?);
        }
        Ok(())
    }

    /// Returns the masks of the tags, which follow those of the words.
    pub(super) fn tags(mut self) -> Result<Tags, AllReduceError> {
        let before = tags_of(&mut self.before)?;
        Ok(before.subtract(tags_of(&mut self.after)?))
    }
}

fn tags_of(stream: &mut Keystream) -> Result<Tags, AllReduceError> {
    let mut numbers = Tags::default();
    for (to, word) in numbers.0.iter_mut().zip(stream.long_words(2)?) {
        *to = word;
    }
    // Modulo the prime.
    Ok(Tags::default().add(numbers))
}

/// What all ranks remove from the sum.
pub(super) struct OutputMask(Keystream);

impl OutputMask {
    pub(super) fn new(keys: &MaskKeys) -> Result<Self, AllReduceError> {
        Ok(Self(Keystream::new(&keys.output)?))
    }

    /// Removes it from the next words, at most [`BLOCK`].
    pub(super) fn remove(&mut self, block: &mut [u64]) -> Result<(), AllReduceError> {
        subtract(block, self.0.long_words(block.len())?);
        Ok(())
    }
}
