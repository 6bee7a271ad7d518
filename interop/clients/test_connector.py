"""Plain clients through the connector, and HTTP servers as upstream."""

import base64
import json
import os
import socket
import ssl
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import support
import upstream as upstream_server
import wire
from support import debian_curl, error_of, urllib_call
from test_clients import IMAGES, LABELS, WRONG_MAX, correct, digits_of, infer_body

MIB = 1024 * 1024


# --- 6: plain clients and the connector -------------------------------------------------------------------------------


def test_curl_through_the_connector(connector):
    body = json.dumps({"instances": IMAGES})
    done = debian_curl("-H", "content-type: application/json", "-d", body, f"{connector.url}/predict")
    assert done.returncode == 0, done.stderr
    assert correct(json.loads(done.stdout)["predictions"], LABELS)
    chunked = ["-H", "content-type: application/json", "-H", "transfer-encoding: chunked", "-d"]
    done = debian_curl(*chunked, json.dumps(infer_body(IMAGES)), f"{connector.url}/v2/models/digits/infer")
    assert correct(digits_of(json.loads(done.stdout)["outputs"][0]), LABELS)
    done = debian_curl("-i", f"{connector.url}/v2/health/ready")
    assert done.stdout.startswith("HTTP/1.1 200") and '{"ready":true}' in done.stdout
    head = debian_curl("--head", f"{connector.url}/v2/health/ready")
    assert (head.returncode, head.stderr) == (0, "")


def test_urllib_through_the_connector(connector):
    answer = urllib_call(f"{connector.url}/predict", {"instances": IMAGES, "model": "digits"})
    assert answer.status == 200
    assert correct(answer.json()["predictions"], LABELS)
    answer = urllib_call(f"{connector.url}/v2/models/digits/infer", infer_body(IMAGES))
    assert correct(digits_of(answer.json()["outputs"][0]), LABELS)
    ready = urllib_call(f"{connector.url}/v2/health/ready")
    assert (ready.status, ready.json()) == (200, {"ready": True})
    for name in ("signature", "signature-input", "casemate-channel"):
        assert ready.all(name) == []


def test_errors_through_the_connector(connector):
    for path, body in (
        ("/v2/models/other", None),
        ("/v2/models/other/infer", infer_body(IMAGES[:1])),
        ("/predict", {"instances": IMAGES[:1], "model": "other"}),
    ):
        answer = urllib_call(connector.url + path, body)
        assert answer.status == 404, (path, answer)
        error = answer.json()["error"]
        assert isinstance(error, str) if path.startswith("/v2") else set(error) == {"message", "type", "code"}
    for body in (b"{", {"instances": [[1, 2, 3]]}, {"instances": "no"}, {"instances": []}, {}):
        answer = urllib_call(f"{connector.url}/predict", body)
        assert answer.status == 400, (body, answer)
        assert answer.json()["error"]["message"]


def test_fifty_at_once(connector):
    images = support.samples(50)

    def one(sample: dict) -> bool:
        answer = urllib_call(f"{connector.url}/predict", {"instances": [sample["image"]]})
        assert answer.status == 200, answer
        return answer.json()["predictions"] == [sample["label"]]

    with ThreadPoolExecutor(50) as pool:
        right = list(pool.map(one, images))
    assert right.count(False) <= WRONG_MAX


def eventually_ready(connector) -> bool:
    """Wait until the connector is ready; it may have to fetch the keys of a restarted gateway first."""
    end = time.monotonic() + 3
    while (status := urllib_call(f"{connector.url}/v2/health/ready").status) != 200 and time.monotonic() < end:
        time.sleep(0.2)
    return status == 200


def test_stopped_gateway(site, gateway):
    own = site.gateway()
    try:
        with site.connector(own.url) as connector:
            assert urllib_call(f"{connector.url}/v2/health/ready").status == 200
            port = own.port
            own.stop()
            answer = urllib_call(f"{connector.url}/predict", {"instances": IMAGES[:1]})
            assert answer.status == 502
            error = answer.json()["error"]
            assert set(error) == {"message", "type", "code"} and error["message"]
            own = site.gateway(port=port)
            assert eventually_ready(connector)
    finally:
        own.stop()


def test_connector_follows_a_new_encryption_key(site, gateway):
    with site.gateway() as old, site.connector(old.url) as connector:
        old.stop()
        with site.gateway(port=old.port):
            assert eventually_ready(connector), urllib_call(f"{connector.url}/v2/health/ready")


def test_connector_refuses_another_gateway(site, gateway):
    command = [support.BINARY, *site.connect_arguments(gateway.url, "other-gateway")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, env=support.clean_environment())
    assert done.returncode != 0
    assert done.stdout + done.stderr


