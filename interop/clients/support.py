"""Starts the binary under test and talks to it with other people's software."""

import json
import os
import re
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pycurl

import wire
from run import HERE, WORK

DIGITS = HERE.parents[1] / "assets" / "digits"
BINARY = os.environ.get("CASEMATE_BIN", "casemate")
NODE = WORK / "node_modules" / "node" / "bin" / "node"
# Of the distribution, with its OpenSSL 3.0: it knows no hybrid group.
CURL = "/usr/bin/curl"

OHTTP_PATH = "/.well-known/ohttp-gateway"
KEYS_PATH = "/.well-known/casemate-keys"
START_SECONDS = 30
ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def samples(count: int) -> list[dict]:
    return json.loads((DIGITS / "samples.json").read_text())["samples"][:count]


class Service:
    """A running `casemate gateway` or `casemate connect`."""

    def __init__(self, arguments: list[str], ready: str, **environment: str):
        self.process = subprocess.Popen(
            [BINARY, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=clean_environment() | environment,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.url = self._wait(re.compile(ready))

    def _read(self) -> None:
        for line in self.process.stdout:
            self.lines.append(line.decode(errors="replace").rstrip())

    def _wait(self, ready: re.Pattern) -> str:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            for line in list(self.lines):
                if match := ready.search(line):
                    return match.group(1)
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        self.stop()
        raise RuntimeError(f"exit code {self.process.returncode}, said: {self.said()}")

    def said(self) -> str:
        return ESCAPE.sub("", "\n".join(self.lines))

    def wait_for(self, text: str, seconds: float = 5) -> bool:
        end = time.monotonic() + seconds
        while text not in self.said() and time.monotonic() < end:
            time.sleep(0.05)
        return text in self.said()

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._reader.join(5)

    def __enter__(self) -> "Service":
        return self

    def __exit__(self, *_) -> None:
        self.stop()


def clean_environment() -> dict[str, str]:
    unwanted = re.compile(r"CASEMATE_|FALLBACK_CRYPTO|PQC_|.*_proxy$", re.IGNORECASE)
    return {name: value for name, value in os.environ.items() if not unwanted.match(name)}


class Site:
    """A key store, a sealed model and what gateways and connectors need to use them."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.passphrase = directory / "passphrase"
        self.passphrase.write_text("for these tests only\n")
        self.common = ["--home", str(directory / "keys"), "--passphrase-file", str(self.passphrase)]
        self.cli("keys", "init")
        for name, kind, *suite in (
            ("model", "kem"),
            ("publisher", "sign"),
            ("gateway-kem", "kem", "--suite", "mlkem768-x25519"),
            ("next-kem", "kem", "--suite", "mlkem768-x25519"),
            ("gateway", "http"),
            ("other-gateway", "http"),
            ("client", "http"),
        ):
            self.cli("keys", "generate", "--name", name, "--kind", kind, *suite)
        self.artifact = directory / "digits.sealed"
        self.cli("seal", "--to", "model", "--sign", "publisher", "-o", str(self.artifact), str(DIGITS / "digits.onnx"))
        self.pinned = wire.PublicPair.from_pem(self.cli("keys", "export", "gateway").encode())
        # A client whose keys no code of the project has made.
        self.python = wire.Pair()
        (directory / "python.pem").write_bytes(self.python.public.pem())

    def cli(self, *arguments: str) -> str:
        command = [BINARY, *self.common, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=clean_environment())
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    @property
    def root(self) -> Path:
        return self.directory / "tls" / "root.pem"

    def gateway(
        self, *, port: int = 0, upstream: str | None = None, more: str = "", allow: str = "", **environment: str
    ) -> Service:
        backend = (
            f'[upstream]\nurl = "{upstream}"\n'
            if upstream
            else '[[model]]\nname = "digits"\nartifact = "digits.sealed"\nkey = "model"\npublisher = "publisher"\n'
        )
        config = self.directory / f"gateway-{port}-{'upstream' if upstream else 'models'}.toml"
        config.write_text(
            f'listen = "127.0.0.1:{port}"\nidentity = "gateway"\n{more}\n'
            '[tls]\nself_signed = "tls"\nnames = ["localhost", "127.0.0.1"]\n'
            '[[client]]\nname = "connector"\nkey = "client"\n'
            f'[[client]]\nname = "python"\nkey = "./python.pem"\n{allow}\n{backend}'
        )
        arguments = [*self.common, "gateway", "--config", str(config)]
        return Service(arguments, r"serving on (https://\S+)", **environment)

    def connect_arguments(self, gateway: str, key: str = "gateway", listen: str = "127.0.0.1:0") -> list[str]:
        tail = ["--identity", "client", "--ca", str(self.root), "--listen", listen]
        return [*self.common, "connect", "--gateway", gateway, "--gateway-key", key, *tail]

    def connector(self, gateway: str, *options: str, listen: str = "127.0.0.1:0") -> Service:
        """Without options: a connector that any local program may use."""
        arguments = [*self.connect_arguments(gateway, listen=listen), *(options or ("--no-token",))]
        return Service(arguments, r"((?:http://|unix:)\S+) is protected")


@dataclass
class Outer:
    """An answer outside the encryption."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").split(";")[0]

    def problem(self) -> str:
        assert self.media_type == "application/problem+json", (self.status, self.headers, self.body[:200])
        problem = json.loads(self.body)
        assert problem["status"] == self.status
        return problem["type"]


def libcurl(url: str, root: Path | None, body: bytes | None = None, *, method: str | None = None, **headers) -> Outer:
    """One request by pycurl, whose wheel has OpenSSL 3.6 inside."""
    buffer, received = BytesIO(), {}

    def header(line: bytes) -> None:
        name, separator, value = line.decode("latin-1").partition(":")
        if separator:
            received[name.strip().lower()] = value.strip()

    curl = pycurl.Curl()
    try:
        curl.setopt(pycurl.URL, url)
        curl.setopt(pycurl.PROXY, "")
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.TIMEOUT, 30)
        curl.setopt(pycurl.SSLVERSION, pycurl.SSLVERSION_TLSv1_3)
        curl.setopt(pycurl.HEADERFUNCTION, header)
        curl.setopt(pycurl.WRITEDATA, buffer)
        if root:
            curl.setopt(pycurl.CAINFO, str(root))
        if body is not None:
            curl.setopt(pycurl.POST, 1)
            curl.setopt(pycurl.POSTFIELDSIZE_LARGE, len(body))
            curl.setopt(pycurl.READFUNCTION, BytesIO(body).read)
        if method == "HEAD":
            curl.setopt(pycurl.NOBODY, 1)
        elif method:
            curl.setopt(pycurl.CUSTOMREQUEST, method)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        curl.setopt(pycurl.HTTPHEADER, [f"{name}: {value}" if value else f"{name}:" for name, value in names.items()])
        curl.perform()
        return Outer(curl.getinfo(pycurl.RESPONSE_CODE), received, buffer.getvalue())
    finally:
        curl.close()


