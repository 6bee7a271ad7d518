//! `casemate keys connect`.

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use casemate_environment::{KeyService, key_service_path};
use casemate_keys::Keys as _;
use casemate_seal::file::{self, Access, Existing};

use crate::{
    args::KeysConnect,
    context::Context,
    fault::{Fault, Outcome},
    printer::count_text,
};

/// Writes which key service has the keys, once the service has answered.
pub(super) fn connect(context: &Context<'_>, options: &KeysConnect) -> Result<(), Fault> {
    let home = context.home()?;
    let store = context.store_path()?;
    if store.exists() {
        let message = format!("there is a key store at {}", store.display());
        return Err(Fault::usage(message).hint("pass --home DIR for another folder"));
    }
    let absolute =
        |path: &PathBuf| fs::canonicalize(path).map_err(|error| Fault::file("open", path, error));
    let service = KeyService {
        url: options.url.clone(),
        authorities: options.authorities.as_ref().map(absolute).transpose()?,
        certificate: absolute(&options.certificate)?,
        key: absolute(&options.key)?,
    };
    let keys = context.remote_keys(&service)?.list()?.keys;
    create(&home)?;
    let path = key_service_path(&home);
    let text =
        toml::to_string(&service).map_err(|error| Fault::from_error(Outcome::Usage, error))?;
    file::write(&path, text.as_bytes(), Access::Umask, Existing::Replace)
        .map_err(|error| Fault::file("write", &path, error))?;
    context.printer.done(&format!(
        "the keys of {} are those of {}: {} that you may see",
        home.display(),
        service.url,
        count_text(keys.len() as u64, "key")
    ));
    Ok(())
}

fn create(home: &Path) -> Result<(), Fault> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(home)
        .map_err(|error| Fault::file("create", home, error))
}
