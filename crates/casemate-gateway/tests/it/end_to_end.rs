//! Requests that are answered, and requests that never reach the model.

use casemate_crypto::signature::HttpSigningKey;
use casemate_gateway::{ConnectError, Connector, unix_seconds};
use casemate_message::{Request, Response, sign};
use casemate_tls::Fallback;
use serde_json::{Value, json};

use crate::support::{ALL_GROUPS, client, start};

fn request(connector: &Connector, method: &str, path: &str, body: &Value) -> Request {
    let content = if body.is_null() {
        Vec::new()
    } else {
        body.to_string().into_bytes()
    };
    let mut request = Request::new(method, connector.authority(), path, content).unwrap();
    if !body.is_null() {
        request
            .fields
            .push("content-type", "application/json")
            .unwrap();
    }
    request
}

fn body(response: &Response) -> Value {
    serde_json::from_slice(&response.content).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn models_answer_predict_and_the_kserve_protocol() {
    let running = start(&ALL_GROUPS, Fallback::Disabled).await;
    let connector = running.connector(&ALL_GROUPS, client(running.client_seeds));
    let ask = async |method: &str, path: &str, content: Value| {
        let response = connector
            .send(request(&connector, method, path, &content))
            .await
            .unwrap();
        (response.status, body(&response))
    };
    let (status, metadata) = ask("GET", "/v2/models/digits", Value::Null).await;
    assert_eq!(status, 200);
    assert_eq!(
        metadata["inputs"],
        json!([{ "name": "image", "datatype": "FP32", "shape": [-1, 64] }])
    );
    assert_eq!(
        ask("GET", "/v2/health/ready", Value::Null).await,
        (200, json!({ "ready": true }))
    );

    let image = vec![0; 64];
    let (status, predicted) = ask("POST", "/predict", json!({ "instances": [image, image] })).await;
    assert_eq!(status, 200);
    assert_eq!(predicted["predictions"].as_array().unwrap().len(), 2);
    assert_eq!(predicted["predictions"][0], predicted["predictions"][1]);

    let input = json!({ "name": "image", "shape": [1, 64], "datatype": "FP32", "data": image });
    let (status, inferred) = ask(
        "POST",
        "/v2/models/digits/infer",
        json!({ "id": "7", "inputs": [input] }),
    )
    .await;
    assert_eq!(status, 200);
    assert_eq!(inferred["id"], "7");
    assert_eq!(inferred["outputs"][0]["shape"], json!([1, 10]));

    for (method, path, content, status) in [
        ("GET", "/v2/models/other", Value::Null, 404),
        ("GET", "/nothing", Value::Null, 404),
        ("GET", "/predict", Value::Null, 405),
        ("POST", "/predict", json!({ "instances": [[1, 2]] }), 400),
        ("POST", "/predict", json!({ "instances": [] }), 400),
        ("POST", "/predict", json!({ "instances": [["x"]] }), 400),
        (
            "POST",
            "/predict",
            json!({ "model": "other", "instances": [[1]] }),
            404,
        ),
        (
            "POST",
            "/v2/models/digits/infer",
            json!({ "inputs": [] }),
            400,
        ),
    ] {
        let (found, answer) = ask(method, path, content).await;
        assert_eq!(found, status, "{method} {path}: {answer}");
        assert!(answer["error"]["message"].is_string(), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_by_a_stranger_is_refused_before_its_content_is_read() {
    let running = start(&ALL_GROUPS, Fallback::Disabled).await;
    let stranger = HttpSigningKey::generate().unwrap();
    let connector = running.connector(&ALL_GROUPS, stranger);
    // The model would answer 400 to this content.
    let response = connector
        .send(request(&connector, "POST", "/predict", &json!("nonsense")))
        .await
        .unwrap();
    assert_eq!(response.status, 401);
    assert_eq!(body(&response)["error"]["code"], "signature");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_request_is_answered_once() {
    let running = start(&ALL_GROUPS, Fallback::Disabled).await;
    let connector = running.connector(&ALL_GROUPS, client(running.client_seeds));
    let keys = connector.keys().await.unwrap();
    let sealer = keys.config.start_request().unwrap();
    let mut signed = request(&connector, "GET", "/v2/health/ready", &Value::Null);
    let channel = sealer.channel().clone();
    sign::sign_request(
        &mut signed,
        &client(running.client_seeds),
        &channel,
        unix_seconds(),
    )
    .unwrap();
    let (sealed, opener) = sealer.seal(&signed.to_bhttp().unwrap()).unwrap();
    let first = connector.post(sealed.clone(), opener).await.unwrap();
    assert_eq!(first.status, 200);
    let (_, unused) = keys.config.start_request().unwrap().seal(b"").unwrap();
    let refused = connector.post(sealed, unused).await.unwrap_err();
    assert!(
        matches!(refused, ConnectError::Refused { status: 400, .. }),
        "{refused}"
    );
    assert!(
        refused.to_string().ends_with("request was seen before"),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_with_another_identity_than_the_pinned_one_is_refused() {
    let (real, other) = (
        start(&ALL_GROUPS, Fallback::Disabled).await,
        start(&ALL_GROUPS, Fallback::Disabled).await,
    );
    let mut mixed = real;
    mixed.gateway_key = other.gateway_key;
    let connector = mixed.connector(&ALL_GROUPS, client(mixed.client_seeds));
    let refused = connector.keys().await.unwrap_err();
    assert!(matches!(refused, ConnectError::KeyDocument(_)), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_past_the_limit_is_refused_outside() {
    let running = start(&ALL_GROUPS, Fallback::Disabled).await;
    let connector = running.connector(&ALL_GROUPS, client(running.client_seeds));
    let large = json!({ "instances": [vec![0; 40_000]] });
    let refused = connector
        .send(request(&connector, "POST", "/predict", &large))
        .await
        .unwrap_err();
    assert!(
        matches!(refused, ConnectError::Refused { status: 413, .. }),
        "{refused}"
    );
}
