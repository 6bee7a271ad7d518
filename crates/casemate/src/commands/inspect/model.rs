//! The model header that `inspect --model` shows.

use std::{fmt::Write as _, fs::File, path::Path};

use casemate_models::{ByteOrder, Model, ModelError, Pickle, read_model};
use casemate_seal::{Artifact, Origin, ReadAt};
use serde_json::{Value, json};

use crate::{
    context::Context,
    fault::{Fault, Outcome},
    keyring::Keyring,
    printer::{bytes_text, count_text, path_text},
};

/// Most characters of a metadata value to show.
const VALUE_CHARACTERS: usize = 100;

/// The function that makes sparse tensors without checking their indices.
const SPARSE: &str = "torch._utils _rebuild_sparse_tensor";

/// Opens the artifact without checking its signer, and reads the header of the model in it.
pub(super) fn show<R: ReadAt>(
    context: &Context<'_>,
    artifact: &Artifact<R>,
) -> Result<(Value, String), Fault> {
    let key = Keyring::new(context).opener(artifact)?;
    // Safe for any publisher, because nothing in the model runs. The output says that the origin
    // was not checked.
    let opened = artifact.open(&key, Origin::Unchecked)?;
    let found = read_model(&opened);
    warn(context, found.as_ref().ok().and_then(Option::as_ref));
    match found {
        Ok(Some(model)) => Ok((fields(&model), lines(&model))),
        Ok(None) => Ok((Value::Null, "\nmodel       unknown format".to_owned())),
        Err(error) => Err(refused(error)),
    }
}

/// Reads the header of a model that is not sealed, so that it can be judged before it is loaded.
pub(super) fn show_plain(context: &Context<'_>, path: &Path, file: &File) -> Result<(), Fault> {
    let found = read_model(file).map_err(refused)?;
    let (fields, text) = match &found {
        Some(model) => (fields(model), lines(model)),
        None => (Value::Null, "\nmodel       unknown format".to_owned()),
    };
    let json = json!({ "schema": "casemate.model/1", "path": path_text(path), "model": fields });
    let text = format!("{} is not sealed{text}", path.display());
    context.printer.data(&json, &text);
    warn(context, found.as_ref());
    Ok(())
}

/// Warns about pickles that run code, which are easily overlooked below a thousand tensors.
fn warn(context: &Context<'_>, model: Option<&Model>) {
    let pickles = model.into_iter().flat_map(|model| &model.pickles);
    for (name, _) in pickles.filter(|(_, pickle)| pickle.is_dangerous()) {
        let name = name.escape_debug();
        context.printer.warning(&format!(
            "{name} may run arbitrary code when loaded without weights_only"
        ));
    }
}

fn refused(error: ModelError) -> Fault {
    if let ModelError::Io(error) = error {
        return Fault::from_error(Outcome::Io, ModelError::Io(error));
    }
    Fault::from_error(Outcome::CheckFailed, error).hint(
        "do not use this model; loaders refuse a file that breaks this rule, or disagree about its meaning",
    )
}

fn fields(model: &Model) -> Value {
    let tensors: Vec<_> = model
        .tensors
        .iter()
        .map(|tensor| json!({ "name": tensor.name, "dtype": tensor.dtype, "shape": tensor.shape, "bytes": tensor.bytes }))
        .collect();
    let pickle = |(name, pickle): &(String, Pickle)| {
        json!({
            "name": name,
            "imports": pickle.imports,
            "suspicious": pickle.suspicious().collect::<Vec<_>>(),
            "computed_names": pickle.computed_names,
            "unread": pickle.unread,
            "operations": pickle.operations,
            "dangerous": pickle.is_dangerous(),
        })
    };
    let metadata: Vec<_> = model
        .metadata
        .iter()
        .map(|(name, value)| json!([name, value]))
        .collect();
    json!({
        "format": model.format.as_str(),
        "byte_order": model.byte_order.map(ByteOrder::as_str),
        "origin_checked": false,
        "tensors": tensors,
        "tensors_are_partial": model.is_partial,
        "metadata": metadata,
        "pickles": model.pickles.iter().map(pickle).collect::<Vec<_>>(),
        "code": model.code,
    })
}

fn lines(model: &Model) -> String {
    let known = model.tensors.iter().filter_map(|tensor| tensor.bytes);
    let total = known.fold(0_u64, u64::saturating_add);
    let mut text = format!(
        "\nmodel       {}, {}",
        model.format.as_str(),
        count_text(model.tensors.len(), "tensor")
    );
    if total > 0 {
        _ = write!(text, ", {}", bytes_text(total));
    }
    if model.byte_order == Some(ByteOrder::Big) {
        text.push_str(", big-endian");
    }
    for (name, value) in &model.metadata {
        let value: String = value.chars().take(VALUE_CHARACTERS).collect();
        let (name, value) = (name.escape_debug(), value.escape_debug());
        _ = write!(text, "\n  {name} = {value}");
    }
    let width = model
        .tensors
        .iter()
        .map(|tensor| tensor.name.len())
        .max()
        .unwrap_or(0)
        .min(60);
    for tensor in &model.tensors {
        let sides: Vec<_> = tensor.shape.iter().map(ToString::to_string).collect();
        let name = tensor.name.escape_debug().to_string();
        let (dtype, shape) = (tensor.dtype.escape_debug(), sides.join(" x "));
        _ = write!(text, "\n  {name:width$}  {dtype}  {shape}");
    }
    if model.is_partial {
        text.push_str("\n  and perhaps more: not everything that the pickle does was followed");
    }
    if !model.code.is_empty() {
        text.push_str("\ncode        runs with the model");
    }
    for name in &model.code {
        _ = write!(text, "\n  {}", name.escape_debug());
    }
    for (name, pickle) in &model.pickles {
        let verdict = if pickle.suspicious().next().is_some() || pickle.computed_names {
            "would run arbitrary code if loaded without weights_only"
        } else if pickle.unread {
            "could run arbitrary code if loaded without weights_only"
        } else {
            "imports only what weights need"
        };
        _ = write!(text, "\npickle      {}: {verdict}", name.escape_debug());
        for import in pickle.suspicious() {
            _ = write!(text, "\n  imports {}", import.escape_debug());
        }
        if pickle.computed_names {
            text.push_str("\n  imports names computed at run time");
        }
        if pickle.imports.contains(SPARSE) {
            text.push_str("\n  makes sparse tensors, whose indices only weights_only checks");
        }
        if pickle.unread {
            text.push_str("\n  is followed by data that was not inspected");
        }
        for (operation, count) in &pickle.operations {
            let times = if *count == 1 { "time" } else { "times" };
            _ = write!(text, "\n  {operation} {count} {times}");
        }
    }
    text
}
