//! Finds the keys that a command names.

use std::{
    cell::{OnceCell, RefCell},
    collections::BTreeSet,
    path::{Path, PathBuf},
    rc::Rc,
};

use casemate_crypto::{
    encoding::{KeyId, PrivateKey, PublicKey},
    kem::{KemPrivateKey, KemPublicKey},
    signature::{HttpSigningKey, HttpVerifyingKey, SigningKey, VerifyingKey},
};
use casemate_environment::{KeyReference, Signed, Statuses, TrustList};
use casemate_gateway::unix_seconds;
use casemate_keys::{End, KeyEntry, Keys, Role, State, Usage, Withdrawn};
use casemate_seal::{Artifact, ReadAt};

use crate::{
    context::Context,
    fault::{Fault, Outcome},
    printer::time_text,
};

/// Resolves key names; opens the key store only when a name first needs it.
pub(crate) struct Keyring<'a> {
    context: &'a Context<'a>,
    base: PathBuf,
    store: OnceCell<Box<dyn Keys>>,
    /// Read once, so that it cannot change while a command runs.
    statuses: Option<Rc<Statuses>>,
    list: Option<(PathBuf, Rc<TrustList>)>,
    replacing: Option<KeyId>,
    /// Notes already shown, so that each appears once even for a thousand objects.
    said: RefCell<BTreeSet<String>>,
}

impl<'a> Keyring<'a> {
    pub(crate) fn new(context: &'a Context<'a>) -> Self {
        Self::relative_to(context, Path::new(""))
    }

    /// Resolves paths of key files relative to `base`.
    pub(crate) fn relative_to(context: &'a Context<'a>, base: &Path) -> Self {
        Self {
            context,
            base: base.to_owned(),
            store: OnceCell::new(),
            statuses: None,
            list: None,
            replacing: None,
            said: RefCell::default(),
        }
    }

    /// Records that this owner is about to replace every recipient of its artifacts.
    pub(crate) const fn replace_recipients(&mut self, owner: KeyId) {
        self.replacing = Some(owner);
    }

    /// Returns the owner that is about to replace every recipient of its artifacts.
    pub(crate) const fn replacing_owner(&self) -> Option<KeyId> {
        self.replacing
    }

    pub(crate) fn store(&self) -> Result<&dyn Keys, Fault> {
        if let Some(store) = self.store.get() {
            return Ok(&**store);
        }
        let opened = self.context.keys()?;
        Ok(&**self.store.get_or_init(|| opened))
    }

    /// Returns a public key by name, full key id or path, or from an age recipient.
    pub(crate) fn public(&mut self, named: &str) -> Result<PublicKey, Fault> {
        let reference: KeyReference = named.parse()?;
        let base = self.base.clone();
        reference.public(&base, || self.store())
    }

    /// As [`Self::public`], but refuses a key that the store lists as not valid now.
    fn current(&mut self, named: &str) -> Result<PublicKey, Fault> {
        if matches!(
            named.parse()?,
            KeyReference::Id(_) | KeyReference::Name(_) | KeyReference::Version(..)
        ) {
            let entry = self.entry(named)?;
            check_valid_now(named, &entry)?;
            return Ok(entry.public);
        }
        self.public(named)
    }

    /// Returns a key of the store by name or full key id.
    pub(crate) fn entry(&mut self, named: &str) -> Result<KeyEntry, Fault> {
        let reference: KeyReference = named.parse()?;
        if matches!(reference, KeyReference::File(_)) {
            let message =
                format!("{named} is a path, but private keys are read only from the key store");
            return Err(Fault::usage(message)
                .hint("import the key with `casemate keys import FILE --name NAME`"));
        }
        let base = self.base.clone();
        Ok(reference.entry(&base, self.store()?)?)
    }

    /// Returns a private key to sign with; refuses one that is not valid now.
    fn usable(&mut self, named: &str) -> Result<(PrivateKey, KeyId), Fault> {
        let entry = self.entry(named)?;
        check_valid_now(named, &entry)?;
        if self.store()?.is_compromised(entry.id)? {
            let message =
                format!("`{named}` succeeds a compromised key, so its signatures are not trusted");
            return Err(Fault::new(Outcome::NotPermitted, message)
                .hint("make a version that succeeds nothing with `casemate keys rotate`, and give others its public key"));
        }
        Ok((self.store()?.private_key(&entry)?, entry.id))
    }

    fn private(&mut self, named: &str) -> Result<(PrivateKey, KeyId), Fault> {
        let entry = self.entry(named)?;
        Ok((self.store()?.private_key(&entry)?, entry.id))
    }

