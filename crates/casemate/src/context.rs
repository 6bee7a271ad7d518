//! What every command shares: the printer, the policy, the key store, and how keys are named.

use std::{
    cell::OnceCell,
    env, fs,
    io::Read,
    path::{Path, PathBuf},
};

use casemate_crypto::{
    SecretBytes,
    encoding::{EncodingError, KEY_FILE_BYTES_MAX, KeyId, PrivateKey, PublicKey},
    kem::{KemPrivateKey, KemPublicKey},
    policy::{POLICY_BYTES_MAX, Policy},
    signature::{HttpSigningKey, HttpVerifyingKey, SigningKey, VerifyingKey},
};
use casemate_gateway::tls::Fallback;
use casemate_keys::{KeyStore, SqliteEngine};
use casemate_seal::{Artifact, OpenError, ReadAt};
use casemate_store::{Client, Location};

use crate::{
    fault::{Fault, Outcome},
    passphrase,
    printer::Printer,
};

pub(crate) type Store = KeyStore<SqliteEngine>;

/// What every command shares.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    pub(crate) printer: &'a Printer,
    home: Option<PathBuf>,
    policy: Option<String>,
    passphrase_file: Option<PathBuf>,
    stores: OnceCell<Client>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(
        printer: &'a Printer,
        home: Option<PathBuf>,
        policy: Option<String>,
        passphrase_file: Option<PathBuf>,
    ) -> Self {
        Self {
            printer,
            home,
            policy,
            passphrase_file,
            stores: OnceCell::new(),
        }
    }

    /// What an address names. Credentials and settings are the environment's, under the names that the stores' own tools use.
    pub(crate) fn locate(&self, address: &str) -> Result<Location, Fault> {
        if self.stores.get().is_none() {
            let variables = env::vars_os().filter_map(|(name, value)| {
                Some((name.into_string().ok()?, value.into_string().ok()?))
            });
            let client = Client::new(variables)?;
            self.stores.get_or_init(|| client);
        }
        let client = self.stores.get();
        let client = client.ok_or_else(|| Fault::usage("there is no client for stores"))?;
        Ok(client.locate(address)?)
    }

    /// The policy: flag or `CASEMATE_POLICY`, else what `PQC_KEY_MANAGEMENT` says, else `hybrid`.
    pub(crate) fn policy(&self) -> Result<Policy, Fault> {
        let Some(named) = &self.policy else {
            return match env::var("PQC_KEY_MANAGEMENT").as_deref() {
                Err(_) | Ok("" | "hybrid") => Ok(Policy::by_name("hybrid")?),
                Ok("pq") => Ok(Policy::by_name("cnsa2")?),
                Ok("classical") => Err(Fault::new(
                    Outcome::NotPermitted,
                    "PQC_KEY_MANAGEMENT=classical: no classical suite protects data here",
                )
                .hint("set it to `hybrid` or `pq`")),
                Ok(other) => Err(Fault::usage(format!("PQC_KEY_MANAGEMENT is `{other}`"))
                    .hint("set it to `hybrid`, `pq` or `classical`")),
            };
        };
        let path = Path::new(named);
        if path.is_file() {
            let text = read_limited(path, POLICY_BYTES_MAX)?;
            let text = str::from_utf8(text.expose())
                .map_err(|_| Fault::usage(format!("policy file {named} is not UTF-8")))?;
            return Ok(Policy::from_toml(text)?);
        }
        Ok(Policy::by_name(named)?)
    }

    /// Whether classical-only peers may connect (`FALLBACK_CRYPTO`).
    pub(crate) fn fallback() -> Result<Fallback, Fault> {
        match env::var("FALLBACK_CRYPTO").as_deref() {
            Err(_) | Ok("" | "disabled") => Ok(Fallback::Disabled),
            Ok("enabled") => Ok(Fallback::Enabled),
            Ok(other) => Err(Fault::usage(format!("FALLBACK_CRYPTO is `{other}`"))
                .hint("set it to `disabled` or `enabled`")),
        }
    }

    /// Directory of the key store.
    pub(crate) fn home(&self) -> Result<PathBuf, Fault> {
        if let Some(home) = &self.home {
            return Ok(home.clone());
        }
        let set = |name| {
            env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        set("XDG_DATA_HOME")
            .or_else(|| set("HOME").map(|home| home.join(".local/share")))
            .map(|data| data.join("casemate"))
            .ok_or_else(|| Fault::usage("there is no home directory").hint("pass --home DIR"))
    }

    pub(crate) fn store_path(&self) -> Result<PathBuf, Fault> {
        Ok(self.home()?.join("keys.db"))
    }

    pub(crate) fn passphrase_file(&self) -> Option<&Path> {
        self.passphrase_file.as_deref()
    }

    /// Opens the key store.
    pub(crate) fn store(&self) -> Result<Store, Fault> {
        let path = self.store_path()?;
        if !path.exists() {
            return Err(
                Fault::usage(format!("there is no key store at {}", path.display()))
                    .hint("create it with `casemate keys init`"),
            );
        }
        let engine = SqliteEngine::open(&path, false)
            .map_err(|error| Fault::from_error(Outcome::Io, error))?;
        let secret = passphrase::existing(self.passphrase_file())?;
        Ok(KeyStore::unlock(engine, &secret)?)
    }
}

