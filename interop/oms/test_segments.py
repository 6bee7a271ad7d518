"""Segment tables (section 3.1) and reading in parts (section 5): casemate and this implementation accept each other's tables."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from bundle import Setup, bundle, composite, payload_of, resource, statement, write, write_model

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


def signed(desk: Setup, model: Path, said: dict[str, Any] | bytes) -> Path:
    payload = said if isinstance(said, bytes) else json.dumps(said).encode()
    found = bundle(payload, [composite(desk.publisher, payload)], desk.publisher.key_id.hex())
    return write(model.parent / "s", found)


def by_parts(desk: Setup, model: Path, signature: Path, name: str) -> subprocess.CompletedProcess[str]:
    """Copy a file that `casemate run` mounts; it is checked as it is read."""
    copied = model.parent / "copied"
    copied.unlink(missing_ok=True)
    command = ["cp", "{}" if model.is_file() else f"{{}}/{name}", copied]
    return desk.casemate("run", model, "--memory", "--signature", signature, "--signer", "./mldsa87-p384.pub", "--", *command)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "m", FILES)


@pytest.mark.parametrize(("policy", "name"), [("hybrid", "blake3"), ("bsi", "sha384")])
def test_tables_by_casemate(desk: Setup, model: Path, policy: str, name: str) -> None:
    """Every file longer than a segment has a table, and the tool without table support verifies the bundle."""
    key = desk.classical["p384"]
    options = ["--home", "home", "--passphrase-file", "passphrase", "--policy", policy]
    command = ["sign", model, "--sign", "mldsa87-p384", "--oms", key.private, "-o", model.parent / "s"]
    subprocess.run([os.environ["CASEMATE_BIN"], *options, *command], cwd=desk.work, check=True, timeout=60)
    listed = json.loads(payload_of(json.loads((model.parent / "s").read_text())))["predicate"]["resources"]
    tables = {entry["name"]: entry.get("annotations") for entry in listed}
    assert tables == {"large": {LABEL: table(LARGE, name=name)}, "one": None, "small": None, "empty": None}
    assert desk.theirs_verifies(model, model.parent / "s", key)


@pytest.mark.parametrize(("size", "name"), [(4096, "sha384"), (1 << 20, "blake3"), (64 << 20, "blake3")])
def test_tables_made_here(desk: Setup, model: Path, size: int, name: str) -> None:
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


def test_a_model_of_one_file(desk: Setup, tmp_path: Path) -> None:
    (tmp_path / "large.bin").write_bytes(LARGE)
    model = tmp_path / "large.bin"
    signature = signed(desk, model, statement([described(".", LARGE, table(LARGE))]))
    assert by_parts(desk, model, signature, ".").returncode == 0
    assert (tmp_path / "copied").read_bytes() == LARGE


def test_a_table_that_contradicts_the_digest(desk: Setup, model: Path) -> None:
    """Section 4, step 6: a program that reads in parts would get a different model."""
    other = LARGE[:100] + b"other" + LARGE[105:]
    rest = [resource(name, content) for name, content in FILES.items() if name != "large"]
    signature = signed(desk, model, statement([described("large", LARGE, table(other)), *rest]))
    refused = desk.refused(model, "--signature", signature, "--signer", "./mldsa87-p384.pub")
    assert "large matches its signed digest but not its signed segment table" in refused
    # The reverse: the file matches the table but not the digest.
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
        "its members as a list": [good["length"], good["segment_size"], good["hash"], good["hashes"]],
        "a length with a fraction of zero": good | {"length": float(len(LARGE))},
        "a size with a fraction": good | {"segment_size": 1048576.0},
        "base64 without padding": good | {"hashes": good["hashes"].rstrip("=") + ("" if good["hashes"].endswith("=") else "A")},
        "text": "x",
    }


@pytest.mark.parametrize("label", wrong_tables())
def test_wrong_tables(desk: Setup, model: Path, label: str) -> None:
    rest = [resource(name, content) for name, content in FILES.items() if name != "large"]
    signature = signed(desk, model, statement([described("large", LARGE, wrong_tables()[label]), *rest]))
    assert desk.refused(model, "--signature", signature, "--signer", "./mldsa87-p384.pub")
    assert by_parts(desk, model, signature, "small").returncode == 1


def test_unknown_members(desk: Setup, model: Path) -> None:
    """Section 2: unknown members are ignored unless they could change the meaning of others; known members must not occur twice."""
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
        "a length with an exponent": text.replace(f'"length": {len(LARGE)}', f'"length": {len(LARGE)}e0'),
        "a shard size of null": text.replace('"method":', '"shard_size": null, "method":'),
        "serialization with more": text.replace('"method":', '"more": 1, "method":'),
    }.items():
        assert changed != text, label
        signed(desk, model, changed.encode())
        assert desk.refused(model, *arguments), label


def test_lists_are_not_accepted_as_objects(desk: Setup, model: Path) -> None:
    """Section 2: a list of an object's values is never accepted in place of the object."""
    listed = [described("large", LARGE, table(LARGE)), *(resource(name, content) for name, content in FILES.items() if name != "large")]
    good = statement(listed)
    predicate = good["predicate"]
    first = [listed[0]["name"], listed[0]["algorithm"], listed[0]["digest"]]
    changed = {
        "annotations": good | {"predicate": predicate | {"resources": [listed[0] | {"annotations": [table(LARGE)]}, *listed[1:]]}},
        "no annotations": good | {"predicate": predicate | {"resources": [listed[0] | {"annotations": []}, *listed[1:]]}},
        "a resource": good | {"predicate": predicate | {"resources": [first, *listed[1:]]}},
        "the subject": good | {"subject": [[good["subject"][0]["name"], good["subject"][0]["digest"]]]},
        "the digest": good | {"subject": [good["subject"][0] | {"digest": [good["subject"][0]["digest"]["sha256"]]}]},
        "the predicate": good | {"predicate": [listed, predicate["serialization"]]},
        "the serialization": good | {"predicate": predicate | {"serialization": ["files", "sha256", False, None, []]}},
        "the statement": [good["_type"], good["subject"], good["predicateType"], predicate],
        "hex in capitals": good | {"predicate": predicate | {"resources": [listed[0] | {"digest": listed[0]["digest"].upper()}, *listed[1:]]}},
    }
    desk.casemate_ok("verify", model, "--signature", signed(desk, model, good), "--signer", "./mldsa87-p384.pub")
    for label, said in changed.items():
        signature = signed(desk, model, said)
        assert desk.refused(model, "--signature", signature, "--signer", "./mldsa87-p384.pub"), label
        assert by_parts(desk, model, signature, "small").returncode == 1, label
    found = json.loads(signed(desk, model, good).read_text())
    for label, bundled in {
        "the bundle": list(found.values()),
        "the envelope": found | {"dsseEnvelope": list(found["dsseEnvelope"].values())},
        "a signature": found | {"dsseEnvelope": found["dsseEnvelope"] | {"signatures": [list(found["dsseEnvelope"]["signatures"][0].values())]}},
        "the material": found | {"verificationMaterial": [found["verificationMaterial"]["publicKey"]]},
    }.items():
        (model.parent / "s").write_text(json.dumps(bundled))
        assert desk.refused(model, "--signature", model.parent / "s", "--signer", "./mldsa87-p384.pub"), label


