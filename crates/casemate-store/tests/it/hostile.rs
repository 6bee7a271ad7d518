//! Stores that lie, and stores that want credentials sent elsewhere.

use std::{
    io::ErrorKind,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
};

use casemate_seal::{ReadAt, folder::RelativePath};
use casemate_store::{RemoteObject, list, list_sealed};

use crate::support::{Seen, Server, answer, plain, s3};

const CONTENT: &[u8] = b"0123456789abcdef";
const ETAG: &str = "\"one\"";
const DATE: &str = "Sun, 29 Nov 2026 12:00:00 GMT";

/// What a store says of the object.
fn headers(etag: &str) -> [(&str, &str); 2] {
    [("etag", etag), ("last-modified", DATE)]
}

fn is_head(seen: &Seen) -> bool {
    seen.line.starts_with("HEAD ")
}

fn head(len: usize) -> Vec<u8> {
    let len = len.to_string();
    let headers = [
        headers(ETAG).as_slice(),
        &[("content-length", len.as_str())],
    ]
    .concat();
    answer("200 OK", &headers, b"")
}

/// The part of the content that a request asks for.
fn part(
    seen: &Seen,
    etag: &str,
    change: impl Fn(Vec<u8>) -> Vec<u8>,
    range: Option<&str>,
) -> Vec<u8> {
    let asked = seen.header("range").unwrap();
    let (first, last) = asked
        .strip_prefix("bytes=")
        .unwrap()
        .split_once('-')
        .unwrap();
    let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
    let body = change(CONTENT[first..=last].to_vec());
    let said = format!("bytes {first}-{last}/{}", CONTENT.len());
    let range = range.unwrap_or(&said);
    let headers = [headers(etag).as_slice(), &[("content-range", range)]].concat();
    answer("206 Partial Content", &headers, &body)
}

/// Reads four bytes of an object whose store answers ranges so.
fn read_from(get: impl Fn(&Seen) -> Vec<u8> + Send + Sync + 'static) -> std::io::Result<Vec<u8>> {
    let server = Server::start(None, move |seen| {
        if is_head(seen) {
            head(CONTENT.len())
        } else {
            get(seen)
        }
    });
    let client = plain(s3(&format!("http://{}", server.address)));
    let object = RemoteObject::open(
        &client
            .locate("s3://bucket/key")
            .map_err(std::io::Error::other)?,
    )?;
    let mut out = vec![0; 4];
    object.read_exact_at(&mut out, 4)?;
    Ok(out)
}

#[test]
fn a_range_is_what_was_asked_for_and_of_the_version_that_was_opened() {
    let good = read_from(|seen| part(seen, ETAG, |body| body, None)).unwrap();
    assert_eq!(good, b"4567");
    read_from(|seen| part(seen, "\"two\"", |body| body, None)).unwrap_err();
    read_from(|seen| part(seen, ETAG, |body| body[1..].to_vec(), None)).unwrap_err();
    read_from(|seen| part(seen, ETAG, |body| [&body[..], b"more"].concat(), None)).unwrap_err();
    read_from(|seen| part(seen, ETAG, |body| body, Some("bytes 8-11/16"))).unwrap_err();
    read_from(|seen| part(seen, ETAG, |body| body, Some("bytes 4-7/999"))).unwrap_err();
    read_from(|_| answer("200 OK", &headers(ETAG), CONTENT)).unwrap_err();
    read_from(|_| answer("206 Partial Content", &headers(ETAG), b"4567")).unwrap_err();
}

#[test]
fn an_answer_without_an_end_is_cut_off() {
    // Chunks for as long as somebody reads, many times what was asked for.
    let endless = || {
        let mut out = b"HTTP/1.1 206 Partial Content\r\ntransfer-encoding: chunked\r\n".to_vec();
        out.extend(format!("etag: {ETAG}\r\nlast-modified: {DATE}\r\n").bytes());
        out.extend(b"content-range: bytes 4-7/16\r\n\r\n");
        let chunk = vec![b'x'; 1 << 20];
        for _ in 0..64 {
            out.extend(b"100000\r\n");
            out.extend(&chunk);
            out.extend(b"\r\n");
        }
        out
    };
    // The client wants to know the length beforehand; what it says is not believed, see above.
    let refused = read_from(move |_| endless()).unwrap_err();
    assert!(refused.to_string().contains("Content-Length"), "{refused}");
    let server = Server::start(None, |_| {
        answer(
            "200 OK",
            &[("content-type", "application/xml")],
            &vec![b' '; 40 << 20],
        )
    });
    let client = plain(s3(&format!("http://{}", server.address)));
    let refused = list(&client.locate("s3://bucket/a/").unwrap(), 10).unwrap_err();
    let shown = format!("{refused:?}");
    assert!(shown.contains("LengthLimit"), "{shown}");
}

