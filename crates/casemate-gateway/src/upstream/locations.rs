//! Rewrites addresses in an upstream's answer so that they never lead a client past the gateway.

use casemate_message::{Fields, MessageError};
use url::Url;

const LOCATIONS: [&str; 2] = ["location", "content-location"];
const REFRESH: &str = "refresh";

/// Rewrites the addresses in an answer to a request for `path`.
///
/// Returns the fields, and whether an address that leads elsewhere was removed from `location`.
pub(super) fn rewrite(
    fields: &Fields,
    base: &Url,
    path: &str,
) -> Result<(Fields, bool), MessageError> {
    let mut rewritten = Fields::default();
    let mut removed = false;
    for (name, value) in fields.iter() {
        if LOCATIONS.contains(&name) {
            match local(value, base, path) {
                Some(value) => rewritten.push(name, &value)?,
                None => removed |= name == "location",
            }
        } else if name == REFRESH {
            if let Some(value) = refresh(value, base, path) {
                rewritten.push(name, &value)?;
            }
        } else {
            rewritten.push(name, value)?;
        }
    }
    Ok((rewritten, removed))
}

/// Returns an address as a path from the root, for the gateway's client; `None` if it leads
/// elsewhere.
fn local(value: &str, base: &Url, path: &str) -> Option<String> {
    // Resolved like a client of the upstream itself would.
    let request = Url::parse(&format!("{}{path}", text_of(base))).ok()?;
    let target = request.join(value).ok()?;
    let same = target.origin() == base.origin()
        && target.username().is_empty()
        && target.password().is_none();
    let below = target
        .path()
        .strip_prefix(base.path().trim_end_matches('/'))?;
    if !same || !below.starts_with('/') || below.starts_with("//") {
        return None;
    }
    let query = target.query().map(|query| format!("?{query}"));
    let fragment = target.fragment().map(|fragment| format!("#{fragment}"));
    Some(
        [
            below.to_owned(),
            query.unwrap_or_default(),
            fragment.unwrap_or_default(),
        ]
        .concat(),
    )
}

fn text_of(base: &Url) -> &str {
    base.as_str().trim_end_matches('/')
}

/// Rewrites a `refresh` value such as `5; url=/x`. Its address must be local; without one, it means
/// the same page.
fn refresh(value: &str, base: &Url, path: &str) -> Option<String> {
    let (delay, rest) = match value.split_once([';', ',']) {
        Some((delay, rest)) => (delay.trim(), rest.trim()),
        None => (value.trim(), ""),
    };
    if delay.is_empty()
        || !delay
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        return None;
    }
    if rest.is_empty() {
        return Some(delay.to_owned());
    }
    let (name, address) = rest.split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("url") {
        return None;
    }
    let address = address.trim().trim_matches(['"', '\'']);
    Some(format!("{delay}; url={}", local(address, base, path)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local_of(value: &str) -> Option<String> {
        let base = Url::parse("http://127.0.0.1:9000/base").unwrap();
        local(value, &base, "/v1/models?x=1")
    }

    #[test]
    fn addresses_of_the_upstream_become_paths() {
        for (value, expected) in [
            ("http://127.0.0.1:9000/base/v1/models/", "/v1/models/"),
            ("/base/x?y=%2F#z", "/x?y=%2F#z"),
            ("other", "/v1/other"),
            ("?page=2", "/v1/models?page=2"),
            ("HTTP://127.0.0.1:9000/base/", "/"),
        ] {
            assert_eq!(local_of(value).as_deref(), Some(expected), "{value}");
        }
    }

    #[test]
    fn addresses_that_lead_elsewhere_are_removed() {
        for value in [
            "http://127.0.0.1:9001/base/x",
            "https://127.0.0.1:9000/base/x",
            "http://user@127.0.0.1:9000/base/x",
            "//evil.example/base/x",
            "\\\\evil.example\\base\\x",
            "/\\evil.example/x",
            "/base//evil.example/x",
            "/other/x",
            "/base/../other",
            "/based/x",
            "javascript:alert(1)",
            "data:text/html,x",
            "../../x",
        ] {
            assert_eq!(local_of(value), None, "{value}");
        }
    }

    #[test]
    fn the_three_fields_are_rewritten_and_the_others_kept() {
        let base = Url::parse("http://upstream:9000").unwrap();
        let run = |name: &str, value: &str| {
            let mut fields = Fields::default();
            fields.push(name, value).unwrap();
            let (fields, removed) = rewrite(&fields, &base, "/a/b").unwrap();
            (fields.single(name).map(str::to_owned), removed)
        };
        let kept = |value: &str| Some(value.to_owned());
        assert_eq!(
            run("location", "http://upstream:9000/x"),
            (kept("/x"), false)
        );
        assert_eq!(run("location", "http://other/x"), (None, true));
        assert_eq!(run("content-location", "http://other/x"), (None, false));
        assert_eq!(
            run("refresh", "5; url=http://upstream:9000/x"),
            (kept("5; url=/x"), false)
        );
        assert_eq!(run("refresh", "5;URL='c'"), (kept("5; url=/a/c"), false));
        assert_eq!(run("refresh", "5"), (kept("5"), false));
        for value in ["5; url=http://other/x", "0,http://other", "x", "5; go=1"] {
            assert_eq!(run("refresh", value), (None, false), "{value}");
        }
        assert_eq!(
            run("x-location", "http://other/x"),
            (kept("http://other/x"), false)
        );
    }
}
