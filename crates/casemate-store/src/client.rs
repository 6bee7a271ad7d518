//! Connections to object stores, by address.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use object_store::{
    BackoffConfig, ObjectStoreScheme, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder},
    azure::{MicrosoftAzure, MicrosoftAzureBuilder},
    gcp::{GoogleCloudStorage, GoogleCloudStorageBuilder},
    signer::Url,
};
use rustls::ClientConfig;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::{
    error::StoreError,
    http::{COPY_TIMEOUT, Connector, REQUEST_TIMEOUT},
    io_error::io_error,
    location::{Bucket, Location, Plain, Provider},
    profile,
    region::{Region, RegionalConnector},
    request::Requests,
    s3::S3,
};

/// Maximum number of retries after a transient failure, with growing pauses of about three seconds
/// in total.
const RETRIES: usize = 5;
/// No retry starts after this time.
const RETRY_TIMEOUT: Duration = Duration::from_mins(1);

/// Runs the requests of all clients. It lives as long as the process, so that an object can outlive
/// its client.
static RUNTIME: OnceLock<Runtime> = OnceLock::new();

/// A client for object stores, with one connection per bucket.
pub struct Client {
    handle: Handle,
    tls: Arc<ClientConfig>,
    settings: Vec<(String, String)>,
    /// Settings added from a profile in `~/.aws`, read when first needed.
    profile: OnceLock<Vec<(String, String)>>,
    buckets: Mutex<HashMap<String, Arc<Bucket>>>,
}

impl Client {
    /// Creates a client and starts the runtime for requests.
    ///
    /// `settings` are names and values as the providers' own tools read them from the environment:
    /// `AWS_ACCESS_KEY_ID`, `GOOGLE_APPLICATION_CREDENTIALS`, `AZURE_STORAGE_ACCOUNT_NAME` and so
    /// on; others are ignored. `HOME` locates AWS profiles. `tls` is the TLS configuration from
    /// `casemate_tls::store_config`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Runtime`].
    pub fn new(
        settings: impl IntoIterator<Item = (String, String)>,
        tls: ClientConfig,
    ) -> Result<Self, StoreError> {
        let runtime = if let Some(runtime) = RUNTIME.get() {
            runtime
        } else {
            let started = Builder::new_multi_thread()
                .worker_threads(2)
                .thread_name("casemate-store")
                .enable_all()
                .build()
                .map_err(StoreError::Runtime)?;
            RUNTIME.get_or_init(|| started)
        };
        Ok(Self {
            handle: runtime.handle().clone(),
            tls: Arc::new(tls),
            settings: settings.into_iter().collect(),
            profile: OnceLock::new(),
            buckets: Mutex::default(),
        })
    }

    /// Returns the object or prefix at an address: `s3://BUCKET/KEY`, `gs://BUCKET/KEY`,
    /// `az://CONTAINER/KEY` or an equivalent form.
    ///
    /// # Errors
    ///
    /// [`StoreError::Url`] or [`StoreError::Settings`]. No request is made.
    pub fn locate(&self, address: &str) -> Result<Location, StoreError> {
        let refused = |rule| StoreError::Url {
            url: without_credentials(address),
            rule,
        };
        let url = Url::parse(address).map_err(|_| refused("is not an address"))?;
        if !url.username().is_empty() && url.scheme() == "s3" || url.password().is_some() {
            return Err(refused(
                "contains credentials; set them in the environment instead",
            ));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refused("has a query or a fragment"));
        }
        let (scheme, path) = ObjectStoreScheme::parse(&url).map_err(|_| {
            refused("is not in a supported object store; use s3://, gs:// or az://")
        })?;
        let bucket = self.bucket(&url, &scheme, address)?;
        Ok(Location {
            bucket,
            is_prefix: address.ends_with('/') || path.as_ref().is_empty(),
            path,
            address: address.trim_end_matches('/').to_owned(),
        })
    }

    fn profile(&self) -> Result<&[(String, String)], StoreError> {
        if let Some(profile) = self.profile.get() {
            return Ok(profile);
        }
        let found = profile::settings(&self.settings)?;
        Ok(self.profile.get_or_init(|| found))
    }

    fn bucket(
        &self,
        url: &Url,
        scheme: &ObjectStoreScheme,
        address: &str,
    ) -> Result<Arc<Bucket>, StoreError> {
        let name = format!("{}://{}", url.scheme(), url.authority());
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = buckets.get(&name) {
            return Ok(Arc::clone(bucket));
        }
        // https addresses name the bucket in their path.
        let shared = url.scheme() != "https";
        let mut settings = self.settings.clone();
        if matches!(scheme, ObjectStoreScheme::AmazonS3) {
            // The environment takes precedence over the profile.
            settings.splice(0..0, self.profile()?.iter().cloned());
        }
        let bucket = connect(url, scheme, &settings, &self.tls, self.handle.clone());
        let bucket = Arc::new(bucket.map_err(|error| match error {
            Some(error) => StoreError::Settings {
                url: without_credentials(address),
                source: io_error(error),
            },
            None => StoreError::Url {
                url: without_credentials(address),
                rule: "is not in a supported object store; use s3://, gs:// or az://",
            },
        })?);
        if shared {
            buckets.insert(name, Arc::clone(&bucket));
        }
        Ok(bucket)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client(..)")
    }
}

