//! The files of a view, and their recently read segments.

use std::{
    ops::Range,
    sync::{Arc, Weak},
};

use fuser::Errno;

use crate::{
    Content, MountedFile, ReadError, Report, Segment,
    ahead::Ahead,
    cache::{Cache, Recent},
};

pub(crate) struct Files {
    list: Vec<MountedFile>,
    opened: Recent<dyn Content>,
    cache: Cache<Segment>,
    report: Report,
    ahead: Ahead,
}

/// A segment, and the requested range in it.
type Part = (Arc<Segment>, Range<usize>);

impl Files {
    pub(crate) fn new(list: Vec<MountedFile>, report: Report) -> Arc<Self> {
        Arc::new_cyclic(|files: &Weak<Self>| {
            let files = Weak::clone(files);
            let read_ahead = move |file, segment| {
                let files = files.upgrade();
                files
                    .inspect(|files| files.read_ahead(file, segment))
                    .is_some()
            };
            Self {
                list,
                opened: Recent::new(),
                cache: Cache::new(),
                report,
                ahead: Ahead::start(read_ahead),
            }
        })
    }

    pub(crate) fn content_len(&self, number: usize) -> Option<u64> {
        self.list.get(number).map(|file| file.content_len)
    }

    /// Returns the number of files and the number of blocks they take.
    pub(crate) fn totals(&self, block_bytes: u64) -> (u64, u64) {
        let blocks = self
            .list
            .iter()
            .map(|file| file.content_len.div_ceil(block_bytes.max(1)));
        (self.list.len() as u64, blocks.fold(0, u64::saturating_add))
    }

    /// Reads a segment that will probably be needed. An error is reported only when the segment is
    /// requested.
    fn read_ahead(&self, number: usize, segment: u64) {
        let Some(file) = self.list.get(number) else {
            return;
        };
        let Ok(opened) = self.opened.get(number, || (file.open)()) else {
            return;
        };
        let start = segment.checked_mul(opened.segment_bytes());
        if start.is_some_and(|start| start < opened.content_len()) {
            _ = self
                .cache
                .get((number, segment), opened.segment_bytes(), || {
                    opened.read_segment(segment)
                });
        }
    }

    pub(crate) fn opened(&self, number: usize) -> Result<Arc<dyn Content>, Errno> {
        let file = self.list.get(number).ok_or(Errno::ENOENT)?;
        self.opened
            .get(number, || (file.open)())
            .map_err(|error| self.tell(file, &error))
    }

    fn tell(&self, file: &MountedFile, error: &ReadError) -> Errno {
        (self.report)(&file.path, error);
        Errno::EIO
    }

    /// Passes a range of a file to `give`. Most requests lie in one segment and are not copied.
    pub(crate) fn read_range<T>(
        &self,
        number: usize,
        range: Range<u64>,
        give: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, Errno> {
        let opened = self.opened(number)?;
        let end = range.end.min(opened.content_len());
        let len = end.saturating_sub(range.start);
        let Some((first, part)) = self.part(number, &*opened, range.start..end)? else {
            return Ok(give(&[]));
        };
        let found = first.get(part).unwrap_or_default();
        if found.len() as u64 == len {
            return Ok(give(found));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or_default());
        bytes.extend_from_slice(found);
        let mut at = range.start.saturating_add(found.len() as u64);
        while let Some((segment, part)) = self.part(number, &*opened, at..end)? {
            let found = segment.get(part).unwrap_or_default();
            bytes.extend_from_slice(found);
            at = at.saturating_add(found.len() as u64);
        }
        Ok(give(&bytes))
    }

    /// Returns the segment with the start of a range, and the part of the range in it; `None` if
    /// the range is empty.
    fn part(
        &self,
        number: usize,
        opened: &dyn Content,
        range: Range<u64>,
    ) -> Result<Option<Part>, Errno> {
        if range.is_empty() {
            return Ok(None);
        }
        let file = self.list.get(number).ok_or(Errno::ENOENT)?;
        let segment = range.start.checked_div(opened.segment_bytes()).unwrap_or(0);
        let content = self
            .cache
            .get((number, segment), opened.segment_bytes(), || {
                opened.read_segment(segment)
            })
            .map_err(|error| self.tell(file, &error))?;
        let start = segment.saturating_mul(opened.segment_bytes());
        let within = |at: u64| usize::try_from(at.saturating_sub(start)).unwrap_or(usize::MAX);
        let part = within(range.start)..within(range.end).min(content.len());
        if part.start == 0
            && segment
                .checked_sub(1)
                .is_some_and(|last| self.cache.has(number, last))
        {
            self.ahead.want(number, segment.saturating_add(1));
        }
        // An empty part would be requested again and again.
        if part.is_empty() {
            return Err(Errno::EIO);
        }
        Ok(Some((content, part)))
    }
}
