"""A bucket in a region other than the configured one. S3 names the region in a redirect, which must not lead anywhere else.

The host names are Amazon's, but nothing is sent there: the program uses a proxy on loopback.
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from bucket import BUCKET, CONTENT, Store

OLD, NEW = "s3.us-east-1.amazonaws.com", "s3.eu-west-3.amazonaws.com"


class Amazon(ThreadingHTTPServer):
    """A proxy that stands in for S3: the old region redirects, the new one is the store, and other hosts do not exist."""

    def __init__(self, upstream: tuple[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.upstream, self.location = upstream, f"http://{NEW}/"
        self.seen: list[tuple[str, str]] = []


class Handler(BaseHTTPRequestHandler):
    server: Amazon
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.server.seen.append((url.netloc, self.headers.get("authorization", "")))
        if url.netloc != NEW:
            self.send_response(301)
            self.send_header("location", self.server.location)
            self.send_header("x-amz-bucket-region", "eu-west-3")
            self.send_header("content-length", "0")
            self.end_headers()
            return
        connection = http.client.HTTPConnection(*self.server.upstream)
        dropped = ("host", "proxy-connection", "connection")
        headers = {name: value for name, value in self.headers.items() if name.lower() not in dropped}
        connection.request(self.command, f"{url.path}?{url.query}" if url.query else url.path, body, headers)
        answer = connection.getresponse()
        data = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        length = answer.getheader("content-length") if self.command == "HEAD" else len(data)
        self.send_header("content-length", str(length or 0))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def amazon(store: Store) -> Iterator[tuple[Amazon, dict[str, str]]]:
    server = Amazon(store.proxy.upstream)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    proxy = f"http://127.0.0.1:{server.server_port}"
    yield server, {"AWS_ENDPOINT": f"http://{OLD}", "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1", "HTTP_PROXY": proxy, "http_proxy": proxy}
    server.shutdown()


@pytest.mark.parametrize("location", [f"http://{NEW}/", "http://thief.example/"])
def test_a_bucket_is_used_in_its_own_region(store: Store, amazon: tuple[Amazon, dict[str, str]], location: str) -> None:
    server, settings = amazon
    server.location = location
    address = store.seal("elsewhere.sealed")
    for command in (
        ("open", address, "-o", "out.bin", "--force"),
        ("rewrap", address, "--to", "me", "--to", "two"),
        ("seal", "m.bin", "-o", f"s3://{BUCKET}/new.sealed", "--to", "me", "--sign", "publisher", "--force"),
    ):
        server.seen.clear()
        done = store.run(*command, **settings)
        assert done.returncode == 0, done.stderr
        hosts = [host for host, _ in server.seen]
        assert set(hosts) == {OLD, NEW}
        # Once named, the region is remembered.
        assert hosts.count(OLD) <= 4, hosts
        assert all("/eu-west-3/s3/" in signed for host, signed in server.seen if host == NEW and signed)
    assert (store.work / "out.bin").read_bytes() == CONTENT
