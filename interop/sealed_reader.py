"""An independent reader of sealed artifacts, version 1, written only from `spec/sealed-artifact.md`.

Section numbers refer to that document. It shares no code with the Rust implementation: FLOE is implemented here, `strict_cbor.py` decodes CBOR, and
`standards.py` composes HPKE and the composite signatures.

    python sealed_reader.py FILE --signer PUB.pem --key PRIV.pem [--min-revision N] -o OUT
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import mmap
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from blake3 import blake3
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from standards import KEMS, SIGNATURES, Kem, pem_body, spki, unwrap
from strict_cbor import Cursor, SealedError, need

# Section 3.
MIN_SEGMENT, MAX_SEGMENT, MAX_SEGMENTS = 1 << 16, 1 << 24, 1 << 23
MAX_TAIL = (1 << 28) + (1 << 27)
MAX_HEADER, MAX_CONTENT_TYPE, MAX_RECIPIENTS = 1024, 255, 1024
MAX_PUBLISHER_PART, MAX_RECIPIENT_PART, MAX_SIGNATURE, MAX_SPKI, MAX_NAME = 1 << 20, 1024, 32768, 8192, 4096
FOOTER = 32
MAX_GAP = 2 * (MAX_TAIL + FOOTER)
MAX_PUBLIC_PART = 1 << 26
MAX_CANDIDATES = 32  # section 8
MAX_HASHED = 2 * MAX_TAIL  # section 8
IGNORED = 64  # header keys from here on, section 5.1
FLOE_HEADER = 74  # section 2
OVERHEAD = 32  # of a segment, section 2
CONTEXT = b"casemate/v1/artifact"  # section 5.4


def sha384(*parts: bytes) -> bytes:
    """SHA-384 of the concatenation."""
    return hashlib.sha384(b"".join(parts)).digest()


def hkdf384(salt: bytes, ikm: bytes, info: bytes) -> bytes:
    """HKDF-SHA384, 32 bytes (sections 4 and 5.5)."""
    return HKDF(hashes.SHA384(), 32, salt or None, info).derive(ikm)


class Recipient(NamedTuple):
    """Section 5.2."""

    kem: Kem
    key_id: bytes
    enc: bytes
    ct: bytes


@dataclass(frozen=True)
class Header:
    """Section 5.1, with the content length and the number of segments that follow from it."""

    encoded: bytes
    artifact_id: bytes
    segment: int
    hash: int
    body: int
    created: int
    content_type: str
    length: int
    segments: int
    publisher: bytes | None = None
    revision: int | None = None
    owner: bytes | None = None

    @classmethod
    def parse(cls, encoded: bytes) -> Header:
        """Decodes and checks."""
        c = Cursor(encoded)
        entries = c.argument(5)
        c.key(0)
        need((version := c.uint()) == 1, f"header version {version}", "version")  # before the number of keys, says section 9
        c.key(1)
        artifact_id = c.bytes(16, "artifact id", exact=True)
        c.key(2)
        segment = c.uint()
        need(MIN_SEGMENT <= segment <= MAX_SEGMENT, f"segment size {segment}")  # malformed, says section 9
        need(segment & (segment - 1) == 0, f"segment size {segment} is no power of two")
        c.key(3)
        need((hash_ := c.uint()) in (1, 2), f"hash {hash_}", "suite")
        c.key(4)
        body = c.uint()
        c.key(5)
        created = c.uint()
        c.key(6)
        content_type = c.text(MAX_CONTENT_TYPE, "content type")
        main, _, rest = content_type.partition("/")
        shown = all(" " <= character <= "~" for character in content_type)
        need(bool(main and rest) and shown, "content type is not type/subtype in printable ASCII")
        publisher = c.bytes(32, "publisher's key id", exact=True) if c.optional(7) else None
        revision = c.uint() if c.optional(8) else None
        owner = c.bytes(32, "owner's key id", exact=True) if c.optional(9) else None
        need(revision != 0, "revision 0")
        left = entries - 7 - sum(value is not None for value in (publisher, revision, owner))
        before = IGNORED - 1
        for _ in range(left):
            need(before < (before := c.uint()), "header keys are unknown or not in ascending order")
            c.scalar()
        need(left >= 0, f"header is not a map of {entries} known keys")
        c.end("header")
        segments = max(1, -(-(body - FLOE_HEADER) // (segment + OVERHEAD)))
        length = body - FLOE_HEADER - OVERHEAD * segments
        need(length >= 0 and max(1, -(-length // segment)) == segments, f"body length {body} is impossible")
        need(segments <= MAX_SEGMENTS, f"{segments} segments", "limit")
        return cls(encoded, artifact_id, segment, hash_, body, created, content_type, length, segments, publisher, revision, owner)

    def fields(self) -> dict[int, object]:
        """Return the map of section 5.1, to build a changed header."""
        values = (1, self.artifact_id, self.segment, self.hash, self.body, self.created, self.content_type, self.publisher, self.revision, self.owner)
        return {key: value for key, value in enumerate(values) if value is not None}

    @cached_property
    def digest(self) -> bytes:
        """SHA-384(header), to which everything else is bound."""
        return sha384(self.encoded)

    @property
    def hash_size(self) -> int:
        """Bytes of a segment hash (section 5.3)."""
        return 32 if self.hash == 1 else 48

    def hashed(self, purpose: str, data: bytes) -> bytes:
        """The hash of section 5.3 for one purpose."""
        if self.hash == 1:
            return blake3(data, derive_key_context=purpose).digest()
        return sha384(purpose.encode() + b"\0", data)


@dataclass(frozen=True)
class Private:
    """The publisher part's plaintext (section 5.5)."""

    name: str
    metadata: dict[str, str]

    @classmethod
    def parse(cls, plain: bytes, length: int) -> Private:
        """Decode the plaintext; its length must match the header."""
        c = Cursor(plain)
        c.map(3, "publisher part")
        c.key(0)
        name = c.text(MAX_NAME, "name")
        c.key(1)
        need(c.uint() == length, "content length is not the header's")
        c.key(2)
        metadata: dict[str, str] = {}
        before = b""
        for _ in range(c.argument(5)):
            start = c.at
            name_ = c.text(MAX_PUBLISHER_PART, "metadata name")
            need(before < (before := c.data[start : c.at]), "metadata names are not in ascending order")
            metadata[name_] = c.text(MAX_PUBLISHER_PART, "metadata value")
        c.end("publisher part")
        return cls(name, metadata)


