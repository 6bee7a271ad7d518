//! Tags that add up as vectors do (`spec/masked-all-reduce.md`, section 3.2).

use casemate_crypto::{Secret, keystream::Keystream};
use zeroize::Zeroizing;

use super::error::AllReduceError;

/// `2^61 - 1`.
const PRIME: u64 = (1 << 61) - 1;
/// Words of which a tag has one term.
pub(super) const BLOCK: usize = 4096;
/// Words of a stream that are drawn at once.
const DRAWN: usize = 1024;
/// Products of two numbers below `2^62` that a sum of 128 bits holds.
const SUMMED: usize = 16;

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
    numbers: Zeroizing<Vec<u64>>,
    point: u64,
    power: u64,
    sum: u64,
}

impl Tag {
    fn new(stream: &mut Keystream) -> Result<Self, AllReduceError> {
        // The stream yields an even number of words at a time: the second goes unused.
        let point = stream.long_words(2)?.next().unwrap_or_default();
        let point = reduce(point.into());
        let mut numbers = Zeroizing::new(Vec::with_capacity(BLOCK));
        while numbers.len() < BLOCK {
            numbers.extend(stream.long_words(DRAWN)?.map(|word| reduce(word.into())));
        }
        Ok(Self {
            numbers,
            point,
            power: point,
            sum: 0,
        })
    }

    /// Adds words that begin in this place of a block.
    fn update(&mut self, words: &[u64], place: usize) {
        let numbers = self.numbers.get(place..).unwrap_or_default();
        let pieces = words.chunks(SUMMED).zip(numbers.chunks(SUMMED));
        let inner = pieces.fold(0u64, |sum, (words, numbers)| {
            let products = words
                .iter()
                .zip(numbers)
                .fold(0u128, |sum, (word, number)| {
                    // Below 2^62, so that products can be added up before the next reduction.
                    let folded = (word & PRIME).wrapping_add(word >> 61);
                    sum.wrapping_add(u128::from(folded).wrapping_mul((*number).into()))
                });
            reduce(u128::from(reduce(products)).wrapping_add(sum.into()))
        });
        let term = multiply(inner, self.power);
        self.sum = reduce(u128::from(self.sum).wrapping_add(term.into()));
    }

    fn next_block(&mut self) {
        self.power = multiply(self.power, self.point);
    }
}

/// Computes the tags of a vector.
pub(super) struct Checksum {
    tags: [Tag; 2],
    place: usize,
}

impl Checksum {
    pub(super) fn new(key: &Secret<32>) -> Result<Self, AllReduceError> {
        let mut stream = Keystream::new(key)?;
        Ok(Self {
            tags: [Tag::new(&mut stream)?, Tag::new(&mut stream)?],
            place: 0,
        })
    }

    /// Adds the next words; all but the last call must add a divisor of 4,096.
    pub(super) fn update(&mut self, words: &[u64]) {
        for tag in &mut self.tags {
            tag.update(words, self.place);
        }
        self.place = self.place.saturating_add(words.len());
        if self.place >= BLOCK {
            self.place = 0;
            self.tags.iter_mut().for_each(Tag::next_block);
        }
    }

    pub(super) fn finish(self) -> Tags {
        let [one, two] = self.tags;
        Tags([one.sum, two.sum])
    }
}
