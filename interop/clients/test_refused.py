"""Requests that a gateway must refuse, from an independent client written from the specification."""

import os
import socket
import ssl
import struct
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import support
import wire
from support import KEYS_PATH, OHTTP_PATH, error_of, libcurl, predict

OHTTP_KEY = "https://iana.org/assignments/http-problem-types#ohttp-key"
REQUEST = "urn:casemate:problem:request"
MIB = 1024 * 1024


def test_an_unsigned_request_is_401_before_its_content_is_parsed(client):
    malformed = client.request("POST", "/predict", b'{"instances": [[')
    unknown = client.request("GET", "/no/such/path")
    for request in (predict(client), malformed, unknown):
        error_of(client.exchange(wire.Exchange(client.keys), request.encode()), 401)
    # The same malformed content from an admitted client does reach the model.
    error_of(client.send(malformed), 400)


WRONG = {
    "only the classical signature": {"labels": ["c"]},
    "only the post-quantum signature": {"labels": ["pq"]},
    "an unknown key": {"pair": wire.Pair()},
    "tag of a response": {"tag": wire.RESPONSE_TAG},
    "another channel": {"sent_channel": bytes(32)},
    "query not covered": {"uncovered": ['"@query"']},
    "content type not covered": {"uncovered": ['"content-type"']},
    "a field of the application not covered": {"uncovered": ['"x-more"']},
    "repeated fields not covered": {"uncovered": ['"x-twice";bs']},
    "repeated fields covered as one": {"uncovered": ['"x-twice";bs'], "covered": ['"x-twice"']},
    "request id not covered": {"uncovered": ['"casemate-request"']},
    "a component that is not there": {"covered": ['"x-absent"']},
    "a component twice": {"covered": ['"date"']},
    "a component of a request": {"covered": ['"@method";req']},
    "one parameter too many": {"params": ';nonce="0123456789abcdef"'},
    "another time than the date": {"created_offset": 1},
    "no request id": {"without": ["casemate-request"]},
    "no channel": {"without": ["casemate-channel"]},
    "no digest": {"without": ["content-digest"]},
    "a short request id": {"request_id": bytes(15)},
    "a long request id": {"request_id": bytes(17)},
    "no record": {"mark": ":AAAAAAAAAAAAAAAAAAAAAA==:;first=1"},
    # Tests may run minutes after this line.
    "first attempt after this one": {"first": time.time() + 86_400},
}


@pytest.mark.parametrize("changes", WRONG.values(), ids=WRONG.keys())
def test_wrong_signatures(client, changes):
    fields = [("content-type", "application/json"), ("x-more", "1"), ("x-twice", "a"), ("x-twice", "b")]
    request = predict(client, fields=fields)
    assert client.send(request).status == 200
    error_of(client.send(request, **changes), 401, "signature")


def test_one_good_half_is_not_enough(client, site):
    keyid = site.python.public.id
    for pair in (wire.Pair(ed25519=site.python.ed25519), wire.Pair(mldsa65=site.python.mldsa65), wire.Pair()):
        error_of(client.send(predict(client), pair=pair, keyid=keyid), 401)


def test_trailers_are_signed(client):
    assert "trailers" in client.keys.features
    request = predict(client)
    request.trailers = [("x-checksum", "1")]
    assert client.send(request).status == 200
    error_of(client.send(request, uncovered=['"x-checksum";tr']), 401, "signature")
    for trailer in (("date", "x"), ("signature", "x"), ("content-type", "application/json")):
        request.trailers = [trailer]
        error_of(client.send(request), 400, "message")


def test_an_unknown_key_and_a_wrong_signature_are_indistinguishable(client, site):
    unknown = client.send(predict(client), pair=wire.Pair())
    wrong = client.send(predict(client), pair=wire.Pair(), keyid=site.python.public.id)
    assert (unknown.status, unknown.content) == (wrong.status, wrong.content)
    assert [name for name, _ in unknown.fields] == [name for name, _ in wrong.fields]


