//! Reading ahead: the next segment of a file that is read in order, while the kernel takes the one before.

use std::{
    sync::mpsc::{SyncSender, sync_channel},
    thread::Builder,
};

/// Segments that wait to be read; more are left to those who want them.
const WAITING: usize = 2;

/// A thread that reads what will probably be wanted. It ends with the files.
pub(crate) struct Ahead(Option<SyncSender<(usize, u64)>>);

impl Ahead {
    /// Starts the thread. `read` reads a segment of a file, and gives `false` when there are no files any more.
    pub(crate) fn start(read: impl Fn(usize, u64) -> bool + Send + 'static) -> Self {
        let (sender, wanted) = sync_channel(WAITING);
        let read = move || {
            while wanted
                .recv()
                .is_ok_and(|(file, segment)| read(file, segment))
            {}
        };
        let thread = Builder::new().name("ahead".to_owned()).spawn(read);
        // Without a thread everything is read when it is asked for.
        Self(thread.ok().map(|_| sender))
    }

    pub(crate) fn want(&self, file: usize, segment: u64) {
        if let Some(sender) = &self.0 {
            _ = sender.try_send((file, segment));
        }
    }
}
