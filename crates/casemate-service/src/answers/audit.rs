//! The audit log.

use serde_json::value::RawValue;

use super::Answered;
use crate::{
    grants::{Operation, Target},
    problem::Problem,
    service::Call,
    wire::{Entries, Logged},
};

/// Most entries in an answer.
const ENTRIES_MAX: usize = 256;

pub(super) async fn keys(call: &Call<'_>) -> Result<Answered, Problem> {
    call.require(Operation::Audit, Target::All)?;
    let keys = call.store(|store| store.log_verifier_keys());
    Ok(Answered::text(keys.await?.to_text()))
}

pub(super) async fn checkpoint(call: &Call<'_>) -> Result<Answered, Problem> {
    call.require(Operation::Audit, Target::All)?;
    let now = call.service.now();
    let checkpoint = call.store(move |store| store.checkpoint(now));
    Ok(Answered::text(checkpoint.await?))
}

pub(super) async fn entries(call: &Call<'_>) -> Result<Answered, Problem> {
    call.require(Operation::Audit, Target::All)?;
    let from = call.number("from")?;
    let found = call.store(move |store| store.log_entries(from, ENTRIES_MAX));
    let mut entries = Vec::new();
    for (index, bytes) in found.await? {
        // As it was hashed.
        let text = String::from_utf8(bytes).map_err(|_| Problem::internal())?;
        let entry = RawValue::from_string(text).map_err(|_| Problem::internal())?;
        entries.push(Logged { index, entry });
    }
    Answered::ok(&Entries { entries })
}
