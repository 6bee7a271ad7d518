//! A request travels, is checked, and is answered; and every way to bend it is refused.

use casemate_crypto::{
    kem::KemPrivateKey,
    signature::HttpSigningKey,
    suite::{MLKEM768_X25519, MLKEM1024_P384},
};
use casemate_message::{
    Request, Response, keydoc,
    ohttp::{ChannelBinding, GatewayKey, KeyConfig, OhttpError},
    sign::{self, SignError, Verified},
};
use proptest::prelude::*;

const NOW: u64 = 1_800_000_000;

/// Changes a request on its way.
type Bend = fn(&mut Request);

fn gateway() -> GatewayKey {
    GatewayKey::new(1, KemPrivateKey::generate(&MLKEM768_X25519).unwrap()).unwrap()
}

fn channel() -> ChannelBinding {
    gateway()
        .config()
        .unwrap()
        .start_request()
        .unwrap()
        .channel()
        .clone()
}

fn request() -> Request {
    let mut request = Request::new(
        "POST",
        "gateway:8443",
        "/predict?a=1",
        b"{\"x\":1}".to_vec(),
    )
    .unwrap();
    request
        .fields
        .push("content-type", "application/json")
        .unwrap();
    request
}

fn verify(
    request: &Request,
    channel: &ChannelBinding,
    key: &HttpSigningKey,
) -> Result<Verified, SignError> {
    let admitted = key.verifying_key();
    let id = admitted.id().unwrap();
    sign::verify_request(request, channel, NOW, |asked| {
        (*asked == id).then_some(admitted)
    })
}

#[test]
fn a_signed_request_and_its_answer_travel_through_the_encryption() {
    let (gateway, client, server) = (
        gateway(),
        HttpSigningKey::generate().unwrap(),
        HttpSigningKey::generate().unwrap(),
    );
    let sealer = gateway.config().unwrap().start_request().unwrap();
    let client_channel = sealer.channel().clone();
    let mut sent = request();
    sign::sign_request(&mut sent, &client, &client_channel, NOW).unwrap();
    let (sealed, opener) = sealer.seal(&sent.to_bhttp().unwrap()).unwrap();

    let opened = gateway.open(&gateway.receive(&sealed).unwrap()).unwrap();
    let received = Request::from_bhttp(&opened.request).unwrap();
    assert_eq!(received, sent);
    let verified = verify(&received, &opened.channel, &client).unwrap();
    assert_eq!(verified.key, client.verifying_key().id().unwrap());
    let mut answer = Response::new(200, b"[1]".to_vec()).unwrap();
    sign::sign_response(&mut answer, &server, &opened.channel, NOW).unwrap();
    let sealed = opened.sealer.seal(&answer.to_bhttp().unwrap()).unwrap();

    let received = Response::from_bhttp(&opener.open(&sealed).unwrap()).unwrap();
    let pinned = server.verifying_key();
    sign::verify_response(&received, &client_channel, NOW, pinned).unwrap();
    let other = channel();
    let refused = sign::verify_response(&received, &other, NOW, pinned).unwrap_err();
    assert_eq!(refused, SignError::Channel);
    let refused = sign::verify_response(&received, &client_channel, NOW, client.verifying_key());
    assert!(matches!(refused.unwrap_err(), SignError::UnknownKey(_)));
}

