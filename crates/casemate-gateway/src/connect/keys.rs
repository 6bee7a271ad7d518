//! The gateway's verified keys: fetched when they are missing, old or in doubt.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use casemate_crypto::signature::HttpVerifyingKey;
use casemate_message::{
    keydoc::{self, VerifiedKeys},
    limits::KEY_DOCUMENT_BYTES_MAX,
};
use http::{Method, StatusCode};

use super::{ConnectError, Connector, IDLE, refused};
use crate::gateway::KEY_DOCUMENT_PATH;

/// A document is not used in its last seconds, so that a request does not arrive after them.
const MARGIN_SECONDS: u64 = 30;

/// The pinned key, and what was fetched under it.
#[derive(Debug)]
pub(super) struct Keys {
    pinned: HttpVerifyingKey,
    held: Mutex<Option<Held>>,
}

#[derive(Debug)]
struct Held {
    keys: Arc<VerifiedKeys>,
    document: Vec<u8>,
    /// When the gateway was last seen to have them.
    seen: Instant,
}

impl Keys {
    pub(super) fn new(pinned: HttpVerifyingKey) -> Self {
        Self {
            pinned,
            held: Mutex::default(),
        }
    }

    fn held(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keys that the gateway had a moment ago.
    ///
    /// A gateway that restarted has other keys and another record, and a request that is not safe to repeat could then not be
    /// sent again. After a pause a new connection is needed anyway, so the document is asked for on it first.
    fn recent(&self, now: u64) -> Option<Arc<VerifiedKeys>> {
        let mut held = self.held();
        let held = held.as_mut()?;
        let lasting = held.keys.is_valid_at(now.saturating_add(MARGIN_SECONDS));
        if !lasting || held.seen.elapsed() >= IDLE {
            return None;
        }
        held.seen = Instant::now();
        Some(Arc::clone(&held.keys))
    }

    /// Verifies a document and keeps its keys.
    fn accept(&self, document: &[u8], now: u64) -> Result<Arc<VerifiedKeys>, ConnectError> {
        if let Some(held) = self.held().as_mut()
            && held.document == document
            && held.keys.is_valid_at(now)
        {
            held.seen = Instant::now();
            return Ok(Arc::clone(&held.keys));
        }
        let keys = Arc::new(keydoc::verify(document, &self.pinned, now)?);
        let mut held = self.held();
        if let Some(held) = held.as_ref() {
            keys.follow(&held.keys)?;
        }
        let known = held.as_ref().is_some_and(|held| {
            (held.keys.signer_id, held.keys.successor) == (keys.signer_id, keys.successor)
        });
        if !known {
            self.note_succession(&keys)?;
        }
        *held = Some(Held {
            keys: Arc::clone(&keys),
            document: document.to_vec(),
            seen: Instant::now(),
        });
        Ok(keys)
    }

    fn note_succession(&self, keys: &VerifiedKeys) -> Result<(), ConnectError> {
        let pinned = self.pinned.id()?;
        if keys.signer_id != pinned {
            let successor = keys.signer_id;
            tracing::warn!(%pinned, %successor, "the gateway has a new key pair, signed by the pinned one; pin the new one");
        } else if let Some(successor) = keys.successor {
            tracing::info!(%successor, "the gateway announces a new key pair; pin it as well");
        }
        Ok(())
    }
}

impl Connector {
    /// The gateway's verified keys, as they are now.
    ///
    /// # Errors
    ///
    /// [`ConnectError::KeyDocument`], or the exchange's error.
    pub async fn fetch_keys(&self) -> Result<Arc<VerifiedKeys>, ConnectError> {
        let limit = KEY_DOCUMENT_BYTES_MAX;
        let (status, _, document) = self
            .exchange(Method::GET, KEY_DOCUMENT_PATH, None, limit)
            .await?;
        if status != StatusCode::OK {
            return Err(refused(status, &document));
        }
        self.keys.accept(&document, self.clock.now())
    }

    pub(super) async fn recent_keys(&self) -> Result<Arc<VerifiedKeys>, ConnectError> {
        match self.keys.recent(self.clock.now()) {
            Some(keys) => Ok(keys),
            None => self.fetch_keys().await,
        }
    }
}
