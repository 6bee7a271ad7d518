//! TLS 1.3 with hybrid key exchange only (RFC 10024).

mod p384_mlkem1024;
mod self_signed;

use std::{fmt, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs},
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

pub use self_signed::{SelfSigned, self_signed};

/// Whether peers without post-quantum key exchange may connect (`FALLBACK_CRYPTO`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fallback {
    /// They are refused in the handshake.
    #[default]
    Disabled,
    /// X25519 is accepted last; every such connection is logged and counted.
    Enabled,
}

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A policy names a group this program does not have.
    #[error("TLS group `{0}` is not known")]
    UnknownGroup(String),
    /// A PEM file holds no certificate or no key.
    #[error("no {0} in the PEM text")]
    Pem(&'static str),
    /// The certificates of the system could not be read.
    #[error("the system's root certificates cannot be read")]
    NoRoots,
    /// A certificate could not be made.
    #[error("a certificate cannot be made")]
    Generate(#[from] rcgen::Error),
    /// The library refused the configuration.
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

const VERSIONS: &[&SupportedProtocolVersion] = &[&TLS13];

fn group(name: &str) -> Result<&'static dyn SupportedKxGroup, TlsError> {
    match name {
        "X25519MLKEM768" => Ok(aws_lc_rs::kx_group::X25519MLKEM768),
        "SecP384r1MLKEM1024" => Ok(p384_mlkem1024::SECP384R1_MLKEM1024),
        "SecP256r1MLKEM768" => Ok(aws_lc_rs::kx_group::SECP256R1MLKEM768),
        other => Err(TlsError::UnknownGroup(other.to_owned())),
    }
}

/// The cryptography that TLS may use: the named hybrid groups, in this order.
///
/// # Errors
///
/// [`TlsError::UnknownGroup`].
pub fn provider(groups: &[String], fallback: Fallback) -> Result<Arc<CryptoProvider>, TlsError> {
    let mut kx_groups = groups
        .iter()
        .map(|name| group(name))
        .collect::<Result<Vec<_>, _>>()?;
    if fallback == Fallback::Enabled {
        kx_groups.push(aws_lc_rs::kx_group::X25519);
    }
    Ok(Arc::new(CryptoProvider {
        kx_groups,
        ..aws_lc_rs::default_provider()
    }))
}

/// Whether a negotiated group has no post-quantum half.
pub fn is_classical(group: rustls::NamedGroup) -> bool {
    group == rustls::NamedGroup::X25519
}

/// Configures a server from PEM texts.
///
/// # Errors
///
/// [`TlsError`].
pub fn server_config(
    provider: Arc<CryptoProvider>,
    certificates: &[u8],
    key: &[u8],
) -> Result<ServerConfig, TlsError> {
    let chain = certificates_from_pem(certificates)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsError::Pem("private key"))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(VERSIONS)?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Configures a client that trusts the given certificates, or the system's if there are none.
///
/// # Errors
///
/// [`TlsError`].
pub fn client_config(
    provider: Arc<CryptoProvider>,
    roots: Option<&[u8]>,
) -> Result<ClientConfig, TlsError> {
    let mut store = RootCertStore::empty();
    if let Some(pem) = roots {
        for certificate in certificates_from_pem(pem)? {
            store.add(certificate)?;
        }
    } else {
        let loaded = rustls_native_certs::load_native_certs();
        store.add_parsable_certificates(loaded.certs);
    }
    if store.is_empty() {
        return Err(TlsError::NoRoots);
    }
    Ok(ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(VERSIONS)?
        .with_root_certificates(store)
        .with_no_client_auth())
}

fn certificates_from_pem(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => Err(TlsError::Pem("certificate")),
    }
}

/// A group's name for logs.
#[derive(Clone, Copy)]
pub(crate) struct GroupName(pub(crate) rustls::NamedGroup);

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match u16::from(self.0) {
            0x11eb => f.write_str("SecP256r1MLKEM768"),
            0x11ec => f.write_str("X25519MLKEM768"),
            0x11ed => f.write_str("SecP384r1MLKEM1024"),
            other => write!(f, "0x{other:04x}"),
        }
    }
}
