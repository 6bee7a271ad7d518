//! Binary HTTP: the examples of RFC 9292, section 5, and what no peer of ours may send.

use casemate_message::{Fields, MessageError, Request, Response};

fn unhex(text: &str) -> Vec<u8> {
    hex::decode(text.split_whitespace().collect::<String>()).unwrap()
}

/// RFC 9292, section 5.1: the request as a known-length message.
const KNOWN: &str = "
    00034745 54056874 74707300 0a2f6865 6c6c6f2e 74787440 6c0a7573 65722d61
    67656e74 34637572 6c2f372e 31362e33 206c6962 6375726c 2f372e31 362e3320
    4f70656e 53534c2f 302e392e 376c207a 6c69622f 312e322e 3304686f 73740f77
    77772e65 78616d70 6c652e63 6f6d0f61 63636570 742d6c61 6e677561 67650665
    6e2c206d 690000";

/// The same as an indeterminate-length message, with ten bytes of padding.
const INDETERMINATE: &str = "
    02034745 54056874 74707300 0a2f6865 6c6c6f2e 7478740a 75736572 2d616765
    6e743463 75726c2f 372e3136 2e33206c 69626375 726c2f37 2e31362e 33204f70
    656e5353 4c2f302e 392e376c 207a6c69 622f312e 322e3304 686f7374 0f777777
    2e657861 6d706c65 2e636f6d 0f616363 6570742d 6c616e67 75616765 06656e2c
    206d6900 00000000 00000000 000000";

#[test]
fn the_requests_of_the_standard_are_read() {
    for example in [KNOWN, INDETERMINATE] {
        let request = Request::from_bhttp(&unhex(example)).unwrap();
        assert_eq!(
            (request.method.as_str(), request.path.as_str()),
            ("GET", "/hello.txt")
        );
        assert_eq!(request.authority, "");
        let fields: Vec<_> = request.fields.iter().collect();
        let agent = "curl/7.16.3 libcurl/7.16.3 OpenSSL/0.9.7l zlib/1.2.3";
        let expected = [
            ("user-agent", agent),
            ("host", "www.example.com"),
            ("accept-language", "en, mi"),
        ];
        assert_eq!(fields, expected);
        assert!(request.content.is_empty() && request.trailers.is_empty());
    }
    let request = Request::from_bhttp(&unhex(KNOWN)).unwrap();
    assert_eq!(request.to_bhttp().unwrap(), unhex(KNOWN));
}

#[test]
fn empty_sections_at_the_end_may_be_left_out_and_nothing_else() {
    // RFC 9292, section 3.8: the request has neither content nor trailers.
    let whole = unhex(KNOWN);
    let head = whole.len() - 2;
    let request = Request::from_bhttp(&whole).unwrap();
    for len in [head, head + 1] {
        assert_eq!(
            Request::from_bhttp(&whole[..len]).unwrap(),
            request,
            "{len}"
        );
    }
    for len in 0..head {
        let cut = Request::from_bhttp(&whole[..len]);
        assert_ne!(cut.as_ref(), Ok(&request), "{len} bytes");
    }
}

#[test]
fn a_response_in_chunks_is_read_with_its_trailers() {
    // 200, one field, chunks `hel` and `lo`, one trailer.
    let chunked = b"\x03\x40\xc8\x01a\x01b\x00\x03hel\x02lo\x00\x01t\x01u\x00";
    let response = Response::from_bhttp(chunked).unwrap();
    assert_eq!(
        (response.status, response.content.as_slice()),
        (200, &b"hello"[..])
    );
    assert_eq!(response.fields.single("a"), Some("b"));
    assert_eq!(response.trailers.single("t"), Some("u"));
    // Written with known length, it is the same response.
    let known = response.to_bhttp().unwrap();
    assert_eq!(known, b"\x01\x40\xc8\x04\x01a\x01b\x05hello\x04\x01t\x01u");
    assert_eq!(Response::from_bhttp(&known).unwrap(), response);
}

#[test]
fn a_kind_scheme_or_status_that_does_not_belong_here_is_refused() {
    let request = |method: &str, scheme: &str| {
        let parts = [method, scheme, "h", "/"].map(|part| {
            let mut prefixed = vec![u8::try_from(part.len()).unwrap()];
            prefixed.extend(part.as_bytes());
            prefixed
        });
        let bytes = [&[0][..], &parts.concat(), &[0, 0, 0]].concat();
        Request::from_bhttp(&bytes).map(drop)
    };
    assert_eq!(request("GET", "https"), Ok(()));
    assert_eq!(request("GET", "http"), Err(MessageError::Scheme));
    assert_eq!(request("GET", ""), Err(MessageError::Scheme));
    assert_eq!(request("CONNECT", "https"), Err(MessageError::Method));
    assert_eq!(request("", "https"), Err(MessageError::BadBytes("method")));
    assert_eq!(
        request("G T", "https"),
        Err(MessageError::BadBytes("method"))
    );
    for framing in 4..64 {
        let bytes = [&[framing][..], b"\x03GET\x05https\x01h\x01/\x00\x00\x00"].concat();
        let refused = Request::from_bhttp(&bytes).unwrap_err();
        assert_eq!(refused, MessageError::NotBinaryHttp, "framing {framing}");
    }
    let status = |code: u16| {
        let [high, low] = code.to_be_bytes();
        Response::from_bhttp(&[1, 0x40 | high, low, 0, 0, 0]).map(|response| response.status)
    };
    assert_eq!((status(200), status(599)), (Ok(200), Ok(599)));
    for code in [100, 103, 199] {
        assert_eq!(status(code), Err(MessageError::NotBinaryHttp), "{code}");
    }
    for code in [600, 999, 1000, 16_000] {
        assert!(status(code).is_err(), "{code}");
    }
    for code in [0, 100, 199, 600, u16::MAX] {
        let refused = Response::new(code, Vec::new()).unwrap_err();
        assert_eq!(refused, MessageError::BadBytes("status"), "{code}");
    }
    let request = unhex(KNOWN);
    assert_eq!(
        Response::from_bhttp(&request).unwrap_err(),
        MessageError::WrongKind
    );
    let response = b"\x01\x40\xc8\x00\x00\x00";
    assert_eq!(
        Request::from_bhttp(response).unwrap_err(),
        MessageError::WrongKind
    );
}

