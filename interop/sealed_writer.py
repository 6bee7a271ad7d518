"""A minimal writer of sealed artifacts and a generator of key files, for tests. Section numbers are as in `sealed_reader.py`.

It uses PyCA's HPKE where PyCA has the suite, so that the reader's composition is checked against an independent one.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import Any, NamedTuple

from cryptography.hazmat.primitives import hashes, hpke
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealed_reader import CONTEXT, FLOE_HEADER, OVERHEAD, Header, hkdf384, sha384
from standards import P256, P384, Kem, Signature, der, ec_private, key_schedule, pem, pkcs8, spki


class KeyFile(NamedTuple):
    """A fresh key in both PEM forms, with the values that the writer needs."""

    suite: Kem | Signature
    public: bytes
    secret: tuple[bytes, bytes]  # seed, and classical private key

    @property
    def key_id(self) -> bytes:
        """SHA-256 of the SubjectPublicKeyInfo."""
        return hashlib.sha256(spki(self.suite.oid, self.public)).digest()

    @property
    def public_pem(self) -> str:
        """SubjectPublicKeyInfo."""
        return pem("PUBLIC KEY", spki(self.suite.oid, self.public))

    @property
    def private_pem(self) -> str:
        """PKCS#8: the LAMPS composite form, or the seed choice of RFC 9881 and RFC 9935."""
        seed, scalar = self.secret
        curve = self.suite.curve if isinstance(self.suite, Kem) else P384 if self.suite.classical == "p384" else self.suite.classical
        if curve is None:
            key = der(0x80, seed)
        else:
            key = seed + (scalar if isinstance(curve, str) else ec_private(curve, scalar))
        return pem("PRIVATE KEY", pkcs8(self.suite.oid, key))


Random = Callable[[int], bytes]


def new_scalar(curve: ec.EllipticCurve, random: Random) -> bytes:
    """Generate a private scalar."""
    while True:
        scalar = random((curve.key_size + 7) // 8)
        try:
            ec.derive_private_key(int.from_bytes(scalar), curve)
        except ValueError:  # zero, or not below the order
            continue
        return scalar


def new_kem_key(kem: Kem, random: Random = os.urandom) -> KeyFile:
    """Generate a recipient key."""
    seed = random(64)
    scalar = b"" if kem.curve is None else random(32) if isinstance(kem.curve, str) else new_scalar(kem.curve, random)
    return KeyFile(kem, kem.public(seed, scalar), (seed, scalar))


def new_signing_key(suite: Signature, random: Random = os.urandom) -> KeyFile:
    """Generate a signing key."""
    seed = random(32)
    private = (mldsa.MLDSA65PrivateKey if suite.mldsa is mldsa.MLDSA65PublicKey else mldsa.MLDSA87PrivateKey).from_seed_bytes(seed)
    post = private.public_key().public_bytes_raw()
    if suite.classical is None:
        return KeyFile(suite, post, (seed, b""))
    if suite.classical == "ed25519":
        scalar = random(32)
        return KeyFile(suite, post + ed25519.Ed25519PrivateKey.from_private_bytes(scalar).public_key().public_bytes_raw(), (seed, scalar))
    scalar = new_scalar(P384, random)
    point = ec.derive_private_key(int.from_bytes(scalar), P384).public_key()
    return KeyFile(suite, post + point.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint), (seed, scalar))


def sign(key: KeyFile, message: bytes, context: bytes = CONTEXT) -> bytes:
    """Section 5.4."""
    suite, (seed, scalar) = key.suite, key.secret
    assert isinstance(suite, Signature)
    private = (mldsa.MLDSA65PrivateKey if suite.mldsa is mldsa.MLDSA65PublicKey else mldsa.MLDSA87PrivateKey).from_seed_bytes(seed)
    if suite.classical is None:
        return private.sign(message, context)
    represented = suite.represent(message, context)
    if suite.classical == "ed25519":
        half = ed25519.Ed25519PrivateKey.from_private_bytes(scalar).sign(represented)
    else:
        half = ec.derive_private_key(int.from_bytes(scalar), P384).sign(represented, ec.ECDSA(hashes.SHA384()))
    return private.sign(represented, suite.label) + half


