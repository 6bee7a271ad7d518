//! The files of a sealed folder, which `inspect` lists.

use std::fmt::Write as _;

use casemate_seal::{
    Origin,
    folder::{FolderSource, SealedFolder, read_manifest},
};
use serde_json::{Value, json};

use crate::{context::Context, fault::Fault, keyring::Keyring, printer::bytes_text};

/// Lists the files, which takes a key. Without one the caller shows only the manifest's artifact.
pub(super) fn listing(
    context: &Context<'_>,
    folder: Box<dyn FolderSource>,
) -> Result<(Value, String), Fault> {
    let mut keyring = Keyring::new(context);
    let owned = keyring.openers()?;
    let keys: Vec<_> = owned.iter().collect();
    let artifact = read_manifest(&*folder)?;
    // Only `verify` checks that the signer is trusted; the output says that this listing did not.
    let sealed = SealedFolder::open(folder, artifact, &keys, Origin::Unchecked)?;
    let manifest = sealed.manifest();
    let files: Vec<_> = manifest
        .files
        .iter()
        .map(|file| json!({ "path": file.path.as_str(), "content_bytes": file.content_len, "id": file.id.to_string() }))
        .collect();
    let json =
        json!({ "id": manifest.id.to_string(), "revision": manifest.revision, "files": files });
    let mut text = format!(
        "\nfolder      {}\nrevision    {}\nfiles       {}, {}",
        manifest.id,
        manifest.revision,
        manifest.files.len(),
        bytes_text(manifest.content_len())
    );
    for file in &manifest.files {
        let len = bytes_text(file.content_len);
        _ = write!(text, "\n            {} {len}", file.path);
    }
    Ok((json, text))
}
