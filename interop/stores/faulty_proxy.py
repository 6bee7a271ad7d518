"""An HTTP proxy on loopback in front of an object store, which records requests and injects faults.

Faults are rules: a function that decides what to do with each request.
"""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PASS, DROP, DROP_AFTER, SHORT, LIE = "pass", "drop", "drop-after", "short", "lie"
UNAVAILABLE, GONE, NOT_IMPLEMENTED, BAD, DONE = "unavailable", "gone", "not-implemented", "bad", "done"
EXPIRED, DENIED, THROTTLED, MUMBLING = "expired", "denied", "throttled", "mumbling"
ANSWERS = {
    UNAVAILABLE: (503, "<Error><Code>SlowDown</Code><Message>no</Message></Error>"),
    GONE: (404, "<Error><Code>NoSuchUpload</Code><Message>no</Message></Error>"),
    NOT_IMPLEMENTED: (501, "<Error><Code>NotImplemented</Code><Message>no</Message></Error>"),
    BAD: (400, "<Error><Code>InvalidPart</Code><Message>no</Message></Error>"),
    EXPIRED: (400, "<Error><Code>ExpiredToken</Code><Message>no</Message></Error>"),
    DENIED: (403, "<Error><Code>AccessDenied</Code><Message>no</Message></Error>"),
    THROTTLED: (429, "<Error><Code>SlowDown</Code><Message>no</Message></Error>"),
    MUMBLING: (503, "the one before me said: status code: 400, InvalidPart maybe"),
    DONE: (200, "<html>welcome</html>"),
}


@dataclass
class Seen:
    """A recorded request."""

    method: str
    path: str
    headers: dict[str, str]
    sent: int
    fault: str = PASS
    received: int = 0

    @property
    def is_part(self) -> bool:
        """Return whether it carries a part of an upload, not a copy made by the store."""
        return self.method == "PUT" and "partNumber=" in self.path and "x-amz-copy-source" not in self.headers

    @property
    def is_copy(self) -> bool:
        return "x-amz-copy-source" in self.headers


Rule = Callable[[Seen], str]


@dataclass
class Proxy:
    """The proxy; `rule` decides on each request."""

    upstream: tuple[str, int]
    rule: Rule = lambda _: PASS
    seen: list[Seen] = field(default_factory=list)

    def __post_init__(self) -> None:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                """Log nothing; the tests use `seen`."""

            def handle_any(self) -> None:
                proxy.handle(self)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any

        self.lock, self.busy = threading.Lock(), 0
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def reset(self, rule: Rule = lambda _: PASS) -> None:
        with self.lock:
            self.seen.clear()
            self.rule = rule

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        with self.lock:
            self.busy += 1
        try:
            self.answer(request)
        except BrokenPipeError:
            pass  # The client was killed, as the test intended.
        finally:
            with self.lock:
                self.busy -= 1

    def settle(self) -> None:
        """Wait until no request is in progress."""
        while self.busy:
            time.sleep(0.02)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in request.headers.items()}
        seen = Seen(request.command, request.path, headers, len(body))
        with self.lock:
            seen.fault = self.rule(seen)
            self.seen.append(seen)
        if seen.fault == DROP:
            return hang_up(request)
        if seen.fault in ANSWERS:
            status, text = ANSWERS[seen.fault]
            answer = text.encode()
            request.send_response(status)
            request.send_header("content-length", str(len(answer)))
            request.end_headers()
            request.wfile.write(answer)
            return None
        status, answer_headers, answer = self.forward(request, body)
        seen.received = len(answer)
        if seen.fault == DROP_AFTER:
            return hang_up(request)
        request.send_response(status)
        for name, value in answer_headers:
            if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                request.send_header(name, value)
        if seen.fault == LIE:
            answer = answer[: len(answer) // 2]
        length = len(answer)
        if request.command == "HEAD":
            length = int(dict((n.lower(), v) for n, v in answer_headers).get("content-length", 0))
        request.send_header("content-length", str(length))
        request.end_headers()
        if request.command == "HEAD":
            return None
        if seen.fault == SHORT:
            request.wfile.write(answer[: len(answer) // 2])
            return hang_up(request)
        request.wfile.write(answer)
        return None

    def forward(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(*self.upstream, timeout=60)
        connection.putrequest(request.command, request.path, skip_host=True, skip_accept_encoding=True)
        for name, value in request.headers.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        return response.status, response.getheaders(), answer


def hang_up(request: BaseHTTPRequestHandler) -> None:
    """Close the connection in the middle of the exchange."""
    request.close_connection = True
    try:
        request.wfile.flush()
        request.connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def times(count: int, fault: str, which: Callable[[Seen], bool]) -> Rule:
    """Return a rule that applies the fault to the first `count` matching requests."""
    left = [count]

    def rule(seen: Seen) -> str:
        if which(seen) and left[0] > 0:
            left[0] -= 1
            return fault
        return PASS

    return rule
