//! Uses of private keys.

use std::sync::Arc;

use base64ct::{Base64, Encoding as _};
use casemate_crypto::{
    Error, Purpose, SecretBytes,
    encoding::{KeyId, KeyKind, PrivateKey},
    hash::sha384,
    hpke::{Aead, HpkeSuite, Kdf},
};
use casemate_keys::{KeyUse, State, StoreError};
use http::StatusCode;
use zeroize::Zeroizing;

use super::{Answered, keys};
use crate::{
    cache::Loaded,
    data_key,
    grants::{HEADER_DIGEST_BYTES, Operation, Target},
    problem::Problem,
    service::Call,
    wire::{HttpSignature, Open, Sign, SignHttp, Signed},
};

/// Longest label of `info` that an entry of the log has, in characters.
const LABEL_CHARS_MAX: usize = 100;

/// What an HPKE message is for.
enum Subject<'a> {
    Artifact(&'a [u8]),
    DataKey(&'a str),
    Other(&'a [u8]),
}

impl<'a> Subject<'a> {
    /// Returns what a message is for; `None` if `info` has a label of ours and breaks its rule.
    fn of(info: &'a [u8]) -> Option<Self> {
        let after = |purpose: Purpose| {
            let rest = info.strip_prefix(purpose.as_bytes())?;
            rest.strip_prefix(&[0])
        };
        match (after(Purpose::ARTIFACT_KEY), after(Purpose::DATA_KEY)) {
            (Some(digest), _) => {
                (digest.len() == HEADER_DIGEST_BYTES).then_some(Self::Artifact(digest))
            }
            (_, Some(context)) => {
                let context = str::from_utf8(context).ok();
                let context = context.filter(|context| data_key::is_context(context));
                context.map(Self::DataKey)
            }
            (None, None) => Some(Self::Other(info)),
        }
    }

    const fn operation(&self) -> Operation {
        match self {
            Self::Artifact(_) => Operation::Open,
            Self::DataKey(_) => Operation::Unwrap,
            Self::Other(_) => Operation::Decrypt,
        }
    }

    /// Returns what the log says of it.
    fn about(&self) -> String {
        match self {
            Self::Artifact(digest) => format!("artifact {}", hex::encode(digest)),
            Self::DataKey(context) => format!("data key for {context}"),
            Self::Other(info) => {
                let label = info.split(|byte| *byte == 0).next().unwrap_or_default();
                format!("message for {}", plain(label))
            }
        }
    }
}

/// Returns bytes as an entry of the log has them: printable, and not too long.
fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let chars = text.chars().take(LABEL_CHARS_MAX);
    chars
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

fn id_of(text: &str) -> Result<KeyId, Problem> {
    let bad = || Problem::bad("`key` must be a key id: 64 lower-case hexadecimal digits");
    keys::exact_id(text).ok_or_else(bad)
}

/// Returns a private key, if the client may do this with it.
pub(super) async fn load(
    call: &Call<'_>,
    id: KeyId,
    operation: Operation,
    artifact: Option<&[u8]>,
) -> Result<Arc<Loaded>, Problem> {
    let service = call.service;
    let require = |loaded: &casemate_keys::KeyName| {
        let target = artifact.map_or(Target::Key(loaded), |digest| {
            Target::Artifact(loaded, digest)
        });
        call.require(operation, target)
    };
    if let Some(loaded) = service.cache.get(id, service.now()) {
        require(&loaded.name)?;
        return Ok(loaded);
    }
    let found = call.store(move |store| store.by_id(id)).await?;
    let entry = found.ok_or_else(Problem::no_key)?;
    require(&entry.name)?;
    let is_usable = match entry.kind {
        KeyKind::Kem => entry.state.opens(),
        KeyKind::Sign | KeyKind::Http => entry.state == State::Active,
    };
    if !is_usable {
        return Err(StoreError::NotInUse {
            name: entry.name.to_string(),
            version: entry.version,
            state: entry.state,
        }
        .into());
    }
    let name = entry.name.clone();
    // The log says that this process got the key; the client does not.
    let key = call.store(move |store| store.private_key(&entry)).await?;
    let loaded = Arc::new(Loaded {
        name,
        key,
        since: service.now(),
    });
    service.cache.keep(id, Arc::clone(&loaded));
    Ok(loaded)
}

/// Records a use; what it makes is given out only after that.
pub(super) async fn record(
    call: &Call<'_>,
    loaded: &Loaded,
    id: KeyId,
    (about, bytes): (String, u64),
) -> Result<(), Problem> {
    let service = call.service;
    let one = KeyUse {
        key: id,
        by: call.by(),
        about,
        bytes,
    };
    match service.worker.record(one).await {
        Ok(name) if name == loaded.name => Ok(()),
        // It was removed and stored again under another name, which other grants may be for.
        Ok(_) => {
            service.cache.forget(id);
            let detail = "the key has another name now; try again";
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail))
        }
        Err(problem) => {
            service.cache.forget(id);
            Err(problem)
        }
    }
}

