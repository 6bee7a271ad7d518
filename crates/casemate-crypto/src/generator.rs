//! Random numbers for libraries, from a keystream.

use std::convert::Infallible;

use rand_core::{TryCryptoRng, TryRng};
use zeroize::Zeroizing;

use crate::{
    Error, Secret,
    keystream::{Keystream, WORDS_MAX},
};

/// A generator over a keystream, as libraries want one. It cannot report a failure where it
/// happens: see [`Self::check`].
pub struct Generator {
    stream: Keystream,
    words: Zeroizing<Vec<u32>>,
    failed: bool,
}

impl Generator {
    /// Starts the generator of a key, which must be fresh.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`] if the cipher fails.
    pub fn new(key: &Secret<32>) -> Result<Self, Error> {
        Ok(Self {
            stream: Keystream::new(key)?,
            words: Zeroizing::new(Vec::with_capacity(WORDS_MAX)),
            failed: false,
        })
    }

    /// Checks that everything drawn so far came from the stream.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`] if the cipher failed.
    pub const fn check(&self) -> Result<(), Error> {
        if self.failed {
            return Err(Error::Internal);
        }
        Ok(())
    }

    fn word(&mut self) -> u32 {
        if self.words.is_empty() {
            match self.stream.words(WORDS_MAX) {
                Ok(words) => self.words.extend(words),
                Err(_) => self.failed = true,
            }
        }
        self.words.pop().unwrap_or_default()
    }
}

impl std::fmt::Debug for Generator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Generator(..)")
    }
}

impl TryRng for Generator {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.word())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from(self.word()) << 32 | u64::from(self.word()))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for chunk in out.chunks_mut(4) {
            let word = self.word().to_le_bytes();
            for (to, from) in chunk.iter_mut().zip(word) {
                *to = from;
            }
        }
        Ok(())
    }
}

impl TryCryptoRng for Generator {}
