//! A home folder whose keys are in a key service.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use casemate_crypto::SecretBytes;
use casemate_service::{Remote, RemoteKeys};
use casemate_tls::CryptoProvider;
use serde::{Deserialize, Serialize};

use crate::{EnvironmentError, read_limited, read_secret, read_toml};

const FILE_BYTES_MAX: usize = 16 * 1024;
/// Longest certificate chain or TLS key file, in bytes.
const TLS_FILE_BYTES_MAX: usize = 256 * 1024;

/// A key service, as `key-service.toml` in a home folder describes it. Paths are relative to the
/// folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyService {
    /// Its address, such as `https://keys.example.org:7443`.
    pub url: String,
    /// Certificates of the authorities to trust, PEM; without it, the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorities: Option<PathBuf>,
    /// Our certificate chain, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM, which only its owner may read.
    pub key: PathBuf,
}

/// Returns the path of the description of a key service in a home folder.
pub fn key_service_path(home: &Path) -> PathBuf {
    home.join("key-service.toml")
}

impl KeyService {
    pub(crate) fn read(home: &Path) -> Result<Self, EnvironmentError> {
        read_toml(&key_service_path(home), FILE_BYTES_MAX)
    }

    /// Prepares to use the service. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`EnvironmentError::Service`], and the errors of reading a file.
    pub fn keys(
        &self,
        home: &Path,
        provider: Arc<CryptoProvider>,
    ) -> Result<RemoteKeys, EnvironmentError> {
        let read = |path: &PathBuf| read_limited(&home.join(path), TLS_FILE_BYTES_MAX);
        let authorities = self.authorities.as_ref().map(read).transpose()?;
        let certificate = read(&self.certificate)?;
        let key = read_secret(&home.join(&self.key), TLS_FILE_BYTES_MAX)?;
        let remote = Remote {
            url: &self.url,
            roots: authorities.as_ref().map(SecretBytes::expose),
            certificate: certificate.expose(),
            key: &key,
            provider,
        };
        Ok(RemoteKeys::new(remote)?)
    }
}