#[test]
fn a_field_has_a_lower_case_token_and_a_printable_value() {
    let push = |name: &str, value: &str| Fields::default().push(name, value);
    for name in ["a", "x-1", "!#$%&'*+-.^_`|~", "signature-input"] {
        assert_eq!(push(name, "v"), Ok(()), "{name}");
    }
    for name in ["", "A", "a b", "a:", "\u{e4}", ":path", "a\n"] {
        let refused = Err(MessageError::BadBytes("field name"));
        assert_eq!(push(name, "v"), refused, "{name:?}");
    }
    for value in ["", "a b\tc", "~ !"] {
        assert_eq!(push("a", value), Ok(()), "{value:?}");
    }
    for value in ["\r", "\n", "\0", "\u{7f}", "\u{e4}", "a\u{b}"] {
        let refused = Err(MessageError::BadBytes("field value"));
        assert_eq!(push("a", value), refused, "{value:?}");
    }
    let long = |what, actual, limit| MessageError::TooLong {
        what,
        actual,
        limit,
    };
    assert_eq!(push(&"n".repeat(128), "v"), Ok(()));
    let refused = Err(long("field name", 129, 128));
    assert_eq!(push(&"n".repeat(129), "v"), refused);
    let refused = Err(long("field value", 16_385, 16_384));
    assert_eq!(push("a", &"v".repeat(16_385)), refused);
    // This one names every field of a message.
    assert_eq!(push("signature-input", &"v".repeat(65_536)), Ok(()));
    let refused = Err(long("field value", 65_537, 65_536));
    assert_eq!(push("signature-input", &"v".repeat(65_537)), refused);
}

#[test]
fn fields_are_found_by_name_in_their_order() {
    let mut fields = Fields::default();
    assert!(fields.is_empty());
    for (name, value) in [("b", " 1 "), ("a", "2"), ("b", "\t3")] {
        fields.push(name, value).unwrap();
    }
    assert!(!fields.is_empty());
    let all: Vec<_> = fields.iter().collect();
    assert_eq!(all, [("b", "1"), ("a", "2"), ("b", "3")]);
    assert_eq!(fields.names(), ["b", "a"]);
    assert_eq!(fields.values("b").collect::<Vec<_>>(), ["1", "3"]);
    assert_eq!(
        (fields.single("a"), fields.single("b"), fields.single("c")),
        (Some("2"), None, None)
    );
    assert!(fields.contains("a") && !fields.contains("c"));
    fields.remove("b");
    assert_eq!(fields.iter().collect::<Vec<_>>(), [("a", "2")]);
    // Values may hold credentials.
    fields.push("authorization", "secret").unwrap();
    assert!(!format!("{fields:?}").contains("secret"));
}

#[test]
fn a_trailer_neither_repeats_a_field_nor_signs() {
    let with = |field: &str, trailer: &str| {
        let mut response = Response::new(200, Vec::new()).unwrap();
        response.fields.push(field, "1").unwrap();
        response.trailers.push(trailer, "2").unwrap();
        Response::from_bhttp(&response.to_bhttp().unwrap()).map(drop)
    };
    assert_eq!(with("a", "b"), Ok(()));
    assert_eq!(with("a", "a"), Err(MessageError::Trailer));
    for reserved in ["signature", "signature-input"] {
        assert_eq!(
            with("a", reserved),
            Err(MessageError::Trailer),
            "{reserved}"
        );
    }
}

#[test]
fn lengths_beyond_the_message_are_refused_without_memory_for_them() {
    for len in [
        [0x7f, 0xff].as_slice(),
        &[0xbf, 0xff, 0xff, 0xff],
        &[0xff; 8],
    ] {
        for head in [
            &b"\x00\x03GET\x05https\x01h\x01/"[..],
            b"\x00",
            b"\x01\x40\xc8",
        ] {
            let bytes = [head, len, b"x"].concat();
            let request = Request::from_bhttp(&bytes).map(drop);
            let response = Response::from_bhttp(&bytes).map(drop);
            assert!(request.is_err() && response.is_err(), "{head:?} {len:?}");
        }
    }
}
