"""Keys for the tests."""

import os
from pathlib import Path
from types import SimpleNamespace

import casemate
import pytest

# The tests write passphrase files, which the program refuses if others can read them.
os.umask(0o077)


@pytest.fixture(scope="session")
def keys():
    make = casemate.PrivateKey.generate
    return SimpleNamespace(
        alice=make("mlkem1024-p384"),
        bob=make("mlkem768-x25519"),
        publisher=make("mldsa87-p384"),
        stranger=make("mldsa87-p384"),
    )


@pytest.fixture
def to(keys):
    """Return arguments that seal to Alice, signed by the publisher."""
    return {"to": keys.alice.public_key, "sign": keys.publisher}


@pytest.fixture
def trust(keys):
    """Return arguments that open as Alice, with the publisher as expected signer."""
    return {"keys": keys.alice, "signer": keys.publisher.public_key}


@pytest.fixture(autouse=True)
def no_defaults():
    casemate.configure()
    yield
    casemate.configure()


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