def encapsulate(key: KeyFile, info: bytes, plain: bytes) -> tuple[bytes, bytes]:
    """HPKE.SealBase (section 5.2): `enc` and `ct`."""
    kem = key.suite
    assert isinstance(kem, Kem)
    post, point = key.public[: kem.mlkem_ek], key.public[kem.mlkem_ek :]
    match kem.triple[0]:
        case 0x0051:
            suite = hpke.Suite(hpke.KEM.MLKEM1024_P384, hpke.KDF.HKDF_SHA384, hpke.AEAD.AES_256_GCM)
            p384 = ec.EllipticCurvePublicKey.from_encoded_point(P384, point)
            both = suite.encrypt(plain, hpke.MLKEM1024P384PublicKey(mlkem.MLKEM1024PublicKey.from_public_bytes(post), p384), info)
        case 0x647A:
            suite = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
            x = x25519.X25519PublicKey.from_public_bytes(point)
            both = suite.encrypt(plain, hpke.MLKEM768X25519PublicKey(mlkem.MLKEM768PublicKey.from_public_bytes(post), x), info)
        case 0x0042:
            suite = hpke.Suite(hpke.KEM.MLKEM1024, hpke.KDF.HKDF_SHA384, hpke.AEAD.AES_256_GCM)
            both = suite.encrypt(plain, mlkem.MLKEM1024PublicKey.from_public_bytes(post), info)
        case _:  # MLKEM768-P256 and MLKEM1024-X25519, which PyCA does not have
            public = (mlkem.MLKEM768PublicKey if kem.mlkem_ek == 1184 else mlkem.MLKEM1024PublicKey).from_public_bytes(post)
            secret, ct = public.encapsulate()
            if kem.curve == "x25519":
                x = x25519.X25519PrivateKey.generate()
                agreed = x.exchange(x25519.X25519PublicKey.from_public_bytes(point))
                share = x.public_key().public_bytes_raw()
            else:
                ephemeral = ec.generate_private_key(P256)
                agreed = ephemeral.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(P256, point))
                share = ephemeral.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
            hybrid = hashlib.sha3_256(secret + agreed + share + point + kem.label).digest()
            aead_key, nonce = key_schedule(kem.triple, hybrid, info)
            both = ct + share + AESGCM(aead_key).encrypt(nonce, plain, b"")
    return both[: kem.enc], both[kem.enc :]


def cbor(item: object) -> bytes:
    """Encode integers, strings, lists, dicts and None in core deterministic CBOR (section 5); a `Raw` is inserted unchanged."""
    match item:
        case Raw():
            return item.data
        case None:
            return b"\xf6"
        case int():
            return cbor_head(0, item)
        case bytes():
            return cbor_head(2, len(item)) + item
        case str():
            return cbor_head(3, len(item.encode())) + item.encode()
        case list() | tuple():
            return cbor_head(4, len(item)) + b"".join(map(cbor, item))
        case dict():
            pairs = sorted((cbor(k), cbor(v)) for k, v in item.items())
            return cbor_head(5, len(item)) + b"".join(k + v for k, v in pairs)
    raise TypeError(type(item))


class Raw(NamedTuple):
    """Bytes to insert in place of an encoding."""

    data: bytes


def cbor_head(major: int, value: int, width: int | None = None) -> bytes:
    """Encode the head of an item; a `width` that is not the shortest makes it malformed."""
    if width is None:
        width = 0 if value < 24 else next(w for w in (1, 2, 4, 8) if value < 1 << (8 * w))
    info = value if width == 0 else 23 + width.bit_length()
    return bytes([major << 5 | info]) + (value.to_bytes(width) if width else b"")


def footer(tail: bytes, offset: int) -> bytes:
    """Section 6."""
    head = b"CSMT\0\1\0\0" + offset.to_bytes(8) + len(tail).to_bytes(4)
    return head + hashlib.sha256(head + tail).digest()[:12]


