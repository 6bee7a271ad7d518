//! A running gateway over the shipped model.

use std::{net::SocketAddr, path::Path, sync::Arc};

use casemate_crypto::{
    algorithm::TlsGroup,
    kem::KemPrivateKey,
    signature::{HttpSigningKey, HttpVerifyingKey, SigningKey},
    suite,
};
use casemate_gateway::{
    Client, Clock, Connector, ConnectorOptions, Gateway, GatewayOptions, Limits, Listening,
    ModelSource, Models, ServeOptions, SlewingClock, Upstream, serve,
};
use casemate_message::RecordId;
use casemate_seal::{HashAlgorithm, Private, SealOptions, SegmentSize, seal};
use casemate_tls::{self as tls, Fallback, SelfSigned};
use tokio::sync::oneshot;

pub(crate) const MODEL: &[u8] = include_bytes!("../../../../assets/digits/digits.onnx");
pub(crate) const ALL_GROUPS: [TlsGroup; 3] = TlsGroup::ALL;

/// What the tests need of a running gateway.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) certificates: SelfSigned,
    pub(crate) client_seeds: ([u8; 32], [u8; 32]),
    pub(crate) gateway_key: HttpVerifyingKey,
    _folder: tempfile::TempDir,
}

/// Seals the shipped model and loads it back.
pub(crate) fn models(folder: &Path, publisher: &SigningKey, key: &KemPrivateKey) -> Models {
    let artifact = folder.join("digits.sealed");
    let options = SealOptions {
        recipients: &[key.public_key()],
        signer: Some(publisher),
        segment_size: SegmentSize::default(),
        hash: HashAlgorithm::Blake3,
        created: 0,
        content_type: "model/onnx",
        private: &Private::default(),
        revision: None,
        owner: None,
        public_part: &[],
        digest_content: false,
    };
    let file = std::fs::File::create(&artifact).unwrap();
    seal(&MODEL, &file, &options, &|_| ()).unwrap();
    let publisher = publisher.verifying_key();
    let source = ModelSource {
        name: "digits".into(),
        artifact,
        publisher,
        judge: &|_| Ok(()),
        key,
    };
    Models::load(&[source], &Limits::default()).unwrap()
}

pub(crate) async fn start(groups: &[TlsGroup], fallback: Fallback) -> Running {
    start_with(groups, fallback, &[]).await
}

/// As [`start`], with a client that may call only some routes.
pub(crate) async fn start_with(groups: &[TlsGroup], fallback: Fallback, allow: &[&str]) -> Running {
    let folder = tempfile::tempdir().unwrap();
    let publisher = SigningKey::generate(&suite::MLDSA87_P384).unwrap();
    let model_key = KemPrivateKey::generate(&suite::MLKEM1024_P384).unwrap();
    let upstream = Upstream::Models(models(folder.path(), &publisher, &model_key));
    let client_seeds = ([1; 32], [2; 32]);
    let identity = HttpSigningKey::generate().unwrap();
    let gateway_key = public(&identity);
    let gateway = Gateway::new(GatewayOptions {
        identity,
        succession: None,
        clients: vec![Client {
            name: "test".into(),
            key: public(&client(client_seeds)),
            allow: allow.iter().map(|route| route.parse().unwrap()).collect(),
        }],
        upstream,
        limits: Limits {
            request_bytes: 64 * 1024,
            ..Limits::default()
        },
        clock: Arc::new(SlewingClock::default()),
        record: RecordId::random().unwrap(),
    })
    .unwrap();
    let certificates = tls::self_signed(vec!["127.0.0.1".into()]).unwrap();
    let provider = tls::provider(groups, fallback);
    let tls = tls::server_config(
        provider,
        certificates.certificate.as_bytes(),
        certificates.key.expose(),
    )
    .unwrap();
    let (announce, announced) = oneshot::channel();
    let options = ServeOptions {
        listen: "127.0.0.1:0".parse().unwrap(),
        health: None,
        trusted_proxies: Vec::new(),
        tls,
    };
    let ready = |listening: Listening| announce.send(listening.address).unwrap();
    tokio::spawn(serve(
        Arc::new(gateway),
        options,
        ready,
        std::future::pending(),
    ));
    let address = announced.await.unwrap();
    Running {
        address,
        certificates,
        client_seeds,
        gateway_key,
        _folder: folder,
    }
}

pub(crate) fn client(seeds: ([u8; 32], [u8; 32])) -> HttpSigningKey {
    HttpSigningKey::from_seeds(&seeds.0, &seeds.1).unwrap()
}

pub(crate) fn public(key: &HttpSigningKey) -> HttpVerifyingKey {
    let key = key.verifying_key();
    HttpVerifyingKey::new(key.ed25519(), key.mldsa65()).unwrap()
}

impl Running {
    pub(crate) fn connector(&self, groups: &[TlsGroup], identity: HttpSigningKey) -> Connector {
        self.connector_at(groups, identity, Arc::new(SlewingClock::default()))
    }

    pub(crate) fn connector_at(
        &self,
        groups: &[TlsGroup],
        identity: HttpSigningKey,
        clock: Arc<dyn Clock>,
    ) -> Connector {
        let provider = tls::provider(groups, Fallback::Disabled);
        let roots = self.certificates.root.as_bytes();
        let gateway_key =
            HttpVerifyingKey::new(self.gateway_key.ed25519(), self.gateway_key.mldsa65()).unwrap();
        Connector::new(ConnectorOptions {
            gateway: format!("https://{}", self.address),
            identity,
            gateway_key,
            tls: tls::client_config(provider, Some(roots)).unwrap(),
            clock,
        })
        .unwrap()
    }
}
