//! Compares a log with checkpoints from earlier.

use std::path::{Path, PathBuf};

use casemate_audit::{AuditError, Checkpoint, Frontier, VerifierKeys, leaf_hash};
use serde_json::json;

use super::{read_keys, read_text};
use crate::{
    context::{Context, Store},
    fault::{Fault, Outcome},
    printer::count_text,
};

/// A log that grows, and the checkpoints that it must have.
pub(super) struct Comparison {
    log: Frontier,
    /// The checkpoint with the fewest entries is at the end.
    expected: Vec<(PathBuf, Checkpoint)>,
}

impl Comparison {
    pub(super) fn empty() -> Self {
        Self {
            log: Frontier::default(),
            expected: Vec::new(),
        }
    }

    /// Reads and verifies checkpoints.
    pub(super) fn new(keys: &VerifierKeys, files: &[PathBuf]) -> Result<Self, Fault> {
        let mut expected = Vec::new();
        for path in files {
            let checkpoint = keys
                .verify(read_text(path)?.as_bytes())
                .map_err(|error| Fault::from(error).about(&path.display().to_string()))?;
            expected.push((path.clone(), checkpoint));
        }
        let mut comparison = Self {
            expected,
            ..Self::empty()
        };
        comparison.begin()?;
        Ok(comparison)
    }

    /// Adds a checkpoint, before anything is appended.
    pub(super) fn expect(&mut self, path: PathBuf, checkpoint: Checkpoint) -> Result<(), Fault> {
        self.expected.push((path, checkpoint));
        self.begin()
    }

    fn begin(&mut self) -> Result<(), Fault> {
        let sizes = &mut self.expected;
        sizes.sort_by_key(|(_, checkpoint)| std::cmp::Reverse(checkpoint.size()));
        self.compare()
    }

    pub(super) fn append(&mut self, entry: &[u8]) -> Result<(), Fault> {
        self.log.append(leaf_hash(entry));
        self.compare()
    }

    fn compare(&mut self) -> Result<(), Fault> {
        while let Some((path, checkpoint)) = self.expected.last() {
            if checkpoint.size() != self.log.size() {
                return Ok(());
            }
            if checkpoint.root() != self.log.root() {
                let size = checkpoint.size();
                let error = AuditError::OtherRoot { size };
                return Err(Fault::from(error).about(&path.display().to_string()));
            }
            self.expected.pop();
        }
        Ok(())
    }

    /// Checks that no checkpoint covers more than there is.
    pub(super) fn end(self) -> Result<Frontier, Fault> {
        match self.expected.last() {
            None => Ok(self.log),
            Some((path, checkpoint)) => {
                let (actual, expected) = (self.log.size(), checkpoint.size());
                let error = AuditError::Truncated { actual, expected };
                Err(Fault::from(error).about(&path.display().to_string()))
            }
        }
    }
}

/// Verifies the log of the key store.
pub(super) fn verify(
    context: &Context<'_>,
    keys: Option<&Path>,
    files: &[PathBuf],
) -> Result<(), Fault> {
    let store = context.key_store()?;
    let own = store.log_verifier_keys()?;
    if let Some(path) = keys
        && read_keys(path)? != own
    {
        let message = format!("{} has the keys of another log", path.display());
        return Err(Fault::new(Outcome::CheckFailed, message));
    }
    let mut comparison = Comparison::new(&own, files)?;
    store.verify_log::<Fault>(&mut |_, bytes, _| comparison.append(bytes))?;
    report(context, &comparison.end()?, files.len());
    Ok(())
}

pub(super) fn report(context: &Context<'_>, log: &Frontier, checkpoints: usize) {
    let json = json!({
        "schema": "casemate.audit-verified/1",
        "size": log.size(),
        "root": hex::encode(log.root()),
        "checkpoints": checkpoints,
    });
    context.printer.json(&json);
    let entries = if log.size() == 1 { "entry" } else { "entries" };
    context.printer.done(&format!(
        "verified {} {entries} against {}",
        log.size(),
        count_text(checkpoints, "checkpoint")
    ));
    if checkpoints == 0 {
        context.printer.note(
            "without a checkpoint from elsewhere, entries that someone with the root key removed from the end are not missed; pass one with --checkpoint",
        );
    }
}

/// Checks that what a place has is an earlier checkpoint of the key store's log: a later one would
/// show that the key store is an older copy.
pub(super) fn require_earlier(store: &Store, place: &Path, old: &[u8]) -> Result<(), Fault> {
    let compared = || {
        let keys = store.log_verifier_keys()?;
        let mut comparison = Comparison::empty();
        comparison.expect(place.to_owned(), keys.verify(old)?)?;
        store.verify_log::<Fault>(&mut |_, bytes, _| comparison.append(bytes))?;
        comparison.end()
    };
    compared().map(drop).map_err(|fault: Fault| {
        fault.hint("what is there is not an earlier checkpoint of this log, so it was not replaced; write to another place")
    })
}
