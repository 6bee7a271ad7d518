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
        self.work, self.database, self.file = work, work / "home" / "keys.db", work / "secret"
        if kind == "passphrase":
            (work / "secret").write_bytes(PASSPHRASE)
            self.ok("keys", "init")
        else:
            self.ok("keys", "init", "--random-key")
        self.use(work / "secret")

    def use(self, secret: Path) -> None:
        """Unlock the key store with the secret in this file from now on."""
        self.file, self.secret = secret, secret.read_bytes().removesuffix(b"\n")

    def ok(self, *arguments: str | Path) -> str:
        command = [str(Path(os.environ["CASEMATE_BIN"]).resolve()), "--home", "home", "--passphrase-file", self.file]
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
    assert records["vendor"].pem == (home.work / "vendor.pub").read_bytes()
    # The private halves are usable: the command signs with the key that the reader found.
    (home.work / "publisher.pem").write_bytes(records["publisher"].pem)
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


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE meta SET value = CAST(x'00' || substr(value, 2) AS BLOB) WHERE key = 'index'",
        "UPDATE meta SET value = CAST(substr(value, 1, length(value) - 1) || x'00' AS BLOB) WHERE key = 'index'",
        "DELETE FROM records WHERE id = (SELECT min(id) FROM records)",
        "UPDATE records SET value = (SELECT value FROM records ORDER BY id LIMIT 1)",
    ],
)
def test_reader_and_command_refuse_a_changed_store(home: Home, sql: str) -> None:
    home.change(sql)
    with pytest.raises(SealedError):
        key_store.read(home.database, home.secret)
    with pytest.raises(AssertionError):
        home.ok("keys", "list")