def tampered(client, change) -> wire.Response:
    exchange = wire.Exchange(client.keys)
    signed = wire.sign_request(predict(client), client.pair, exchange)
    change(signed)
    return client.exchange(exchange, signed.encode(), signed)


TAMPERED = {
    "content": lambda request: setattr(request, "content", request.content.replace(b"0", b"1")),
    "method": lambda request: setattr(request, "method", "PUT"),
    "path": lambda request: setattr(request, "path", "/v2"),
    "query": lambda request: setattr(request, "path", "/predict?more=1"),
    "authority": lambda request: setattr(request, "authority", "other.example"),
    "content and digest": lambda request: (
        setattr(request, "content", b"{}"),
        setattr(
            request,
            "fields",
            [(name, wire.digest_field(b"{}") if name == "content-digest" else text) for name, text in request.fields],
        ),
    ),
    "content type": lambda request: request.fields.__setitem__(0, ("content-type", "text/plain")),
    "content type twice": lambda request: request.fields.append(("content-type", "text/plain")),
    "digest twice": lambda request: request.fields.append(("content-digest", wire.digest_field(b""))),
}


@pytest.mark.parametrize("change", TAMPERED.values(), ids=TAMPERED.keys())
def test_changed_after_signing(client, change):
    error_of(tampered(client, change), 401)


def test_signed_request_under_another_encapsulation(client):
    first, second = wire.Exchange(client.keys), wire.Exchange(client.keys)
    signed = wire.sign_request(predict(client), client.pair, first)
    error_of(client.exchange(second, signed.encode(), signed), 401, "signature")
    assert client.exchange(first, signed.encode(), signed).status == 200


def test_another_gateway_refuses_the_request(client, site):
    """The channel binding covers the gateway's identity and the configuration."""
    keys = client.keys
    renamed = wire.KeyDocument(keys.config, bytes(32).hex(), keys.record, keys.serial, keys.features)
    config = wire.KeyConfig(keys.config.key_id, keys.config.public_key, keys.config.suites, keys.config.encoded + b"x")
    for wrong in (renamed, wire.KeyDocument(config, keys.signer, keys.record, keys.serial, keys.features)):
        exchange = wire.Exchange(wrong)
        signed = wire.sign_request(predict(client), client.pair, exchange)
        error_of(client.exchange(exchange, signed.encode(), signed), 401, "signature")


def test_replays(client):
    exchange = wire.Exchange(client.keys)
    request_id = os.urandom(16)
    signed = wire.sign_request(predict(client), client.pair, exchange, request_id=request_id)
    body = exchange.seal(signed.encode())
    assert client.answer(exchange, client.post(body), signed).status == 200
    # Unsigned, so that a replay does not cost a signature.
    again = client.answer(exchange, client.post(body), signed)
    error_of(again, 409, "duplicate")
    assert "signature" not in dict(again.fields)
    # A retry under a fresh encapsulation is the same request.
    error_of(client.send(predict(client), request_id=request_id), 409, "duplicate")
    # Ids are compared per client, and by all of their bytes.
    assert client.send(predict(client), request_id=request_id[:-1] + bytes([request_id[-1] ^ 1])).status == 200


def test_first_attempts_elsewhere_or_long_ago(client):
    error_of(client.send(predict(client), record=os.urandom(16)), 409, "outcome-unknown")
    now = time.time()
    error_of(client.send(predict(client), moment=now, first=now - 125), 409, "outcome-unknown")
    assert client.send(predict(client), moment=now, first=now - 115).status == 200


