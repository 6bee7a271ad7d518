//! The configuration file of a key service.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use casemate_environment::{read_toml, seconds_of};
use casemate_service::GrantEntry;
use ipnet::IpNet;
use serde::Deserialize;

use crate::{fault::Fault, listening::Tls};

const CONFIG_BYTES_MAX: usize = 1024 * 1024;

/// The file that `casemate serve --config FILE` reads; its paths are relative to it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    pub(super) listen: SocketAddr,
    /// Address of a plain listener for probes.
    pub(super) health: Option<SocketAddr>,
    /// Networks of load balancers whose connections begin with a PROXY protocol header, version 2.
    #[serde(default)]
    pub(super) trusted_proxies: Vec<IpNet>,
    pub(super) tls: Tls,
    /// Certificates of the authorities that issue those of clients, PEM.
    pub(super) clients: PathBuf,
    #[serde(default)]
    grant: Vec<Grant>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Grant {
    clients: Vec<String>,
    keys: Vec<String>,
    operations: Vec<String>,
    artifacts: Option<Vec<String>>,
    /// A date such as `2027-12-31`, which means its first instant, or an instant.
    until: Option<String>,
}

impl Config {
    pub(super) fn read(path: &Path) -> Result<Self, Fault> {
        Ok(read_toml(path, CONFIG_BYTES_MAX)?)
    }

    pub(super) fn grants(&self) -> Result<Vec<GrantEntry>, Fault> {
        let grants = self.grant.iter().map(|grant| {
            let until = grant.until.as_ref().map(|text| {
                seconds_of(text).ok_or_else(|| {
                    Fault::usage("`until` of a grant is not a date")
                        .hint("write `2027-12-31` or `2027-12-31T12:00:00Z`, in quotes")
                })
            });
            Ok(GrantEntry {
                clients: grant.clients.clone(),
                keys: grant.keys.clone(),
                operations: grant.operations.clone(),
                artifacts: grant.artifacts.clone(),
                until: until.transpose()?,
            })
        });
        grants.collect()
    }
}
