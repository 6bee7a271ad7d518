//! A home folder whose key store is in etcd.

use std::path::{Path, PathBuf};

use casemate_crypto::{SecretBytes, algorithm::TlsGroup};
use casemate_etcd::{EtcdEngine, EtcdOptions};
use serde::Deserialize;

use crate::{EnvironmentError, read_limited, read_secret, read_toml};

const FILE_BYTES_MAX: usize = 16 * 1024;
/// Longest certificate chain or TLS key file, in bytes.
const TLS_FILE_BYTES_MAX: usize = 256 * 1024;

/// A key store in etcd, as `etcd.toml` in a home folder describes it. Paths are relative to the
/// folder.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EtcdPlace {
    /// The members of the cluster, such as `https://etcd-1.example.org:2379`.
    pub endpoints: Vec<String>,
    /// What the keys of the key store begin with in etcd.
    #[serde(default = "default_prefix")]
    pub prefix: String,
    /// Certificates of the authorities to trust, PEM; without it, the system's.
    pub authorities: Option<PathBuf>,
    /// Our certificate chain, PEM, if the cluster asks for one.
    pub certificate: Option<PathBuf>,
    /// Its private key, PEM, which only its owner may read.
    pub key: Option<PathBuf>,
}

fn default_prefix() -> String {
    "casemate/".to_owned()
}

/// Returns the path of the description of a key store in etcd in a home folder.
pub fn etcd_path(home: &Path) -> PathBuf {
    home.join("etcd.toml")
}

impl EtcdPlace {
    pub(crate) fn read(home: &Path) -> Result<Self, EnvironmentError> {
        read_toml(&etcd_path(home), FILE_BYTES_MAX)
    }

    /// Prepares to use the cluster. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`EnvironmentError::Etcd`], [`EnvironmentError::CertificateWithoutKey`], and the errors of
    /// reading a file.
    pub fn engine(
        &self,
        home: &Path,
        groups: &[TlsGroup],
        clock: fn() -> u64,
    ) -> Result<EtcdEngine, EnvironmentError> {
        let read = |path: &PathBuf| read_limited(&home.join(path), TLS_FILE_BYTES_MAX);
        let authorities = self.authorities.as_ref().map(read).transpose()?;
        let identity = match (&self.certificate, &self.key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((
                read(certificate)?,
                read_secret(&home.join(key), TLS_FILE_BYTES_MAX)?,
            )),
            _ => return Err(EnvironmentError::CertificateWithoutKey(etcd_path(home))),
        };
        let identity = identity
            .as_ref()
            .map(|(certificate, key)| (certificate.expose(), key.expose()));
        let roots = authorities.as_ref().map(SecretBytes::expose);
        let tls = casemate_tls::store_config_as(groups, roots, identity)?;
        let options = EtcdOptions {
            endpoints: &self.endpoints,
            prefix: &self.prefix,
            tls,
            clock,
        };
        Ok(EtcdEngine::new(options)?)
    }
}
