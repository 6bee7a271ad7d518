"""Protected inference, an independent implementation of spec/inference.md that uses only PyCA `cryptography`.

It shares no code with the project. HPKE is composed as in RFC 9180, because PyCA's one-shot HPKE has no exporter.
"""

import base64
import email.utils
import hashlib
import hmac
import json
import os
import re
import struct
import time
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

KEM = 0x647A
KDF = 0x0001
AES_256_GCM = 0x0002
CHACHA20_POLY1305 = 0x0003
AEADS = {AES_256_GCM: AESGCM, CHACHA20_POLY1305: ChaCha20Poly1305}
KEY_BYTES, NONCE_BYTES = 32, 12
XWING_LABEL = bytes.fromhex("5c2e2f2f5e5c")

REQUEST_TAG, RESPONSE_TAG = "casemate/v1/request", "casemate/v1/response"
ALGORITHMS = {"c": "ed25519", "pq": "ml-dsa-65"}
SIGNATURES = ("signature-input", "signature")
KEY_DOCUMENT_SECONDS_MAX = 3600
# Section 6.2: the codes of unsigned sealed answers, and their statuses.
REFUSALS = {
    "message": 400,
    "late": 400,
    "early": 400,
    "far-ahead": 400,
    "signature": 401,
    "not-allowed": 403,
    "duplicate": 409,
    "outcome-unknown": 409,
    "record-full": 503,
}

Fields = list[tuple[str, str]]


class Refused(Exception):
    """A message from the peer is not valid."""


def check(condition: bool, reason: str) -> None:
    if not condition:
        raise Refused(reason)


# --- HPKE (RFC 9180, base mode) ---------------------------------------------------------------------------------------


def hkdf_extract(salt: bytes, ikm: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), ikm, "sha256")


def hkdf_expand(prk: bytes, info: bytes, length: int) -> bytes:
    out, block = b"", b""
    for counter in range(1, 256):
        if len(out) >= length:
            break
        block = hmac.digest(prk, block + info + bytes([counter]), "sha256")
        out += block
    return out[:length]


@dataclass
class Context:
    """A sender's context that seals exactly one message."""

    enc: bytes
    aead: int
    key: bytes
    nonce: bytes
    exporter_secret: bytes
    suite: bytes

    @classmethod
    def start(cls, public_key: bytes, info: bytes, aead: int) -> "Context":
        shared, enc = xwing_encapsulate(public_key)
        suite = b"HPKE" + struct.pack(">HHH", KEM, KDF, aead)

        def extract(salt: bytes, label: bytes, ikm: bytes) -> bytes:
            return hkdf_extract(salt, b"HPKE-v1" + suite + label + ikm)

        schedule = b"\x00" + extract(b"", b"psk_id_hash", b"") + extract(b"", b"info_hash", info)
        secret = extract(shared, b"secret", b"")

        def expand(label: bytes, length: int) -> bytes:
            return labeled_expand(secret, suite, label, schedule, length)

        return cls(enc, aead, expand(b"key", KEY_BYTES), expand(b"base_nonce", NONCE_BYTES), expand(b"exp", 32), suite)

    def seal(self, plaintext: bytes) -> bytes:
        return AEADS[self.aead](self.key).encrypt(self.nonce, plaintext, b"")

    def export(self, context: bytes, length: int) -> bytes:
        return labeled_expand(self.exporter_secret, self.suite, b"sec", context, length)


def labeled_expand(prk: bytes, suite: bytes, label: bytes, info: bytes, length: int) -> bytes:
    return hkdf_expand(prk, struct.pack(">H", length) + b"HPKE-v1" + suite + label + info, length)


def xwing_encapsulate(public_key: bytes) -> tuple[bytes, bytes]:
    """MLKEM768-X25519 of draft-ietf-hpke-pq, which is X-Wing."""
    check(len(public_key) == 1216, "length of the public key")
    lattice, curve = public_key[:1184], public_key[1184:]
    lattice_secret, lattice_ct = MLKEM768PublicKey.from_public_bytes(lattice).encapsulate()
    ephemeral = X25519PrivateKey.generate()
    curve_secret = ephemeral.exchange(X25519PublicKey.from_public_bytes(curve))
    curve_ct = ephemeral.public_key().public_bytes_raw()
    shared = hashlib.sha3_256(lattice_secret + curve_secret + curve_ct + curve + XWING_LABEL).digest()
    return shared, lattice_ct + curve_ct


# --- Binary HTTP (RFC 9292) -------------------------------------------------------------------------------------------


def varint(value: int) -> bytes:
    for prefix, size in ((0, 1), (1, 2), (2, 4), (3, 8)):
        if value < 1 << (8 * size - 2):
            return (value | prefix << (8 * size - 2)).to_bytes(size, "big")
    raise ValueError(value)


