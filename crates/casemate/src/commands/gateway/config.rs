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

use crate::fault::Fault;

const CONFIG_BYTES_MAX: usize = 1024 * 1024;

/// What `casemate gateway --config FILE` reads; paths are relative to the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    pub(super) listen: SocketAddr,
    /// Name of the key that signs responses, kind `http`.
    pub(super) identity: String,
    /// Name of the key that will sign in its place, which clients are told of beforehand.
    pub(super) successor: Option<String>,
    /// Name of the key that signed in its place before; clients that pin it accept this one.
    pub(super) predecessor: Option<String>,
    /// Address of a plain listener for probes.
    pub(super) health: Option<SocketAddr>,
    /// Networks of balancers whose connections begin with a PROXY header of version 2.
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
#[serde(try_from = "TlsEntry")]
pub(super) enum Tls {
    /// Certificate chain and key, PEM.
    Files { certificate: PathBuf, key: PathBuf },
    /// A directory where certificates for `names` are made on first use.
    SelfSigned {
        self_signed: PathBuf,
        names: Vec<String>,
    },
}

/// The table as it is written, so that an unknown name in it is an error that names it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TlsEntry {
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    self_signed: Option<PathBuf>,
    names: Option<Vec<String>>,
}

impl TryFrom<TlsEntry> for Tls {
    type Error = &'static str;

    fn try_from(entry: TlsEntry) -> Result<Self, Self::Error> {
        match (entry.certificate, entry.key, entry.self_signed, entry.names) {
            (Some(certificate), Some(key), None, None) => Ok(Self::Files { certificate, key }),
            (None, None, Some(self_signed), Some(names)) => {
                Ok(Self::SelfSigned { self_signed, names })
            }
            (Some(_), None, None, None) => Err("`key` is missing beside `certificate`"),
            (None, Some(_), None, None) => Err("`certificate` is missing beside `key`"),
            (None, None, Some(_), None) => Err("`names` is missing beside `self_signed`"),
            (None, None, None, Some(_)) => Err("`self_signed` is missing beside `names`"),
            _ => Err("either `certificate` and `key` or `self_signed` and `names` are needed"),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClientEntry {
    pub(super) name: String,
    /// Name, full key id, or a path with a `/` relative to this file; kind `http`.
    pub(super) key: String,
    /// What it may call, such as `POST /v1/embeddings` or `* /v2/*`; everything if left out.
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
            return Err(Fault::usage(message).hint("list what it may call, or leave `allow` out"));
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
    /// Whether `http` to another machine is accepted.
    #[serde(default)]
    pub(super) allow_plain_upstream: bool,
}

impl Config {
    pub(super) fn read(path: &Path) -> Result<Self, Fault> {
        let config: Self = read_toml(path, CONFIG_BYTES_MAX)?;
        let bad = |reason: &str| Fault::usage(format!("{}: {reason}", path.display()));
        match (&config.upstream, config.model.is_empty()) {
            (Some(_), false) => Err(bad("give either [[model]] or [upstream], not both")),
            (None, true) => Err(bad("nothing to serve: add a [[model]] or an [upstream]")),
            _ if config.successor.is_some() && config.predecessor.is_some() => Err(bad(
                "give either `successor` or `predecessor`: one step is announced at a time",
            )),
            _ => Ok(config),
        }
    }
}
