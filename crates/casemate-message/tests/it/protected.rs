//! A request travels, is checked, and is answered; and every way to bend it is refused.

use casemate_crypto::{
    encoding::KeyId, kem::KemPrivateKey, signature::HttpSigningKey, suite::MLKEM768_X25519,
};
use casemate_message::{
    MessageError, RecordId, Refusal, Request, RequestId, RequestMark, Response,
    answer::{self, Answer},
    ohttp::{ChannelBinding, GatewayKey, KeyConfig, OhttpError},
    sign::{self, SignError, Verified},
};
use proptest::prelude::*;

pub(crate) const NOW: u64 = 1_800_000_000;
const MARK: RequestMark = RequestMark {
    id: RequestId([5; 16]),
    first: NOW,
    record: RecordId([6; 16]),
};
/// Who signs the key documents of these tests.
const SIGNER: KeyId = KeyId::from_bytes([7; 32]);

/// Changes a request on its way.
type Bend = fn(&mut Request);

pub(crate) fn gateway() -> GatewayKey {
    GatewayKey::new(1, KemPrivateKey::generate(&MLKEM768_X25519).unwrap()).unwrap()
}

fn channel() -> ChannelBinding {
    let sealer = gateway().config().unwrap().start_request(&SIGNER);
    sealer.unwrap().channel().clone()
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
    let known = |asked: &KeyId| (*asked == id).then_some(admitted);
    sign::verify_request(request, channel, NOW, known, admitted)
}

fn signed(request: &Request, key: &HttpSigningKey, channel: &ChannelBinding) -> Request {
    let mut signed = request.clone();
    sign::sign_request(&mut signed, key, channel, &MARK, NOW).unwrap();
    signed
}

#[test]
fn a_signed_request_and_its_answer_travel_through_the_encryption() {
    let (gateway, client, server) = (
        gateway(),
        HttpSigningKey::generate().unwrap(),
        HttpSigningKey::generate().unwrap(),
    );
    let sealer = gateway.config().unwrap().start_request(&SIGNER).unwrap();
    let client_channel = sealer.channel().clone();
    let sent = signed(&request(), &client, &client_channel);
    let (sealed, opener) = sealer.seal(&sent.to_bhttp().unwrap()).unwrap();

    let opened = gateway
        .open(gateway.receive(sealed).unwrap(), &SIGNER)
        .unwrap();
    let received = Request::from_bhttp(&opened.request).unwrap();
    assert_eq!(received, sent);
    let verified = verify(&received, &opened.channel, &client).unwrap();
    assert_eq!(verified.key, client.verifying_key().id().unwrap());
    assert_eq!((verified.mark, verified.date), (MARK, NOW));
    let mut answer = Response::new(200, b"[1]".to_vec()).unwrap();
    sign::sign_response(&mut answer, &received, &server, &opened.channel, NOW).unwrap();
    let sealed = opened.sealer.seal(&answer.to_bhttp().unwrap()).unwrap();

    let received = Response::from_bhttp(&opener.open(&sealed).unwrap()).unwrap();
    let pinned = server.verifying_key();
    let verify = |request: &Request, channel: &ChannelBinding, key: &HttpSigningKey| {
        sign::verify_response(&received, request, channel, key.verifying_key())
    };
    sign::verify_response(&received, &sent, &client_channel, pinned).unwrap();
    assert_eq!(verify(&sent, &channel(), &server), Err(SignError::Channel));
    let other_key = verify(&sent, &client_channel, &client).unwrap_err();
    assert!(matches!(other_key, SignError::UnknownKey(_)));
    // The response is evidence of the request: of every part, and of its signatures.
    let bent: [Bend; 4] = [
        |r| r.path = "/predict?a=2".into(),
        |r| r.fields.remove("content-type"),
        |r| r.fields.push("x-more", "1").unwrap(),
        |r| {
            let other = HttpSigningKey::generate().unwrap();
            *r = signed(&request(), &other, &channel());
        },
    ];
    for bend in bent {
        let mut other = sent.clone();
        bend(&mut other);
        assert!(verify(&other, &client_channel, &server).is_err());
    }
}

