"""The key service with curl, with an independent HPKE, and against what clients must not do."""

from __future__ import annotations

import base64
import hashlib
import http.client
import http.server
import json
import os
import shutil
import signal
import socket
import sqlite3
import ssl
import subprocess
import threading
import time
from pathlib import Path

import jsonschema
import pycurl
import pytest
from openapi_spec_validator import validate

from key_service import BINARY, GRANTS, Answer, Api, Authority, Server, Site, b64, environment
from standards import KEMS


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    site = Site(tmp_path_factory.mktemp("service"))
    site.create()
    return site


@pytest.fixture(scope="module")
def server(site: Site):
    with site.serve() as server:
        yield server


@pytest.fixture
def admin(site: Site, server: Server) -> Api:
    return site.api(server, site.admin)


@pytest.fixture
def second(site: Site, server: Server) -> Api:
    return site.api(server, site.second)


@pytest.fixture
def trainer(site: Site, server: Server) -> Api:
    return site.api(server, site.trainer)


def data_key(api: Api, name: str = "models", context: str = "volume 7") -> dict[str, str]:
    made = api.post("/v1/data-keys", {"name": name, "context": context})
    assert made.status == 200, made
    return made.json


def refused(answer: Answer, status: int, words: str = "") -> None:
    assert answer.status == status, answer
    assert answer.media_type == "application/problem+json"
    problem = answer.json
    assert problem["status"] == status and words in problem["detail"], problem


