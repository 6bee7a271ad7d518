//! Requests to whichever member of the cluster answers.

use std::{
    cell::Cell,
    thread,
    time::{Duration, Instant},
};

use casemate_client::{ClientError, HttpClient, Limits};
use casemate_keys::EngineError;
use http::{Request, StatusCode, header::CONTENT_TYPE};
use rustls::ClientConfig;
use serde::{Serialize, de::DeserializeOwned};
use url::{Host, Url};

use crate::api::Failure;

/// Maximum time for a connection to a member.
const CONNECT_PATIENCE: Duration = Duration::from_millis(800);
/// Maximum time for an answer of a member. One without a majority would answer later.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longest answer, in bytes: a page of the longest values.
const ANSWER_BYTES_MAX: usize = 128 << 20;
/// Maximum time for an answer of any member: longer than one needs to give up its leader.
const PATIENCE_ALL: Duration = Duration::from_secs(8);
/// Pause after all members were asked.
const PAUSE: Duration = Duration::from_millis(100);
/// The code of gRPC for a revision that was compacted.
const OUT_OF_RANGE: u32 = 11;
/// The other codes of gRPC with which nothing was done: invalid argument, not found, permission
/// denied, resource exhausted, failed precondition, unimplemented, unauthenticated.
const CERTAIN: [u32; 7] = [3, 5, 7, 8, 9, 12, 16];
/// Longest text of etcd in an error, in characters.
const TEXT_CHARS_MAX: usize = 200;

/// Why etcd was not used.
#[derive(Debug, thiserror::Error)]
pub enum EtcdError {
    /// An address is not one of a member.
    #[error(
        "`{0}` is not the address of an etcd member: it must be `https://HOST:PORT`, or `http://` on this machine"
    )]
    Url(String),
    /// No member was given.
    #[error("no etcd member was given")]
    NoEndpoint,
    /// The prefix is not valid.
    #[error("the prefix `{0}` must be 1 to 64 printable ASCII characters and end in `/`")]
    Prefix(String),
    /// The client could not be started.
    #[error(transparent)]
    Start(ClientError),
    /// No member answers.
    #[error("no etcd member answers; the last one asked was {url}")]
    Unreachable {
        /// The last one asked.
        url: String,
        /// Why.
        #[source]
        source: ClientError,
    },
    /// A member refused.
    #[error("etcd at {url} refused: {text}")]
    Refused {
        /// Which one.
        url: String,
        /// What it said.
        text: String,
    },
    /// A member refused something that is too old to be read.
    #[error("etcd has removed the revision that was being read")]
    Compacted,
    /// It is not known whether a change was made.
    #[error("no answer from etcd: the change may have been made")]
    Unknown,
    /// The answer is not one of etcd.
    #[error("malformed answer from etcd at {url}")]
    Malformed {
        /// Which one.
        url: String,
    },
}

impl From<EtcdError> for EngineError {
    fn from(error: EtcdError) -> Self {
        match error {
            EtcdError::Refused { text, .. } if text.contains("database space exceeded") => {
                Self::Full
            }
            EtcdError::Compacted => Self::Conflict,
            EtcdError::Unknown => Self::Unknown,
            other => Self::Storage(Box::new(other)),
        }
    }
}

/// Whether a request may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Repeating it changes nothing.
    Repeatable,
    /// It may have been done although no answer arrived.
    Once,
}

/// The members of a cluster.
#[derive(Debug)]
pub(crate) struct Members {
    client: HttpClient,
    urls: Vec<Url>,
    /// The one that answered last.
    current: Cell<usize>,
}

impl Members {
    pub(crate) fn new(endpoints: &[String], tls: ClientConfig) -> Result<Self, EtcdError> {
        let urls = endpoints.iter().map(|text| url_of(text));
        let urls: Vec<_> = urls.collect::<Result<_, _>>()?;
        if urls.is_empty() {
            return Err(EtcdError::NoEndpoint);
        }
        let limits = Limits {
            connect: CONNECT_PATIENCE,
            answer: PATIENCE,
            answer_bytes: ANSWER_BYTES_MAX,
        };
        Ok(Self {
            client: HttpClient::new(tls, limits).map_err(EtcdError::Start)?,
            urls,
            current: Cell::new(0),
        })
    }

