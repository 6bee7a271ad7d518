//! Who gets through the handshake.

use std::sync::Arc;

use casemate_crypto::algorithm::TlsGroup;
use casemate_tls::{self as tls, Fallback};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::{ALL_GROUPS, Running, client, start};

/// The group of a handshake, or the error.
async fn handshake(
    running: &Running,
    groups: &[TlsGroup],
    fallback: Fallback,
) -> Result<u16, String> {
    let provider = tls::provider(groups, fallback);
    let config = tls::client_config(provider, Some(running.certificates.root.as_bytes())).unwrap();
    let stream = TcpStream::connect(running.address).await.unwrap();
    let name = running.address.ip().into();
    let connected = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .map_err(|error| error.to_string())?;
    Ok(u16::from(
        connected
            .get_ref()
            .1
            .negotiated_key_exchange_group()
            .unwrap()
            .name(),
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_hybrid_group_is_negotiated_with_its_code_point() {
    let running = start(&ALL_GROUPS, Fallback::Disabled).await;
    for (group, code) in [
        (TlsGroup::X25519MlKem768, 0x11ec),
        (TlsGroup::SecP384r1MlKem1024, 0x11ed),
        (TlsGroup::SecP256r1MlKem768, 0x11eb),
    ] {
        assert_eq!(
            handshake(&running, &[group], Fallback::Disabled).await,
            Ok(code),
            "{group:?}"
        );
        let connector = running.connector(&[group], client(running.client_seeds));
        assert!(connector.fetch_keys().await.unwrap().not_after > 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_classical_client_is_refused_unless_fallback_is_enabled() {
    let strict = start(&ALL_GROUPS, Fallback::Disabled).await;
    let refused = handshake(&strict, &[], Fallback::Enabled)
        .await
        .unwrap_err();
    assert!(refused.contains("HandshakeFailure"), "{refused}");
    let lax = start(&ALL_GROUPS, Fallback::Enabled).await;
    assert_eq!(handshake(&lax, &[], Fallback::Enabled).await, Ok(0x001d));
    // A capable client still gets a hybrid group.
    assert_eq!(
        handshake(&lax, &ALL_GROUPS, Fallback::Enabled).await,
        Ok(0x11ec)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_with_one_group_refuses_the_others() {
    let cnsa = start(&[TlsGroup::SecP384r1MlKem1024], Fallback::Disabled).await;
    assert_eq!(
        handshake(&cnsa, &ALL_GROUPS, Fallback::Disabled).await,
        Ok(0x11ed)
    );
    let refused = handshake(&cnsa, &[TlsGroup::X25519MlKem768], Fallback::Disabled)
        .await
        .unwrap_err();
    assert!(refused.contains("HandshakeFailure"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_peers_keep_nobody_from_a_handshake() {
    let running = start(&ALL_GROUPS, Fallback::Disabled).await;
    // As many as one peer may have handshakes, and more.
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(running.address).await.unwrap());
    }
    let honest = handshake(&running, &ALL_GROUPS, Fallback::Disabled);
    // They are left after ten seconds only.
    let group = tokio::time::timeout(std::time::Duration::from_secs(8), honest).await;
    assert_eq!(group.unwrap(), Ok(0x11ec));
    drop(silent);
}
