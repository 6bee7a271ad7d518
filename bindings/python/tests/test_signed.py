"""Models that are signed but not sealed: reads return only signed and checked content."""

import os
import subprocess
import warnings
from pathlib import Path

import casemate
import casemate.safetensors
import casemate.torch
import numpy as np
import pytest
from conftest import flip

pytestmark = pytest.mark.skipif("CASEMATE_BIN" not in os.environ, reason="CASEMATE_BIN is not set to the casemate program")
safetensors = pytest.importorskip("safetensors.numpy")

MIB = 1 << 20
WEIGHTS = {
    "first": np.arange(100, dtype=np.float32),
    "large": np.arange(3 * MIB, dtype=np.uint8).reshape(3, MIB),
    "last": np.arange(7, dtype=np.int64),
}


@pytest.fixture(scope="session")
def store_home(tmp_path_factory, keys):
    home = tmp_path_factory.mktemp("signed") / "home"
    home.mkdir()
    (home / "pass").write_text("correct horse\n")
    run(home, "keys", "init")
    for name, key in ("publisher", keys.publisher), ("stranger", keys.stranger):
        key.to_file(home / name)
        run(home, "keys", "import", home / name, "--name", name)
    return home


def run(home, *arguments):
    command = [os.environ["CASEMATE_BIN"], "--home", home, "--passphrase-file", home / "pass", *arguments]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def model(tmp_path, store_home):
    root = tmp_path / "model"
    root.mkdir()
    safetensors.save_file(WEIGHTS, root / "model.safetensors")
    (root / "config.json").write_text("{}")
    run(store_home, "sign", root, "--sign", "publisher")
    return root


def test_weights_come_from_a_signed_model(model, keys):
    opened = casemate.open_signed(model, signer=keys.publisher.public_key)
    assert (opened.name, opened.files) == ("model", ["config.json", "model.safetensors"])
    assert opened.size("config.json") == 2 and "config.json" in opened and "x" not in opened
    assert opened.open("config.json").read() == b"{}"
    loaded = casemate.safetensors.load_file(opened.open("model.safetensors"))
    assert all(np.array_equal(loaded[name], value) for name, value in WEIGHTS.items())
    with casemate.safetensors.safe_open(opened.content("model.safetensors")) as file:
        assert np.array_equal(file.get_tensor("last"), WEIGHTS["last"])
        assert np.array_equal(file.get_slice("large")[1:2], WEIGHTS["large"][1:2])
    with pytest.raises(KeyError):
        opened.open("../model/config.json")


def test_a_changed_part_is_refused_when_it_is_read(model, keys):
    path = model / "model.safetensors"
    flip(path, 2 * MIB)
    opened = casemate.open_signed(model, signer=keys.publisher.public_key)
    with casemate.safetensors.safe_open(opened.content("model.safetensors")) as file:
        assert np.array_equal(file.get_tensor("first"), WEIGHTS["first"])
        with pytest.raises(casemate.VerificationError, match="model.safetensors was changed"):
            file.get_tensor("large")
    with pytest.raises(casemate.VerificationError):
        casemate.safetensors.load_file(opened.open("model.safetensors"))
    # The second of two segments is damaged: none of it may ever be in an array that other threads can see.
    out = np.full(2 * MIB, 7, dtype=np.uint8)
    with pytest.raises(casemate.VerificationError):
        opened.content("model.safetensors").readinto(MIB, out)
    assert (out[MIB:] == 7).all()
    with pytest.raises(casemate.VerificationError):
        opened.content("model.safetensors").read_array(MIB, 2 * MIB)
    with pytest.raises(ValueError, match="past the end"):
        opened.content("model.safetensors").read_array(0, opened.size("model.safetensors") + 1)
    for changed in ("[]", "", "{", "{}x"):
        (model / "config.json").write_text(changed)
        opened = casemate.open_signed(model, signer=keys.publisher.public_key)
        with pytest.raises(casemate.VerificationError, match="config.json was changed"):
            opened.open("config.json")


