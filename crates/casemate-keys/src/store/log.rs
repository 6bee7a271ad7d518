//! The audit log of a key store.

use casemate_audit::{
    Checkpoint, Entry, Frontier, Hash, Proof, VerifierKeys, What, inclusion_proof,
};
use casemate_crypto::signature::LogSigningKey;

use super::{
    KeyStore,
    session::{Edit, Session},
};
use crate::{
    StoreError,
    engine::{Engine, EngineError},
    log::{Event, LogKeys, hash_of, untagged},
    name::SlotName,
    row::RowId,
};

/// Visits an entry: its number, its bytes and its content.
pub type VisitLog<'v, F> = dyn FnMut(u64, &[u8], &Entry) -> Result<(), F> + 'v;

/// A log that was verified from its first entry to its last.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LogVerified {
    /// Number of entries.
    pub size: u64,
    /// Root of the tree.
    pub root: Hash,
}

impl<E: Engine> KeyStore<E> {
    /// Begins an audit log with this name. From then on, whatever is not logged is not done.
    ///
    /// # Errors
    ///
    /// [`StoreError::LogExists`], [`StoreError::Audit`] if the name is not valid, or the engine's
    /// error.
    pub fn enable_log(&mut self, origin: &str) -> Result<VerifierKeys, StoreError> {
        let key = LogSigningKey::generate()?;
        let keys = VerifierKeys::new(origin, key.verifying_key()?)?;
        let row = LogKeys {
            origin: origin.to_owned(),
            key,
        }
        .encode();
        self.commit(|session| {
            if session.state().index.log.is_some() {
                return Err(StoreError::LogExists);
            }
            let mut edit = Edit {
                begins_log: true,
                ..Edit::default()
            };
            let row = casemate_crypto::SecretBytes::new(row.expose().to_vec());
            edit.rows.insert(RowId::LOG_KEYS, Some(row));
            edit.tell(Event::new(What::Enabled).about(origin));
            Ok((edit, ()))
        })?;
        Ok(keys)
    }

    /// Returns whether the key store has an audit log.
    ///
    /// # Errors
    ///
    /// The engine's error.
    pub fn has_log(&self) -> Result<bool, StoreError> {
        Ok(self.session()?.state().index.log.is_some())
    }

    fn log(&self) -> Result<Frontier, StoreError> {
        let log = self.session()?.state().index.log.clone();
        log.ok_or(StoreError::NoLog)
    }

    fn log_keys(&self) -> Result<LogKeys, StoreError> {
        let session = self.session()?;
        let plaintext = session.row(RowId::LOG_KEYS)?;
        LogKeys::decode(&plaintext.ok_or(StoreError::NoLog)?)
    }

    /// Returns the keys that verify checkpoints of the log.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoLog`], [`StoreError::DamagedRow`].
    pub fn log_verifier_keys(&self) -> Result<VerifierKeys, StoreError> {
        let keys = self.log_keys()?;
        Ok(VerifierKeys::new(&keys.origin, keys.key.verifying_key()?)?)
    }

    /// Signs the head of the log.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoLog`], [`StoreError::DamagedRow`].
    pub fn checkpoint(&self, now: u64) -> Result<String, StoreError> {
        let log = self.log()?;
        let (size, root) = (log.size(), log.root());
        self.checkpoint_of(&LogVerified { size, root }, now)
    }

    /// Signs the head of a log that was verified, although it may have grown since.
    ///
    /// # Errors
    ///
    /// As [`Self::checkpoint`].
    pub fn checkpoint_of(&self, log: &LogVerified, now: u64) -> Result<String, StoreError> {
        let keys = self.log_keys()?;
        let checkpoint = Checkpoint::new(&keys.origin, log.size, log.root)?;
        Ok(checkpoint.sign(&keys.key, now)?)
    }

