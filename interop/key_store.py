"""An independent reader of key stores (`spec/key-store.md`), over PyCA's primitives."""

from __future__ import annotations

import base64
import hashlib
import hmac
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

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
    """The content of a record."""

    key_id: bytes
    role: int
    name: str
    created: int
    pem: bytes
    status: Status


def hkdf(store_id: bytes, secret: bytes, info: bytes, length: int) -> bytes:
    return HKDF(SHA384(), length, store_id, info).derive(secret)


def uint(value: int) -> bytes:
    """Encode a CBOR unsigned integer."""
    if value < 24:
        return bytes([value])
    width = next(width for width in (1, 2, 4, 8) if value < 1 << 8 * width)
    return bytes([24 + width.bit_length() - 1]) + value.to_bytes(width)


def of(cursor: Cursor, key: int, major: int) -> int:
    """Return the argument of the value of `key` in a map."""
    need(cursor.uint() == key, f"the map's key {key} is missing")
    return cursor.argument(major)


def root_key(header: bytes, secret: bytes) -> tuple[bytes, bytes]:
    """Return the store id and the root key (section 2)."""
    cursor = Cursor(header)
    need(cursor.argument(5) == 5, "a header has five entries")
    need(of(cursor, 0, 0) == 1, "version 1", "version")
    store_id = cursor.take(of(cursor, 1, 2))
    of(cursor, 2, 0)
    wrapped = [slot(cursor) for _ in range(of(cursor, 3, 4))]
    commitment = cursor.take(of(cursor, 4, 2))
    for parameters, nonce, ciphertext in wrapped:
        key = wrapping_key(parameters, store_id, secret)
        if key is not None:
            encoded = bytes([0x80 | (1 if parameters[0] == 2 else 5)]) + b"".join(
                bytes([0x40 | len(item)]) + item if isinstance(item, bytes) else uint(item) for item in parameters
            )
            root = AESGCM(key).decrypt(nonce, ciphertext, store_id + encoded)
            need(hkdf(store_id, root, b"casemate/v1/store-commitment", 32) == commitment, "another root key", "rejected")
            return store_id, root
    raise LookupError("no slot for this kind of secret")


def slot(cursor: Cursor) -> tuple[list[int | bytes], bytes, bytes]:
    """Return the first elements of a slot, its nonce, and the wrapped key."""
    elements, kind = cursor.argument(4), cursor.uint()
    parameters: list[int | bytes] = [kind]
    if kind == 1:
        parameters += [cursor.take(cursor.argument(2)), cursor.uint(), cursor.uint(), cursor.uint()]
    need((kind, elements) in [(1, 7), (2, 3)], "unknown kind of slot")
    return parameters, cursor.take(cursor.argument(2)), cursor.take(cursor.argument(2))


def wrapping_key(parameters: list[int | bytes], store_id: bytes, secret: bytes) -> bytes | None:
    """Return the key of a slot, or None if the slot is for the other kind of secret."""
    if secret.startswith(PREFIX) != (parameters[0] == 2):
        return None
    if secret.startswith(PREFIX):
        store_key = base64.urlsafe_b64decode(secret[len(PREFIX) :] + b"=")
        return hkdf(store_id, store_key, b"casemate/v1/store-key-slot", 32)
    _, salt, memory, passes, lanes = parameters
    return Argon2id(salt=salt, length=32, iterations=passes, lanes=lanes, memory_cost=memory).derive(secret)


def read(database: Path, secret: bytes) -> list[Record]:
    """Verify the index and decrypt every record in it (sections 3 and 4)."""
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        meta = dict(connection.execute("SELECT key, value FROM meta"))
        stored = dict(connection.execute("SELECT id, value FROM records"))
    store_id, root = root_key(meta["header"], secret)
    cursor = Cursor(meta["index"])
    need(cursor.argument(5) == 3, "an index has three entries")
    generation = of(cursor, 0, 0)
    listed = []
    for _ in range(of(cursor, 1, 4)):
        need(cursor.argument(4) == 3, "an entry has three elements")
        listed.append((cursor.take(cursor.argument(2)), cursor.uint(), cursor.take(cursor.argument(2))))
    # The map without key 2, whose value is at the end.
    untagged = b"\xa2" + meta["index"][1 : cursor.at]
    tag = cursor.take(of(cursor, 2, 2))
    key = hkdf(store_id, root, b"casemate/v1/store-index", 48)
    need(hmac.digest(key, hashlib.sha384(meta["header"]).digest() + untagged, "sha384") == tag, "the index was changed", "rejected")
    need(generation == int.from_bytes(meta["generation"]), "another generation", "rejected")
    need(sorted(stored) == [record for record, _, _ in listed], "records are missing or not listed", "rejected")
    return [record(store_id, root, stored[identity], identity, written, digest) for identity, written, digest in listed]


def record(store_id: bytes, root: bytes, sealed: bytes, identity: bytes, written: int, digest: bytes) -> Record:
    need(hashlib.sha384(sealed).digest() == digest, "a record was changed", "rejected")
    about = identity + written.to_bytes(8)
    key = hkdf(store_id, root, b"casemate/v1/store-record\0" + about, 32)
    plain = AESGCM(key).decrypt(sealed[:12], sealed[12:], b"casemate/v1/store-record\0" + store_id + about)
    cursor = Cursor(plain)
    entries = cursor.argument(5)
    need(entries in (3, 4), "a record has three or four entries")
    name = cursor.take(of(cursor, 0, 3)).decode()
    created = of(cursor, 1, 0)
    pem = cursor.take(of(cursor, 2, 2))
    return Record(identity[:32], identity[32], name, created, pem, status(cursor) if entries == 4 else Status())


def status(cursor: Cursor) -> Status:
    """Return the status of a key (section 3.1)."""
    need(of(cursor, 3, 4) == 4, "a status has four elements")

    def optional(read: Callable[[], T]) -> T | None:
        if cursor.data[cursor.at] == 0xF6:
            cursor.at += 1
            return None
        return read()

    def end() -> tuple[int, int]:
        need(cursor.argument(4) == 2, "an end has two elements")
        return cursor.uint(), cursor.uint()

    return Status(
        optional(cursor.uint), optional(cursor.uint), optional(end), optional(lambda: cursor.take(cursor.argument(2)))
    )
