"""Key stores created by the command, read by the independent reader with a passphrase and with a random key."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag

import key_store
from strict_cbor import SealedError

PASSPHRASE = b"correct horse battery"


class Home:
    """A key store, and the arguments to use it with the command."""

    def __init__(self, work: Path, kind: str) -> None:
        self.work, self.database, self.files = work, work / "home" / "keys.db", (work / "secret",)
        if kind == "passphrase":
            (work / "secret").write_bytes(PASSPHRASE)
            self.ok("keys", "init")
        else:
            self.ok("keys", "init", "--random-key")
        self.use(work / "secret")

    def use(self, *files: Path) -> None:
        """Unlock the key store with the secrets in these files from now on."""
        self.files = files
        self.secrets = [path.read_bytes().removesuffix(b"\n") for path in files]

    @property
    def secret(self) -> bytes:
        return self.secrets[0]

    def read(self) -> list[key_store.Record]:
        return key_store.read(self.database, *self.secrets)

    def ok(self, *arguments: str | Path) -> str:
        given = [word for path in self.files for word in ("--passphrase-file", path)]
        command = [str(Path(os.environ["CASEMATE_BIN"]).resolve()), "--home", "home", *given]
        done = subprocess.run([*command, *arguments], cwd=self.work, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def change(self, sql: str) -> None:
        connection = sqlite3.connect(self.database)
        assert connection.execute(sql).rowcount > 0
        connection.commit()
        connection.close()


@pytest.fixture(params=["passphrase", "random key"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Home:
    """Return a key store with a signing key, a KEM key, and another party's public key."""
    (tmp_path / "vendor").mkdir()
    vendor = Home(tmp_path / "vendor", "random key")
    vendor.ok("keys", "generate", "--name", "vendor", "--kind", "sign")
    vendor.ok("keys", "export", "vendor", "-o", tmp_path / "vendor.pub")
    home = Home(tmp_path, request.param)
    home.ok("keys", "generate", "--name", "reader", "--kind", "kem")
    home.ok("keys", "generate", "--name", "publisher", "--kind", "sign")
    home.ok("keys", "import", "vendor.pub", "--name", "vendor")
    return home


def test_the_reader_finds_what_the_command_lists(home: Home) -> None:
    records = {record.name: record for record in key_store.read(home.database, home.secret)}
    listed = {key["name"]: key for key in json.loads(home.ok("keys", "list", "--json"))["keys"]}
    assert sorted(records) == sorted(listed) == ["publisher", "reader", "vendor"]
    for name, record in records.items():
        assert record.key_id.hex() == listed[name]["id"]
        assert record.role == (2 if name == "vendor" else 1)
    assert records["vendor"].public == (home.work / "vendor.pub").read_bytes()
    assert records["vendor"].pem is None
    # The private halves are usable: the command signs with the key that the reader found.
    (home.work / "publisher.pem").write_bytes(records["publisher"].pem)
    (home.work / "publisher.pem").chmod(0o600)
    exported = home.ok("keys", "export", "publisher")
    (home.work / "again").mkdir()
    again = Home(home.work / "again", "random key")
    again.ok("keys", "import", home.work / "publisher.pem", "--name", "publisher")
    assert again.ok("keys", "export", "publisher") == exported


def test_the_reader_finds_how_a_key_ended(home: Home) -> None:
    day = 86400
    home.ok("keys", "retire", "vendor", "--superseded=1970-01-11", "--valid-from", "1970-01-02", "--valid-until", "1970-01-21")
    home.ok("keys", "retire", "publisher", "--compromised")
    records = {record.name: record for record in key_store.read(home.database, home.secret)}
    assert records["vendor"].status == (day, 20 * day, (1, 10 * day), None)
    assert records["publisher"].status.end[0] == 2
    assert records["reader"].status == key_store.Status()


def test_the_reader_opens_a_store_with_a_new_secret(home: Home) -> None:
    old = home.secret
    before = {record.name: record.pem for record in key_store.read(home.database, old)}
    for more in ([], ["--compromised"]):
        new = home.work / f"new{len(more)}"
        home.ok("keys", "passwd", "--random-key", "--new-passphrase-file", new, *more)
        with pytest.raises((InvalidTag, LookupError)):
            key_store.read(home.database, home.secret)
        home.use(new)
        found = {record.name: record.pem for record in key_store.read(home.database, home.secret)}
        assert found == before


