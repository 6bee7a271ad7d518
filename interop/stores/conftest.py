"""A real S3 server (moto) on loopback, and a key store."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bucket import BUCKET, CREDENTIALS, Store, free_port, wait_for


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a moto server."""
    port = free_port()
    log = (tmp_path_factory.mktemp("moto") / "log").open("w")
    command = [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **CREDENTIALS})
    wait_for(f"http://127.0.0.1:{port}/moto-api/")
    yield port
    process.terminate()
    process.wait()
    log.close()


@pytest.fixture(scope="session")
def shared(server: int, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(server, tmp_path_factory.mktemp("store"))


@pytest.fixture
def store(shared: Store) -> Iterator[Store]:
    """Return the store without objects and faults."""
    shared.proxy.reset()
    for key in shared.keys():
        shared.s3.delete_object(Bucket=BUCKET, Key=key)
    for upload in shared.s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []):
        shared.s3.abort_multipart_upload(Bucket=BUCKET, Key=upload["Key"], UploadId=upload["UploadId"])
    yield shared
    shared.proxy.reset()
