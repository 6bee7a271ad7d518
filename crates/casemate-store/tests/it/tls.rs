//! What connections to stores offer, and which are counted.

use std::{net::TcpListener, sync::Arc, thread};

use casemate_crypto::{algorithm::TlsGroup, policy::Policy};
use casemate_store::{Client, RemoteObject};
use casemate_tls::{
    Fallback, classical_connections, provider, self_signed, server_config, store_config,
};

use crate::{
    hello::{self, Hello},
    support::{Server, answer, s3},
};

const X25519: u16 = 0x001d;
const P384: u16 = 0x0018;
const P256: u16 = 0x0017;

/// The `ClientHello` of a client under a policy, by which it asks a store of this kind.
fn offered(policy: &str, address: &str, settings: impl Fn(&str) -> Vec<(String, String)>) -> Hello {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("https://{}", listener.local_addr().unwrap());
    let policy = Policy::by_name(policy).unwrap();
    let tls = store_config(policy.tls_groups(), None).unwrap();
    let client = Client::new(settings(&endpoint), tls).unwrap();
    let location = client.locate(address).unwrap();
    // It goes on trying for a while after it was cut off.
    thread::spawn(move || RemoteObject::open(&location).map(|_| ()));
    hello::read(listener.accept().unwrap().0)
}

fn azure(endpoint: &str) -> Vec<(String, String)> {
    [
        ("AZURE_STORAGE_ENDPOINT", endpoint),
        ("AZURE_STORAGE_ACCOUNT_NAME", "account"),
        ("AZURE_STORAGE_ACCOUNT_KEY", "a2V5"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

#[test]
fn a_policys_groups_come_first_and_tls_is_1_3() {
    let classical = [X25519, P384, P256];
    for (policy, hybrids) in [
        ("hybrid", &[0x11ec_u16, 0x11ed, 0x11eb][..]),
        ("cnsa2", &[0x11ed]),
        ("bsi", &[0x11ed, 0x11eb, 0x11ec]),
    ] {
        let expected = Hello {
            versions: vec![0x0304],
            groups: [hybrids, &classical].concat(),
            // A classical share beside it would tempt a store that can do the hybrid.
            shares: vec![hybrids[0]],
        };
        assert_eq!(offered(policy, "s3://bucket/key", s3), expected, "{policy}");
        assert_eq!(
            offered(policy, "az://container/key", azure),
            expected,
            "{policy}"
        );
    }
}

/// A store with these groups; whether the object was looked for, and how many classical connections
/// that was.
fn asked(groups: &[TlsGroup], fallback: Fallback) -> (bool, u64) {
    let certificates = self_signed(vec!["127.0.0.1".into()]).unwrap();
    let tls = server_config(
        provider(groups, fallback),
        certificates.certificate.as_bytes(),
        certificates.key.expose(),
    );
    let server = Server::start(Some(Arc::new(tls.unwrap())), |_| {
        answer("404 Not Found", &[], b"")
    });
    let policy = Policy::by_name("hybrid").unwrap();
    let root = certificates.root.as_bytes();
    let tls = store_config(policy.tls_groups(), Some(root)).unwrap();
    let client = Client::new(s3(&format!("https://{}", server.address)), tls).unwrap();
    let before = classical_connections();
    let location = client.locate("s3://bucket/key").unwrap();
    let opened = RemoteObject::open(&location).map(|_| ());
    let found = opened.unwrap_err().kind() == std::io::ErrorKind::NotFound;
    (found, classical_connections() - before)
}

#[test]
fn a_store_without_a_hybrid_is_used_and_counted() {
    assert_eq!(asked(&TlsGroup::ALL, Fallback::Disabled), (true, 0));
    assert_eq!(
        asked(&[TlsGroup::SecP384r1MlKem1024], Fallback::Enabled),
        (true, 0)
    );
    assert_eq!(asked(&[], Fallback::Enabled), (true, 1));
}
