"""A bucket of a real S3 server, which `casemate` reaches only through a proxy that can inject faults."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import boto3

from faulty_proxy import Proxy

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_REGION": "us-east-1"}
BUCKET = "models"
# Several parts of 8 MiB, and a shorter last part.
CONTENT = random.Random(4).randbytes(41_234_567)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(url: str) -> None:
    """Wait until a server answers at the URL, with any status."""
    for _ in range(200):
        try:
            urllib.request.urlopen(url, timeout=1).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(f"no server answers at {url}")


class Store:
    """The bucket, with direct access for the tests and access through the proxy for `casemate`."""

    def __init__(self, port: int, work: Path) -> None:
        self.work = work
        self.proxy = Proxy(("127.0.0.1", port))
        names = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": "us-east-1"}
        self.s3 = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", **names)
        self.s3.create_bucket(Bucket=BUCKET)
        (work / "passphrase").write_text("correct horse battery")
        (work / "m.bin").write_bytes(CONTENT)
        self.ok("keys", "init")
        for name, kind in (("me", "kem"), ("two", "kem"), ("publisher", "sign")):
            self.ok("keys", "generate", "--name", name, "--kind", kind)

    def command(self, *arguments: str) -> tuple[list[str], dict[str, str]]:
        binary = str(Path(os.environ["CASEMATE_BIN"]).resolve())
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CASEMATE_"))}
        environment = {**plain, **CREDENTIALS, "AWS_ENDPOINT": self.proxy.url, "AWS_ALLOW_HTTP": "true"}
        return [binary, "--home", "home", "--passphrase-file", "passphrase", *arguments], environment

    def run(self, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
        command, environment = self.command(*arguments)
        return subprocess.run(command, cwd=self.work, env={**environment, **extra}, capture_output=True, text=True)

    def ok(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refused(self, code: int, *arguments: str, **extra: str) -> str:
        done = self.run(*arguments, **extra)
        assert done.returncode == code, done.stderr
        return done.stderr

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command, environment = self.command(*arguments)
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(command, cwd=self.work, env=environment, text=True, **quiet)

    def seal(self, key: str, source: str = "m.bin", *more: str) -> str:
        address = f"s3://{BUCKET}/{key}"
        self.ok("seal", source, "-o", address, "--to", "me", "--sign", "publisher", *more)
        return address

    def opens(self, address: str) -> bool:
        """Return whether the object opens to the content; fail the test if it opens to anything else."""
        out = self.work / "out.bin"
        done = self.run("open", address, "-o", "out.bin", "--force")
        if done.returncode != 0:
            return False
        assert out.read_bytes() == CONTENT
        return True

    def keys(self, prefix: str = "") -> dict[str, int]:
        found = self.s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
        return {entry["Key"]: entry["Size"] for entry in found}

    def uploads(self) -> list[str]:
        return [upload["Key"] for upload in self.s3.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])]

    def bytes_of(self, key: str) -> bytes:
        return bytes(self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())