class Delegation(NamedTuple):
    """Section 5.7: the delegate's SPKI, the last date and the last epoch, the owner's signature."""

    delegate: bytes
    until: int
    last_epoch: int
    signature: bytes


class RecipientList(NamedTuple):
    """Section 5.7."""

    epoch: int
    date: int
    owner: bytes
    delegation: Delegation | None
    signature: bytes

    def verify(self, owner: bytes, message: bytes) -> None:
        """Check every rule of section 5.7, for the owner in the header."""
        need(hashlib.sha256(self.owner).digest() == owner, "recipient list by another owner", "owner")
        signer = self.owner
        if self.delegation is not None:
            given = self.delegation
            need(self.date <= given.until and self.epoch <= given.last_epoch, "the delegation has ended", "owner")
            delegated = owner + hashlib.sha256(given.delegate).digest() + given.until.to_bytes(8) + given.last_epoch.to_bytes(8)
            check_signature(self.owner, given.signature, delegated, b"casemate/v1/delegation", "owner")
            signer = given.delegate
        check_signature(signer, self.signature, message, b"casemate/v1/recipients", "owner")

    def message(self, header: Header, recipients: bytes) -> bytes:
        """Return the message to sign."""
        return header.digest + self.epoch.to_bytes(8) + self.date.to_bytes(8) + sha384(recipients)


def check_signature(whole: bytes, signature: bytes, message: bytes, context: bytes, kind: str) -> None:
    """Verify a signature (section 5.4) with the suite of the SPKI."""
    for oid, suite in SIGNATURES.items():
        key = unwrap(whole, suite.mldsa_pk + suite.classical_pk, lambda k, oid=oid: spki(oid, k))
        if key is not None:
            break
    else:
        raise SealedError(kind, "no public key of a signature suite")
    try:
        suite.verify(key, signature, message, context)
    except (InvalidSignature, ValueError):
        raise SealedError(kind, "does not verify") from None


