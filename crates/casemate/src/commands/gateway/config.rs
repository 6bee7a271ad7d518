//! The gateway's configuration file.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use casemate_environment::read_toml;
use casemate_gateway::Route;
use casemate_message::limits::REQUEST_BYTES_DEFAULT;
use ipnet::IpNet;
use serde::Deserialize;

use crate::{fault::Fault, listening::Tls};

const CONFIG_BYTES_MAX: usize = 1024 * 1024;

/// The file that `casemate gateway --config FILE` reads; its paths are relative to it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    pub(super) listen: SocketAddr,
    /// Name of the key that signs responses, kind `http`.
    pub(super) identity: String,
    /// Name of the key that will replace `identity`, announced to clients in advance.
    pub(super) successor: Option<String>,
    /// Name of the key that `identity` replaced; clients that pin the old key accept the new one.
    pub(super) predecessor: Option<String>,
    /// Address of a plain listener for probes.
    pub(super) health: Option<SocketAddr>,
    /// Networks of load balancers whose connections begin with a PROXY protocol header, version 2.
    #[serde(default)]
    pub(super) trusted_proxies: Vec<IpNet>,
    #[serde(default = "request_bytes_default")]
    pub(super) request_bytes_max: usize,
    pub(super) tls: Tls,
    #[serde(default)]
    pub(super) client: Vec<ClientEntry>,
    #[serde(default)]
    pub(super) model: Vec<ModelEntry>,
    pub(super) upstream: Option<UpstreamEntry>,
}

const fn request_bytes_default() -> usize {
    REQUEST_BYTES_DEFAULT
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClientEntry {
    pub(super) name: String,
    /// Name, full key id, or a path with a `/` relative to this file; kind `http`.
    pub(super) key: String,
    /// Routes it may call, such as `POST /v1/embeddings` or `* /v2/*`; all if left out.
    pub(super) allow: Option<Vec<String>>,
}

impl ClientEntry {
    pub(super) fn routes(&self) -> Result<Vec<Route>, Fault> {
        let name = &self.name;
        let Some(allow) = &self.allow else {
            return Ok(Vec::new());
        };
        if allow.is_empty() {
            let message = format!("client `{name}` may call nothing: `allow` is empty");
            return Err(
                Fault::usage(message).hint("list the routes it may call, or remove `allow`")
            );
        }
        let route = |text: &String| {
            let route = text.parse::<Route>();
            route.map_err(|error| {
                let echo: String = text.chars().take(80).collect();
                Fault::usage(format!("client `{name}`: `{echo}` in `allow`: {error}"))
            })
        };
        allow.iter().map(route).collect()
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ModelEntry {
    pub(super) name: String,
    pub(super) artifact: PathBuf,
    /// Name of the key the artifact is sealed to.
    pub(super) key: String,
    /// The publisher's public key: name, full key id, or a path with a `/` relative to this file.
    pub(super) publisher: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UpstreamEntry {
    pub(super) url: String,
    /// Root certificates for an `https` upstream, PEM.
    pub(super) ca: Option<PathBuf>,
    /// Whether to accept an `http` upstream on another machine.
    #[serde(default)]
    pub(super) allow_plain_upstream: bool,
}

impl Config {
    pub(super) fn read(path: &Path) -> Result<Self, Fault> {
        let config: Self = read_toml(path, CONFIG_BYTES_MAX)?;
        let bad = |reason: &str| Fault::usage(format!("{}: {reason}", path.display()));
        match (&config.upstream, config.model.is_empty()) {
            (Some(_), false) => Err(bad("set either [[model]] or [upstream], not both")),
            (None, true) => Err(bad("nothing to serve: add a [[model]] or an [upstream]")),
            _ if config.successor.is_some() && config.predecessor.is_some() => {
                Err(bad("set either `successor` or `predecessor`, not both"))
            }
            _ => Ok(config),
        }
    }
}
