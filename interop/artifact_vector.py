"""The format of `vectors/artifact/*.vector`, described in `vectors/README.md`, and a helper that creates a vector."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sealed_writer import KeyFile, new_kem_key, new_signing_key, seal
from standards import KEMS, SIGNATURES, Signature, pem_body

CLASSES = (
    "success", "no-footer", "unsupported-version", "malformed", "limit", "unknown-suite", "no-recipient",
    "unsigned", "other-signer", "bad-signature", "segment-hash", "rejected", "owner",
)  # fmt: skip


@dataclass(frozen=True)
class Stream:
    """Pseudorandom bytes derived from a label, so that keys, ids and nonces are the same in every run."""

    label: str
    calls: list[None]

    def __call__(self, length: int) -> bytes:
        self.calls.append(None)
        return hashlib.shake_256(f"casemate artifact vector {self.label} {len(self.calls)}".encode()).digest(length)


def stream(label: str) -> Stream:
    """Return a new stream."""
    return Stream(label, [])


KEM_NAMES = ("mlkem1024-p384", "mlkem768-x25519", "mlkem768-p256", "mlkem1024", "mlkem1024-x25519")
SIGN_NAMES = ("mldsa87-p384", "mldsa65-ed25519", "mldsa65-p384", "mldsa87")
KEM = {n: new_kem_key(k, stream(n)) for n, k in zip(KEM_NAMES, KEMS.values(), strict=True)}
SUITES = [suite for suite in SIGNATURES.values() if isinstance(suite, Signature)]
SIGN = {n: new_signing_key(s, stream(n)) for n, s in zip(SIGN_NAMES, SUITES, strict=True)}
OTHER_KEM = new_kem_key(KEM["mlkem768-x25519"].suite, stream("other"))  # type: ignore[arg-type]
OTHER_SIGN = new_signing_key(SIGN["mldsa65-ed25519"].suite, stream("other"))  # type: ignore[arg-type]
# The suites with the smallest keys and ciphertexts, unless a rule needs another suite.
KEY, SIGNER = KEM["mlkem768-x25519"], SIGN["mldsa65-ed25519"]


def content(length: int) -> bytes:
    """Return content in which all segments differ."""
    return hashlib.shake_256(b"casemate artifact vector content").digest(length)


def vector(
    expect: str,
    comment: str,
    artifact: bytes,
    *,
    opened: bytes | None = None,
    keys: list[KeyFile] | None = None,
    trusted: KeyFile | None = None,
    leftover: int | None = None,
    private: dict[str, Any] | None = None,
) -> bytes:
    """Return a complete file."""
    assert expect in CLASSES and (opened is None) == (expect != "success")
    lines = [("expect", expect), ("comment", comment)]
    if opened is not None:
        lines.append(("payload-sha256", hashlib.sha256(opened).hexdigest()))
    if leftover is not None:
        lines.append(("leftover", str(leftover)))
    for name, value in (private or {}).items():
        lines += [("metadata", f"{k}={v}") for k, v in value.items()] if name == "metadata" else [(name, value)]
    lines += [("identity", base64.b64encode(pem_body(key.private_pem, "PRIVATE KEY")).decode()) for key in keys or [KEY]]
    if trusted:
        lines.append(("signer", base64.b64encode(pem_body(trusted.public_pem, "PUBLIC KEY")).decode()))
    assert not any("\n" in value for _, value in lines)
    return "".join(f"{name}: {value}\n" for name, value in lines).encode() + b"\n" + artifact


def made(
    label: str,
    expect: str,
    comment: str,
    plain: bytes = b"hello",
    *,
    to: list[KeyFile] | None = None,
    signed: KeyFile | None = None,
    trusted: KeyFile | None = None,
    keys: list[KeyFile] | None = None,
    leftover: int | None = None,
    show: bool = False,
    change: Callable[[bytes], bytes] = bytes,
    **options: Any,
) -> tuple[str, bytes]:
    """Return a vector with a fresh artifact, modified as a whole by `change` or in parts by `options`."""
    options.setdefault("random", stream(label))
    artifact = change(seal(plain, to or [KEY], signed, **options))
    private = {"name": options.get("name", "n"), "metadata": options.get("metadata", {})} if show else None
    opened = plain if expect == "success" else None
    return label, vector(expect, comment, artifact, opened=opened, keys=keys or to, trusted=trusted, leftover=leftover, private=private)


def flip(data: bytes, at: int, bit: int = 1) -> bytes:
    """Return a copy with one bit flipped."""
    changed = bytearray(data)
    changed[at] ^= bit
    return bytes(changed)


def parse(file: bytes) -> tuple[dict[str, list[str]], bytes]:
    """Return the header values by name, and the artifact."""
    head, artifact = file.split(b"\n\n", 1)
    fields: dict[str, list[str]] = {}
    for line in head.decode().split("\n"):
        name, value = line.split(": ", 1)
        fields.setdefault(name, []).append(value)
    return fields, artifact