/// Removes user, password and query from an address for display, even if the address cannot be
/// parsed.
fn without_credentials(address: &str) -> String {
    let plain = address.split(['?', '#']).next().unwrap_or_default();
    let shown = match plain.split_once("://") {
        Some((scheme, rest)) => match rest.rsplit_once('@') {
            Some((_, after)) => format!("{scheme}://{after}"),
            None => plain.to_owned(),
        },
        None => plain.to_owned(),
    };
    shown.escape_debug().to_string()
}

fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: RETRIES,
        retry_timeout: RETRY_TIMEOUT,
    }
}

fn is_true(settings: &[&(String, String)], wanted: &str) -> bool {
    settings.iter().any(|(name, value)| {
        // The values that the client accepts.
        let value = value.to_ascii_lowercase();
        name.eq_ignore_ascii_case(wanted)
            && matches!(value.as_str(), "1" | "true" | "on" | "yes" | "y")
    })
}

/// Refuses an endpoint without TLS that is not allowed; the client itself would only report
/// "builder error".
fn refuse_plain(settings: &[&(String, String)]) -> object_store::Result<()> {
    let endpoints = [
        ("AWS_ENDPOINT", "AWS_ALLOW_HTTP"),
        ("AWS_ENDPOINT_URL", "AWS_ALLOW_HTTP"),
        ("AWS_ENDPOINT_URL_S3", "AWS_ALLOW_HTTP"),
        ("GOOGLE_BASE_URL", "GOOGLE_ALLOW_HTTP"),
        ("AZURE_STORAGE_ENDPOINT", "AZURE_ALLOW_HTTP"),
        ("AZURE_ENDPOINT", "AZURE_ALLOW_HTTP"),
    ];
    for (endpoint, allow) in endpoints {
        let is_plain = settings.iter().any(|(name, value)| {
            name.eq_ignore_ascii_case(endpoint) && value.starts_with("http://")
        });
        if is_plain && !is_true(settings, allow) {
            let message =
                format!("{endpoint} is an address without TLS; to allow it, set {allow}=true");
            return Err(object_store::Error::Generic {
                store: "settings",
                source: message.into(),
            });
        }
    }
    Ok(())
}

/// Configures a builder with all settings. The builders have different setting types without a
/// common trait.
macro_rules! configured {
    ($builder:expr, $connector:expr, $settings:expr, $url:expr) => {
        $settings.iter().fold(
            $builder
                .with_http_connector($connector)
                .with_retry(retries())
                .with_url($url.as_str()),
            |builder, (name, value)| match name.to_ascii_lowercase().parse() {
                Ok(key) => builder.with_config(key, value),
                Err(_) => builder,
            },
        )
    };
}