# --- 7: any HTTP server as upstream -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def echo():
    with upstream_server.Echo() as server:
        yield server


@pytest.fixture(scope="module")
def forwarding(site, gateway, echo):
    with site.gateway(upstream=echo.url) as service:
        yield service


@pytest.fixture(scope="module")
def forwarded(site, forwarding):
    with site.connector(forwarding.url) as service:
        yield service.url


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_upstream_sees_the_request(forwarded, method):
    path = "/v1/a%20b/c;d=e?x=1&y=%2F&z"
    body = None if method in ("GET", "OPTIONS") else b"\x00binary\xff"
    headers = {"Content-Type": "application/x-test", "X-Custom": "some value", "Authorization": "Bearer secret"}
    answer = urllib_call(forwarded + path, body, method, headers)
    assert answer.status == 200, answer
    seen = answer.json()
    assert (seen["method"], seen["path"]) == (method, path)
    assert base64.b64decode(seen["body"]) == (body or b"")
    fields = {name.lower(): value for name, value in seen["headers"]}
    assert (fields["x-custom"], fields["authorization"]) == ("some value", "Bearer secret")
    assert body is None or fields["content-type"] == "application/x-test"


def test_signature_fields_do_not_reach_the_upstream(forwarded):
    names = {name.lower() for name, _ in urllib_call(f"{forwarded}/echo", b"x").json()["headers"]}
    assert not names & {"signature", "signature-input", "casemate-channel", "content-digest"}, names


def test_hop_by_hop_fields_are_stripped(forwarded):
    hops = ["Connection: close, X-Hop", "X-Hop: 1", "TE: trailers", "Keep-Alive: timeout=5", "Proxy-Connection: close"]
    hops += ["Proxy-Authorization: Basic eDp5", "Upgrade: h2c", "X-Stays: 1"]
    arguments = [part for hop in hops for part in ("-H", hop)]
    seen = json.loads(debian_curl(*arguments, f"{forwarded}/echo").stdout)
    fields = {name.lower(): value for name, value in seen["headers"]}
    assert fields["x-stays"] == "1"
    stripped = {"x-hop", "te", "keep-alive", "proxy-connection", "proxy-authorization", "upgrade"}
    assert not stripped & fields.keys(), fields
    assert "x-hop" not in fields.get("connection", "").lower()


def test_fields_of_the_local_client_cannot_pose_as_protection(forwarded):
    headers = {"Signature": "c=:AAAA:", "Signature-Input": "c=()", "Casemate-Channel": ":AAAA:", "Content-Digest": "x"}
    answer = urllib_call(f"{forwarded}/echo", headers=headers)
    assert answer.status in (200, 400), answer
    if answer.status == 200:
        names = {name.lower() for name, _ in answer.json()["headers"]}
        assert not names & {"signature", "signature-input", "casemate-channel"}, names


@pytest.mark.parametrize("status", [201, 202, 204, 301, 304, 400, 401, 404, 418, 429, 500, 503])
def test_status_passes(forwarded, status):
    answer = urllib_call(f"{forwarded}/status/{status}")
    assert answer.status == status
    assert answer.all("x-upstream") == ["here"]
    if status not in (204, 304):
        assert answer.body == f"status {status}".encode()


def test_fields_of_the_upstream(forwarded):
    answer = urllib_call(f"{forwarded}/fields")
    assert answer.all("set-cookie") == ["a=1", "b=2; Path=/"]
    assert answer.all("location") == ["/elsewhere"]
    assert answer.all("x-hop") == [] and answer.all("keep-alive") == []
    assert answer.all("content-type") == ["text/x-test; charset=utf-8"]
    assert answer.all("content-length") == ["6"]


def test_head_passes(forwarded):
    answer = urllib_call(f"{forwarded}/echo", method="HEAD")
    assert (answer.status, answer.body) == (200, b"")


def test_large_content_both_ways(forwarded):
    body = os.urandom(8 * MIB)
    answer = urllib_call(f"{forwarded}/echo", body, headers={"content-type": "application/octet-stream"})
    assert base64.b64decode(answer.json()["body"]) == body


def test_a_path_cannot_choose_another_upstream(site, forwarding, echo):
    """The base URL and the path are joined as text, so an invalid path must be refused first."""
    client = support.PythonClient(forwarding.url, site.root, site.pinned, site.python)
    with upstream_server.Echo() as other:
        for path in (f"@127.0.0.1:{other.port}/", f"http://127.0.0.1:{other.port}/", "", "*", "relative", "0/"):
            answer = client.send(wire.Request("GET", path, client.authority))
            assert answer.status in (400, 401), (path, answer)
        assert other.count == 0


