//! Certificates for tests and demonstrations: an authority and what it issues, all ECDSA P-256.

use casemate_crypto::SecretBytes;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

use super::TlsError;

/// A server certificate, its key, and the root that clients must trust, all in PEM.
#[derive(Debug)]
pub struct SelfSigned {
    /// The server's certificate.
    pub certificate: String,
    /// The server's private key.
    pub key: SecretBytes,
    /// The root to trust; its private key is discarded.
    pub root: String,
}

/// Generates certificates for host names and IP addresses.
///
/// # Errors
///
/// [`TlsError::Generate`] if a name is not valid.
pub fn self_signed(names: Vec<String>) -> Result<SelfSigned, TlsError> {
    let authority = Authority::generate("Casemate self-signed root")?;
    let issued = authority.server(names)?;
    Ok(SelfSigned {
        certificate: issued.certificate,
        key: issued.key,
        root: authority.root,
    })
}

/// A certificate and its key, in PEM.
#[derive(Debug)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: SecretBytes,
}

/// An authority whose key exists only as long as this value.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// The certificate to trust, in PEM.
    pub root: String,
}

impl Authority {
    /// Generates an authority.
    ///
    /// # Errors
    ///
    /// [`TlsError::Generate`].
    pub fn generate(name: &str) -> Result<Self, TlsError> {
        let mut root = CertificateParams::default();
        root.distinguished_name.push(DnType::CommonName, name);
        root.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        root.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate()?;
        let certificate = root.self_signed(&key)?.pem();
        Ok(Self {
            issuer: Issuer::new(root, key),
            root: certificate,
        })
    }

    /// Issues a certificate for host names and IP addresses.
    ///
    /// # Errors
    ///
    /// [`TlsError::Generate`] if a name is not valid.
    pub fn server(&self, names: Vec<String>) -> Result<Issued, TlsError> {
        let mut server = CertificateParams::new(names)?;
        server
            .distinguished_name
            .push(DnType::CommonName, "Casemate server");
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(&server)
    }

    /// Issues a certificate for clients with these names: URIs have a `:`, all others are DNS
    /// names.
    ///
    /// # Errors
    ///
    /// [`TlsError::Generate`] if a name is not ASCII.
    pub fn client(&self, names: &[&str]) -> Result<Issued, TlsError> {
        let mut client = CertificateParams::default();
        for name in names {
            let text = (*name).try_into()?;
            client.subject_alt_names.push(if name.contains(':') {
                SanType::URI(text)
            } else {
                SanType::DnsName(text)
            });
        }
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(&client)
    }

    fn issue(&self, params: &CertificateParams) -> Result<Issued, TlsError> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued {
            certificate: certificate.pem(),
            key: SecretBytes::new(key.serialize_pem().into_bytes()),
        })
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority(..)")
    }
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::{CertificateDer, pem::PemObject};

    use super::*;
    use crate::Subject;

    #[test]
    fn names_of_a_client_are_read_from_its_certificate() {
        let authority = Authority::generate("test").unwrap();
        let names = ["spiffe://example.org/trainer", "trainer.example.org"];
        let issued = authority.client(&names).unwrap();
        let der = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
        let subject = Subject::of(&der);
        assert_eq!(subject.names, names);
        assert!(subject.valid_until > 1_795_910_400);
        for bad in [b"no certificate", &der[1..]] {
            assert_eq!(Subject::of(bad), Subject::default());
        }
    }
}
