//! The masks of a reduction, computed as they are used or before.

use casemate_crypto::{
    Secret,
    keystream::{Keystream, WORDS_MAX},
};
use zeroize::Zeroizing;

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

/// Both masks of a reduction, made ahead of it.
pub struct Prepared {
    pub(super) number: u64,
    net: Zeroizing<Vec<u64>>,
    tags: Tags,
    output: Zeroizing<Vec<u64>>,
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prepared")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl Prepared {
    pub(super) fn new(keys: &MaskKeys, number: u64, words: usize) -> Result<Self, AllReduceError> {
        let mut net = Zeroizing::new(vec![0; words]);
        let mut masks = Net::new(keys)?;
        for block in net.chunks_mut(BLOCK) {
            masks.apply(block)?;
        }
        let mut output = Zeroizing::new(vec![0; words]);
        let mut mask = Keystream::new(&keys.output)?;
        for block in output.chunks_mut(BLOCK) {
            add(block, mask.long_words(block.len())?);
        }
        Ok(Self {
            number,
            net,
            tags: masks.tags()?,
            output,
        })
    }

    pub(super) fn words(&self) -> usize {
        self.net.len()
    }
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

/// The streams of what a rank sends.
pub(super) struct Net {
    before: Keystream,
    after: Keystream,
    output: Option<Keystream>,
}

impl Net {
    fn new(keys: &MaskKeys) -> Result<Self, AllReduceError> {
        let output = keys.first.then(|| Keystream::new(&keys.output));
        Ok(Self {
            before: Keystream::new(&keys.before)?,
            after: Keystream::new(&keys.after)?,
            output: output.transpose()?,
        })
    }

    fn apply(&mut self, block: &mut [u64]) -> Result<(), AllReduceError> {
        let len = block.len();
        // An odd number ends the vector; the stream goes on after one unused word.
        let drawn = len.next_multiple_of(2);
        add(block, self.before.long_words(drawn)?);
        subtract(block, self.after.long_words(drawn)?);
        if let Some(output) = &mut self.output {
            add(block, output.long_words(len)?);
        }
        Ok(())
    }

    /// Returns the masks of the tags, which follow those of the words.
    fn tags(mut self) -> Result<Tags, AllReduceError> {
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

/// The masks of a reduction, from wherever they come.
pub(super) enum Masks {
    Made(Prepared),
    Streams { net: Option<Net>, output: Keystream },
}

impl Masks {
    /// Takes those that were prepared, if they fit.
    pub(super) fn new(
        keys: &MaskKeys,
        (number, words): (u64, usize),
        prepared: Option<Prepared>,
    ) -> Result<Self, AllReduceError> {
        match prepared {
            Some(made) if made.number == number && made.words() == words => Ok(Self::Made(made)),
            _ => Ok(Self::Streams {
                net: Some(Net::new(keys)?),
                output: Keystream::new(&keys.output)?,
            }),
        }
    }

    /// Masks the words of a vector from `at` on.
    pub(super) fn mask(&mut self, block: &mut [u64], at: usize) -> Result<(), AllReduceError> {
        match self {
            Self::Made(made) => add(block, made.net.iter().skip(at).copied()),
            Self::Streams { net: Some(net), .. } => net.apply(block)?,
            Self::Streams { net: None, .. } => return Err(TWICE),
        }
        Ok(())
    }

    /// Returns the masks of the tags, after those of all words.
    pub(super) fn tags(&mut self) -> Result<Tags, AllReduceError> {
        match self {
            Self::Made(made) => Ok(made.tags),
            Self::Streams { net, .. } => net.take().ok_or(TWICE)?.tags(),
        }
    }

    /// Removes the output mask from the words of a sum from `at` on.
    pub(super) fn unmask(&mut self, block: &mut [u64], at: usize) -> Result<(), AllReduceError> {
        match self {
            Self::Made(made) => subtract(block, made.output.iter().skip(at).copied()),
            Self::Streams { output, .. } => subtract(block, output.long_words(block.len())?),
        }
        Ok(())
    }
}

const TWICE: AllReduceError = AllReduceError::Turn("a vector was masked twice");
