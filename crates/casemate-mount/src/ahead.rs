//! Read-ahead: fetches the next segment of a file that is read sequentially, while the kernel reads
//! the previous one.

use std::{
    sync::mpsc::{SyncSender, sync_channel},
    thread::Builder,
};

/// Maximum number of segments queued for read-ahead. Further segments are read on demand.
const WAITING: usize = 2;

/// A thread that reads segments that will probably be needed. It ends when the files are dropped.
pub(crate) struct Ahead(Option<SyncSender<(usize, u64)>>);

impl Ahead {
    /// Starts the thread. `read` reads a segment of a file, and gives `false` when there are no
    /// files any more.
    pub(crate) fn start(read: impl Fn(usize, u64) -> bool + Send + 'static) -> Self {
        let (sender, wanted) = sync_channel(WAITING);
        let read = move || {
            while wanted
                .recv()
                .is_ok_and(|(file, segment)| read(file, segment))
            {}
        };
        let thread = Builder::new().name("ahead".to_owned()).spawn(read);
        // Without a thread, everything is read on demand.
        Self(thread.ok().map(|_| sender))
    }

    pub(crate) fn want(&self, file: usize, segment: u64) {
        if let Some(sender) = &self.0 {
            _ = sender.try_send((file, segment));
        }
    }
}
