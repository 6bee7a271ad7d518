//! S3 buckets in a different region than the settings say.
//!
//! S3 answers such a request with a redirect that names the bucket's region. The redirect is not
//! followed. Instead, the request is signed again for that region and sent to the same provider's
//! endpoint for it, never to a host named in the response.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use http::{Request, StatusCode, Uri};
use object_store::{
    ClientOptions,
    aws::{AwsAuthorizer, AwsCredentialProvider},
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    },
};

use crate::http::Connector;

const NAMED_REGION: &str = "x-amz-bucket-region";
const REGION_BYTES_MAX: usize = 32;
const DOMAINS: [&str; 2] = ["amazonaws.com", "amazonaws.com.cn"];

/// The known region of a bucket, shared by its clients.
#[derive(Debug, Default)]
pub(crate) struct Region {
    credentials: OnceLock<AwsCredentialProvider>,
    /// The region that S3 named.
    named: OnceLock<String>,
}

impl Region {
    /// Sets the credentials for signing again.
    pub(crate) fn sign_with(&self, credentials: &AwsCredentialProvider) {
        _ = self.credentials.set(Arc::clone(credentials));
    }

    /// Returns a client that finds the bucket's region.
    pub(crate) fn client(self: &Arc<Self>, http: &Connector) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Regional {
            http: http.client()?,
            region: Arc::clone(self),
        }))
    }
}

/// Creates such clients for a builder.
#[derive(Debug)]
pub(crate) struct RegionalConnector {
    pub(crate) http: Connector,
    pub(crate) region: Arc<Region>,
}

impl HttpConnector for RegionalConnector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        self.region.client(&self.http)
    }
}

#[derive(Debug)]
struct Regional {
    http: HttpClient,
    region: Arc<Region>,
}

#[async_trait]
impl HttpService for Regional {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let known = self.region.named.get();
        if let Some(anew) = self.signed_anew(&request, known).await? {
            return self.http.execute(anew).await;
        }
        let again = request.clone();
        let answer = self.http.execute(request).await?;
        let Some(named) = named_region(&answer) else {
            return Ok(answer);
        };
        match self.signed_anew(&again, Some(&named)).await? {
            Some(anew) => {
                _ = self.region.named.set(named);
                self.http.execute(anew).await
            }
            None => Ok(answer),
        }
    }
}

impl Regional {
    /// Returns the request signed for another region; `None` if it does not go to Amazon S3, or
    /// already goes to that region.
    async fn signed_anew(
        &self,
        request: &HttpRequest,
        region: Option<&String>,
    ) -> Result<Option<HttpRequest>, HttpError> {
        let (Some(region), Some(credentials)) = (region, self.region.credentials.get()) else {
            return Ok(None);
        };
        let Some(uri) = moved(request.uri(), region) else {
            return Ok(None);
        };
        let credential = credentials
            .get_credential()
            .await
            .map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
        let mut anew: Request<_> = request.clone();
        *anew.uri_mut() = uri;
        let signed = AwsAuthorizer::new(&credential, "s3", region).try_authorize(&mut anew, None);
        signed.map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
        Ok(Some(anew))
    }
}

/// Returns the region named in a response to a request for the wrong region.
fn named_region(answer: &HttpResponse) -> Option<String> {
    let elsewhere = matches!(
        answer.status(),
        StatusCode::MOVED_PERMANENTLY | StatusCode::TEMPORARY_REDIRECT | StatusCode::BAD_REQUEST
    );
    let named = answer.headers().get(NAMED_REGION)?.to_str().ok()?;
    (elsewhere && is_region(named)).then(|| named.to_owned())
}

fn is_region(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=REGION_BYTES_MAX).contains(&text.len()) && text.bytes().all(plain)
}

/// Returns the same address in another region, without the signature in the query of a presigned
/// address.
fn moved(uri: &Uri, region: &str) -> Option<Uri> {
    let host = uri.host()?;
    let domain = DOMAINS.iter().find(|domain| {
        host.strip_suffix(*domain)
            .is_some_and(|above| above.ends_with('.'))
    })?;
    let above = host.strip_suffix(domain)?.strip_suffix('.')?;
    let mut labels: Vec<&str> = above.split('.').collect();
    let at = labels.iter().rposition(|label| *label == "s3")?;
    match labels.get(at.checked_add(1)?..)? {
        [] => labels.push(region),
        [_] | ["dualstack", _] => *labels.last_mut()? = region,
        _ => return None,
    }
    let moved = format!("{}.{domain}", labels.join("."));
    if moved == host {
        return None;
    }
    let authority = match uri.port_u16() {
        Some(port) => format!("{moved}:{port}"),
        None => moved,
    };
    let query = uri.query().unwrap_or_default().split('&');
    let kept: Vec<_> = query
        .filter(|part| !part.is_empty() && !part.to_ascii_lowercase().starts_with("x-amz-"))
        .collect();
    let path = if kept.is_empty() {
        uri.path().to_owned()
    } else {
        format!("{}?{}", uri.path(), kept.join("&"))
    };
    Uri::builder()
        .scheme(uri.scheme()?.clone())
        .authority(authority)
        .path_and_query(path)
        .build()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_moves_within_its_provider_only() {
        let moved =
            |uri: &str| moved(&uri.parse().unwrap(), "eu-west-3").map(|uri| uri.to_string());
        for (from, to) in [
            (
                "https://s3.us-east-1.amazonaws.com/b/k?list-type=2",
                "https://s3.eu-west-3.amazonaws.com/b/k?list-type=2",
            ),
            (
                "https://b.s3.us-east-1.amazonaws.com/k",
                "https://b.s3.eu-west-3.amazonaws.com/k",
            ),
            (
                "https://s3.amazonaws.com/b/k",
                "https://s3.eu-west-3.amazonaws.com/b/k",
            ),
            (
                "https://s3.dualstack.us-east-1.amazonaws.com/b",
                "https://s3.dualstack.eu-west-3.amazonaws.com/b",
            ),
            (
                "https://s3.cn-north-1.amazonaws.com.cn/b",
                "https://s3.eu-west-3.amazonaws.com.cn/b",
            ),
            (
                "http://s3.us-east-1.amazonaws.com:8080/b",
                "http://s3.eu-west-3.amazonaws.com:8080/b",
            ),
            (
                "https://s3.us-east-1.amazonaws.com/b/k?X-Amz-Signature=00&partNumber=1&X-Amz-Security-Token=secret",
                "https://s3.eu-west-3.amazonaws.com/b/k?partNumber=1",
            ),
        ] {
            assert_eq!(moved(from).as_deref(), Some(to), "{from}");
        }
        for other in [
            "https://s3.eu-west-3.amazonaws.com/b",
            "https://s3.us-east-1.amazonaws.com.example/b",
            "https://s3.us-east-1.notamazonaws.com/b",
            "https://minio.example/b",
            "https://sts.us-east-1.amazonaws.com/",
            "https://127.0.0.1:9000/b",
            "https://s3.a.b.c.amazonaws.com/b",
        ] {
            assert_eq!(moved(other), None, "{other}");
        }
    }

    #[test]
    fn a_region_is_a_word() {
        for good in ["us-east-1", "eu-west-3", "us-gov-east-1"] {
            assert!(is_region(good));
        }
        for bad in ["", "evil.example/", "EU-WEST-3", "a b", &"x".repeat(33)] {
            assert!(!is_region(bad), "{bad}");
        }
    }
}
