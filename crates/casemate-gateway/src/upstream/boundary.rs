//! The fields and paths that may pass from a client to an upstream (`spec/inference.md`, section
//! 10).

/// Names of fields that could make an upstream mistake one client, or one request, for another.
const NAMES: [&str; 30] = [
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "cf-ipcountry",
    "client-cert",
    "client-cert-chain",
    "fastly-client-ip",
    "forwarded",
    "kubeflow-userid",
    "remote-email",
    "remote-groups",
    "remote-name",
    "remote-user",
    "true-client-ip",
    "via",
    "x-arr-ssl",
    "x-azure-clientip",
    "x-azure-socketip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-host",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-real-ip",
    "x-remote-addr",
    "x-remote-ip",
    "x-remote-user",
    "x-rewrite-url",
    "x-user",
    "x-userid",
];
/// Prefixes of such names.
const PREFIXES: [&str; 26] = [
    "casemate-",
    "cf-access-",
    "impersonate-",
    "kubeflow-",
    "ssl-client-",
    "tailscale-",
    "x-amzn-oidc-",
    "x-appengine-",
    "x-arr-",
    "x-auth-request-",
    "x-authenticated-",
    "x-authentik-",
    "x-client-cert",
    "x-consumer-",
    "x-credential-",
    "x-envoy-",
    "x-forwarded",
    "x-goog-authenticated-",
    "x-goog-iap-",
    "x-ms-client-",
    "x-original-",
    "x-remote-",
    "x-ssl-",
    "x-tls-",
    "x-user-",
    "x-webauth-",
];

/// The field that tells an upstream the admitted client's name.
pub(super) const CLIENT_FIELD: &str = "casemate-client";
/// The field that tells an upstream the admitted client's key id.
pub(super) const CLIENT_KEY_FIELD: &str = "casemate-client-key";

/// Returns whether a client may send this field to an upstream, including one that turns `_` into
/// `-`.
pub(super) fn may_pass(name: &str) -> bool {
    let name = name.replace('_', "-");
    !NAMES.contains(&name.as_str()) && !PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Returns whether an upstream that normalizes paths could answer from outside the base.
pub(super) fn leaves_base(path: &str) -> bool {
    // Some servers decode twice.
    let mut plain = path.to_ascii_lowercase();
    for _ in 0..2 {
        plain = plain
            .replace("%25", "%")
            .replace("%2e", ".")
            .replace("%2f", "/")
            .replace("%5c", "\\")
            .replace("%3b", ";");
    }
    let climbs = |segment: &str| segment.split(';').next() == Some("..");
    plain.contains('\\') || plain.split('/').any(climbs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_leave_the_base_are_refused() {
        for path in [
            "/../x",
            "/a/..",
            "/%2e%2E/x",
            "/a%2f..%2fx",
            "/a/.%2e/x",
            "/a\\..\\x",
            "/..%5cx",
            "/%252e%252e/x",
            "/a/..;/x",
            "/a/..%3bx=1/y",
        ] {
            assert!(leaves_base(path), "{path}");
        }
        for path in [
            "/",
            "/v1/models",
            "/a..b/...",
            "/x/.well-known",
            "/a;b=..",
            "/100%25",
        ] {
            assert!(!leaves_base(path), "{path}");
        }
    }

    #[test]
    fn a_client_cannot_set_identity_fields() {
        for name in [
            "forwarded",
            "x-forwarded-for",
            "x_forwarded_for",
            "x-real-ip",
            "x-original-url",
            "casemate-client",
            "casemate_client",
            "client-cert",
            "x-ssl-client-verify",
            "ssl-client-subject-dn",
            "kubeflow-userid",
            "impersonate-user",
            "x-remote-group",
            "x-remote-extra-scopes",
            "x-webauth-user",
            "x-goog-iap-jwt-assertion",
            "cf-access-authenticated-user-email",
        ] {
            assert!(!may_pass(name), "{name}");
        }
        for name in [
            "authorization",
            "x-api-key",
            "content-type",
            "x-request-id",
            "openai-organization",
        ] {
            assert!(may_pass(name), "{name}");
        }
    }
}
