//! Values as integers in the lanes of words (`spec/masked-all-reduce.md`, section 3.1).

use crate::rounding::round;

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
        match self {
            Self::Two => 32,
            Self::Three => 21,
        }
    }

    /// Returns the largest number of ranks.
    pub(super) const fn ranks_max(self) -> usize {
        match self {
            Self::Two => 4096,
            Self::Three => 1024,
        }
    }

    /// Returns the number of words for so many values.
    pub const fn words(self, values: usize) -> usize {
        values.div_ceil(self.count())
    }
}

/// Announced for values of which one is not finite.
pub(super) const NOT_FINITE: i16 = i16::MAX;
/// Announced for values that are all zero.
pub(super) const ZERO: i16 = i16::MIN;
/// Exponent of the least positive value.
const EXPONENT_MIN: i16 = -149;
const EXPONENT_MAX: i16 = 128;

/// Returns the least exponent `e` with `|x| < 2^e` for all values, or what stands for one.
pub(super) fn exponent_of(values: &[f32]) -> i16 {
    // Without their sign, bits of numbers are in the order of the numbers, and not-a-number is last.
    let largest = values.iter().fold(0u32, |largest, value| {
        largest.max(value.to_bits() << 1 >> 1)
    });
    if largest == 0 {
        return ZERO;
    }
    let largest = f32::from_bits(largest);
    if !largest.is_finite() {
        return NOT_FINITE;
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
    ranks: f64,
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
            ranks: f64::from(ranks),
        }
    }

    fn level(&self, value: f32) -> u64 {
        round(f64::from(value) * self.factor + self.offset)
            .clamp(1, self.level_max)
            .into()
    }

    fn value(&self, lane: u32) -> f32 {
        let sum = f64::from(lane) - self.ranks * self.offset;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the mean is a 32-bit number"
        )]
        let mean = (sum / self.factor / self.ranks) as f32;
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
        let mut out = out.iter_mut();
        let bits = self.lanes.bits();
        let word = |values: &[f32]| {
            let lanes = values.iter().zip((0..u64::BITS).step_by(bits as usize));
            lanes.fold(0, |word, (value, shift)| word | self.level(*value) << shift)
        };
        for (values, to) in whole.iter().zip(&mut out) {
            *to = word(values);
        }
        if let (false, Some(to)) = (rest.is_empty(), out.next()) {
            *to = word(rest);
        }
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
        let mask = u64::from(u32::MAX >> u32::BITS.saturating_sub(bits));
        for (word, to) in words.iter().zip(out.chunks_mut(N)) {
            let shifts = (0..u64::BITS).step_by(bits as usize);
            for (value, shift) in to.iter_mut().zip(shifts) {
                let lane = u32::try_from(word >> shift & mask).unwrap_or(u32::MAX);
                *value = self.value(lane);
            }
        }
    }
}
