//! Rounding of numbers in double precision, in a way that compilers turn into vector instructions.

/// Rounds a number from -1/2 to 2^51 to the nearest integer, and halves to even. Returns its lowest
/// bits.
pub(crate) fn round(number: f64) -> u32 {
    // A sum near 1.5 * 2^52 has the integer as its lowest bits.
    let [low, _] = halves((number + 6_755_399_441_055_744.0).to_bits());
    low
}

#[expect(clippy::cast_possible_truncation, reason = "each half is taken")]
pub(crate) const fn halves(value: u64) -> [u32; 2] {
    [value as u32, (value >> 32) as u32]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_goes_to_the_nearest_and_halves_to_even() {
        for (number, rounded) in [
            (-0.5, 0),
            (0.0, 0),
            (0.5, 0),
            (0.500_001, 1),
            (1.5, 2),
            (2.5, 2),
            (268_435_455.4, 268_435_455),
        ] {
            assert_eq!(round(number), rounded, "{number}");
        }
    }
}
