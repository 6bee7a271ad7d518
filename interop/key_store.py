"""An independent reader of key stores (`spec/key-store.md`), over PyCA's primitives."""

from __future__ import annotations

import base64
import hashlib
import hmac
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

import aggregate
from standards import KEMS, spki
from strict_cbor import Cursor, need

PREFIX = b"casemate-store-key-1:"
T = TypeVar("T")


class Status(NamedTuple):
    """The validity of a key, how it ended, and the key that vouches for it."""

    valid_from: int | None = None
    valid_until: int | None = None
    end: tuple[int, int] | None = None
    successor_of: bytes | None = None


class Record(NamedTuple):
    """A version of a key."""

    key_id: bytes
    role: int
    name: str
    version: int
    state: int
    created: int
    public: bytes
    pem: bytes | None
    status: Status


class Slot(NamedTuple):
    """A slot (section 2.1): its encoded parameters, and what they mean."""

    name: str
    parameters: bytes
    kind: int
    method: list[int | bytes | str]
    group: str | None
    share: int
    nonce: bytes
    wrapped: bytes
    kept: bytes


class Group(NamedTuple):
    """A group (section 2.2)."""

    name: str
    threshold: int
    sharing: bytes
    parameters: bytes
    nonce: bytes
    wrapped: bytes


def label(text: str, suffix: bytes) -> bytes:
    return text.encode() + b"\0" + suffix


def hkdf(store_id: bytes, secret: bytes, info: bytes, length: int) -> bytes:
    return HKDF(SHA384(), length, store_id, info).derive(secret)


def of(cursor: Cursor, key: int, major: int) -> int:
    """Return the argument of the value of `key` in a map."""
    need(cursor.uint() == key, f"the map's key {key} is missing")
    return cursor.argument(major)


def data(cursor: Cursor) -> bytes:
    return cursor.take(cursor.argument(2))


def text(cursor: Cursor) -> str:
    return cursor.take(cursor.argument(3)).decode()


def optional(cursor: Cursor, read: Callable[[], T]) -> T | None:
    if cursor.data[cursor.at] == 0xF6:
        cursor.at += 1
        return None
    return read()


class Header(NamedTuple):
    """A header (section 2)."""

    store_id: bytes
    groups: dict[str, Group]
    slots: dict[str, Slot]
    commitment: bytes

    @classmethod
    def read(cls, encoded: bytes) -> Header:
        cursor = Cursor(encoded)
        need(cursor.argument(5) == 6, "a header has six entries")
        need(of(cursor, 0, 0) == 2, "version 2", "version")
        store_id = cursor.take(of(cursor, 1, 2))
        of(cursor, 2, 0)
        groups = [read_group(cursor) for _ in range(of(cursor, 3, 4))]
        slots = [read_slot(cursor) for _ in range(of(cursor, 4, 4))]
        commitment = cursor.take(of(cursor, 5, 2))
        need(cursor.at == len(encoded), "bytes follow the header")
        return cls(store_id, {one.name: one for one in groups}, {one.name: one for one in slots}, commitment)


def read_group(cursor: Cursor) -> Group:
    cursor.array(5, "a group")
    start = cursor.at
    name, threshold, sharing = text(cursor), cursor.uint(), data(cursor)
    parameters = b"\x83" + cursor.data[start : cursor.at]
    return Group(name, threshold, sharing, parameters, data(cursor), data(cursor))