def test_a_long_list_is_not_read_past_its_limit(desk: Setup, model: Path) -> None:
    """A bundle takes little more memory than its length."""
    found = json.loads(signed(desk, model, statement([resource(n, c) for n, c in FILES.items()])).read_text())
    empty = '{"sig":""},' * (5 << 20)
    text = json.dumps(found).replace('"signatures": [', '"signatures": [' + empty)
    (model.parent / "s").write_text(text)
    watch = "import resource, subprocess, sys; subprocess.run(sys.argv[1:]); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    command = [os.environ["CASEMATE_BIN"], "verify", model, "--signature", model.parent / "s", "--signer", "./mldsa87-p384.pub"]
    done = subprocess.run([sys.executable, "-c", watch, *command], cwd=desk.work, capture_output=True, text=True, timeout=60)
    assert "1 to 8 signatures" in done.stderr
    assert int(done.stdout) < 200 << 10


def test_a_file_without_a_table_is_checked_when_it_is_opened(desk: Setup, model: Path) -> None:
    """Its length is not signed, so it must not appear shorter or empty."""
    signature = signed(desk, model, statement([resource(name, content) for name, content in FILES.items()]))
    for changed in (b"", b"smal", b"smalL", b"small\n"):
        (model / "small").write_bytes(changed)
        done = by_parts(desk, model, signature, "one")
        assert done.returncode == 1 and "small was changed" in done.stderr
        assert "small was changed" in desk.refused(model, "--signature", signature, "--signer", "./mldsa87-p384.pub")