def prefixed(data: bytes) -> bytes:
    return varint(len(data)) + data


def field_lines(fields: Fields) -> bytes:
    return b"".join(prefixed(name.encode()) + prefixed(value.encode("latin-1")) for name, value in fields)


@dataclass
class Request:
    method: str
    path: str
    authority: str
    fields: Fields = field(default_factory=list)
    content: bytes = b""
    scheme: str = "https"
    trailers: Fields = field(default_factory=list)

    def encode(self, indeterminate: bool = False) -> bytes:
        control = b"".join(prefixed(text.encode()) for text in (self.method, self.scheme, self.authority, self.path))
        lines = field_lines(self.fields)
        if not indeterminate:
            trailers = prefixed(field_lines(self.trailers))
            return varint(0) + control + prefixed(lines) + prefixed(self.content) + trailers
        half = len(self.content) // 2
        chunks = b"".join(prefixed(chunk) for chunk in (self.content[:half], self.content[half:]) if chunk)
        return varint(2) + control + lines + varint(0) + chunks + varint(0) + field_lines(self.trailers) + varint(0)


@dataclass
class Response:
    status: int
    fields: Fields
    content: bytes
    trailers: Fields = field(default_factory=list)

    def get(self, name: str) -> str:
        values = [value for other, value in self.fields if other == name]
        check(len(values) == 1, f"{len(values)} fields named {name}")
        return values[0]

    def json(self):
        return json.loads(self.content)


class Reader:
    def __init__(self, data: bytes):
        self.data, self.at = data, 0

    def take(self, length: int) -> bytes:
        check(self.at + length <= len(self.data), "truncated binary HTTP")
        self.at += length
        return self.data[self.at - length : self.at]

    def varint(self) -> int:
        first = self.take(1)[0]
        size = 1 << (first >> 6)
        return int.from_bytes(bytes([first & 0x3F]) + self.take(size - 1), "big")

    def prefixed(self) -> bytes:
        return self.take(self.varint())

    def more(self) -> bool:
        return self.at < len(self.data)

    def lines(self, terminated: bool) -> Fields:
        fields = []
        while self.more():
            length = self.varint()
            if terminated and length == 0:
                break
            fields.append((self.take(length).decode(), self.prefixed().decode("latin-1")))
        return fields


def decode_response(data: bytes) -> Response:
    reader = Reader(data)
    framing = reader.varint()
    check(framing in (1, 3), f"framing {framing}")
    status = reader.varint()
    check(200 <= status <= 599, f"status {status}")
    if framing == 1:
        fields = Reader(reader.prefixed()).lines(terminated=False)
        content = reader.prefixed() if reader.more() else b""
        trailers = Reader(reader.prefixed()).lines(terminated=False) if reader.more() else []
    else:
        fields, content = reader.lines(terminated=True), b""
        while reader.more() and (chunk := reader.prefixed()):
            content += chunk
        trailers = reader.lines(terminated=True)
    check(not any(reader.data[reader.at :]), "bytes after the message")
    return Response(status, fields, content, trailers)


# --- Signatures (RFC 9421) --------------------------------------------------------------------------------------------


@dataclass
class PublicPair:
    ed25519: Ed25519PublicKey
    mldsa65: MLDSA65PublicKey

    @classmethod
    def from_pem(cls, pem: bytes) -> "PublicPair":
        blocks = re.findall(rb"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----\n?", pem, re.DOTALL)
        pair = cls(*[load_pem_public_key(block) for block in blocks])
        check(
            isinstance(pair.ed25519, Ed25519PublicKey) and isinstance(pair.mldsa65, MLDSA65PublicKey), "kinds of keys"
        )
        return pair

    def _encoded(self, encoding: Encoding) -> bytes:
        return b"".join(
            key.public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo) for key in (self.ed25519, self.mldsa65)
        )

    def pem(self) -> bytes:
        return self._encoded(Encoding.PEM)

    @property
    def id(self) -> str:
        return hashlib.sha256(self._encoded(Encoding.DER)).hexdigest()

    def verify(self, label: str, signature: bytes, message: bytes) -> None:
        key = {"c": self.ed25519, "pq": self.mldsa65}[label]
        try:
            key.verify(signature, message)
        except InvalidSignature:
            raise Refused(f"signature {label}") from None


@dataclass
class Pair:
    ed25519: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    mldsa65: MLDSA65PrivateKey = field(default_factory=MLDSA65PrivateKey.generate)

    @property
    def public(self) -> PublicPair:
        return PublicPair(self.ed25519.public_key(), self.mldsa65.public_key())

    def sign(self, label: str, message: bytes) -> bytes:
        return {"c": self.ed25519, "pq": self.mldsa65}[label].sign(message)


