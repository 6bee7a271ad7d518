"""Handwritten bundles that casemate must refuse. They have valid signatures by the publisher unless stated otherwise.

Each differs from a good bundle in one respect, and the good bundle verifies.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bundle import CONTEXT, Setup, bundle, composite, encoded, pae, resource, statement, write, write_model
from sealed_writer import sign

FILES = {"a": b"first", "b/c": b"second"}
Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "m", FILES)


def resources() -> list[dict[str, Any]]:
    return [resource(name, content) for name, content in FILES.items()]


def signed(desk: Setup, model: Path, said: dict[str, Any] | bytes, change: Change = lambda _: None) -> tuple[str | Path, ...]:
    """Return a bundle over a statement, as arguments for `casemate verify`."""
    payload = said if isinstance(said, bytes) else json.dumps(said).encode()
    key = desk.classical["p256"]
    found = bundle(payload, [encoded(key.sign(payload)), composite(desk.publisher, payload)], key.hint)
    change(found)
    return ("--signature", write(model.parent / "s", found), "--signer", "./mldsa87-p384.pub")


def test_the_good_one(desk: Setup, model: Path) -> None:
    """Both programs accept it, with either signature, pretty-printed, and in any order."""
    good = statement(resources())
    key = desk.classical["p256"]
    desk.casemate_ok("verify", model, *signed(desk, model, good), "--oms", key.public)
    assert desk.theirs_verifies(model, model.parent / "s", key)
    pretty = json.dumps(good, indent=2, ensure_ascii=False).encode()
    desk.casemate_ok("verify", model, *signed(desk, model, pretty))
    desk.casemate_ok("verify", model, *signed(desk, model, statement(resources()[::-1])))


@pytest.mark.parametrize(("size", "algorithm"), [(4, "sha256"), (4.0, "sha256-sharded-4")])
def test_shards(desk: Setup, model: Path, size: float, algorithm: str) -> None:
    """Shards as in section 3, and as `model_signing` writes them: the size as 4.0, and again in the name of the algorithm."""
    parts = [("a:0:4", b"firs"), ("a:4:5", b"t"), ("b/c:0:4", b"seco"), ("b/c:4:6", b"nd")]
    named = [resource(name, content, algorithm) for name, content in parts]
    told = {"method": "shards", "shard_size": size}
    desk.casemate_ok("verify", model, *signed(desk, model, statement(named, **told)))
    for wrong in (0, 3, 5, -4, 4.5, 1e300, "4", None, 2**63, 2**64):
        desk.refused(model, *signed(desk, model, statement(named, **told | {"shard_size": wrong})))
    for label, changed in {
        "one missing": named[:3],
        "one twice": [*named, named[3]],
        "past the end": [*named, resource("b/c:8:12", b"", algorithm)],
        "other borders": [named[0], named[1], resource("b/c:0:6", b"second", algorithm)],
        "overlap": [*named, resource("b/c:2:6", b"cond", algorithm)],
        "backwards": [*named, resource("a:4:0", b"", algorithm)],
        "no borders": [*named[:2], resource("b/c", b"second", algorithm)],
        "a number that wraps": [*named[:3], resource(f"b/c:4:{2**64 + 6}", b"nd", algorithm)],
    }.items():
        assert desk.refused(model, *signed(desk, model, statement(changed, **told))), label


def outside(model: Path) -> Path:
    """Return a file next to the model."""
    (model.parent / "outside").write_bytes(b"outside")
    return model.parent / "outside"


def test_names_are_never_used_as_paths(desk: Setup, model: Path) -> None:
    """Names of existing files, with correct digests, that are not in a listing of the model."""
    beside = outside(model)
    for name in ("../outside", str(beside), "b/../a", "./a", "b//c", "a/", "", ".", "b\\c", "a\0", "A"):
        content = beside.read_bytes() if "outside" in name else b"second" if "c" in name else b"first"
        said = statement([*resources(), resource(name, content)])
        assert desk.refused(model, *signed(desk, model, said)), name


def test_ignored_paths_must_be_below_the_model(desk: Setup, model: Path) -> None:
    """A path outside the model does not exclude everything."""
    write_model(model, {"added": b"x"})
    for path in ("..", "/", str(model), str(model.parent), "../m", "add", "*", "added/x"):
        said = statement(resources(), ignore_paths=[path])
        assert "added was not signed" in desk.refused(model, *signed(desk, model, said)), path
    desk.casemate_ok("verify", model, *signed(desk, model, statement(resources(), ignore_paths=["added"])))


def wrong_statements() -> dict[str, dict[str, Any] | bytes]:
    """Section 4, step 3."""
    good, two = statement(resources()), resources()
    predicate, subject = good["predicate"], good["subject"]
    short = [two[0] | {"digest": two[0]["digest"][:-2]}, two[1]]
    return {
        "no JSON": b"{",
        "a list": b"[]",
        "bytes after": json.dumps(good).encode() + b"{}",
        "not UTF-8": json.dumps(good).encode().replace(b'"m"', b'"\xff"'),
        "nested": b'{"_type":' + b"[" * 200_000,
        "statement type": good | {"_type": "https://in-toto.io/Statement/v0.1"},
        "predicate type": good | {"predicateType": "https://slsa.dev/provenance/v1"},
        "predicate type of old tools": good | {"predicateType": "https://model_signing/Digests/v0.1"},
        "no subject": good | {"subject": []},
        "two subjects": good | {"subject": subject * 2},
        "subject of other resources": good | {"subject": statement(two[:1])["subject"]},
        "subject without a digest": good | {"subject": [{"name": "m"}]},
        "a name twice": statement([*two, two[1]]),
        "a name twice, with another digest": statement([*two, resource("a", b"other")]),
        "short digest": statement(short),
        "digest that is no hex": good | {"predicate": predicate | {"resources": [two[0] | {"digest": "zz" * 32}, two[1]]}},
        "unknown method": statement(two, method="tensors"),
        "unknown hash": statement(two, hash_type="md5"),
        "hash of another length": statement(two, hash_type="blake2b"),
        "another hash of this length": statement(two, hash_type="blake3"),
        "no serialization": good | {"predicate": {"resources": two}},
        "shards without a size": statement(two, method="shards"),
    }


@pytest.mark.parametrize("label", wrong_statements())
def test_statements(desk: Setup, model: Path, label: str) -> None:
    desk.refused(model, *signed(desk, model, wrong_statements()[label]))


def signatures(change: Callable[[list[dict[str, str]]], list[dict[str, str]]]) -> Change:
    """Return a change of the list of signatures."""

    def act(found: dict[str, Any]) -> None:
        envelope = found["dsseEnvelope"]
        envelope["signatures"] = change(envelope["signatures"])

    return act


def put(path: str, value: Any) -> Change:
    """Return a change that sets a value at a dotted path."""

    def act(found: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        for name in parents:
            found = found[name]
        found[last] = value

    return act


ENTRY = {"logIndex": "1", "logId": {"keyId": "AA=="}, "kindVersion": {"kind": "dsse", "version": "0.0.1"}}
BUNDLES: dict[str, tuple[Change, str]] = {
    "media type": (put("mediaType", "application/vnd.dev.sigstore.bundle+json;version=0.2"), ""),
    "payload type": (put("dsseEnvelope.payloadType", "application/json"), ""),
    "no signature": (signatures(lambda s: []), ""),
    "nine signatures": (signatures(lambda s: [*s, *s[:1] * 7]), ""),
    "no base64": (signatures(lambda s: [s[0], s[1] | {"sig": "*" + s[1]["sig"][1:]}]), ""),
    "signature of no bytes": (signatures(lambda s: [s[0], s[1] | {"sig": ""}]), ""),
    "another key id": (signatures(lambda s: [s[0], s[1] | {"keyid": "ab" * 32}]), ""),
    "a key id cut": (signatures(lambda s: [s[0], s[1] | {"keyid": s[1]["keyid"][:16]}]), ""),
    "a log entry": (put("verificationMaterial.tlogEntries", [ENTRY]), "log"),
    "a certificate": (put("verificationMaterial", {"certificate": {"rawBytes": "AA=="}, "tlogEntries": []}), "certificate"),
    "certificates": (put("verificationMaterial", {"x509CertificateChain": {"certificates": []}, "tlogEntries": []}), "certificate"),
    "a message, no envelope": (put("dsseEnvelope", None), ""),
}


@pytest.mark.parametrize("label", BUNDLES)
def test_bundles(desk: Setup, model: Path, label: str) -> None:
    """Section 2, and refusals that section 4 requires to be named."""
    change, says = BUNDLES[label]
    assert says in desk.refused(model, *signed(desk, model, statement(resources()), change))


def test_the_signed_bytes(desk: Setup, model: Path) -> None:
    """Section 2: the encoding, its type and the context; and the publisher's own key, not another key with the publisher's id."""
    said = statement(resources())
    payload = json.dumps(said).encode()
    publisher, other = desk.publisher, desk.composite["other"]
    message, name = pae(payload), publisher.key_id.hex()
    for label, entry in {
        "an artifact's context": composite(publisher, payload, b"casemate/v1/artifact"),
        "no context": composite(publisher, payload, b""),
        "the payload alone": encoded(sign(publisher, payload, CONTEXT), name),
        "another payload type": encoded(sign(publisher, pae(payload, "text/plain"), CONTEXT), name),
        "the old encoding": encoded(sign(publisher, message.replace(b"DSSEv1", b"DSSEV1"), CONTEXT), name),
        "base64 of the payload": encoded(sign(publisher, pae(base64.b64encode(payload)), CONTEXT), name),
        "another key": encoded(sign(other, message, CONTEXT), name),
    }.items():
        change = signatures(lambda s, entry=entry: [s[0], entry])
        assert "does not verify" in desk.refused(model, *signed(desk, model, said, change)), label
    beside = signatures(lambda s: [s[0], composite(other, payload), s[1]])
    desk.casemate_ok("verify", model, *signed(desk, model, said, beside))


def test_the_hint(desk: Setup, model: Path) -> None:
    """A hint that names another classical key is refused, even though the signature is by that key."""
    said, key = statement(resources()), desk.classical["p256"]
    wrong = put("verificationMaterial.publicKey.hint", desk.classical["other"].hint)
    desk.refused(model, *signed(desk, model, said, wrong), "--oms", key.public)
    desk.refused(model, *signed(desk, model, said, wrong)[:2], "--oms", key.public, "--allow-classical")
    assert not desk.theirs_verifies(model, model.parent / "s", key)


def test_limits(desk: Setup, model: Path) -> None:
    """A bundle of 64 MiB and one byte, padded with spaces, which JSON allows anywhere."""
    arguments = signed(desk, model, statement(resources()))
    path = model.parent / "s"
    whole = path.read_bytes()
    path.write_bytes(whole + b" " * ((64 << 20) - len(whole)))
    desk.casemate_ok("verify", model, *arguments)
    path.write_bytes(whole + b" " * ((64 << 20) - len(whole) + 1))
    assert "67108864" in desk.refused(model, *arguments, code=(1, 2))


def test_links_and_pipes(desk: Setup, model: Path) -> None:
    """Links are not followed, pipes are not opened, and the files of a linked folder are not listed."""
    arguments = signed(desk, model, statement(resources()))
    outside(model)
    for make in (lambda p: p.symlink_to("a"), lambda p: p.symlink_to("nowhere"), lambda p: p.symlink_to("b"), os.mkfifo):
        make(model / "more")
        assert "more" in desk.refused(model, *arguments, code=(1, 2))
        (model / "more").unlink()
    (model / "a").unlink()
    (model / "a").symlink_to("../outside")
    said = statement([resource("a", b"outside"), resources()[1]])
    assert desk.refused(model, *signed(desk, model, said), code=(1, 2))
    desk.casemate_ok("verify", model, *signed(desk, model, statement([resource("a", b"outside"), resources()[1]], allow_symlinks=True)))


def test_the_encoding() -> None:
    """The encoding here matches the example in the DSSE specification."""
    assert pae(b"hello world", "http://example.com/HelloWorld") == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
