"""Other people's clients, and one written again from the specification, against the real binary."""

import base64
import json
import os
import socket
import ssl
import struct
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import SimpleNamespace

import http_message_signatures as httpsig
import pycurl
import pytest
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519

import support
import upstream as upstream_server
import wire
from run import HERE
from support import CURL, KEYS_PATH, NODE, OHTTP_PATH, debian_curl, libcurl, urllib_call

OHTTP_KEY = "https://iana.org/assignments/http-problem-types#ohttp-key"
REQUEST = "urn:casemate:problem:request"
MIB = 1024 * 1024

SAMPLES = support.samples(20)
IMAGES = [sample["image"] for sample in SAMPLES]
LABELS = [sample["label"] for sample in SAMPLES]
# The model gets one of its 50 samples wrong.
WRONG_MAX = 1


def correct(predictions: list[int], labels: list[int]) -> bool:
    wrong = sum(given != label for given, label in zip(predictions, labels, strict=True))
    return wrong <= WRONG_MAX


def infer_body(images: list[list[int]]) -> dict:
    data = [pixel for image in images for pixel in image]
    return {"id": "7", "inputs": [{"name": "image", "shape": [len(images), 64], "datatype": "FP32", "data": data}]}


def digits_of(output: dict) -> list[int]:
    rows, columns = output["shape"]
    scores = [output["data"][row * columns : (row + 1) * columns] for row in range(rows)]
    return [row.index(max(row)) for row in scores]


# --- 1 to 3: TLS ------------------------------------------------------------------------------------------------------


def test_libcurl_with_openssl_3_6(site, gateway):
    assert "OpenSSL/3.6" in pycurl.version
    alive = libcurl(f"{gateway.url}/healthz", site.root)
    assert (alive.status, alive.body) == (200, b"ok\n")
    assert libcurl(f"{gateway.url}/readyz", site.root).status == 200
    keys = libcurl(gateway.url + OHTTP_PATH, site.root)
    assert (keys.status, keys.media_type) == (200, "application/ohttp-keys")
    config = wire.KeyConfig.from_list(keys.body)
    assert config.suites == [(wire.KDF, wire.AES_256_GCM), (wire.KDF, wire.CHACHA20_POLY1305)]


def test_libcurl_refuses_an_unknown_root(gateway):
    with pytest.raises(pycurl.error) as refused:
        libcurl(f"{gateway.url}/healthz", None)
    assert refused.value.args[0] == pycurl.E_PEER_FAILED_VERIFICATION


def node(*arguments: str) -> tuple[int, dict]:
    command = [NODE, HERE / "tls_get.mjs", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, env=support.clean_environment())
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_node_26(site, gateway):
    code, answers = node(gateway.url, str(site.root), "/healthz", OHTTP_PATH)
    assert code == 0, answers
    assert [answer["status"] for answer in answers] == [200, 200]
    assert [answer["type"] for answer in answers] == ["text/plain", "application/ohttp-keys"]
    assert {answer["protocol"] for answer in answers} == {"TLSv1.3"}
    assert {answer["group"]["name"] for answer in answers} == {"X25519MLKEM768"}
    wire.KeyConfig.from_list(base64.b64decode(answers[1]["body"]))


def test_node_26_refuses_an_unknown_root(gateway):
    code, answer = node(gateway.url, "", "/healthz")
    assert code == 1
    assert answer["code"] in ("UNABLE_TO_VERIFY_LEAF_SIGNATURE", "SELF_SIGNED_CERT_IN_CHAIN")


def test_classical_curl_is_refused(site, gateway):
    version = subprocess.run([CURL, "--version"], capture_output=True, text=True).stdout
    assert "OpenSSL/3.0" in version, f"not a classical-only curl: {version}"
    done = debian_curl("--cacert", str(site.root), f"{gateway.url}/healthz")
    assert (done.returncode, done.stdout) == (35, ""), done.stderr
    assert "handshake failure" in done.stderr


@pytest.fixture(scope="module")
def fallback_gateway(site, gateway):
    with site.gateway(FALLBACK_CRYPTO="enabled") as service:
        yield service


