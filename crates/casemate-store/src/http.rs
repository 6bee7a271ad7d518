//! The HTTP client of all stores: TLS by policy, and no redirects.
//!
//! The client that `object_store` would make offers X25519 first, speaks TLS 1.2, and follows a redirect to any host with the credentials in its
//! headers.

use std::{sync::Arc, time::Duration};

use object_store::{
    ClientOptions,
    client::{HttpClient, HttpConnector},
};
use reqwest::redirect::Policy;
use rustls::ClientConfig;

/// A request with its answer must end in this time; the largest carries one part.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_mins(2);
/// The store copies a part by itself while we wait.
pub(crate) const COPY_TIMEOUT: Duration = Duration::from_mins(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes clients; their options are ours, not those of a builder.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) allow_http: bool,
    pub(crate) timeout: Duration,
}

impl Connector {
    pub(crate) fn client(&self) -> object_store::Result<HttpClient> {
        let built = reqwest::Client::builder()
            .tls_backend_preconfigured(ClientConfig::clone(&self.tls))
            .https_only(!self.allow_http)
            .redirect(Policy::none())
            .timeout(self.timeout)
            .connect_timeout(CONNECT_TIMEOUT)
            .referer(false)
            .user_agent(concat!("casemate/", env!("CARGO_PKG_VERSION")))
            .build();
        let client = built.map_err(|error| object_store::Error::Generic {
            store: "HTTP client",
            source: error.into(),
        })?;
        Ok(HttpClient::new(client))
    }
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        self.client()
    }
}
