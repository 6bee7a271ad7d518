//! The demo's key service: a client opens the model with a key that it never has.

use std::{
    path::Path,
    sync::{Arc, mpsc},
};

use casemate_crypto::{encoding::PrivateKey, policy::Policy};
use casemate_gateway::{Limits, Listening, ServeOptions, unix_seconds};
use casemate_keys::{AnyEngine, Keys as _, SqliteEngine};
use casemate_service::{GrantEntry, Grants, Remote, RemoteKeys, Service, ServiceOptions, serve};
use casemate_tls::{Authority, Fallback, Issued, provider};

use super::{open_all, stage::Keys};
use crate::{
    fault::{Fault, Outcome},
    runtime::runtime,
};

const CLIENT: &str = "reader.demo.example";

fn failed(text: &str) -> Fault {
    Fault::new(Outcome::CheckFailed, text)
}

fn io_fault(error: impl std::error::Error + Send + Sync + 'static) -> Fault {
    Fault::from_error(Outcome::Io, error)
}

/// Serves the keys, and has a client open the artifact that may do nothing else.
///
/// Fails if it cannot, or if it sees another key.
pub(super) fn run(keys: &Keys, policy: &Policy, folder: &Path, bytes: &[u8]) -> Result<(), Fault> {
    let authority = Authority::generate("Casemate demo")?;
    let server = authority.server(vec!["localhost".to_owned()])?;
    let client = authority.client(&[CLIENT])?;
    let runtime = runtime()?;
    let port = start(&runtime, keys, policy, folder, (&authority, &server))?;
    let remote = RemoteKeys::new(Remote {
        url: &format!("https://localhost:{port}"),
        roots: Some(authority.root.as_bytes()),
        certificate: client.certificate.as_bytes(),
        key: &client.key,
        provider: provider(policy.tls_groups(), Fallback::Disabled),
    })?;
    let entry = remote.by_name(&"model".parse()?)?;
    let entry = entry.ok_or_else(|| failed("the key service has no key `model`"))?;
    let PrivateKey::Kem(held) = remote.private_key(&entry)? else {
        return Err(failed("the key service returned another kind of key"));
    };
    open_all(bytes, &held, keys.publisher.verifying_key())?;
    if remote.by_name(&"publisher".parse()?)?.is_some() {
        return Err(failed("a client sees a key that no grant is for"));
    }
    if PrivateKey::Kem(held).to_pem().is_ok() {
        return Err(failed("the private key left the key service"));
    }
    drop(remote);
    runtime.shutdown_background();
    Ok(())
}

/// Starts the service and returns its port.
fn start(
    runtime: &tokio::runtime::Runtime,
    keys: &Keys,
    policy: &Policy,
    folder: &Path,
    (authority, server): (&Authority, &Issued),
) -> Result<u16, Fault> {
    let engine = SqliteEngine::open(&folder.join("keys.db"), false).map_err(io_fault)?;
    let engine: AnyEngine = Box::new(engine);
    let reads = GrantEntry {
        clients: vec![CLIENT.to_owned()],
        keys: vec!["model".to_owned()],
        operations: vec!["read".to_owned(), "open".to_owned()],
        artifacts: None,
        until: None,
    };
    let service = Service::new(ServiceOptions {
        store: keys.store.reopened(engine)?,
        grants: Grants::new(&[reads]).map_err(io_fault)?,
        policy: policy.clone(),
        clock: unix_seconds,
    });
    let tls = casemate_tls::server_config_for_clients(
        provider(policy.tls_groups(), Fallback::Disabled),
        server.certificate.as_bytes(),
        server.key.expose(),
        authority.root.as_bytes(),
    )?;
    let options = ServeOptions {
        listen: super::stage::any_port(),
        health: None,
        trusted_proxies: Vec::new(),
        tls,
    };
    let service = Arc::new(service.map_err(io_fault)?);
    let limits = Limits::default().of_connections();
    let (ready, listening) = mpsc::channel();
    runtime.spawn(async move {
        let ready = |found: Listening| _ = ready.send(found.address.port());
        // It ends with the runtime.
        serve(service, limits, options, ready, std::future::pending()).await
    });
    listening
        .recv()
        .map_err(|_| failed("the key service did not start"))
}