    /// Notes which key a name resolved to.
    fn note(&self, role: &str, named: &str, id: KeyId) {
        let id = id.to_hex();
        let text = format!("{role}: {named}, key {id}");
        let is_news = !named.eq_ignore_ascii_case(&id);
        if is_news && self.said.borrow_mut().insert(text.clone()) {
            self.context.printer.note(&text);
        }
    }

    pub(crate) fn recipient(&mut self, named: &str) -> Result<KemPublicKey, Fault> {
        let PublicKey::Kem(key) = self.current(named)? else {
            return Err(wrong_kind(named, "kem", "receive sealed artifacts"));
        };
        self.context.policy()?.check_kem(key.suite())?;
        self.note("recipient", named, key.id()?);
        Ok(key)
    }

    pub(crate) fn recipients(&mut self, named: &[String]) -> Result<Vec<KemPublicKey>, Fault> {
        named.iter().map(|named| self.recipient(named)).collect()
    }

    /// Returns the id of a recipient to remove. The policy does not apply: a key that it forbids
    /// must be removable.
    pub(crate) fn removed(&mut self, named: &str) -> Result<KeyId, Fault> {
        // An id is enough: the key itself may no longer be in the store.
        let id = match named.parse()? {
            KeyReference::Id(id) => id,
            _ => self.public(named)?.id()?,
        };
        self.note("recipient to remove", named, id);
        Ok(id)
    }

    /// Returns the named recipients and, with `to_self`, this store's own key that opens artifacts.
    pub(crate) fn recipients_and_self(
        &mut self,
        named: &[String],
        to_self: bool,
    ) -> Result<Vec<KemPublicKey>, Fault> {
        let mut recipients = self.recipients(named)?;
        if to_self {
            let own = self.own_recipient_id()?;
            if !recipients.iter().any(|key| key.id().ok() == Some(own)) {
                recipients.push(self.recipient(&own.to_hex())?);
            }
        }
        Ok(recipients)
    }

    /// Returns the id of the store's only valid key that opens artifacts.
    fn own_recipient_id(&self) -> Result<KeyId, Fault> {
        let policy = self.context.policy()?;
        let now = unix_seconds();
        let keys = self.store()?.list()?.keys;
        let is_usable = |entry: &&KeyEntry| {
            let PublicKey::Kem(key) = &entry.public else {
                return false;
            };
            entry.role == Role::Private
                && policy.check_kem(key.suite()).is_ok()
                && entry.state == State::Active
                && entry.status.check_now(entry.id, now).is_ok()
        };
        let own: Vec<_> = keys.iter().filter(is_usable).collect();
        match own.as_slice() {
            [one] => Ok(one.id),
            [] => Err(
                Fault::usage("the key store has no valid key that opens artifacts")
                    .hint("make one with `casemate keys generate --kind kem --name NAME`"),
            ),
            several => {
                let names = several
                    .iter()
                    .map(|entry| entry.name.as_str())
                    .collect::<Vec<_>>()
                    .join(", ");
                Err(Fault::usage(format!("--to-self could mean {names}"))
                    .hint("name the key with --to"))
            }
        }
    }

