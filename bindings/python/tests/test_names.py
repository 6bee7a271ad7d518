"""A bare word is the name of a key in a key store or of a built-in policy, never a file in the working directory."""

import os
import subprocess
from pathlib import Path

import casemate
import pytest


@pytest.fixture
def folder(tmp_path, keys, monkeypatch):
    """Return a working directory in which an attacker placed their own key as ``publisher``."""
    (tmp_path / "publisher").write_text(keys.stranger.public_key.to_pem())
    keys.bob.to_file(tmp_path / "alice")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def store(home):
    return casemate.open_store(home, passphrase=home / "pass")


@pytest.fixture
def home(tmp_path_factory, keys):
    """Return the folder of a key store with ``alice`` and ``publisher``, created by the command."""
    home = tmp_path_factory.mktemp("home")
    (home / "pass").write_text("correct horse\n")
    run = [os.environ["CASEMATE_BIN"], "--home", home, "--passphrase-file", home / "pass", "keys"]
    subprocess.run([*run, "init"], check=True)
    for name, key in ("alice", keys.alice), ("publisher", keys.publisher):
        key.to_file(home / name)
        subprocess.run([*run, "import", home / name, "--name", name], check=True, capture_output=True)
    return home


def test_a_name_is_looked_up_in_the_store_and_not_in_the_folder(folder, keys, store):
    casemate.configure(keys=store)
    casemate.seal(b"x", "x.sealed", to="alice", sign="publisher")
    artifact = casemate.inspect("x.sealed")
    assert (artifact.recipients, artifact.signer) == ([keys.alice.id], keys.publisher.id)
    for signer in "publisher", keys.publisher.id:
        assert casemate.open("x.sealed", signer=signer).read() == b"x"
    assert casemate.open("x.sealed", keys=[store, "alice"], signer="publisher").read() == b"x"
    with pytest.raises(casemate.VerificationError, match="not an expected signer"):
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
        with pytest.raises(casemate.CasemateError, match="is the name of a key, but there is no key store"):
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


def retire(store_home, name, *how):
    run = [os.environ["CASEMATE_BIN"], "--home", store_home, "--passphrase-file", store_home / "pass", "keys", "retire", name]
    subprocess.run([*run, *how], check=True, capture_output=True)
    return casemate.open_store(store_home, passphrase=store_home / "pass")


def test_a_key_that_ended_is_not_trusted_and_not_used(tmp_path, keys, home):
    store = casemate.open_store(home, passphrase=home / "pass")
    casemate.configure(keys=store)
    casemate.seal(b"x", tmp_path / "x", to="alice", sign="publisher")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "w").write_bytes(b"w")
    casemate.seal_folder(tmp_path / "d", tmp_path / "d.sealed", to="alice", sign="publisher")

    def trusting(signer):
        yield lambda: casemate.open(tmp_path / "x", signer=signer).read()
        yield lambda: casemate.inspect(tmp_path / "x").verify(store.public("publisher"))
        yield lambda: casemate.open_folder(tmp_path / "d.sealed", signer=signer)
        yield lambda: casemate.rewrap(tmp_path / "x", to="alice", signer=signer)

    for call in [*trusting("publisher"), *trusting(None)]:
        call()
    store = retire(home, "publisher", "--compromised")
    casemate.configure(keys=store)
    for call in [*trusting("publisher"), *trusting(None)]:
        with pytest.raises(casemate.VerificationError, match="compromised"):
            call()
    with pytest.raises(casemate.CasemateError, match="cannot be used for anything new"):
        casemate.seal(b"x", tmp_path / "y", to="alice", sign="publisher")


def test_a_trust_file_lists_the_trusted_signers(tmp_path, keys, to):
    casemate.seal(b"x", tmp_path / "x", **to)
    (tmp_path / "publisher.pub").write_text(keys.publisher.public_key.to_pem())
    (tmp_path / "stranger.pub").write_text(keys.stranger.public_key.to_pem())
    listed = '[[publisher]]\nkey = "./publisher.pub"\nroles = ["model"]\n'
    for text, role, refused in (
        (listed, "model", None),
        (listed, "dataset", "not for dataset"),
        (listed + "superseded = 2002-01-01\n", "model", "superseded"),
        (listed + "compromised = true\n", "model", "compromised"),
        (listed.replace("publisher.pub", "stranger.pub"), "model", "not an expected signer"),
    ):
        (tmp_path / "trust.toml").write_text(text)
        trust = casemate.TrustList(tmp_path / "trust.toml", role)
        if refused is None:
            assert casemate.open(tmp_path / "x", keys=keys.alice, signer=trust).read() == b"x"
            continue
        with pytest.raises(casemate.VerificationError, match=refused):
            casemate.open(tmp_path / "x", keys=keys.alice, signer=trust)
    (tmp_path / "trust.toml").write_text(listed.replace("./", ""))
    with pytest.raises(casemate.CasemateError, match="there is no key store"):
        casemate.TrustList(tmp_path / "trust.toml")
