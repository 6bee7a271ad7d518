"""Segment tables (section 3.1) and reading by parts (section 5): tables made by casemate hold here, and tables made here hold for casemate."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from bundle import Desk, bundle, composite, payload_of, resource, statement, write, write_model

LABEL = "casemate/v1/segments"
LARGE = random.Random(3).randbytes((3 << 20) + 12_345)
FILES = {"large": LARGE, "one": LARGE[: 1 << 20], "small": b"small", "empty": b""}
HASHES: dict[str, Callable[[bytes], bytes]] = {"blake3": lambda b: blake3(b).digest(), "sha384": lambda b: hashlib.sha384(b).digest()}


def table(content: bytes, size: int = 1 << 20, name: str = "blake3") -> dict[str, Any]:
    parts = [content[at : at + size] for at in range(0, len(content), size)]
    joined = b"".join(HASHES[name](part) for part in parts)
    return {"length": len(content), "segment_size": size, "hash": name, "hashes": base64.b64encode(joined).decode()}


def described(name: str, content: bytes, segments: Any) -> dict[str, Any]:
    return resource(name, content) | {"annotations": {LABEL: segments}}


def signed(desk: Desk, model: Path, said: dict[str, Any] | bytes) -> Path:
    payload = said if isinstance(said, bytes) else json.dumps(said).encode()
    found = bundle(payload, [composite(desk.publisher, payload)], desk.publisher.key_id.hex())
    return write(model.parent / "s", found)


def by_parts(desk: Desk, model: Path, signature: Path, name: str) -> subprocess.CompletedProcess[str]:
    """Copies a file out of what `casemate run` shows, checked as it is read."""
    copied = model.parent / "copied"
    copied.unlink(missing_ok=True)
    command = ["cp", "{}" if model.is_file() else f"{{}}/{name}", copied]
    return desk.casemate("run", model, "--memory", "--signature", signature, "--signer", "./mldsa87-p384.pub", "--", *command)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "m", FILES)


@pytest.mark.parametrize(("policy", "name"), [("hybrid", "blake3"), ("bsi", "sha384")])
def test_tables_by_casemate(desk: Desk, model: Path, policy: str, name: str) -> None:
    """Of every file that is longer than a segment; and the tool that knows no tables verifies the bundle."""
    key = desk.classical["p384"]
    options = ["--home", "home", "--passphrase-file", "passphrase", "--policy", policy]
    command = ["sign", model, "--sign", "mldsa87-p384", "--oms", key.private, "-o", model.parent / "s"]
    subprocess.run([os.environ["CASEMATE_BIN"], *options, *command], cwd=desk.work, check=True, timeout=60)
    listed = json.loads(payload_of(json.loads((model.parent / "s").read_text())))["predicate"]["resources"]
    tables = {entry["name"]: entry.get("annotations") for entry in listed}
    assert tables == {"large": {LABEL: table(LARGE, name=name)}, "one": None, "small": None, "empty": None}
    assert desk.theirs_verifies(model, model.parent / "s", key)


@pytest.mark.parametrize(("size", "name"), [(4096, "sha384"), (1 << 20, "blake3"), (64 << 20, "blake3")])
def test_tables_made_here(desk: Desk, model: Path, size: int, name: str) -> None:
    listed = [described(n, c, table(c, size, name)) if c else resource(n, c) for n, c in FILES.items()]
    signature = signed(desk, model, statement(listed))
    desk.casemate_ok("verify", model, "--signature", signature, "--signer", "./mldsa87-p384.pub")
    for file, content in FILES.items():
        done = by_parts(desk, model, signature, file)
        assert done.returncode == 0, done.stderr
        assert (model.parent / "copied").read_bytes() == content
    (model / "large").write_bytes(LARGE[:-1] + bytes([LARGE[-1] ^ 1]))
    assert "large was changed" in desk.refused(model, "--signature", signature, "--signer", "./mldsa87-p384.pub")
    assert "large was changed" in by_parts(desk, model, signature, "small").stderr
    assert not (model.parent / "copied").exists()


def test_a_model_of_one_file(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "large.bin").write_bytes(LARGE)
    model = tmp_path / "large.bin"
    signature = signed(desk, model, statement([described(".", LARGE, table(LARGE))]))
    assert by_parts(desk, model, signature, ".").returncode == 0
    assert (tmp_path / "copied").read_bytes() == LARGE


def test_a_table_that_contradicts_the_digest(desk: Desk, model: Path) -> None:
    """Section 4, step 6: whoever reads by parts would get another model."""
    other = LARGE[:100] + b"other" + LARGE[105:]
    rest = [resource(name, content) for name, content in FILES.items() if name != "large"]
    signature = signed(desk, model, statement([described("large", LARGE, table(other)), *rest]))
    refused = desk.refused(model, "--signature", signature, "--signer", "./mldsa87-p384.pub")
    assert "large is what its digest says and not what its segment table says" in refused
    # And the other way round, where the table is what is there.
    (model / "large").write_bytes(other)
    assert "large was changed" in desk.refused(model, "--signature", signature, "--signer", "./mldsa87-p384.pub")


def wrong_tables() -> dict[str, Any]:
    good = table(LARGE)
    hashes = base64.b64decode(good["hashes"])
    joined = lambda raw: base64.b64encode(raw).decode()  # noqa: E731
    return {
        "a length of zero": good | {"length": 0},
        "a shorter length": good | {"length": len(LARGE) - (1 << 20)},
        "a negative length": good | {"length": -1},
        "a length that is no integer": good | {"length": float(len(LARGE)) + 0.5},
        "a length past 2^53": table(LARGE, 64 << 20) | {"length": 2**60},
        "a size of zero": good | {"segment_size": 0},
        "a size that is no power of two": good | {"segment_size": 1_000_000},
        "a size below 4 KiB": table(LARGE, 2048),
        "a size above 64 MiB": table(LARGE, 128 << 20),
        "an unknown hash": good | {"hash": "sha256"},
        "a hash too few": good | {"hashes": joined(hashes[:-32])},
        "a hash too many": good | {"hashes": joined(hashes + hashes[:32])},
        "part of a hash": good | {"hashes": joined(hashes[:-1])},
        "no base64": good | {"hashes": "*" + good["hashes"][1:]},
        "no hashes": {name: value for name, value in good.items() if name != "hashes"},
        "an unknown member": good | {"more": 1},
        "a list": [good],
        "text": "x",
    }


@pytest.mark.parametrize("label", wrong_tables())
def test_wrong_tables(desk: Desk, model: Path, label: str) -> None:
    rest = [resource(name, content) for name, content in FILES.items() if name != "large"]
    signature = signed(desk, model, statement([described("large", LARGE, wrong_tables()[label]), *rest]))
    assert desk.refused(model, "--signature", signature, "--signer", "./mldsa87-p384.pub")
    assert by_parts(desk, model, signature, "small").returncode == 1


def test_members_that_nobody_knows(desk: Desk, model: Path) -> None:
    """Section 2: ignored, except where they could change what the rest means; and none that is known occurs twice."""
    rest = [resource(name, content) for name, content in FILES.items() if name != "large"]
    good = described("large", LARGE, table(LARGE))
    good["annotations"] |= {"example.com/more": {"x": [1]}}
    said = statement([good | {"uri": "x", "mediaType": "y"}, *rest])
    said["more"] = said["predicate"]["more"] = said["subject"][0]["more"] = {"x": 1}
    said["subject"][0]["digest"]["sha512"] = "00"
    arguments = ("--signature", signed(desk, model, said), "--signer", "./mldsa87-p384.pub")
    desk.casemate_ok("verify", model, *arguments)
    assert by_parts(desk, model, model.parent / "s", "large").returncode == 0
    for absent in (None, {LABEL: None}):
        desk.casemate_ok("verify", model, *arguments[:1], signed(desk, model, statement([good | {"annotations": absent}, *rest])), *arguments[2:])
    text = json.dumps(statement([good, *rest]))
    for label, changed in {
        "a table twice": text.replace(f'"{LABEL}":', f'"{LABEL}": null, "{LABEL}":'),
        "a length twice": text.replace('"length":', '"length": 1, "length":'),
        "a digest twice": text.replace('"digest": {"sha256":', '"digest": {"sha256": "00", "sha256":'),
        "a name twice": text.replace('"name": "large"', '"name": "other", "name": "large"'),
        "resources twice": text.replace('"resources":', '"resources": [], "resources":'),
        "serialization with more": text.replace('"method":', '"more": 1, "method":'),
    }.items():
        assert changed != text, label
        signed(desk, model, changed.encode())
        assert desk.refused(model, *arguments), label


def test_files_without_a_table(desk: Desk, tmp_path: Path) -> None:
    """Section 5: read whole up to 64 MiB, and not at all beyond."""
    limit = 64 << 20
    content = bytes(limit)
    model = write_model(tmp_path / "m", {"zeros": content, "b": b"b"})
    plain = [resource("zeros", content), resource("b", b"b")]
    signature = signed(desk, model, statement(plain))
    assert by_parts(desk, model, signature, "zeros").returncode == 0
    assert (tmp_path / "copied").read_bytes() == content
    (model / "zeros").write_bytes(content + b"\0")
    signature = signed(desk, model, statement([resource("zeros", content + b"\0"), plain[1]]))
    assert "zeros cannot be checked as it is read" in by_parts(desk, model, signature, "b").stderr
    desk.casemate_ok("verify", model, "--signature", signature, "--signer", "./mldsa87-p384.pub")


def test_shards_have_no_tables(desk: Desk, tmp_path: Path) -> None:
    model = write_model(tmp_path / "m", {"a": b"first"})
    shards = [resource("a:0:4", b"firs"), resource("a:4:5", b"t")]
    told = {"method": "shards", "shard_size": 4}
    signature = signed(desk, model, statement(shards, **told))
    assert "signed in shards" in by_parts(desk, model, signature, "a").stderr
    shards[0]["annotations"] = {LABEL: table(b"firs", 4096)}
    assert "segment table" in desk.refused(model, "--signature", signed(desk, model, statement(shards, **told)), "--signer", "./mldsa87-p384.pub")


def test_an_artifacts_checks_are_not_asked_of_a_signature(desk: Desk, model: Path) -> None:
    signature = signed(desk, model, statement([resource(name, content) for name, content in FILES.items()]))
    for option in (["--allow-unknown-signer"], ["--min-revision", "1"], ["--id", "00" * 16]):
        done = desk.casemate("run", model, "--memory", "--signature", signature, *option, "--", "true")
        assert done.returncode == 2 and "cannot be used with" in done.stderr
    other = desk.casemate("run", model, "--memory", "--signature", signature, "--signer", "./other.pub", "--", "true")
    assert other.returncode == 1 and "not by key" in other.stderr
    # The key store knows the publisher.
    assert desk.casemate("run", model, "--memory", "--signature", signature, "--", "true").returncode == 0
