//! Certificates for tests and demonstrations: a root and a server certificate that it issued, both
//! ECDSA P-256.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use super::TlsError;

/// A server certificate, its key, and the root that clients must trust, all in PEM.
#[derive(Debug)]
pub struct SelfSigned {
    /// The server's certificate.
    pub certificate: String,
    /// The server's private key.
    pub key: casemate_crypto::SecretBytes,
    /// The root to trust; its private key is discarded.
    pub root: String,
}

/// Generates certificates for host names and IP addresses.
///
/// # Errors
///
/// [`TlsError::Generate`] if a name is not valid.
pub fn self_signed(names: Vec<String>) -> Result<SelfSigned, TlsError> {
    let mut root = CertificateParams::default();
    root.distinguished_name
        .push(DnType::CommonName, "Casemate self-signed root");
    root.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let root_key = KeyPair::generate()?;
    let root_certificate = root.self_signed(&root_key)?;
    let issuer = Issuer::new(root, root_key);

    let mut server = CertificateParams::new(names)?;
    server
        .distinguished_name
        .push(DnType::CommonName, "Casemate gateway");
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let certificate = server.signed_by(&key, &issuer)?;
    Ok(SelfSigned {
        certificate: certificate.pem(),
        key: casemate_crypto::SecretBytes::new(key.serialize_pem().into_bytes()),
        root: root_certificate.pem(),
    })
}
