"""The standards that the format builds on, composed from PyCA primitives: key files, hybrid KEMs in HPKE, composite signatures.

Sources: RFC 5958, RFC 9935, draft-ietf-lamps-pq-composite-kem and -sigs (key files, signatures),
draft-irtf-cfrg-concrete-hybrid-kems (combiner), RFC 9180 (key schedule), FIPS 204.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def der(tag: int, *parts: bytes) -> bytes:
    """Encode a DER element."""
    body = b"".join(parts)
    size = len(body)
    length = bytes([size]) if size < 128 else (b"\x81" if size < 256 else b"\x82") + size.to_bytes(1 if size < 256 else 2)
    return bytes([tag]) + length + body


def oid_der(dotted: str) -> bytes:
    """Encode an AlgorithmIdentifier without parameters."""
    first, second, *rest = map(int, dotted.split("."))
    body = bytearray([first * 40 + second])
    for arc in rest:
        groups = [arc & 127]
        while arc := arc >> 7:
            groups.append(arc & 127 | 128)
        body += bytes(reversed(groups))
    return der(0x30, der(0x06, bytes(body)))


def pem_body(block: str | bytes, label: str) -> bytes:
    """Return the DER in the only PEM block, which must have this label."""
    text = block.decode("ascii") if isinstance(block, bytes) else block
    found = re.fullmatch(rf"\s*-----BEGIN {label}-----\s+([A-Za-z0-9+/=\s]+)-----END {label}-----\s*", text)
    if not found:
        raise ValueError(f"no PEM block {label}")
    return base64.b64decode("".join(found[1].split()), validate=True)


def pem(label: str, body: bytes) -> str:
    """Encode a PEM block."""
    text = base64.b64encode(body).decode()
    lines = [text[i : i + 64] for i in range(0, len(text), 64)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""])


def unwrap(whole: bytes, size: int, build: Callable[[bytes], bytes]) -> bytes | None:
    """Return the last `size` bytes of `whole` if `build` recreates `whole` from them: strict DER without a parser."""
    inner = whole[-size:]
    return inner if build(inner) == whole else None


def spki(oid: str, key: bytes) -> bytes:
    """SubjectPublicKeyInfo."""
    return der(0x30, oid_der(oid), der(0x03, b"\0", key))


def pkcs8(oid: str, key: bytes) -> bytes:
    """PrivateKeyInfo, version 0, without attributes."""
    return der(0x30, b"\x02\x01\x00", oid_der(oid), der(0x04, key))


def ec_private(curve: ec.EllipticCurve, scalar: bytes) -> bytes:
    """ECPrivateKey (RFC 5915) with the named curve and without the public key."""
    name = bytes.fromhex("06082a8648ce3d030107" if curve.name == "secp256r1" else "06052b81040022")
    return der(0x30, b"\x02\x01\x01", der(0x04, scalar), der(0xA0, name))


Mlkem = type[mlkem.MLKEM768PrivateKey] | type[mlkem.MLKEM1024PrivateKey]


class Kem(NamedTuple):
    """One HPKE suite."""

    triple: tuple[int, int, int]
    oid: str
    mlkem: Mlkem
    mlkem_ek: int
    mlkem_ct: int
    curve: ec.EllipticCurve | Literal["x25519"] | None
    point: int  # bytes of the classical public key, and of its ephemeral share
    label: bytes

    @property
    def enc(self) -> int:
        """Bytes of the encapsulated key."""
        return self.mlkem_ct + self.point

    def private(self, block: str | bytes) -> tuple[bytes, bytes] | None:
        """Return the ML-KEM seed and classical scalar of a PKCS#8 key, or None for a key of another suite."""
        whole = pem_body(block, "PRIVATE KEY")
        if self.curve is None:
            seed = unwrap(whole, 64, lambda k: pkcs8(self.oid, der(0x80, k)))
            return (seed, b"") if seed else None
        if self.curve == "x25519":
            both = unwrap(whole, 96, lambda k: pkcs8(self.oid, k))
            return (both[:64], both[64:]) if both else None
        curve, size = self.curve, (self.curve.key_size + 7) // 8
        extra = len(ec_private(curve, bytes(size))) + 64
        both = unwrap(whole, extra, lambda k: pkcs8(self.oid, k))
        scalar = both and both[64 + 7 : 64 + 7 + size]
        return (both[:64], scalar) if both and scalar and ec_private(curve, scalar) == both[64:] else None

    def public(self, seed: bytes, scalar: bytes) -> bytes:
        """Return the encoded public key."""
        return self.mlkem.from_seed_bytes(seed).public_key().public_bytes_raw() + self.classical(scalar)[0]

    def classical(self, scalar: bytes, share: bytes | None = None) -> tuple[bytes, bytes]:
        """Return the classical public key and, given a share, the shared secret."""
        if self.curve is None:
            return b"", b""
        if self.curve == "x25519":
            own = x25519.X25519PrivateKey.from_private_bytes(scalar)
            agreed = own.exchange(x25519.X25519PublicKey.from_public_bytes(share)) if share else b""
            return own.public_key().public_bytes_raw(), agreed
        key = ec.derive_private_key(int.from_bytes(scalar), self.curve)
        agreed = b""
        if share:
            if share[0] != 4:
                raise ValueError("point is not uncompressed")
            agreed = key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(self.curve, share))
        return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint), agreed

    def decapsulate(self, seed: bytes, scalar: bytes, enc: bytes) -> bytes:
        """Return `SHA3-256(ssM || ssT || ctT || ekT || label)`; for plain ML-KEM, its shared secret."""
        post = self.mlkem.from_seed_bytes(seed).decapsulate(enc[: self.mlkem_ct])
        if self.curve is None:
            return post
        share = enc[self.mlkem_ct :]
        public, agreed = self.classical(scalar, share)
        return hashlib.sha3_256(post + agreed + share + public + self.label).digest()

    def open_base(self, seed: bytes, scalar: bytes, enc: bytes, info: bytes, ct: bytes) -> bytes:
        """HPKE.OpenBase with empty aad (RFC 9180, sections 5.1 and 6.1)."""
        key, nonce = key_schedule(self.triple, self.decapsulate(seed, scalar, enc), info)
        return AESGCM(key).decrypt(nonce, ct, b"")


