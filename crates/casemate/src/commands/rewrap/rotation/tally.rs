//! What a rotation found.

use std::{collections::BTreeSet, path::Path};

use casemate_gateway::unix_seconds;
use casemate_keys::{Binding, KeyName, Keys, StoreError, VersionNumber};
use casemate_statement::{Place, Rotation, Unreachable};
use serde_json::json;

use super::{SealedTo, incomplete};
use crate::{
    args::KeyRewrapOptions,
    context::Context,
    fault::Fault,
    printer::{count_text, one_line, path_text, time_text},
};

/// Bindings that are written at once.
const BATCH: usize = 512;

/// Counts, by place.
pub(super) struct Tally {
    active: VersionNumber,
    pub(super) is_dry: bool,
    pub(super) places: Vec<Place>,
    pub(super) unreachable: Vec<Unreachable>,
    /// How much could not be read or changed, by place.
    pub(super) missed: Vec<u64>,
    /// What was seen, and to which version it is sealed now.
    seen: Vec<(String, Option<VersionNumber>)>,
    visited: BTreeSet<String>,
}

impl Tally {
    pub(super) const fn new(active: VersionNumber, is_dry: bool) -> Self {
        Self {
            active,
            is_dry,
            places: Vec::new(),
            unreachable: Vec::new(),
            missed: Vec::new(),
            seen: Vec::new(),
            visited: BTreeSet::new(),
        }
    }

    /// Begins to count at a place.
    pub(super) fn begin(&mut self, place: &str) {
        self.missed.push(0);
        self.places.push(Place {
            place: place.to_owned(),
            artifacts: 0,
            changed: 0,
            below: 0,
            other: 0,
        });
    }

    /// Counts something that was sealed like this before.
    pub(super) fn count(&mut self, place: &str, before: SealedTo, artifacts: u64) {
        let Some(at) = self.places.last_mut() else {
            return;
        };
        at.artifacts = at.artifacts.saturating_add(artifacts);
        let (sum, now) = match before {
            SealedTo::Other => (&mut at.other, None),
            SealedTo::Active => {
                self.seen.push((place.to_owned(), Some(self.active)));
                return;
            }
            SealedTo::Lower(version) if self.is_dry => (&mut at.below, Some(version)),
            SealedTo::Lower(_) => (&mut at.changed, Some(self.active)),
        };
        *sum = sum.saturating_add(artifacts);
        self.seen.push((place.to_owned(), now));
    }

    /// Notes something at the current place that could not be read or changed.
    pub(super) fn fail(&mut self, place: &str, fault: &Fault) {
        if let Some(missed) = self.missed.last_mut() {
            *missed = missed.saturating_add(1);
        }
        let mut why = fault.to_string();
        for cause in fault.causes() {
            why.push_str(": ");
            why.push_str(&cause);
        }
        self.visited.insert(place.to_owned());
        self.unreachable.push(Unreachable {
            place: place.to_owned(),
            why,
        });
    }

    /// Records in the key store what was seen since the last time.
    pub(super) fn save(&mut self, store: &dyn Keys, name: &KeyName) -> Result<(), StoreError> {
        let now = unix_seconds();
        let seen = std::mem::take(&mut self.seen);
        for batch in seen.chunks(BATCH) {
            let bindings: Vec<_> = batch
                .iter()
                .filter_map(|(place, version)| {
                    Some(Binding {
                        place: place.clone(),
                        name: name.clone(),
                        version: (*version)?,
                        seen: now,
                    })
                })
                .collect();
            if !self.is_dry {
                store.bind(&bindings)?;
            }
            let others = batch.iter().filter(|(_, version)| version.is_none());
            let others: Vec<_> = others.map(|(place, _)| place.clone()).collect();
            self.doubt(store, name, &others)?;
        }
        self.visited
            .extend(seen.into_iter().map(|(place, _)| place));
        Ok(())
    }