#[test]
fn every_change_to_a_signed_request_is_refused() {
    let (key, channel) = (HttpSigningKey::generate().unwrap(), channel());
    let mut signed = request();
    sign::sign_request(&mut signed, &key, &channel, NOW).unwrap();
    assert_eq!(verify(&signed, &channel, &key).unwrap().expires, NOW + 301);

    let bent: [(&str, Bend); 5] = [
        ("method", |r| r.method = "PUT".into()),
        ("authority", |r| r.authority = "other:8443".into()),
        ("path", |r| r.path = "/v2/models?a=1".into()),
        ("query", |r| r.path = "/predict?a=2".into()),
        ("media type", |r| {
            r.fields.remove("content-type");
            r.fields.push("content-type", "text/plain").unwrap();
        }),
    ];
    for (what, bend) in bent {
        let mut request = signed.clone();
        bend(&mut request);
        assert_eq!(
            verify(&request, &channel, &key),
            Err(SignError::BadSignature),
            "{what}"
        );
    }
    let mut content = signed.clone();
    content.content.push(b' ');
    assert_eq!(verify(&content, &channel, &key), Err(SignError::Digest));
    let mut dropped = signed.clone();
    dropped.fields.remove("content-type");
    assert!(matches!(
        verify(&dropped, &channel, &key),
        Err(SignError::Malformed(_))
    ));
    assert_eq!(
        verify(&signed, &self::channel(), &key),
        Err(SignError::Channel)
    );
    let stranger = HttpSigningKey::generate().unwrap();
    assert!(matches!(
        verify(&signed, &channel, &stranger),
        Err(SignError::UnknownKey(_))
    ));
    assert_eq!(
        verify(&request(), &channel, &key),
        Err(SignError::Field("date")),
        "an unsigned request"
    );
}

#[test]
fn one_signature_alone_or_a_foreign_half_is_refused() {
    let (key, other, channel) = (
        HttpSigningKey::generate().unwrap(),
        HttpSigningKey::generate().unwrap(),
        channel(),
    );
    let mut signed = request();
    sign::sign_request(&mut signed, &key, &channel, NOW).unwrap();
    let mut twin = request();
    sign::sign_request(&mut twin, &other, &channel, NOW).unwrap();
    let halves = |request: &Request, field: &str| {
        let value = request.fields.single(field).unwrap().to_owned();
        let (c, pq) = value.split_once(", pq=").unwrap();
        (c.to_owned(), format!("pq={pq}"))
    };
    let replace = |field: &str, value: &str| {
        let mut request = signed.clone();
        request.fields.remove(field);
        request.fields.push(field, value).unwrap();
        request
    };
    for keep in 0..2 {
        let pick = |(c, pq): (String, String)| if keep == 0 { c } else { pq };
        let mut stripped = signed.clone();
        for field in ["signature-input", "signature"] {
            let kept = pick(halves(&signed, field));
            stripped.fields.remove(field);
            stripped.fields.push(field, &kept).unwrap();
        }
        assert!(matches!(
            verify(&stripped, &channel, &key),
            Err(SignError::Malformed(_))
        ));
    }
    let ((ours_c, ours_pq), (theirs_c, theirs_pq)) =
        (halves(&signed, "signature"), halves(&twin, "signature"));
    for mixed in [
        format!("{ours_c}, {theirs_pq}"),
        format!("{theirs_c}, {ours_pq}"),
    ] {
        let refused = verify(&replace("signature", &mixed), &channel, &key);
        assert_eq!(refused, Err(SignError::BadSignature));
    }
    let (input_c, input_pq) = halves(&signed, "signature-input");
    let (_, their_input_pq) = halves(&twin, "signature-input");
    let refused = verify(
        &replace("signature-input", &format!("{input_c}, {their_input_pq}")),
        &channel,
        &key,
    );
    assert!(matches!(refused, Err(SignError::Malformed(_))));
    let swapped = format!("{input_pq}, {input_c}");
    verify(&replace("signature-input", &swapped), &channel, &key).unwrap();
    let third = format!("{input_c}, {input_pq}, x=(\"date\");created=1");
    let refused = verify(&replace("signature-input", &third), &channel, &key);
    assert!(matches!(refused, Err(SignError::Malformed(_))));
}

#[test]
fn dates_outside_the_window_are_refused() {
    let (key, channel) = (HttpSigningKey::generate().unwrap(), channel());
    let id = key.verifying_key().id().unwrap();
    let at = |signed_at: u64, now: u64| {
        let mut request = request();
        sign::sign_request(&mut request, &key, &channel, signed_at).unwrap();
        let admitted = key.verifying_key();
        sign::verify_request(&request, &channel, now, |asked| {
            (*asked == id).then_some(admitted)
        })
        .map(|_| ())
    };
    assert_eq!(at(NOW - 300, NOW), Ok(()));
    assert_eq!(at(NOW + 300, NOW), Ok(()));
    assert_eq!(at(NOW - 301, NOW), Err(SignError::Date { seconds: 301 }));
    assert_eq!(at(NOW + 301, NOW), Err(SignError::Date { seconds: 301 }));
}

