"""Keys of a key service, used like those of a key store."""

import os
import re
import subprocess
import time
from pathlib import Path

import casemate
import pytest

pytestmark = pytest.mark.skipif("CASEMATE_BIN" not in os.environ, reason="CASEMATE_BIN is not set to the casemate program")

CERTIFICATES = """
set -eu
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout clients.key -subj /CN=clients -days 2 \
    -addext keyUsage=critical,keyCertSign -out clients.pem
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout client.key -subj /CN=client -out client.csr
printf 'subjectAltName=DNS:client.example\\nextendedKeyUsage=clientAuth\\n' > client.ext
openssl x509 -req -in client.csr -CA clients.pem -CAkey clients.key -days 2 -extfile client.ext -out client.pem
"""
CONFIGURATION = """
listen = "127.0.0.1:0"
clients = "clients.pem"
tls = { self_signed = "tls", names = ["localhost"] }
[[grant]]
clients = ["client.example"]
keys = ["models", "publisher"]
operations = ["read", "open", "sign"]
"""


@pytest.fixture
def service(tmp_path):
    """Return the home of a client of a running service, and a function that changes the service's own key store."""
    subprocess.run(["bash", "-c", CERTIFICATES], cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "pass").write_text("for these tests only\n")
    (tmp_path / "serve.toml").write_text(CONFIGURATION)

    def store(*arguments):
        run = [os.environ["CASEMATE_BIN"], "--home", "home", "--passphrase-file", "pass", *arguments]
        subprocess.run(run, cwd=tmp_path, check=True, capture_output=True)

    store("keys", "init")
    store("keys", "generate", "--name", "models", "--kind", "kem")
    store("keys", "generate", "--name", "publisher", "--kind", "sign")
    store("keys", "generate", "--name", "hidden", "--kind", "sign")
    log = tmp_path / "log"
    with log.open("wb") as output:
        serve = [os.environ["CASEMATE_BIN"], "--home", "home", "--passphrase-file", "pass", "serve", "--config", "serve.toml"]
        process = subprocess.Popen(serve, cwd=tmp_path, stdout=output, stderr=output)
    try:
        end = time.monotonic() + 30
        while not (found := re.search(r"serving keys on https://[^ ]*:(\d+)", log.read_text())) and time.monotonic() < end:
            time.sleep(0.05)
        client = tmp_path / "client"
        client.mkdir()
        root = tmp_path / "tls" / "root.pem"
        files = f'authorities = "{root}"\ncertificate = "{tmp_path / "client.pem"}"\nkey = "{tmp_path / "client.key"}"\n'
        (client / "key-service.toml").write_text(f'url = "https://localhost:{found[1]}"\n{files}')
        yield client, store
    finally:
        process.terminate()
        process.wait(20)


def test_keys_of_a_service_seal_and_open(service, tmp_path: Path):
    home, store = service
    keys = casemate.open_store(home)
    assert [row[0] for row in keys.list()] == ["models", "publisher"]
    (tmp_path / "weights").write_bytes(b"weights")
    casemate.seal(tmp_path / "weights", tmp_path / "w.sealed", to=keys.public("models"), sign=keys.private("publisher"))
    with casemate.open(tmp_path / "w.sealed", keys=keys, signer=keys.public("publisher")) as opened:
        assert opened.read() == b"weights"
    with pytest.raises(casemate.CasemateError, match="held elsewhere"):
        keys.private("models").to_pem()
    with pytest.raises(casemate.CasemateError, match="no key `hidden`"):
        keys.public("hidden")
    # What is disabled opens nothing more, also for a key that Python has.
    held = keys.private("models")
    store("keys", "rotate", "models")
    store("keys", "disable", "models@1")
    with pytest.raises(casemate.CasemateError, match="disabled"):
        casemate.open(tmp_path / "w.sealed", keys=held, signer=keys.public("publisher"))
