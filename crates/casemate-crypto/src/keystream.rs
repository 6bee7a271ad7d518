//! A stream of secret words from one key: AES-256-CTR over zeros.

use aws_lc_rs::{
    cipher::{AES_256, EncryptionContext, StreamingEncryptingKey, UnboundCipherKey},
    iv::FixedLength,
};
use zeroize::Zeroize;

use crate::{Error, Secret};

/// Words that are generated at once: as many as stay in the L1 cache.
const WORDS: usize = 2048;
const WORD_BYTES: usize = 4;
const BLOCK_BYTES: usize = 16;
const BYTES: usize = WORDS * WORD_BYTES;
/// Words that one call may ask for.
pub const WORDS_MAX: usize = WORDS;

/// The stream of a key. Its counter starts at zero, so no two streams may have the same key.
pub struct Keystream {
    cipher: StreamingEncryptingKey,
    /// One block more than is read, as the cipher's interface wants.
    buffer: Box<[u8; BYTES + BLOCK_BYTES]>,
}

impl std::fmt::Debug for Keystream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keystream(..)")
    }
}

impl Drop for Keystream {
    fn drop(&mut self) {
        self.buffer.zeroize();
    }
}

impl Keystream {
    /// Starts the stream of a key.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`] if the cipher fails.
    pub fn new(key: &Secret<32>) -> Result<Self, Error> {
        let key = UnboundCipherKey::new(&AES_256, key.expose()).map_err(|_| Error::Internal)?;
        let start = EncryptionContext::Iv128(FixedLength::from([0; BLOCK_BYTES]));
        let cipher =
            StreamingEncryptingKey::less_safe_ctr(key, start).map_err(|_| Error::Internal)?;
        Ok(Self {
            cipher,
            buffer: Box::new([0; BYTES + BLOCK_BYTES]),
        })
    }

    /// Returns the next words of the stream, which are little-endian; at most [`WORDS_MAX`]. Every
    /// call but the last must ask for a multiple of four.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] for more words; [`Error::Internal`] if the cipher fails.
    pub fn words(&mut self, count: usize) -> Result<impl Iterator<Item = u32> + '_, Error> {
        self.fill(count.saturating_mul(WORD_BYTES))?;
        let (words, _) = self.buffer.as_chunks::<WORD_BYTES>();
        Ok(words
            .iter()
            .take(count)
            .map(|word| u32::from_le_bytes(*word)))
    }

    /// Returns the next words of 64 bits, which are little-endian; at most [`WORDS_MAX`]` / 2`.
    /// Every call but the last must ask for a multiple of two.
    ///
    /// # Errors
    ///
    /// As for [`Self::words`].
    pub fn long_words(&mut self, count: usize) -> Result<impl Iterator<Item = u64> + '_, Error> {
        self.fill(count.saturating_mul(2 * WORD_BYTES))?;
        let (words, _) = self.buffer.as_chunks::<{ 2 * WORD_BYTES }>();
        Ok(words
            .iter()
            .take(count)
            .map(|word| u64::from_le_bytes(*word)))
    }

    /// Fills the front of the buffer with the next bytes.
    fn fill(&mut self, len: usize) -> Result<(), Error> {
        const ZEROS: [u8; BYTES] = [0; BYTES];
        let zeros = ZEROS.get(..len).ok_or(Error::Length {
            what: "bytes of a stream",
            actual: len,
            expected: BYTES,
        })?;
        let out = self.cipher.update(zeros, self.buffer.as_mut_slice());
        let written = out.map_err(|_| Error::Internal)?.written().len();
        if written != len {
            return Err(Error::Internal);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_counter_mode_from_zero_across_calls() {
        // SP 800-38A has no counter from zero; these are AES-256 of the blocks 0 and 1 under the
        // key of its appendix F.5.5, from `openssl enc -aes-256-ctr -iv 0`.
        let key = "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4";
        let key = Secret::copy_from("key", &hex::decode(key).unwrap()).unwrap();
        let stream = |steps: &[usize]| {
            let mut stream = Keystream::new(&key).unwrap();
            let mut words = Vec::new();
            for step in steps {
                words.extend(stream.words(*step).unwrap());
            }
            words
        };
        let whole = stream(&[WORDS_MAX, 8]);
        let head: Vec<u8> = whole
            .iter()
            .take(8)
            .flat_map(|word| word.to_le_bytes())
            .collect();
        assert_eq!(hex::encode(head), EXPECTED);
        assert_eq!(stream(&[4, 8, 2036, 8]), whole);
        let mut stream = Keystream::new(&key).unwrap();
        assert!(stream.words(WORDS_MAX + 1).is_err());
        assert!(stream.long_words(WORDS_MAX / 2 + 1).is_err());
        let long: Vec<u8> = stream
            .long_words(4)
            .unwrap()
            .flat_map(u64::to_le_bytes)
            .collect();
        assert_eq!(hex::encode(long), EXPECTED);
    }

    const EXPECTED: &str = "e568f68194cf76d6174d4cc04310a85491151e5d0b7a1f1bc0d7acd0ae3e51e4";
}