    /// Sends a request to one member after the other, until one answers.
    #[expect(clippy::disallowed_methods, reason = "waits are bounded together")]
    pub(crate) fn call<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        kind: Kind,
    ) -> Result<T, EtcdError> {
        let body = serde_json::to_vec(body).map_err(|_| EtcdError::Unknown)?;
        let started = Instant::now();
        loop {
            let at = self.current.get();
            let Some(url) = self.urls.get(at) else {
                self.current.set(0);
                thread::sleep(PAUSE);
                continue;
            };
            let failed = match self.ask(url, path, body.clone()) {
                Ok(answer) => return Ok(answer),
                Err(Failed::Certain(error)) => return Err(error),
                Err(Failed::NotSent(error)) => error,
                Err(Failed::Uncertain(error)) if kind == Kind::Repeatable => error,
                Err(Failed::Uncertain(_)) => return Err(EtcdError::Unknown),
            };
            self.current.set(at.saturating_add(1));
            if started.elapsed() >= PATIENCE_ALL {
                return Err(failed);
            }
        }
    }

    fn ask<T: DeserializeOwned>(&self, url: &Url, path: &str, body: Vec<u8>) -> Result<T, Failed> {
        let shown = || url.to_string();
        let malformed = || EtcdError::Malformed { url: shown() };
        let uri = url.join(path);
        let uri = uri.map_err(|_| Failed::Certain(malformed()))?;
        let request = Request::post(uri.as_str())
            .header(CONTENT_TYPE, "application/json")
            .body(body)
            .map_err(|_| Failed::Certain(malformed()))?;
        let answer = self.client.send(request).map_err(|source| {
            let is_certain = matches!(source, ClientError::Connect(_));
            let error = EtcdError::Unreachable {
                url: shown(),
                source,
            };
            if is_certain {
                Failed::NotSent(error)
            } else {
                Failed::Uncertain(error)
            }
        })?;
        let content = answer.content.expose();
        if answer.status == StatusCode::OK {
            let read = serde_json::from_slice(content);
            return read.map_err(|_| Failed::Uncertain(malformed()));
        }
        Err(failure(url, answer.status, content))
    }
}

/// Why a member did not do what it was asked for.
enum Failed {
    /// It refused, and so would any other.
    Certain(EtcdError),
    /// It was not asked.
    NotSent(EtcdError),
    /// It may have done it.
    Uncertain(EtcdError),
}

/// Reads what a member says instead of an answer. By the code of gRPC, some refusals are certain;
/// all others may come from a member that stops or loses its leader.
fn failure(url: &Url, status: StatusCode, content: &[u8]) -> Failed {
    let failure: Failure = serde_json::from_slice(content).unwrap_or_default();
    let text = if failure.message.is_empty() {
        failure.error
    } else {
        failure.message
    };
    let text = if text.is_empty() {
        format!("HTTP status {status}; is this a client port?")
    } else {
        text.chars().take(TEXT_CHARS_MAX).collect()
    };
    let url = url.to_string();
    match failure.code {
        OUT_OF_RANGE => Failed::Certain(EtcdError::Compacted),
        code if CERTAIN.contains(&code) => Failed::Certain(EtcdError::Refused { url, text }),
        _ => Failed::Uncertain(EtcdError::Refused { url, text }),
    }
}

fn url_of(text: &str) -> Result<Url, EtcdError> {
    let bad = || EtcdError::Url(text.chars().take(200).collect());
    let url = Url::parse(text).map_err(|_| bad())?;
    let is_plain = url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    let is_here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return Err(bad()),
    };
    let is_permitted = url.scheme() == "https" || (url.scheme() == "http" && is_here);
    if is_plain && is_permitted {
        Ok(url)
    } else {
        Err(bad())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_elsewhere_need_tls() {
        for good in [
            "https://etcd-1.example.org:2379",
            "http://127.0.0.1:2379",
            "http://[::1]:2379",
            "http://localhost:2379/",
        ] {
            url_of(good).unwrap();
        }
        for bad in [
            "",
            "etcd-1:2379",
            "http://etcd-1.example.org:2379",
            "http://10.0.0.1:2379",
            "https://user:word@etcd-1:2379",
            "https://etcd-1:2379/v3",
            "https://etcd-1:2379/?a",
            "unix:///run/etcd",
        ] {
            url_of(bad).unwrap_err();
        }
    }
}
