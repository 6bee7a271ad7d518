//! Rates of a key service over mutual TLS on loopback: embedded, and on three etcd members if etcd
//! is installed. Every use is in the audit log before it is answered.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark fails by panicking, and reads the clock"
)]

use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use casemate_crypto::{
    SecretBytes,
    hpke::HpkeSuite,
    kem::KemPrivateKey,
    policy::Policy,
    suite::{KemSuite, MLKEM768_X25519},
};
use casemate_etcd::{EtcdEngine, EtcdOptions};
use casemate_keys::{AnyEngine, KeyStore, PassphraseCost, SqliteEngine, StoreKey, StoreSecret};
use casemate_server::{ConnectionLimits, ServeOptions};
use casemate_service::{GrantEntry, Grants, Service, ServiceOptions, serve};
use casemate_tls::{Authority, Fallback, client_config_as, provider, server_config_for_clients};
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};

const CLIENTS: usize = 16;
const WINDOW: Duration = Duration::from_secs(4);

type Http = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_secs()
}

fn limits() -> ConnectionLimits {
    ConnectionLimits {
        all: 256,
        per_peer: 256,
        age: Duration::from_hours(1),
        requests: u32::MAX,
        handshake: Duration::from_secs(10),
        header: Duration::from_secs(10),
        answer_window: Duration::from_secs(10),
        answer_window_bytes: 160 << 10,
        handshakes: (64, 32),
        drain: Duration::from_secs(5),
    }
}

/// A service that runs, and its clients.
struct Running {
    url: String,
    clients: Vec<Http>,
    _end: tokio::sync::oneshot::Sender<()>,
}

async fn start(engine: AnyEngine) -> Running {
    let secret = StoreSecret::Key(StoreKey::generate().unwrap());
    let mut store = KeyStore::create(engine, &secret, PassphraseCost::default(), now()).unwrap();
    store.enable_log("bench.example").unwrap();
    let groups = Policy::by_name("hybrid").unwrap();
    let provider = || provider(groups.tls_groups(), Fallback::Disabled);
    let authority = Authority::generate("bench").unwrap();
    let server = authority.server(vec!["localhost".to_owned()]).unwrap();
    let client = authority.client(&["bench.example"]).unwrap();
    let root = authority.root.as_bytes();
    let tls = server_config_for_clients(
        provider(),
        server.certificate.as_bytes(),
        server.key.expose(),
        root,
    );
    let grant = GrantEntry {
        clients: vec!["bench.example".to_owned()],
        keys: vec!["*".to_owned()],
        operations: ["read", "create", "rotate", "data-key", "unwrap", "rewrap"]
            .map(str::to_owned)
            .into(),
        artifacts: None,
        until: None,
    };
    let service = Service::new(ServiceOptions {
        store,
        grants: Grants::new(&[grant]).unwrap(),
        policy: groups.clone(),
        clock: now,
    });
    let options = ServeOptions {
        listen: "127.0.0.1:0".parse().unwrap(),
        health: None,
        trusted_proxies: Vec::new(),
        tls: tls.unwrap(),
    };
    let (ready, listening) = tokio::sync::oneshot::channel();
    let (end, ended) = tokio::sync::oneshot::channel();
    let service = Arc::new(service.unwrap());
    tokio::spawn(async move {
        let ready = |listening: casemate_server::Listening| _ = ready.send(listening.address);
        serve(service, limits(), options, ready, async { _ = ended.await })
            .await
            .unwrap();
    });
    let port = listening.await.unwrap().port();
    let clients = (0..CLIENTS).map(|_| {
        let certificate = client.certificate.as_bytes();
        let tls = client_config_as(provider(), Some(root), certificate, client.key.expose());
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls.unwrap())
            .https_only()
            .enable_http1()
            .build();
        Client::builder(TokioExecutor::new()).build(connector)
    });
    Running {
        url: format!("https://localhost:{port}"),
        clients: clients.collect(),
        _end: end,
    }
}