def test_classical_curl_is_accepted_with_fallback_and_counted(site, fallback_gateway):
    assert "warning" in fallback_gateway.said().lower()
    for count in (1, 2):
        done = debian_curl("--cacert", str(site.root), f"{fallback_gateway.url}/healthz")
        assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr
        assert fallback_gateway.wait_for(f"count={count}"), fallback_gateway.said()
    assert fallback_gateway.said().count("a classical-only peer connected") == 2
    # A hybrid peer is neither logged nor counted.
    assert libcurl(f"{fallback_gateway.url}/healthz", site.root).status == 200
    _, answers = node(fallback_gateway.url, str(site.root), "/healthz")
    assert answers[0]["group"]["name"] == "X25519MLKEM768"
    assert fallback_gateway.said().count("a classical-only peer connected") == 2


def test_tls_1_2_is_refused_even_with_fallback(site, fallback_gateway):
    done = debian_curl("--tls-max", "1.2", "--cacert", str(site.root), f"{fallback_gateway.url}/healthz")
    assert done.returncode == 35, done.stderr


def test_logs_have_no_escape_codes_in_a_pipe(fallback_gateway, site):
    debian_curl("--tls-max", "1.2", "--cacert", str(site.root), f"{fallback_gateway.url}/healthz")
    assert fallback_gateway.wait_for("refused a TLS handshake")
    assert not [line for line in fallback_gateway.lines if "\x1b" in line]


# --- 4: a client of nothing but PyCA ----------------------------------------------------------------------------------


@pytest.mark.parametrize("aead", wire.AEADS)
def test_composed_hpke_is_what_pyca_opens(aead):
    """The HPKE of `wire` is not taken on faith: PyCA's own decrypts what it seals."""
    lattice, curve = mlkem.MLKEM768PrivateKey.generate(), x25519.X25519PrivateKey.generate()
    public = lattice.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()
    context = wire.Context.start(public, b"info", aead)
    named = {wire.AES_256_GCM: hpke.AEAD.AES_256_GCM, wire.CHACHA20_POLY1305: hpke.AEAD.CHACHA20_POLY1305}[aead]
    suite = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, named)
    private = hpke.MLKEM768X25519PrivateKey(lattice, curve)
    assert suite.decrypt(context.enc + context.seal(b"content"), private, info=b"info") == b"content"


def test_gateway_opens_what_pyca_seals(client):
    """One-shot HPKE has no exporter, so the answer stays closed, but 200 says that the request was opened."""
    header = wire.Exchange(client.keys).header
    lattice = mlkem.MLKEM768PublicKey.from_public_bytes(client.config.public_key[:1184])
    curve = x25519.X25519PublicKey.from_public_bytes(client.config.public_key[1184:])
    suite = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
    public = hpke.MLKEM768X25519PublicKey(lattice, curve)
    message = client.request("GET", "/v2").encode()
    sealed = suite.encrypt(message, public, info=b"message/bhttp request\x00" + header)
    outer = client.post(header + sealed)
    assert (outer.status, outer.media_type) == (200, "message/ohttp-res")
    assert client.post(header + sealed[:-1] + bytes([sealed[-1] ^ 1])).problem() == REQUEST


def test_key_document(site, gateway, client):
    document = libcurl(gateway.url + KEYS_PATH, site.root)
    assert (document.status, document.media_type) == (200, "application/json")
    signed = wire.open_key_document(document.body, site.pinned)
    assert signed.config == wire.KeyConfig.from_list(libcurl(gateway.url + OHTTP_PATH, site.root).body)
    again = wire.open_key_document(libcurl(gateway.url + KEYS_PATH, site.root).body, site.pinned)
    assert (again.record, again.serial) == (signed.record, signed.serial)
    with pytest.raises(wire.Refused, match="signature c"):
        wire.open_key_document(document.body, wire.Pair().public)
    half = wire.PublicPair(site.pinned.ed25519, wire.Pair().public.mldsa65)
    with pytest.raises(wire.Refused, match="signature pq"):
        wire.open_key_document(document.body, half)


def test_key_id_and_pem_are_those_of_the_binary(site):
    shown = json.loads(site.cli("--json", "keys", "show", str(site.directory / "python.pem")))
    assert site.python.public.id in json.dumps(shown)
    listed = json.loads(site.cli("--json", "keys", "list"))["keys"]
    assert site.pinned.id in [key["id"] for key in listed if key["name"] == "gateway"]


