"""Detached model signatures between casemate and OpenSSF Model Signing, in both directions.

    CASEMATE_BIN=/path/to/casemate pytest interop/oms
"""

from __future__ import annotations

import base64
import datetime
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from model_signing import hashing, signing

from bundle import COMPOSITES, CONTEXT, CURVES, MODEL, Classical, Setup, pae, payload_of, signature_of, write, write_model
from standards import SIGNATURES, pem_body, spki, unwrap

WARNING = "only a classical signature is checked"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "m")


def ours(desk: Setup, model: Path, curve: str = "p384", *more: str) -> Path:
    """Return a signature by casemate with both keys."""
    target = model.parent / "ours.sig"
    desk.casemate_ok("sign", model, "--sign", "mldsa87-p384", "--oms", desk.classical[curve].private, "-o", target, *more)
    return target


def theirs(desk: Setup, model: Path, curve: str = "p384", *more: str | Path) -> Path:
    """Return a signature by the `model_signing` program."""
    target = model.parent / "theirs.sig"
    desk.theirs_ok("sign", "key", model, "--private_key", desk.classical[curve].private, "--signature", target, *more)
    return target


def by_composite(desk: Setup, signature: Path, classical: Classical | None = None) -> tuple[str | Path, ...]:
    """Return arguments for `casemate verify` that require the composite signature, and optionally a classical one."""
    more = ("--oms", classical.public) if classical else ()
    return ("--signature", signature, "--signer", "./mldsa87-p384.pub", *more)


def by_classical(signature: Path, key: Classical) -> tuple[str | Path, ...]:
    return ("--signature", signature, "--oms", key.public, "--allow-classical")


# --- Signed by casemate -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["folder", "file"])
@pytest.mark.parametrize("curve", CURVES)
def test_they_verify_ours(desk: Setup, model: Path, curve: str, kind: str) -> None:
    target = model if kind == "folder" else model / "weights.bin"
    key, other = desk.classical[curve], desk.classical["other"]
    signature = ours(desk, target, curve)
    assert desk.theirs_verifies(target, signature, key)
    assert not desk.theirs_verifies(target, signature, other)
    desk.casemate_ok("verify", target, *by_composite(desk, signature))
    desk.casemate_ok("verify", target, *by_composite(desk, signature, key))
    assert WARNING in desk.casemate_ok("verify", target, *by_classical(signature, key))
    assert WARNING not in desk.casemate_ok("verify", target, *by_composite(desk, signature, key))


@pytest.mark.parametrize("suite", COMPOSITES)
def test_the_composite_signature_holds_elsewhere(desk: Setup, model: Path, suite: str) -> None:
    """The independent implementation verifies it, over the bytes that were read and with its own context only."""
    desk.casemate_ok("sign", model, "--sign", suite, "-o", model.parent / "s")
    found, key = json.loads((model.parent / "s").read_text()), desk.composite[suite]
    scheme = SIGNATURES[COMPOSITES[suite]]
    raw, payload = signature_of(found, key.key_id.hex()), payload_of(found)
    public = unwrap(pem_body(key.public_pem, "PUBLIC KEY"), scheme.mldsa_pk + scheme.classical_pk, lambda k: spki(scheme.oid, k))
    assert public
    scheme.verify(public, raw, pae(payload), CONTEXT)
    for message, context in ((pae(payload), b"casemate/v1/artifact"), (payload, CONTEXT), (pae(payload + b" "), CONTEXT)):
        with pytest.raises(InvalidSignature):
            scheme.verify(public, raw, message, context)
    assert found["verificationMaterial"]["publicKey"]["hint"] == key.key_id.hex()
    names = [entry["name"] for entry in json.loads(payload)["predicate"]["resources"]]
    assert names == sorted(MODEL)


def test_the_classical_signature_is_the_first(desk: Setup, model: Path) -> None:
    """Section 2: it has the hint and the empty key id that OMS tools expect."""
    key = desk.classical["p521"]
    found = json.loads(ours(desk, model, "p521").read_text())
    assert [entry["keyid"] for entry in found["dsseEnvelope"]["signatures"]] == ["", desk.publisher.key_id.hex()]
    assert found["verificationMaterial"] == {"publicKey": {"hint": key.hint}, "tlogEntries": []}
    key.key.public_key().verify(signature_of(found, ""), pae(payload_of(found)), ec.ECDSA(hashes.SHA512()))