    /// Verifies every entry and visits it: number, bytes and content.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoLog`], [`StoreError::DamagedEntry`], [`StoreError::OtherLog`], and the error
    /// of `visit`.
    pub fn verify_log<F: From<StoreError>>(
        &self,
        visit: &mut VisitLog<'_, F>,
    ) -> Result<LogVerified, F> {
        let session = self.session()?;
        let expected = session.state().index.log.clone();
        let expected = expected.ok_or(StoreError::NoLog)?;
        let key = session.root().entry_key().map_err(StoreError::from)?;
        let mut log = Frontier::default();
        let mut failed = None;
        session
            .each_entry(&mut |number, value| {
                let damaged = || StoreError::DamagedEntry(log.size());
                if number != log.size() {
                    return Err(damaged());
                }
                let entry = untagged(&key, number, value).ok_or_else(damaged)?;
                let content = Entry::decode(entry).map_err(|_| damaged())?;
                log.append(hash_of(entry));
                if let Err(error) = visit(number, entry, &content) {
                    failed = Some(error);
                    return Err(StoreError::OtherLog);
                }
                Ok(())
            })
            .or_else(|error| failed.take().map_or_else(|| Err(F::from(error)), Err))?;
        if log.size() < expected.size() {
            return Err(StoreError::DamagedEntry(log.size()).into());
        }
        if log != expected {
            return Err(StoreError::OtherLog.into());
        }
        Ok(LogVerified {
            size: log.size(),
            root: log.root(),
        })
    }

    /// Returns at most `limit` entries, beginning with number `from`.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoLog`], [`StoreError::DamagedEntry`], or the engine's error.
    pub fn log_entries(&self, from: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        let session = self.session()?;
        let log = session.state().index.log.clone();
        let size = log.ok_or(StoreError::NoLog)?.size();
        let key = session.root().entry_key()?;
        let mut entries = Vec::new();
        let end = from.saturating_add(limit as u64).min(size);
        for number in from..end {
            let damaged = || StoreError::DamagedEntry(number);
            let value = session.entry(number)?.ok_or_else(damaged)?;
            let entry = untagged(&key, number, &value).ok_or_else(damaged)?;
            entries.push((number, entry.to_vec()));
        }
        Ok(entries)
    }

    /// Proves that an entry is in the log.
    ///
    /// # Errors
    ///
    /// As [`Self::verify_log`]; [`StoreError::NoEntry`].
    pub fn prove(&self, index: u64, now: u64) -> Result<Proof, StoreError> {
        let mut leaves = Vec::new();
        let mut found = None;
        let log = self.verify_log::<StoreError>(&mut |number, entry, _| {
            leaves.push(hash_of(entry));
            if number == index {
                found = Some(entry.to_vec());
            }
            Ok(())
        })?;
        let missing = || StoreError::NoEntry {
            index,
            size: log.size,
        };
        let at = usize::try_from(index).map_err(|_| missing())?;
        let hashes = inclusion_proof(&leaves, at).ok_or_else(missing)?;
        Ok(Proof {
            index,
            entry: found.ok_or_else(missing)?,
            hashes,
            checkpoint: self.checkpoint_of(&log, now)?,
        })
    }

    /// Reads something that is logged: the entry and what is read are of one state. Only reads
    /// without a log.
    pub(super) fn logged<T>(
        &self,
        event: &Event,
        read: impl Fn(&Session<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let session = self.session()?;
        if session.state().index.log.is_none() {
            return read(&session);
        }
        drop(session);
        let done = self.commit(|session| {
            let found = read(session)?;
            let mut edit = Edit::default();
            edit.tell(event.clone());
            Ok((edit, found))
        });
        match done {
            Err(StoreError::Engine(EngineError::ReadOnly)) => Err(StoreError::LogReadOnly),
            done => done,
        }
    }

    pub(super) fn note_opened(&self) -> Result<(), StoreError> {
        let names: Vec<_> = self.through.iter().map(SlotName::as_str).collect();
        self.logged(
            &Event::new(What::Opened).about(names.join(", ")),
            |_| Ok(()),
        )
    }
}
