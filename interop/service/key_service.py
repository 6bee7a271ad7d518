"""A key service with its clients: certificates by PyCA, requests by curl with OpenSSL 3.6."""

from __future__ import annotations

import base64
import datetime
import json
import os
import re
import signal
import subprocess
import threading
import time
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import pycurl
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

BINARY = str(Path(os.environ.get("CASEMATE_BIN", "casemate")).resolve())
START_SECONDS = 30


def environment(**more: str) -> dict[str, str]:
    unwanted = re.compile(r"CASEMATE_|FALLBACK_CRYPTO|PQC_|.*_proxy$", re.IGNORECASE)
    return {name: value for name, value in os.environ.items() if not unwanted.match(name)} | more


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


class Authority:
    """Issues certificates of clients."""

    def __init__(self, folder: Path, name: str = "clients") -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        usage = x509.KeyUsage(False, False, False, False, False, True, False, False, False)
        builder = self._builder(self.name, self.key).add_extension(x509.BasicConstraints(True, 0), True).add_extension(usage, True)
        self.certificate = builder.sign(self.key, hashes.SHA256())
        self.path = folder / f"{name}.pem"
        self.path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, seconds: int = 86400) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number())
        return builder.not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(seconds=seconds))

    def client(self, file: str, *names: str, seconds: int = 86400) -> "Identity":
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, file)])
        general = [x509.UniformResourceIdentifier(name) if ":" in name else x509.DNSName(name) for name in names]
        builder = self._builder(subject, key, seconds).add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)
        if general:
            builder = builder.add_extension(x509.SubjectAlternativeName(general), False)
        certificate = builder.sign(self.key, hashes.SHA256())
        identity = Identity(self.folder / f"{file}.crt", self.folder / f"{file}.key")
        identity.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        identity.key.write_bytes(pem)
        return identity


class Identity(NamedTuple):
    certificate: Path
    key: Path


class Answer(NamedTuple):
    status: int
    media_type: str
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)


class Api:
    """Requests of one client, by curl."""

    def __init__(self, port: int, root: Path, identity: Identity | None) -> None:
        self.port, self.root, self.identity = port, root, identity

    def __call__(self, method: str, path: str, body: Any = None, *, raw: bytes | None = None, media_type: str = "application/json", groups: str = "") -> Answer:
        content = BytesIO()
        curl = pycurl.Curl()
        try:
            curl.setopt(pycurl.URL, f"https://localhost:{self.port}{path}")
            curl.setopt(pycurl.PATH_AS_IS, 1)
            curl.setopt(pycurl.PROXY, "")
            curl.setopt(pycurl.NOSIGNAL, 1)
            curl.setopt(pycurl.TIMEOUT, 30)
            curl.setopt(pycurl.CAINFO, str(self.root))
            curl.setopt(pycurl.CUSTOMREQUEST, method)
            if groups:
                curl.setopt(pycurl.SSL_EC_CURVES, groups)
            if self.identity:
                curl.setopt(pycurl.SSLCERT, str(self.identity.certificate))
                curl.setopt(pycurl.SSLKEY, str(self.identity.key))
            if raw is None and body is not None:
                raw = json.dumps(body).encode()
            if raw is not None:
                curl.setopt(pycurl.POSTFIELDS, raw)
            curl.setopt(pycurl.HTTPHEADER, [f"content-type: {media_type}", "expect:"])
            curl.setopt(pycurl.WRITEDATA, content)
            curl.perform()
            return Answer(curl.getinfo(pycurl.RESPONSE_CODE), curl.getinfo(pycurl.CONTENT_TYPE) or "", content.getvalue())
        finally:
            curl.close()

    def get(self, path: str) -> Answer:
        return self("GET", path)

    def post(self, path: str, body: Any) -> Answer:
        return self("POST", path, body)


class Server:
    """A running `casemate serve`."""

    def __init__(self, folder: Path, arguments: list[str], **more: str) -> None:
        self.process = subprocess.Popen(
            [BINARY, *arguments, "serve", "--config", "serve.toml"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(**more),
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        end = time.monotonic() + START_SECONDS
        self.port = 0
        while not self.port and time.monotonic() < end and self.process.poll() is None:
            found = re.search(r"serving keys on https://[^ ]*:(\d+)", "\n".join(self.lines))
            self.port = int(found[1]) if found else 0
            time.sleep(0.02)
        assert self.port, self.lines

    def _read(self) -> None:
        for line in self.process.stdout:
            self.lines.append(line.decode(errors="replace").rstrip())

    def stop(self, how: int = signal.SIGTERM) -> None:
        if self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(20)
        self._reader.join(5)

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


GRANTS = """
[[grant]]
clients = ["admin.example", "second.example"]
keys = ["*"]
operations = ["read", "create", "rotate", "state", "destroy", "bind", "audit", "sign", "open", "unwrap", "decrypt", "data-key", "rewrap"]

[[grant]]
clients = ["spiffe://example/trainer"]
keys = ["models"]
operations = ["read", "open"]

[[grant]]
clients = ["blind.example"]
keys = ["models"]
operations = ["unwrap"]

[[grant]]
clients = ["remover.example"]
keys = ["models"]
operations = ["read", "destroy"]
"""


class Site:
    """A folder with a key store, a service and clients."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.passphrase = folder / "passphrase"
        self.passphrase.write_text("for these tests only\n")
        self.authority = Authority(folder)
        self.admin = self.authority.client("admin", "admin.example")
        self.second = self.authority.client("second", "second.example")
        self.trainer = self.authority.client("trainer", "spiffe://example/trainer")
        self.blind = self.authority.client("blind", "blind.example")
        self.root = folder / "tls" / "root.pem"
        self.configure(GRANTS)

    def configure(self, grants: str) -> None:
        head = 'listen = "127.0.0.1:0"\nclients = "clients.pem"\n[tls]\nself_signed = "tls"\nnames = ["localhost", "127.0.0.1"]\n'
        (self.folder / "serve.toml").write_text(head + grants)

    def run(self, *arguments: str, home: str = "home", code: int | None = 0) -> subprocess.CompletedProcess[str]:
        command = [BINARY, "--home", home, "--passphrase-file", "passphrase", *arguments]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, env=environment())
        assert code is None or done.returncode == code, (arguments, done)
        return done

    def create(self) -> None:
        self.run("keys", "init")
        self.run("keys", "audit", "enable", "--origin", "keys.example", "-o", "log.keys")
        self.run("keys", "generate", "--name", "models", "--kind", "kem", "--suite", "mlkem768-x25519")
        self.run("keys", "generate", "--name", "publisher", "--kind", "sign", "--suite", "mldsa65-ed25519")

    def serve(self, home: str = "home", **more: str) -> Server:
        return Server(self.folder, ["--home", home, "--passphrase-file", "passphrase"], **more)

    def api(self, server: Server, identity: Identity | None) -> Api:
        return Api(server.port, self.root, identity)

    def connect(self, server: Server, identity: Identity, home: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        url = f"https://localhost:{server.port}"
        files = ["--authorities", str(self.root), "--certificate", str(identity.certificate), "--key", str(identity.key)]
        return self.run("keys", "connect", url, *files, home=home, code=code)

    def log(self, home: str = "home") -> list[dict[str, Any]]:
        return json.loads(self.run("--json", "keys", "audit", "show", home=home).stdout)["entries"]
