//! A store of the test's own: one thread, one answer for each request.

use std::{
    io::{BufRead as _, BufReader, Read, Write},
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, channel},
    },
    thread,
};

use casemate_store::Client;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Method and target.
    pub(crate) line: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }
}

/// A server that answers what it is told to.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Receiver<Seen>,
}

type Answer = dyn Fn(&Seen) -> Vec<u8> + Send + Sync;

impl Server {
    pub(crate) fn start(
        tls: Option<Arc<ServerConfig>>,
        answer: impl Fn(&Seen) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, seen) = channel();
        let answer: Arc<Answer> = Arc::new(answer);
        let sender = Arc::new(Mutex::new(sender));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let (answer, sender, tls) = (Arc::clone(&answer), Arc::clone(&sender), tls.clone());
                thread::spawn(move || {
                    let tell = |seen| _ = sender.lock().unwrap().send(seen);
                    match tls {
                        None => serve(stream, &*answer, &tell),
                        Some(config) => {
                            let session = ServerConnection::new(config).unwrap();
                            serve(StreamOwned::new(session, stream), &*answer, &tell);
                        }
                    }
                });
            }
        });
        Self { address, seen }
    }

    /// Every request so far.
    pub(crate) fn requests(&self) -> Vec<Seen> {
        self.seen.try_iter().collect()
    }
}

/// Answers requests until the peer goes.
fn serve(stream: impl Read + Write, answer: &Answer, tell: &dyn Fn(Seen)) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            match stream.read_line(&mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) => (),
            }
            if line.trim_end().is_empty() {
                break;
            }
            lines.push(line.trim_end().to_owned());
        }
        let mut lines = lines.into_iter();
        let line = lines.next().unwrap_or_default();
        let headers: Vec<_> = lines
            .filter_map(|line| {
                let (name, value) = line.split_once(':')?;
                Some((name.to_ascii_lowercase(), value.trim().to_owned()))
            })
            .collect();
        let seen = Seen { line, headers };
        let len: u64 = seen
            .header("content-length")
            .map_or(0, |len| len.parse().unwrap());
        std::io::copy(&mut (&mut stream).take(len), &mut std::io::sink()).unwrap();
        tell(seen.clone());
        let answer = answer(&seen);
        let sent = stream.get_mut().write_all(&answer);
        if sent.and_then(|()| stream.get_mut().flush()).is_err() {
            return;
        }
    }
}

/// An answer with these headers and this body.
pub(crate) fn answer(status: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 {status}\r\n");
    for (name, value) in headers {
        out.push_str(&format!("{name}: {value}\r\n"));
    }
    if !headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("content-length"))
    {
        out.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    out.push_str("\r\n");
    [out.as_bytes(), body].concat()
}

/// Settings for S3 at an address.
pub(crate) fn s3(endpoint: &str) -> Vec<(String, String)> {
    [
        ("AWS_ENDPOINT", endpoint),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_SESSION_TOKEN", "session-token"),
        ("AWS_REGION", "us-east-1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

/// A client without TLS.
pub(crate) fn plain(settings: Vec<(String, String)>) -> Client {
    let policy = casemate_crypto::policy::Policy::by_name("hybrid").unwrap();
    let tls = casemate_tls::store_config(policy.tls_groups(), None).unwrap();
    Client::new(settings, tls).unwrap()
}