@pytest.mark.parametrize("indeterminate", [False, True], ids=["known", "indeterminate"])
@pytest.mark.parametrize("aead", wire.AEADS, ids=["aes", "chacha"])
def test_predict(client, aead, indeterminate):
    answer = client.call("POST", "/predict", {"instances": IMAGES}, aead=aead, indeterminate=indeterminate)
    assert answer.status == 200, answer.content
    body = answer.json()
    assert body["model"] == "digits"
    assert correct(body["predictions"], LABELS)
    assert [int(label) for label in body["labels"]] == body["predictions"]
    assert [len(scores) for scores in body["scores"]] == [10] * len(IMAGES)
    assert all(abs(sum(scores) - 1) < 1e-4 for scores in body["scores"])


def test_kserve_v2(client):
    assert client.call("GET", "/v2/health/live").json() == {"live": True}
    assert client.call("GET", "/v2/health/ready").json() == {"ready": True}
    server = client.call("GET", "/v2").json()
    assert {"name", "version", "extensions"} <= server.keys()
    metadata = client.call("GET", "/v2/models/digits").json()
    assert metadata["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 64]}]
    assert metadata["outputs"] == [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]}]
    assert client.call("GET", "/v2/models/digits/ready").status == 200
    answer = client.call("POST", "/v2/models/digits/infer", infer_body(IMAGES))
    assert answer.status == 200, answer.content
    body = answer.json()
    assert (body["model_name"], body["id"]) == ("digits", "7")
    (output,) = body["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("probabilities", "FP32", [len(IMAGES), 10])
    assert correct(digits_of(output), LABELS)


@pytest.mark.parametrize("number", [1e39, 1e300, -1e300])
def test_numbers_beyond_float32(client, number):
    """As float32 they are infinite, and `null` is no answer."""
    error_of(client.call("POST", "/predict", {"instances": [[number] * 64]}), 400)
    error_of(client.call("POST", "/v2/models/digits/infer", infer_body([[number] * 64])), 400)


def test_unknown_output_is_refused(client):
    body = infer_body(IMAGES[:1])
    assert client.call("POST", "/v2/models/digits/infer", body | {"outputs": [{"name": "probabilities"}]}).status == 200
    error_of(client.call("POST", "/v2/models/digits/infer", body | {"outputs": [{"name": "other"}]}), 400)


def answered(client, request: wire.Request) -> tuple[wire.Exchange, wire.Request, bytes]:
    exchange = wire.Exchange(client.keys)
    signed = wire.sign_request(request, client.pair, exchange)
    return exchange, signed, exchange.open(client.post(exchange.seal(signed.encode())).body)


def test_the_client_itself_refuses_changed_responses(client, site):
    exchange, signed, plaintext = answered(client, client.request("GET", "/v2"))
    exchange2, signed2, _ = answered(client, client.request("GET", "/v2"))

    def verify(pinned=site.pinned, channel=exchange.channel, request=signed, **changes) -> None:
        answer = wire.decode_response(plaintext)
        for name, value in changes.items():
            setattr(answer, name, value)
        wire.verify_response(answer, request, pinned, channel)

    verify()
    other = wire.Pair().public
    for wrong in (
        {"status": 201},
        {"content": b"{}"},
        {"channel": exchange2.channel},
        {"request": signed2},
        {"pinned": other},
        {"pinned": wire.PublicPair(site.pinned.ed25519, other.mldsa65)},
    ):
        with pytest.raises(wire.Refused):
            verify(**wrong)


class MLDSA65(httpsig.HTTPSignatureAlgorithm):
    """`ml-dsa-65` of C2SP httpsig-pq for a library that does not know it."""

    algorithm_id = "ml-dsa-65"

    def __init__(self, public_key=None, private_key=None, password=None):
        self.public_key = public_key

    def verify(self, signature: bytes, message: bytes) -> None:
        self.public_key.verify(signature, message)


@pytest.mark.parametrize("label", ["c", "pq"])
def test_response_by_an_independent_rfc9421_library(client, site, label):
    request = client.request("GET", "/v2/models/digits?x=1", fields=[("x-more", "1"), ("x-twice", "a"), ("x-twice", "b")])
    _, signed, plaintext = answered(client, request)
    answer = wire.decode_response(plaintext)
    key, algorithm = {
        "c": (site.pinned.ed25519, httpsig.algorithms.ED25519),
        "pq": (site.pinned.mldsa65, MLDSA65),
    }[label]
    resolver = httpsig.MappingKeyResolver(public_keys={site.pinned.id: key}, private_keys={})
    verifier = httpsig.HTTPMessageVerifier(signature_algorithm=algorithm, key_resolver=resolver)

    def lines(fields: wire.Fields) -> SimpleNamespace:
        return SimpleNamespace(items=lambda: fields)

    def verify(status: int, path: str = signed.path) -> list:
        url = f"https://{signed.authority}{path}"
        asked = SimpleNamespace(method="GET", url=url, headers=lines(signed.fields))
        return verifier.verify(
            SimpleNamespace(status_code=status, headers=lines(answer.fields), request=asked),
            max_age=timedelta(minutes=5),
            expect_tag=wire.RESPONSE_TAG,
            expect_label=label,
            require_components=[*wire.response_components(answer, signed)],
            body=answer.content,
        )

    (result,) = verify(200)
    assert result.parameters["keyid"] == site.pinned.id
    for wrong in ({"status": 201}, {"status": 200, "path": "/v2/models/digits?x=2"}):
        with pytest.raises(httpsig.InvalidSignature):
            verify(**wrong)


# --- 5: what must be refused ------------------------------------------------------------------------------------------


def error_of(answer: wire.Response, status: int, code: str | None = None) -> dict:
    assert answer.status == status, (answer.status, answer.content)
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "code"}
    assert code is None or error["code"] == code, error
    return error