@pytest.mark.parametrize("ahead", [30, 55], ids=["30 s ahead", "55 s ahead"])
def test_replay_after_a_restart(site, gateway, ahead):
    """A restart discards the record, which must not harm a client whose clock is ahead within the window."""
    with site.gateway() as first:
        own = support.PythonClient(first.url, site.root, site.pinned, site.python)
        exchange = wire.Exchange(own.keys)
        signed = wire.sign_request(predict(own), own.pair, exchange, moment=time.time() + ahead)
        body = exchange.seal(signed.encode())
        assert own.answer(exchange, own.post(body), signed).status == 200
    with site.gateway(port=first.port):
        fresh = support.PythonClient(first.url, site.root, site.pinned, site.python)
        # One time in 256, the new key has the number of the old one; then a request to the old key does not open.
        same_number = fresh.config.key_id == own.config.key_id
        assert own.post(body).problem() == ("urn:casemate:problem:request" if same_number else OHTTP_KEY)
        # Sent again with the new key, the same request does not run a second time.
        assert fresh.keys.record != own.keys.record
        error_of(fresh.send(predict(fresh), record=own.keys.record), 409, "outcome-unknown")


def test_strangers_do_not_fill_the_record(client):
    body = wire.Exchange(client.keys).seal(predict(client).encode())
    assert [client.post(body).media_type for _ in range(2)] == ["message/ohttp-res"] * 2


def test_concurrent_replays_are_admitted_once(client):
    exchange = wire.Exchange(client.keys)
    signed = wire.sign_request(predict(client), client.pair, exchange)
    body = exchange.seal(signed.encode())

    def status(_) -> int:
        return client.answer(exchange, client.post(body), signed).status

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(status, range(16)))
    assert statuses == [200] + [409] * 15


def test_dates(client):
    now = time.time()
    late = client.send(predict(client), moment=now - 65)
    error_of(late, 400, "late")
    assert abs(wire.date_of(late) - now) < 5
    request_id = os.urandom(16)
    error_of(client.send(predict(client), moment=now + 66, request_id=request_id), 400, "early")
    # It was marked before it was refused, so the same bytes are refused later too.
    error_of(client.send(predict(client), moment=now + 1, first=now + 1, request_id=request_id), 409, "duplicate")
    error_of(client.send(predict(client), moment=now + 3700), 400, "far-ahead")
    assert client.send(predict(client), moment=now - 50).status == 200
    assert client.send(predict(client), moment=now + 55).status == 200


def test_unknown_key_and_suites(client):
    config = client.config
    sealed = wire.Exchange(client.keys).seal(b"")
    for header in (
        struct.pack(">BHHH", config.key_id ^ 0xFF, wire.KEM, wire.KDF, wire.AES_256_GCM),
        struct.pack(">BHHH", config.key_id, 0x0020, wire.KDF, wire.AES_256_GCM),
        struct.pack(">BHHH", config.key_id, wire.KEM, 0x0003, wire.AES_256_GCM),
        struct.pack(">BHHH", config.key_id, wire.KEM, wire.KDF, 0x0001),
        struct.pack(">BHHH", config.key_id, wire.KEM, wire.KDF, 0xFFFF),
    ):
        outer = client.post(header + sealed[7:])
        assert (outer.status, outer.problem()) == (400, OHTTP_KEY), header


def test_garbage(client):
    header = wire.Exchange(client.keys).header
    for body in (header, header + b"short", header + os.urandom(1120), header + os.urandom(3000)):
        outer = client.post(body)
        assert (outer.status, outer.problem()) == (400, REQUEST), len(body)
    for body in (b"", b"x", header[:3], b"garbage that is no message at all", os.urandom(4096)):
        outer = client.post(body)
        assert outer.status == 400, len(body)
        assert outer.problem() in (REQUEST, OHTTP_KEY)


def test_garbage_inside(client):
    for plaintext in (b"", b"\x00", b"\x01\x40", b"\x04GET", os.urandom(200), b"\xff" * 64):
        error_of(client.exchange(wire.Exchange(client.keys), plaintext), 400)