@dataclass(frozen=True)
class Artifact:
    """A parsed artifact (section 7, steps 1 to 3). A program should report `gap` and `cut` (section 8)."""

    data: bytes | mmap.mmap
    header: Header
    recipients: tuple[Recipient, ...]
    recipients_encoded: bytes
    publisher_part: bytes
    hashes: bytes
    signature: tuple[str, bytes, bytes] | None
    recipient_part: bytes
    list: RecipientList | None
    public_part: bytes
    gap: int
    cut: int  # bytes after the footer that was taken

    @cached_property
    def floe_header(self) -> bytes:
        """The first 74 bytes."""
        return self.data[:FLOE_HEADER]

    @cached_property
    def root(self) -> bytes:
        """Section 5.3."""
        count = self.header.segments.to_bytes(8)
        return self.header.hashed("casemate/v1/artifact-root", self.floe_header + sha384(self.publisher_part) + sha384(self.public_part) + count + self.hashes)

    def segment(self, index: int) -> bytes:
        """Return the encrypted segment `index` after checking its hash (section 5.3)."""
        h = self.header
        if not 0 <= index < h.segments:
            raise IndexError(index)
        start = FLOE_HEADER + index * (h.segment + OVERHEAD)
        segment = self.data[start : min(start + h.segment + OVERHEAD, h.body)]
        expected = self.hashes[index * h.hash_size : (index + 1) * h.hash_size]
        need(h.hashed("casemate/v1/artifact-segment", segment) == expected, f"segment {index} is not the hashed one", "segment")
        return segment

    def verify_signature(self, spki_pem: str | bytes) -> None:
        """Check that the artifact has a valid signature by this key (section 5.4)."""
        if self.signature is None:
            raise SealedError("unsigned", "not signed")
        oid, key_id, signature = self.signature
        whole, suite = pem_body(spki_pem, "PUBLIC KEY"), SIGNATURES[oid]
        need(hashlib.sha256(whole).digest() == key_id, "signed by another key", "other-signer")
        key = unwrap(whole, suite.mldsa_pk + suite.classical_pk, lambda k: spki(oid, k))
        if key is None:
            raise SealedError("signature", "the signer's key is of another suite")
        try:
            suite.verify(key, signature, self.header.digest + self.root, CONTEXT)
        except (InvalidSignature, ValueError):
            raise SealedError("signature", "does not verify") from None

    def verify(self, spki_pem: str | bytes) -> bool:
        """Check the signature and the hash of every segment. Returns True or raises an error."""
        self.verify_signature(spki_pem)
        for index in range(self.header.segments):
            self.segment(index)
        return True

    def check_revision(self, least: int) -> None:
        """Refuse a lower revision, or none (section 5.1)."""
        revision = self.header.revision
        need(revision is not None and revision >= least, f"revision {revision}, the least acceptable is {least}", "revision")

    def unlock(self, private_pem: str | bytes, signer_pem: str | bytes | None = None, least_revision: int | None = None) -> Opened:
        """Perform steps 4 and 5 of section 7. The revision is checked after the signature, which authenticates it."""
        if signer_pem is not None:
            self.verify_signature(signer_pem)
        if least_revision is not None:
            self.check_revision(least_revision)
        kem, seed, scalar = next(((k, *pair) for k in KEMS.values() if (pair := k.private(private_pem))), (None, b"", b""))
        if kem is None:
            raise ValueError("no private key of a suite this format has")
        own = hashlib.sha256(spki(kem.oid, kem.public(seed, scalar))).digest()
        recipient = next((r for r in self.recipients if r.key_id == own), None)
        if recipient is None:
            raise SealedError("no-recipient", "the key is not a recipient")
        info = b"casemate/v1/artifact-key\0" + self.header.digest
        try:
            need(recipient.kem is kem, "the recipient's triple is not the key's")
            artifact_key = kem.open_base(seed, scalar, recipient.enc, info, recipient.ct)
            message_key = self.floe_start(hkdf384(b"", artifact_key, b"casemate/v1/artifact-body"))
            aad = self.header.digest + self.root + sha384(self.recipients_encoded)
            bound = open_part(self.recipient_part, artifact_key, b"casemate/v1/artifact-recipients", aad)
            plain = open_part(self.publisher_part, artifact_key, b"casemate/v1/artifact-publisher", self.header.digest)
        except (InvalidTag, ValueError, SealedError):
            raise SealedError("rejected", "encrypted to another key, or changed") from None
        need(bound == b"\xa0", "the recipient part is not an empty map")
        return Opened(self, message_key, Private.parse(plain, self.header.length))

    def floe_kdf(self, key: bytes, purpose: bytes, length: int) -> bytes:
        """Compute FLOE_KDF of section 4, with AAD = SHA-384(header)."""
        return HKDFExpand(hashes.SHA384(), length, self.floe_header[:42] + purpose + self.header.digest).derive(key)

    def floe_start(self, key: bytes) -> bytes:
        """Check the FLOE header tag and return the message key (section 4)."""
        tag = self.floe_kdf(key, b"HEADER_TAG:", 32)
        need(hmac.compare_digest(tag, self.floe_header[42:]), "FLOE header tag", "rejected")
        return self.floe_kdf(key, b"MESSAGE_KEY:", 48)

    def open(self, private_pem: str | bytes, signer_pem: str | bytes | None = None, least_revision: int | None = None) -> bytes:
        """Return the whole content. With a signer, nothing is released before its signature verifies."""
        return self.unlock(private_pem, signer_pem, least_revision).read()


