//! The gateway's verified keys, fetched when they are missing, old or in doubt.

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

/// Seconds before the end of a document at which it is no longer used, so that no request arrives
/// too late.
const MARGIN_SECONDS: u64 = 30;

/// The pinned key, and the keys verified with it.
#[derive(Debug)]
pub(super) struct Keys {
    pinned: HttpVerifyingKey,
    held: Mutex<Option<CachedKeys>>,
}

#[derive(Debug)]
struct CachedKeys {
    keys: Arc<VerifiedKeys>,
    document: Vec<u8>,
    /// Last time the gateway was known to have these keys.
    seen: Instant,
}

impl Keys {
    pub(super) fn new(pinned: HttpVerifyingKey) -> Self {
        Self {
            pinned,
            held: Mutex::default(),
        }
    }

    fn held(&self) -> MutexGuard<'_, Option<CachedKeys>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns keys that the gateway had a moment ago.
    ///
    /// A restarted gateway has other keys and another record, so a request that is not safe to
    /// repeat could not be sent again. After a pause a new connection is needed anyway, so the key
    /// document is fetched on it first.
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

    /// Verifies a document and stores its keys.
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
        *held = Some(CachedKeys {
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
            tracing::warn!(%pinned, %successor, "the gateway has a new key pair, signed by the pinned one; pin the new pair");
        } else if let Some(successor) = keys.successor {
            tracing::info!(%successor, "the gateway announces a new key pair; pin it too");
        }
        Ok(())
    }
}

impl Connector {
    /// Fetches and verifies the gateway's current keys.
    ///
    /// # Errors
    ///
    /// [`ConnectError::KeyDocument`], or the error of the exchange.
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
