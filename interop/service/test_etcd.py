"""A key store in a real etcd of three members: failures, conflicts, large changes and tampering."""

from __future__ import annotations

import base64
import http.server
import json
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Callable

import pytest

from key_service import BINARY, Site, environment

ETCD, ETCDCTL = shutil.which("etcd"), shutil.which("etcdctl")
pytestmark = pytest.mark.skipif(ETCD is None or ETCDCTL is None, reason="etcd is not installed (Debian: etcd-server, etcd-client)")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Cluster:
    def __init__(self, folder: Path, members: int = 3) -> None:
        self.folder = folder
        self.clients = [free_port() for _ in range(members)]
        peers = [free_port() for _ in range(members)]
        initial = ",".join(f"n{n}=http://127.0.0.1:{port}" for n, port in enumerate(peers))
        self.commands = [
            [
                ETCD,
                *("--name", f"n{n}", "--data-dir", str(folder / f"d{n}"), "--log-level", "error"),
                *("--listen-client-urls", f"http://127.0.0.1:{client}", "--advertise-client-urls", f"http://127.0.0.1:{client}"),
                *("--listen-peer-urls", f"http://127.0.0.1:{peer}", "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}"),
                *("--initial-cluster", initial),
            ]
            for n, (client, peer) in enumerate(zip(self.clients, peers))
        ]
        self.running: dict[int, subprocess.Popen] = {}
        for n in range(members):
            self.start(n)
        self.ready()

    @property
    def endpoints(self) -> list[str]:
        return [f"http://127.0.0.1:{port}" for port in self.clients]

    def start(self, n: int) -> None:
        log = (self.folder / f"etcd{n}.log").open("ab")
        self.running[n] = subprocess.Popen(self.commands[n], stdout=log, stderr=log)

    def kill(self, n: int) -> None:
        self.running[n].kill()
        self.running.pop(n).wait()

    def ctl(self, *arguments: str, data: bytes | None = None) -> bytes:
        command = [ETCDCTL, "--endpoints", ",".join(self.endpoints), *arguments]
        done = subprocess.run(command, input=data, capture_output=True, timeout=60, env=environment(ETCDCTL_API="3"))
        assert done.returncode == 0, done.stderr
        return done.stdout

    def ready(self) -> None:
        end = time.monotonic() + 30
        while time.monotonic() < end:
            done = subprocess.run(
                [ETCDCTL, "--endpoints", ",".join(self.endpoints), "endpoint", "status", "-w", "json"], capture_output=True, env=environment(ETCDCTL_API="3")
            )
            if done.returncode == 0 and all(one["Status"].get("leader") for one in json.loads(done.stdout)):
                return
            time.sleep(0.1)
        raise AssertionError("etcd has no leader")

    def leader(self) -> int:
        status = json.loads(self.ctl("endpoint", "status", "-w", "json"))
        leader = status[0]["Status"]["leader"]
        endpoint = next(one["Endpoint"] for one in status if one["Status"]["header"]["member_id"] == leader)
        return self.endpoints.index(endpoint)

    def stop(self) -> None:
        for n in list(self.running):
            self.kill(n)


@pytest.fixture
def cluster(tmp_path: Path):
    cluster = Cluster(tmp_path)
    yield cluster
    cluster.stop()


@pytest.fixture
def site(tmp_path: Path, cluster: Cluster) -> Site:
    site = Site(tmp_path)
    home(site, cluster, "home")
    site.create()
    return site


def home(site: Site, cluster: Cluster, name: str, prefix: str = "casemate/") -> None:
    (site.folder / name).mkdir()
    text = f"endpoints = {json.dumps(cluster.endpoints)}\nprefix = {json.dumps(prefix)}\n"
    (site.folder / name / "etcd.toml").write_text(text)


def names(site: Site, home: str = "home") -> list[str]:
    keys = json.loads(site.run("--json", "keys", "list", home=home).stdout)["keys"]
    return [f"{key['name']}@{key['version']} {key['id']}" for key in keys]


def test_a_store_survives_the_loss_of_the_leader_and_a_minority_refuses(site: Site, cluster: Cluster) -> None:
    before = names(site)
    gone = cluster.leader()
    cluster.kill(gone)
    started = time.monotonic()
    done = None
    while done is None or (done.returncode and time.monotonic() < started + 20):
        done = site.run("keys", "rotate", "models", code=None)
    assert done.returncode == 0, done.stderr
    assert len(names(site)) == len(before) + 1
    # Another one: what is left is a minority, which neither reads nor writes.
    other = next(n for n in cluster.running)
    cluster.kill(other)
    for command in (["keys", "list"], ["keys", "rotate", "models"]):
        refused = site.run(*command, code=3)
        assert "etcd" in refused.stderr
    cluster.start(other)
    cluster.start(gone)
    cluster.ready()
    assert len(names(site)) == len(before) + 1
    site.run("keys", "audit", "verify", "--keys", "log.keys")


