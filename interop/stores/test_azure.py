"""The same commands against an Azure Blob Storage emulator (Azurite, from npm)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bucket import CONTENT, Store, free_port, wait_for

WORK = Path(os.environ["CASEMATE_INTEROP_DIR"])
NODE = WORK / "node_modules" / "node" / "bin" / "node"
AZURITE = WORK / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
# The emulator's well-known public account and key.
ACCOUNT, KEY = "devstoreaccount1", "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

pytestmark = pytest.mark.skipif(not (NODE.exists() and AZURITE.exists()), reason="npm is not installed: skipped Azure")


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Return the environment to use a container `models`."""
    from azure.storage.blob import BlobServiceClient

    port, data = free_port(), tmp_path_factory.mktemp("azurite")
    command = [NODE, AZURITE, "--silent", "--disableTelemetry", "--skipApiVersionCheck", "--location", data]
    process = subprocess.Popen([*command, "--blobHost", "127.0.0.1", "--blobPort", str(port)], stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    wait_for(url)
    BlobServiceClient(f"{url}/{ACCOUNT}", credential=KEY).create_container("models")
    yield {"AZURE_STORAGE_USE_EMULATOR": "true", "AZURE_STORAGE_ALLOW_HTTP": "true", "AZURITE_BLOB_STORAGE_URL": url}
    process.terminate()
    process.wait()


def ok(store: Store, environment: dict[str, str], *arguments: str) -> str:
    done = store.run(*arguments, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("length", [6, len(CONTENT)])
def test_an_object_is_sealed_rewrapped_and_opened(store: Store, container: dict[str, str], length: int) -> None:
    (store.work / "part").write_bytes(CONTENT[:length])
    address = f"az://models/{length}.sealed"
    ok(store, container, "seal", "part", "-o", address, "--to", "me", "--sign", "publisher")
    refused = store.run("seal", "part", "-o", address, "--to", "me", "--sign", "publisher", **container)
    assert refused.returncode == 2 and "already exists" in refused.stderr
    ok(store, container, "verify", address, "--signer", "publisher")
    ok(store, container, "rewrap", address, "--add", "two")
    assert ok(store, container, "inspect", address).count("recipient") == 2
    ok(store, container, "open", address, "-o", "part.out", "--force")
    assert (store.work / "part.out").read_bytes() == CONTENT[:length]


def test_a_folder_round_trips(store: Store, container: dict[str, str]) -> None:
    root = store.work / "azure"
    (root / "sub").mkdir(parents=True)
    (root / "w").write_bytes(CONTENT)
    (root / "sub" / "y").write_text("x")
    ok(store, container, "seal", "azure", "-o", "az://models/1/", "--to", "me", "--sign", "publisher")
    ok(store, container, "copy", "az://models/1", "azure.sealed")
    ok(store, container, "copy", "azure.sealed", "az://models/2")
    ok(store, container, "rewrap", "az://models/2/", "--add", "two")
    ok(store, container, "verify", "az://models/2", "--signer", "publisher")
    ok(store, container, "open", "az://models/2", "-o", "azure.out")
    assert (store.work / "azure.out/w").read_bytes() == CONTENT
