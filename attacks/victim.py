"""The victims: key stores, and files and folders that the real program sealed.

`alice` and `bob` are recipients, `publisher` signs, and `rival` is a publisher whom alice does not know. Every key is generated here and
imported, so that an attack can act as the owner of any key.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent / "interop"))

import sealed_writer  # noqa: E402
from sealed_reader import Artifact, read  # noqa: E402
from sealed_writer import KeyFile, assemble, cbor, new_kem_key, new_signing_key  # noqa: E402
from standards import KEMS, SIGNATURES, Signature  # noqa: E402

SEGMENT = 65536
# Every segment differs, and the last one is short.
CONTENT = b"".join(bytes([i]) * SEGMENT for i in range(3)) + b"the end"
OTHER_CONTENT = bytes(byte ^ 0xFF for byte in CONTENT)
FOLDER = {
    "config.json": b'{"layers": 2}',
    "model-1.safetensors": b"1" * 70_000,
    "model-2.safetensors": b"2" * 70_000,
    "onnx/model.onnx": b"onnx",
}
OTHER_FOLDER = {path: content[::-1] + b"!" for path, content in FOLDER.items()}
Content = bytes | dict[str, bytes]
COMPOSITE, WEAKER = "1.3.6.1.5.5.7.6.49", "1.3.6.1.5.5.7.6.48"


@dataclass(frozen=True)
class Output:
    """The output of a finished command."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """Return the error and its causes on one line, without labels."""
        lines = (line.partition(": ") for line in self.err.split("\n"))
        return " <- ".join(text for word, _, text in lines if word in ("error", "caused by"))


def signing_key(oid: str = COMPOSITE) -> KeyFile:
    """Generate a signing key of a suite that PyCA supports."""
    suite = SIGNATURES[oid]
    assert isinstance(suite, Signature)
    return new_signing_key(suite)


def once(make: Callable[..., Any]) -> Callable[..., Any]:
    """Cache results by arguments, also for concurrent calls: two folders would have two ids."""
    made: dict[object, Any] = {}
    lock = threading.RLock()

    @wraps(make)
    def get(*arguments: Any, **named: Any) -> Any:
        key = (arguments, tuple(sorted(named.items())))
        with lock:
            if key not in made:
                made[key] = make(*arguments, **named)
            return made[key]

    return get


class Setup:
    """A folder with key stores, public keys and victims. Victims are never changed; attacks work on copies."""

    def __init__(self, casemate: Path, root: Path) -> None:
        self.casemate, self.root = casemate.resolve(strict=True), root
        self.keys, self._numbers = root / "keys", itertools.count()
        self.keys.mkdir()
        # The program refuses keys and passphrase files that others can read.
        os.umask(0o077)
        (root / "passphrase").write_text("one that protects nothing\n")
        self.kem = {"alice": new_kem_key(KEMS[0x0051, 2, 2]), "bob": new_kem_key(KEMS[0x647A, 1, 2])}
        self.sign = {"publisher": signing_key(), "second": signing_key(), "rival": signing_key()}
        for name, key in (self.kem | self.sign).items():
            (self.keys / f"{name}.pub").write_text(key.public_pem)
            (self.keys / f"{name}.key").write_text(key.private_pem)
        # `both` knows two publishers. No attack targets the publisher's own key store.
        self._store("publisher", "publisher.key", "rival.key", "second.key", "alice.key")
        self._store("alice", "alice.key", "bob.pub", "publisher.pub")
        self._store("bob", "bob.key", "publisher.pub")
        self._store("both", "alice.key", "bob.pub", "publisher.pub", "second.pub")
        self._store("watchful", "alice.key", "publisher.pub", remembers=True)

    def _store(self, owner: str, *files: str, remembers: bool = False) -> None:
        self.ok(owner, "keys", "init")
        # Attacks run concurrently and in any order, so a revision seen by one must not affect the next.
        if not remembers:
            (self.root / f"{owner}.home" / "seen.json").mkdir()
        for file in files:
            self.ok(owner, "keys", "import", "--name", file.split(".")[0], self.keys / file)

    def run(self, owner: str, *arguments: str | Path, cwd: Path | None = None) -> Output:
        """Run the program as `owner`; `@name` in the arguments stands for the file of that public key."""
        common = ["--home", str(self.root / f"{owner}.home"), "--passphrase-file", str(self.root / "passphrase")]
        named = [str(self.keys / f"{a[1:]}.pub") if str(a).startswith("@") else str(a) for a in map(str, arguments)]
        # The user's environment could select another key store or policy.
        done = subprocess.run([str(self.casemate), *common, *named], cwd=cwd or self.root, env={}, capture_output=True, timeout=60)
        return Output(done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))

    def ok(self, owner: str, *arguments: str | Path, cwd: Path | None = None) -> str:
        """Run the program and expect success."""
        said = self.run(owner, *arguments, cwd=cwd)
        assert said.code == 0, (arguments, said)
        return said.out

    @once
    def sealed(
        self, name: str = "model", signer: str | None = "publisher", to: tuple[str, ...] = ("alice", "bob"), revision: int | None = None
    ) -> Path:
        """Return a sealed file: `model` contains CONTENT, every other name OTHER_CONTENT."""
        work = self.fresh()
        (work / name).write_bytes(CONTENT if name == "model" else OTHER_CONTENT)
        recipients = [part for key in to for part in ("--to", f"@{key}")]
        signed = ["--sign", signer] if signer else []
        numbered = ["--revision", str(revision)] if revision else []
        self.ok("publisher", "seal", name, *recipients, *signed, *numbered, "--segment-size", "64k", cwd=work)
        return work / f"{name}.sealed"

    @once
    def sealed_folder(self, other: bool = False, to: tuple[str, ...] = ("alice", "bob")) -> Path:
        """Return a sealed folder."""
        return self._seal_folder(OTHER_FOLDER if other else FOLDER, to)

    @property
    @once
    def next_folder(self) -> Path:
        """Return the next revision of `sealed_folder()`, with one changed file."""
        return self._seal_folder(FOLDER | {"config.json": b'{"layers": 3}'}, ("alice", "bob"), "--since", self.sealed_folder())

    def _seal_folder(self, files: dict[str, bytes], to: tuple[str, ...], *more: str | Path) -> Path:
        work = self.fresh()
        write_tree(work / "m", files)
        recipients = [part for key in to for part in ("--to", f"@{key}")]
        self.ok("publisher", "seal", "m", *recipients, "--sign", "publisher", *more, cwd=work)
        return work / "m.sealed"

    def fresh(self) -> Path:
        """Create an empty folder."""
        path = self.root / f"{next(self._numbers)}"
        path.mkdir()
        return path

    def write(self, data: bytes) -> Path:
        """Write a file with these bytes."""
        path = self.fresh() / "forged"
        path.write_bytes(data)
        return path

    def copy(self, victim: Path) -> Path:
        """Return a copy to modify."""
        path = self.fresh() / "forged"
        copy(victim, path)
        return path

    def seal(self, content: bytes = CONTENT, to: tuple[str, ...] = ("alice",), signer: str | None = "publisher", **options: Any) -> bytes:
        """Seal with the independent writer, which can also write malformed artifacts."""
        signer_key = self.sign[signer] if signer else None
        return sealed_writer.seal(content, [self.kem[name] for name in to], signer_key, **options)


def copy(source: Path, target: Path) -> None:
    """Copy a file or a folder, preserving links, pipes and holes."""
    subprocess.run(["cp", "-a", "--sparse=always", "-T", source, target], check=True)


def workplace() -> Path | None:
    """Return the fastest place for temporary files. The program syncs everything it writes, which is free in memory."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 1 << 30
    return memory if roomy else None


