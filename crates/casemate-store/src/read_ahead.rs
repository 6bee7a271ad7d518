//! Read-ahead for sequential readers of an object.
//!
//! An object store takes tens of milliseconds to answer any request, so several blocks are
//! requested before they are needed. Each byte is read once: a block is dropped when all of it has
//! been read.

use std::{
    collections::BTreeMap,
    io,
    ops::Range,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

/// Length of a block, in bytes: large compared with the cost of a request, small compared with the
/// memory of a process.
const BLOCK: u64 = 4 << 20;
/// Number of blocks that are fetched ahead.
const AHEAD: u64 = 6;

/// A source whose ranges take time to fetch.
pub(crate) trait Fetch: Send + Sync + 'static {
    /// Starts fetching `range` in the background and passes the result to `deliver`, which is
    /// always called.
    fn start(
        self: &Arc<Self>,
        range: Range<u64>,
        deliver: impl FnOnce(io::Result<Bytes>) + Send + 'static,
    );

    /// Fetches `range` and waits for it.
    fn fetch_now(&self, range: Range<u64>) -> io::Result<Bytes>;
}

pub(crate) struct ReadAhead {
    range: Range<u64>,
    state: Mutex<State>,
    ready: Condvar,
}

#[derive(Default)]
struct State {
    /// The first block not yet requested.
    next: u64,
    blocks: BTreeMap<u64, Block>,
}

/// A requested block.
#[derive(Default)]
struct Block {
    /// The result, once it has arrived.
    bytes: Option<io::Result<Bytes>>,
    /// Number of bytes already read.
    read: usize,
}

impl ReadAhead {
    pub(crate) fn new(range: Range<u64>) -> Self {
        Self {
            range,
            state: Mutex::default(),
            ready: Condvar::new(),
        }
    }

    pub(crate) fn covers(&self, range: &Range<u64>) -> bool {
        self.range.start <= range.start && range.end <= self.range.end
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn block_range(&self, block: u64) -> Range<u64> {
        let start = block.saturating_mul(BLOCK).saturating_add(self.range.start);
        let end = start.saturating_add(BLOCK).min(self.range.end);
        start.min(end)..end
    }

    /// Fills `out` from `offset`; the bytes must lie in the range.
    pub(crate) fn read(
        self: &Arc<Self>,
        source: &Arc<impl Fetch>,
        mut out: &mut [u8],
        offset: u64,
    ) -> io::Result<()> {
        let mut at = offset;
        while !out.is_empty() {
            let below = at.saturating_sub(self.range.start);
            let block = below.checked_div(BLOCK).unwrap_or(0);
            let range = self.block_range(block);
            let len = range.end.saturating_sub(at).min(out.len() as u64);
            let len = usize::try_from(len).unwrap_or(out.len());
            let (part, rest) = out.split_at_mut(len);
            let skip = usize::try_from(at.saturating_sub(range.start)).unwrap_or(usize::MAX);
            self.request(source, block);
            if !self.take(block, skip, part)? {
                let end = at.saturating_add(len as u64);
                part.copy_from_slice(&source.fetch_now(at..end)?);
            }
            out = rest;
            at = at.saturating_add(len as u64);
        }
        Ok(())
    }

    /// Requests `block` and the blocks to fetch ahead of it.
    fn request(self: &Arc<Self>, source: &Arc<impl Fetch>, block: u64) {
        let mut state = self.state();
        let until = block.saturating_add(AHEAD);
        // The reader skipped ahead: blocks in between are fetched only if requested.
        if block.saturating_sub(state.next) > AHEAD {
            state.next = block;
        }
        while state.next <= until {
            let (number, range) = (state.next, self.block_range(state.next));
            if range.is_empty() {
                return;
            }
            state.next = number.saturating_add(1);
            state.blocks.insert(number, Block::default());
            let ahead = Arc::clone(self);
            source.start(range, move |bytes| ahead.deliver(number, bytes));
        }
    }

    fn deliver(&self, number: u64, bytes: io::Result<Bytes>) {
        if let Some(block) = self.state().blocks.get_mut(&number) {
            block.bytes = Some(bytes);
        }
        self.ready.notify_all();
    }

    /// Waits for a block and copies from it; returns `false` if it was already dropped.
    fn take(&self, number: u64, skip: usize, out: &mut [u8]) -> io::Result<bool> {
        let mut state = self.state();
        loop {
            let Some(block) = state.blocks.get_mut(&number) else {
                return Ok(false);
            };
            match &block.bytes {
                None => {
                    let waited = self.ready.wait(state);
                    state = waited.unwrap_or_else(PoisonError::into_inner);
                }
                Some(Ok(bytes)) => {
                    let found = bytes.get(skip..).and_then(|rest| rest.get(..out.len()));
                    out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
                    block.read = block.read.saturating_add(out.len());
                    if block.read >= bytes.len() {
                        state.blocks.remove(&number);
                    }
                    return Ok(true);
                }
                Some(Err(_)) => {
                    // The next reader of the block retries.
                    let failed = state.blocks.remove(&number).and_then(|block| block.bytes);
                    return match failed {
                        Some(Err(error)) => Err(error),
                        _ => Ok(false),
                    };
                }
            }
        }
    }
}