def seal(content: bytes, recipients: list[KeyFile], signer: KeyFile | None, **options: Any) -> bytes:
    """Seal content. Options replace parts, possibly with invalid ones: `segment`, `hash`, `created`, `content_type`, `name`, `metadata`,
    `private` (its plaintext), `public` (the public part), `salt`, `context` (of the signature), `gap`, and `random`, where random bytes come from.
    `revision` is omitted without the option. `publisher`, header key 7, is by default the signer's key id, and omitted if there is no signer;
    another value is inserted unchanged, and None omits it. With `owner`, a key file, the recipients are signed, with `epoch`, `date` and
    `delegation` (a pair of the delegate's key file and `(until, last epoch)`). `unknown` are additional header entries.

    Everything derived from a changed part is recomputed, so that only the change is wrong, not also a tag or hash over it:
    `edit_header` (the map, before it is encoded), `edit_floe` (the 74 bytes), `edit_segments` (a list), `edit_entries`
    (recipients), `edit_message` (to sign), `edit_delegation` (what its owner signs), `edit_list` (the list before it is signed),
    `edit` (the tail's map); each takes a value and returns another; for the header and the tail it
    may return bytes. `segment_form` returns the prefix and additional data of a segment, given its number, length and finality.
    """

    def edited(name: str, value: Any) -> Any:
        return options[name](value) if name in options else value

    random: Random = options.get("random", os.urandom)
    size, hash_ = options.get("segment", 65536), options.get("hash", 1)
    count = max(1, -(-len(content) // size))
    fields: dict[int, object] = {
        0: 1,
        1: random(16),
        2: size,
        3: hash_,
        4: FLOE_HEADER + len(content) + OVERHEAD * count,
        5: options.get("created", 1_800_000_000),
        6: options.get("content_type", "application/octet-stream"),
    }
    publisher = options.get("publisher", signer and signer.key_id)
    fields |= {7: publisher} if publisher is not None else {}
    fields |= {8: options["revision"]} if "revision" in options else {}
    owner: KeyFile | None = options.get("owner")
    fields |= {9: options.get("owner_id", owner.key_id)} if owner else {}
    fields |= options.get("unknown", {})
    fields_or_bytes = edited("edit_header", fields)
    encoded = fields_or_bytes if isinstance(fields_or_bytes, bytes) else cbor(fields_or_bytes)
    hashed = Header(encoded, b"", size, hash_, 0, 0, "", 0, 0).hashed
    digest = sha384(encoded)

    artifact_key = random(32)
    start = b"\0\0" + (size + OVERHEAD).to_bytes(4) + (32).to_bytes(4) + random(32)

    def kdf(key: bytes, purpose: bytes, length: int) -> bytes:
        return HKDFExpand(hashes.SHA384(), length, start + purpose + digest).derive(key)

    floe_key = hkdf384(b"", artifact_key, b"casemate/v1/artifact-body")
    message_key = kdf(floe_key, b"MESSAGE_KEY:", 48)
    segments = []
    for i in range(count):
        plain, nonce = content[i * size : (i + 1) * size], random(12)
        prefix, aad = options.get("segment_form", segment_form)(i, len(plain) + OVERHEAD, i == count - 1)
        sealed = AESGCM(kdf(message_key, b"DEK:" + bytes(8), 32)).encrypt(nonce, plain, aad)
        segments.append(prefix + nonce + sealed)
    segments = edited("edit_segments", segments)
    floe_header = edited("edit_floe", start + kdf(floe_key, b"HEADER_TAG:", 32))
    body = floe_header + b"".join(segments)

    hash_list = b"".join(hashed("casemate/v1/artifact-segment", s) for s in segments)
    private = options.get("private") or cbor({0: options.get("name", "n"), 1: len(content), 2: options.get("metadata", {})})
    publisher_part = edited("edit_publisher_part", seal_part(private, artifact_key, b"casemate/v1/artifact-publisher", digest, random(32)))
    public = options.get("public", b"")
    root = hashed("casemate/v1/artifact-root", floe_header + sha384(publisher_part) + sha384(public) + len(segments).to_bytes(8) + hash_list)
    info = b"casemate/v1/artifact-key\0" + digest
    entries = [[*r.suite.triple, r.key_id, *encapsulate(r, info, artifact_key)] for r in recipients]  # type: ignore[union-attr]
    entries = edited("edit_entries", entries)
    salt = options.get("salt") or random(32)
    aad = digest + root + sha384(cbor(entries))
    recipient_part = seal_part(options.get("bound", cbor({})), artifact_key, b"casemate/v1/artifact-recipients", aad, salt)
    message = edited("edit_message", digest + root)
    signature = [signer.suite.oid, signer.key_id, sign(signer, message, options.get("context", CONTEXT))] if signer else None
    list_ = recipient_list(digest, entries, options) if owner else None
    tail = edited("edit", {0: encoded, 1: entries, 2: publisher_part, 3: hash_list, 4: signature, 5: recipient_part, 6: list_, 7: public})
    return assemble(body, tail if isinstance(tail, bytes) else cbor(tail), bytes(options.get("gap", 0)))


def seal_part(plain: bytes, artifact_key: bytes, info: bytes, aad: bytes, salt: bytes) -> bytes:
    """Sections 5.5 and 5.6."""
    return salt + AESGCM(hkdf384(salt, artifact_key, info)).encrypt(bytes(12), plain, aad)


def recipient_list(digest: bytes, entries: Any, options: dict[str, Any]) -> list[Any]:
    """Section 5.7."""
    owner: KeyFile = options["owner"]
    signer, delegation = owner, None
    if "delegation" in options:
        signer, (until, last_epoch) = options["delegation"]
        message = owner.key_id + signer.key_id + until.to_bytes(8) + last_epoch.to_bytes(8)
        message = options.get("edit_delegation", bytes)(message)
        signature = sign(owner, message, b"casemate/v1/delegation")
        delegation = [spki(signer.suite.oid, signer.public), until, last_epoch, signature]
    epoch, date = options.get("epoch", 1), options.get("date", 1_800_000_000)
    message = digest + epoch.to_bytes(8) + date.to_bytes(8) + sha384(cbor(entries))
    signature = sign(signer, options.get("edit_list", bytes)(message), options.get("list_context", b"casemate/v1/recipients"))
    return [epoch, date, spki(owner.suite.oid, owner.public), delegation, signature]


def segment_form(index: int, length: int, final: bool) -> tuple[bytes, bytes]:
    """Return the prefix and additional data of a segment (section 4)."""
    return (length if final else 0xFFFFFFFF).to_bytes(4), index.to_bytes(8) + bytes([final])


def assemble(body: bytes, tail: bytes, gap: bytes = b"") -> bytes:
    """Section 2."""
    return body + gap + tail + footer(tail, len(body) + len(gap))
