//! `casemate keys statement`.

use std::path::Path;

use casemate_crypto::hash::sha384;
use casemate_environment::{Signed, read_limited};
use casemate_statement::{Rotation, STATEMENT_BYTES_MAX};
use serde_json::json;

use crate::{
    context::Context,
    fault::{Fault, Outcome},
    keyring::Keyring,
    printer::{count_text, one_line, time_text},
};

pub(super) fn show(context: &Context<'_>, file: &Path, signer: &str) -> Result<(), Fault> {
    let mut keyring = Keyring::new(context);
    let key = keyring.verifier(signer)?;
    let content = read_limited(file, STATEMENT_BYTES_MAX)?;
    let statement = Rotation::verify(content.expose(), &key)?;
    // The key must have been valid when the rotation was finished.
    keyring.expected_signer(
        signer,
        &Signed {
            date: Some(statement.finished),
            digest: sha384(content.expose()),
        },
    )?;
    let json = json!({
        "schema": "casemate.rotation-statement/1",
        "name": statement.name,
        "version": statement.version,
        "key": statement.key.to_hex(),
        "finished": statement.finished,
        "places": statement.places,
        "below": statement.below(),
        "unreachable": statement.unreachable,
        "unreachable_count": statement.unreachable_count,
        "complete": statement.is_complete(),
        "signer": key.id()?.to_hex(),
    });
    let mut lines = vec![format!(
        "key {}, version {} (key {}), {}",
        statement.name,
        statement.version,
        statement.key,
        time_text(statement.finished)
    )];
    for place in &statement.places {
        lines.push(format!(
            "{}: {}, {} rewrapped, {} below, {} sealed only to other keys",
            one_line(&place.place),
            count_text(place.artifacts, "artifact"),
            place.changed,
            place.below,
            place.other
        ));
    }
    for one in &statement.unreachable {
        lines.push(format!(
            "not reached: {}: {}",
            one_line(&one.place),
            one_line(&one.why)
        ));
    }
    lines.push(format!(
        "{} below version {}",
        count_text(statement.below(), "artifact"),
        statement.version
    ));
    context.printer.data(&json, &lines.join("\n"));
    if statement.is_complete() {
        return Ok(());
    }
    let message = format!(
        "the rotation is not complete: {} below, {} not reached",
        count_text(statement.below(), "artifact"),
        count_text(statement.unreachable_count, "place")
    );
    Err(Fault::new(Outcome::CheckFailed, message))
}
