//! Tags that add up as vectors do (`spec/masked-all-reduce.md`, section 3.2).

use casemate_crypto::{Secret, keystream::Keystream};
use zeroize::Zeroizing;

use super::{error::AllReduceError, lanes::Lanes};

/// `2^61 - 1`.
const PRIME: u64 = (1 << 61) - 1;
/// Words of which a tag has one term.
pub(super) const BLOCK: usize = 1024;

/// The two tags of a vector, each a number modulo `2^61 - 1`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tags(pub(super) [u64; 2]);

impl Tags {
    pub(super) fn add(self, other: Self) -> Self {
        let mut sum = self;
        for (one, two) in sum.0.iter_mut().zip(other.0) {
            *one = reduce(u128::from(*one).saturating_add(two.into()));
        }
        sum
    }

    pub(super) fn subtract(self, other: Self) -> Self {
        let negative = |number: u64| PRIME.saturating_sub(reduce(number.into()));
        self.add(Self(other.0.map(negative)))
    }

    pub(super) fn to_bytes(self) -> [u8; 16] {
        let [one, two] = self.0.map(u64::to_be_bytes);
        let mut bytes = [0; 16];
        let (first, second) = bytes.split_at_mut(8);
        first.copy_from_slice(&one);
        second.copy_from_slice(&two);
        bytes
    }

    /// Reads tags; `None` for numbers that are not below the prime.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (numbers, []) = bytes.as_chunks::<8>() else {
            return None;
        };
        let [one, two] = <[_; 2]>::try_from(numbers).ok()?.map(u64::from_be_bytes);
        (one < PRIME && two < PRIME).then_some(Self([one, two]))
    }
}

/// Returns a number modulo the prime, completely.
fn reduce(number: u128) -> u64 {
    let once = (number & u128::from(PRIME)).saturating_add(number >> 61);
    let twice = (once & u128::from(PRIME)).saturating_add(once >> 61);
    let left = u64::try_from(twice).unwrap_or(PRIME);
    if left >= PRIME {
        left.saturating_sub(PRIME)
    } else {
        left
    }
}

fn multiply(one: u64, two: u64) -> u64 {
    reduce(u128::from(one).wrapping_mul(two.into()))
}

/// One tag: a polynomial over blocks, each of which is a product with the same numbers.
struct Tag {
    /// One for each lane of a block.
    numbers: Zeroizing<Vec<u64>>,
    point: u64,
    power: u64,
    sum: u64,
}

impl Tag {
    fn new(stream: &mut Keystream, lanes: usize) -> Result<Self, AllReduceError> {
        // The stream yields an even number of words at a time: the second goes unused.
        let point = stream.long_words(2)?.next().unwrap_or_default();
        let point = reduce(point.into());
        let mut numbers = Zeroizing::new(Vec::with_capacity(BLOCK.saturating_mul(lanes)));
        for _ in 0..lanes {
            numbers.extend(
                stream
                    .long_words(BLOCK)?
                    .map(|word| reduce(u128::from(word))),
            );
        }
        Ok(Self {
            numbers,
            point,
            power: point,
            sum: 0,
        })
    }

    /// Adds the words of a block. Lanes are far below the prime, so that no change of a word
    /// leaves its lanes the same modulo the prime.
    fn update<const N: usize>(&mut self, words: &[u64]) {
        let bits = Lanes::bits_of(N);
        let mask = u64::from(u32::MAX >> u32::BITS.saturating_sub(bits));
        let (numbers, _) = self.numbers.as_chunks::<N>();
        // A product is below 2^93, and a sum of 3072 of them below 2^105.
        let products = words
            .iter()
            .zip(numbers)
            .fold(0u128, |sum, (word, numbers)| {
                let mut rest = *word;
                numbers.iter().fold(sum, |sum, number| {
                    let lane = rest & mask;
                    rest >>= bits;
                    sum.wrapping_add(u128::from(lane).wrapping_mul((*number).into()))
                })
            });
        let term = multiply(reduce(products), self.power);
        self.sum = reduce(u128::from(self.sum).wrapping_add(term.into()));
        self.power = multiply(self.power, self.point);
    }
}

/// Computes the tags of a vector.
pub(super) struct Checksum {
    tags: [Tag; 2],
    lanes: Lanes,
    /// Bits that no sum of ranks has, of all words.
    strange: u64,
}

impl Checksum {
    pub(super) fn new(key: &Secret<32>, lanes: Lanes) -> Result<Self, AllReduceError> {
        let mut stream = Keystream::new(key)?;
        let mut tag = || Tag::new(&mut stream, lanes.count());
        Ok(Self {
            tags: [tag()?, tag()?],
            lanes,
            strange: 0,
        })
    }

    /// Adds the next words, at most [`BLOCK`], and fewer at the end only.
    pub(super) fn update(&mut self, words: &[u64]) {
        let unused = self.lanes.unused();
        self.strange |= words.iter().fold(0, |all, word| all | word & unused);
        for tag in &mut self.tags {
            match self.lanes {
                Lanes::Two => tag.update::<2>(words),
                Lanes::Three => tag.update::<3>(words),
            }
        }
    }

    /// Returns the tags; `None` for words that no ranks have sent.
    pub(super) fn finish(self) -> Option<Tags> {
        let [one, two] = self.tags;
        (self.strange == 0).then_some(Tags([one.sum, two.sum]))
    }
}
