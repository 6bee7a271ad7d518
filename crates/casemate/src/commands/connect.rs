//! `casemate connect`.

use std::{fs, net::SocketAddr, path::PathBuf, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use casemate_crypto::{SecretBytes, random, suite::MLKEM768_X25519};
use casemate_environment::read_limited;
use casemate_gateway::{
    Access as LocalAccess, Connector, ConnectorOptions, Limits, Local, LocalListener, SlewingClock,
    serve_connector,
};
use casemate_seal::file::{self, Access, Existing};
use casemate_tls as tls;
use url::Url;
use zeroize::Zeroizing;

use crate::{
    args::{ConnectOptions, ListenAddress},
    context::Context,
    fault::Fault,
    keyring::Keyring,
    runtime::{init_logging, runtime},
    stop::Stop,
};

/// Length of a token in bytes, before it is encoded as text.
const TOKEN_BYTES: usize = 32;
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
        clock: Arc::new(SlewingClock::default()),
    })?;
    check_origins(&options.origins)?;
    let connector = Arc::new(connector);
    runtime()?.block_on(async {
        // A wrong address, certificate or key should show at the start, not at the first request.
        connector.fetch_keys().await?;
        let stop = Stop::take_over();
        let listener = match &options.listen {
            ListenAddress::Address(address) => LocalListener::tcp(*address).await?,
            ListenAddress::Socket(path) => LocalListener::unix(path.clone())?,
        };
        let token = match listener.address() {
            Some(address) => TokenFile::for_requests_to(address, context, options)?,
            None => None,
        };
        let done = |text: &str| context.printer.done(text);
        if let Some((_, file)) = &token {
            let path = file.0.display();
            done(&format!(
                "requests need the token in {path}; send it as an API key or in the `casemate-token` header"
            ));
        }
        let gateway = &options.gateway;
        done(&format!("listening on {listener}, forwarding to {gateway}"));
        let (token, _file) = token.unzip();
        let local = Local {
            access: LocalAccess {
                token,
                origins: options.origins.clone(),
            },
            limits: Limits {
                request_bytes: options.request_bytes_max,
                ..Limits::default()
            },
        };
        serve_connector(connector, listener, local, stop.requested()).await;
        Ok(())
    })
}

/// Refuses origins that are not written as browsers write them, because they are compared as text.
fn check_origins(origins: &[String]) -> Result<(), Fault> {
    for origin in origins {
        let parsed = Url::parse(origin).ok();
        if parsed.is_none_or(|url| url.origin().ascii_serialization() != *origin) {
            let message = format!(
                "`{origin}` is not an origin; write it as https://app.example or http://localhost:3000"
            );
            return Err(Fault::usage(message));
        }
    }
    Ok(())
}

/// The file with the token of this run, removed at the end.
struct TokenFile(PathBuf);

impl TokenFile {
    /// Creates and writes a token for requests to `address`, unless `--no-token` lets anyone send
    /// them.
    fn for_requests_to(
        address: SocketAddr,
        context: &Context<'_>,
        options: &ConnectOptions,
    ) -> Result<Option<(SecretBytes, Self)>, Fault> {
        if options.no_token && address.ip().is_loopback() {
            let text = "any user on this machine can send requests as you";
            context.printer.warning(text);
            return Ok(None);
        }
        if options.no_token {
            let message =
                format!("{address} can be reached from other machines, so requests need a token");
            return Err(Fault::usage(message).hint("leave out --no-token, or listen on 127.0.0.1"));
        }
        if !address.ip().is_loopback() {
            let text = "the connector listens beyond loopback, so requests and the token reach it unencrypted";
            context.printer.warning(text);
        }
        let path = if let Some(path) = &options.token_file {
            path.clone()
        } else {
            let home = context.home()?;
            fs::create_dir_all(&home).map_err(|error| Fault::file("create", &home, error))?;
            home.join(format!("connect-{}.token", address.port()))
        };
        let token = Zeroizing::new(random::bytes::<TOKEN_BYTES>()?);
        let token = SecretBytes::new(URL_SAFE_NO_PAD.encode(*token).into_bytes());
        file::write(&path, token.expose(), Access::Owner, Existing::Replace).map_err(|error| {
            Fault::file("write", &path, error)
                .hint("pass another file with --token-file, or listen on a socket with --listen unix:PATH")
        })?;
        Ok(Some((token, Self(path))))
    }
}

impl Drop for TokenFile {
    fn drop(&mut self) {
        // A leftover token is useless: the next start creates another.
        _ = fs::remove_file(&self.0);
    }
}