/// Connects to a bucket; the error is `None` for an unsupported kind of object store.
fn connect(
    url: &Url,
    scheme: &ObjectStoreScheme,
    settings: &[(String, String)],
    tls: &Arc<ClientConfig>,
    handle: Handle,
) -> Result<Bucket, Option<object_store::Error>> {
    // The client would also accept `TOKEN`, `ENDPOINT` or `TIMEOUT`, which other programs may have
    // set in the environment.
    let prefix = match scheme {
        ObjectStoreScheme::AmazonS3 => "aws_",
        ObjectStoreScheme::GoogleCloudStorage => "google_",
        ObjectStoreScheme::MicrosoftAzure => "azure_",
        _ => return Err(None),
    };
    let settings: Vec<_> = settings
        .iter()
        // Ignore empty variables, as the providers' own tools do.
        .filter(|(name, value)| !value.is_empty() && name.to_ascii_lowercase().starts_with(prefix))
        .collect();
    refuse_plain(&settings).map_err(Some)?;
    // The local emulator uses plain HTTP.
    let allowed = [
        "AWS_ALLOW_HTTP",
        "GOOGLE_ALLOW_HTTP",
        "AZURE_ALLOW_HTTP",
        "AZURE_USE_EMULATOR",
        "AZURE_STORAGE_USE_EMULATOR",
    ];
    let http = Connector {
        tls: Arc::clone(tls),
        allow_http: allowed.iter().any(|name| is_true(&settings, name)),
        timeout: REQUEST_TIMEOUT,
    };
    let bucket = match scheme {
        ObjectStoreScheme::AmazonS3 => connect_s3(url, &settings, http, handle).map_err(Some)?,
        ObjectStoreScheme::GoogleCloudStorage => {
            let store = configured!(GoogleCloudStorageBuilder::new(), http, settings, url).build();
            let store = Arc::new(store.map_err(Some)?);
            Bucket {
                store: Arc::<GoogleCloudStorage>::clone(&store),
                pages: Arc::<GoogleCloudStorage>::clone(&store),
                multipart: store,
                provider: Box::new(Plain),
                handle,
            }
        }
        ObjectStoreScheme::MicrosoftAzure => {
            let store = configured!(MicrosoftAzureBuilder::new(), http, settings, url).build();
            let store = Arc::new(store.map_err(Some)?);
            Bucket {
                store: Arc::<MicrosoftAzure>::clone(&store),
                pages: Arc::<MicrosoftAzure>::clone(&store),
                multipart: store,
                provider: Box::new(Plain),
                handle,
            }
        }
        _ => return Err(None),
    };
    Ok(bucket)
}

fn connect_s3(
    url: &Url,
    settings: &[&(String, String)],
    http: Connector,
    handle: Handle,
) -> object_store::Result<Bucket> {
    let region = Arc::<Region>::default();
    let connector = RegionalConnector {
        http: http.clone(),
        region: Arc::clone(&region),
    };
    let store = Arc::new(configured!(AmazonS3Builder::new(), connector, settings, url).build()?);
    region.sign_with(store.credentials());
    let copying = Connector {
        timeout: COPY_TIMEOUT,
        ..http
    };
    // An https address does not show which part of it is the bucket, which a copy must name.
    let provider: Box<dyn Provider> = if url.scheme() == "https" {
        Box::new(Plain)
    } else {
        Box::new(S3 {
            bucket: url.host_str().unwrap_or_default().to_owned(),
            requests: Requests {
                store: Arc::clone(&store),
                http: region.client(&copying)?,
            },
        })
    };
    Ok(Bucket {
        store: Arc::<AmazonS3>::clone(&store),
        pages: Arc::<AmazonS3>::clone(&store),
        multipart: store,
        provider,
        handle,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_in_an_address_are_not_shown() {
        for (address, shown) in [
            ("s3://AKIA:SE/CRET@models/x", "s3://models/x"),
            (
                "https://a.example/c/k?sv=1&sig=SECRET",
                "https://a.example/c/k",
            ),
            ("s3://models/x", "s3://models/x"),
        ] {
            assert_eq!(without_credentials(address), shown);
        }
    }
}