async fn post(client: &Http, url: &str, body: Bytes) -> (u16, Bytes) {
    let request = Request::builder()
        .method(Method::POST)
        .uri(url)
        .header("content-type", "application/json")
        .body(Full::from(body));
    let answer = client.request(request.unwrap()).await.unwrap();
    let status = answer.status().as_u16();
    (
        status,
        answer.into_body().collect().await.unwrap().to_bytes(),
    )
}

async fn call(running: &Running, path: &str, body: Value) -> Value {
    let url = format!("{}{path}", running.url);
    let (status, answer) = post(&running.clients[0], &url, body.to_string().into()).await;
    assert!(status < 300, "{path}: {answer:?}");
    serde_json::from_slice(&answer).unwrap()
}

/// Has every client post for a while. Returns requests a second, and the 50th and 99th percentile
/// of their latencies.
async fn rate(
    running: &Running,
    path: impl Fn(u64) -> String,
    body: impl Fn(u64) -> Value,
) -> (f64, [Duration; 2]) {
    let number = Arc::new(AtomicU64::new(0));
    let requests: Vec<(String, Bytes)> = (0..8_000)
        .map(|n| {
            (
                format!("{}{}", running.url, path(n)),
                body(n).to_string().into(),
            )
        })
        .collect();
    let requests = Arc::new(requests);
    let started = Instant::now();
    let tasks = running.clients.iter().map(|client| {
        let client = client.clone();
        let (number, requests) = (Arc::clone(&number), Arc::clone(&requests));
        tokio::spawn(async move {
            let mut took = Vec::new();
            while started.elapsed() < WINDOW {
                let at = number.fetch_add(1, Ordering::Relaxed) as usize;
                let (url, body) = &requests[at % requests.len()];
                let since = Instant::now();
                let (status, answer) = post(&client, url, body.clone()).await;
                assert!(status < 300, "{answer:?}");
                took.push(since.elapsed());
            }
            took
        })
    });
    let mut took = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        took.extend(task.await.unwrap());
    }
    let elapsed = started.elapsed();
    took.sort();
    let at = |share: usize| took[(took.len() - 1) * share / 100];
    (took.len() as f64 / elapsed.as_secs_f64(), [at(50), at(99)])
}

fn show(what: &str, (rate, [median, slow]): (f64, [Duration; 2])) {
    println!("{what:<54} {rate:>9.0}/s   median {median:>9.2?}   p99 {slow:>9.2?}");
}

async fn measure(running: &Running, prefix: &str) {
    let suite = "mlkem768-x25519";
    call(
        running,
        "/v1/keys",
        json!({ "name": "models", "suite": suite }),
    )
    .await;
    let made = call(
        running,
        "/v1/data-keys",
        json!({ "name": "models", "context": "bench" }),
    )
    .await;
    let item = json!({ "wrapped": made["wrapped"], "context": "bench" });
    let unwrap = rate(
        running,
        |_| "/v1/data-keys/unwrap".to_owned(),
        |_| item.clone(),
    )
    .await;
    show(
        &format!("{prefix}, unwrap a data key, {CLIENTS} clients"),
        unwrap,
    );
    let items = vec![item; 32];
    let (rewraps, took) = rate(
        running,
        |_| "/v1/data-keys/rewrap".to_owned(),
        |_| json!({ "items": items }),
    )
    .await;
    show(
        &format!("{prefix}, rewrap data keys, 32 in a request"),
        (rewraps * 32.0, took),
    );
    let create = rate(
        running,
        |_| "/v1/keys".to_owned(),
        |n| json!({ "name": format!("k{n}"), "suite": suite }),
    )
    .await;
    show(&format!("{prefix}, create keys, {CLIENTS} clients"), create);
    let rotate = rate(
        running,
        |n| format!("/v1/keys/k{}/rotate", n % 400),
        |_| json!({}),
    )
    .await;
    show(
        &format!("{prefix}, rotate a key, {CLIENTS} clients"),
        rotate,
    );
}