def open_part(sealed: bytes, artifact_key: bytes, info: bytes, aad: bytes) -> bytes:
    """Sections 5.5 and 5.6: salt, ciphertext and tag."""
    return AESGCM(hkdf384(sealed[:32], artifact_key, info)).decrypt(bytes(12), sealed[32:], aad)


@dataclass(frozen=True)
class Opened:
    """An unlocked artifact: random access to its content, and the publisher's metadata."""

    artifact: Artifact
    message_key: bytes
    private: Private

    def open_segment(self, index: int) -> bytes:
        """Return the content of one segment after checking hash, prefix and tag (section 7, step 6)."""
        artifact = self.artifact
        segment = artifact.segment(index)
        final = index == artifact.header.segments - 1
        prefix = len(segment) if final else 0xFFFFFFFF
        need(segment[:4] == prefix.to_bytes(4), f"prefix of segment {index}", "rejected")
        key = artifact.floe_kdf(self.message_key, b"DEK:" + (index >> 20 << 20).to_bytes(8), 32)
        try:
            return AESGCM(key).decrypt(segment[4:16], segment[16:], index.to_bytes(8) + bytes([final]))
        except InvalidTag:
            raise SealedError("rejected", f"tag of segment {index}") from None

    def read(self, offset: int = 0, length: int | None = None) -> bytes:
        """Return content from `offset`, opening only the segments it needs."""
        h = self.artifact.header
        end = h.length if length is None else min(h.length, offset + length)
        if offset >= end > 0 or offset > 0 == end:
            return b""
        first, last = offset // h.segment, max(0, end - 1) // h.segment
        whole = b"".join(self.open_segment(i) for i in range(first, last + 1))
        return whole[offset - first * h.segment : end - first * h.segment]


def tail_at(data: bytes | mmap.mmap, end: int) -> bytes | None:
    """Return the tail whose valid footer ends at `end` (section 6), or None. Another version, or a tail past the limit, is an error."""
    footer = data[max(0, end - FOOTER) : end]
    offset, length = int.from_bytes(footer[8:16]), int.from_bytes(footer[16:20])
    if len(footer) < FOOTER or footer[:4] != b"CSMT" or offset + length + FOOTER != end:
        return None
    if (version := int.from_bytes(footer[4:6])) == 0:
        return None
    need(version == 1, f"footer version {version}", "version")
    need(length <= MAX_TAIL, f"tail of {length} bytes", "limit")
    tail = data[offset : offset + length]
    intact = hashlib.sha256(footer[:20] + tail).digest()[:12] == footer[20:]
    return tail if intact and footer[6:8] == b"\0\0" else None


def candidate_length(data: bytes | mmap.mmap, at: int) -> int:
    """Return the tail length in a candidate at `at`, or 0 if it is not a footer of this version."""
    footer = data[at : at + FOOTER]
    offset, length = int.from_bytes(footer[8:16]), int.from_bytes(footer[16:20])
    fits = len(footer) == FOOTER and offset + length == at and length <= MAX_TAIL
    return length if fits and footer[4:8] == b"\0\1\0\0" else 0


def find_tail(data: bytes | mmap.mmap) -> tuple[bytes, int]:
    """Return the newest tail and the end of its footer (section 7, step 1, and section 8)."""
    if (tail := tail_at(data, len(data))) is not None:
        return tail, len(data)
    at, hashed = len(data) - FOOTER + 4, 0  # a candidate has 32 bytes of file from it on
    for _ in range(MAX_CANDIDATES):
        at = data.rfind(b"CSMT", max(0, len(data) - MAX_GAP), at)
        if at < 0:
            break
        hashed += candidate_length(data, at)
        if hashed > MAX_HASHED:
            break
        try:
            tail = tail_at(data, at + FOOTER)
        except SealedError:
            continue
        if tail is not None:
            return tail, at + FOOTER
    raise SealedError("not-an-artifact", "no footer: not a sealed artifact, or cut short")


