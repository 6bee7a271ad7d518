//! Quantised, masked and packed vectors (`spec/secure-aggregation.md`, section 5).

use casemate_crypto::{
    Secret,
    generator::Generator,
    keystream::{Keystream, WORDS_MAX},
};
use rand_distr::{Distribution as _, Poisson};

use super::{error::AggregateError, policy::Parameters, round::SEED_BYTES};
use crate::rounding::{halves, round};

/// Coordinates that are processed at once, while they are in the L1 cache.
const BLOCK: usize = WORDS_MAX;

/// The streams that are added to a vector or subtracted from it.
#[derive(Default)]
pub(super) struct Masks {
    added: Vec<Keystream>,
    subtracted: Vec<Keystream>,
}

impl Masks {
    /// Returns the number of streams.
    pub(super) fn streams(&self) -> usize {
        self.added.len().saturating_add(self.subtracted.len())
    }

    pub(super) fn add(&mut self, key: &Secret<SEED_BYTES>) -> Result<(), AggregateError> {
        self.added.push(Keystream::new(key)?);
        Ok(())
    }

    pub(super) fn subtract(&mut self, key: &Secret<SEED_BYTES>) -> Result<(), AggregateError> {
        self.subtracted.push(Keystream::new(key)?);
        Ok(())
    }

    /// Applies the next words of each stream.
    fn apply(&mut self, block: &mut [u32]) -> Result<(), AggregateError> {
        let len = block.len();
        for stream in &mut self.added {
            for (value, word) in block.iter_mut().zip(stream.words(len)?) {
                *value = value.wrapping_add(word);
            }
        }
        for stream in &mut self.subtracted {
            for (value, word) in block.iter_mut().zip(stream.words(len)?) {
                *value = value.wrapping_sub(word);
            }
        }
        Ok(())
    }
}

/// Rounds updates to integers.
pub(super) struct Quantiser {
    clip: f64,
    factor: f64,
    scale: f64,
    level_max: u32,
    rounding: Keystream,
    noise: Option<(Poisson<f64>, Generator)>,
}

impl Quantiser {
    /// `rounding` and `noise` are the keys of the random numbers for both, and must be fresh.
    pub(super) fn new(
        parameters: &Parameters,
        (values, weight): (&[f32], u32),
        rounding: &Secret<SEED_BYTES>,
        noise: &Secret<SEED_BYTES>,
    ) -> Result<Self, AggregateError> {
        let clip = clip(parameters);
        let mut factor = f64::from(weight) / f64::from(parameters.weight_max);
        let mut sampler = None;
        if let Some(wanted) = parameters.noise {
            factor *= shrink(values, clip, nano(wanted.norm_nano));
            sampler = Some((half(wanted.variance)?, Generator::new(noise)?));
        }
        Ok(Self {
            clip,
            factor,
            scale: f64::from(parameters.level_max()) / (2.0 * clip),
            level_max: parameters.level_max(),
            rounding: Keystream::new(rounding)?,
            noise: sampler,
        })
    }

    /// Quantises finite values.
    fn quantise(&mut self, values: &[f32], out: &mut [u32]) -> Result<(), AggregateError> {
        let (clip, factor, scale) = (self.clip, self.factor, self.scale);
        let words = self.rounding.words(values.len())?;
        for ((value, word), to) in values.iter().zip(words).zip(out.iter_mut()) {
            let value = f64::from(*value);
            // Comparisons rather than `clamp`, which the compiler does not turn into vectors.
            let clipped = if value > clip { clip } else { value };
            let clipped = if clipped < -clip { -clip } else { clipped };
            let level = (clipped * factor + clip) * scale;
            *to = round(level + (unit(word) - 0.5)).min(self.level_max);
        }
        if let Some((poisson, generator)) = &mut self.noise {
            for value in out {
                let [more, less] = [(); 2].map(|()| round(poisson.sample(generator)));
                *value = value.wrapping_add(more.wrapping_sub(less));
            }
            generator.check()?;
        }
        Ok(())
    }
}

/// Returns `word / 2^32`.
fn unit(word: u32) -> f64 {
    // As the upper bits of the fraction of a number from 1 to 2.
    f64::from_bits(0x3ff << 52 | u64::from(word) << 20) - 1.0
}

/// Returns the distribution of which two samples differ by noise of this variance.
#[expect(clippy::cast_precision_loss, reason = "a variance is at most 2^50")]
fn half(variance: u64) -> Result<Poisson<f64>, AggregateError> {
    Poisson::new(variance as f64 / 2.0)
        .map_err(|_| AggregateError::Policy("the variance of the noise is out of range"))
}

/// Returns the factor, at most 1, that shrinks clipped values to a norm.
fn shrink(values: &[f32], clip: f64, norm: f64) -> f64 {
    let square = |value: &f32| f64::from(*value).clamp(-clip, clip).powi(2);
    let found = values.iter().map(square).sum::<f64>().sqrt();
    if found > norm { norm / found } else { 1.0 }
}

/// Returns the largest absolute value of a coordinate.
pub(super) fn clip(parameters: &Parameters) -> f64 {
    nano(parameters.clip_nano)
}

/// Returns a limit that a policy gives in 10^-9.
#[expect(
    clippy::cast_precision_loss,
    reason = "limits are at most 10^15, below 2^53"
)]
pub(super) fn nano(value: u64) -> f64 {
    value as f64 / 1e9
}

