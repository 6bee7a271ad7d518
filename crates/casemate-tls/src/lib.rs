//! TLS 1.3 with the key exchange of a policy (RFC 10024), for every connection that Casemate
//! accepts or opens.
//!
//! ```
//! use casemate_crypto::policy::Policy;
//! use casemate_tls::{Fallback, provider};
//!
//! let policy = Policy::by_name("hybrid").unwrap();
//! let provider = provider(policy.tls_groups(), Fallback::Disabled);
//! assert_eq!(provider.kx_groups.len(), 3);
//! ```

mod clients;
mod outgoing;
mod p384_mlkem1024;
mod self_signed;

use std::{fmt, sync::Arc};

use casemate_crypto::algorithm::TlsGroup;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::{SupportedKxGroup, aws_lc_rs},
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

pub use rustls::crypto::CryptoProvider;

pub use clients::{Subject, client_config_as, server_config_for_clients};
pub use outgoing::{classical_connections, store_config, store_config_as};
pub use self_signed::{Authority, Issued, SelfSigned, self_signed};

/// Whether peers without post-quantum key exchange may connect (`FALLBACK_CRYPTO`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fallback {
    /// Such peers are refused in the handshake.
    #[default]
    Disabled,
    /// X25519 is accepted last; every such connection is logged and counted.
    Enabled,
}

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file has no certificate or no key.
    #[error("the PEM file has no {0}")]
    Pem(&'static str),
    /// The system's root certificates could not be read.
    #[error("cannot read the system's root certificates")]
    NoRoots,
    /// A certificate could not be generated.
    #[error("cannot generate a certificate")]
    Generate(#[from] rcgen::Error),
    /// The TLS library refused the configuration.
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

const VERSIONS: &[&SupportedProtocolVersion] = &[&TLS13];

fn group(group: TlsGroup) -> &'static dyn SupportedKxGroup {
    match group {
        TlsGroup::X25519MlKem768 => aws_lc_rs::kx_group::X25519MLKEM768,
        TlsGroup::SecP384r1MlKem1024 => p384_mlkem1024::SECP384R1_MLKEM1024,
        TlsGroup::SecP256r1MlKem768 => aws_lc_rs::kx_group::SECP256R1MLKEM768,
    }
}

/// Returns the cryptography provider for TLS: these hybrid groups, in this order.
pub fn provider(groups: &[TlsGroup], fallback: Fallback) -> Arc<CryptoProvider> {
    let mut kx_groups: Vec<_> = groups.iter().map(|named| group(*named)).collect();
    if fallback == Fallback::Enabled {
        kx_groups.push(aws_lc_rs::kx_group::X25519);
    }
    Arc::new(CryptoProvider {
        kx_groups,
        ..aws_lc_rs::default_provider()
    })
}

/// Returns whether a negotiated group has no post-quantum half.
pub fn is_classical(group: rustls::NamedGroup) -> bool {
    group == rustls::NamedGroup::X25519
}

/// Configures a server with a certificate chain and a private key in PEM.
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
    Ok(ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(VERSIONS)?
        .with_root_certificates(root_store(roots)?)
        .with_no_client_auth())
}

fn root_store(roots: Option<&[u8]>) -> Result<RootCertStore, TlsError> {
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
    Ok(store)
}

fn certificates_from_pem(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => Err(TlsError::Pem("certificate")),
    }
}

/// The name of a group, for logs.
#[derive(Clone, Copy, Debug)]
pub struct GroupName(pub rustls::NamedGroup);

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = u16::from(self.0);
        let known = TlsGroup::ALL.into_iter().find(|group| group.code() == code);
        match known {
            Some(group) => f.write_str(group.name()),
            None => write!(f, "0x{code:04x}"),
        }
    }
}