def test_a_signature_inside_the_folder_and_ignored_paths(desk: Setup, model: Path) -> None:
    """The signature itself, git's files, and the given paths are left out; a folder is left out with its contents."""
    write_model(model, {".git/HEAD": b"x", ".gitignore": b"x", "cache/a": b"x", "cache/deep/b": b"x", "cached": b"x", "log": b"x"})
    target = model / "model.sig"
    desk.casemate_ok(
        "sign", model, "--sign", "mldsa87-p384", "--oms", desk.classical["p256"].private, "-o", target, "--ignore", "cache", "--ignore", "log"
    )
    assert "cannot ignore cash: the model has no such path" in desk.casemate("sign", model, "--sign", "mldsa87-p384", "-o", "other.sig", "--ignore", "cash").stderr
    names = {entry["name"] for entry in json.loads(payload_of(json.loads(target.read_text())))["predicate"]["resources"]}
    assert names == {*MODEL, "cached"}
    write_model(model, {".git/new": b"y", "cache/deep/c": b"y", "log": b"changed"})
    desk.casemate_ok("verify", model, *by_composite(desk, target, desk.classical["p256"]))
    assert desk.theirs_verifies(model, target, desk.classical["p256"])
    (model / "cached").write_bytes(b"changed")
    assert "cached was changed" in desk.refused(model, *by_composite(desk, target))
    assert not desk.theirs_verifies(model, target, desk.classical["p256"])


def test_the_default_name_and_an_existing_file(desk: Setup, model: Path) -> None:
    """The default is MODEL.sig, which is replaced only with --force."""
    place = model.parent / "m.sig"
    desk.casemate_ok("sign", model, "--sign", "mldsa87-p384")
    before = place.read_bytes()
    assert desk.casemate("sign", model, "--sign", "mldsa87-p384").returncode != 0
    assert place.read_bytes() == before
    desk.casemate_ok("sign", model, "--sign", "mldsa87-p384", "--force")
    desk.casemate_ok("verify", model, *by_composite(desk, place))


# --- Signed by model_signing ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["folder", "file"])
@pytest.mark.parametrize("curve", CURVES)
def test_we_verify_theirs(desk: Setup, model: Path, curve: str, kind: str) -> None:
    """It verifies with a warning if the user accepts a classical signature, and is refused otherwise."""
    target = model if kind == "folder" else model / "weights.bin"
    signature, key = theirs(desk, target, curve), desk.classical[curve]
    assert WARNING in desk.casemate_ok("verify", target, *by_classical(signature, key))
    assert "classical" in desk.refused(target, "--signature", signature, "--oms", key.public, code=4)
    assert "classical key only" in desk.refused(target, *by_composite(desk, signature))
    assert "classical key only" in desk.refused(target, *by_composite(desk, signature, key))


@pytest.mark.parametrize("hash_", ["sha256", "blake2", "blake3"])
@pytest.mark.parametrize("shard", [None, 1, 1000, 12_345, 1 << 40])
def test_every_serialization(desk: Setup, model: Path, shard: int | None, hash_: str) -> None:
    """Files and shards; a shard size may divide a file evenly or exceed it. `model_signing` does not allow BLAKE3 with shards."""
    config = hashing.Config()
    if shard is None:
        config.use_file_serialization(hashing_algorithm=hash_)
    else:
        config.use_shard_serialization(hashing_algorithm=hash_, shard_size=shard)
    if shard == 1:
        (model / "weights.bin").write_bytes(b"few bytes")
    key, signature = desk.classical["p256"], model.parent / "s"
    signing.Config().set_hashing_config(config).use_elliptic_key_signer(private_key=key.private).sign(model, signature)
    told = json.loads(payload_of(json.loads(signature.read_text())))["predicate"]["serialization"]
    in_shards = shard is not None and hash_ != "blake3"
    assert (told["method"], told["hash_type"]) == ("shards" if in_shards else "files", {"blake2": "blake2b"}.get(hash_, hash_))
    desk.casemate_ok("verify", model, *by_classical(signature, key))
    content = (model / "weights.bin").read_bytes()
    for changed in (content[:-1] + b"!", content[:-1], content + b"!", content[1:], b""):
        (model / "weights.bin").write_bytes(changed)
        refused = desk.refused(model, *by_classical(signature, key))
        assert "weights.bin" in refused and ("changed" in refused or "missing" in refused or "not signed" in refused), refused


