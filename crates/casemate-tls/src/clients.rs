//! Connections on which both sides have a certificate.

use std::sync::Arc;

use rustls::{
    ClientConfig, ServerConfig,
    crypto::CryptoProvider,
    server::{NoServerSessionStorage, WebPkiClientVerifier},
};
use rustls_pki_types::{PrivateKeyDer, pem::PemObject};
use x509_parser::{extensions::GeneralName, parse_x509_certificate};

use crate::{TlsError, VERSIONS, certificates_from_pem, root_store};

/// Configures a server that accepts only clients with a certificate of these authorities.
///
/// Sessions are not resumed: a resumed session would outlive the certificate.
///
/// # Errors
///
/// [`TlsError`].
pub fn server_config_for_clients(
    provider: Arc<CryptoProvider>,
    certificates: &[u8],
    key: &[u8],
    authorities: &[u8],
) -> Result<ServerConfig, TlsError> {
    let chain = certificates_from_pem(certificates)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsError::Pem("private key"))?;
    let roots = Arc::new(root_store(Some(authorities))?);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider));
    let verifier = verifier
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(VERSIONS)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// Configures a client with a certificate, which trusts the given authorities, or the system's if
/// there are none.
///
/// # Errors
///
/// [`TlsError`].
pub fn client_config_as(
    provider: Arc<CryptoProvider>,
    roots: Option<&[u8]>,
    certificates: &[u8],
    key: &[u8],
) -> Result<ClientConfig, TlsError> {
    let chain = certificates_from_pem(certificates)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsError::Pem("private key"))?;
    Ok(ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(VERSIONS)?
        .with_root_certificates(root_store(roots)?)
        .with_client_auth_cert(chain, key)?)
}

/// What a certificate says of its subject.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// DNS names without `:`, and URIs, which have one, among its alternative names.
    pub names: Vec<String>,
    /// When it ends, in seconds since 1970-01-01 UTC.
    pub valid_until: u64,
}

impl Subject {
    /// Reads a certificate in DER; one that is malformed has no names.
    pub fn of(certificate: &[u8]) -> Self {
        let Ok((_, parsed)) = parse_x509_certificate(certificate) else {
            return Self::default();
        };
        let names = match parsed.subject_alternative_name() {
            Ok(Some(names)) => names.value.general_names.iter(),
            _ => [].iter(),
        };
        // An authority that may issue names of one kind only must not issue the other.
        let names = names.filter_map(|name| match name {
            GeneralName::DNSName(name) if !name.contains(':') => Some((*name).to_owned()),
            GeneralName::URI(name) if name.contains(':') => Some((*name).to_owned()),
            _ => None,
        });
        Self {
            names: names.collect(),
            valid_until: parsed
                .validity()
                .not_after
                .timestamp()
                .try_into()
                .unwrap_or_default(),
        }
    }
}
