//! `casemate serve`.

mod config;

use std::{path::Path, sync::Arc};

use casemate_environment::read_limited;
use casemate_gateway::{Limits, Listening, ServeOptions as Serving, unix_seconds};
use casemate_server::ConnectionLimits;
use casemate_service::{Grants, Service, ServiceOptions, openapi_document, serve};
use casemate_tls::{self as tls, Fallback};

use crate::{
    args::ServeOptions,
    context::Context,
    fault::{Fault, Outcome},
    listening::{self, TLS_FILE_BYTES_MAX},
    runtime::{init_logging, runtime},
    stop::Stop,
};
use config::Config;

pub(crate) fn run(context: &Context<'_>, options: &ServeOptions) -> Result<(), Fault> {
    let Some(path) = &options.config else {
        context.printer.line(&format!("{:#}", openapi_document()));
        return Ok(());
    };
    init_logging();
    let config = Config::read(path)?;
    let base = path.parent().unwrap_or_else(|| Path::new("")).to_owned();
    let grants =
        Grants::new(&config.grants()?).map_err(|error| Fault::from_error(Outcome::Usage, error))?;
    let policy = context.policy()?;
    let fallback = Context::fallback()?;
    let provider = tls::provider(policy.tls_groups(), fallback);
    let (certificates, key) = listening::read_tls_files(context, &config.tls, &base)?;
    let authorities = read_limited(&base.join(&config.clients), TLS_FILE_BYTES_MAX)?;
    let tls = tls::server_config_for_clients(
        provider,
        &certificates,
        key.expose(),
        authorities.expose(),
    )?;
    let store = context.key_store()?;
    if !store.has_log()? {
        context.printer.warning(
            "the key store has no audit log, so nothing records who uses which key; begin one with `casemate keys audit enable`",
        );
    }
    let service = Service::new(ServiceOptions {
        store,
        grants,
        policy: policy.clone(),
        clock: unix_seconds,
    });
    let service = service.map_err(|error| Fault::from_error(Outcome::Io, error))?;
    if fallback == Fallback::Enabled {
        context
            .printer
            .warning("FALLBACK_CRYPTO=enabled: classical-only peers may connect");
    }
    let serving = Serving {
        listen: config.listen,
        health: config.health,
        trusted_proxies: config.trusted_proxies,
        tls,
    };
    let stop = Stop::take_over();
    let runtime = runtime()?;
    let ready = |found: Listening| listening::announce(context, "serving keys on", found);
    let limits = limits(context);
    let served = serve(Arc::new(service), limits, serving, ready, stop.requested());
    let served = runtime.block_on(served);
    // Dropping the runtime would wait for a signature that is still being made.
    runtime.shutdown_background();
    Ok(served?)
}

fn limits(context: &Context<'_>) -> ConnectionLimits {
    let limits = Limits::default().of_connections();
    ConnectionLimits {
        all: listening::connections(context, limits.all, false),
        // A client may be the only one behind its address, and clients are known by certificate.
        requests: u32::MAX,
        ..limits
    }
}
