//! `casemate gateway`.

mod config;

use std::{fs::File, path::Path, sync::Arc};

use casemate_crypto::{
    SecretBytes, policy::Policy, signature::HttpSigningKey, suite::MLKEM768_X25519,
};
use casemate_environment::{Signed, judge_list, read_limited};
use casemate_gateway::{
    Client, Gateway, GatewayOptions as Options, HttpUpstream, Limits, Listening, ModelSource,
    Models, ServeOptions, SlewingClock, Upstream, UpstreamError, serve,
};
use casemate_message::{RecordId, keydoc::Succession};
use casemate_seal::Artifact;
use casemate_tls::{self as tls, Fallback};

use crate::{
    args::GatewayOptions,
    context::Context,
    fault::{Fault, Outcome},
    keyring::Keyring,
    listening,
    runtime::{init_logging, runtime},
    stop::Stop,
};
use config::{Config, UpstreamEntry};

pub(crate) fn run(context: &Context<'_>, options: &GatewayOptions) -> Result<(), Fault> {
    init_logging();
    let config = Config::read(&options.config)?;
    let base = options
        .config
        .parent()
        .unwrap_or_else(|| Path::new(""))
        .to_owned();
    let mut keyring = Keyring::relative_to(context, &base);
    let policy = context.policy()?;
    let fallback = Context::fallback()?;
    policy.check_http()?;
    policy.check_ohttp(&MLKEM768_X25519)?;
    let provider = tls::provider(policy.tls_groups(), fallback);
    let (certificates, key) = listening::read_tls_files(context, &config.tls, &base)?;
    let tls = tls::server_config(Arc::clone(&provider), &certificates, key.expose())?;
    let clients = clients(&config, &mut keyring)?;
    let wanted = Limits::default().connections;
    let limits = Limits {
        request_bytes: config.request_bytes_max,
        connections: listening::connections(context, wanted, config.upstream.is_some()),
        ..Limits::default()
    };
    let upstream = match &config.upstream {
        Some(upstream) => Upstream::Http(Box::new(http_upstream(upstream, &base, provider)?)),
        None => Upstream::Models(load_models(policy, &config, &limits, &base, &mut keyring)?),
    };
    let identity = keyring.http_signer(&config.identity)?;
    let succession = succession(&config, &identity, &mut keyring)?;
    let gateway = Gateway::new(Options {
        identity,
        succession,
        clients,
        upstream,
        limits,
        clock: Arc::new(SlewingClock::default()),
        record: RecordId::random()?,
    })?;
    if fallback == Fallback::Enabled {
        context
            .printer
            .warning("FALLBACK_CRYPTO=enabled: classical-only peers may connect");
    }
    let serving = ServeOptions {
        listen: config.listen,
        health: config.health,
        trusted_proxies: config.trusted_proxies.clone(),
        tls,
    };
    let stop = Stop::take_over();
    let runtime = runtime()?;
    let ready = |found: Listening| listening::announce(context, "serving on", found);
    let served = runtime.block_on(serve(Arc::new(gateway), serving, ready, stop.requested()));
    // Dropping the runtime would wait for a model that is still computing.
    runtime.shutdown_background();
    Ok(served?)
}

fn clients(config: &Config, keyring: &mut Keyring<'_>) -> Result<Vec<Client>, Fault> {
    let clients = config.client.iter().map(|client| {
        Ok(Client {
            name: client.name.clone(),
            key: keyring.http_verifier("client", &client.key)?,
            allow: client.routes()?,
        })
    });
    clients.collect()
}

fn http_upstream(
    config: &UpstreamEntry,
    base: &Path,
    provider: Arc<rustls::crypto::CryptoProvider>,
) -> Result<HttpUpstream, Fault> {
    let ca = config
        .ca
        .as_ref()
        .map(|ca| read_limited(&base.join(ca), listening::TLS_FILE_BYTES_MAX))
        .transpose()?;
    let tls = tls::client_config(provider, ca.as_ref().map(SecretBytes::expose))?;
    HttpUpstream::new(&config.url, tls, config.allow_plain_upstream).map_err(|error| {
        let plain = matches!(error, UpstreamError::Plain(_));
        let fault = Fault::from_error(Outcome::Usage, error);
        if plain {
            return fault.hint("use https, or set `allow_plain_upstream = true` if you control the network to the upstream");
        }
        fault
    })
}

/// Returns the key document's record of the key before or after `identity`.
fn succession(
    config: &Config,
    identity: &HttpSigningKey,
    keyring: &mut Keyring<'_>,
) -> Result<Option<Succession>, Fault> {
    let made = match (&config.predecessor, &config.successor) {
        (Some(predecessor), _) => {
            let predecessor = keyring.http_predecessor(predecessor)?;
            Succession::create(&predecessor, identity)
        }
        (None, Some(successor)) => Succession::create(identity, &keyring.http_signer(successor)?),
        (None, None) => return Ok(None),
    };
    let made = made.map_err(|error| Fault::from_error(Outcome::Io, error))?;
    Ok(Some(made))
}

fn load_models(
    policy: &Policy,
    config: &Config,
    limits: &Limits,
    base: &Path,
    keyring: &mut Keyring<'_>,
) -> Result<Models, Fault> {
    let mut keys = Vec::new();
    for model in &config.model {
        keys.push((
            keyring.kem(&model.key)?,
            keyring.verifier(&model.publisher)?,
        ));
    }
    let statuses = keyring.statuses()?;
    let mut judges = Vec::new();
    for (_, publisher) in &keys {
        let (id, statuses) = (publisher.id()?, &statuses);
        judges.push(move |artifact: &Artifact<File>| {
            let signed = Signed {
                date: Some(artifact.header().created()),
                digest: artifact.message_digest(),
            };
            statuses.judge(id, &signed)?;
            judge_list(artifact, policy, None, &|id, signed| {
                statuses.judge(id, signed)
            })
            .map_err(Into::into)
        });
    }
    let sources: Vec<_> = config
        .model
        .iter()
        .zip(&keys)
        .zip(&judges)
        .map(|((model, (key, publisher)), judge)| ModelSource {
            name: model.name.clone(),
            artifact: base.join(&model.artifact),
            publisher,
            judge,
            key,
        })
        .collect();
    Ok(Models::load(&sources, limits)?)
}