#[test]
fn repeated_fields_and_trailers_are_signed_on_both_sides() {
    let (key, channel) = (HttpSigningKey::generate().unwrap(), channel());
    let mut plain = request();
    for value in ["a, b", "c"] {
        plain.fields.push("x-list", value).unwrap();
    }
    plain.trailers.push("x-after", "1").unwrap();
    plain.trailers.push("x-after", "2").unwrap();
    let sent = signed(&plain, &key, &channel);
    let input = sent.fields.single("signature-input").unwrap();
    assert!(input.contains("\"x-list\";bs ") && input.contains("\"x-after\";bs;tr)"));
    let received = Request::from_bhttp(&sent.to_bhttp().unwrap()).unwrap();
    assert_eq!(received, sent);
    verify(&received, &channel, &key).unwrap();
    let bent: [Bend; 5] = [
        |r| r.trailers.remove("x-after"),
        |r| r.trailers.push("x-after", "3").unwrap(),
        |r| r.trailers.push("x-new", "3").unwrap(),
        |r| {
            r.fields.remove("x-list");
            r.fields.push("x-list", "a, b, c").unwrap();
        },
        |r| {
            r.fields.remove("x-list");
            for value in ["c", "a, b"] {
                r.fields.push("x-list", value).unwrap();
            }
        },
    ];
    for bend in bent {
        let mut request = sent.clone();
        bend(&mut request);
        verify(&request, &channel, &key).unwrap_err();
    }
    let mut response = Response::new(200, Vec::new()).unwrap();
    for value in ["a=1", "b=2"] {
        response.fields.push("set-cookie", value).unwrap();
    }
    response.trailers.push("x-sum", "3").unwrap();
    sign::sign_response(&mut response, &sent, &key, &channel, NOW).unwrap();
    let check =
        |response: &Response| sign::verify_response(response, &sent, &channel, key.verifying_key());
    check(&response).unwrap();
    let mut bent = response.clone();
    bent.trailers.remove("x-sum");
    assert!(check(&bent).is_err());
    let mut bent = response;
    bent.fields.remove("set-cookie");
    bent.fields.push("set-cookie", "a=1").unwrap();
    assert!(check(&bent).is_err());
}

#[test]
fn a_trailer_cannot_pose_as_a_field() {
    let key = HttpSigningKey::generate().unwrap();
    for name in ["content-type", "signature", "date", "casemate-request"] {
        let mut request = request();
        request.trailers.push(name, "x").unwrap();
        let refused = sign::sign_request(&mut request, &key, &channel(), &MARK, NOW).unwrap_err();
        assert_eq!(refused, SignError::Message(MessageError::Trailer), "{name}");
        let received = Request::from_bhttp(&request.to_bhttp().unwrap());
        assert_eq!(received.unwrap_err(), MessageError::Trailer, "{name}");
    }
}

#[test]
fn only_a_refusal_may_come_unsigned() {
    let (key, channel) = (HttpSigningKey::generate().unwrap(), channel());
    let sent = signed(&request(), &key, &channel);
    let check = |response: Response| Answer::check(response, &sent, &channel, key.verifying_key());
    let refused = answer::refuse(Refusal::Late, "late", NOW + 5).unwrap();
    let Ok(Answer::Refused { refusal, date, .. }) = check(refused.clone()) else {
        panic!("a refusal was not read");
    };
    assert_eq!((refusal, date), (Refusal::Late, NOW + 5));
    let bent: [fn(&mut Response); 5] = [
        |r| r.status = 200,
        |r| r.status = 401,
        |r| r.content = b"{\"error\":{\"code\":\"other\"}}".to_vec(),
        |r| r.fields.remove("date"),
        |r| r.fields.push("signature", "c=:AAAA:").unwrap(),
    ];
    for bend in bent {
        let mut response = refused.clone();
        bend(&mut response);
        check(response).unwrap_err();
    }
}

