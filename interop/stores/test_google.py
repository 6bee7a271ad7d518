"""The same commands against a Google Cloud Storage emulator (fake-gcs-server, from PyPI), with and without faults."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bucket import CONTENT, Store, free_port
from faulty_proxy import DROP, DROP_AFTER, PASS, UNAVAILABLE, Seen, times
from google_storage import BUCKET, Google, binary, start

SERVER = binary()
SHORT = CONTENT[:1000]

pytestmark = pytest.mark.skipif(SERVER is None, reason="there is no fake-gcs-server for this machine: skipped Google Cloud Storage")


class Cloud:
    """The commands, with an environment to use the bucket."""

    def __init__(self, store: Store, proxy: Google, environment: dict[str, str]) -> None:
        self.store, self.proxy, self.environment = store, proxy, environment

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.store.run(*arguments, **self.environment)

    def ok(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def seal(self, content: bytes, address: str) -> str:
        (self.store.work / "part").write_bytes(content)
        self.ok("seal", "part", "-o", address, "--to", "me", "--sign", "publisher", "--force")
        return address

    def opens(self, address: str) -> bytes:
        self.ok("open", address, "-o", "part.out", "--force", "--signer", "publisher")
        return (self.store.work / "part.out").read_bytes()


@pytest.fixture(scope="module")
def google(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Google, dict[str, str]]]:
    assert SERVER is not None
    process, proxy, environment = start(SERVER, free_port(), tmp_path_factory.mktemp("google"))
    yield proxy, environment
    process.terminate()
    process.wait()


@pytest.fixture
def cloud(store: Store, google: tuple[Google, dict[str, str]]) -> Iterator[Cloud]:
    yield Cloud(store, *google)
    google[0].reset()


@pytest.mark.parametrize("length", [6, len(CONTENT)])
def test_an_object_is_sealed_rewrapped_and_opened(cloud: Cloud, length: int) -> None:
    (cloud.store.work / "part").write_bytes(CONTENT[:length])
    address = f"gs://{BUCKET}/{length}.sealed"
    cloud.ok("seal", "part", "-o", address, "--to", "me", "--sign", "publisher")
    refused = cloud.run("seal", "part", "-o", address, "--to", "me", "--sign", "publisher")
    assert refused.returncode == 2 and "already exists" in refused.stderr
    cloud.ok("verify", address, "--signer", "publisher")
    cloud.ok("rewrap", address, "--add", "two")
    assert cloud.ok("inspect", address).count("recipient") == 2
    assert cloud.opens(address) == CONTENT[:length]
    assert cloud.proxy.left() == []


def test_a_folder_round_trips(cloud: Cloud, tmp_path: Path) -> None:
    root = cloud.store.work / "google"
    (root / "sub").mkdir(parents=True)
    (root / "w").write_bytes(CONTENT)
    (root / "sub" / "y").write_text("x")
    cloud.ok("seal", "google", "-o", f"gs://{BUCKET}/1/", "--to", "me", "--sign", "publisher")
    cloud.ok("copy", f"gs://{BUCKET}/1", "google.sealed")
    cloud.ok("copy", "google.sealed", f"gs://{BUCKET}/2")
    cloud.ok("rewrap", f"gs://{BUCKET}/2/", "--add", "two")
    cloud.ok("verify", f"gs://{BUCKET}/2", "--signer", "publisher")
    cloud.ok("open", f"gs://{BUCKET}/2", "-o", "google.out")
    assert (cloud.store.work / "google.out/w").read_bytes() == CONTENT


@pytest.mark.parametrize("fault", [UNAVAILABLE, DROP, DROP_AFTER])
@pytest.mark.parametrize("content", [SHORT, CONTENT], ids=["short", "long"])
def test_transient_faults_are_retried(cloud: Cloud, content: bytes, fault: str) -> None:
    cloud.proxy.reset(times(2, fault, lambda seen: seen.method == "PUT"))
    address = cloud.seal(content, f"gs://{BUCKET}/faults")
    assert [seen.fault for seen in cloud.proxy.seen].count(fault) == 2
    cloud.proxy.reset(times(2, fault, lambda seen: seen.method == "GET"))
    assert cloud.opens(address) == content


def test_a_store_that_is_down_leaves_no_partial_object(cloud: Cloud) -> None:
    address = cloud.seal(CONTENT, f"gs://{BUCKET}/kept")
    cloud.proxy.reset(lambda seen: UNAVAILABLE if seen.method == "POST" and "uploadId=" in seen.path else PASS)
    (cloud.store.work / "part").write_bytes(CONTENT[::-1])
    done = cloud.run("seal", "part", "-o", address, "--to", "me", "--sign", "publisher", "--force")
    assert done.returncode == 3, done.stderr
    assert cloud.opens(address) == CONTENT
    assert cloud.proxy.left() == []


@pytest.mark.parametrize("content", [SHORT, CONTENT], ids=["short", "long"])
def test_a_change_of_recipients_does_not_replace_another_clients_object(cloud: Cloud, content: bytes) -> None:
    address = cloud.seal(content, f"gs://{BUCKET}/changing")
    other = bytes(reversed(content))
    cloud.seal(other, f"gs://{BUCKET}/other")
    _, _, theirs = cloud.proxy.json("GET", f"/storage/v1/b/{BUCKET}/o/other?alt=media")
    written: list[Seen] = []

    def rule(seen: Seen) -> str:
        if seen.method in ("PUT", "POST") and not written:
            written.append(seen)
            assert cloud.proxy.write("changing", theirs, None)[0] == 200
        return PASS

    cloud.proxy.reset(rule)
    done = cloud.run("rewrap", address, "--add", "two")
    assert written and done.returncode == 3 and "replaced" in done.stderr, done.stderr
    assert cloud.opens(address) == other
    assert cloud.ok("inspect", address).count("recipient") == 1
