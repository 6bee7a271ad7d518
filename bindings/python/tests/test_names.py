"""A bare word names a key of a store or a built-in policy, never a file that lies in the working directory."""

import os
import subprocess
from pathlib import Path

import casemate
import pytest


@pytest.fixture
def folder(tmp_path, keys, monkeypatch):
    """A working directory in which somebody placed their own key as ``publisher``."""
    (tmp_path / "publisher").write_text(keys.stranger.public_key.to_pem())
    keys.bob.to_file(tmp_path / "alice")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def store(tmp_path_factory, keys):
    """A key store with ``alice`` and ``publisher``, made by the command."""
    home = tmp_path_factory.mktemp("home")
    (home / "pass").write_text("correct horse\n")
    (home / "pass").chmod(0o600)
    run = [os.environ["CASEMATE_BIN"], "--home", home, "--passphrase-file", home / "pass", "keys"]
    subprocess.run([*run, "init"], check=True)
    for name, key in ("alice", keys.alice), ("publisher", keys.publisher):
        key.to_file(home / name)
        subprocess.run([*run, "import", home / name, "--name", name], check=True, capture_output=True)
    return casemate.open_store(home, passphrase=home / "pass")


def test_a_name_is_looked_up_in_the_store_and_not_in_the_folder(folder, keys, store):
    casemate.configure(keys=store)
    casemate.seal(b"x", "x.sealed", to="alice", sign="publisher")
    artifact = casemate.inspect("x.sealed")
    assert (artifact.recipients, artifact.signer) == ([keys.alice.id], keys.publisher.id)
    for signer in "publisher", keys.publisher.id:
        assert casemate.open("x.sealed", signer=signer).read() == b"x"
    assert casemate.open("x.sealed", keys=[store, "alice"], signer="publisher").read() == b"x"
    with pytest.raises(casemate.VerificationError, match="not trusted"):
        casemate.open("x.sealed", signer="./publisher")
    with pytest.raises(casemate.CasemateError, match="shortened key id"):
        casemate.open("x.sealed", signer=keys.publisher.id[:16])


def test_a_name_without_a_store_is_an_error_and_a_path_is_read(folder, keys, trust):
    casemate.seal(b"x", "x.sealed", to=keys.alice.public_key, sign=keys.publisher)
    for refused in (
        lambda: casemate.open("x.sealed", keys=keys.alice, signer="publisher"),
        lambda: casemate.open("x.sealed", keys="alice", signer=keys.publisher.public_key),
        lambda: casemate.seal(b"x", "y", to="publisher", sign=keys.publisher),
        lambda: casemate.seal(b"x", "y", to=keys.alice.public_key, sign="alice"),
        lambda: casemate.rewrap("x.sealed", add="alice", **trust),
    ):
        with pytest.raises(casemate.CasemateError, match="names a key of a key store"):
            refused()
    keys.alice.to_file("me")
    Path("vendor").write_text(keys.publisher.public_key.to_pem())
    for me, vendor in (("./me", "./vendor"), (Path("me"), Path("vendor"))):
        assert casemate.open("x.sealed", keys=me, signer=vendor).read() == b"x"


def test_a_policy_file_is_named_by_a_path(folder, keys, to, monkeypatch):
    text = 'name = "ours"\ndescription = ""\nkem = ["mlkem1024"]\nsignature = ["mldsa87-p384"]\ntls = ["X25519MLKEM768"]\nhash = "sha384"\n'
    for name in "hybrid", "ours":
        Path(name).write_text(text)
    casemate.seal(b"x", "1", policy="hybrid", **to)
    for policy in "./hybrid", Path("hybrid"):
        with pytest.raises(casemate.CasemateError, match="`ours` does not allow"):
            casemate.seal(b"x", "2", policy=policy, **to)
    with pytest.raises(casemate.CasemateError, match="write './ours'"):
        casemate.seal(b"x", "2", policy="ours", **to)
    monkeypatch.setenv("CASEMATE_POLICY", "./ours")
    with pytest.raises(casemate.CasemateError, match="`ours` does not allow"):
        casemate.seal(b"x", "2", **to)


def test_a_key_that_the_policy_refuses_does_not_hide_one_that_it_allows(tmp_path, keys, trust):
    pure = casemate.PrivateKey.generate("mlkem1024")
    to = [pure.public_key, keys.alice.public_key]
    casemate.seal(b"x", tmp_path / "x", to=to, sign=keys.publisher, policy="experimental")
    both = {**trust, "keys": [pure, keys.alice]}
    assert casemate.open(tmp_path / "x", **both).read() == b"x"
    with pytest.raises(casemate.CasemateError, match="does not allow the suite mlkem1024"):
        casemate.open(tmp_path / "x", **{**trust, "keys": pure})