def test_answers_are_what_the_openapi_document_says(admin: Api) -> None:
    document = admin.get("/v1/openapi.json").json
    validate(document)
    schemas = document["components"]["schemas"]

    def check(answer: Answer, name: str, status: int = 200) -> dict:
        assert answer.status == status, answer
        jsonschema.validate(answer.json, {"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas}})
        return answer.json

    check(admin.get("/v1/keys"), "KeyList")
    key = check(admin.post("/v1/keys", {"name": "described", "suite": "mlkem768-x25519"}), "Key", 201)
    check(admin.get("/v1/keys/described"), "Named")
    check(admin.get(f"/v1/key-ids/{key['id']}"), "Key")
    check(admin.get("/v1/statuses"), "Statuses")
    check(admin.post("/v1/keys/described/rotate", {}), "Rotation")
    check(admin.post("/v1/keys/described/versions/1/state", {"state": "disabled"}), "Key")
    check(admin.post("/v1/keys/described/versions/1/state", {"state": "destroyed"}), "Waiting", 202)
    place = {"place": "/a", "version": 2, "seen": 7}
    check(admin.post("/v1/keys/described/bindings", {"bind": [place]}), "Empty")
    assert check(admin.get("/v1/keys/described/bindings"), "Bindings") == {"bindings": [place], "more": False}
    made = check(admin.post("/v1/data-keys", {"name": "models", "context": "a"}), "DataKey")
    item = {"wrapped": made["wrapped"], "context": "a"}
    check(admin.post("/v1/data-keys/unwrap", item), "Plaintext")
    check(admin.post("/v1/data-keys/rewrap", {"items": [item, item | {"context": "b"}]}), "Rewrapped")
    check(admin.get("/v1/audit/entries?from=0"), "Entries")
    check(admin.get("/v1/nothing"), "Problem", 404)
    signer = admin.get("/v1/keys/publisher").json["keys"][0]["id"]
    check(admin.post("/v1/sign", {"key": signer, "context": b64(b"c"), "message": b64(b"m")}), "Signature")
    # Every path of the document is served.
    for path, methods in document["paths"].items():
        filled = path.replace("{name}", "none").replace("{version}", "1").replace("{id}", "0" * 64)
        for method in methods:
            answer = admin(method.upper(), filled, {} if method == "post" else None)
            assert answer.status not in (405, 500, 503), (path, method, answer)


def test_a_data_key_is_hpke_of_another_implementation(site: Site, admin: Api) -> None:
    site.run("keys", "slots", "add", "rec", "--recovery-key", "rec.pem")
    site.run("keys", "import", "rec.pem", "--name", "imported")
    made = data_key(admin, "imported", "volume 7")
    wrapped = base64.b64decode(made["wrapped"])
    assert wrapped[:5] == b"CSDK\x01" and wrapped[5:37].hex() == made["key"]
    pem = (site.folder / "rec.pem").read_bytes()
    kem, halves = next((kem, halves) for kem in KEMS.values() if (halves := kem.private(pem)))
    enc, ciphertext = wrapped[37 : 37 + kem.enc], wrapped[37 + kem.enc :]
    opened = kem.open_base(*halves, enc, b"casemate/v1/data-key\0volume 7", ciphertext)
    assert b64(opened) == made["plaintext"] and len(opened) == 32


def test_a_data_key_opens_in_its_context_only(admin: Api) -> None:
    made = data_key(admin)
    unwrap = lambda wrapped, context: admin.post("/v1/data-keys/unwrap", {"wrapped": wrapped, "context": context})
    assert unwrap(made["wrapped"], "volume 7").json == {"plaintext": made["plaintext"]}
    refused(unwrap(made["wrapped"], "volume 8"), 422)
    whole = base64.b64decode(made["wrapped"])
    for at in range(37, len(whole), 97):
        changed = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
        refused(unwrap(b64(changed), "volume 7"), 422)
    for short in (b"", whole[:5], whole[:37], whole[:-1]):
        refused(unwrap(b64(short), "volume 7"), 422)
    refused(unwrap(made["wrapped"], ""), 400)
    refused(unwrap(made["wrapped"], "a" * 257), 400)
    # A context cannot write lines of its own into the log.
    for bad in ("a\nb", "a\x1b[2J", "\x9b"):
        refused(admin.post("/v1/data-keys", {"name": "models", "context": bad}), 400, "control")


def test_data_keys_follow_a_rotation(admin: Api) -> None:
    admin.post("/v1/keys", {"name": "rotated", "suite": "mlkem1024-p384"})
    made = [data_key(admin, "rotated", f"volume {n}") for n in range(5)]
    new = admin.post("/v1/keys/rotated/rotate", {}).json["new"]["id"]
    items = [{"wrapped": key["wrapped"], "context": f"volume {n}"} for n, key in enumerate(made)]
    done = admin.post("/v1/data-keys/rewrap", {"items": [*items, items[0] | {"context": "other"}]}).json["items"]
    assert "error" in done.pop() and all(base64.b64decode(one["wrapped"])[5:37].hex() == new for one in done)
    admin.post("/v1/keys/rotated/versions/1/state", {"state": "disabled"})
    for n, (old, one) in enumerate(zip(made, done)):
        body = {"wrapped": one["wrapped"], "context": f"volume {n}"}
        assert admin.post("/v1/data-keys/unwrap", body).json["plaintext"] == old["plaintext"]
    refused(admin.post("/v1/data-keys/unwrap", items[0]), 403, "disabled")


def test_grants_decide(site: Site, server: Server, admin: Api, trainer: Api) -> None:
    assert [key["name"] for key in trainer.get("/v1/keys").json["keys"]] == ["models"]
    made = data_key(admin)
    refused(trainer.post("/v1/data-keys/unwrap", {"wrapped": made["wrapped"], "context": "volume 7"}), 403, "unwrap")
    refused(trainer.post("/v1/data-keys", {"name": "models", "context": "a"}), 403)
    refused(trainer.get("/v1/keys/publisher"), 404)
    refused(trainer.get("/v1/keys/none"), 404)
    assert trainer.get("/v1/keys/publisher").json["detail"] == trainer.get("/v1/keys/none").json["detail"]
    publisher = admin.get("/v1/keys/publisher").json["keys"][0]["id"]
    sign = {"key": publisher, "context": b64(b"c"), "message": b64(b"m")}
    refused(trainer.post("/v1/sign", sign), 404)
    refused(trainer.post("/v1/keys", {"name": "mine", "suite": "mlkem1024-p384"}), 403)
    refused(trainer.post("/v1/keys/models/rotate", {}), 403)
    refused(trainer.get("/v1/audit/checkpoint"), 403)
    # Whoever may unwrap learns nothing else.
    blind = site.api(server, site.blind)
    assert blind.post("/v1/data-keys/unwrap", {"wrapped": made["wrapped"], "context": "volume 7"}).status == 200
    assert blind.get("/v1/keys").json["keys"] == []
    refused(blind.get("/v1/keys/models"), 404)
    refused(blind.get(f"/v1/key-ids/{made['key']}"), 404)


def test_who_destroys_sees_what_is_sealed_and_changes_nothing_of_it(site: Site, server: Server) -> None:
    api = site.api(server, site.authority.client("remover", "remover.example"))
    assert api.get("/v1/keys/models/bindings").status == 200
    # Refusals are logged with the client, one in a second at most.
    time.sleep(1.1)
    refused(api.post("/v1/keys/models/bindings", {"unbind": ["/a"]}), 403, "bind")
    refused(api.get("/v1/keys/publisher/bindings"), 404)
    end = time.monotonic() + 5
    while not any("refused a request" in line and "remover.example" in line for line in server.lines):
        assert time.monotonic() < end, server.lines
        time.sleep(0.05)


def test_clients_without_exactly_one_name_are_refused(site: Site, server: Server) -> None:
    for file, names in [("none", ()), ("unknown", ("unknown.example",)), ("both", ("admin.example", "second.example"))]:
        api = site.api(server, site.authority.client(file, *names))
        refused(api.get("/v1/keys"), 403, "exactly one client")
    crossed = site.authority.client("crossed", "ADMIN.example")
    refused(site.api(server, crossed).get("/v1/keys"), 403)
    several = site.authority.client("several", "unknown.example", "spiffe://example/trainer")
    assert site.api(server, several).get("/v1/keys").status == 200


def test_handshakes_without_our_certificates_or_groups_are_refused(site: Site, server: Server, tmp_path: Path) -> None:
    with pytest.raises(pycurl.error):
        site.api(server, None).get("/v1/keys")
    with pytest.raises(pycurl.error):
        site.api(server, Authority(tmp_path, "other").client("admin", "admin.example")).get("/v1/keys")
    with pytest.raises(pycurl.error):
        site.api(server, site.admin)("GET", "/v1/keys", groups="X25519:P-256")
    assert site.api(server, site.admin)("GET", "/v1/keys", groups="X25519MLKEM768").status == 200


def test_requests_that_break_the_rules_are_refused(admin: Api) -> None:
    refused(admin("POST", "/v1/keys", raw=b"{"), 400)
    refused(admin("POST", "/v1/keys", raw=b'{"name":"a","suite":"mlkem1024-p384","more":1}'), 400, "more")
    refused(admin("POST", "/v1/keys", raw=b'{"name":"a","name":"b","suite":"mlkem1024-p384"}'), 400, "duplicate")
    refused(admin("POST", "/v1/keys", raw=b"[" * 60000), 400)
    refused(admin("POST", "/v1/keys", raw=b"\xff\xfe"), 400)
    refused(admin("POST", "/v1/keys", raw=b"a" * 65537), 413)
    refused(admin("POST", "/v1/keys", raw=b"{}", media_type="text/plain"), 415)
    refused(admin("POST", "/v1/keys", {"name": "A", "suite": "mlkem1024-p384"}), 400)
    refused(admin("POST", "/v1/keys", {"name": "a", "suite": "none"}), 400)
    refused(admin("POST", "/v1/keys", {"name": "models", "suite": "mlkem1024-p384"}), 409)
    refused(admin("POST", "/v1/keys", raw=b'["arrays","mlkem1024-p384"]'), 400, "object")
    refused(admin("DELETE", "/v1/keys"), 405)
    for path in ("/", "/v1", "/v1/", "/v2/keys", "/v1/keys/", "/v1/keys/models/", "/v1/keys/models/../models", "//v1/keys", "/v1/keys/%6dodels"):
        refused(admin.get(path), 404)
    key = admin.get("/v1/keys/models").json["keys"][0]["id"]
    parts = {"key": key, "kdf": 1, "aead": 2, "enc": "", "info": "", "aad": "", "ciphertext": ""}
    refused(admin.post("/v1/open", parts), 400)
    refused(admin.post("/v1/open", parts | {"kdf": 99}), 400)
    refused(admin.post("/v1/open", parts | {"key": "0" * 64}), 404)
    refused(admin.post("/v1/open", parts | {"key": "x"}), 400)
    refused(admin.post("/v1/open", parts | {"key": key.upper()}), 400)
    refused(admin.get(f"/v1/key-ids/{key.upper()}"), 404)
    refused(admin.get("/v1/audit/entries?from=%2b0"), 400)
    refused(admin.get("/v1/audit/entries?from=00"), 400)
    refused(admin.post("/v1/keys/models/versions/01/state", {"state": "disabled"}), 404)
    # A label of ours is followed by what it says.
    for info in (b"casemate/v1/artifact-key\0short", b"casemate/v1/data-key\0", b"casemate/v1/data-key\0a\nb", b"casemate/v1/data-key\0" + b"a" * 257):
        refused(admin.post("/v1/open", parts | {"info": b64(info)}), 400, "`info`")
    refused(admin.post("/v1/open", parts | {"enc": "***"}), 400)


def test_two_clients_destroy_together(admin: Api, second: Api) -> None:
    admin.post("/v1/keys", {"name": "doomed", "suite": "mlkem1024-p384"})
    admin.post("/v1/keys/doomed/rotate", {})
    made = data_key(admin, "doomed")
    destroy = lambda api, version: api.post(f"/v1/keys/doomed/versions/{version}/state", {"state": "destroyed"})
    for _ in range(3):
        assert destroy(admin, 1).json == {"waiting": 1}
    assert destroy(second, 1).json["state"] == "destroyed"
    refused(destroy(second, 1), 409, "destroyed")
    refused(destroy(second, 7), 404)
    # The active version is not destroyed by anybody.
    refused(destroy(admin, 2), 409, "active")
    assert admin.post("/v1/data-keys/unwrap", {"wrapped": made["wrapped"], "context": "volume 7"}).status == 200


def test_nobody_approves_what_is_not_there(admin: Api, second: Api) -> None:
    destroy = lambda api, version: api.post(f"/v1/keys/later/versions/{version}/state", {"state": "destroyed"})
    refused(destroy(admin, 1), 404)
    admin.post("/v1/keys", {"name": "later", "suite": "mlkem1024-p384"})
    admin.post("/v1/keys/later/rotate", {})
    assert destroy(second, 1).status == 202


def test_what_is_signed_is_in_the_log(site: Site, admin: Api) -> None:
    key = admin.post("/v1/keys", {"name": "gateway", "suite": "http-ed25519-mldsa65"}).json["id"]
    body = {"key": key, "ed25519": b64(b"one base"), "mldsa65": b64(b"another base")}
    signed = admin.post("/v1/sign-http", body).json
    assert len(base64.b64decode(signed["ed25519"])) == 64
    entry = next(entry for entry in reversed(site.log()) if entry["what"] == "signed")
    assert all(hashlib.sha384(base).hexdigest() in entry["about"] for base in (b"one base", b"another base"))
    refused(admin.post("/v1/sign-http", body | {"mldsa65": b64(b"CompositeAlgorithmSignatures2025 more")}), 400)
    # What is shown cannot be taken for other entries.
    signer = admin.get("/v1/keys/publisher").json["keys"][0]["id"]
    forged = b"x\n     9  Tue, 01 Dec 2026 03:50:00 GMT  state         models@2             destroyed  [client other.example]"
    assert admin.post("/v1/sign", {"key": signer, "context": b64(forged), "message": ""}).status == 200
    shown = site.run("keys", "audit", "show").stdout
    assert "[client other.example]" not in [line.split("  ")[-1] for line in shown.splitlines()]
    assert len(shown.splitlines()) == len(site.log()) - 1
    # An entry is given out as it was hashed.
    index = len(site.log()) - 3
    given = admin.get(f"/v1/audit/entries?from={index}").content
    site.run("keys", "audit", "prove", str(index), "-o", f"proof-{index}")
    whole = json.loads(site.run("--json", "keys", "audit", "check", f"proof-{index}", "--keys", "log.keys").stdout)
    assert given.startswith(b'{"entries":[{"index":%d,"entry":{"time":%d,' % (index, whole["entry"]["time"]))


def test_a_certificate_ends_with_its_connection_and_its_sessions(site: Site) -> None:
    short = site.authority.client("short", "admin.example", seconds=4)
    with site.serve(FALLBACK_CRYPTO="enabled") as server:
        context = ssl.create_default_context(cafile=str(site.root))
        context.load_cert_chain(short.certificate, short.key)
        connection = http.client.HTTPSConnection("localhost", server.port, context=context, timeout=10)
        connection.request("GET", "/v1/keys")
        answer = connection.getresponse()
        assert answer.read() and answer.status == 200
        session = connection.sock.session
        time.sleep(5)
        connection.request("GET", "/v1/keys")
        answer = connection.getresponse()
        assert answer.status == 403 and b"expired" in answer.read()
        raw = socket.create_connection(("localhost", server.port))
        with pytest.raises(OSError), context.wrap_socket(raw, server_hostname="localhost", session=session) as again:
            assert not again.session_reused
            again.sendall(b"GET /v1/keys HTTP/1.1\r\nhost: localhost\r\n\r\n")
            if not again.recv(100):
                raise ConnectionResetError


def test_a_key_store_that_is_replaced_while_served_is_not_used(site: Site, tmp_path: Path) -> None:
    other = Site(tmp_path)
    other.create()
    copy = tmp_path / "copy"
    with other.serve() as server:
        admin = other.api(server, other.admin)
        made = data_key(admin)
        body = {"wrapped": made["wrapped"], "context": "volume 7"}
        assert admin.post("/v1/data-keys/unwrap", body).status == 200
        shutil.copytree(tmp_path / "home", copy)
        (tmp_path / "home").rename(tmp_path / "away")
        copy.rename(tmp_path / "home")
        refused(admin.post("/v1/data-keys/unwrap", body), 503)
        other.run("keys", "disable", "models@1", code=2)
    # An older copy written into the same file.
    older = tmp_path / "older.db"
    other.run("keys", "backup", "older.db")
    with other.serve() as server:
        admin = other.api(server, other.admin)
        assert admin.post("/v1/data-keys/unwrap", body).status == 200
        with sqlite3.connect(older) as source, sqlite3.connect(tmp_path / "home" / "keys.db") as target:
            source.backup(target)
        refused(admin.post("/v1/data-keys/unwrap", body), 500)


class Liar(http.server.BaseHTTPRequestHandler):
    """A service that answers everything with one JSON document."""

    answers: dict[str, object] = {}

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        body = json.dumps(self.answers[self.command]).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass


def test_a_service_that_answers_about_something_else_is_not_believed(site: Site, admin: Api) -> None:
    key = admin.get("/v1/keys/models").json["keys"][0]
    publisher = admin.get("/v1/keys/publisher").json["keys"][0]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(site.folder / "tls" / "cert.pem", site.folder / "tls" / "key.pem")
    liar = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Liar)
    liar.socket = context.wrap_socket(liar.socket, server_side=True)
    threading.Thread(target=liar.serve_forever, daemon=True).start()
    home = site.folder / "liar-home"
    home.mkdir()
    text = f'url = "https://localhost:{liar.server_address[1]}"\nauthorities = "{site.root}"\ncertificate = "{site.admin.certificate}"\nkey = "{site.admin.key}"\n'
    (home / "key-service.toml").write_text(text)

    def told(command: list[str], *, get: object = None, post: object = None) -> None:
        Liar.answers = {"GET": get, "POST": post}
        done = subprocess.run([BINARY, "--home", "liar-home", *command], cwd=site.folder, capture_output=True, text=True, env=environment(FALLBACK_CRYPTO="enabled"))
        assert done.returncode == 1 and "malformed answer" in done.stderr, (command, done)

    version = {"version": key["version"], "id": key["id"], "private": True, "state": key["state"], "since": 7}
    named = {"versions": [version], "keys": [key]}
    told(["keys", "generate", "--name", "new", "--kind", "kem"], post=key)
    told(["keys", "generate", "--name", "models", "--kind", "sign"], post=key)
    told(["keys", "rotate", "models"], get=named, post={"new": publisher, "old": None})
    told(["keys", "rotate", "models", "--stage"], get=named, post={"new": key, "old": None})
    told(["keys", "show", "models"], get={"versions": [version], "keys": [publisher]})
    told(["keys", "show", "models"], get={"versions": [version | {"id": publisher["id"]}], "keys": [key]})
    told(["keys", "show", "models"], get={"versions": [version, version], "keys": [key]})
    told(["keys", "show", "models"], get={"versions": [version], "keys": [key | {"public": publisher["public"]}]})
    told(["keys", "list"], get={"keys": [key, key], "damage": [], "more": False})
    told(["keys", "list"], get={"keys": [], "damage": [], "more": True})
    told(["keys", "list"], get=[])
    liar.shutdown()


def test_what_is_disabled_elsewhere_opens_nothing_any_more(site: Site, admin: Api) -> None:
    admin.post("/v1/keys", {"name": "revoked", "suite": "mlkem768-x25519"})
    made = data_key(admin, "revoked")
    body = {"wrapped": made["wrapped"], "context": "volume 7"}
    admin.post("/v1/keys/revoked/rotate", {})
    assert admin.post("/v1/data-keys/unwrap", body).status == 200
    # Another process changes the key store; the service has the key in memory.
    site.run("keys", "disable", "revoked@1")
    refused(admin.post("/v1/data-keys/unwrap", body), 403, "disabled")
    site.run("keys", "enable", "revoked@1")
    assert admin.post("/v1/data-keys/unwrap", body).status == 200


def test_commands_use_a_service_like_a_key_store(site: Site, server: Server) -> None:
    site.connect(server, site.admin, "admin-home")
    site.connect(server, site.trainer, "trainer-home")
    site.run("keys", "generate", "--name", "owner", "--kind", "sign", home="admin-home")
    (site.folder / "weights").write_bytes(b"weights")
    site.run("seal", "weights", "--to", "models", "--sign", "publisher", "-o", "w.sealed", home="admin-home")
    opened = lambda home, code=0: site.run("open", "w.sealed", "-o", "-", "--allow-unknown-signer", home=home, code=code)
    assert opened("trainer-home").stdout == "weights"
    site.run("verify", "w.sealed", "--signer", "publisher", home="admin-home")
    site.run("sign", "weights", "--sign", "publisher", "--force", home="admin-home")
    site.run("keys", "rotate", "models", home="admin-home")
    site.run("keys", "rewrap", "models", "w.sealed", "--statement", "s.json", "--sign", "publisher", "--force", home="admin-home")
    site.run("keys", "statement", "s.json", "--signer", "publisher", home="admin-home")
    assert opened("trainer-home").stdout == "weights"
    assert "models@2" in site.run("keys", "list", home="trainer-home").stdout
    # What needs the key store itself says where to run it, and what needs a grant says so.
    for command in (["keys", "slots", "list"], ["keys", "backup", "b.db"], ["keys", "audit", "show"]):
        assert "run this command where the key store" in site.run(*command, home="admin-home", code=2).stderr
    assert "no grant permits" in site.run("keys", "rotate", "models", home="trainer-home", code=4).stderr
    assert "no key `publisher`" in site.run("sign", "weights", "--sign", "publisher", "--force", home="trainer-home", code=2).stderr
    # A private key never leaves.
    site.run("keys", "export", "models", "--private", "--to", "models", "--sign", "publisher", "-o", "x", home="admin-home", code=2)
    entries = [entry for entry in site.log() if entry["by"] == "client spiffe://example/trainer"]
    assert {entry["what"] for entry in entries} == {"unwrapped"} and all(entry["about"].startswith("artifact ") for entry in entries)


def test_a_grant_may_be_for_some_artifacts(site: Site, server: Server) -> None:
    site.connect(server, site.admin, "admin-home-2")
    for name in ("one", "two"):
        (site.folder / name).write_text(name)
        site.run("seal", name, "--to", "models", "--sign", "publisher", "-o", f"{name}.sealed", home="admin-home-2")
    digest = json.loads(site.run("--json", "inspect", "one.sealed").stdout)["header_digest"]
    limited = f'\n[[grant]]\nclients = ["limited.example"]\nkeys = ["models"]\noperations = ["read", "open"]\nartifacts = ["{digest}"]\n'
    ended = '\n[[grant]]\nclients = ["ended.example"]\nkeys = ["*"]\noperations = ["read", "open"]\nuntil = "2026-01-01"\n'
    site.configure(limited + ended)
    with site.serve() as other:
        site.connect(other, site.authority.client("limited", "limited.example"), "limited-home")
        assert site.run("open", "one.sealed", "-o", "-", "--allow-unknown-signer", home="limited-home").stdout == "one"
        assert "no grant permits `open`" in site.run("open", "two.sealed", "-o", "-", "--allow-unknown-signer", home="limited-home", code=None).stderr
        api = site.api(other, site.authority.client("ended", "ended.example"))
        assert api.get("/v1/keys").json["keys"] == []
    site.configure(GRANTS)


def test_every_acknowledged_use_is_in_the_log_after_a_kill(site: Site) -> None:
    acknowledged: list[str] = []
    for round in range(3):
        with site.serve() as server:
            admin = site.api(server, site.admin)
            made = data_key(admin, "models", f"round {round}")
            stop = threading.Event()

            def use(number: int, api: Api = admin, round: int = round, stop: threading.Event = stop) -> None:
                count = 0
                while not stop.is_set():
                    context = f"round {round} thread {number} use {count}"
                    try:
                        made = api.post("/v1/data-keys", {"name": "models", "context": context}).json
                        if api.post("/v1/data-keys/unwrap", {"wrapped": made["wrapped"], "context": context}).status == 200:
                            acknowledged.append(context)
                    except (pycurl.error, KeyError, json.JSONDecodeError):
                        return
                    count += 1

            threads = [threading.Thread(target=use, args=(number,)) for number in range(4)]
            for thread in threads:
                thread.start()
            stop.wait(1.0)
            server.stop(signal.SIGKILL)
            stop.set()
            for thread in threads:
                thread.join()
            assert made
    logged = {entry.get("about") for entry in site.log()}
    missing = [context for context in acknowledged if f"data key for {context}" not in logged]
    assert len(acknowledged) > 20 and not missing
    site.run("keys", "audit", "verify", "--keys", "log.keys")


def test_a_home_is_connected_only_to_a_service_that_answers(site: Site, server: Server, tmp_path: Path) -> None:
    stranger = site.authority.client("stranger", "stranger.example")
    assert "exactly one client" in site.connect(server, stranger, "stranger-home", code=4).stderr
    assert not (site.folder / "stranger-home").exists()
    url = f"https://localhost:{server.port}"
    files = ["--authorities", str(site.authority.path), "--certificate", str(site.admin.certificate), "--key", str(site.admin.key)]
    refused = site.run("keys", "connect", url, *files, home="wrong-root", code=3)
    assert "does not answer" in refused.stderr and not (site.folder / "wrong-root").exists()
    for bad in ("http://localhost:1", "localhost:1", "https://localhost:1/path", "https://user@localhost:1"):
        site.run("keys", "connect", bad, *files, home="bad-url", code=2)
    # A key file that others can read is refused.
    os.chmod(site.second.key, 0o644)
    exposed = site.connect(server, site.second, "exposed-home", code=4)
    os.chmod(site.second.key, 0o600)
    assert "other users can read" in exposed.stderr
    # A home with a key store is not connected.
    files[1] = str(site.root)
    site.run("keys", "connect", url, *files, home="home", code=2)
