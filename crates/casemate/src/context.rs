//! What every command shares: the printer, the policy, the key store, and access to object stores.

use std::{
    cell::OnceCell,
    env,
    path::{Path, PathBuf},
};

use casemate_crypto::policy::Policy;
use casemate_environment::{self as environment, KeyService};
use casemate_keys::{KeyStore, Keys, SqliteEngine};
use casemate_service::RemoteKeys;
use casemate_store::{Client, Location};
use casemate_tls::Fallback;

use crate::{fault::Fault, printer::Printer, unlock};

pub(crate) type Store = KeyStore<SqliteEngine>;

/// What every command shares.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) printer: &'a Printer,
    home: Option<PathBuf>,
    named_policy: Option<String>,
    policy: OnceCell<Policy>,
    verb: String,
    passphrase_files: Vec<PathBuf>,
    object_stores: OnceCell<Client>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(
        printer: &'a Printer,
        home: Option<PathBuf>,
        policy: Option<String>,
        (verb, passphrase_files): (String, Vec<PathBuf>),
    ) -> Self {
        Self {
            printer,
            home,
            named_policy: policy,
            policy: OnceCell::new(),
            verb,
            passphrase_files,
            object_stores: OnceCell::new(),
        }
    }

    /// Resolves an address. Credentials and settings come from the environment, under the names
    /// that the stores' own tools use.
    pub(crate) fn locate(&self, address: &str) -> Result<Location, Fault> {
        if self.object_stores.get().is_none() {
            let variables = env::vars_os().filter_map(|(name, value)| {
                Some((name.into_string().ok()?, value.into_string().ok()?))
            });
            let tls = casemate_tls::store_config(self.policy()?.tls_groups(), None)?;
            let client = Client::new(variables, tls)?;
            self.object_stores.get_or_init(|| client);
        }
        let client = self
            .object_stores
            .get()
            .ok_or_else(|| Fault::usage("there is no object store client"))?;
        Ok(client.locate(address)?)
    }

    /// Returns the policy in force. It is read once, so a later change of the file has no effect.
    pub(crate) fn policy(&self) -> Result<&Policy, Fault> {
        if let Some(policy) = self.policy.get() {
            return Ok(policy);
        }
        let policy = environment::policy(self.named_policy.as_deref())?;
        Ok(self.policy.get_or_init(|| policy))
    }

    /// Whether classical-only peers may connect (`FALLBACK_CRYPTO`).
    pub(crate) fn fallback() -> Result<Fallback, Fault> {
        match env::var("FALLBACK_CRYPTO").as_deref() {
            Err(_) | Ok("" | "disabled") => Ok(Fallback::Disabled),
            Ok("enabled") => Ok(Fallback::Enabled),
            Ok(other) => Err(Fault::usage(format!(
                "FALLBACK_CRYPTO has the unknown value `{other}`"
            ))
            .hint("set it to `disabled` or `enabled`")),
        }
    }

    /// Returns the folder of the key store.
    pub(crate) fn home(&self) -> Result<PathBuf, Fault> {
        Ok(environment::home(self.home.as_deref())?)
    }

    pub(crate) fn store_path(&self) -> Result<PathBuf, Fault> {
        Ok(environment::store_path(&self.home()?))
    }

    /// Returns the files that open the key store.
    pub(crate) fn passphrase_files(&self) -> &[PathBuf] {
        &self.passphrase_files
    }

    /// Returns the path of the key store, which must exist.
    pub(crate) fn existing_store_path(&self) -> Result<PathBuf, Fault> {
        let path = self.store_path()?;
        if let Some(service) = self.key_service()? {
            let message = format!("the keys are in the key service at {}", service.url);
            return Err(Fault::usage(message)
                .hint("run this command where the key store of the service is"));
        }
        if path.exists() {
            return Ok(path);
        }
        let message = format!("there is no key store at {}", path.display());
        Err(Fault::usage(message).hint("create it with `casemate keys init`"))
    }

    /// Opens a key store or a copy of it.
    pub(crate) fn unlock(&self, path: &Path) -> Result<Store, Fault> {
        Ok(unlock::unlock(path, &self.passphrase_files, &self.verb)?.0)
    }

    /// Opens the key store, and returns what opened it as well.
    pub(crate) fn key_store_and_secrets(&self) -> Result<unlock::Unlocked, Fault> {
        let path = self.existing_store_path()?;
        unlock::unlock(&path, &self.passphrase_files, &self.verb)
    }

    /// Returns the key service that has the keys; `None` if they are in a key store.
    pub(crate) fn key_service(&self) -> Result<Option<KeyService>, Fault> {
        Ok(KeyService::of(&self.home()?)?)
    }

    /// Opens the keys, wherever they are.
    pub(crate) fn keys(&self) -> Result<Box<dyn Keys>, Fault> {
        match self.key_service()? {
            Some(service) => Ok(Box::new(self.remote_keys(&service)?)),
            None => Ok(Box::new(self.key_store()?)),
        }
    }

    pub(crate) fn remote_keys(&self, service: &KeyService) -> Result<RemoteKeys, Fault> {
        let provider = casemate_tls::provider(self.policy()?.tls_groups(), Self::fallback()?);
        Ok(service.keys(&self.home()?, provider)?)
    }

    /// Opens the key store.
    pub(crate) fn key_store(&self) -> Result<Store, Fault> {
        let path = self.existing_store_path()?;
        self.unlock(&path)
    }
}