def test_a_signature_that_is_not_a_regular_file_does_not_block(model, keys, tmp_path):
    os.mkfifo(tmp_path / "pipe.sig")
    with pytest.raises(casemate.CasemateError, match="not a regular file"):
        casemate.open_signed(model, tmp_path / "pipe.sig", signer=keys.publisher.public_key)
    with pytest.raises(ValueError, match="has no file name"):
        casemate.open_signed(".", signer=keys.publisher.public_key)


def test_a_compromised_key_does_not_invalidate_another_signature(model, keys, tmp_path, store_home):
    """A model with two signatures is accepted if one of the keys is valid."""
    import base64
    import json

    one, two = tmp_path / "one.sig", tmp_path / "two.sig"
    run(store_home, "sign", model, "--sign", "stranger", "-o", one)
    run(store_home, "sign", model, "--sign", "publisher", "-o", two)
    first, second = (json.loads(path.read_text()) for path in (one, two))
    assert base64.b64decode(first["dsseEnvelope"]["payload"]) == base64.b64decode(second["dsseEnvelope"]["payload"])
    first["dsseEnvelope"]["signatures"] += second["dsseEnvelope"]["signatures"]
    one.write_text(json.dumps(first))
    for name, key in ("publisher", keys.publisher), ("stranger", keys.stranger):
        (tmp_path / f"{name}.pub").write_text(key.public_key.to_pem())
    trust = tmp_path / "trust.toml"
    entry = '[[publisher]]\nkey = "./{}.pub"\nroles = ["model"]\n{}\n'
    trust.write_text(entry.format("stranger", "compromised = true") + entry.format("publisher", ""))
    assert casemate.open_signed(model, one, signer=casemate.TrustList(trust)).files
    trust.write_text(entry.format("stranger", "compromised = true") + entry.format("publisher", "compromised = true"))
    with pytest.raises(casemate.VerificationError, match="compromised"):
        casemate.open_signed(model, one, signer=casemate.TrustList(trust))
    # Anybody can prepend a signature that names another trusted key.
    trust.write_text(entry.format("stranger", "") + entry.format("publisher", ""))
    first["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(b"x" * 3500).decode()
    one.write_text(json.dumps(first))
    assert casemate.open_signed(model, one, signer=casemate.TrustList(trust)).files
    run(store_home, "verify", model, "--signature", one, "--trust", trust)
    first["dsseEnvelope"]["signatures"].pop()
    one.write_text(json.dumps(first))
    with pytest.raises(casemate.VerificationError):
        casemate.open_signed(model, one, signer=casemate.TrustList(trust))


def test_files_must_be_the_signed_ones(model, keys):
    signer = keys.publisher.public_key
    (model / "more").write_text("")
    with pytest.raises(casemate.VerificationError, match="more was not signed"):
        casemate.open_signed(model, signer=signer)
    casemate.open_signed(model, signer=signer, ignore=["more"])
    (model / "more").unlink()
    (model / "config.json").unlink()
    with pytest.raises(casemate.VerificationError, match="config.json is missing"):
        casemate.open_signed(model, signer=signer, ignore=["config.json"])
    with pytest.raises(casemate.VerificationError, match="config.json is missing"):
        casemate.open_signed(model, signer=signer)


def test_an_expected_signer_must_have_signed(model, keys, store_home):
    with pytest.raises(casemate.VerificationError, match=keys.publisher.id):
        casemate.open_signed(model, signer=keys.stranger.public_key)
    with pytest.raises(casemate.CasemateError, match="no expected signer was given"):
        casemate.open_signed(model)
    store = casemate.open_store(store_home, passphrase=store_home / "pass")
    assert casemate.open_signed(model, keys=store).files
    assert casemate.open_signed(model, signer="publisher", keys=store).files
    with pytest.raises(casemate.CasemateError, match="policy"):
        casemate.open_signed(model, signer=keys.publisher.public_key, policy="cnsa2")
    # Another key's signature with the publisher's id.
    run(store_home, "sign", model, "--sign", "stranger", "-o", model.parent / "other.sig")
    text = (model.parent / "other.sig").read_text().replace(keys.stranger.id, keys.publisher.id)
    (model.parent / "other.sig").write_text(text)
    with pytest.raises(casemate.VerificationError, match="does not verify"):
        casemate.open_signed(model, model.parent / "other.sig", signer=keys.publisher.public_key)
    with pytest.raises(FileNotFoundError):
        casemate.open_signed(model, model.parent / "none.sig", signer=keys.publisher.public_key)


def test_the_command_verifies_what_python_signs(model, keys, store_home, tmp_path):
    inside = model / "m.sig"
    assert casemate.sign(model, inside, sign=keys.publisher, ignore=["config.json"]) == str(inside)
    run(store_home, "verify", model, "--signature", inside, "--signer", "publisher")
    (model / "config.json").write_text("left out")
    opened = casemate.open_signed(model, inside, signer=keys.publisher.public_key)
    assert opened.files == ["model.safetensors"]
    with pytest.raises(FileExistsError):
        casemate.sign(model, inside, sign=keys.publisher)
    casemate.sign(model, sign=keys.publisher, force=True)
    with pytest.raises(casemate.CasemateError, match="no key to sign with"):
        casemate.sign(model, force=True)
    with pytest.raises(casemate.CasemateError, match="policy"):
        casemate.sign(model, sign=keys.publisher, policy="cnsa2", force=True)
    with pytest.raises(FileNotFoundError):
        casemate.sign(tmp_path / "none", sign=keys.publisher)
    # A single path is accepted, and an error in the caller's path is not reported as a failed verification.
    casemate.sign(model, inside, sign=keys.publisher, ignore="config.json", force=True)
    assert casemate.open_signed(model, inside, signer=keys.publisher.public_key, ignore="config.json").files
    with pytest.raises(casemate.CasemateError, match="not a path inside") as refused:
        casemate.sign(model, sign=keys.publisher, ignore=["../x"], force=True)
    assert not isinstance(refused.value, casemate.VerificationError)
    # A file that is not a signature is not replaced and stays complete.
    before = (model / "model.safetensors").read_bytes()
    with pytest.raises(FileExistsError, match="not a model signature"):
        casemate.sign(model, model / "model.safetensors", sign=keys.publisher, force=True)
    assert (model / "model.safetensors").read_bytes() == before


def test_one_file_and_torch(tmp_path, keys, store_home):
    torch = pytest.importorskip("torch")
    path = tmp_path / "weights.pt"
    torch.save({"w": torch.arange(MIB)}, path)
    run(store_home, "sign", path, "--sign", "publisher")
    opened = casemate.open_signed(path, signer=keys.publisher.public_key)
    assert opened.files == ["."]
    loaded = casemate.torch.load(opened.open())
    assert torch.equal(loaded["w"], torch.arange(MIB))
    flip(path, MIB)
    with pytest.raises(casemate.VerificationError):
        casemate.torch.load(opened.open())


def test_a_folder_that_has_expired(tmp_path, keys, store_home):
    """Sealed by the command, because only it can set an expiry; the policy decides the effect."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/a").write_text("x")
    keys.alice.to_file(tmp_path / "alice")
    (tmp_path / "alice.pub").write_text(keys.alice.public_key.to_pem())
    seal = ["seal", tmp_path / "folder", "--to", tmp_path / "alice.pub", "--sign", "publisher", "--force"]
    trust = {"keys": keys.alice, "signer": keys.publisher.public_key}
    run(store_home, *seal, "--expires", "2999-01-01")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened = casemate.open_folder(tmp_path / "folder.sealed", **trust)
    assert opened.expires == 32_472_144_000
    run(store_home, *seal, "--expires", "2020-01-01")
    run(store_home, *seal[:2], "-o", tmp_path / "second.sealed", *seal[2:], "--expires", "2020-01-01")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for name in ("folder.sealed", "second.sealed", "second.sealed"):
            casemate.open_folder(tmp_path / name, **trust)
    texts = [str(one.message) for one in caught]
    assert len(texts) == 2 and "folder.sealed has expired" in texts[0] and "second.sealed has expired" in texts[1]
    assert {one.filename for one in caught} == {__file__}
    policy = tmp_path / "strict.toml"
    source = Path(__file__).parents[3] / "crates/casemate-crypto/policies/hybrid.toml"
    policy.write_text(source.read_text().replace("hash =", 'expired = "refuse"\nhash ='))
    with pytest.raises(casemate.CasemateError, match="policy refuses"):
        casemate.open_folder(tmp_path / "folder.sealed", policy=policy, **trust)