def read_slot(cursor: Cursor) -> Slot:
    cursor.array(7, "a slot")
    start = cursor.at
    name = text(cursor)
    cursor.uint()
    elements, kind = cursor.argument(4), cursor.uint()
    method: list[int | bytes | str] = []
    if kind == 1:
        method = [data(cursor), cursor.uint(), cursor.uint(), cursor.uint()]
    elif kind == 2:
        method = [data(cursor)]
    elif kind == 3:
        method = [data(cursor), data(cursor), data(cursor)]
    elif kind in range(4, 10):
        method = [text(cursor), data(cursor)]
    need(elements == len(method) + 1 and kind in range(1, 10), "unknown kind of slot")
    group, share = None, 0
    if cursor.data[cursor.at] == 0xF6:
        cursor.at += 1
    else:
        cursor.array(2, "a membership")
        group, share = text(cursor), cursor.uint()
    parameters = b"\x84" + cursor.data[start : cursor.at]
    return Slot(name, parameters, kind, method, group, share, data(cursor), data(cursor), data(cursor))


def slot_key(header: Header, slot: Slot, secret: bytes) -> bytes | None:
    """Return the slot key that a secret gives, or None if the slot is for another kind of secret."""
    if secret.startswith(PREFIX):
        store_key = base64.urlsafe_b64decode(secret[len(PREFIX) :] + b"=")
        if slot.kind == 2:
            return HKDF(SHA384(), 32, slot.method[0], b"casemate/v2/store-key-slot").derive(store_key)
        # An age file contains a store key that is the slot key.
        return store_key if slot.kind == 4 else None
    if secret.startswith(b"-----BEGIN"):
        if slot.kind != 3:
            return None
        key_id, enc, sealed = slot.method
        kem, seed, scalar = next((k, *pair) for k in KEMS.values() if (pair := k.private(secret)))
        if hashlib.sha256(spki(kem.oid, kem.public(seed, scalar))).digest() != key_id:
            return None
        info = label("casemate/v2/store-slot-key", header.store_id + slot.name.encode())
        return kem.open_base(seed, scalar, enc, info, sealed)
    if slot.kind != 1:
        return None
    salt, memory, passes, lanes = slot.method
    return Argon2id(salt=salt, length=32, iterations=passes, lanes=lanes, memory_cost=memory).derive(secret)


def open_slot(header: Header, slot: Slot, key: bytes) -> bytes:
    """Return the payload of a slot."""
    sharing = header.groups[slot.group].sharing if slot.group else b""
    aad = label("casemate/v2/store-slot", header.store_id + slot.parameters + sharing)
    wrapping = hkdf(header.store_id, key, b"casemate/v2/store-slot", 32)
    return AESGCM(wrapping).decrypt(slot.nonce, slot.wrapped, aad)


def root_key(header: Header, secrets: Iterable[bytes]) -> bytes:
    """Return the root key that these secrets give (section 2)."""
    shares: dict[str, dict[int, bytes]] = {name: {} for name in header.groups}
    failed: Exception = LookupError("no slot for this kind of secret")
    for slot in header.slots.values():
        for secret in secrets:
            key = slot_key(header, slot, secret)
            if key is None:
                continue
            try:
                payload = open_slot(header, slot, key)
            except InvalidTag as error:
                failed = error
                continue
            if slot.group is None:
                return committed(header, payload, slot, key)
            shares[slot.group][slot.share] = payload
    for group in header.groups.values():
        if len(shares[group.name]) >= group.threshold:
            group_key = aggregate.combine(shares[group.name])
            wrapping = hkdf(header.store_id, group_key, b"casemate/v2/store-group", 32)
            aad = label("casemate/v2/store-group", header.store_id + group.parameters)
            return committed(header, AESGCM(wrapping).decrypt(group.nonce, group.wrapped, aad))
    raise failed


def committed(header: Header, root: bytes, slot: Slot | None = None, key: bytes = b"") -> bytes:
    """Check the commitment, and what is kept of the slot key."""
    commitment = hkdf(header.store_id, root, b"casemate/v1/store-commitment", 32)
    need(commitment == header.commitment, "another root key", "rejected")
    if slot:
        wrapping = hkdf(header.store_id, root, b"casemate/v2/store-slot-kept", 32)
        aad = label("casemate/v2/store-slot-kept", header.store_id + slot.name.encode())
        need(AESGCM(wrapping).decrypt(slot.kept[:12], slot.kept[12:], aad) == key, "another slot key", "rejected")
    return root