fn baselines() {
    for (name, suite) in [
        ("mlkem768-x25519 (X-Wing)", &MLKEM768_X25519),
        ("mlkem1024-p384", &casemate_crypto::suite::MLKEM1024_P384),
    ] {
        let suite: &'static KemSuite = suite;
        let key = KemPrivateKey::generate(suite).unwrap();
        let hpke = HpkeSuite::of(suite).unwrap();
        let (enc, sealed) = hpke.seal(key.public_key(), b"info", b"", &[7; 32]).unwrap();
        let (started, mut count) = (Instant::now(), 0_u32);
        while started.elapsed() < Duration::from_secs(1) {
            drop(SecretBytes::new(
                hpke.open(&enc, &key, b"info", b"", &sealed).unwrap(),
            ));
            count += 1;
        }
        let rate = f64::from(count) / started.elapsed().as_secs_f64();
        println!(
            "{:<54} {rate:>9.0}/s",
            format!("in process, one core, open {name}")
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let database = rusqlite::Connection::open(folder.path().join("a.db")).unwrap();
    database
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE t (a INTEGER PRIMARY KEY, b BLOB)")
        .unwrap();
    let (started, mut count) = (Instant::now(), 0_u32);
    while started.elapsed() < Duration::from_secs(1) {
        database
            .execute("INSERT INTO t (b) VALUES (?1)", [vec![7_u8; 2500]])
            .unwrap();
        count += 1;
    }
    let rate = f64::from(count) / started.elapsed().as_secs_f64();
    println!(
        "{:<54} {rate:>9.0}/s",
        "SQLite alone, durable inserts of 2.5 kB"
    );
}

/// Three members, which end with this value.
struct Cluster(Vec<Child>);

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in &mut self.0 {
            _ = child.kill();
            _ = child.wait();
        }
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn cluster(folder: &Path) -> Option<(Cluster, Vec<String>)> {
    let ports: Vec<_> = (0..3).map(|_| (free_port(), free_port())).collect();
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    let initial: Vec<_> = ports
        .iter()
        .enumerate()
        .map(|(n, (_, peer))| format!("n{n}={}", url(*peer)))
        .collect();
    let mut members = Cluster(Vec::new());
    for (n, (client, peer)) in ports.iter().enumerate() {
        let mut etcd = Command::new("etcd");
        etcd.args(["--name", &format!("n{n}"), "--log-level", "error"])
            .args(["--data-dir", folder.join(format!("d{n}")).to_str()?])
            .args([
                "--listen-client-urls",
                &url(*client),
                "--advertise-client-urls",
                &url(*client),
            ])
            .args([
                "--listen-peer-urls",
                &url(*peer),
                "--initial-advertise-peer-urls",
                &url(*peer),
            ])
            .args(["--initial-cluster", &initial.join(",")])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        members.0.push(etcd.spawn().ok()?);
    }
    std::thread::sleep(Duration::from_secs(3));
    Some((
        members,
        ports.iter().map(|(client, _)| url(*client)).collect(),
    ))
}

fn main() {
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    baselines();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let engine = SqliteEngine::open(&folder.path().join("keys.db"), true).unwrap();
    runtime.block_on(async {
        let running = start(Box::new(engine)).await;
        measure(&running, "embedded").await;
    });
    let Some((_members, endpoints)) = cluster(folder.path()) else {
        println!("etcd is not installed (Debian: etcd-server)");
        return;
    };
    let groups = Policy::by_name("hybrid").unwrap();
    let engine = EtcdEngine::new(EtcdOptions {
        endpoints: &endpoints,
        prefix: "casemate/",
        tls: casemate_tls::store_config(groups.tls_groups(), None).unwrap(),
        clock: now,
    });
    let engine = engine.unwrap();
    runtime.block_on(async {
        let running = start(Box::new(engine)).await;
        measure(&running, "etcd of three").await;
    });
}