def test_system_files_that_say_they_are_empty(desk: Setup, model: Path) -> None:
    """A link to a system file that reports length zero but has content."""
    (model / "empty").unlink()
    (model / "empty").symlink_to("/proc/version")
    listed = [resource(name, content) for name, content in FILES.items()]
    signature = signed(desk, model, statement(listed, allow_symlinks=True))
    assert desk.refused(model, "--signature", signature, "--signer", "./mldsa87-p384.pub", code=(1, 3))
    assert by_parts(desk, model, signature, "one").returncode != 0


def test_extra_files_next_to_the_model(desk: Setup, model: Path) -> None:
    """Section 4, step 5: the signature itself and the paths given by the user may be next to the model; signed files are always checked."""
    listed = [resource(name, content) for name, content in FILES.items()]
    inside = write(model / "model.sig", json.loads(signed(desk, model, statement(listed)).read_text()))
    write_model(model, {".cache/huggingface/x.lock": b"", ".cache/more": b"x"})
    arguments = ("--signature", inside, "--signer", "./mldsa87-p384.pub")
    assert ".cache/" in desk.refused(model, *arguments)
    for path in (".cache", "./.cache/", ".cache/"):
        desk.casemate_ok("verify", model, *arguments, "--ignore", path)
    done = desk.casemate("run", model, "--memory", *arguments, "--ignore", ".cache", "--", "ls", "-A", "{}")
    assert done.stdout.split() == sorted(FILES), done.stderr
    assert "another.sig was not signed" in (write(model / "another.sig", {}), desk.refused(model, *arguments, "--ignore", ".cache"))[1]
    (model / "another.sig").unlink()
    (model / "small").write_bytes(b"changed")
    assert "small was changed" in desk.refused(model, *arguments, "--ignore", ".cache", "--ignore", "small")
    for path in ("..", ".", "/etc", "../m/.cache", "a/../.cache"):
        assert "not a path inside the model" in desk.refused(model, *arguments, "--ignore", path, code=2), path


def test_links_are_signed_if_asked(desk: Setup, tmp_path: Path) -> None:
    """As in the Hugging Face cache; the other tool verifies the result."""
    write_model(tmp_path / "blobs", {"abc": b"weights", "def": b"{}"})
    model = tmp_path / "snapshots" / "rev"
    model.mkdir(parents=True)
    (model / "model.bin").symlink_to("../../blobs/abc")
    (model / "config.json").symlink_to("../../blobs/def")
    key = desk.classical["p384"]
    sign_it = ["sign", model, "--sign", "mldsa87-p384", "--oms", key.private, "-o", tmp_path / "s"]
    refused = desk.casemate(*sign_it)
    assert refused.returncode == 1 and "--follow-links" in refused.stderr
    desk.casemate_ok(*sign_it, "--follow-links")
    desk.theirs_ok("verify", "key", model, "--signature", tmp_path / "s", "--public_key", key.public, "--allow_symlinks")
    arguments = ("--signature", tmp_path / "s", "--signer", "./mldsa87-p384.pub")
    desk.casemate_ok("verify", model, *arguments)
    assert by_parts(desk, model, tmp_path / "s", "model.bin").returncode == 0
    (tmp_path / "blobs" / "abc").write_bytes(b"others")
    assert "model.bin was changed" in desk.refused(model, *arguments)
    (model / "folder").symlink_to("../../blobs")
    assert "symbolic link to a folder" in desk.refused(model, *arguments)
    assert "symbolic link to a folder" in desk.casemate(*sign_it, "--follow-links", "--force").stderr


