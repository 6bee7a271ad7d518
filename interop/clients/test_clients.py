"""Third-party clients, and an independent client written from the specification, against the real program."""

import base64
import json
import subprocess
from datetime import timedelta
from types import SimpleNamespace

import http_message_signatures as httpsig
import pycurl
import pytest
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519

import support
import wire
from run import HERE
from support import CURL, KEYS_PATH, NODE, OHTTP_PATH, debian_curl, error_of, kserve_error_of, libcurl, predict

REQUEST = "urn:casemate:problem:request"

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


def test_classical_curl_is_accepted_with_fallback_and_counted(site, fallback_gateway):
    assert "warning" in fallback_gateway.said().lower()
    for count in (1, 2):
        done = debian_curl("--cacert", str(site.root), f"{fallback_gateway.url}/healthz")
        assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr
        assert fallback_gateway.wait_for(f"count={count}"), fallback_gateway.said()
    assert fallback_gateway.said().count("a peer connected without post-quantum key exchange") == 2
    # A hybrid peer is neither logged nor counted.
    assert libcurl(f"{fallback_gateway.url}/healthz", site.root).status == 200
    _, answers = node(fallback_gateway.url, str(site.root), "/healthz")
    assert answers[0]["group"]["name"] == "X25519MLKEM768"
    assert fallback_gateway.said().count("a peer connected without post-quantum key exchange") == 2


def test_tls_1_2_is_refused_even_with_fallback(site, fallback_gateway):
    done = debian_curl("--tls-max", "1.2", "--cacert", str(site.root), f"{fallback_gateway.url}/healthz")
    assert done.returncode == 35, done.stderr


def test_logs_have_no_escape_codes_in_a_pipe(fallback_gateway, site):
    debian_curl("--tls-max", "1.2", "--cacert", str(site.root), f"{fallback_gateway.url}/healthz")
    assert fallback_gateway.wait_for("refused a TLS handshake")
    assert not [line for line in fallback_gateway.lines if "\x1b" in line]


# --- 4: a client that uses only PyCA ----------------------------------------------------------------------------------


@pytest.mark.parametrize("aead", wire.AEADS)
def test_pyca_opens_what_the_composed_hpke_seals(aead):
    """Check the HPKE of `wire`: PyCA's own HPKE decrypts its messages."""
    lattice, curve = mlkem.MLKEM768PrivateKey.generate(), x25519.X25519PrivateKey.generate()
    public = lattice.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()
    context = wire.Context.start(public, b"info", aead)
    named = {wire.AES_256_GCM: hpke.AEAD.AES_256_GCM, wire.CHACHA20_POLY1305: hpke.AEAD.CHACHA20_POLY1305}[aead]
    suite = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, named)
    private = hpke.MLKEM768X25519PrivateKey(lattice, curve)
    assert suite.decrypt(context.enc + context.seal(b"content"), private, info=b"info") == b"content"


def test_gateway_opens_what_pyca_seals(client):
    """One-shot HPKE has no exporter, so the answer cannot be opened, but status 200 shows that the request was."""
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
    shown = json.loads(site.cli("--json", "keys", "show", str(site.folder / "python.pem")))
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
    """As float32 they would be infinite, and `null` is not a valid answer."""
    error_of(client.call("POST", "/predict", {"instances": [[number] * 64]}), 400)
    kserve_error_of(client.call("POST", "/v2/models/digits/infer", infer_body([[number] * 64])), 400)


def test_unknown_output_is_refused(client):
    body = infer_body(IMAGES[:1])
    assert client.call("POST", "/v2/models/digits/infer", body | {"outputs": [{"name": "probabilities"}]}).status == 200
    kserve_error_of(client.call("POST", "/v2/models/digits/infer", body | {"outputs": [{"name": "other"}]}), 400)


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
    """`ml-dsa-65` of C2SP httpsig-pq, for a library that lacks it."""

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
