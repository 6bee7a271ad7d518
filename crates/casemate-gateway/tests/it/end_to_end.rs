//! Requests that are answered, and requests that never reach the model.

use std::sync::Arc;

use casemate_crypto::signature::HttpSigningKey;
use casemate_gateway::{Clock, ConnectError, Connector, unix_seconds};
use casemate_message::{RecordId, Refusal, Request, RequestId, RequestMark, Response, sign};
use casemate_tls::Fallback;
use serde_json::{Value, json};

use crate::support::{ALL_GROUPS, client, start, start_with};

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
        // KServe v2 has a text where the others have an object.
        let error = &answer["error"];
        let text = if path.starts_with("/v2") {
            error
        } else {
            &error["message"]
        };
        assert!(text.is_string(), "{answer}");
    }
}

/// The refusal that a request met inside the encryption.
async fn refusal(connector: &Connector, request: Request) -> Refusal {
    match connector.send(request).await.unwrap_err() {
        ConnectError::Sealed(refused) => refused.0,
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_by_a_stranger_is_refused_before_its_content_is_read() {
    let running = start(&ALL_GROUPS, Fallback::Disabled).await;
    let stranger = HttpSigningKey::generate().unwrap();
    let connector = running.connector(&ALL_GROUPS, stranger);
    // The model would answer 400 to this content.
    let nonsense = request(&connector, "POST", "/predict", &json!("nonsense"));
    assert_eq!(refusal(&connector, nonsense).await, Refusal::Signature);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_call_what_is_listed_for_it() {
    let routes = ["GET /v2/*", "POST /predict"];
    let running = start_with(&ALL_GROUPS, Fallback::Disabled, &routes).await;
    let connector = running.connector(&ALL_GROUPS, client(running.client_seeds));
    let ask = |method, path| request(&connector, method, path, &Value::Null);
    for path in ["/v2/health/ready", "/v2/models/digits"] {
        let answer = connector.send(ask("GET", path)).await.unwrap();
        assert_eq!(answer.status, 200);
    }
    for (method, path) in [
        ("GET", "/predict"),
        ("POST", "/v2/models/digits/infer"),
        ("GET", "/"),
    ] {
        let refused = refusal(&connector, ask(method, path)).await;
        assert_eq!(refused, Refusal::NotAllowed, "{method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_runs_once_by_whatever_copy_it_comes() {
    let running = start(&ALL_GROUPS, Fallback::Disabled).await;
    let connector = running.connector(&ALL_GROUPS, client(running.client_seeds));
    let keys = connector.fetch_keys().await.unwrap();
    let seal = |mark: &RequestMark, date| {
        let sealer = keys.config.start_request(&keys.signer_id).unwrap();
        let mut signed = request(&connector, "GET", "/v2/health/ready", &Value::Null);
        let channel = sealer.channel().clone();
        let key = client(running.client_seeds);
        sign::sign_request(&mut signed, &key, &channel, mark, date).unwrap();
        sealer.seal(&signed.to_bhttp().unwrap()).unwrap()
    };
    let now = unix_seconds();
    let mark = |id: u8, first, record| RequestMark {
        id: RequestId([id; 16]),
        first,
        record,
    };
    let code = |answer: &Response| (answer.status, body(answer)["error"]["code"].clone());
    let (sealed, opener) = seal(&mark(1, now, keys.record), now);
    let first = connector.post(sealed.clone(), opener).await.unwrap();
    assert_eq!(first.status, 200);
    // The recorded bytes: the gateway opens them, but its answer is for whoever sealed them.
    let (_, unused) = seal(&mark(9, now, keys.record), now);
    let recorded = connector.post(sealed, unused).await.unwrap_err();
    assert!(matches!(recorded, ConnectError::Ohttp(_)), "{recorded}");
    for (mark, date, expected) in [
        (mark(1, now, keys.record), now, (409, "duplicate")),
        (
            mark(2, now, RecordId([7; 16])),
            now,
            (409, "outcome-unknown"),
        ),
        (
            mark(3, now - 130, keys.record),
            now,
            (409, "outcome-unknown"),
        ),
        (mark(4, now - 100, keys.record), now - 100, (400, "late")),
        (mark(5, now + 100, keys.record), now + 100, (400, "early")),
        (
            mark(5, now + 100, keys.record),
            now + 100,
            (409, "duplicate"),
        ),
        (
            mark(6, now + 9000, keys.record),
            now + 9000,
            (400, "far-ahead"),
        ),
    ] {
        let (sealed, opener) = seal(&mark, date);
        let answer = connector.post(sealed, opener).await.unwrap();
        assert_eq!(code(&answer), (expected.0, json!(expected.1)), "{mark:?}");
        assert!(!answer.fields.contains("signature"), "{mark:?}");
    }
}

/// A clock that is wrong.
#[derive(Debug)]
struct Wrong(i64);

impl Clock for Wrong {
    fn now(&self) -> u64 {
        unix_seconds().saturating_add_signed(self.0)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_learns_the_clock_of_its_gateway() {
    let running = start(&ALL_GROUPS, Fallback::Disabled).await;
    for seconds in [-200, 200, 2000] {
        let clock = Arc::new(Wrong(seconds));
        let connector = running.connector_at(&ALL_GROUPS, client(running.client_seeds), clock);
        for _ in 0..2 {
            let images = json!({ "instances": [vec![0; 64]] });
            let answer = connector
                .send(request(&connector, "POST", "/predict", &images))
                .await;
            assert_eq!(answer.unwrap().status, 200, "{seconds}");
        }
    }
    let clock = Arc::new(Wrong(4000));
    let connector = running.connector_at(&ALL_GROUPS, client(running.client_seeds), clock);
    let refused = connector.fetch_keys().await.unwrap_err();
    assert!(matches!(refused, ConnectError::KeyDocument(_)), "{refused}");
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
    let refused = connector.fetch_keys().await.unwrap_err();
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
    // Whoever carries the answers could have said so although the request ran.
    let ConnectError::OutcomeUnknown(said) = refused else {
        panic!("{refused}");
    };
    assert!(
        matches!(*said, ConnectError::Refused { status: 413, .. }),
        "{said}"
    );
    let asked = request(&connector, "PUT", "/predict", &large);
    let refused = connector.send(asked).await.unwrap_err();
    assert!(
        matches!(refused, ConnectError::Refused { status: 413, .. }),
        "{refused}"
    );
}
