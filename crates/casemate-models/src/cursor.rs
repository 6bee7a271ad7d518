//! Forward reading of a header, in blocks and within limits.

use casemate_seal::ReadAt;

use crate::{HEADER_BYTES_MAX, ModelError, TEXT_BYTES_MAX};

const BLOCK_BYTES: usize = 64 * 1024;

/// A position in a file, with the block around it.
pub(crate) struct Cursor<'s, S> {
    source: &'s S,
    len: u64,
    at: u64,
    block: Vec<u8>,
    block_start: u64,
    /// Number of bytes that may still be read from the source.
    budget: u64,
}

impl<'s, S: ReadAt> Cursor<'s, S> {
    pub(crate) fn new(source: &'s S) -> Result<Self, ModelError> {
        Ok(Self {
            source,
            len: source.byte_len()?,
            at: 0,
            block: Vec::new(),
            block_start: 0,
            budget: HEADER_BYTES_MAX,
        })
    }

    pub(crate) const fn at(&self) -> u64 {
        self.at
    }

    pub(crate) const fn left(&self) -> u64 {
        self.len.saturating_sub(self.at)
    }

    /// Moves forward; returns `None` beyond the end.
    pub(crate) fn skip(&mut self, bytes: u64) -> Option<()> {
        self.at = self.at.checked_add(bytes).filter(|at| *at <= self.len)?;
        Some(())
    }

    /// Fills `out`; returns `Ok(None)` beyond the end.
    pub(crate) fn fill(&mut self, out: &mut [u8]) -> Result<Option<()>, ModelError> {
        if self.left() < out.len() as u64 {
            return Ok(None);
        }
        for byte in out {
            *byte = self.byte()?;
        }
        Ok(Some(()))
    }

    fn byte(&mut self) -> Result<u8, ModelError> {
        let within = |at: u64, start: u64| usize::try_from(at.checked_sub(start)?).ok();
        if let Some(byte) = within(self.at, self.block_start).and_then(|at| self.block.get(at)) {
            self.at = self.at.saturating_add(1);
            return Ok(*byte);
        }
        let len = self.left().min(BLOCK_BYTES as u64);
        self.budget = self
            .budget
            .checked_sub(len)
            .ok_or(ModelError::Limit("bytes"))?;
        self.block.resize(usize::try_from(len).unwrap_or(0), 0);
        self.source.read_exact_at(&mut self.block, self.at)?;
        self.block_start = self.at;
        self.at = self.at.saturating_add(1);
        // The block is empty only at the end, which callers check for first.
        self.block
            .first()
            .copied()
            .ok_or(ModelError::Limit("bytes"))
    }

    /// Returns the next byte without moving; `None` at the end.
    pub(crate) fn peek(&mut self) -> Result<Option<u8>, ModelError> {
        let at = self.at;
        let next = self.array::<1>()?.map(|[byte]| byte);
        self.at = at;
        Ok(next)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<Option<[u8; N]>, ModelError> {
        let mut out = [0; N];
        Ok(self.fill(&mut out)?.map(|()| out))
    }

    /// Reads a string of `len` bytes, replacing invalid UTF-8; returns `None` beyond the end.
    pub(crate) fn text(&mut self, len: u64) -> Result<Option<String>, ModelError> {
        if len > TEXT_BYTES_MAX {
            return Err(ModelError::Limit("texts"));
        }
        if len > self.left() {
            return Ok(None);
        }
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        let filled = self.fill(&mut bytes)?;
        Ok(filled.map(|()| String::from_utf8_lossy(&bytes).into_owned()))
    }
}