/// A key store that is opened when a name first needs it.
pub(crate) struct Keyring<'a> {
    context: &'a Context<'a>,
    base: PathBuf,
    store: Option<Store>,
}

impl<'a> Keyring<'a> {
    pub(crate) fn new(context: &'a Context<'a>) -> Self {
        Self {
            context,
            base: PathBuf::new(),
            store: None,
        }
    }

    /// Looks for key files relative to `base`.
    pub(crate) fn relative_to(context: &'a Context<'a>, base: &Path) -> Self {
        Self {
            context,
            base: base.to_owned(),
            store: None,
        }
    }

    pub(crate) fn store(&mut self) -> Result<&Store, Fault> {
        if self.store.is_none() {
            self.store = Some(self.context.store()?);
        }
        self.store
            .as_ref()
            .ok_or_else(|| Fault::usage("there is no key store"))
    }

    /// A public key by file, name or key id, or an age recipient.
    pub(crate) fn public(&mut self, named: &str) -> Result<PublicKey, Fault> {
        if casemate_age::is_recipient(named) {
            return Ok(PublicKey::Kem(casemate_age::recipient_from_text(named)?));
        }
        let path = self.base.join(named);
        if path.is_file() {
            let pem = read_limited(&path, KEY_FILE_BYTES_MAX)?;
            return read_public(pem.expose()).map_err(|error| {
                Fault::from_error(Outcome::Usage, error).hint(format!(
                    "{named} must be a public key in PEM, as `casemate keys export` writes it"
                ))
            });
        }
        // No key name has a slash, so this can only be a file.
        if named.contains('/') {
            return Err(Fault::new(
                Outcome::Io,
                format!("there is no key file {named}"),
            ));
        }
        Ok(self.store()?.find(named)?.public)
    }

    fn private(&mut self, named: &str) -> Result<PrivateKey, Fault> {
        let store = self.store()?;
        Ok(store.private_key(&store.find(named)?)?)
    }

    pub(crate) fn recipient(&mut self, named: &str) -> Result<KemPublicKey, Fault> {
        let PublicKey::Kem(key) = self.public(named)? else {
            return Err(wrong_kind(named, "kem", "receive sealed artifacts"));
        };
        self.context.policy()?.check_kem(key.suite())?;
        Ok(key)
    }

    pub(crate) fn recipients(&mut self, named: &[String]) -> Result<Vec<KemPublicKey>, Fault> {
        named.iter().map(|named| self.recipient(named)).collect()
    }

    pub(crate) fn verifier(&mut self, named: &str) -> Result<VerifyingKey, Fault> {
        let PublicKey::Sign(key) = self.public(named)? else {
            return Err(wrong_kind(named, "sign", "sign artifacts"));
        };
        self.context.policy()?.check_signature(key.suite())?;
        Ok(key)
    }

    pub(crate) fn signer(&mut self, named: &str) -> Result<SigningKey, Fault> {
        let PrivateKey::Sign(key) = self.private(named)? else {
            return Err(wrong_kind(named, "sign", "sign artifacts"));
        };
        self.context.policy()?.check_signature(key.suite())?;
        Ok(key)
    }

    pub(crate) fn kem(&mut self, named: &str) -> Result<KemPrivateKey, Fault> {
        let PrivateKey::Kem(key) = self.private(named)? else {
            return Err(wrong_kind(named, "kem", "open what is encrypted"));
        };
        self.context.policy()?.check_kem(key.suite())?;
        Ok(key)
    }

    pub(crate) fn http_signer(&mut self, named: &str) -> Result<HttpSigningKey, Fault> {
        let PrivateKey::Http(key) = self.private(named)? else {
            return Err(wrong_kind(named, "http", "sign requests and responses"));
        };
        Ok(key)
    }

