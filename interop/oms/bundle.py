"""Models, keys, and bundles written by hand from `spec/model-signature.md`. Section numbers refer to that document.

OpenSSF `model_signing` is the real program. It lacks the composite signature, which is created and verified here with the independent Python
implementation in `standards.py` and `sealed_writer.py`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

sys.path.append(str(Path(__file__).resolve().parent.parent))

from sealed_writer import KeyFile, new_signing_key, sign  # noqa: E402
from standards import SIGNATURES, Signature  # noqa: E402

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
CONTEXT = b"casemate/v1/model"
COMPOSITES = {"mldsa87-p384": "1.3.6.1.5.5.7.6.49", "mldsa65-ed25519": "1.3.6.1.5.5.7.6.48", "mldsa65-p384": "1.3.6.1.5.5.7.6.46"}
CURVES = {"p256": (ec.SECP256R1(), hashes.SHA256()), "p384": (ec.SECP384R1(), hashes.SHA384()), "p521": (ec.SECP521R1(), hashes.SHA512())}
# `onnx.json` sorts before `onnx/` by code points and after it by path components; `weights.bin` has more than ten shards of 1,000 bytes.
MODEL = {
    "config.json": b'{"layers": 2}',
    "empty": b"",
    ".hidden": b"hidden",
    "onnx.json": b"{}",
    "onnx/model.onnx": b"onnx" * 500,
    "a b/deep/\u00fc\u4e2d\U0001f600.txt": b"names",
    'quote" and \\.txt': b"quoted",
    "weights.bin": random.Random(8).randbytes(12_345),
}


@dataclass(frozen=True)
class Classical:
    """An ECDSA key, as files."""

    key: ec.EllipticCurvePrivateKey
    private: Path
    public: Path

    @property
    def public_pem(self) -> bytes:
        return self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    @property
    def hint(self) -> str:
        """Section 2."""
        return hashlib.sha256(self.public_pem).hexdigest()

    @property
    def digest(self) -> hashes.HashAlgorithm:
        return next(digest for curve, digest in CURVES.values() if curve.name == self.key.curve.name)

    def sign(self, payload: bytes) -> bytes:
        return self.key.sign(pae(payload), ec.ECDSA(self.digest))


class Setup:
    """A folder with a key store and keys of every kind, and access to both programs."""

    def __init__(self, work: Path) -> None:
        self.work = work
        (work / "passphrase").write_text("correct horse battery")
        self.casemate_ok("keys", "init")
        self.composite = {name: self._composite(name, oid) for name, oid in COMPOSITES.items()}
        self.composite["other"] = self._composite("other", COMPOSITES["mldsa87-p384"])
        self.publisher = self.composite["mldsa87-p384"]
        # Both forms in which tools write private keys.
        sec1, pkcs8 = PrivateFormat.TraditionalOpenSSL, PrivateFormat.PKCS8
        self.classical = {name: self._classical(name, sec1 if name == "p384" else pkcs8) for name in CURVES}
        self.classical["other"] = self._classical("other", pkcs8, "p256")

    def _composite(self, name: str, oid: str) -> KeyFile:
        suite = SIGNATURES[oid]
        assert isinstance(suite, Signature)
        key = new_signing_key(suite)
        (self.work / f"{name}.key").write_text(key.private_pem)
        (self.work / f"{name}.pub").write_text(key.public_pem)
        self.casemate_ok("keys", "import", "--name", name, f"{name}.key")
        return key

    def _classical(self, name: str, form: PrivateFormat, curve: str = "") -> Classical:
        key = ec.generate_private_key(CURVES[curve or name][0])
        made = Classical(key, self.work / f"ec-{name}.key", self.work / f"ec-{name}.pub")
        made.private.write_bytes(key.private_bytes(Encoding.PEM, form, NoEncryption()))
        made.public.write_bytes(made.public_pem)
        return made

    def casemate(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        binary = str(Path(os.environ["CASEMATE_BIN"]).resolve())
        common = ["--home", "home", "--passphrase-file", "passphrase", "--policy", "experimental"]
        return subprocess.run([binary, *common, *arguments], cwd=self.work, capture_output=True, text=True, timeout=60)

    def casemate_ok(self, *arguments: str | Path) -> str:
        done = self.casemate(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def refused(self, *arguments: str | Path, code: int | tuple[int, ...] = 1) -> str:
        """Return the error with which `casemate verify` refuses, without hints."""
        done = self.casemate("verify", *arguments)
        assert done.returncode in (code if isinstance(code, tuple) else (code,)), done.stdout + done.stderr
        return "\n".join(line for line in done.stderr.splitlines() if line.startswith(("error: ", "caused by: ")))

    def theirs(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run the `model_signing` program."""
        command = [sys.executable, "-m", "model_signing", *map(str, arguments)]
        return subprocess.run(command, cwd=self.work, capture_output=True, text=True, timeout=60)

    def theirs_ok(self, *arguments: str | Path) -> None:
        done = self.theirs(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr

    def theirs_verifies(self, model: Path, signature: Path, key: Classical) -> bool:
        return self.theirs("verify", "key", model, "--signature", signature, "--public_key", key.public).returncode == 0


def write_model(root: Path, files: dict[str, bytes] = MODEL) -> Path:
    """Write a folder with these files."""
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def pae(payload: bytes, payload_type: str = PAYLOAD_TYPE) -> bytes:
    """Return the bytes to sign (section 2)."""
    return b"DSSEv1 %d %s %d %s" % (len(payload_type), payload_type.encode(), len(payload), payload)


def resource(name: str, content: bytes, algorithm: str = "sha256") -> dict[str, Any]:
    """Return a resource of section 3."""
    return {"name": name, "algorithm": algorithm, "digest": hashlib.sha256(content).hexdigest()}


def statement(resources: list[dict[str, Any]], **change: Any) -> dict[str, Any]:
    """Return a statement (section 3); `change` replaces members of `serialization`."""
    total = hashlib.sha256(b"".join(bytes.fromhex(r["digest"]) for r in resources)).hexdigest()
    serialization = {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": [".git"]} | change
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "m", "digest": {"sha256": total}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {"resources": resources, "serialization": serialization},
    }


def encoded(signature: bytes, keyid: str = "") -> dict[str, str]:
    """Return an entry of the list of signatures."""
    return {"sig": base64.b64encode(signature).decode(), "keyid": keyid}


def composite(key: KeyFile, payload: bytes, context: bytes = CONTEXT) -> dict[str, str]:
    """Return the composite signature (section 2)."""
    return encoded(sign(key, pae(payload), context), key.key_id.hex())


def bundle(payload: bytes, signatures: list[dict[str, str]], hint: str) -> dict[str, Any]:
    """Section 2."""
    envelope = {"payload": base64.b64encode(payload).decode(), "payloadType": PAYLOAD_TYPE, "signatures": signatures}
    return {"mediaType": MEDIA_TYPE, "verificationMaterial": {"publicKey": {"hint": hint}, "tlogEntries": []}, "dsseEnvelope": envelope}


def payload_of(found: dict[str, Any]) -> bytes:
    """Return the signed statement."""
    return base64.b64decode(found["dsseEnvelope"]["payload"], validate=True)


def signature_of(found: dict[str, Any], keyid: str) -> bytes:
    """Return the only signature with this key id."""
    (entry,) = [entry for entry in found["dsseEnvelope"]["signatures"] if entry["keyid"] == keyid]
    return base64.b64decode(entry["sig"], validate=True)


def write(path: Path, found: dict[str, Any]) -> Path:
    path.write_text(json.dumps(found))
    return path