def nibbles(row: bytes) -> bytes:
    return bytes(half for byte in row for half in (byte >> 4, byte & 15))


def walk(nodes: dict[bytes, bytes], path: bytes, rows: int, digest: bytes) -> list[tuple[bytes, int, bytes]]:
    """Return the rows that the tree lists below a node, and take its nodes out (section 4.1)."""
    encoded = nodes.pop(path)
    is_leaf = rows <= 32
    domain = "casemate/v2/store-leaf" if is_leaf else "casemate/v2/store-branch"
    need(hashlib.sha384(label(domain, encoded)).digest() == digest, "a node was changed", "rejected")
    cursor, found = Cursor(encoded), []
    if is_leaf:
        for _ in range(cursor.argument(4)):
            cursor.array(3, "an entry")
            found.append((data(cursor), cursor.uint(), data(cursor)))
        need(all(nibbles(row)[: len(path)] == path for row, _, _ in found), "a row in the wrong leaf", "rejected")
    else:
        cursor.array(16, "a branch")
        for nibble in range(16):
            if cursor.data[cursor.at] == 0xF6:
                cursor.at += 1
                continue
            cursor.array(2, "a child")
            found += walk(nodes, path + bytes([nibble]), cursor.uint(), data(cursor))
    need(len(found) == rows, "another number of rows", "rejected")
    return found


def read(database: Path, *secrets: bytes) -> list[Record]:
    """Verify the index and decrypt every key in it (sections 3 and 4)."""
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        meta = dict(connection.execute("SELECT key, value FROM meta"))
        stored = dict(connection.execute("SELECT id, value FROM rows"))
        nodes = dict(connection.execute("SELECT path, value FROM nodes"))
        entries = dict(connection.execute("SELECT seq, value FROM entries"))
    header = Header.read(meta["header"])
    root = root_key(header, secrets)
    cursor = Cursor(meta["index"])
    need(cursor.argument(5) == 5, "an index has five entries")
    generation, rows, digest = of(cursor, 0, 0), of(cursor, 1, 0), cursor.take(of(cursor, 2, 2))
    need(cursor.uint() == 3, "the map's key 3 is missing")
    log = optional(cursor, lambda: frontier(cursor))
    # The map without key 4, whose value is at the end.
    untagged = b"\xa4" + meta["index"][1 : cursor.at]
    tag = cursor.take(of(cursor, 4, 2))
    key = hkdf(header.store_id, root, b"casemate/v1/store-index", 48)
    message = hashlib.sha384(meta["header"]).digest() + untagged
    need(hmac.digest(key, message, "sha384") == tag, "the index was changed", "rejected")
    need(generation == int.from_bytes(meta["generation"]), "another generation", "rejected")
    check_log(header, root, entries, log)
    listed = walk(nodes, b"", rows, digest) if rows else []
    need(not nodes, "nodes that nothing refers to", "rejected")
    need(sorted(stored) == [row for row, _, _ in listed], "rows are missing or not listed", "rejected")
    plain = {row: open_row(header, root, stored[row], row, written, digest) for row, written, digest in listed}
    names = [name(header, root, row, content) for row, content in plain.items() if row[32] == 3]
    states = {key: (of_name, version, state) for of_name, versions in names for version, key, state in versions}
    found = [record(row, content, states[row[:32]]) for row, content in plain.items() if row[32] in (1, 2)]
    return sorted(found, key=lambda one: (one.name, one.version))


def frontier(cursor: Cursor) -> tuple[int, list[bytes]]:
    """Return the number of entries of the log, and the roots of its perfect subtrees (section 4.3)."""
    cursor.array(2, "a log")
    return cursor.uint(), [data(cursor) for _ in range(cursor.argument(4))]