    pub(crate) fn http_verifier(&mut self, named: &str) -> Result<HttpVerifyingKey, Fault> {
        let PublicKey::Http(key) = self.public(named)? else {
            return Err(wrong_kind(named, "http", "sign requests and responses"));
        };
        Ok(key)
    }

    /// The private key in the store to which an artifact is sealed.
    pub(crate) fn opener<R: ReadAt>(
        &mut self,
        artifact: &Artifact<R>,
    ) -> Result<KemPrivateKey, Fault> {
        let recipients: Vec<KeyId> = artifact
            .recipients()
            .iter()
            .map(|record| record.key)
            .collect();
        let listing = self.store()?.list()?;
        let mut ours = listing
            .keys
            .iter()
            .filter(|entry| recipients.contains(&entry.id));
        let Some(entry) = ours.find(|entry| entry.role == casemate_keys::Role::Private) else {
            let wanted: Vec<_> = recipients.iter().map(ToString::to_string).collect();
            let message = "no private key in the key store opens this artifact";
            return Err(Fault::new(Outcome::NotPermitted, message)
                .hint(format!("it is sealed to {}", wanted.join(", "))));
        };
        let name = entry.name.to_string();
        let key = self.kem(&name)?;
        self.context.policy()?.check_kem(key.suite())?;
        Ok(key)
    }

    /// Every private key in the store that opens artifacts and that the policy allows.
    pub(crate) fn openers(&mut self) -> Result<Vec<KemPrivateKey>, Fault> {
        let policy = self.context.policy()?;
        let store = self.store()?;
        let mut keys = Vec::new();
        for entry in store.list()?.keys {
            let PublicKey::Kem(public) = &entry.public else {
                continue;
            };
            let ours = entry.role == casemate_keys::Role::Private;
            if !ours || policy.check_kem(public.suite()).is_err() {
                continue;
            }
            if let PrivateKey::Kem(key) = store.private_key(&entry)? {
                keys.push(key);
            }
        }
        if keys.is_empty() {
            let message = "the key store has no private key that opens artifacts";
            return Err(Fault::new(Outcome::NotPermitted, message)
                .hint("make one with `casemate keys generate --kind kem`, and have it added with `casemate rewrap`"));
        }
        Ok(keys)
    }

    /// The key that signed an artifact, if the store knows it.
    pub(crate) fn trusted_signer<R: ReadAt>(
        &mut self,
        artifact: &Artifact<R>,
    ) -> Result<VerifyingKey, Fault> {
        let Some(record) = artifact.signature() else {
            return Err(OpenError::Unsigned.into());
        };
        let listing = self.store()?.list()?;
        let known = listing
            .keys
            .into_iter()
            .find(|entry| entry.id == record.key);
        let Some(PublicKey::Sign(key)) = known.map(|entry| entry.public) else {
            let message = format!(
                "the artifact is signed by key {}, which is not known here",
                record.key
            );
            return Err(Fault::new(Outcome::NotPermitted, message).hint(
                "import the publisher's key with `casemate keys import`, or name it with --signer",
            ));
        };
        self.context.policy()?.check_signature(key.suite())?;
        Ok(key)
    }
}

fn wrong_kind(named: &str, kind: &str, task: &str) -> Fault {
    Fault::usage(format!(
        "`{named}` is not a key of kind `{kind}`, which is needed to {task}"
    ))
}

/// A public key file: PEM, or one age recipient.
pub(crate) fn read_public(bytes: &[u8]) -> Result<PublicKey, EncodingError> {
    let recipient = str::from_utf8(bytes)
        .ok()
        .map(str::trim)
        .filter(|text| casemate_age::is_recipient(text))
        .and_then(|text| casemate_age::recipient_from_text(text).ok());
    match recipient {
        Some(key) => Ok(PublicKey::Kem(key)),
        None => PublicKey::from_pem(bytes),
    }
}

/// Reads a small file whole.
pub(crate) fn read_limited(path: &Path, limit: usize) -> Result<SecretBytes, Fault> {
    let failed = |error| Fault::file("read", path, error);
    let mut bytes = Vec::with_capacity(limit.saturating_add(1).min(1 << 17));
    let file = fs::File::open(path).map_err(failed)?;
    file.take(limit.saturating_add(1) as u64)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    let bytes = SecretBytes::new(bytes);
    if bytes.expose().len() > limit {
        return Err(Fault::usage(format!(
            "{} is longer than {limit} bytes",
            path.display()
        )));
    }
    Ok(bytes)
}
