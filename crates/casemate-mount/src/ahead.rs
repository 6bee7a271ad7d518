//! Reading ahead: the next segment of a file that is read in order, while the kernel takes the one before.

use std::{
    sync::{
        Weak,
        mpsc::{SyncSender, sync_channel},
    },
    thread::Builder,
};

use crate::files::Files;

/// Segments that wait to be read; more are left to those who want them.
const WAITING: usize = 2;

/// A thread that reads what will probably be wanted. It ends with the files.
pub(crate) struct Ahead(Option<SyncSender<(usize, u64)>>);

impl Ahead {
    pub(crate) fn start(files: Weak<Files>) -> Self {
        let (sender, wanted) = sync_channel(WAITING);
        let read = move || {
            while let Ok((file, segment)) = wanted.recv() {
                let Some(files) = files.upgrade() else {
                    return;
                };
                files.read_ahead(file, segment);
            }
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
