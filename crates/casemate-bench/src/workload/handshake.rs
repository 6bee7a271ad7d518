//! TLS 1.3 handshakes in memory: bytes and processor time of classical, hybrid and pure groups.

use std::{hint::black_box, io, sync::Arc, time::Instant};

use casemate_crypto::algorithm::TlsGroup;
use casemate_tls::{self as tls, Fallback};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ML_DSA_65, PKCS_ML_DSA_87};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection,
    crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs},
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
    version::TLS13,
};

use crate::{BenchError, Effort, Options, rows::Handshake, stats};

/// A combination of key exchange and server certificate.
struct Variant {
    group: &'static str,
    certificate: &'static str,
    kind: &'static str,
}

const VARIANTS: [Variant; 7] = [
    Variant {
        group: "X25519",
        certificate: "ECDSA P-256",
        kind: "classical",
    },
    Variant {
        group: "secp384r1",
        certificate: "ECDSA P-256",
        kind: "classical",
    },
    Variant {
        group: "X25519MLKEM768",
        certificate: "ECDSA P-256",
        kind: "hybrid",
    },
    Variant {
        group: "SecP256r1MLKEM768",
        certificate: "ECDSA P-256",
        kind: "hybrid",
    },
    Variant {
        group: "SecP384r1MLKEM1024",
        certificate: "ECDSA P-256",
        kind: "hybrid",
    },
    Variant {
        group: "MLKEM768",
        certificate: "ML-DSA-65",
        kind: "pure",
    },
    Variant {
        group: "MLKEM1024",
        certificate: "ML-DSA-87",
        kind: "pure",
    },
];

pub(crate) fn measure(options: &Options) -> Result<Vec<Handshake>, BenchError> {
    let mut rows = Vec::new();
    let samples = match options.effort {
        Effort::Quick => 5,
        Effort::Standard => 101,
        Effort::Thorough => 501,
    };
    let wanted: Vec<_> = VARIANTS
        .iter()
        .filter(|variant| {
            options.wants("tls handshake", variant.group) || options.wants("workload", "")
        })
        .collect();
    let mut configured = Vec::new();
    for variant in &wanted {
        configured.push(configure(variant)?);
    }
    let mut times = vec![Vec::new(); wanted.len()];
    let mut bytes = vec![(0, 0); wanted.len()];
    for _ in 0..=samples {
        let each = configured.iter().zip(&mut times).zip(&mut bytes);
        for ((configs, times), bytes) in each {
            let started = Instant::now();
            *bytes = black_box(handshake(configs)?);
            times.push(started.elapsed().as_secs_f64() * 1e6);
        }
    }
    for ((variant, mut times), (client_bytes, server_bytes)) in
        wanted.into_iter().zip(times).zip(bytes)
    {
        // The first handshake is the warm-up.
        times.remove(0);
        rows.push(Handshake {
            group: variant.group.to_owned(),
            certificate: variant.certificate.to_owned(),
            kind: variant.kind.to_owned(),
            client_bytes,
            server_bytes,
            time: stats::timing(times),
        });
    }
    Ok(rows)
}

pub(crate) type Configs = (Arc<ClientConfig>, Arc<ServerConfig>);

/// Returns the provider with one group.
fn provider(group: &str) -> Arc<CryptoProvider> {
    let single: &'static dyn SupportedKxGroup = match group {
        "X25519" => aws_lc_rs::kx_group::X25519,
        "secp384r1" => aws_lc_rs::kx_group::SECP384R1,
        "MLKEM768" => aws_lc_rs::kx_group::MLKEM768,
        "MLKEM1024" => aws_lc_rs::kx_group::MLKEM1024,
        // The hybrids are those of the gateway.
        hybrid => {
            let mut known = TlsGroup::ALL.into_iter();
            let found = known.find(|known| known.name() == hybrid);
            let groups: Vec<_> = found.into_iter().collect();
            return tls::provider(&groups, Fallback::Disabled);
        }
    };
    Arc::new(CryptoProvider {
        kx_groups: vec![single],
        ..aws_lc_rs::default_provider()
    })
}

fn configure(variant: &Variant) -> Result<Configs, BenchError> {
    configs(variant.group, variant.certificate)
}

/// Returns a client and a server configuration with one certificate.
pub(crate) fn configs(group: &str, certificate: &str) -> Result<Configs, BenchError> {
    let algorithm = match certificate {
        "ML-DSA-65" => &PKCS_ML_DSA_65,
        "ML-DSA-87" => &PKCS_ML_DSA_87,
        _ => &PKCS_ECDSA_P256_SHA256,
    };
    let key = KeyPair::generate_for(algorithm)?;
    let params = CertificateParams::new(vec!["localhost".to_owned()])?;
    let certificate = params.self_signed(&key)?.der().clone();
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = provider(group);
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], private)?;
    let mut roots = RootCertStore::empty();
    roots.add(certificate)?;
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // Force a full handshake each time.
    client.resumption = rustls::client::Resumption::disabled();
    Ok((Arc::new(client), Arc::new(server)))
}

/// Runs one handshake; returns the bytes that client and server sent.
fn handshake((client, server): &Configs) -> Result<(u64, u64), BenchError> {
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    let mut client = ClientConnection::new(client.clone(), name)?;
    let mut server = ServerConnection::new(server.clone())?;
    let (mut up, mut down) = (0, 0);
    while client.is_handshaking() || server.is_handshaking() {
        let mut flight = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut flight)?;
        }
        up += flight.len() as u64;
        let mut rest = flight.as_slice();
        while !rest.is_empty() {
            server.read_tls(&mut rest)?;
            server.process_new_packets()?;
        }
        let mut flight = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut flight)?;
        }
        down += flight.len() as u64;
        let mut rest = flight.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest)?;
            client.process_new_packets()?;
        }
    }
    Ok((up, down))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hybrid_share_has_the_length_of_the_standard() {
        let bytes = |group| handshake(&configs(group, "ECDSA P-256").unwrap()).unwrap();
        let (classical, _) = bytes("X25519");
        let (hybrid, _) = bytes("X25519MLKEM768");
        // RFC 10024: a client share of 1216 bytes instead of 32.
        assert!((1_150..1_250).contains(&(hybrid - classical)));
        let (up, down) = handshake(&configs("MLKEM1024", "ML-DSA-87").unwrap()).unwrap();
        assert!(up > 1_568 && down > 1_568 + 2_592 + 4_627);
    }
}
