//! The demo's keys, gateway and connector.

use std::{fs::File, net::SocketAddr, path::Path, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use casemate_crypto::{
    SecretBytes,
    encoding::PrivateKey,
    kem::KemPrivateKey,
    policy::Policy,
    random,
    signature::{HttpSigningKey, HttpVerifyingKey, SigningKey},
};
use casemate_gateway::{
    Access as LocalAccess, Client, Connector, ConnectorOptions, Gateway, GatewayOptions, Limits,
    Listening, Local, LocalListener, ModelSource, Models, ServeOptions, SlewingClock, Upstream,
    serve, serve_connector, unix_seconds,
};
use casemate_keys::{KeyStore, PassphraseCost, SqliteEngine, StoreKey, StoreSecret};
use casemate_message::{RecordId, Request, RequestId, RequestMark, sign};
use casemate_seal::{
    HashAlgorithm, Private, SealOptions, SegmentSize,
    file::{Access, AtomicFile, Existing},
    seal,
};
use casemate_tls::{self as tls, Fallback};
use serde_json::json;
use tokio::{net::TcpStream, sync::oneshot};

use super::Sample;
use crate::fault::{Fault, Outcome};

/// The demo's keys, by name and suite.
const NAMES: [(&str, &str); 4] = [
    ("model", "mlkem1024-p384"),
    ("publisher", "mldsa87-p384"),
    ("gateway-identity", "http-ed25519-mldsa65"),
    ("client", "http-ed25519-mldsa65"),
];

/// Every key pair of the demo.
pub(super) struct Keys {
    pub(super) store: KeyStore<SqliteEngine>,
    pub(super) model: KemPrivateKey,
    pub(super) publisher: SigningKey,
    gateway_identity: HttpSigningKey,
    /// The client's key twice: the connector owns one, the attacks use the other.
    clients: [HttpSigningKey; 2],
    /// A key pair used only to measure the size of a signed response.
    scale: HttpSigningKey,
}

fn io_fault(error: impl std::error::Error + Send + Sync + 'static) -> Fault {
    Fault::from_error(Outcome::Io, error)
}

impl Keys {
    /// Makes the keys in a store under a random key and reads them back.
    pub(super) fn create(folder: &Path) -> Result<Self, Fault> {
        let path = folder.join("keys.db");
        let secret = StoreSecret::Key(StoreKey::generate()?);
        let engine = SqliteEngine::open(&path, true).map_err(io_fault)?;
        let now = unix_seconds();
        let mut store = KeyStore::create(engine, &secret, PassphraseCost::default(), now)?;
        store.enable_log("casemate-demo")?;
        for (name, suite) in NAMES {
            store.generate(name.parse()?, suite, now)?;
        }
        let wrong = || Fault::usage("the key store returned another kind of key");
        let read = |name: &str| {
            let entry = store.by_name(&name.parse()?)?.ok_or_else(wrong)?;
            Ok::<_, Fault>(store.private_key(&entry)?)
        };
        let kem = |name| match read(name)? {
            PrivateKey::Kem(key) => Ok(key),
            _ => Err(wrong()),
        };
        let http = |name| match read(name)? {
            PrivateKey::Http(key) => Ok(key),
            _ => Err(wrong()),
        };
        let PrivateKey::Sign(publisher) = read("publisher")? else {
            return Err(wrong());
        };
        let model = kem("model")?;
        let clients = [http("client")?, http("client")?];
        let [gateway_identity, scale] = [http("gateway-identity")?, http("gateway-identity")?];
        Ok(Self {
            store,
            model,
            publisher,
            gateway_identity,
            clients,
            scale,
        })
    }
}

/// Seals the model to a file and returns the artifact's length.
pub(super) fn seal_model(model: &[u8], path: &Path, keys: &Keys) -> Result<u64, Fault> {
    let private = Private {
        name: "digits.onnx".to_owned(),
        ..Private::default()
    };
    let options = SealOptions {
        recipients: &[keys.model.public_key()],
        signer: Some(&keys.publisher),
        segment_size: SegmentSize::default(),
        hash: HashAlgorithm::Blake3,
        created: unix_seconds(),
        content_type: "application/octet-stream",
        private: &private,
        revision: None,
        owner: None,
        public_part: &[],
        digest_content: false,
    };
    let target = AtomicFile::create(path, Access::Umask, Existing::Keep).map_err(io_fault)?;
    let file: &File = target.file();
    let sealed = seal(&model, file, &options, &|_| ())?;
    target.commit(Existing::Keep).map_err(io_fault)?;
    Ok(sealed.artifact_len)
}

/// A running gateway with its connector.
pub(super) struct DemoServers {
    pub(super) gateway: SocketAddr,
    pub(super) local: SocketAddr,
    /// The token that local clients must send; useless once the demo ends.
    pub(super) token: String,
    pub(super) connector: Arc<Connector>,
    /// The same client key, for deliberately invalid requests.
    pub(super) client: HttpSigningKey,
    pub(super) model: KemPrivateKey,
    pub(super) publisher: SigningKey,
    pub(super) root: String,
    pub(super) group: &'static str,
    scale: HttpSigningKey,
}

/// Starts a connector and returns its address and token.
async fn serve_locally(connector: Arc<Connector>) -> Result<(SocketAddr, String), Fault> {
    let listener = LocalListener::tcp(any_port()).await?;
    let address = listener
        .address()
        .ok_or_else(|| Fault::usage("no local address"))?;
    let token = URL_SAFE_NO_PAD.encode(random::bytes::<32>()?);
    let access = LocalAccess {
        token: Some(SecretBytes::new(token.clone().into_bytes())),
        origins: Vec::new(),
    };
    let limits = Limits::default();
    let local = Local { access, limits };
    tokio::spawn(serve_connector(
        connector,
        listener,
        local,
        std::future::pending(),
    ));
    Ok((address, token))
}

impl DemoServers {
    pub(super) async fn start(keys: Keys, artifact: &Path) -> Result<Self, Fault> {
        let source = ModelSource {
            name: "digits".to_owned(),
            artifact: artifact.to_owned(),
            publisher: keys.publisher.verifying_key(),
            judge: &|_| Ok(()),
            key: &keys.model,
        };
        let models = Models::load(&[source], &Limits::default())?;
        let certificates = tls::self_signed(vec!["localhost".into(), "127.0.0.1".into()])?;
        let provider = tls::provider(Policy::by_name("hybrid")?.tls_groups(), Fallback::Disabled);
        let server_tls = tls::server_config(
            Arc::clone(&provider),
            certificates.certificate.as_bytes(),
            certificates.key.expose(),
        )?;
        let gateway_key = verifying(&keys.gateway_identity)?;
        let [connector_identity, client] = keys.clients;
        let gateway = Gateway::new(GatewayOptions {
            identity: keys.gateway_identity,
            succession: None,
            clients: vec![Client {
                name: "demo".to_owned(),
                key: verifying(&client)?,
                allow: Vec::new(),
            }],
            upstream: Upstream::Models(models),
            limits: Limits::default(),
            clock: Arc::new(SlewingClock::default()),
            record: RecordId::random()?,
        })?;
        let (announce, announced) = oneshot::channel();
        let options = ServeOptions {
            listen: any_port(),
            health: None,
            trusted_proxies: Vec::new(),
            tls: server_tls,
        };
        let ready = |listening: Listening| _ = announce.send(listening.address);
        tokio::spawn(serve(
            Arc::new(gateway),
            options,
            ready,
            std::future::pending(),
        ));
        let gateway = announced.await.map_err(io_fault)?;

        let client_tls = tls::client_config(provider, Some(certificates.root.as_bytes()))?;
        let connector = Arc::new(Connector::new(ConnectorOptions {
            gateway: format!("https://{gateway}"),
            identity: connector_identity,
            gateway_key,
            tls: client_tls,
            clock: Arc::new(SlewingClock::default()),
        })?);
        let (local, token) = serve_locally(Arc::clone(&connector)).await?;
        let root = certificates.root;
        Ok(Self {
            gateway,
            local,
            token,
            connector,
            client,
            model: keys.model,
            publisher: keys.publisher,
            root,
            group: "X25519MLKEM768",
            scale: keys.scale,
        })
    }

    /// Returns a plain request as a client would send it.
    pub(super) fn request(&self, sample: &Sample) -> Result<Request, Fault> {
        let body = json!({ "instances": [sample.image] })
            .to_string()
            .into_bytes();
        let mut request =
            Request::new("POST", self.connector.authority(), "/predict", body).map_err(io_fault)?;
        request
            .fields
            .push("content-type", "application/json")
            .map_err(io_fault)?;
        Ok(request)
    }

    /// Returns the bytes that protection adds to a request and to a response, without TLS.
    pub(super) fn message_overhead(&self, samples: &[Sample]) -> Result<(usize, usize), Fault> {
        let sample = samples
            .first()
            .ok_or_else(|| Fault::usage("there are no samples"))?;
        let key = casemate_message::ohttp::GatewayKey::new(
            1,
            KemPrivateKey::generate(&casemate_crypto::suite::MLKEM768_X25519).map_err(io_fault)?,
        )
        .map_err(io_fault)?;
        let signer = self.scale.verifying_key().id()?;
        let config = key.config().map_err(io_fault)?;
        let sealer = config.start_request(&signer).map_err(io_fault)?;
        let channel = sealer.channel().clone();
        let mut request = self.request(sample)?;
        let plain_request = request.to_bhttp().map_err(io_fault)?.len();
        let now = unix_seconds();
        let mark = RequestMark {
            id: RequestId::random()?,
            first: now,
            record: RecordId::random()?,
        };
        sign::sign_request(&mut request, &self.client, &channel, &mark, now).map_err(io_fault)?;
        let (sealed, _) = sealer
            .seal(&request.to_bhttp().map_err(io_fault)?)
            .map_err(io_fault)?;
        let sealed_len = sealed.len();

        let opened = key
            .receive(sealed)
            .and_then(|received| key.open(received, &signer))
            .map_err(io_fault)?;
        let mut response = casemate_message::Response::new(200, Vec::new()).map_err(io_fault)?;
        let plain_response = response.to_bhttp().map_err(io_fault)?.len();
        sign::sign_response(&mut response, &request, &self.scale, &channel, now)
            .map_err(io_fault)?;
        let answer = opened
            .sealer
            .seal(&response.to_bhttp().map_err(io_fault)?)
            .map_err(io_fault)?;
        Ok((
            sealed_len.saturating_sub(plain_request),
            answer.len().saturating_sub(plain_response),
        ))
    }

    /// Tries to connect with X25519 only, as an older client would.
    pub(super) async fn classical_handshake(&self) -> Result<(), Fault> {
        let provider = tls::provider(&[], Fallback::Enabled);
        let config = tls::client_config(provider, Some(self.root.as_bytes()))?;
        let stream = TcpStream::connect(self.gateway).await.map_err(io_fault)?;
        let name = rustls_pki_types::ServerName::from(self.gateway.ip());
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        connector
            .connect(name, stream)
            .await
            .map(|_| ())
            .map_err(io_fault)
    }
}

pub(super) const fn any_port() -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0)
}

fn verifying(key: &HttpSigningKey) -> Result<HttpVerifyingKey, Fault> {
    let public = key.verifying_key();
    HttpVerifyingKey::new(public.ed25519(), public.mldsa65()).map_err(io_fault)
}