def predict(client, **fields) -> wire.Request:
    return client.request("POST", "/predict", {"instances": IMAGES[:1]}, **fields)


def test_unsigned_is_401_before_the_content_is_looked_at(client):
    malformed = client.request("POST", "/predict", b'{"instances": [[')
    unknown = client.request("GET", "/no/such/path")
    for request in (predict(client), malformed, unknown):
        error_of(client.exchange(wire.Exchange(client.keys), request.encode()), 401)
    # The same malformed content from an admitted client does reach the model's door.
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
    "first attempt after this one": {"first": time.time() + 30},
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


def test_an_unknown_key_and_a_wrong_signature_look_alike(client, site):
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


def test_another_gateway_does_not_take_the_request(client, site):
    """The channel binding names the gateway's identity and the configuration."""
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
    # Ids are told apart per client only by all of their bytes.
    assert client.send(predict(client), request_id=request_id[:-1] + bytes([request_id[-1] ^ 1])).status == 200


def test_first_attempts_elsewhere_or_long_ago(client):
    error_of(client.send(predict(client), record=os.urandom(16)), 409, "outcome-unknown")
    now = time.time()
    error_of(client.send(predict(client), moment=now, first=now - 125), 409, "outcome-unknown")
    assert client.send(predict(client), moment=now, first=now - 115).status == 200


@pytest.mark.parametrize("ahead", [30, 55], ids=["30 s ahead", "55 s ahead"])
def test_replay_after_a_restart(site, gateway, ahead):
    """The record is gone then; a client whose clock runs ahead, within the window, is not to lose by it."""
    with site.gateway() as first:
        own = support.PythonClient(first.url, site.root, site.pinned, site.python)
        exchange = wire.Exchange(own.keys)
        signed = wire.sign_request(predict(own), own.pair, exchange, moment=time.time() + ahead)
        body = exchange.seal(signed.encode())
        assert own.answer(exchange, own.post(body), signed).status == 200
    with site.gateway(port=first.port):
        assert own.post(body).problem() == OHTTP_KEY
        # Sent again under the new key, the same request does not run a second time.
        fresh = support.PythonClient(first.url, site.root, site.pinned, site.python)
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
    # It was marked before it was refused, so that the same bytes are not in time later.
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
    """RFC 9110, section 9.1: every server MUST support GET and HEAD; load balancers ask for health so."""
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
