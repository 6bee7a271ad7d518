//! Data keys (`spec/key-service.md`, section 4.1).

use std::collections::{BTreeMap, BTreeSet};

use base64ct::{Base64, Encoding as _};
use casemate_crypto::{
    Secret, SecretBytes,
    encoding::{KeyKind, PrivateKey, PublicKey},
    kem::KemPublicKey,
};
use casemate_keys::{KeyEntry, KeyName, Role, State};
use http::StatusCode;
use zeroize::Zeroizing;

use super::{
    Answered,
    uses::{self, load, record, refused},
};
use crate::{
    data_key::{self, DATA_KEY_BYTES},
    grants::{Operation, Target},
    problem::Problem,
    service::Call,
    wire::{NewDataKey, REWRAP_MAX, Rewrap, Rewrapped, RewrappedItem, Unwrap},
};

/// Returns the active version of a KEM key, which data keys are wrapped to.
async fn active(call: &Call<'_>, name: KeyName) -> Result<KeyEntry, Problem> {
    let found = call.store(move |store| store.by_name(&name));
    let entry = found.await?.ok_or_else(Problem::no_key)?;
    let forbidden = |detail: String| Problem::new(StatusCode::FORBIDDEN, detail);
    if entry.role != Role::Private {
        return Err(forbidden(format!(
            "only the public half of `{}` is here",
            entry.name
        )));
    }
    if entry.kind != KeyKind::Kem {
        return Err(Problem::bad("the key is a signing key: it cannot decrypt"));
    }
    if entry.state != State::Active {
        return Err(forbidden(format!("`{}` has no active version", entry.name)));
    }
    entry
        .status
        .check_now(entry.id, call.service.now())
        .map_err(|why| forbidden(why.to_string()))?;
    Ok(entry)
}

fn kem<'k>(call: &Call<'_>, entry: &'k KeyEntry) -> Result<&'k KemPublicKey, Problem> {
    let PublicKey::Kem(key) = &entry.public else {
        return Err(Problem::internal());
    };
    let policy = call.service.policy.check_kem(key.suite());
    policy.map_err(|error| Problem::new(StatusCode::FORBIDDEN, error.to_string()))?;
    Ok(key)
}

fn check_context(context: &str) -> Result<(), Problem> {
    if data_key::is_context(context) {
        Ok(())
    } else {
        Err(Problem::bad(
            "`context` must have 1 to 256 bytes and no control characters",
        ))
    }
}

pub(super) async fn make(call: &Call<'_>) -> Result<Answered, Problem> {
    let NewDataKey { name, context } = call.read()?;
    let name: KeyName = name.parse().map_err(|_| Problem::no_key())?;
    check_context(&context)?;
    call.require(Operation::DataKey, Target::Key(&name))?;
    let entry = active(call, name).await?;
    let secret: Secret<DATA_KEY_BYTES> = Secret::random().map_err(|error| refused(&error))?;
    let wrapped =
        data_key::wrap(kem(call, &entry)?, &context, &secret).map_err(|error| refused(&error))?;
    let plaintext = Zeroizing::new(Base64::encode_string(secret.expose()));
    let wrapped = Base64::encode_string(&wrapped);
    let open = format!("{{\"key\":\"{}\",\"wrapped\":\"", entry.id.to_hex());
    let json = [
        open.as_bytes(),
        wrapped.as_bytes(),
        b"\",\"plaintext\":\"",
        plaintext.as_bytes(),
        b"\"}",
    ];
    Ok(Answered::secret(SecretBytes::new(json.concat())))
}

/// Opens a wrapped data key; the use is recorded.
async fn opened(
    call: &Call<'_>,
    asked: &Unwrap,
    operation: Operation,
) -> Result<(Secret<DATA_KEY_BYTES>, KeyName), Problem> {
    check_context(&asked.context)?;
    let id = data_key::recipient(&asked.wrapped).ok_or_else(Problem::rejected)?;
    let loaded = load(call, id, operation, None).await?;
    let PrivateKey::Kem(key) = &loaded.key else {
        return Err(Problem::bad("the key is a signing key: it cannot decrypt"));
    };
    let policy = call.service.policy.check_kem(key.suite());
    policy.map_err(|error| Problem::new(StatusCode::FORBIDDEN, error.to_string()))?;
    let about = if operation == Operation::Rewrap {
        format!("data key for {}, wrapped again", asked.context)
    } else {
        format!("data key for {}", asked.context)
    };
    record(call, &loaded, id, (about, 0)).await?;
    let secret = data_key::unwrap(key, &asked.context, &asked.wrapped).map_err(|error| {
        match error {
            // Nothing else about it is the client's to know.
            casemate_crypto::Error::Length { .. } => Problem::rejected(),
            other => refused(&other),
        }
    })?;
    Ok((secret, loaded.name.clone()))
}

pub(super) async fn unwrap(call: &Call<'_>) -> Result<Answered, Problem> {
    let asked: Unwrap = call.read()?;
    let (secret, _) = opened(call, &asked, Operation::Unwrap).await?;
    Ok(Answered::secret(uses::plaintext(secret.expose())))
}

pub(super) async fn rewrap(call: &Call<'_>) -> Result<Answered, Problem> {
    let Rewrap { items } = call.read()?;
    if items.len() > REWRAP_MAX {
        let detail = format!("a request has at most {REWRAP_MAX} data keys");
        return Err(Problem::bad(detail));
    }
    // All at once, so that their uses are recorded together.
    let opening = items
        .iter()
        .map(|item| opened(call, item, Operation::Rewrap));
    let opened = futures_util::future::join_all(opening).await;
    let names = opened.iter().flatten().map(|(_, name)| name);
    let names: BTreeSet<_> = names.cloned().collect();
    let mut versions = BTreeMap::new();
    for name in names {
        versions.insert(name.clone(), active(call, name).await);
    }
    let mut done = Vec::with_capacity(items.len());
    for (item, opened) in items.iter().zip(opened) {
        let wrapped = opened.and_then(|(secret, name)| match versions.get(&name) {
            Some(Ok(entry)) => {
                data_key::wrap(kem(call, entry)?, &item.context, &secret).map_err(|e| refused(&e))
            }
            Some(Err(problem)) => Err(problem.clone()),
            None => Err(Problem::internal()),
        });
        done.push(match wrapped {
            Ok(wrapped) => RewrappedItem {
                wrapped: Some(Base64::encode_string(&wrapped)),
                error: None,
            },
            Err(problem) => RewrappedItem {
                wrapped: None,
                error: Some(problem.detail),
            },
        });
    }
    Answered::ok(&Rewrapped { items: done })
}