def parse_recipients(c: Cursor) -> tuple[Recipient, ...]:
    """Section 5.2."""
    found: dict[bytes, Recipient] = {}
    count = c.count(4, MAX_RECIPIENTS, "recipients")
    need(count >= 1, "no recipients")
    for _ in range(count):
        c.array(6, "recipient")
        triple = (c.uint(), c.uint(), c.uint())
        need(triple in KEMS, f"HPKE triple {triple}", "suite")
        kem = KEMS[triple]
        key_id = c.bytes(32, "key id", exact=True)
        need(key_id not in found, "a key id occurs twice")
        found[key_id] = Recipient(kem, key_id, c.bytes(kem.enc, "enc", exact=True), c.bytes(48, "ct", exact=True))
    return tuple(found.values())


def parse_signature(c: Cursor, publisher: bytes | None) -> tuple[str, bytes, bytes] | None:
    """Section 5.4: signed by the publisher in the header, or unsigned."""
    if c.null():
        return None
    c.array(3, "signature")
    oid = c.text(MAX_TAIL, "signature suite")
    need(oid in SIGNATURES, f"signature suite {oid!r}", "suite")
    key_id, signature = c.bytes(32, "signer's key id", exact=True), c.bytes(MAX_SIGNATURE, "signature")
    need(key_id == publisher, "signed by another key than the header names")
    return oid, key_id, signature


def parse_list(c: Cursor) -> RecipientList | None:
    """Section 5.7."""
    if c.null():
        return None
    c.array(5, "recipient list")
    epoch, date = c.uint(), c.uint()
    need(epoch >= 1, "epoch 0")
    owner = c.bytes(MAX_SPKI, "owner's key")
    delegation = None
    if not c.null():
        c.array(4, "delegation")
        delegate = c.bytes(MAX_SPKI, "delegate's key")
        delegation = Delegation(delegate, c.uint(), c.uint(), c.bytes(MAX_SIGNATURE, "delegation's signature"))
    return RecipientList(epoch, date, owner, delegation, c.bytes(MAX_SIGNATURE, "list's signature"))


def read(data: bytes | mmap.mmap) -> Artifact:
    """Section 7, steps 1 to 3."""
    tail, end = find_tail(data)
    c = Cursor(tail)
    c.map(8, "tail")
    c.key(0)
    header = Header.parse(c.bytes(MAX_HEADER, "header"))
    c.key(1)
    start = c.at
    recipients = parse_recipients(c)
    encoded = tail[start : c.at]
    c.key(2)
    publisher_part = c.bytes(MAX_PUBLISHER_PART, "publisher part")
    c.key(3)
    hashes_ = c.bytes(header.segments * header.hash_size, "segment hashes", exact=True)
    c.key(4)
    signature = parse_signature(c, header.publisher)
    c.key(5)
    recipient_part = c.bytes(MAX_RECIPIENT_PART, "recipient part")
    c.key(6)
    list_ = parse_list(c)
    c.key(7)
    public_part = c.bytes(MAX_PUBLIC_PART, "public part")
    c.end("tail")
    need(list_ is None or header.owner is not None, "a recipient list without an owner")
    if header.owner is not None:
        need(list_ is not None, "no recipient list of the owner", "owner")
        list_.verify(header.owner, list_.message(header, encoded))
    gap = end - FOOTER - len(tail) - header.body
    need(gap >= 0, "the tail begins inside the body")
    need(gap <= MAX_GAP, f"gap of {gap} bytes")  # malformed, says section 9
    params = b"\0\0" + (header.segment + OVERHEAD).to_bytes(4) + (32).to_bytes(4)
    need(data[:10] == params, "FLOE parameters are not the header's")
    cut = len(data) - end
    return Artifact(data, header, recipients, encoded, publisher_part, hashes_, signature, recipient_part, list_, public_part, gap, cut)


def main(arguments: list[str] | None = None) -> int:
    """Open one file. A refusal prints the reason and returns exit code 1."""
    parser = argparse.ArgumentParser(description="Open a sealed artifact")
    parser.add_argument("file", type=Path)
    parser.add_argument("--signer", type=Path, required=True, help="public key (PEM) of the expected signer")
    parser.add_argument("--key", type=Path, required=True, help="private key (PEM) of a recipient")
    parser.add_argument("--min-revision", type=int, metavar="N", help="least acceptable revision")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    try:
        with options.file.open("rb") as file:
            size = options.file.stat().st_size
            artifact = read(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b"")
            content = artifact.open(options.key.read_bytes(), options.signer.read_bytes(), options.min_revision)
        options.output.write_bytes(content)
    except (SealedError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if artifact.gap or artifact.cut:
        print(f"note: {artifact.gap} bytes between body and tail, {artifact.cut} after the footer", file=sys.stderr)
    print(f"opened {len(content)} bytes to {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
