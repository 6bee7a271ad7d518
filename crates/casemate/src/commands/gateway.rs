//! `casemate gateway`.

mod config;

use std::{
    fs::{self, File},
    path::Path,
    sync::Arc,
};

use casemate_crypto::{
    SecretBytes, policy::Policy, signature::HttpSigningKey, suite::MLKEM768_X25519,
};
use casemate_environment::{Signed, judge_list, read_limited, read_secret};
use casemate_gateway::{
    Client, Gateway, GatewayOptions as Options, HttpUpstream, Limits, Listening, ModelSource,
    Models, ServeOptions, SlewingClock, Upstream, UpstreamError, serve,
};
use casemate_message::{RecordId, keydoc::Succession};
use casemate_seal::{
    Artifact,
    file::{self, Access, Existing},
};
use casemate_tls::{self as tls, Fallback};

use crate::{
    args::GatewayOptions,
    context::Context,
    fault::{Fault, Outcome},
    keyring::Keyring,
    runtime::{init_logging, runtime},
    stop::Stop,
};
use config::{Config, Tls, UpstreamEntry};
use rustix::process::{Resource, getrlimit, setrlimit};

/// Open files reserved for uses other than connections.
const RESERVED_FILES: usize = 64;
/// Longest certificate chain or TLS key file, in bytes.
const TLS_FILE_BYTES_MAX: usize = 256 * 1024;

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
    let (certificates, key) = read_tls_files(context, &config.tls, &base)?;
    let tls = tls::server_config(Arc::clone(&provider), &certificates, key.expose())?;
    let clients = clients(&config, &mut keyring)?;
    let limits = Limits {
        request_bytes: config.request_bytes_max,
        connections: connections(context, config.upstream.is_some()),
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
    let ready = |listening: Listening| {
        let done = |text: &str| context.printer.done(text);
        if let Some(health) = listening.health {
            done(&format!("answering probes on http://{health}"));
        }
        done(&format!("serving on https://{}", listening.address));
    };
    let served = runtime.block_on(serve(Arc::new(gateway), serving, ready, stop.requested()));
    // Dropping the runtime would wait for a model that is still computing.
    runtime.shutdown_background();
    Ok(served?)
}

/// Returns how many connections the limit on open files allows, after raising it as far as
/// possible. Each connection may need another one to the upstream.
fn connections(context: &Context<'_>, has_upstream: bool) -> usize {
    let wanted = Limits::default().connections;
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        // If this fails, fewer connections are accepted below.
        _ = setrlimit(Resource::Nofile, limit);
        limit = getrlimit(Resource::Nofile);
    }
    let files = limit.current.and_then(|files| usize::try_from(files).ok());
    let each = if has_upstream { 2 } else { 1 };
    let possible = files.map_or(wanted, |files| {
        files.saturating_sub(RESERVED_FILES).div_euclid(each)
    });
    if possible < wanted {
        context.printer.warning(&format!(
            "the limit on open files allows {possible} connections instead of {wanted}; raise it with `ulimit -n` or `LimitNOFILE=`"
        ));
    }
    possible.clamp(1, wanted)
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
        .map(|ca| read_limited(&base.join(ca), TLS_FILE_BYTES_MAX))
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

/// Reads the certificate chain and its key; creates self-signed ones on first use.
fn read_tls_files(
    context: &Context<'_>,
    tls: &Tls,
    base: &Path,
) -> Result<(Vec<u8>, SecretBytes), Fault> {
    let (certificate, key) = match tls {
        Tls::Files { certificate, key } => (base.join(certificate), base.join(key)),
        Tls::SelfSigned { self_signed, names } => {
            let folder = base.join(self_signed);
            let paths = (folder.join("cert.pem"), folder.join("key.pem"));
            if !paths.0.exists() {
                make_self_signed(&folder, names)?;
                let root = folder.join("root.pem");
                context.printer.done(&format!(
                    "created a self-signed certificate; clients must trust {}",
                    root.display()
                ));
            }
            paths
        }
    };
    let certificates = read_limited(&certificate, TLS_FILE_BYTES_MAX)?;
    Ok((
        certificates.expose().to_vec(),
        read_secret(&key, TLS_FILE_BYTES_MAX)?,
    ))
}

fn make_self_signed(folder: &Path, names: &[String]) -> Result<(), Fault> {
    fs::create_dir_all(folder).map_err(|error| Fault::file("create", folder, error))?;
    let made = tls::self_signed(names.to_vec())?;
    let write = |name: &str, bytes: &[u8], access| {
        let path = folder.join(name);
        file::write(&path, bytes, access, Existing::Replace)
            .map_err(|error| Fault::file("write", &path, error))
    };
    // Write the certificate last: if it exists, so do the other files.
    write("root.pem", made.root.as_bytes(), Access::Umask)?;
    write("key.pem", made.key.expose(), Access::Owner)?;
    write("cert.pem", made.certificate.as_bytes(), Access::Umask)
}
