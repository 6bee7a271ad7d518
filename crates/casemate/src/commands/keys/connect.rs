//! `casemate keys connect`.

use std::{fs, path::PathBuf};

use casemate_environment::{KeyPlace, KeyService, key_service_path};
use casemate_keys::Keys as _;
use casemate_seal::file::{self, Access, Existing};

use super::init::make_folder;
use crate::{
    args::KeysConnect,
    context::Context,
    fault::{Fault, Outcome},
    printer::count_text,
};

/// Writes which key service has the keys, once the service has answered.
pub(super) fn connect(context: &Context<'_>, options: &KeysConnect) -> Result<(), Fault> {
    let home = context.home()?;
    let has_store = match context.key_place()? {
        KeyPlace::File(path) => path.exists(),
        KeyPlace::Etcd(_) => true,
        KeyPlace::Service(_) => false,
    };
    if has_store {
        let message = format!("{} has a key store", home.display());
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
    make_folder(&home)?;
    let path = key_service_path(&home);
    let text =
        toml::to_string(&service).map_err(|error| Fault::from_error(Outcome::Usage, error))?;
    file::write(&path, text.as_bytes(), Access::Umask, Existing::Replace)
        .map_err(|error| Fault::file("write", &path, error))?;
    context.printer.done(&format!(
        "connected {} to {}: you may use {}",
        home.display(),
        service.url,
        count_text(keys.len() as u64, "key")
    ));
    Ok(())
}
