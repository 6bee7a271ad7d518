//! Connections to object stores: hybrid groups first, then classical ones for stores without hybrid
//! groups. Classical connections are counted.
//!
//! Objects are sealed, so a recorded connection reveals no content, only names and lengths.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use casemate_crypto::algorithm::TlsGroup;
use rustls::{
    ClientConfig, Error, NamedGroup, RootCertStore,
    crypto::{
        ActiveKeyExchange, CompletedKeyExchange, CryptoProvider, SharedSecret, SupportedKxGroup,
        aws_lc_rs,
    },
};

use rustls_pki_types::{PrivateKeyDer, pem::PemObject};

use crate::{TlsError, VERSIONS, certificates_from_pem, group, root_store};

static CLASSICAL: AtomicU64 = AtomicU64::new(0);

/// Returns the number of connections to object stores without post-quantum key exchange, since the
/// process started.
pub fn classical_connections() -> u64 {
    CLASSICAL.load(Ordering::Relaxed)
}

/// A group for connections to object stores.
#[derive(Debug)]
struct StoreGroup {
    inner: &'static dyn SupportedKxGroup,
    is_classical: bool,
}

static HYBRIDS: [StoreGroup; 3] = [
    StoreGroup {
        inner: aws_lc_rs::kx_group::X25519MLKEM768,
        is_classical: false,
    },
    StoreGroup {
        inner: crate::p384_mlkem1024::SECP384R1_MLKEM1024,
        is_classical: false,
    },
    StoreGroup {
        inner: aws_lc_rs::kx_group::SECP256R1MLKEM768,
        is_classical: false,
    },
];

static CLASSICALS: [StoreGroup; 3] = [
    StoreGroup {
        inner: aws_lc_rs::kx_group::X25519,
        is_classical: true,
    },
    StoreGroup {
        inner: aws_lc_rs::kx_group::SECP384R1,
        is_classical: true,
    },
    StoreGroup {
        inner: aws_lc_rs::kx_group::SECP256R1,
        is_classical: true,
    },
];

impl SupportedKxGroup for StoreGroup {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        Ok(Box::new(Exchange {
            inner: self.inner.start()?,
            is_classical: self.is_classical,
        }))
    }

    fn start_and_complete(&self, peer: &[u8]) -> Result<CompletedKeyExchange, Error> {
        self.inner.start_and_complete(peer)
    }

    fn name(&self) -> NamedGroup {
        self.inner.name()
    }
}

struct Exchange {
    inner: Box<dyn ActiveKeyExchange>,
    is_classical: bool,
}

/// Does not offer the classical half of a hybrid as a separate share, so that a store that supports
/// the hybrid never picks the classical half.
impl ActiveKeyExchange for Exchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        if self.is_classical {
            CLASSICAL.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                group = ?self.inner.group(),
                "the object store does not support post-quantum key exchange"
            );
        }
        self.inner.complete(peer)
    }

    fn pub_key(&self) -> &[u8] {
        self.inner.pub_key()
    }

    fn group(&self) -> NamedGroup {
        self.inner.group()
    }
}

/// Configures connections to object stores: TLS 1.3, the policy's groups first, then classical ones
/// for stores without those.
///
/// Without any trusted certificate, as in a bare container, only stores without TLS can be reached.
///
/// # Errors
///
/// [`TlsError`].
pub fn store_config(groups: &[TlsGroup], roots: Option<&[u8]>) -> Result<ClientConfig, TlsError> {
    store_config_as(groups, roots, None)
}

/// As [`store_config`], with a certificate chain and its private key, both in PEM, for a store that
/// asks for one.
///
/// # Errors
///
/// [`TlsError`].
pub fn store_config_as(
    groups: &[TlsGroup],
    roots: Option<&[u8]>,
    identity: Option<(&[u8], &[u8])>,
) -> Result<ClientConfig, TlsError> {
    let hybrid = |named: &TlsGroup| {
        let name = group(*named).name();
        HYBRIDS.iter().find(|known| known.inner.name() == name)
    };
    let hybrids = groups.iter().filter_map(hybrid);
    let all = hybrids.chain(&CLASSICALS);
    let provider = CryptoProvider {
        kx_groups: all.map(|group| group as &dyn SupportedKxGroup).collect(),
        ..aws_lc_rs::default_provider()
    };
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(VERSIONS)?
        .with_root_certificates(roots_or_none(roots)?);
    let Some((certificates, key)) = identity else {
        return Ok(config.with_no_client_auth());
    };
    let chain = certificates_from_pem(certificates)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsError::Pem("private key"))?;
    Ok(config.with_client_auth_cert(chain, key)?)
}

fn roots_or_none(roots: Option<&[u8]>) -> Result<RootCertStore, TlsError> {
    match root_store(roots) {
        Err(TlsError::NoRoots) => Ok(RootCertStore::empty()),
        found => found,
    }
}