def test_field_limits(client):
    def with_fields(*fields) -> wire.Request:
        return client.request("GET", "/v2", fields=list(fields))

    # Signing adds six: date, content-digest, casemate-channel, casemate-request, signature-input and signature.
    most = [(f"x-{number}", "v") for number in range(122)]
    assert client.send(with_fields(*most)).status == 200
    error_of(client.send(with_fields(*most, ("x-more", "v"))), 400)
    assert client.send(with_fields(("x-long", "v" * 16384))).status == 200
    error_of(client.send(with_fields(("x-long", "v" * 16385))), 400)
    assert client.send(client.request("GET", "/v2?" + "q" * (8192 - 4))).status == 200
    error_of(client.send(client.request("GET", "/v2?" + "q" * (8193 - 4))), 400)


def test_too_long(client, site, gateway):
    body = bytes(33 * MIB)
    for headers in ({}, {"expect": ""}, {"expect": "", "transfer_encoding": "chunked"}):
        outer = libcurl(gateway.url + OHTTP_PATH, site.root, body, content_type="message/ohttp-req", **headers)
        assert outer.status == 413, headers
        assert outer.problem() == "about:blank"


METHODS = {OHTTP_PATH: "PUT", KEYS_PATH: "POST", "/healthz": "DELETE", "/readyz": "PATCH"}


@pytest.mark.parametrize(("path", "method"), METHODS.items())
def test_wrong_method(site, gateway, method, path):
    outer = libcurl(gateway.url + path, site.root, b"", method=method, content_type="message/ohttp-req")
    assert (outer.status, outer.problem()) == (405, "about:blank")


def test_wrong_method_names_the_right_ones(site, gateway):
    """RFC 9110, section 15.5.6: the answer MUST have `allow`."""
    allowed = {path: libcurl(gateway.url + path, site.root, b"", method=method) for path, method in METHODS.items()}
    assert all("GET" in outer.headers.get("allow", "") for outer in allowed.values()), allowed
    assert "POST" in allowed[OHTTP_PATH].headers["allow"]


def test_head(site, gateway):
    """RFC 9110, section 9.1: every server MUST support GET and HEAD; load balancers probe health with HEAD."""
    outer = libcurl(f"{gateway.url}/healthz", site.root, method="HEAD")
    assert (outer.status, outer.body) == (200, b"")


def test_unknown_path(site, gateway):
    for path in ("/", "/predict", "/v2/health/ready", "/.well-known/other"):
        outer = libcurl(gateway.url + path, site.root)
        assert (outer.status, outer.problem()) == (404, "about:blank")


@pytest.mark.parametrize("media_type", ["", "application/json", "message/ohttp-res", "message/ohttp-chunked-req"])
def test_wrong_media_type(client, media_type):
    outer = client.post(wire.Exchange(client.keys).seal(b""), media_type)
    assert (outer.status, outer.problem()) == (415, "about:blank")


def test_media_types_have_no_case(client):
    # RFC 9110, section 8.3.1.
    exchange = wire.Exchange(client.keys)
    signed = wire.sign_request(predict(client), client.pair, exchange)
    assert client.post(exchange.seal(signed.encode()), "Message/OHTTP-Req").status == 200


def test_slow_peers_are_cut_off(site, fallback_gateway):
    """One peer that never ends its header and one that never ends its handshake."""
    context = ssl.create_default_context(cafile=str(site.root))
    address = ("127.0.0.1", fallback_gateway.port)
    start = time.monotonic()
    silent = socket.create_connection(address)
    slow = context.wrap_socket(socket.create_connection(address), server_hostname="localhost")
    with silent, slow:
        slow.settimeout(1)
        slow.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n")
        closed = False
        while not closed and time.monotonic() - start < 15:
            try:
                slow.sendall(b"x-slow: 1\r\n")
                closed = slow.recv(4096) == b""
            except TimeoutError:
                continue
            except OSError:
                closed = True
        assert closed
        assert 5 < time.monotonic() - start < 12.5
        silent.settimeout(2)
        assert silent.recv(1) == b""
    assert libcurl(f"{fallback_gateway.url}/healthz", site.root).status == 200
