//! An ordinary HTTP client without keys.

use std::{net::SocketAddr, sync::OnceLock};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};

use super::Sample;
use crate::fault::{Fault, Outcome};

type HttpClient = Client<HttpConnector, Full<Bytes>>;

fn client() -> &'static HttpClient {
    static CLIENT: OnceLock<HttpClient> = OnceLock::new();
    CLIENT.get_or_init(|| Client::builder(TokioExecutor::new()).build_http())
}

/// Posts images to `/predict` and returns the digits.
pub(super) async fn predict(
    local: SocketAddr,
    token: &str,
    samples: &[Sample],
) -> Result<Vec<u8>, Fault> {
    let images: Vec<_> = samples.iter().map(|sample| &sample.image).collect();
    let failed = |what: String| Fault::new(Outcome::Io, what);
    let request = http::Request::post(format!("http://{local}/predict"))
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {token}"))
        .body(Full::from(json!({ "instances": images }).to_string()))
        .map_err(|error| failed(error.to_string()))?;
    let answer = client()
        .request(request)
        .await
        .map_err(|error| failed(error.to_string()))?;
    let status = answer.status();
    let body = answer
        .into_body()
        .collect()
        .await
        .map_err(|error| failed(error.to_string()))?;
    let body: Value = serde_json::from_slice(&body.to_bytes())
        .map_err(|error| failed(format!("the response is not JSON: {error}")))?;
    let predictions = body.get("predictions").and_then(Value::as_array);
    let Some(predictions) = predictions.filter(|_| status.is_success()) else {
        return Err(failed(format!("status {status}: {body}")));
    };
    Ok(predictions
        .iter()
        .filter_map(|digit| digit.as_u64()?.try_into().ok())
        .collect())
}