fn page(keys: &[&str], next: Option<&str>) -> Vec<u8> {
    use std::fmt::Write as _;
    let mut xml = "<ListBucketResult>".to_owned();
    for key in keys {
        _ = write!(
            xml,
            "<Contents><Key>{key}</Key><LastModified>2026-11-29T12:00:00.000Z</LastModified><Size>1</Size><ETag>x</ETag></Contents>"
        );
    }
    if let Some(next) = next {
        _ = write!(
            xml,
            "<IsTruncated>true</IsTruncated><NextContinuationToken>{next}</NextContinuationToken>"
        );
    }
    xml.push_str("</ListBucketResult>");
    answer("200 OK", &[], xml.as_bytes())
}

#[test]
fn a_listing_that_goes_on_for_ever_is_given_up() {
    let number = AtomicUsize::new(0);
    let growing = Server::start(None, move |_| {
        let token = number.fetch_add(1, Ordering::Relaxed).to_string();
        page(&[], Some(&token))
    });
    let stuck = Server::start(None, |_| page(&["a/x"], Some("same")));
    let number = AtomicUsize::new(0);
    let many = Server::start(None, move |_| {
        let at = number.fetch_add(1, Ordering::Relaxed);
        page(&[&format!("a/{at}")], Some(&at.to_string()))
    });
    for (server, words) in [
        (growing, "makes no progress"),
        (stuck, "makes no progress"),
        (many, "more than 50 objects"),
    ] {
        let client = plain(s3(&format!("http://{}", server.address)));
        let refused = list(&client.locate("s3://bucket/a/").unwrap(), 50).unwrap_err();
        assert!(refused.to_string().contains(words), "{refused}");
        assert!(server.requests().len() <= 102);
    }
}

#[test]
fn names_in_a_listing_lead_nowhere() {
    let names = [
        "a/../../etc/passwd.sealed",
        "a/..",
        "a/./x.sealed",
        "a//x.sealed",
        "a/&#9;x.sealed",
        "a/&#x202e;x.sealed",
        "b/elsewhere.sealed",
        "/a/x.sealed",
    ];
    for name in names {
        let server = Server::start(None, move |_| page(&["a/good.sealed", name], None));
        let client = plain(s3(&format!("http://{}", server.address)));
        let prefix = client.locate("s3://bucket/a/").unwrap();
        // Refused by the client, or by the rule for names before anything is joined; never another
        // object than one below the prefix.
        let Ok(found) = list(&prefix, 10) else {
            continue;
        };
        for path in &found {
            let joined = Path::new("/root").join(path);
            if RelativePath::new(path).is_ok() {
                assert!(joined.starts_with("/root"), "{name}: {path}");
                assert!(!path.contains(".."), "{name}: {path}");
            }
        }
        for object in list_sealed(&prefix, 10).unwrap_or_default() {
            assert!(
                object.address().starts_with("s3://bucket/a/"),
                "{name}: {object}"
            );
        }
    }
}

/// Settings for a store of a kind, and an address in it.
type Store = (&'static str, fn(&str) -> Vec<(String, String)>);

fn azure(endpoint: &str) -> Vec<(String, String)> {
    [
        ("AZURE_STORAGE_ENDPOINT", endpoint),
        ("AZURE_ALLOW_HTTP", "true"),
        ("AZURE_STORAGE_ACCOUNT_NAME", "account"),
        ("AZURE_STORAGE_ACCOUNT_KEY", "a2V5"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

fn google(endpoint: &str) -> Vec<(String, String)> {
    [
        ("GOOGLE_BASE_URL", endpoint),
        ("GOOGLE_ALLOW_HTTP", "true"),
        ("GOOGLE_SKIP_SIGNATURE", "true"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

const STORES: [Store; 3] = [
    ("s3://bucket/key", s3),
    ("az://container/key", azure),
    ("gs://bucket/key", google),
];

#[test]
fn no_request_follows_a_redirect_to_another_place() {
    for (address, settings) in STORES {
        for status in [
            "301 Moved Permanently",
            "302 Found",
            "303 See Other",
            "307 Temporary Redirect",
            "308 Permanent Redirect",
        ] {
            let thief = Server::start(None, |_| answer("404 Not Found", &[], b""));
            let place = format!("http://{}/stolen", thief.address);
            let server = Server::start(None, move |_| {
                answer(
                    status,
                    &[("location", &place), ("x-amz-bucket-region", "eu-west-3")],
                    b"",
                )
            });
            let client = plain(settings(&format!("http://{}", server.address)));
            let location = client.locate(address).unwrap();
            let refused = RemoteObject::open(&location).map(|_| ()).unwrap_err();
            assert_ne!(refused.kind(), ErrorKind::NotFound, "{address} {status}");
            list(&client.locate(&address.replace("key", "a/")).unwrap(), 10).unwrap_err();
            assert!(thief.requests().is_empty(), "{address} {status}");
            let asked = server.requests();
            assert!(!asked.is_empty());
            // What would have gone there: that it is sent to the store shows that this test sees
            // it.
            if address.starts_with("s3") {
                assert_eq!(
                    asked[0].header("x-amz-security-token"),
                    Some("session-token")
                );
            }
        }
    }
}