class PythonClient:
    """The client of `wire.py`, carried by libcurl."""

    def __init__(self, gateway: str, root: Path, pinned: wire.PublicPair, pair: wire.Pair):
        self.gateway, self.root, self.pinned, self.pair = gateway, root, pinned, pair
        self.authority = gateway.removeprefix("https://")
        self.keys = wire.open_key_document(libcurl(gateway + KEYS_PATH, root).body, pinned)
        self.config = self.keys.config

    def request(self, method: str, path: str, body=None, fields: wire.Fields | None = None) -> wire.Request:
        content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        fields = ([] if body is None else [("content-type", "application/json")]) if fields is None else fields
        return wire.Request(method, path, self.authority, fields, content)

    def post(self, body: bytes, media_type: str = "message/ohttp-req") -> Outer:
        return libcurl(self.gateway + OHTTP_PATH, self.root, body, content_type=media_type)

    def exchange(self, exchange: wire.Exchange, plaintext: bytes, signed: wire.Request | None = None) -> wire.Response:
        """Sends a Binary HTTP message; the answer is sealed, and signed unless it is a refusal."""
        return self.answer(exchange, self.post(exchange.seal(plaintext)), signed)

    def answer(self, exchange: wire.Exchange, outer: Outer, signed: wire.Request | None = None) -> wire.Response:
        assert (outer.status, outer.media_type) == (200, "message/ohttp-res"), outer
        response = wire.decode_response(exchange.open(outer.body))
        wire.check_answer(response, signed, self.pinned, exchange.channel)
        return response

    def send(self, request: wire.Request, *, pair=None, aead=wire.AES_256_GCM, indeterminate=False, **changes):
        exchange = wire.Exchange(self.keys, aead)
        signed = wire.sign_request(request, pair or self.pair, exchange, **changes)
        return self.exchange(exchange, signed.encode(indeterminate), signed)

    def call(self, method: str, path: str, body=None, **options) -> wire.Response:
        return self.send(self.request(method, path, body), **options)


@dataclass
class Plain:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def json(self):
        return json.loads(self.body)

    def all(self, name: str) -> list[str]:
        return [value for other, value in self.headers if other.lower() == name]


class NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), NoRedirects())


def urllib_call(url: str, body=None, method: str | None = None, headers: dict[str, str] | None = None) -> Plain:
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    headers = headers if headers is not None else {"content-type": "application/json"} if data is not None else {}
    request = urllib.request.Request(url, data=data, headers=headers, method=method)
    try:
        with OPENER.open(request, timeout=30) as response:
            return Plain(response.status, response.getheaders(), response.read())
    except urllib.error.HTTPError as error:
        return Plain(error.code, list(error.headers.items()), error.read())


def debian_curl(*arguments: str) -> subprocess.CompletedProcess:
    command = [CURL, "--silent", "--show-error", "--noproxy", "*", "--max-time", "20", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=clean_environment())


def error_of(answer: wire.Response, status: int, code: str | None = None) -> dict:
    assert answer.status == status, (answer.status, answer.content)
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "code"}
    assert code is None or error["code"] == code, error
    return error


def kserve_error_of(answer: wire.Response, status: int) -> str:
    """KServe v2 has a text where others have an object."""
    assert answer.status == status, (answer.status, answer.content)
    error = answer.json()["error"]
    assert isinstance(error, str) and error
    return error


def predict(client, **fields) -> wire.Request:
    return client.request("POST", "/predict", {"instances": [samples(1)[0]["image"]]}, **fields)
