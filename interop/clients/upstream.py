"""A small HTTP server that echoes the request it received."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_) -> None:
        pass

    def answer(self) -> None:
        self.server.count += 1
        body = self.content()
        if self.path.startswith("/status/"):
            status = int(self.path.rsplit("/", 1)[1])
            self.reply(status, f"status {status}".encode(), [("X-Upstream", "here")])
        elif self.path == "/location":
            status, location = json.loads(body)
            self.reply(status, b"moved", [("Location", location)])
        elif self.path == "/fields":
            fields = [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2; Path=/"), ("Location", "/elsewhere")]
            fields += [("Connection", "keep-alive, X-Hop"), ("X-Hop", "1"), ("Keep-Alive", "timeout=5")]
            self.reply(200, b"fields", [*fields, ("Content-Type", "text/x-test; charset=utf-8")])
        else:
            headers = [[name, value] for name, value in self.headers.items()]
            seen = {"method": self.command, "path": self.path, "headers": headers}
            seen["body"] = base64.b64encode(body).decode()
            self.reply(200, json.dumps(seen).encode(), [("Content-Type", "application/json")])

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_CONNECT = answer

    def content(self) -> bytes:
        if "chunked" in self.headers.get("transfer-encoding", ""):
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def reply(self, status: int, body: bytes, fields: list[tuple[str, str]]) -> None:
        self.send_response(status)
        for name, value in fields:
            self.send_header(name, value)
        bodyless = status in (204, 304)
        if not bodyless:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if not bodyless and self.command != "HEAD":
            self.wfile.write(body)


class Echo(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.count = 0
        self.port = self.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self.serve_forever, daemon=True)

    def __enter__(self) -> "Echo":
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()
