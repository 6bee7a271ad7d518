//! What the key `g` has.

/// Length of the id of a change: a time and a random number.
pub(crate) const ID_BYTES: usize = 16;

/// The generation, the change that made it, and what of that is still to be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generation {
    pub(crate) number: u64,
    /// The number of parts to apply.
    pub(crate) parts: u32,
    /// The id of the change, and of its parts.
    pub(crate) id: [u8; ID_BYTES],
}

impl Generation {
    pub(crate) fn encode(self) -> Vec<u8> {
        let number = self.number.to_be_bytes();
        let parts = self.parts.to_be_bytes();
        [number.as_slice(), &parts, &self.id].concat()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (number, rest) = bytes.split_first_chunk()?;
        let (parts, rest) = rest.split_first_chunk()?;
        Some(Self {
            number: u64::from_be_bytes(*number),
            parts: u32::from_be_bytes(*parts),
            id: rest.try_into().ok()?,
        })
    }

    /// Returns it once its parts are applied.
    pub(crate) const fn applied(self) -> Self {
        Self { parts: 0, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_lengths_are_refused() {
        let generation = Generation {
            number: 7,
            parts: 2,
            id: [9; ID_BYTES],
        };
        let encoded = generation.encode();
        assert_eq!(Generation::decode(&encoded), Some(generation));
        for len in 0..encoded.len() {
            assert_eq!(Generation::decode(&encoded[..len]), None);
        }
        assert_eq!(Generation::decode(&[encoded, vec![0]].concat()), None);
    }
}