def write_tree(root: Path, files: dict[str, bytes]) -> None:
    """Write files below a folder."""
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)


def parts(path: Path) -> tuple[Artifact, bytes, dict[int, Any]]:
    """Split a sealed file into its parsed form, its body, and its tail as a map to change."""
    data = path.read_bytes()
    artifact = read(data)
    entries = [[*r.kem.triple, r.key_id, r.enc, r.ct] for r in artifact.recipients]
    signature = list(artifact.signature) if artifact.signature else None
    list_ = list(artifact.list) if artifact.list else None
    if list_ and list_[3]:
        list_[3] = list(list_[3])
    tail = {0: artifact.header.encoded, 1: entries, 2: artifact.publisher_part, 3: artifact.hashes, 4: signature}
    tail |= {5: artifact.recipient_part, 6: list_, 7: artifact.public_part}
    body = data[: artifact.header.body]
    # Reassembling without changes must give the same file, or a forgery would contain unintended changes.
    assert assemble(body, cbor(tail)) == data
    return artifact, body, tail


def rebuilt(path: Path, **change: Any) -> bytes:
    """Return a sealed file with parts of its tail replaced, `k2=value` for key 2, and a correct footer."""
    _, body, tail = parts(path)
    return assemble(change.pop("body", body), cbor(tail | {int(name[1:]): value for name, value in change.items()}))