/// Returns what was opened, as JSON.
pub(super) fn plaintext(opened: &[u8]) -> SecretBytes {
    let text = Zeroizing::new(Base64::encode_string(opened));
    SecretBytes::new([b"{\"plaintext\":\"", text.as_bytes(), b"\"}"].concat())
}

pub(super) async fn open(call: &Call<'_>) -> Result<Answered, Problem> {
    let asked: Open = call.read()?;
    let id = id_of(&asked.key)?;
    let subject = Subject::of(&asked.info)
        .ok_or_else(|| Problem::bad("`info` is not that of an artifact or of a data key"))?;
    let artifact = match subject {
        Subject::Artifact(digest) => Some(digest),
        Subject::DataKey(_) | Subject::Other(_) => None,
    };
    let loaded = load(call, id, subject.operation(), artifact).await?;
    let PrivateKey::Kem(key) = &loaded.key else {
        return Err(Problem::bad("the key is a signing key: it cannot decrypt"));
    };
    let policy = call.service.policy.check_kem(key.suite());
    policy.map_err(|error| Problem::new(StatusCode::FORBIDDEN, error.to_string()))?;
    let (kdf, aead) = (Kdf::by_id(asked.kdf), Aead::by_id(asked.aead));
    let suite = kdf.zip(aead);
    let (kdf, aead) = suite.ok_or_else(|| Problem::bad("the KDF or the AEAD is unknown"))?;
    let suite = HpkeSuite::new(key.suite(), kdf, aead);
    // First, so that a key that must not be used tells nothing of what it would have opened.
    record(call, &loaded, id, (subject.about(), 0)).await?;
    let opened = suite.open(&asked.enc, key, &asked.info, &asked.aad, &asked.ciphertext);
    let opened = SecretBytes::new(opened.map_err(|error| refused(&error))?);
    Ok(Answered::secret(plaintext(opened.expose())))
}

/// Returns why something was not opened or signed.
pub(super) fn refused(error: &Error) -> Problem {
    match error {
        Error::Rejected => Problem::rejected(),
        Error::Length { .. } | Error::ContextTooLong { .. } | Error::CompositePrefix => {
            Problem::bad(error.to_string())
        }
        Error::Holder(_) => Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        _ => Problem::internal(),
    }
}

pub(super) async fn sign(call: &Call<'_>) -> Result<Answered, Problem> {
    let Sign {
        key,
        context,
        message,
    } = call.read()?;
    let id = id_of(&key)?;
    let loaded = load(call, id, Operation::Sign, None).await?;
    let PrivateKey::Sign(key) = &loaded.key else {
        return Err(Problem::bad("the key does not sign messages"));
    };
    let policy = call.service.policy.check_signature(key.suite());
    policy.map_err(|error| Problem::new(StatusCode::FORBIDDEN, error.to_string()))?;
    let digest = hex::encode(sha384(&message));
    let about = format!("{}, SHA-384 {digest}", plain(&context));
    let bytes = message.len() as u64;
    let turn = call.service.signing.enter(call.client).await;
    // Not before its turn: the key may be disabled while this waits.
    record(call, &loaded, id, (about, bytes)).await?;
    let signed = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        match &loaded.key {
            PrivateKey::Sign(key) => key.sign_with_context(&context, &message),
            _ => Err(Error::Internal),
        }
    });
    let signed = signed.await.map_err(|_| Problem::internal())?;
    let signature = signed.map_err(|error| refused(&error))?;
    Answered::ok(&Signed { signature })
}

pub(super) async fn sign_http(call: &Call<'_>) -> Result<Answered, Problem> {
    let SignHttp {
        key,
        ed25519,
        mldsa65,
    } = call.read()?;
    let id = id_of(&key)?;
    let loaded = load(call, id, Operation::Sign, None).await?;
    let PrivateKey::Http(key) = &loaded.key else {
        return Err(Problem::bad("the key does not sign HTTP messages"));
    };
    let policy = call.service.policy.check_http();
    policy.map_err(|error| Problem::new(StatusCode::FORBIDDEN, error.to_string()))?;
    let about = format!(
        "HTTP message, SHA-384 {} and {}",
        hex::encode(sha384(&ed25519)),
        hex::encode(sha384(&mldsa65))
    );
    let bytes = ed25519.len().saturating_add(mldsa65.len()) as u64;
    record(call, &loaded, id, (about, bytes)).await?;
    let signed = key
        .sign(&ed25519, &mldsa65)
        .map_err(|error| refused(&error))?;
    Answered::ok(&HttpSignature {
        ed25519: signed.ed25519,
        mldsa65: signed.mldsa65,
    })
}
