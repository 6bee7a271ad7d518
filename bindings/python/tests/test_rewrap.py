"""Changing recipients."""

import casemate
import pytest

CONTENT = bytes(range(256)) * 9000


@pytest.fixture
def artifact(tmp_path, to):
    path = tmp_path / "m.sealed"
    casemate.seal(CONTENT, path, **to)
    return path


@pytest.fixture
def folder(tmp_path, to):
    source = tmp_path / "m"
    source.mkdir()
    for name in ("config.json", "model.safetensors"):
        (source / name).write_bytes(CONTENT)
    casemate.seal_folder(source, tmp_path / "m.sealed", **to)
    return tmp_path / "m.sealed"


def reads(path, keys, key):
    """Return what a key can read of a file or a folder."""
    trust = {"keys": key, "signer": keys.publisher.public_key}
    if path.is_dir():
        with casemate.open_folder(path, **trust) as folder, folder.open("model.safetensors") as file:
            return file.read()
    with casemate.open(path, **trust) as file:
        return file.read()


@pytest.mark.parametrize("kind", ["artifact", "folder"])
def test_recipients_are_added_and_removed(request, keys, trust, kind):
    path = request.getfixturevalue(kind)
    assert casemate.rewrap(path, add=keys.bob.public_key, **trust) == (1, 2)
    assert reads(path, keys, keys.alice) == reads(path, keys, keys.bob) == CONTENT
    assert casemate.rewrap(path, remove=keys.alice.public_key.id, **trust) == (2, 1)
    assert reads(path, keys, keys.bob) == CONTENT
    with pytest.raises(casemate.NotARecipientError):
        reads(path, keys, keys.alice)
    with pytest.raises(casemate.NotARecipientError):
        casemate.rewrap(path, add=keys.alice.public_key, **trust)
    by_bob = {"keys": keys.bob, "signer": keys.publisher.public_key}
    assert casemate.rewrap(path, to=[keys.alice.public_key], **by_bob) == (1, 1)
    assert reads(path, keys, keys.alice) == CONTENT


def test_the_body_does_not_change(artifact, keys, trust):
    before = artifact.read_bytes()
    casemate.rewrap(artifact, add=keys.bob.public_key, **trust)
    after = artifact.read_bytes()
    assert after[: len(CONTENT)] == before[: len(CONTENT)]
    assert len(after) > len(before)


@pytest.mark.parametrize("kind", ["artifact", "folder"])
def test_an_invalid_change_changes_nothing(request, keys, trust, kind):
    path = request.getfixturevalue(kind)
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    before = [file.read_bytes() for file in files]
    bob = keys.bob.public_key
    by_stranger = {**trust, "signer": keys.stranger.public_key}
    for error, message, arguments in [
        (ValueError, "nothing to change", trust),
        (ValueError, "cannot be combined with add= or remove=", {"to": bob, "add": bob, **trust}),
        (ValueError, "is not a recipient", {"remove": bob, **trust}),
        (casemate.VerificationError, "not an expected signer", {"add": bob, **by_stranger}),
        (casemate.CasemateError, "recipient", {"remove": keys.alice.public_key, **trust}),
        (TypeError, "kem", {"add": keys.stranger.public_key, **trust}),
        (casemate.CasemateError, "not allow", {"add": bob, "policy": "cnsa2", **trust}),
    ]:
        with pytest.raises(error, match=message):
            casemate.rewrap(path, **arguments)
    assert [file.read_bytes() for file in files] == before


def test_a_file_that_is_being_read_is_not_changed_until_it_is_closed(artifact, keys, trust):
    with casemate.open(artifact, **trust) as reader:
        with pytest.raises(BlockingIOError, match="m.sealed: another process is reading"):
            casemate.rewrap(artifact, add=keys.bob.public_key, **trust)
        assert reader.read() == CONTENT
    casemate.rewrap(artifact, add=keys.bob.public_key, **trust)
    for use in (reader.read, lambda: reader.size, lambda: reader.read_at(0, 1)):
        with pytest.raises(ValueError, match="closed"):
            use()


def test_a_folder_that_is_closed_can_be_changed(folder, keys, trust):
    with casemate.open_folder(folder, **trust) as opened:
        assert "config.json" in opened
    casemate.rewrap(folder, add=keys.bob.public_key, **trust)
    with pytest.raises(ValueError, match="closed"):
        opened.open("config.json")