#[test]
fn every_flipped_byte_of_an_encapsulated_request_is_refused() {
    let gateway = gateway();
    let sealer = gateway.config().unwrap().start_request().unwrap();
    let (sealed, _) = sealer.seal(b"request").unwrap();
    for at in 0..sealed.len() {
        let mut bent = sealed.clone();
        bent[at] ^= 1;
        let refused = gateway
            .receive(&bent)
            .and_then(|received| gateway.open(&received));
        let expected = if at < 6 {
            OhttpError::UnknownKey
        } else {
            OhttpError::Rejected
        };
        assert_eq!(refused.unwrap_err(), expected, "byte {at}");
    }
    for len in 0..sealed.len() {
        let cut = gateway
            .receive(&sealed[..len])
            .and_then(|received| gateway.open(&received));
        assert_eq!(cut.unwrap_err(), OhttpError::Rejected, "{len} bytes");
    }
}

#[test]
fn an_answer_opens_once_for_its_own_request() {
    let gateway = gateway();
    let start = || gateway.config().unwrap().start_request().unwrap();
    let (first, first_opener) = start().seal(b"1").unwrap();
    let (_, second_opener) = start().seal(b"2").unwrap();
    let opened = gateway.open(&gateway.receive(&first).unwrap()).unwrap();
    let answer = opened.sealer.seal(b"answer").unwrap();
    assert_eq!(second_opener.open(&answer), Err(OhttpError::Rejected));
    assert_eq!(first_opener.open(&answer).unwrap(), b"answer");
}

#[test]
fn classical_and_malformed_key_lists_are_refused() {
    let x25519 = [&[0, 41, 0, 0x00, 0x20][..], &[9; 32], &[0, 4, 0, 1, 0, 1]].concat();
    assert_eq!(
        KeyConfig::decode_list(&x25519).unwrap_err(),
        OhttpError::NoSuite
    );
    let good = gateway().config().unwrap().encode_list();
    KeyConfig::decode_list(&[x25519, good.clone()].concat()).unwrap();
    for len in 0..good.len() {
        assert_eq!(
            KeyConfig::decode_list(&good[..len]).unwrap_err(),
            OhttpError::KeyConfig
        );
    }
    let other = KemPrivateKey::generate(&MLKEM1024_P384).unwrap();
    assert_eq!(GatewayKey::new(1, other).unwrap_err(), OhttpError::NoSuite);
}

#[test]
fn a_key_document_holds_for_its_signer_and_its_dates() {
    let (gateway, signer) = (gateway(), HttpSigningKey::generate().unwrap());
    let list = gateway.config().unwrap().encode_list();
    let document = keydoc::create(&list, NOW, NOW + 10, &signer).unwrap();
    let pinned = signer.verifying_key();
    assert_eq!(
        keydoc::verify(&document, pinned, NOW + 10)
            .unwrap()
            .not_after,
        NOW + 10
    );
    for now in [NOW - 1, NOW + 11] {
        let refused = keydoc::verify(&document, pinned, now).unwrap_err();
        assert!(
            matches!(refused, keydoc::KeyDocumentError::Expired { .. }),
            "{refused}"
        );
    }
    let other = HttpSigningKey::generate().unwrap();
    let refused = keydoc::verify(&document, other.verifying_key(), NOW).unwrap_err();
    assert_eq!(refused, keydoc::KeyDocumentError::BadSignature);
    for at in (0..document.len()).step_by(5) {
        let mut bent = document.clone();
        bent[at] ^= 1;
        let refused = keydoc::verify(&bent, pinned, NOW).unwrap_err();
        assert!(
            !matches!(refused, keydoc::KeyDocumentError::Crypto(_)),
            "byte {at}: {refused}"
        );
    }
}

proptest! {
    #[test]
    fn no_bytes_make_a_parser_panic(bytes: Vec<u8>) {
        _ = Request::from_bhttp(&bytes);
        _ = Response::from_bhttp(&bytes);
        _ = KeyConfig::decode_list(&bytes);
        _ = gateway().receive(&bytes);
    }
}
