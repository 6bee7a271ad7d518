//! Every limit is the specification's, and what is exactly at a limit is accepted.

use casemate_crypto::signature::HttpSigningKey;
use casemate_message::{
    MessageError, RecordId, Refusal, Request, answer,
    keydoc::{self, KeyDocumentError, Statement},
    limits as l,
    ohttp::{KeyConfig, OhttpError},
};

use crate::protected::{NOW, gateway};

/// Returns the value of a row of the specification's table.
fn specified(name: &str) -> String {
    let text = include_str!("../../../../spec/inference.md");
    let table = text.split("## 11. Limits").nth(1).unwrap();
    let row = table
        .lines()
        .find_map(|line| line.strip_prefix(&format!("| {name} | ")));
    row.unwrap().trim_end_matches(" |").to_owned()
}

#[test]
fn the_limits_are_those_of_the_specification() {
    const KIB: usize = 1024;
    let mib = l::REQUEST_BYTES_DEFAULT / KIB / KIB;
    assert_eq!(
        specified("encapsulated request"),
        format!("{mib} MiB, configurable")
    );
    assert_eq!(l::REQUEST_BYTES_DEFAULT, mib * KIB * KIB);
    let kib = |bytes: usize| format!("{} KiB", bytes / KIB);
    assert_eq!(
        specified("header fields in a message, including those of section 5, plus trailers"),
        format!("{} together", l::FIELDS_MAX)
    );
    assert_eq!(
        specified("one field's name; all names together"),
        format!("{} bytes; {}", l::NAME_BYTES_MAX, kib(l::NAMES_BYTES_MAX))
    );
    assert_eq!(
        specified("one field's value; that of `signature-input`"),
        format!("{}; {}", kib(l::FIELD_BYTES_MAX), kib(l::INPUT_BYTES_MAX))
    );
    assert_eq!(specified("path with query"), kib(l::PATH_BYTES_MAX));
    assert_eq!((l::RECORD_MARKS_MAX, l::CLIENTS_MAX), (1_048_576, 4096));
    assert_eq!(
        specified("date of an attempt"),
        format!("{} s either side", l::WINDOW_SECONDS)
    );
    assert_eq!(
        specified("age of the first attempt"),
        format!("{} s", l::FIRST_ATTEMPT_SECONDS)
    );
    assert_eq!(
        specified("key document"),
        format!("{}, 3,600 s", kib(l::KEY_DOCUMENT_BYTES_MAX))
    );
    assert_eq!(
        (l::KEY_DOCUMENT_SECONDS_MAX, l::OFFSET_SECONDS_MAX),
        (3600, 3600)
    );
}

/// A request with this many header fields of this name's length.
fn with_fields(count: usize, name_bytes: usize) -> Result<Request, MessageError> {
    let mut request = Request::new("GET", "host", "/", Vec::new())?;
    for number in 0..count {
        let name = format!("{number:03}{}", "x".repeat(name_bytes.saturating_sub(3)));
        request.fields.push(&name, "v")?;
    }
    Ok(request)
}

#[test]
fn the_most_fields_and_the_longest_names_are_accepted_and_more_are_not() {
    for (count, name_bytes) in [(l::FIELDS_MAX, 4), (l::NAMES_BYTES_MAX / 128, 128)] {
        let request = with_fields(count, name_bytes).unwrap();
        let bytes = request.to_bhttp().unwrap();
        assert_eq!(Request::from_bhttp(&bytes).unwrap(), request);
    }
    for (count, name_bytes) in [(l::FIELDS_MAX + 1, 4), (l::NAMES_BYTES_MAX / 128 + 1, 128)] {
        let refused = with_fields(count, name_bytes)
            .and_then(|request| request.to_bhttp())
            .and_then(|bytes| Request::from_bhttp(&bytes).map(drop))
            .unwrap_err();
        let expected = matches!(
            refused,
            MessageError::TooLong { .. } | MessageError::TooManyFields { .. }
        );
        assert!(expected, "{refused}");
    }
}