def test_connect_is_not_forwarded(site, forwarding, echo):
    client = support.PythonClient(forwarding.url, site.root, site.pinned, site.python)
    before = echo.count
    answer = client.send(wire.Request("CONNECT", "/echo", client.authority))
    assert answer.status in (400, 405, 501), answer
    assert echo.count == before


def test_framing_fields_inside_do_not_reach_the_upstream(site, forwarding):
    """A `content-length` or `transfer-encoding` inside could make the upstream split one message into two."""
    client = support.PythonClient(forwarding.url, site.root, site.pinned, site.python)
    for name, value in (("content-length", "3"), ("transfer-encoding", "chunked"), ("host", "evil.example")):
        answer = client.send(wire.Request("POST", "/echo", client.authority, [(name, value)], b"0123456789"))
        if answer.status == 200:
            seen = answer.json()
            assert base64.b64decode(seen["body"]) == b"0123456789"
            assert [name.lower(), value] not in [[other.lower(), text] for other, text in seen["headers"]]
        else:
            error_of(answer, 400)


def test_an_unsigned_request_does_not_reach_the_upstream(site, forwarding, echo):
    client = support.PythonClient(forwarding.url, site.root, site.pinned, site.python)
    before = echo.count
    error_of(client.exchange(wire.Exchange(client.keys), client.request("GET", "/echo").encode()), 401)
    assert echo.count == before


def test_upstream_down(site, gateway):
    with upstream_server.Echo() as server:
        url = server.url
    with site.gateway(upstream=url) as own, site.connector(own.url) as connector:
        answer = urllib_call(f"{connector.url}/echo")
        assert answer.status == 502
        assert set(answer.json()["error"]) == {"message", "type", "code"}


# --- 8: who may use a connector ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded(site, gateway, tmp_path_factory):
    token = tmp_path_factory.mktemp("token") / "token"
    with site.connector(gateway.url, "--token-file", str(token), "--origin", "https://app.example") as service:
        yield service, token
    assert not token.exists(), "the token file still exists after the connector stopped"


def test_the_token_is_required(guarded):
    service, token = guarded
    assert token.stat().st_mode & 0o777 == 0o600
    secret = token.read_text()
    url = f"{service.url}/v2/health/ready"
    for headers in ({"authorization": f"Bearer {secret}"}, {"casemate-token": secret}):
        assert urllib_call(url, headers=headers).status == 200
    for headers in ({}, {"authorization": f"Bearer {secret[:-1]}"}, {"casemate-token": ""}, {"authorization": secret}):
        assert urllib_call(url, headers=headers).status == 401, headers
    assert secret not in service.said()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "https://app.example", "sec-fetch-site": "cross-site"}, 200),
        ({"sec-fetch-site": "none"}, 200),
        ({"origin": "https://app.example.evil"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"host": "rebound.example"}, 403),
    ],
)
def test_pages_of_other_sites_are_refused(guarded, headers, status):
    service, token = guarded
    headers = {"casemate-token": token.read_text()} | headers
    answer = urllib_call(f"{service.url}/v2/health/ready", headers=headers)
    assert answer.status == status, answer
    allowed = [headers["origin"]] if headers.get("origin") and status == 200 else []
    assert answer.all("access-control-allow-origin") == allowed


def test_a_token_is_needed_off_loopback(site, gateway):
    command = [support.BINARY, *site.connect_arguments(gateway.url, listen="0.0.0.0:0"), "--no-token"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, env=support.clean_environment())
    assert done.returncode == 2 and "--no-token" in done.stderr, done.stderr


def test_only_the_owner_can_use_a_socket(site, gateway, tmp_path):
    path = tmp_path / "connector.sock"
    with site.connector(gateway.url, listen=f"unix:{path}"):
        ask = ["--unix-socket", str(path), "-o", "-", "-w", "%{http_code}", "http://connector/v2/health/ready"]
        done = debian_curl(*ask)
        assert done.stdout.endswith("200"), done
        if os.geteuid() == 0:
            # Even if file modes let another user connect, the peer credentials do not.
            for folder in [path, *path.parents][:4]:
                folder.chmod(0o777)
            other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", support.CURL, "-sS", *ask]
            done = subprocess.run(other, capture_output=True, text=True)
            assert done.returncode != 0 and "ready" not in done.stdout, done
    assert not path.exists()


# --- 9: the boundary to the upstream ----------------------------------------------------------------------------------

