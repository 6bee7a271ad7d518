//! `casemate connect`.

use std::sync::Arc;

use casemate_crypto::{SecretBytes, suite::MLKEM768_X25519};
use casemate_gateway::{Connector, ConnectorOptions, Plain, serve_connector};
use casemate_tls as tls;

use super::gateway::{init_logging, runtime, shutdown};
use crate::{
    args::ConnectOptions,
    context::{Context, read_limited},
    fault::Fault,
    keyring::Keyring,
};

const CA_BYTES_MAX: usize = 4 * 1024 * 1024;

pub(crate) fn run(context: &Context<'_>, options: &ConnectOptions) -> Result<(), Fault> {
    init_logging();
    let mut keyring = Keyring::new(context);
    let gateway_key = keyring.http_verifier("gateway", &options.gateway_key)?;
    let identity = keyring.http_signer(&options.identity)?;
    let policy = context.policy()?;
    policy.check_http()?;
    policy.check_ohttp(&MLKEM768_X25519)?;
    let provider = tls::provider(policy.tls_groups(), Context::fallback()?);
    let ca = options
        .ca
        .as_deref()
        .map(|path| read_limited(path, CA_BYTES_MAX))
        .transpose()?;
    let tls = tls::client_config(provider, ca.as_ref().map(SecretBytes::expose))?;
    let gateway = options.gateway.clone();
    let connector = Connector::new(ConnectorOptions {
        gateway,
        identity,
        gateway_key,
        tls,
    })?;
    if !options.listen.ip().is_loopback() {
        context
            .printer
            .warning("the local address is not a loopback one: requests to it travel unprotected");
    }
    let connector = Arc::new(connector);
    runtime()?.block_on(async {
        // A wrong address, certificate or key should show at the start, not at the first request.
        connector.keys().await?;
        let ready = |address| {
            let gateway = &options.gateway;
            context.printer.done(&format!(
                "http://{address} is protected on its way to {gateway}"
            ));
        };
        let plain = Plain {
            listen: options.listen,
        };
        serve_connector(Arc::clone(&connector), plain, ready, shutdown()).await?;
        Ok(())
    })
}
