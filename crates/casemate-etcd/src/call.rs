//! Requests to whichever member of the cluster answers.

use std::{cell::Cell, time::Duration};

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
/// How often all members are asked.
const ROUNDS: usize = 3;
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
    /// No member is named.
    #[error("no etcd member is named")]
    NoEndpoint,
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
    /// It is not known whether a change was made.
    #[error("etcd did not say whether the change was made; look before you try again")]
    Unknown,
    /// The answer is not one of etcd.
    #[error("the answer of {url} is not one of etcd")]
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
    pub(crate) fn call<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        kind: Kind,
    ) -> Result<T, EtcdError> {
        let body = serde_json::to_vec(body).map_err(|_| EtcdError::Unknown)?;
        let mut failed = EtcdError::NoEndpoint;
        for _ in 0..self.urls.len().saturating_mul(ROUNDS) {
            let at = self.current.get();
            let Some(url) = self.urls.get(at) else {
                self.current.set(0);
                continue;
            };
            match self.ask(url, path, body.clone()) {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    self.current.set(at.saturating_add(1));
                    let is_certain = matches!(
                        error,
                        EtcdError::Unreachable {
                            source: ClientError::Connect(_),
                            ..
                        }
                    );
                    match &error {
                        EtcdError::Unreachable { .. } if is_certain => {}
                        EtcdError::Refused { text, .. } if !is_transient(text) => {
                            return Err(error);
                        }
                        _ if kind == Kind::Once => return Err(EtcdError::Unknown),
                        _ => {}
                    }
                    failed = error;
                }
            }
        }
        Err(failed)
    }

    fn ask<T: DeserializeOwned>(
        &self,
        url: &Url,
        path: &str,
        body: Vec<u8>,
    ) -> Result<T, EtcdError> {
        let shown = || url.to_string();
        let malformed = || EtcdError::Malformed { url: shown() };
        let uri = url.join(path).map_err(|_| malformed())?;
        let request = Request::post(uri.as_str())
            .header(CONTENT_TYPE, "application/json")
            .body(body)
            .map_err(|_| malformed())?;
        let answer = self.client.send(request);
        let answer = answer.map_err(|source| EtcdError::Unreachable {
            url: shown(),
            source,
        })?;
        let content = answer.content.expose();
        if answer.status == StatusCode::OK {
            return serde_json::from_slice(content).map_err(|_| malformed());
        }
        let failure: Failure = serde_json::from_slice(content).unwrap_or_default();
        let text = if failure.message.is_empty() {
            failure.error
        } else {
            failure.message
        };
        let text = if text.is_empty() {
            format!("HTTP status {}", answer.status)
        } else {
            text.chars().take(TEXT_CHARS_MAX).collect()
        };
        Err(EtcdError::Refused { url: shown(), text })
    }
}

/// Whether another member, or the same one later, may answer.
fn is_transient(text: &str) -> bool {
    [
        "request timed out",
        "no leader",
        "leader changed",
        "not leader",
        "too many requests",
        "server stopped",
        "not healthy",
        "HTTP status 5",
    ]
    .iter()
    .any(|sign| text.contains(sign))
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