FORGED = {
    "forwarded": "for=10.0.0.1",
    "x-forwarded-for": "10.0.0.1",
    "x-forwarded-host": "evil.example",
    "x-real-ip": "10.0.0.1",
    "x-forwarded-client-cert": "Hash=00",
    "casemate-client": "admin",
    "casemate-client-key": "00",
    "x-original-url": "/admin",
    "via": "1.1 other",
}


def test_only_the_gateway_tells_the_upstream_who_called(site, forwarded):
    seen = urllib_call(f"{forwarded}/echo", headers=FORGED | {"x-own": "1"}).json()["headers"]
    fields = [(name.lower(), value) for name, value in seen]
    assert ("x-own", "1") in fields
    ours = dict(field for field in fields if field[0] in FORGED)
    listed = json.loads(site.cli("--json", "keys", "list"))["keys"]
    assert ours == {
        "casemate-client": "connector",
        "casemate-client-key": next(key["id"] for key in listed if key["name"] == "client"),
    }


@pytest.mark.parametrize("path", ["/a/../b", "/a/%2e%2e/b", "/a/..%2fb", "/a/%2E./b", "/..;x/b"])
def test_paths_that_leave_the_base_are_refused(site, forwarding, echo, path):
    client = support.PythonClient(forwarding.url, site.root, site.pinned, site.python)
    before = echo.count
    assert client.call("GET", path).status in (400, 403, 404)
    assert echo.count == before


@pytest.mark.parametrize(
    ("status", "location", "sent"),
    [
        (201, "/made/1", "/made/1"),
        (201, "{echo}/made/1?x=1", "/made/1?x=1"),
        (302, "{echo}/next", "/next"),
        (201, "http://elsewhere.example/made", None),
        (302, "http://elsewhere.example/made", 502),
        (302, "//elsewhere.example/made", 502),
        (307, "{echo}@elsewhere.example/", 502),
    ],
)
def test_locations_stay_at_the_gateway(forwarded, echo, status, location, sent):
    location = location.format(echo=echo.url)
    answer = urllib_call(f"{forwarded}/location", json.dumps([status, location]).encode(), "POST", {})
    if sent == 502:
        assert answer.status == 502
    else:
        assert answer.status == status
    assert answer.all("location") == ([sent] if isinstance(sent, str) else [])


def test_a_client_may_call_only_its_allowed_routes(site, gateway, echo):
    allow = 'allow = ["GET /v1/models", "POST /v1/chat/*"]'
    with site.gateway(upstream=echo.url, allow=allow) as own:
        client = support.PythonClient(own.url, site.root, site.pinned, site.python)
        for method, path in (("GET", "/v1/models"), ("GET", "/v1/models?x=1"), ("POST", "/v1/chat/completions")):
            assert client.call(method, path).status == 200, path
        before = echo.count
        for method, path in (
            ("POST", "/v1/models"),
            ("GET", "/v1/models/"),
            ("GET", "/v1/chat/completions"),
            ("POST", "/v1/chat"),
            ("POST", "/v1//chat/x"),
        ):
            error_of(client.call(method, path), 403, "not-allowed")
        assert echo.count == before
        assert own.wait_for('client="python"'), own.said()


def test_probes_have_a_separate_listener(site, gateway):
    with site.gateway(more='health = "127.0.0.1:0"') as own:
        assert own.wait_for("answering probes on http://")
        probes = own.said().split("answering probes on ")[1].split()[0]
        for path, status in (("/healthz", 200), ("/readyz", 200), ("/v2", 404), (support.KEYS_PATH, 404)):
            assert urllib_call(probes + path).status == status


def test_a_trusted_proxy_names_the_client(site, gateway):
    """A PROXY protocol header is required from a trusted proxy, and read from no other peer."""
    local = bytes.fromhex("0d0a0d0a000d0a515549540a20000000")
    context = ssl.create_default_context(cafile=str(site.root))

    def status(port: int, header: bytes) -> int:
        with socket.create_connection(("127.0.0.1", port)) as plain:
            plain.sendall(header)
            with context.wrap_socket(plain, server_hostname="localhost") as peer:
                peer.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
                return int(peer.recv(4096).split()[1])

    client = bytes.fromhex("0d0a0d0a000d0a515549540a2111000c0a0102030a000001005001bb")
    with site.gateway(more='trusted_proxies = ["127.0.0.0/8"]', FALLBACK_CRYPTO="enabled") as own:
        assert [status(own.port, header) for header in (local, client)] == [200, 200]
        for wrong in (b"", client[:12] + b"\x11" + client[13:]):
            with pytest.raises(OSError):
                status(own.port, wrong)
    with site.gateway(FALLBACK_CRYPTO="enabled") as own:
        assert status(own.port, b"") == 200
        with pytest.raises(OSError):
            status(own.port, client)