def test_two_writers_lose_nothing(site: Site, cluster: Cluster) -> None:
    failed = []

    def write(name: str) -> None:
        for number in range(10):
            done = site.run("keys", "generate", "--name", f"{name}{number}", "--kind", "kem", "--suite", "mlkem768-x25519", code=None)
            if done.returncode:
                failed.append(done.stderr)

    threads = [threading.Thread(target=write, args=(name,)) for name in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    found = {one.split("@")[0] for one in names(site)}
    assert {f"{name}{number}" for name in "abc" for number in range(10)} <= found
    site.run("keys", "audit", "verify", "--keys", "log.keys")


class Losing(http.server.BaseHTTPRequestHandler):
    """Forwards to a member, and loses the answer to one request."""

    member, lose, seen = "", -1, 0
    meanwhile: list[Callable[[], object]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        cls = type(self)
        is_lost = cls.seen == cls.lose
        cls.seen += 1
        try:
            answer = urllib.request.urlopen(urllib.request.Request(cls.member + self.path, data=body, method="POST")).read()
            status = 200
        except urllib.error.HTTPError as error:
            answer, status = error.read(), error.code
        if is_lost:
            for work in cls.meanwhile:
                work()
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("others", [False, True])
def test_a_lost_answer_is_looked_for(site: Site, cluster: Cluster, others: bool) -> None:
    proxy = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Losing)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    (site.folder / "lossy").mkdir()
    (site.folder / "lossy" / "etcd.toml").write_text(f'endpoints = ["http://127.0.0.1:{proxy.server_address[1]}"]\n')
    Losing.member, Losing.lose, Losing.seen = cluster.endpoints[0], -1, 0
    # Others write while the answer is lost, so that the change is no longer the newest one.
    Losing.meanwhile = [lambda: site.run("keys", "rotate", "publisher")] if others else []
    site.run("keys", "rotate", "models", home="lossy")
    requests = Losing.seen
    assert requests > 5
    for lose in range(requests):
        before = len([name for name in names(site) if name.startswith("models@")])
        Losing.lose, Losing.seen = lose, 0
        done = site.run("keys", "rotate", "models", home="lossy", code=None)
        after = len([name for name in names(site) if name.startswith("models@")])
        # What is said to be done was done once, and what was refused was not done.
        assert done.returncode == 0 and after == before + 1, (lose, before, after, done)
    site.run("keys", "audit", "verify", "--keys", "log.keys")
    proxy.shutdown()


def test_a_large_change_is_made_as_a_whole(site: Site, cluster: Cluster) -> None:
    # More than 100 values: a new root key rewrites every row.
    for number in range(60):
        site.run("keys", "generate", "--name", f"k{number}", "--kind", "kem", "--suite", "mlkem768-x25519")
    before = names(site)
    (site.folder / "new").write_text("another passphrase\n")
    secrets = {"passphrase": "passphrase", "new": "new"}

    def opened() -> str:
        for file in secrets:
            command = [BINARY, "--home", "home", "--passphrase-file", file, "keys", "list"]
            done = subprocess.run(command, cwd=site.folder, capture_output=True, text=True, env=environment())
            if done.returncode == 0:
                return file
            assert done.returncode == 4, done.stderr
        raise AssertionError("neither passphrase opens it")

    # Killed at any time, the store is as it was before or after.
    seen = set()
    for delay in (0.05, 0.15, 0.18, 0.2, 0.22, 0.24, 0.26, 0.3, 3.0):
        old = opened()
        new = "new" if old == "passphrase" else "passphrase"
        command = [BINARY, "--home", "home", "--passphrase-file", old, "keys", "passwd", "--compromised", "--new-passphrase-file", new]
        process = subprocess.Popen(command, cwd=site.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment())
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        now = opened()
        seen.add(now == new)
        command = [BINARY, "--home", "home", "--passphrase-file", now, "--json", "keys", "list"]
        listed = json.loads(subprocess.run(command, cwd=site.folder, capture_output=True, env=environment(), check=True).stdout)
        assert [f"{key['name']}@{key['version']} {key['id']}" for key in listed["keys"]] == before and not listed["damage"]
    assert True in seen
    command = [BINARY, "--home", "home", "--passphrase-file", opened(), "keys", "audit", "verify", "--keys", "log.keys"]
    subprocess.run(command, cwd=site.folder, check=True, capture_output=True, env=environment())


def test_what_someone_changes_in_etcd_is_named(site: Site, cluster: Cluster) -> None:
    site.run("keys", "generate", "--name", "third", "--kind", "kem", "--suite", "mlkem768-x25519")
    site.run("keys", "generate", "--name", "fourth", "--kind", "kem", "--suite", "mlkem768-x25519")
    whole = json.loads(cluster.ctl("get", "--prefix", "casemate/", "-w", "json"))["kvs"]
    pairs = {base64.b64decode(one["key"]): base64.b64decode(one["value"]) for one in whole}

    def put(key: bytes, value: bytes) -> None:
        # etcdctl takes text only, so the JSON gateway is used as the program does.
        body = json.dumps({"key": base64.b64encode(key).decode(), "value": base64.b64encode(value).decode()}).encode()
        urllib.request.urlopen(f"{cluster.endpoints[0]}/v3/kv/put", data=body).read()

    rows = [key for key in pairs if key.startswith(b"casemate/r")]
    assert len(rows) > 6
    for key in rows[:4]:
        put(key, pairs[key][:-1] + bytes([pairs[key][-1] ^ 1]))
        done = site.run("keys", "list", code=1)
        assert "error" in done.stderr and "damaged" in done.stderr, done.stderr
        put(key, pairs[key])
    # One row in the place of another, and an old one.
    put(rows[0], pairs[rows[1]])
    site.run("keys", "list", code=1)
    put(rows[0], pairs[rows[0]])
    for name, value in ((b"i", pairs[b"casemate/i"][:-1] + b"\0"), (b"h", pairs[b"casemate/h"][:-1]), (b"g", b"short"), (b"g", bytes(28))):
        put(b"casemate/" + name, value)
        done = site.run("keys", "list", code=None)
        assert done.returncode in (1, 3, 4) and "panicked" not in done.stderr, done
        put(b"casemate/" + name, pairs[b"casemate/" + name])
    # A stage that is not there.
    generation = pairs[b"casemate/g"][:8]
    put(b"casemate/g", generation + (1).to_bytes(4) + bytes(16))
    assert "a part of its last change is missing" in site.run("keys", "list", code=1).stderr
    put(b"casemate/g", pairs[b"casemate/g"])
    site.run("keys", "list")


def test_a_backup_moves_into_etcd_and_out_of_it(site: Site, cluster: Cluster) -> None:
    site.run("keys", "rotate", "models")
    site.run("keys", "backup", "b.db")
    home(site, cluster, "other", "other/")
    site.run("keys", "restore", "b.db", home="other")
    assert names(site, "other") == names(site)
    assert "already exists" in site.run("keys", "restore", "b.db", home="other", code=2).stderr
    assert "already exists" in site.run("keys", "init", home="other", code=2).stderr
    site.run("keys", "restore", "b.db", home="file-home")
    assert names(site, "file-home") == names(site)
    # Two stores in one home would be a guess.
    shutil.copy(site.folder / "file-home" / "keys.db", site.folder / "other" / "keys.db")
    assert "more than one of" in site.run("keys", "list", home="other", code=2).stderr


def test_nodes_of_a_service_share_a_store(site: Site, cluster: Cluster) -> None:
    with site.serve() as one, site.serve() as two:
        first, other = site.api(one, site.admin), site.api(two, site.admin)
        made = first.post("/v1/data-keys", {"name": "models", "context": "a"}).json
        body = {"wrapped": made["wrapped"], "context": "a"}
        for api in (first, other):
            assert api.post("/v1/data-keys/unwrap", body).json == {"plaintext": made["plaintext"]}
        assert first.post("/v1/keys/models/rotate", {}).status == 200
        assert first.post("/v1/keys/models/versions/1/state", {"state": "disabled"}).status == 200
        # The other node has the key in memory, and opens nothing with it from that moment.
        for api in (other, first):
            assert api.post("/v1/data-keys/unwrap", body).status == 403
        # A node is killed; the other goes on, and nothing that was acknowledged is missing.
        two.stop(signal.SIGKILL)
        assert first.post("/v1/keys/models/versions/1/state", {"state": "decrypt-only"}).status == 200
        assert first.post("/v1/data-keys/unwrap", body).status == 200
        # Without a majority a use is refused: nobody could know whether the key may still be used.
        for n in list(cluster.running)[:2]:
            cluster.kill(n)
        refused = first.post("/v1/data-keys/unwrap", body)
        assert refused.status == 503 and "nothing was done" in refused.json["detail"], refused


def test_every_command_of_the_guide_does_what_it_says(cluster: Cluster, tmp_path: Path) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "three-zones.md").read_text()
    blocks = [part.split("```", 1)[0] for part in guide.split("```sh\n")[1:]]
    script = "set -eu\n" + "\n".join(blocks)
    for given, endpoint in zip(("http://127.0.0.1:2379", "http://127.0.0.1:22379", "http://127.0.0.1:32379"), cluster.endpoints):
        assert given in script
        script = script.replace(f'"{given}"', f'"{endpoint}"')
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "casemate").symlink_to(BINARY)
    work = tmp_path / "work"
    work.mkdir()
    path = f"{tmp_path / 'bin'}:{environment()['PATH']}"
    done = subprocess.run(["bash", "-c", script], cwd=work, env=environment(PATH=path), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "models@2" in done.stdout
