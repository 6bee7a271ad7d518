"""The independent reader against `vectors/artifact/`: the outcome of each vector, and the accuracy of their headers.

    pytest test_artifact_vectors.py
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest

from artifact_vector import CLASSES, parse
from sealed_reader import Artifact, SealedError, read
from standards import pem

VECTORS = sorted((Path(__file__).parent.parent / "vectors" / "artifact").glob("*.vector"))
KINDS = {
    "not-an-artifact": "no-footer",
    "version": "unsupported-version",
    "suite": "unknown-suite",
    "signature": "bad-signature",
    "segment": "segment-hash",
}
FIELDS = {"expect", "comment", "payload-sha256", "leftover", "name", "metadata", "identity", "signer"}


def as_pem(label: str, value: str) -> str:
    """Return the key in a header line as PEM, for the reader."""
    return pem(label, base64.b64decode(value, validate=True))


def attempt(data: bytes, identity: str, signer: str | None) -> tuple[str, Artifact | None, bytes, tuple[str, list[str]]]:
    """Return the class of the outcome, and the opened content."""
    try:
        artifact = read(data)
        opened = artifact.unlock(as_pem("PRIVATE KEY", identity), signer and as_pem("PUBLIC KEY", signer))
        private = opened.private.name, [f"{name}={value}" for name, value in opened.private.metadata.items()]
        return "success", artifact, opened.read(), private
    except SealedError as error:
        return KINDS.get(error.kind, error.kind), None, b"", ("", [])


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_vector(path: Path) -> None:
    """Every identity of a vector gives the expected outcome."""
    fields, data = parse(path.read_bytes())
    assert fields.keys() <= FIELDS and all(len(fields[name]) == 1 for name in fields if name not in ("identity", "metadata"))
    (expected,) = fields["expect"]
    (signer,) = fields.get("signer", [None])
    assert fields["identity"]
    for identity in fields["identity"]:
        outcome, artifact, content, private = attempt(data, identity, signer)
        assert outcome == expected, fields["comment"]
        if artifact is None:
            continue
        assert [hashlib.sha256(content).hexdigest()] == fields["payload-sha256"]
        assert artifact.gap + artifact.cut == int(fields.get("leftover", ["0"])[0])
        if "name" in fields:
            assert private == (fields["name"][0], fields.get("metadata", []))


def test_the_set_is_complete() -> None:
    """The folder is not empty, and every class has vectors."""
    assert len(VECTORS) >= 330
    assert {parse(path.read_bytes())[0]["expect"][0] for path in VECTORS} == set(CLASSES)