#[test]
fn too_many_trailers_are_refused_after_content_in_one_and_in_several_chunks() {
    // RFC 9292: framing, method, scheme, authority, path, no fields, content, trailers.
    let control = [&[3][..], b"GET", &[5], b"https", &[0], &[1], b"/"].concat();
    let trailer = [&[1][..], b"t", &[1], b"v"].concat();
    let trailers = trailer.repeat(l::FIELDS_MAX + 1);
    let len = u16::try_from(trailers.len()).unwrap() | 0x4000;
    let known = [
        &[0],
        &control[..],
        &[0, 2],
        b"ab",
        &len.to_be_bytes(),
        &trailers,
    ]
    .concat();
    let chunked = |trailers: &[u8]| {
        let chunks = [&[0][..], &[1], b"a", &[1], b"b", &[0]].concat();
        [&[2], &control[..], &chunks, trailers, &[0]].concat()
    };
    for message in [known, chunked(&trailers)] {
        let refused = Request::from_bhttp(&message).unwrap_err();
        assert!(
            matches!(refused, MessageError::TooManyFields { .. }),
            "{refused}"
        );
    }
    let request = Request::from_bhttp(&chunked(&trailer)).unwrap();
    assert_eq!(request.content, b"ab");
    assert_eq!(request.trailers.iter().collect::<Vec<_>>(), [("t", "v")]);
}

#[test]
fn a_key_document_of_the_longest_validity_is_accepted() {
    let signer = HttpSigningKey::generate().unwrap();
    let list = gateway().config().unwrap().encode_list();
    let verify = |seconds: u64, padding: Option<usize>| {
        let statement = Statement {
            key_configs: &list,
            not_before: NOW,
            not_after: NOW + seconds,
            record: RecordId([4; 16]),
            serial: 1,
            succession: None,
        };
        let mut document = keydoc::create(&statement, &signer).unwrap();
        if let Some(len) = padding {
            document.resize(len, b' ');
        }
        keydoc::verify(&document, signer.verifying_key(), NOW).map(drop)
    };
    assert_eq!(verify(l::KEY_DOCUMENT_SECONDS_MAX, None), Ok(()));
    assert_eq!(
        verify(l::KEY_DOCUMENT_SECONDS_MAX + 1, None),
        Err(KeyDocumentError::TooLong { seconds: 3601 })
    );
    assert_eq!(verify(10, Some(l::KEY_DOCUMENT_BYTES_MAX)), Ok(()));
    assert_eq!(
        verify(10, Some(l::KEY_DOCUMENT_BYTES_MAX + 1)),
        Err(KeyDocumentError::Malformed)
    );
}

#[test]
fn a_key_configuration_with_wrong_suites_is_refused() {
    let list = gateway().config().unwrap().encode_list();
    KeyConfig::decode_list(&list).unwrap();
    let (len, config) = list.split_at(2);
    let config_len = usize::from(u16::from_be_bytes(len.try_into().unwrap()));
    let (config, rest) = config.split_at(config_len);
    assert!(rest.is_empty(), "one configuration");
    // The suites are the last field: a length of two bytes and four bytes for each.
    let suites_at = config.len() - 4 - 2;
    let (key, _) = config.split_at(suites_at);
    for suites in [
        &[0, 0][..],
        &[0, 3, 0, 1, 0],
        &[0, 4, 0, 1, 0, 2, 9],
        &[0, 5, 0, 1, 0, 2, 9],
    ] {
        let config = [key, suites].concat();
        let len = u16::try_from(config.len()).unwrap().to_be_bytes();
        let refused = KeyConfig::decode_list(&[&len[..], &config].concat()).unwrap_err();
        assert_eq!(refused, OhttpError::KeyConfig, "{suites:?}");
    }
}

#[test]
fn a_refusal_says_what_kind_it_is_and_has_a_date_of_four_digits() {
    for refusal in Refusal::ALL {
        assert!(refusal.message().len() > 10, "{refusal:?}");
        let said = answer::refuse(refusal, "because", NOW).unwrap();
        let body: serde_json::Value = serde_json::from_slice(&said.content).unwrap();
        let kind = match refusal.status() {
            401 => "authentication_error",
            403 => "permission_error",
            status if status >= 500 => "server_error",
            _ => "invalid_request_error",
        };
        assert_eq!(body["error"]["type"], kind, "{refusal:?}");
        assert_eq!(body["error"]["message"], "because");
        // The year 10000 begins.
        let end = 253_402_300_800;
        answer::refuse(refusal, "because", end - 1).unwrap();
        answer::refuse(refusal, "because", end).unwrap_err();
    }
    let kinds: std::collections::HashSet<_> =
        Refusal::ALL.map(Refusal::message).into_iter().collect();
    assert_eq!(kinds.len(), Refusal::ALL.len(), "two refusals say the same");
}
