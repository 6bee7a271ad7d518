"""Audit logs read with Go's own packages (`golang.org/x/mod/sumdb`) and with PyCA's ML-DSA-44."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa

GO = shutil.which("go")
PACKAGES = Path("/usr/share/gocode/src/golang.org/x/mod/sumdb/tlog")
PROGRAM = Path(__file__).with_name("tlog") / "verify.go"


class Log:
    """A key store with a log, its keys, a copy and a proof of an entry."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.ok("keys", "init", "--random-key")
        self.ok("keys", "audit", "enable", "--origin", "example.com/keys", "-o", "log.keys")
        self.ok("keys", "generate", "--name", "model", "--kind", "kem")
        self.ok("keys", "rotate", "model")
        self.ok("keys", "audit", "prove", "2", "-o", "proof")

    def ok(self, *arguments: str) -> str:
        program = str(Path(os.environ["CASEMATE_BIN"]).resolve())
        command = [program, "--home", "home", "--passphrase-file", "store.key", *arguments]
        done = subprocess.run(command, cwd=self.work, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path)


@pytest.mark.skipif(GO is None or not PACKAGES.exists(), reason="Go is not installed (Debian: golang-go, golang-golang-x-mod-dev)")
def test_go_verifies_the_copy_and_the_proof(log: Log, tmp_path_factory: pytest.TempPathFactory) -> None:
    built = tmp_path_factory.mktemp("go") / "verify"
    environment = {**os.environ, "GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOCACHE": str(built.parent / "cache")}
    subprocess.run([GO, "build", "-o", built, PROGRAM], env=environment, check=True)

    def verify() -> subprocess.CompletedProcess[str]:
        return subprocess.run([built, "log", "log.keys", "proof"], cwd=log.work, capture_output=True, text=True)

    # More than one bundle, and a tile above.
    for _ in range(3):
        log.ok("keys", "audit", "export", "log")
        done = verify()
        assert done.returncode == 0, done.stderr
        entry = json.loads(done.stdout.split(", ", 1)[1])
        assert (entry["what"], entry["key"]) == ("created", "model@1")
        for number in range(100):
            log.ok("keys", "list")
    newest = max((log.work / "log/tile/entries").glob("*.p/*"), key=lambda path: path.stat().st_mtime_ns)
    for path in [log.work / "log/checkpoint", log.work / "proof", newest]:
        good = path.read_bytes()
        bad = bytearray(good)
        # In the text of the checkpoint, in the entry of the proof, in an entry.
        bad[45] ^= 1
        path.write_bytes(bad)
        assert verify().returncode != 0, path
        path.write_bytes(good)
    assert verify().returncode == 0


def test_both_signatures_of_a_checkpoint_verify_with_pyca(log: Log) -> None:
    checkpoint = log.ok("keys", "audit", "checkpoint") + "\n"
    text, signatures = checkpoint.split("\n\n", 1)
    text += "\n"
    origin, size, root = text.splitlines()
    assert origin == "example.com/keys"
    keys = [line.split("+", 2) for line in (log.work / "log.keys").read_text().splitlines()]
    lines = [line for line in signatures.splitlines() if line]
    assert len(keys) == len(lines) == 2
    messages = []
    for (name, key_id, encoded), line in zip(keys, lines, strict=True):
        kind, key = base64.b64decode(encoded)[0], base64.b64decode(encoded)[1:]
        assert hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + key).digest()[:4].hex() == key_id
        dash, signer, signature = line.split(" ")
        signature = base64.b64decode(signature)
        assert (dash, signer, signature[:4].hex()) == ("\u2014", origin, key_id)
        messages.append((kind, key, signature[4:]))
    (kind, key, signature), (cosigned_kind, cosigned_key, stamped) = messages
    assert (kind, cosigned_kind) == (1, 6)
    ed25519.Ed25519PublicKey.from_public_bytes(key).verify(signature, text.encode())
    name = bytes([len(origin)]) + origin.encode()
    message = b"subtree/v1\n\0" + name + stamped[:8] + name + bytes(8) + int(size).to_bytes(8) + base64.b64decode(root)
    public = mldsa.MLDSA44PublicKey.from_public_bytes(cosigned_key)
    public.verify(stamped[8:], message)
    with pytest.raises(InvalidSignature):
        public.verify(stamped[8:], message[:-1] + b"\0")
