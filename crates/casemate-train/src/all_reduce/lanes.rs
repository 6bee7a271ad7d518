//! Values as integers in the lanes of words (`spec/masked-all-reduce.md`, section 3.1).

use super::checksum::BLOCK as PIECE_WORDS;
use crate::rounding::{halves, round};

/// How many values a word of 64 bits holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lanes {
    /// Two of 32 bits: as many bytes as 32-bit floating point.
    Two,
    /// Three of 21 bits.
    Three,
}

impl Lanes {
    /// Returns the number of lanes.
    pub const fn count(self) -> usize {
        match self {
            Self::Two => 2,
            Self::Three => 3,
        }
    }

    pub(super) const fn id(self) -> u8 {
        match self {
            Self::Two => 2,
            Self::Three => 3,
        }
    }

    const fn bits(self) -> u32 {
        Self::bits_of(self.count())
    }

    /// Returns the bits of a lane, for so many in a word.
    pub(super) const fn bits_of(count: usize) -> u32 {
        if count == 2 { 32 } else { 21 }
    }

    /// Returns the bits of a word that are in no lane.
    pub(super) const fn unused(self) -> u64 {
        match self {
            Self::Two => 0,
            Self::Three => 1 << 63,
        }
    }

    /// Returns the largest number of ranks.
    pub(super) const fn ranks_max(self) -> usize {
        match self {
            Self::Two => 4096,
            Self::Three => 1024,
        }
    }

    /// Returns of how many values a piece of a vector must be a multiple, unless it is the last.
    pub const fn piece(self) -> usize {
        self.count().saturating_mul(PIECE_WORDS)
    }

    /// Returns the number of words for so many values.
    pub const fn words(self, values: usize) -> usize {
        values.div_ceil(self.count())
    }
}

const SIDE_BY_SIDE: usize = 16;
/// Announced for values of which one is not finite.
pub(super) const NOT_FINITE: i16 = i16::MAX;
/// Announced for values that are all zero.
pub(super) const ZERO: i16 = i16::MIN;
/// Exponent of the least positive value.
const EXPONENT_MIN: i16 = -149;
const EXPONENT_MAX: i16 = 128;

/// Returns the least exponent `e` with `|x| < 2^e` for all values, or what stands for one.
pub(super) fn exponent_of(values: &[f32]) -> i16 {
    // Side by side, so that compilers use vector instructions.
    let mut largest = [0f32; SIDE_BY_SIDE];
    let mut poison = [0f32; SIDE_BY_SIDE];
    let mut add = |values: &[f32]| {
        for ((value, largest), poison) in values.iter().zip(&mut largest).zip(&mut poison) {
            let size = value.abs();
            *largest = if size > *largest { size } else { *largest };
            // Not-a-number from the first value on that is not finite.
            *poison += size * 0.0;
        }
    };
    let (whole, rest) = values.as_chunks::<SIDE_BY_SIDE>();
    whole.iter().for_each(|values| add(values));
    add(rest);
    if poison.iter().any(|one| one.is_nan()) {
        return NOT_FINITE;
    }
    let largest = largest.iter().fold(0f32, |most, one| most.max(*one));
    if largest == 0.0 {
        return ZERO;
    }
    // Normal in double precision.
    let biased = f64::from(largest).to_bits() >> 52;
    i16::try_from(biased)
        .unwrap_or(i16::MAX)
        .saturating_sub(1022)
}

/// Whether a rank may announce this.
pub(super) const fn is_exponent(found: i16) -> bool {
    matches!(found, NOT_FINITE | ZERO) || EXPONENT_MIN < found && found <= EXPONENT_MAX
}

/// Turns values into integers and back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    lanes: Lanes,
    /// `2^(b - 1 - E)`.
    factor: f64,
    /// `2^(b - 1)`.
    offset: f64,
    level_max: u32,
    /// What the lanes of all ranks add to a sum of zeros.
    zero: f64,
    /// `2^(E - b + 1) / n`.
    step: f64,
}

impl Scale {
    pub(super) fn new(lanes: Lanes, ranks: u32, exponent: i16) -> Self {
        let used = u32::BITS.saturating_sub(ranks.saturating_sub(1).leading_zeros());
        let bits = lanes.bits().saturating_sub(used);
        let half = i32::try_from(bits).unwrap_or(0).saturating_sub(1);
        Self {
            lanes,
            factor: 2f64.powi(half.saturating_sub(i32::from(exponent))),
            offset: 2f64.powi(half),
            level_max: u32::MAX >> u32::BITS.saturating_sub(bits),
            zero: f64::from(ranks) * 2f64.powi(half),
            step: 2f64.powi(i32::from(exponent).saturating_sub(half)) / f64::from(ranks),
        }
    }

    fn level(&self, value: f32) -> u64 {
        round(f64::from(value) * self.factor + self.offset)
            .clamp(1, self.level_max)
            .into()
    }

    fn value(&self, lane: u32) -> f32 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the mean is a 32-bit number"
        )]
        let mean = ((f64::from(lane) - self.zero) * self.step) as f32;
        mean
    }

    /// Packs values into words.
    pub(super) fn pack(&self, values: &[f32], out: &mut [u64]) {
        match self.lanes {
            Lanes::Two => self.pack_lanes::<2>(values, out),
            Lanes::Three => self.pack_lanes::<3>(values, out),
        }
    }

    fn pack_lanes<const N: usize>(&self, values: &[f32], out: &mut [u64]) {
        let (whole, rest) = values.as_chunks::<N>();
        for (values, to) in whole.iter().zip(&mut *out) {
            *to = self.word(values);
        }
        if let (false, Some(to)) = (rest.is_empty(), out.last_mut()) {
            let mut values = [0.0; N];
            values
                .iter_mut()
                .zip(rest)
                .for_each(|(to, from)| *to = *from);
            let used = self
                .lanes
                .bits()
                .saturating_mul(u32::try_from(rest.len()).unwrap_or(0));
            *to = self.word(&values) & (u64::MAX >> u64::BITS.saturating_sub(used));
        }
    }

    fn word<const N: usize>(&self, values: &[f32; N]) -> u64 {
        let levels = values.map(|value| self.level(value));
        // From the last lane, so that the shift is the same each time.
        levels
            .iter()
            .rev()
            .fold(0, |word, level| word << self.lanes.bits() | level)
    }

    /// Unpacks sums into the means of the ranks' values.
    pub(super) fn unpack(&self, words: &[u64], out: &mut [f32]) {
        match self.lanes {
            Lanes::Two => self.unpack_lanes::<2>(words, out),
            Lanes::Three => self.unpack_lanes::<3>(words, out),
        }
    }

    fn unpack_lanes<const N: usize>(&self, words: &[u64], out: &mut [f32]) {
        let bits = self.lanes.bits();
        let mask = u32::MAX >> u32::BITS.saturating_sub(bits);
        for (word, to) in words.iter().zip(out.chunks_mut(N)) {
            let mut rest = *word;
            for value in to {
                let [low, _] = halves(rest);
                *value = self.value(low & mask);
                rest >>= bits;
            }
        }
    }
}