    /// Notes what was sealed to the key once and does not say so any longer. Nothing proves a list
    /// of recipients that none of our keys opens.
    fn doubt(
        &mut self,
        store: &dyn Keys,
        name: &KeyName,
        others: &[String],
    ) -> Result<(), StoreError> {
        for place in others {
            if store.is_bound(place, name)? {
                self.unreachable.push(Unreachable {
                    place: place.clone(),
                    why: format!("it was sealed to {name} and now lists other recipients; if that is right, pass --forget"),
                });
            }
        }
        Ok(())
    }

    /// Adds what is known to be sealed to other versions and was not found. Only what is certainly
    /// gone is forgotten: a place may be unmounted or unreachable for now.
    pub(super) fn add_unvisited(
        &mut self,
        store: &dyn Keys,
        name: &KeyName,
        is_gone: &dyn Fn(&str) -> bool,
    ) -> Result<(), StoreError> {
        let mut gone = Vec::new();
        for binding in store.bindings(name)? {
            if self.visited.contains(&binding.place) || binding.version == self.active {
                continue;
            }
            let is_here = self
                .places
                .iter()
                .any(|place| is_below(&binding.place, &place.place));
            if is_here && is_gone(&binding.place) {
                gone.push(binding.place);
                continue;
            }
            let why = if is_here {
                "was not found"
            } else {
                "is not below any of the given places"
            };
            self.unreachable.push(Unreachable {
                why: format!(
                    "it was sealed to version {} on {} and {why}",
                    binding.version,
                    time_text(binding.seen)
                ),
                place: binding.place,
            });
        }
        if self.is_dry {
            return Ok(());
        }
        gone.chunks(BATCH)
            .try_for_each(|batch| store.unbind(name, batch))
    }
}

/// Returns whether a place is at or below another one.
fn is_below(place: &str, above: &str) -> bool {
    match place.strip_prefix(above.trim_end_matches('/')) {
        Some(rest) => rest.is_empty() || rest.starts_with('/'),
        None => false,
    }
}

/// Says what was found; fails if the rotation is not complete.
pub(super) fn report(
    context: &Context<'_>,
    options: &KeyRewrapOptions,
    statement: &Rotation,
    missed: &[u64],
) -> Result<(), Fault> {
    let json = json!({
        "schema": "casemate.key-rewrapped/1",
        "name": statement.name,
        "version": statement.version,
        "key": statement.key.to_hex(),
        "dry_run": options.dry_run,
        "places": statement.places,
        "below": statement.below(),
        "unreachable": statement.unreachable,
        "complete": statement.is_complete(),
        "statement": options.statement.as_deref().map(path_text),
    });
    let mut lines = Vec::new();
    for (place, missed) in statement.places.iter().zip(missed) {
        let (changed, verb) = if options.dry_run {
            (place.below, "to rewrap")
        } else {
            (place.changed, "rewrapped")
        };
        lines.push(format!(
            "{}: {}, {changed} {verb}, {} sealed only to other keys, {missed} not reached",
            one_line(&place.place),
            count_text(place.artifacts, "artifact"),
            place.other
        ));
        if place.artifacts == 0 && *missed == 0 {
            let text = format!("found nothing sealed in {}", place.place);
            context.printer.warning(&text);
        }
    }
    for one in &statement.unreachable {
        lines.push(format!(
            "not reached: {}: {}",
            one_line(&one.place),
            one_line(&one.why)
        ));
    }
    lines.push(format!(
        "{} known to be below version {} of {}",
        count_text(statement.below(), "artifact"),
        statement.version,
        statement.name
    ));
    context.printer.data(&json, &lines.join("\n"));
    if let Some(path) = &options.statement {
        note_statement(context, path);
    }
    if statement.is_complete() || options.dry_run {
        Ok(())
    } else {
        Err(incomplete(statement))
    }
}

fn note_statement(context: &Context<'_>, path: &Path) {
    context
        .printer
        .done(&format!("the signed statement is in {}", path.display()));
}
