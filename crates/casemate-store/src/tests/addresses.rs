//! Addresses as users write them, and the settings that a client takes.

use std::path::Path;

use casemate_crypto::policy::Policy;

use crate::{Client, StoreError, is_address, journal_name, local_path};

fn client(settings: &[(&str, &str)]) -> Client {
    let policy = Policy::by_name("hybrid").unwrap();
    let tls = casemate_tls::store_config(policy.tls_groups(), None).unwrap();
    let settings = settings
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Client::new(settings.collect::<Vec<_>>(), tls).unwrap()
}

const KEYS: [(&str, &str); 3] = [
    ("AWS_ACCESS_KEY_ID", "AKIA"),
    ("AWS_SECRET_ACCESS_KEY", "secret"),
    ("AWS_REGION", "eu-west-3"),
];

#[test]
fn an_address_has_a_scheme_and_anything_else_is_a_path() {
    for address in ["s3://b/k", "gs://b", "az://c/k", "https://h/b", "x1://"] {
        assert!(is_address(address), "{address}");
    }
    for path in [
        "model",
        "./s3://b/k",
        "/s3://b",
        "s3:/b/k",
        "://b",
        "a b://c",
        "",
    ] {
        assert!(!is_address(path), "{path}");
    }
}

#[test]
fn a_file_address_is_a_local_path() {
    assert_eq!(
        local_path("file:///a/b").as_deref(),
        Some(Path::new("/a/b"))
    );
    assert_eq!(
        local_path("file:///a%20b").as_deref(),
        Some(Path::new("/a b"))
    );
    for other in ["s3://b/k", "/a/b", "file://host/a", ""] {
        assert_eq!(local_path(other), None, "{other}");
    }
}

#[test]
fn an_object_and_a_prefix_are_told_apart_by_the_slash() {
    let client = client(&KEYS);
    let object = client.locate("s3://bucket/models/x.sealed").unwrap();
    assert!(!object.is_prefix());
    assert_eq!(object.address(), "s3://bucket/models/x.sealed");
    assert_eq!(object.to_string(), object.address());
    assert_eq!(object.above().address(), "s3://bucket/models");
    for prefix in ["s3://bucket/models/", "s3://bucket", "s3://bucket/"] {
        let location = client.locate(prefix).unwrap();
        assert!(location.is_prefix(), "{prefix}");
        assert_eq!(location.address(), prefix.trim_end_matches('/'));
    }
    let below = client
        .locate("s3://bucket/models/")
        .unwrap()
        .join("v1/x.sealed");
    assert_eq!(below.unwrap().address(), "s3://bucket/models/v1/x.sealed");
}

#[test]
fn names_that_no_store_takes_are_refused() {
    let prefix = client(&KEYS).locate("s3://bucket/models/").unwrap();
    for name in ["..", "a/../b", ".", "a//b"] {
        let refused = prefix.join(name).map(|at| at.address().to_owned());
        let kind = refused.as_ref().map_err(std::io::Error::kind);
        assert_eq!(kind, Err(std::io::ErrorKind::InvalidInput), "{name}");
    }
}

#[test]
fn a_journal_has_a_name_of_its_own_for_each_address() {
    let client = client(&KEYS);
    let name = |address: &str| journal_name(&client.locate(address).unwrap());
    let first = name("s3://bucket/a");
    assert_eq!(first, name("s3://bucket/a"));
    assert_ne!(first, name("s3://bucket/b"));
    let (digits, ending) = first.split_once('.').unwrap();
    assert_eq!((digits.len(), ending), (64, "json"));
    assert!(digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
}

#[test]
fn addresses_with_credentials_or_other_parts_are_refused_and_not_repeated() {
    let client = client(&KEYS);
    for (address, rule) in [
        ("s3://AKIA:SECRET@bucket/k", "contains credentials"),
        ("s3://AKIA@bucket/k", "contains credentials"),
        ("https://h/b/k?sig=SECRET", "has a query or a fragment"),
        ("s3://bucket/k#SECRET", "has a query or a fragment"),
        ("ftp://bucket/k", "is not in a supported object store"),
        ("memory://bucket/k", "is not in a supported object store"),
        ("http://127.0.0.1/b/k", "is not in a supported object store"),
        ("s3://", "is not in a supported object store"),
        ("://", "is not an address"),
    ] {
        let refused = client.locate(address).map(|at| at.to_string()).unwrap_err();
        assert!(
            matches!(refused, StoreError::Url { .. }),
            "{address}: {refused}"
        );
        let text = refused.to_string();
        assert!(text.contains(rule), "{address}: {text}");
        assert!(!text.contains("SECRET"), "{text}");
    }
}

#[test]
fn an_endpoint_without_tls_needs_permission() {
    for (endpoint, allow, address) in [
        ("AWS_ENDPOINT_URL", "AWS_ALLOW_HTTP", "s3://b/k"),
        ("AWS_ENDPOINT", "AWS_ALLOW_HTTP", "s3://b/k"),
        ("AWS_ENDPOINT_URL_S3", "AWS_ALLOW_HTTP", "s3://b/k"),
        ("AZURE_STORAGE_ENDPOINT", "AZURE_ALLOW_HTTP", "az://c/k"),
    ] {
        let azure = [
            ("AZURE_STORAGE_ACCOUNT_NAME", "a"),
            ("AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0"),
        ];
        let base = [&KEYS[..], &azure, &[(endpoint, "http://127.0.0.1:9000")]].concat();
        let refused = client(&base).locate(address).map(|at| at.to_string());
        let Err(StoreError::Settings { source, .. }) = refused else {
            panic!("{endpoint}: {refused:?}");
        };
        let said = source.to_string();
        let rule = format!("{endpoint} is an address without TLS; to allow it, set {allow}=true");
        assert!(said.contains(&rule), "{said}");
        for value in ["true", "1", "YES", "on"] {
            client(&[&base[..], &[(allow, value)]].concat())
                .locate(address)
                .unwrap();
        }
        for value in ["false", "0", "", "no", "tru"] {
            let settings = [&base[..], &[(allow, value)]].concat();
            let refused = client(&settings).locate(address).map(drop);
            assert!(
                matches!(refused, Err(StoreError::Settings { .. })),
                "{value}"
            );
        }
    }
}

#[test]
fn settings_of_other_programs_are_not_taken() {
    // The client's own parser takes these names without a prefix.
    let foreign = [
        ("ENDPOINT", "http://evil.example"),
        ("TOKEN", "x"),
        ("REGION", "x"),
        ("TIMEOUT", "not a time"),
    ];
    client(&[&KEYS[..], &foreign].concat())
        .locate("s3://b/k")
        .unwrap();
}

#[test]
fn a_client_shows_nothing_of_its_settings() {
    let shown = format!("{:?}", client(&KEYS));
    assert_eq!(shown, "Client(..)");
}
