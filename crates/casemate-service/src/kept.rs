//! What was read of all keys, until one of them changes.

use std::sync::{Arc, Mutex, PoisonError};

use casemate_keys::StoreError;

use crate::{
    grants::ClientId,
    problem::Problem,
    worker::{ServedStore, Worker},
};

/// The content of a key store.
type Content = (u64, [u8; 48]);

type Slot<T> = Mutex<Option<(Content, Arc<T>)>>;

/// What was read last, and of which content.
#[derive(Debug)]
pub(crate) struct Kept<T>(Arc<Slot<T>>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Send + Sync + 'static> Kept<T> {
    /// Returns what was read, reading it again if the key store has changed.
    pub(crate) async fn get(
        &self,
        worker: &Worker,
        client: ClientId,
        read: fn(&ServedStore) -> Result<T, StoreError>,
    ) -> Result<Arc<T>, Problem> {
        let kept = Arc::clone(&self.0);
        let found = worker.call(client, move |store| {
            let content = store.content()?;
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((of, value)) = &*kept
                && *of == content
            {
                return Ok(Arc::clone(value));
            }
            let value = Arc::new(read(store)?);
            *kept = Some((content, Arc::clone(&value)));
            Ok(value)
        });
        found.await
    }
}
