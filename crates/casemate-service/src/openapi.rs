//! The paths as an OpenAPI document.

mod schemas;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use schemas::{key_id, number, reference, text};

/// A path and a method: what it does, what it takes, and what it answers.
struct Route {
    method: &'static str,
    path: &'static str,
    /// The operation of the grant that it needs.
    operation: &'static str,
    summary: &'static str,
    request: Option<&'static str>,
    status: &'static str,
    answer: Answer,
}

enum Answer {
    Json(&'static str),
    Text,
}

const fn get(
    path: &'static str,
    operation: &'static str,
    summary: &'static str,
    answer: Answer,
) -> Route {
    Route {
        method: "get",
        path,
        operation,
        summary,
        request: None,
        status: "200",
        answer,
    }
}

const fn post(
    path: &'static str,
    operation: &'static str,
    summary: &'static str,
    (request, answer): (&'static str, &'static str),
) -> Route {
    Route {
        method: "post",
        path,
        operation,
        summary,
        request: Some(request),
        status: "200",
        answer: Answer::Json(answer),
    }
}

const ROUTES: &[Route] = &[
    get(
        "/v1/keys",
        "read",
        "List the keys that the client may read",
        Answer::Json("KeyList"),
    ),
    Route {
        status: "201",
        ..post("/v1/keys", "create", "Generate a key", ("Create", "Key"))
    },
    get(
        "/v1/keys/{name}",
        "read",
        "Show the versions of a key",
        Answer::Json("Named"),
    ),
    get(
        "/v1/key-ids/{id}",
        "read",
        "Find a version by its key id",
        Answer::Json("Key"),
    ),
    get(
        "/v1/statuses",
        "read",
        "Show the validity of every key",
        Answer::Json("Statuses"),
    ),
    post(
        "/v1/keys/{name}/rotate",
        "rotate",
        "Generate the next version",
        ("Rotate", "Rotation"),
    ),
    post(
        "/v1/keys/{name}/versions/{version}/state",
        "state",
        "Change the state of a version; `destroyed` needs `destroy` and two clients",
        ("SetState", "Key"),
    ),
    get(
        "/v1/keys/{name}/bindings",
        "bind",
        "List what is sealed to a key",
        Answer::Json("Bindings"),
    ),
    post(
        "/v1/keys/{name}/bindings",
        "bind",
        "Record what is sealed to a key",
        ("Bind", "Empty"),
    ),
    post(
        "/v1/open",
        "open",
        "Open an HPKE message",
        ("Open", "Plaintext"),
    ),
    post("/v1/sign", "sign", "Sign a message", ("Sign", "Signature")),
    post(
        "/v1/sign-http",
        "sign",
        "Sign the two bases of an HTTP message",
        ("SignHttp", "HttpSignature"),
    ),
    post(
        "/v1/data-keys",
        "data-key",
        "Make and wrap a data key",
        ("NewDataKey", "DataKey"),
    ),
    post(
        "/v1/data-keys/unwrap",
        "unwrap",
        "Unwrap a data key",
        ("Unwrap", "Plaintext"),
    ),
    post(
        "/v1/data-keys/rewrap",
        "rewrap",
        "Wrap data keys to the active version of their key",
        ("Rewrap", "Rewrapped"),
    ),
    get(
        "/v1/audit/keys",
        "audit",
        "The verifier keys of the audit log",
        Answer::Text,
    ),
    get(
        "/v1/audit/checkpoint",
        "audit",
        "A signed checkpoint of the audit log",
        Answer::Text,
    ),
    get(
        "/v1/audit/entries",
        "audit",
        "Entries of the audit log",
        Answer::Json("Entries"),
    ),
];

fn content(media_type: &str, schema: &Value) -> Value {
    json!({ media_type: { "schema": schema } })
}

fn parameters(path: &str) -> Vec<Value> {
    let names = path.split('/').filter_map(|part| {
        let name = part.strip_prefix('{')?;
        name.strip_suffix('}')
    });
    let in_path = |name: &str| {
        let schema = match name {
            "id" => key_id(),
            "version" => number(),
            _ => text(),
        };
        json!({ "name": name, "in": "path", "required": true, "schema": schema })
    };
    let mut parameters: Vec<_> = names.map(in_path).collect();
    if path == "/v1/keys" || path.ends_with("/bindings") {
        let after = json!({ "name": "after", "in": "query", "required": false, "schema": text() });
        parameters.push(after);
    }
    if path.ends_with("/entries") {
        let from = json!({ "name": "from", "in": "query", "required": true, "schema": number() });
        parameters.push(from);
    }
    parameters
}

fn described(route: &Route) -> Value {
    let answer = match route.answer {
        Answer::Json(name) => content("application/json", &reference(name)),
        Answer::Text => content("text/plain", &text()),
    };
    let problem = content("application/problem+json", &reference("Problem"));
    let done = json!({ "description": "Done", "content": answer });
    let refused = json!({ "description": "Refused", "content": problem });
    let mut responses = Map::new();
    responses.insert(route.status.to_owned(), done);
    responses.insert("default".to_owned(), refused);
    if route.path.ends_with("/state") {
        let waiting = json!({
            "description": "Another client must ask for it as well",
            "content": content("application/json", &reference("Waiting")),
        });
        responses.insert("202".to_owned(), waiting);
    }
    let mut operation = Map::new();
    let mut set = |name: &str, value| _ = operation.insert(name.to_owned(), value);
    set("summary", json!(route.summary));
    let needs = format!("Needs a grant for `{}`.", route.operation);
    set("description", json!(needs));
    set("parameters", json!(parameters(route.path)));
    set("responses", json!(responses));
    if let Some(request) = route.request {
        let content = content("application/json", &reference(request));
        set(
            "requestBody",
            json!({ "required": true, "content": content }),
        );
    }
    json!(operation)
}

/// Returns the document.
pub fn document() -> Value {
    let mut paths: BTreeMap<_, Map<_, _>> = BTreeMap::new();
    for route in ROUTES {
        let methods = paths.entry(route.path).or_default();
        methods.insert(route.method.to_owned(), described(route));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Casemate key service",
            "version": "1",
            "description": "Uses private keys for clients, who never see them (spec/key-service.md).",
        },
        "paths": paths,
        "components": {
            "schemas": schemas::all(),
            "securitySchemes": { "certificate": { "type": "mutualTLS" } },
        },
        "security": [{ "certificate": [] }],
    })
}