    /// Counts uses of keys of this store before they are made, for keys whose policy limits them.
    /// Keys that are not named in the store are not counted.
    pub(crate) fn reserve<'n>(
        &mut self,
        named: impl IntoIterator<Item = &'n str>,
        usage: Usage,
    ) -> Result<(), Fault> {
        for named in named {
            if matches!(
                named.parse()?,
                KeyReference::File(_) | KeyReference::Recipient(_)
            ) {
                continue;
            }
            let entry = self.entry(named)?;
            self.store()?.reserve(&entry.name, usage)?;
        }
        Ok(())
    }

    /// Warns if no key of this store is among `recipients`. Does not open the store only for this.
    pub(crate) fn warn_if_no_own_recipient(
        &self,
        recipients: &[KemPublicKey],
    ) -> Result<(), Fault> {
        let Some(store) = self.store.get() else {
            return Ok(());
        };
        let own = store.list()?.keys;
        let is_own = |key: &KemPublicKey| {
            let id = key.id().ok();
            own.iter()
                .any(|entry| entry.role == Role::Private && Some(entry.id) == id)
        };
        if !recipients.iter().any(is_own) {
            self.context.printer.warning(
                "no recipient is a key of this store, so you cannot open or rewrap the result; pass --to-self to add your key",
            );
        }
        Ok(())
    }

    pub(crate) fn verifier(&mut self, named: &str) -> Result<VerifyingKey, Fault> {
        let PublicKey::Sign(key) = self.public(named)? else {
            return Err(wrong_kind(named, "sign", "sign artifacts"));
        };
        self.context.policy()?.check_signature(key.suite())?;
        Ok(key)
    }

    /// Returns the expected signer. Checks the status of a key from the store; a key file has none.
    pub(crate) fn expected_signer(
        &mut self,
        named: &str,
        signed: &Signed,
    ) -> Result<VerifyingKey, Fault> {
        let key = self.verifier(named)?;
        let id = key.id()?;
        self.note("expected signer", named, id);
        if !matches!(named.parse()?, KeyReference::File(_)) {
            self.judge(id, signed)?;
        }
        Ok(key)
    }

    /// Refuses a signature by a key that the store lists as compromised, or as not valid at that
    /// date.
    fn judge(&mut self, id: KeyId, signed: &Signed) -> Result<(), Fault> {
        Ok(self.statuses()?.judge(id, signed)?)
    }

    /// Returns the statuses of the store's keys.
    pub(crate) fn statuses(&mut self) -> Result<Rc<Statuses>, Fault> {
        if let Some(statuses) = &self.statuses {
            return Ok(Rc::clone(statuses));
        }
        let statuses = Rc::new(Statuses::of(self.store()?)?);
        Ok(Rc::clone(self.statuses.insert(statuses)))
    }

    /// Reads a trust file. Opens the store only if the file names keys from it.
    pub(crate) fn trust_list(&mut self, file: &Path) -> Result<Rc<TrustList>, Fault> {
        if let Some((path, list)) = &self.list
            && path == file
        {
            return Ok(Rc::clone(list));
        }
        let list = Rc::new(TrustList::read(file, || self.store())?);
        self.list = Some((file.to_owned(), Rc::clone(&list)));
        Ok(list)
    }

    pub(crate) fn signer(&mut self, named: &str) -> Result<SigningKey, Fault> {
        let (PrivateKey::Sign(key), id) = self.usable(named)? else {
            return Err(wrong_kind(named, "sign", "sign artifacts"));
        };
        self.context.policy()?.check_signature(key.suite())?;
        self.note("signer", named, id);
        Ok(key)
    }

    pub(crate) fn kem(&mut self, named: &str) -> Result<KemPrivateKey, Fault> {
        let (PrivateKey::Kem(key), _) = self.private(named)? else {
            return Err(wrong_kind(named, "kem", "open artifacts"));
        };
        self.context.policy()?.check_kem(key.suite())?;
        Ok(key)
    }

    pub(crate) fn http_signer(&mut self, named: &str) -> Result<HttpSigningKey, Fault> {
        let (PrivateKey::Http(key), id) = self.usable(named)? else {
            return Err(wrong_kind(named, "http", "sign requests and responses"));
        };
        self.note("identity", named, id);
        Ok(key)
    }

    /// Returns the previous signing key. It may be retired but not compromised: a compromised key
    /// cannot vouch for its successor.
    pub(crate) fn http_predecessor(&mut self, named: &str) -> Result<HttpSigningKey, Fault> {
        let entry = self.entry(named)?;
        if matches!(entry.status.end, Some(End::Compromised { .. })) {
            let message = format!("`{named}` is compromised and cannot vouch for another key");
            return Err(Fault::usage(message)
                .hint("leave out `predecessor`, and have clients pin the new key"));
        }
        let (PrivateKey::Http(key), id) = self.private(named)? else {
            return Err(wrong_kind(named, "http", "sign requests and responses"));
        };
        self.note("predecessor", named, id);
        Ok(key)
    }

    /// Returns the public `http` key of a client or a gateway; `role` says which.
    pub(crate) fn http_verifier(
        &mut self,
        role: &str,
        named: &str,
    ) -> Result<HttpVerifyingKey, Fault> {
        let PublicKey::Http(key) = self.current(named)? else {
            return Err(wrong_kind(named, "http", "sign requests and responses"));
        };
        self.note(role, named, key.id()?);
        Ok(key)
    }

    /// Returns a private key of the store that opens the artifact and that the policy allows.
    pub(crate) fn opener<R: ReadAt>(
        &mut self,
        artifact: &Artifact<R>,
    ) -> Result<KemPrivateKey, Fault> {
        let policy = self.context.policy()?;
        let recipients: Vec<KeyId> = artifact
            .recipients()
            .iter()
            .map(|record| record.key)
            .collect();
        let store = self.store()?;
        let mut refused = None;
        let mut disabled = None;
        for id in &recipients {
            let Some(entry) = store.by_id(*id)? else {
                continue;
            };
            if entry.role != Role::Private {
                continue;
            }
            if !entry.state.opens() {
                disabled = Some(entry);
                continue;
            }
            let PublicKey::Kem(public) = &entry.public else {
                continue;
            };
            // Another of our keys may be a recipient that the policy allows.
            if let Err(error) = policy.check_kem(public.suite()) {
                refused = Some(error);
                continue;
            }
            if let PrivateKey::Kem(key) = store.private_key(&entry)? {
                return Ok(key);
            }
        }
        if let Some(error) = refused {
            return Err(error.into());
        }
        if let Some(entry) = disabled {
            let (name, version, state) = (entry.name, entry.version, entry.state);
            let message = format!("`{name}@{version}` would open this artifact, but it is {state}");
            return Err(Fault::new(Outcome::NotPermitted, message).hint(format!(
                "to use it again, run `casemate keys enable {name}@{version}`"
            )));
        }
        let wanted: Vec<_> = recipients.iter().map(KeyId::to_hex).collect();
        let message = "no private key in the key store opens this artifact";
        Err(Fault::new(Outcome::NotPermitted, message).hint(format!(
            "use the private key of a recipient: {}",
            wanted.join(", ")
        )))
    }

    /// Returns whether a key store exists and has any private key that opens artifacts.
    pub(crate) fn has_opener(&mut self) -> Result<bool, Fault> {
        if !self.context.has_keys()? {
            return Ok(false);
        }
        let keys = self.store()?.list()?.keys;
        let opens = |entry: &KeyEntry| {
            entry.role == Role::Private && matches!(entry.public, PublicKey::Kem(_))
        };
        Ok(keys.iter().any(opens))
    }

    /// Returns every private key of the store that opens artifacts and that the policy allows.
    pub(crate) fn openers(&mut self) -> Result<Vec<KemPrivateKey>, Fault> {
        let policy = self.context.policy()?;
        let store = self.store()?;
        let mut keys = Vec::new();
        for entry in store.list()?.keys {
            let PublicKey::Kem(public) = &entry.public else {
                continue;
            };
            let ours = entry.role == Role::Private && entry.state.opens();
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
                .hint("make one with `casemate keys generate --kind kem`, and have a recipient add it with `casemate rewrap`"));
        }
        Ok(keys)
    }

    /// Returns the key that `what` names as its signer, if the store has it.
    pub(crate) fn trusted_signer(
        &mut self,
        what: &str,
        id: KeyId,
        signed: &Signed,
    ) -> Result<VerifyingKey, Fault> {
        let known = self.store()?.by_id(id)?;
        let Some((name, PublicKey::Sign(key))) = known.map(|entry| (entry.name, entry.public))
        else {
            let message = format!(
                "{what} names key {} as its signer, which is not in the key store",
                id.to_hex()
            );
            return Err(Fault::new(Outcome::NotPermitted, message).hint(
                "import the publisher's key with `casemate keys import`, or pass it with --signer",
            ));
        };
        self.context.policy()?.check_signature(key.suite())?;
        self.note("expected signer", name.as_str(), id);
        self.judge(id, signed)?;
        Ok(key)
    }
}

/// Refuses a key that is not valid now.
fn check_valid_now(named: &str, entry: &KeyEntry) -> Result<(), Fault> {
    if entry.state != State::Active {
        let (name, version, state) = (&entry.name, entry.version, entry.state);
        let message = format!("version {version} of `{name}` is {state}, not active");
        return Err(Fault::new(Outcome::NotPermitted, message)
            .hint("run `casemate keys list` and choose an active version"));
    }
    entry
        .status
        .check_now(entry.id, unix_seconds())
        .map_err(|why| {
            let message = match why {
                Withdrawn::NotYetValid { from } => {
                    format!("`{named}` is not valid before {}", time_text(from))
                }
                Withdrawn::Expired { until } => {
                    format!("`{named}` was valid until {}", time_text(until))
                }
                Withdrawn::Superseded { at } => {
                    format!("`{named}` was superseded on {}", time_text(at))
                }
                _ => format!("`{named}` is compromised"),
            };
            Fault::new(Outcome::NotPermitted, message)
                .hint("run `casemate keys list` and choose a valid key")
        })
}

fn wrong_kind(named: &str, kind: &str, task: &str) -> Fault {
    Fault::usage(format!(
        "`{named}` is not a key of kind `{kind}`, which is needed to {task}"
    ))
}