def test_their_ignored_paths(desk: Setup, model: Path) -> None:
    """Also without the rule about git files, which makes `.gitignore` an ordinary file."""
    write_model(model, {"cache/a": b"x", ".gitignore": b"x"})
    key = desk.classical["p256"]
    signature = theirs(desk, model, "p256", "--ignore-paths", model / "cache", "--no-ignore-git-paths")
    desk.casemate_ok("verify", model, *by_classical(signature, key))
    write_model(model, {"cache/b": b"x"})
    desk.casemate_ok("verify", model, *by_classical(signature, key))
    write_model(model, {".gitignore": b"changed"})
    assert ".gitignore was changed" in desk.refused(model, *by_classical(signature, key))


def test_their_links(desk: Setup, model: Path) -> None:
    """A link to a file stands for the file if the statement allows links, and is refused otherwise."""
    key, plain = desk.classical["p256"], theirs(desk, model, "p256")
    (model / "link").symlink_to("config.json")
    assert "m/link is" in desk.refused(model, *by_classical(plain, key), code=(1, 2))
    allowed = theirs(desk, model, "p256", "--allow_symlinks")
    desk.casemate_ok("verify", model, *by_classical(allowed, key))
    (model / "link").unlink()
    (model / "link").symlink_to("onnx.json")
    assert "link was changed" in desk.refused(model, *by_classical(allowed, key))