/// Quantises an update, masks it and packs it into `out`.
pub(super) fn mask_update(
    parameters: &Parameters,
    (values, weight): (&[f32], u32),
    mut quantiser: Quantiser,
    mut masks: Masks,
    out: &mut [u8],
) -> Result<(), AggregateError> {
    let mut packer = Packer::new(out, parameters.ring_bits);
    let mut block = zeroize::Zeroizing::new([0; BLOCK]);
    let mut at = 0usize;
    for chunk in values.chunks(BLOCK) {
        if let Some(bad) = chunk.iter().position(|value| !value.is_finite()) {
            let index = at.saturating_add(bad);
            let reason = format!("coordinate {index} is not a finite number");
            return Err(AggregateError::Update(reason));
        }
        at = at.saturating_add(chunk.len());
        let (used, _) = block.split_at_mut(chunk.len());
        quantiser.quantise(chunk, used)?;
        // The weight is one more coordinate; it may begin a block of its own.
        let last = at == values.len() && chunk.len() < BLOCK;
        let len = chunk.len().saturating_add(usize::from(last));
        let (used, _) = block.split_at_mut(len);
        if last && let Some(slot) = used.last_mut() {
            *slot = weight;
        }
        masks.apply(used)?;
        packer.write(used);
    }
    if at.is_multiple_of(BLOCK) {
        let mut last = [weight];
        masks.apply(&mut last)?;
        packer.write(&last);
    }
    packer.finish();
    Ok(())
}

/// Adds a packed vector to a sum.
pub(super) fn add_packed(sum: &mut [u32], packed: &[u8], ring_bits: u32) {
    let (words, rest) = packed.as_chunks::<4>();
    let mut last = [0; 4];
    for (to, byte) in last.iter_mut().zip(rest) {
        *to = *byte;
    }
    let mut words = words
        .iter()
        .chain([&last])
        .map(|word| u32::from_le_bytes(*word));
    let (mut buffer, mut held) = (0u64, 0u32);
    let mask = mask_of(ring_bits);
    for value in sum {
        if held < ring_bits {
            buffer |= u64::from(words.next().unwrap_or_default()) << held;
            held = held.saturating_add(32);
        }
        let [low, _] = halves(buffer);
        *value = value.wrapping_add(low & mask);
        buffer >>= ring_bits;
        held = held.saturating_sub(ring_bits);
    }
}

/// Applies masks to a whole sum.
pub(super) fn apply_masks(sum: &mut [u32], mut masks: Masks) -> Result<(), AggregateError> {
    sum.chunks_mut(BLOCK)
        .try_for_each(|block| masks.apply(block))
}

/// Returns the ones of the ring.
pub(super) const fn mask_of(ring_bits: u32) -> u32 {
    u32::MAX >> 32u32.saturating_sub(ring_bits)
}

/// Writes numbers of a few bits each, the lowest bit first.
struct Packer<'a> {
    words: std::slice::IterMut<'a, [u8; 4]>,
    rest: &'a mut [u8],
    bits: u32,
    buffer: u64,
    held: u32,
}

impl<'a> Packer<'a> {
    fn new(out: &'a mut [u8], bits: u32) -> Self {
        let (words, rest) = out.as_chunks_mut::<4>();
        Self {
            words: words.iter_mut(),
            rest,
            bits,
            buffer: 0,
            held: 0,
        }
    }

    fn write(&mut self, values: &[u32]) {
        let mask = mask_of(self.bits);
        for value in values {
            self.buffer |= u64::from(value & mask) << self.held;
            self.held = self.held.saturating_add(self.bits);
            if self.held >= 32 {
                let [low, high] = halves(self.buffer);
                if let Some(word) = self.words.next() {
                    *word = low.to_le_bytes();
                }
                self.buffer = u64::from(high);
                self.held = self.held.saturating_sub(32);
            }
        }
    }

    /// Writes the bits that are left, which may still fill a word.
    fn finish(mut self) {
        let bytes = self.buffer.to_le_bytes();
        let out = match self.words.next() {
            Some(word) => word.as_mut_slice(),
            None => self.rest,
        };
        for (to, byte) in out.iter_mut().zip(bytes) {
            *to = byte;
        }
    }
}

/// Checks the length and the weight of an update.
pub(super) fn check_update(
    parameters: &Parameters,
    values: &[f32],
    weight: u32,
) -> Result<(), AggregateError> {
    if values.len() != parameters.length {
        let (found, must) = (values.len(), parameters.length);
        let reason = format!("it has {found} coordinates, must have {must}");
        return Err(AggregateError::Update(reason));
    }
    if !(1..=parameters.weight_max).contains(&weight) {
        let most = parameters.weight_max;
        let reason = format!("its weight is {weight}, must be 1 to {most}");
        return Err(AggregateError::Update(reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_width_and_count_are_unpacked_as_they_were_packed() {
        for bits in 4..=32u32 {
            for count in 1..=70usize {
                let numbers: Vec<u32> = (1..=70u32)
                    .map(|at| at.wrapping_mul(0x9e37_79b1) & mask_of(bits))
                    .take(count)
                    .collect();
                let mut packed = vec![0; (count * bits as usize).div_ceil(8)];
                let mut packer = Packer::new(&mut packed, bits);
                // In pieces, as blocks are.
                numbers.chunks(13).for_each(|piece| packer.write(piece));
                packer.finish();
                let mut sum = vec![1; count];
                add_packed(&mut sum, &packed, bits);
                let expected: Vec<u32> = numbers.iter().map(|one| one.wrapping_add(1)).collect();
                assert_eq!(sum, expected, "{count} numbers of {bits} bits");
            }
        }
    }

    #[test]
    fn a_word_is_a_fraction() {
        assert!(unit(0).abs() < f64::EPSILON);
        assert!((unit(u32::MAX) - 1.0 + 2f64.powi(-32)).abs() < f64::EPSILON);
    }
}