#[test]
fn a_gateway_cannot_pass_a_request_on_as_its_own() {
    let (honest, client) = (gateway(), HttpSigningKey::generate().unwrap());
    // Another gateway lists the honest one's key as its own, under its own signature.
    let mallory = KeyId::from_bytes([8; 32]);
    let config = KeyConfig::decode_list(&honest.config().unwrap().encode_list()).unwrap();
    let sealer = config.start_request(&mallory).unwrap();
    let sent = signed(&request(), &client, &sealer.channel().clone());
    let (sealed, _) = sealer.seal(&sent.to_bhttp().unwrap()).unwrap();
    let opened = honest
        .open(honest.receive(sealed).unwrap(), &SIGNER)
        .unwrap();
    let received = Request::from_bhttp(&opened.request).unwrap();
    let refused = verify(&received, &opened.channel, &client);
    assert_eq!(refused, Err(SignError::Channel));
}

#[test]
fn every_change_to_a_signed_request_is_refused() {
    let (key, channel) = (HttpSigningKey::generate().unwrap(), channel());
    let signed = signed(&request(), &key, &channel);
    assert_eq!(verify(&signed, &channel, &key).unwrap().mark, MARK);

    let bent: [(&str, Bend); 6] = [
        ("request id", |r| {
            let first = NOW - 1;
            let value = r.fields.single("casemate-request").unwrap().to_owned();
            r.fields.remove("casemate-request");
            let value = value.replace(&NOW.to_string(), &first.to_string());
            r.fields.push("casemate-request", &value).unwrap();
        }),
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
    let twin = signed(&request(), &other, &channel);
    let signed = signed(&request(), &key, &channel);
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
fn a_past_date_is_refused_and_a_future_one_left_to_the_record() {
    let (key, channel) = (HttpSigningKey::generate().unwrap(), channel());
    let admitted = key.verifying_key();
    let at = |signed_at: u64, first: u64| {
        let mut request = request();
        let mark = RequestMark { first, ..MARK };
        sign::sign_request(&mut request, &key, &channel, &mark, signed_at).unwrap();
        sign::verify_request(&request, &channel, NOW, |_| Some(admitted), admitted).map(|_| ())
    };
    assert_eq!(at(NOW - 60, NOW - 100), Ok(()));
    assert_eq!(at(NOW + 600, NOW), Ok(()));
    let late = at(NOW - 61, NOW - 100);
    assert_eq!(late, Err(SignError::Past { seconds: 61 }));
    let first_after = at(NOW, NOW + 1);
    assert!(matches!(first_after, Err(SignError::Malformed(_))));
}

#[test]
fn every_flipped_byte_of_an_encapsulated_request_is_refused() {
    let gateway = gateway();
    let sealer = gateway.config().unwrap().start_request(&SIGNER).unwrap();
    let (sealed, _) = sealer.seal(b"request").unwrap();
    for at in 0..sealed.len() {
        let mut bent = sealed.clone();
        bent[at] ^= 1;
        let refused = gateway
            .receive(bent)
            .and_then(|received| gateway.open(received, &SIGNER));
        let expected = if at < 6 {
            OhttpError::UnknownKey
        } else {
            OhttpError::Rejected
        };
        assert_eq!(refused.unwrap_err(), expected, "byte {at}");
    }
    for len in 0..sealed.len() {
        let cut = gateway
            .receive(sealed[..len].to_vec())
            .and_then(|received| gateway.open(received, &SIGNER));
        assert_eq!(cut.unwrap_err(), OhttpError::Rejected, "{len} bytes");
    }
}

#[test]
fn an_answer_opens_once_for_its_own_request() {
    let gateway = gateway();
    let start = || gateway.config().unwrap().start_request(&SIGNER).unwrap();
    let (first, first_opener) = start().seal(b"1").unwrap();
    let (_, second_opener) = start().seal(b"2").unwrap();
    let opened = gateway
        .open(gateway.receive(first).unwrap(), &SIGNER)
        .unwrap();
    let answer = opened.sealer.seal(b"answer").unwrap();
    assert_eq!(second_opener.open(&answer), Err(OhttpError::Rejected));
    assert_eq!(first_opener.open(&answer).unwrap(), b"answer");
}

proptest! {
    #[test]
    fn no_bytes_make_a_parser_panic(bytes: Vec<u8>) {
        _ = Request::from_bhttp(&bytes);
        _ = Response::from_bhttp(&bytes);
        _ = KeyConfig::decode_list(&bytes);
        _ = gateway().receive(bytes);
    }
}