def certificates(desk: Setup, work: Path) -> Path:
    """Create a self-signed certificate for the P-256 key."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "publisher")])
    now, key = datetime.datetime.now(datetime.UTC), desk.classical["p256"].key
    usage = x509.KeyUsage(True, False, False, False, False, True, False, False, False)
    built = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    built = built.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    built = built.add_extension(usage, True).add_extension(x509.BasicConstraints(True, None), True)
    (work / "certificate.pem").write_bytes(built.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    return work / "certificate.pem"


def test_a_bundle_of_their_certificate_method_is_refused_by_name(desk: Setup, model: Path, tmp_path: Path) -> None:
    certificate, signature, key = certificates(desk, tmp_path), tmp_path / "s", desk.classical["p256"]
    chain = ("--signing_certificate", certificate, "--certificate_chain", certificate)
    desk.theirs_ok("sign", "certificate", model, "--signature", signature, "--private_key", key.private, *chain)
    assert "certificate" in desk.refused(model, *by_classical(signature, key))
    assert "certificate" in desk.refused(model, *by_composite(desk, signature))


# --- What both must refuse -----------------------------------------------------------------------------------------


def renamed(model: Path) -> None:
    (model / "config.json").rename(model / "Config.json")


def swapped(model: Path) -> None:
    first, second = (model / "config.json").read_bytes(), (model / "onnx.json").read_bytes()
    write_model(model, {"config.json": second, "onnx.json": first})


CHANGES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "changed": ("config.json was changed", lambda m: (m / "config.json").write_bytes(b'{"layers": 3}')),
    "changed to nothing": ("weights.bin was changed", lambda m: (m / "weights.bin").write_bytes(b"")),
    "two swapped": ("config.json was changed", swapped),
    "missing": ("config.json is missing", lambda m: (m / "config.json").unlink()),
    "folder missing": ("onnx/model.onnx is missing", lambda m: shutil.rmtree(m / "onnx")),
    "added": ("extra was not signed", lambda m: (m / "extra").write_bytes(b"x")),
    "added empty": ("extra was not signed", lambda m: (m / "extra").write_bytes(b"")),
    "added below": ("onnx/.hidden was not signed", lambda m: (m / "onnx/.hidden").write_bytes(b"x")),
    "renamed": ("onfig.json ", renamed),
    "a file for a folder": ("onnx", lambda m: (shutil.rmtree(m / "onnx"), (m / "onnx").write_bytes(b"x"))),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_model_is_refused(desk: Setup, model: Path, change: str) -> None:
    """With both signers and both verifiers; the error names the fault."""
    key = desk.classical["p384"]
    own, other = ours(desk, model), theirs(desk, model)
    says, act = CHANGES[change]
    act(model)
    for arguments in (by_composite(desk, own), by_composite(desk, own, key), by_classical(own, key), by_classical(other, key)):
        assert says in desk.refused(model, *arguments)
    assert not desk.theirs_verifies(model, own, key) and not desk.theirs_verifies(model, other, key)


def test_a_changed_single_file_is_refused(desk: Setup, model: Path) -> None:
    target, key = model / "weights.bin", desk.classical["p384"]
    own, other = ours(desk, target), theirs(desk, target)
    target.write_bytes(MODEL["weights.bin"][:-1])
    for arguments in (by_composite(desk, own), by_classical(own, key), by_classical(other, key)):
        assert "was changed" in desk.refused(target, *arguments)
    assert not desk.theirs_verifies(target, own, key)
    # A folder in place of the file, and a file in place of a folder.
    target.unlink()
    write_model(target, {"weights.bin": MODEL["weights.bin"]})
    desk.refused(target, *by_composite(desk, own))
    desk.refused(model / "config.json", *by_composite(desk, ours(desk, model, "p384", "--force")))


def test_another_key(desk: Setup, model: Path) -> None:
    """Detected by the hint, and without a hint by the signature."""
    signature, other = ours(desk, model), desk.classical["other"]
    desk.refused(model, *by_classical(signature, other))
    desk.refused(model, *by_composite(desk, signature, other))
    assert "not by key" in desk.refused(model, "--signature", signature, "--signer", "./other.pub")
    found = json.loads(signature.read_text())
    del found["verificationMaterial"]["publicKey"]["hint"]
    bare = write(model.parent / "bare", found)
    assert "does not verify" in desk.refused(model, *by_classical(bare, other))
    desk.casemate_ok("verify", model, *by_composite(desk, bare, desk.classical["p384"]))
    assert not desk.theirs_verifies(model, bare, other)


def test_a_removed_signature(desk: Setup, model: Path) -> None:
    """Without the composite signature, only the classical one can be accepted; without the classical one, OMS tools refuse."""
    found, key = json.loads(ours(desk, model).read_text()), desk.classical["p384"]
    envelope = found["dsseEnvelope"]
    first, second = envelope["signatures"]

    def with_(*signatures: dict[str, str]) -> Path:
        return write(model.parent / "s", found | {"dsseEnvelope": envelope | {"signatures": list(signatures)}})

    stripped = with_(first)
    desk.refused(model, *by_composite(desk, stripped))
    desk.refused(model, *by_composite(desk, stripped, key))
    desk.refused(model, "--signature", stripped, "--oms", key.public, code=4)
    assert WARNING in desk.casemate_ok("verify", model, *by_classical(stripped, key))
    alone = with_(second)
    desk.casemate_ok("verify", model, *by_composite(desk, alone))
    desk.refused(model, *by_composite(desk, alone, key))
    desk.refused(model, *by_classical(alone, key))
    assert not desk.theirs_verifies(model, alone, key)
    # The composite entry with an unknown key id, and the classical entry with the publisher's.
    for forged in ((first, second | {"keyid": ""}), (second | {"keyid": ""}, first | {"keyid": second["keyid"]})):
        desk.refused(model, *by_composite(desk, with_(*forged)))
    half = base64.b64decode(second["sig"])[:4627]
    desk.refused(model, *by_composite(desk, with_(first, second | {"sig": base64.b64encode(half).decode()})))


def test_a_swapped_statement(desk: Setup, model: Path, tmp_path: Path) -> None:
    """The statement of another model with these signatures, the reverse, and one byte more."""
    key = desk.classical["p384"]
    own = json.loads(ours(desk, model).read_text())
    second = write_model(tmp_path / "second" / "m", {"config.json": b"other"})
    foreign = json.loads(ours(desk, second).read_text())
    for payload in (foreign["dsseEnvelope"]["payload"], base64.b64encode(payload_of(own) + b" ").decode()):
        forged = write(model.parent / "s", own | {"dsseEnvelope": own["dsseEnvelope"] | {"payload": payload}})
        for target in (model, second):
            for arguments in (by_composite(desk, forged), by_composite(desk, forged, key), by_classical(forged, key)):
                assert "does not verify" in desk.refused(target, *arguments)
            assert not desk.theirs_verifies(target, forged, key)
    # Both are valid for their own models.
    desk.refused(second, *by_composite(desk, write(model.parent / "s", own)))
    desk.casemate_ok("verify", second, *by_composite(desk, write(model.parent / "s", foreign), key))