def test_the_reader_refuses_another_secret(home: Home) -> None:
    is_key = home.secret.startswith(key_store.PREFIX)
    other = key_store.PREFIX + b"A" * 43 if is_key else b"incorrect horse battery"
    with pytest.raises(InvalidTag):
        key_store.read(home.database, other)
    with pytest.raises(LookupError, match="no slot"):
        key_store.read(home.database, PASSPHRASE if is_key else key_store.PREFIX + b"A" * 43)


def test_the_reader_finds_versions_and_their_states(home: Home) -> None:
    home.ok("keys", "rotate", "reader")
    home.ok("keys", "rotate", "reader", "--stage")
    home.ok("keys", "rotate", "publisher")
    home.ok("keys", "disable", "reader@1")
    found = {(record.name, record.version): record for record in home.read()}
    states = {key: record.state for key, record in found.items()}
    assert states == {
        ("reader", 1): 4, ("reader", 2): 2, ("reader", 3): 1,
        ("publisher", 1): 3, ("publisher", 2): 2, ("vendor", 1): 2,
    }  # fmt: skip
    assert found["publisher", 2].status.successor_of == found["publisher", 1].key_id
    assert found["publisher", 1].status.end[0] == 1
    home.ok("keys", "destroy", "reader@1", "--yes")
    assert ("reader", 1) not in {(record.name, record.version) for record in home.read()}


def test_the_reader_opens_slots_and_any_two_of_three_zones(home: Home, tmp_path: Path) -> None:
    expected = home.read()
    recovery, zones = tmp_path / "recovery.pem", [tmp_path / f"zone{number}" for number in range(3)]
    home.ok("keys", "slots", "add", "recovery", "--recovery-key", recovery)
    home.ok("keys", "slots", "add", "zone0", "--random-key", zones[0])
    home.ok("keys", "slots", "add", "zone1", "--recovery-key", zones[1])
    zones[2].write_bytes(b"horse of zone 2")
    zones[2].chmod(0o600)
    home.ok("keys", "slots", "add", "zone2", "--new-passphrase-file", zones[2])
    home.ok("keys", "slots", "group", "zones", "--threshold", "2", "zone0", "zone1", "zone2")
    for files in [(recovery,), (zones[0], zones[1]), (zones[2], zones[0]), (zones[1], zones[2])]:
        home.use(*files)
        assert home.read() == expected
        assert len(json.loads(home.ok("keys", "list", "--json"))["keys"]) == 3
    for file in zones:
        home.use(file)
        with pytest.raises((InvalidTag, LookupError)):
            home.read()
        with pytest.raises(AssertionError, match="needs 2 of its 3 slots, and 1 opened"):
            home.ok("keys", "list")


def test_the_reader_walks_a_tree_with_branches(home: Home) -> None:
    # 3 keys and 34 names and keys make more rows than one leaf holds.
    for number in range(17):
        home.ok("keys", "generate", "--name", f"key-{number}", "--kind", "kem")
    assert len(home.read()) == 20
    for number in range(17):
        home.ok("keys", "remove", f"key-{number}", "--destroy")
    assert len(home.read()) == 3


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE meta SET value = CAST(x'00' || substr(value, 2) AS BLOB) WHERE key = 'index'",
        "UPDATE meta SET value = CAST(substr(value, 1, length(value) - 1) || x'00' AS BLOB) WHERE key = 'index'",
        "DELETE FROM rows WHERE id = (SELECT min(id) FROM rows)",
        "UPDATE rows SET value = (SELECT value FROM rows ORDER BY id LIMIT 1)",
    ],
)
def test_reader_and_command_refuse_a_changed_store(home: Home, sql: str) -> None:
    home.change(sql)
    with pytest.raises(SealedError):
        key_store.read(home.database, home.secret)
    with pytest.raises(AssertionError):
        home.ok("keys", "list")


def test_the_command_mends_nodes_that_the_reader_refuses(home: Home) -> None:
    home.change("UPDATE nodes SET value = CAST(substr(value, 1, length(value) - 1) || x'00' AS BLOB)")
    with pytest.raises(SealedError):
        home.read()
    home.ok("keys", "generate", "--name", "more", "--kind", "kem")
    assert len(home.read()) == 4
