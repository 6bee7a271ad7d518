//! Arguments of `casemate serve` and `casemate keys connect`.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct ServeOptions {
    /// Configuration file (TOML; docs/guides/key-service.md)
    #[arg(long, value_name = "FILE", required_unless_present = "openapi")]
    pub(crate) config: Option<PathBuf>,
    /// Print the API as an OpenAPI document and exit
    #[arg(long, conflicts_with = "config")]
    pub(crate) openapi: bool,
}

#[derive(Debug, Args)]
pub(crate) struct KeysConnect {
    /// The key service, `https://host:port`
    pub(crate) url: String,
    /// Certificates of the authorities that issued the service's certificate (PEM); by default the
    /// system's
    #[arg(long, value_name = "FILE")]
    pub(crate) authorities: Option<PathBuf>,
    /// Our certificate chain (PEM)
    #[arg(long, value_name = "FILE")]
    pub(crate) certificate: PathBuf,
    /// Its private key (PEM, unencrypted), which only you may read
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
}