def byte_sequence(data: bytes) -> str:
    return f":{base64.b64encode(data).decode()}:"


def digest_field(content: bytes) -> str:
    return f"sha-512={byte_sequence(hashlib.sha512(content).digest())}"


def section_components(fields: Fields, suffix: str = "") -> dict[str, str]:
    """Return every field of a section by its component identifier; fields that occur several times as byte sequences."""
    components = {}
    for name in dict.fromkeys(name for name, _ in fields if name not in SIGNATURES):
        values = [value for other, value in fields if other == name]
        if len(values) == 1:
            components[f'"{name}"{suffix}'] = values[0].strip()
        else:
            encoded = [byte_sequence(value.strip().encode("latin-1")) for value in values]
            components[f'"{name}";bs{suffix}'] = ", ".join(encoded)
    return components


def request_components(request: Request) -> dict[str, str]:
    path, _, query = request.path.partition("?")
    derived = {"@method": request.method, "@authority": request.authority, "@path": path, "@query": f"?{query}"}
    components = {f'"{name}"': value for name, value in derived.items()}
    return components | section_components(request.fields) | section_components(request.trailers, ";tr")


def response_components(response: Response, request: Request) -> dict[str, str]:
    components = {'"@status"': str(response.status)} | section_components(response.fields)
    components |= section_components(response.trailers, ";tr")
    asked = request_components(request) | {f'"{name}"': dict(request.fields)[name] for name in SIGNATURES}
    return components | {f"{name};req": value for name, value in asked.items()}


def signature_base(covered: list[str], values: dict[str, str], params: str) -> bytes:
    lines = [f"{name}: {values.get(name, '')}" for name in covered] + [f'"@signature-params": {params}']
    return "\n".join(lines).encode("latin-1")


def request_field(request_id: bytes, first: int, record: bytes) -> str:
    return f"{byte_sequence(request_id)};first={first};record={byte_sequence(record)}"


def sign_request(request: Request, pair: Pair, exchange: "Exchange", **changes) -> Request:
    """Return a signed copy of `request`; `changes` turn it into another attempt, or make it invalid for negative tests."""
    moment = int(changes.get("moment", time.time()))
    first = int(changes.get("first", moment))
    mark = request_field(changes.get("request_id") or os.urandom(16), first, changes.get("record", exchange.record))
    fields = request.fields + [
        ("date", email.utils.formatdate(moment, usegmt=True)),
        ("content-digest", digest_field(request.content)),
        ("casemate-channel", byte_sequence(changes.get("sent_channel", exchange.channel))),
        ("casemate-request", changes.get("mark", mark)),
    ]
    fields = [(name, value) for name, value in fields if name not in changes.get("without", ())]
    signed = Request(request.method, request.path, request.authority, fields, request.content, request.scheme)
    signed.trailers = list(request.trailers)
    values = request_components(signed)
    covered = [name for name in values if name not in changes.get("uncovered", ())] + changes.get("covered", [])
    inputs, signatures = [], []
    for label in changes.get("labels", ALGORITHMS):
        params = (
            f"({' '.join(covered)});created={moment + changes.get('created_offset', 0)}"
            f';keyid="{changes.get("keyid", pair.public.id)}";alg="{ALGORITHMS[label]}"'
            f';tag="{changes.get("tag", REQUEST_TAG)}"{changes.get("params", "")}'
        )
        inputs.append(f"{label}={params}")
        signatures.append(f"{label}={byte_sequence(pair.sign(label, signature_base(covered, values, params)))}")
    signed.fields = fields + [("signature-input", ", ".join(inputs)), ("signature", ", ".join(signatures))]
    return signed


MEMBER = re.compile(r'\s*([a-z]+)=(\(([^)]*)\)((?:;[a-z]+=(?:"[^"\\]*"|\d+))*))(?:,|$)')
PARAM = re.compile(r';([a-z]+)=(?:"([^"\\]*)"|(\d+))')
SIGNATURE = re.compile(r"\s*([a-z]+)=:([A-Za-z0-9+/=]*):(?:,|$)")


def date_of(response: Response) -> int:
    return int(email.utils.parsedate_to_datetime(response.get("date")).timestamp())