def test_paths_to_leave_out(desk: Setup, model: Path) -> None:
    """Signing refuses misspelled paths and paths outside the model."""
    for path, why in (("smal", "cannot ignore smal"), ("..", "not a path inside"), ("/etc", "not a path inside"), (".", "not a path inside")):
        done = desk.casemate("sign", model, "--sign", "mldsa87-p384", "--ignore", path)
        assert done.returncode == 2 and why in done.stderr, path
    listed = [resource(name, content) for name, content in FILES.items()]
    said = statement(listed, ignore_paths=[f"p{number}" for number in range(1001)])
    assert desk.refused(model, "--signature", signed(desk, model, said), "--signer", "./mldsa87-p384.pub")


def test_odd_names_are_shown(desk: Setup, tmp_path: Path) -> None:
    """Any name that a file system and a statement allow."""
    files = {"back\\slash": b"1", "a" * 250: b"2", "x/" * 70 + "deep": b"3", ".casemate-rewrap": b"4"}
    model = write_model(tmp_path / "m", files)
    desk.casemate_ok("sign", model, "--sign", "mldsa87-p384")
    done = desk.casemate("run", model, "--memory", "--signature", tmp_path / "m.sig", "--", "find", "{}", "-type", "f", "-printf", "%P\n")
    assert sorted(done.stdout.splitlines()) == sorted(files), done.stderr


def test_files_without_a_table(desk: Setup, tmp_path: Path) -> None:
    """Section 5: files up to 64 MiB are read whole, longer ones not at all."""
    limit = 64 << 20
    content = bytes(limit)
    model = write_model(tmp_path / "m", {"zeros": content, "b": b"b"})
    plain = [resource("zeros", content), resource("b", b"b")]
    signature = signed(desk, model, statement(plain))
    assert by_parts(desk, model, signature, "zeros").returncode == 0
    assert (tmp_path / "copied").read_bytes() == content
    (model / "zeros").write_bytes(content + b"\0")
    signature = signed(desk, model, statement([resource("zeros", content + b"\0"), plain[1]]))
    assert "zeros cannot be verified while it is read" in by_parts(desk, model, signature, "b").stderr
    desk.casemate_ok("verify", model, "--signature", signature, "--signer", "./mldsa87-p384.pub")


def test_shards_have_no_tables(desk: Setup, tmp_path: Path) -> None:
    model = write_model(tmp_path / "m", {"a": b"first"})
    shards = [resource("a:0:4", b"firs"), resource("a:4:5", b"t")]
    told = {"method": "shards", "shard_size": 4}
    signature = signed(desk, model, statement(shards, **told))
    assert "signed in shards" in by_parts(desk, model, signature, "a").stderr
    shards[0]["annotations"] = {LABEL: table(b"firs", 4096)}
    assert "segment table" in desk.refused(model, "--signature", signed(desk, model, statement(shards, **told)), "--signer", "./mldsa87-p384.pub")


def test_artifact_options_are_refused_with_a_signature(desk: Setup, model: Path) -> None:
    signature = signed(desk, model, statement([resource(name, content) for name, content in FILES.items()]))
    for option in (["--allow-unknown-signer"], ["--min-revision", "1"], ["--id", "00" * 16]):
        done = desk.casemate("run", model, "--memory", "--signature", signature, *option, "--", "true")
        assert done.returncode == 2 and "cannot be used with" in done.stderr
    other = desk.casemate("run", model, "--memory", "--signature", signature, "--signer", "./other.pub", "--", "true")
    assert other.returncode == 1 and "not by key" in other.stderr
    # The key store knows the publisher.
    assert desk.casemate("run", model, "--memory", "--signature", signature, "--", "true").returncode == 0