def check_log(header: Header, root: bytes, entries: dict[bytes, bytes], log: tuple[int, list[bytes]] | None) -> None:
    """Check the tag of every entry, and the subtrees of RFC 6962 that they make."""
    size, roots = log or (0, [])
    need(sorted(entries) == [number.to_bytes(8) for number in range(size)], "entries are missing", "rejected")
    key = hkdf(header.store_id, root, b"casemate/v2/store-entry", 48)
    leaves = []
    for number, value in sorted(entries.items()):
        need(hmac.digest(key, number + value[32:], "sha384")[:32] == value[:32], "an entry was changed", "rejected")
        leaves.append(hashlib.sha256(b"\0" + value[32:]).digest())
    found = []
    for bit in reversed(range(size.bit_length())):
        if size >> bit & 1:
            found.append(subtree(leaves[: 1 << bit]))
            leaves = leaves[1 << bit :]
    need(found == roots, "another log", "rejected")


def subtree(leaves: list[bytes]) -> bytes:
    """Return the root of a perfect subtree."""
    while len(leaves) > 1:
        pairs = zip(leaves[::2], leaves[1::2], strict=True)
        leaves = [hashlib.sha256(b"\1" + left + right).digest() for left, right in pairs]
    return leaves[0]


def open_row(header: Header, root: bytes, sealed: bytes, row: bytes, written: int, digest: bytes) -> bytes:
    need(hashlib.sha384(sealed).digest() == digest, "a row was changed", "rejected")
    need(sealed[:8] == written.to_bytes(8), "another generation", "rejected")
    about = row + sealed[:8]
    key = hkdf(header.store_id, root, label("casemate/v2/store-row", about), 32)
    return AESGCM(key).decrypt(sealed[8:20], sealed[20:], label("casemate/v2/store-row", header.store_id + about))


def name(header: Header, root: bytes, row: bytes, content: bytes) -> tuple[str, list[tuple[int, bytes, int]]]:
    """Return a name and its versions: number, key id and state (section 3.2)."""
    cursor = Cursor(content)
    need(cursor.argument(5) in (2, 3), "a name has two or three entries")
    named = cursor.take(of(cursor, 0, 3)).decode()
    key = hkdf(header.store_id, root, b"casemate/v2/store-name", 48)
    need(hmac.digest(key, named.encode(), "sha384")[:32] == row[:32], "the row of another name", "rejected")
    versions = []
    for _ in range(of(cursor, 1, 4)):
        cursor.array(5, "a version")
        number, key_id, _, state = cursor.uint(), data(cursor), cursor.uint(), cursor.uint()
        cursor.uint()
        if state != 5:
            versions.append((number, key_id, state))
    return named, versions


def record(row: bytes, content: bytes, listed: tuple[str, int, int]) -> Record:
    cursor = Cursor(content)
    entries, is_private = cursor.argument(5), row[32] == 1
    named = cursor.take(of(cursor, 0, 3)).decode()
    version, created = of(cursor, 1, 0), of(cursor, 2, 0)
    public = cursor.take(of(cursor, 3, 2))
    pem = cursor.take(of(cursor, 4, 2)) if is_private else None
    need((named, version) == listed[:2], "the key of another name", "rejected")
    known = status(cursor) if entries == (6 if is_private else 5) else Status()
    need(cursor.at == len(content), "bytes follow the record")
    return Record(row[:32], row[32], named, version, listed[2], created, public, pem, known)


def status(cursor: Cursor) -> Status:
    """Return the status of a key (section 3.1)."""
    need(of(cursor, 5, 4) == 4, "a status has four elements")

    def end() -> tuple[int, int]:
        need(cursor.argument(4) == 2, "an end has two elements")
        return cursor.uint(), cursor.uint()

    return Status(
        optional(cursor, cursor.uint), optional(cursor, cursor.uint), optional(cursor, end), optional(cursor, lambda: data(cursor))
    )