def _schedule(triple: tuple[int, int, int], secret: bytes, info: bytes) -> Callable[[bytes, int], bytes]:
    """Return the expansion of RFC 9180, mode base, by label and length; HKDF-SHA256 or HKDF-SHA384."""
    digest = {1: hashes.SHA256(), 2: hashes.SHA384()}[triple[1]]
    suite = b"HPKE" + b"".join(part.to_bytes(2) for part in triple)

    def extract(salt: bytes, label: bytes, ikm: bytes) -> bytes:
        return hmac.digest(salt or bytes(digest.digest_size), b"HPKE-v1" + suite + label + ikm, digest.name)

    def expand(prk: bytes, label: bytes, context: bytes, length: int) -> bytes:
        return HKDFExpand(digest, length, length.to_bytes(2) + b"HPKE-v1" + suite + label + context).derive(prk)

    context = b"\0" + extract(b"", b"psk_id_hash", b"") + extract(b"", b"info_hash", info)
    prk = extract(secret, b"secret", b"")
    return lambda label, length: expand(prk, label, context, length)


def key_schedule(triple: tuple[int, int, int], secret: bytes, info: bytes) -> tuple[bytes, bytes]:
    """Return key and base nonce of RFC 9180, mode base, for AES-256-GCM."""
    expand = _schedule(triple, secret, info)
    return expand(b"key", 32), expand(b"base_nonce", 12)


def exporter(triple: tuple[int, int, int], secret: bytes, info: bytes, context: bytes, length: int) -> bytes:
    """Return `Export(context, length)` (RFC 9180, section 5.3)."""
    digest = {1: hashes.SHA256(), 2: hashes.SHA384()}[triple[1]]
    suite = b"HPKE" + b"".join(part.to_bytes(2) for part in triple)
    prk = _schedule(triple, secret, info)(b"exp", digest.digest_size)
    return HKDFExpand(digest, length, length.to_bytes(2) + b"HPKE-v1" + suite + b"sec" + context).derive(prk)


