//! What every command shares: the printer, the policy, the key store, and access to object stores.

use std::{
    cell::OnceCell,
    env,
    path::{Path, PathBuf},
};

use casemate_crypto::policy::Policy;
use casemate_environment::{self as environment, EtcdPlace, KeyPlace, KeyService};
use casemate_gateway::unix_seconds;
use casemate_keys::{AnyEngine, KeyStore, Keys, SqliteEngine, StoreError};
use casemate_service::RemoteKeys;
use casemate_store::{Client, Location};
use casemate_tls::Fallback;

use crate::{fault::Fault, printer::Printer, unlock};

/// A key store in a file or in etcd.
pub(crate) type Store = KeyStore<AnyEngine>;

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

    /// Returns where the keys are.
    pub(crate) fn key_place(&self) -> Result<KeyPlace, Fault> {
        Ok(KeyPlace::of(&self.home()?)?)
    }

    /// Returns whether there may be keys: a key store in etcd, or a key service, is asked later.
    pub(crate) fn has_keys(&self) -> Result<bool, Fault> {
        Ok(match self.key_place()? {
            KeyPlace::File(path) => path.exists(),
            KeyPlace::Etcd(_) | KeyPlace::Service(_) => true,
        })
    }

    /// Connects to the existing key store, without opening it.
    pub(crate) fn engine(&self) -> Result<AnyEngine, Fault> {
        match self.key_place()? {
            KeyPlace::File(path) if path.exists() => sqlite(&path),
            KeyPlace::File(path) => {
                let message = format!("there is no key store at {}", path.display());
                Err(Fault::usage(message).hint("create it with `casemate keys init`"))
            }
            KeyPlace::Etcd(place) => self.etcd(&place),
            KeyPlace::Service(service) => {
                let message = format!("the keys are in the key service at {}", service.url);
                Err(Fault::usage(message)
                    .hint("run this command where the key store of the service is"))
            }
        }
    }

    pub(crate) fn etcd(&self, place: &EtcdPlace) -> Result<AnyEngine, Fault> {
        let groups = self.policy()?.tls_groups();
        Ok(Box::new(place.engine(
            &self.home()?,
            groups,
            unix_seconds,
        )?))
    }

    /// Opens a copy of a key store in a file.
    pub(crate) fn unlock(&self, path: &Path) -> Result<Store, Fault> {
        let files = &self.passphrase_files;
        Ok(unlock::unlock(&|| sqlite(path), files, &self.verb)?.0)
    }

    /// Opens the key store, and returns what opened it as well.
    pub(crate) fn key_store_and_secrets(&self) -> Result<unlock::Unlocked, Fault> {
        unlock::unlock(&|| self.engine(), &self.passphrase_files, &self.verb)
    }

    /// Opens the keys, wherever they are.
    pub(crate) fn keys(&self) -> Result<Box<dyn Keys>, Fault> {
        match self.key_place()? {
            KeyPlace::Service(service) => Ok(Box::new(self.remote_keys(&service)?)),
            KeyPlace::File(_) | KeyPlace::Etcd(_) => Ok(Box::new(self.key_store()?)),
        }
    }

    pub(crate) fn remote_keys(&self, service: &KeyService) -> Result<RemoteKeys, Fault> {
        let provider = casemate_tls::provider(self.policy()?.tls_groups(), Self::fallback()?);
        Ok(service.keys(&self.home()?, provider)?)
    }

    /// Opens the key store.
    pub(crate) fn key_store(&self) -> Result<Store, Fault> {
        Ok(self.key_store_and_secrets()?.0)
    }
}

fn sqlite(path: &Path) -> Result<AnyEngine, Fault> {
    let engine = SqliteEngine::open(path, false).map_err(StoreError::from)?;
    Ok(Box::new(engine))
}