def verify_response(response: Response, request: Request, gateway: PublicPair, channel: bytes) -> None:
    """Check every rule of section 7 for the response to the signed `request`."""
    check(response.get("content-digest") == digest_field(response.content), "content digest")
    check(response.get("casemate-channel") == byte_sequence(channel), "channel binding")
    members = MEMBER.findall(response.get("signature-input"))
    signatures = dict(SIGNATURE.findall(response.get("signature")))
    check(sorted(label for label, *_ in members) == ["c", "pq"] == sorted(signatures), "labels")
    values = response_components(response, request)
    for label, params, covered, tail in members:
        names = covered.split()
        check(len(names) == len(set(names)) and set(names) == set(values), f"components {names}")
        given = {name: text or number for name, text, number in PARAM.findall(tail)}
        check(set(given) == {"created", "keyid", "alg", "tag"}, f"parameters {sorted(given)}")
        check(given["alg"] == ALGORITHMS[label], "alg")
        check(given["tag"] == RESPONSE_TAG, "tag")
        check(given["keyid"] == gateway.id, "keyid")
        check(int(given["created"]) == date_of(response), "created")
        gateway.verify(label, base64.b64decode(signatures[label]), signature_base(names, values, params))


def check_answer(response: Response, request: Request | None, gateway: PublicPair, channel: bytes) -> None:
    """Check a sealed answer: signed, or a refusal of section 6.2."""
    date_of(response)
    if any(name in SIGNATURES for name, _ in response.fields):
        check(request is not None, "a signed answer to a request that was not signed")
        verify_response(response, request, gateway, channel)
    else:
        code = response.json()["error"]["code"]
        check(REFUSALS.get(code) == response.status, f"unsigned {response.status} {code}")


# --- Oblivious HTTP (RFC 9458) and the key document -------------------------------------------------------------------


@dataclass
class KeyConfig:
    key_id: int
    public_key: bytes
    suites: list[tuple[int, int]]
    encoded: bytes

    @classmethod
    def from_list(cls, data: bytes) -> "KeyConfig":
        (length,) = struct.unpack_from(">H", data)
        check(length == len(data) - 2, "one key configuration")
        key_id, kem = struct.unpack_from(">BH", data, 2)
        check(kem == KEM, f"KEM {kem:#06x}")
        public_key = data[5 : 5 + 1216]
        (suites_length,) = struct.unpack_from(">H", data, 5 + 1216)
        rest = data[5 + 1216 + 2 :]
        check(suites_length == len(rest) and suites_length % 4 == 0, "length of the suites")
        return cls(key_id, public_key, list(struct.iter_unpack(">HH", rest)), data[2:])


@dataclass
class KeyDocument:
    config: KeyConfig
    signer: str
    record: bytes
    serial: int
    features: list[str]


def open_key_document(document: bytes, pinned: PublicPair) -> KeyDocument:
    parsed = json.loads(document)
    check(set(parsed) == {"schema", "payload", "ed25519", "ml-dsa-65"}, "members of the key document")
    check(parsed["schema"] == "casemate.gateway-keys/1", "schema")
    payload = base64.b64decode(parsed["payload"], validate=True)
    message = b"casemate/v1/key-document\x00" + payload
    pinned.verify("c", base64.b64decode(parsed["ed25519"]), message)
    pinned.verify("pq", base64.b64decode(parsed["ml-dsa-65"]), message)
    inner = json.loads(payload)
    check(inner["signer"] == pinned.id, "signer")
    check(inner["not_before"] <= time.time() <= inner["not_after"], "dates")
    check(inner["not_after"] - inner["not_before"] <= KEY_DOCUMENT_SECONDS_MAX, "lifetime")
    check(not inner.get("critical"), "critical members")
    record = base64.b64decode(inner["record"], validate=True)
    check(len(record) == 16 and inner["serial"] >= 1, "record and serial")
    config = KeyConfig.from_list(base64.b64decode(inner["key_configs"], validate=True))
    return KeyDocument(config, inner["signer"], record, inner["serial"], inner["features"])


class Exchange:
    """One encapsulated request and its response."""

    def __init__(self, keys: KeyDocument, aead: int = AES_256_GCM):
        config, self.record = keys.config, keys.record
        self.header = struct.pack(">BHHH", config.key_id, KEM, KDF, aead)
        self.context = Context.start(config.public_key, b"message/bhttp request\x00" + self.header, aead)
        bound = bytes.fromhex(keys.signer) + hashlib.sha256(config.encoded).digest()
        self.channel = self.context.export(b"casemate/v1/channel\x00" + bound, 32)

    def seal(self, plaintext: bytes) -> bytes:
        return self.header + self.context.enc + self.context.seal(plaintext)

    def open(self, body: bytes) -> bytes:
        size = max(KEY_BYTES, NONCE_BYTES)
        nonce, ciphertext = body[:size], body[size:]
        secret = self.context.export(b"message/bhttp response", size)
        prk = hkdf_extract(self.context.enc + nonce, secret)
        aead = AEADS[self.context.aead](hkdf_expand(prk, b"key", KEY_BYTES))
        return aead.decrypt(hkdf_expand(prk, b"nonce", NONCE_BYTES), ciphertext, b"")