P256, P384 = ec.SECP256R1(), ec.SECP384R1()
M768, M1024 = mlkem.MLKEM768PrivateKey, mlkem.MLKEM1024PrivateKey
# Spec section 5.2.
KEMS = {
    kem.triple: kem
    for kem in (
        Kem((0x0051, 2, 2), "1.3.6.1.5.5.7.6.63", M1024, 1568, 1568, P384, 97, b"MLKEM1024-P384"),
        Kem((0x647A, 1, 2), "1.3.6.1.5.5.7.6.58", M768, 1184, 1088, "x25519", 32, rb"\.//^" + b"\\"),
        Kem((0x0050, 1, 2), "1.3.6.1.5.5.7.6.59", M768, 1184, 1088, P256, 65, b"MLKEM768-P256"),
        Kem((0x0042, 2, 2), "2.16.840.1.101.3.4.4.3", M1024, 1568, 1568, None, 0, b""),
        Kem((0xFE51, 2, 2), "1.3.6.1.4.1.32473.1.1", M1024, 1568, 1568, "x25519", 32, b"MLKEM1024-X25519"),
    )
}



class Signature(NamedTuple):
    """One signature suite; an empty label means plain ML-DSA."""

    oid: str
    label: bytes
    mldsa: type[mldsa.MLDSA65PublicKey] | type[mldsa.MLDSA87PublicKey]
    mldsa_pk: int
    mldsa_sig: int
    classical: Literal["p384", "ed25519", None]
    classical_pk: int

    def verify(self, key: bytes, signature: bytes, message: bytes, context: bytes) -> None:
        """Raise unless both halves verify."""
        post_key, key = key[: self.mldsa_pk], key[self.mldsa_pk :]
        post, rest = signature[: self.mldsa_sig], signature[self.mldsa_sig :]
        public = self.mldsa.from_public_bytes(post_key)
        if self.classical is None:
            if rest:
                raise InvalidSignature
            public.verify(post, message, context)
            return
        represented = self.represent(message, context)
        public.verify(post, represented, self.label)
        if self.classical == "ed25519":
            ed25519.Ed25519PublicKey.from_public_bytes(key).verify(rest, represented)
        else:
            point = ec.EllipticCurvePublicKey.from_encoded_point(P384, key)
            point.verify(rest, represented, ec.ECDSA(hashes.SHA384()))

    def represent(self, message: bytes, context: bytes) -> bytes:
        """Return M' of the composite draft."""
        digest = hashlib.sha512(message).digest()
        return b"CompositeAlgorithmSignatures2025" + self.label + bytes([len(context)]) + context + digest


class HashBased(NamedTuple):
    """An SLH-DSA suite, verified with `@noble/post-quantum` because PyCA has none."""

    oid: str
    name: str
    mldsa_pk: int  # bytes of the public key
    classical_pk: int = 0

    def verify(self, key: bytes, signature: bytes, message: bytes, context: bytes) -> None:
        """Raise unless the signature verifies."""
        work = Path(os.environ["CASEMATE_INTEROP_DIR"])
        script = Path(__file__).with_name("slh_verify.mjs")
        hexes = [part.hex() for part in (key, message, context, signature)]
        command = [work / "node_modules" / "node" / "bin" / "node", script, self.name, *hexes]
        if subprocess.run(command, check=False).returncode != 0:
            raise InvalidSignature


D65, D87 = mldsa.MLDSA65PublicKey, mldsa.MLDSA87PublicKey
# Spec section 5.4.
SIGNATURES = {
    suite.oid: suite
    for suite in (
        Signature("1.3.6.1.5.5.7.6.49", b"COMPSIG-MLDSA87-ECDSA-P384-SHA512", D87, 2592, 4627, "p384", 97),
        Signature("1.3.6.1.5.5.7.6.48", b"COMPSIG-MLDSA65-Ed25519-SHA512", D65, 1952, 3309, "ed25519", 32),
        Signature("1.3.6.1.5.5.7.6.46", b"COMPSIG-MLDSA65-ECDSA-P384-SHA512", D65, 1952, 3309, "p384", 97),
        Signature("2.16.840.1.101.3.4.3.19", b"", D87, 2592, 4627, None, 0),
        HashBased("2.16.840.1.101.3.4.3.22", "sha2_192s", 48),
        HashBased("2.16.840.1.101.3.4.3.24", "sha2_256s", 64),
    )
}
