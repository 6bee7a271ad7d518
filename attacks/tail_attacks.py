"""Attacks by storage, which writes another tail with a matching footer: CBOR bombs, lengths, contradictory parts."""

from __future__ import annotations

import hashlib
from typing import Any

from bytes_attacks import ALL, FORGED_ROOT, REJECTED
from judge import INSPECT, OPEN_ANYONES, OPEN_FROM, REWRAP, Case, Cases, attack, trials
from sealed_reader import MAX_TAIL
from sealed_writer import Raw, assemble, cbor, cbor_head
from victim import CONTENT, Setup, parts, rebuilt

# The commands that open. The signature does not cover the recipients, so `verify` does not check them.
OPENERS = (OPEN_ANYONES, REWRAP)
NOT_CBOR = "malformed artifact: {} is not the expected CBOR structure"
NOT_DETERMINISTIC = "malformed artifact: {} is not in deterministic encoding"


def put(pairs: list[tuple[Any, Any]], head: bytes | None = None) -> bytes:
    """Encode a map in the given order."""
    return (head or cbor_head(5, len(pairs))) + b"".join(cbor(k) + cbor(v) for k, v in pairs)


@attack("cbor-bomb", "storage", "sealed-artifact 3, 5")
def cbor_bomb(setup: Setup) -> Cases:
    """CBOR that would exhaust a careless parser: unbounded nesting, counts and lengths."""
    victim = setup.sealed()
    _, body, tail = parts(victim)
    start = put([(0, tail[0])], cbor_head(5, 8)) + cbor(1)
    deep = 1_000_000
    for label, forged, what in (
        ("nested arrays", b"\x81" * deep, "tail"),
        ("nested maps", b"\xa1\x00" * deep, "tail"),
        ("nested tags", b"\xc1" * deep, "tail"),
        ("nested indefinite arrays", b"\x9f" * deep, "tail"),
        ("2^64-1 map entries", cbor_head(5, 2**64 - 1) + cbor(0), "tail"),
        ("header of 2^64-1 bytes", cbor_head(5, 8) + cbor(0) + cbor_head(2, 2**64 - 1), "tail"),
        ("header of 2^63 bytes", cbor_head(5, 8) + cbor(0) + cbor_head(2, 2**63), "tail"),
        ("recipient of 2^64-1 elements", start + cbor_head(4, 1) + cbor_head(4, 2**64 - 1), "recipients"),
        ("1,024 recipients that do not follow", start + cbor_head(4, 1024), "recipients"),
        ("key id of 2^64-1 bytes", start + cbor_head(4, 1) + cbor_head(4, 6) + cbor(0x51) + cbor(2) + cbor(2) + cbor_head(2, 2**64 - 1), "recipients"),
    ):
        yield Case(label, victim, setup.write(assemble(body, forged)), CONTENT, trials(NOT_CBOR.format(what), *ALL[:4]))
    many = start + cbor_head(4, 2**64 - 1)
    says = "number of recipients of 18446744073709551615 exceeds the limit of 1024"
    yield Case("2^64-1 recipients", victim, setup.write(assemble(body, many)), CONTENT, trials(says, *ALL[:4]))


@attack("cbor-other-form", "storage", "sealed-artifact 5")
def cbor_other_form(setup: Setup) -> Cases:
    """The same data in another encoding, which two readers could interpret differently."""
    victim = setup.sealed()
    _, body, tail = parts(victim)
    pairs = list(tail.items())
    hashes = tail[3]

    def with_hashes(encoded: bytes) -> bytes:
        return put([*pairs[:3], (3, Raw(encoded)), *pairs[4:]])

    for label, forged, says in (
        ("long map head", put(pairs, cbor_head(5, 8, 1)), NOT_DETERMINISTIC),
        ("long key", put([(Raw(b"\x18\0"), tail[0]), *pairs[1:]]), NOT_DETERMINISTIC),
        ("long length", with_hashes(cbor_head(2, len(hashes), 8) + hashes), NOT_DETERMINISTIC),
        ("byte after", put(pairs) + b"\0", NOT_DETERMINISTIC),
        ("indefinite map", put(pairs, b"\xbf") + b"\xff", NOT_CBOR),
        ("indefinite string", with_hashes(b"\x5f" + cbor(hashes) + b"\xff"), NOT_CBOR),
        ("keys not in order", put([pairs[1], pairs[0], *pairs[2:]]), NOT_CBOR),
        ("key twice", put([*pairs[:7], pairs[3]]), NOT_CBOR),
        ("unknown key", put([*pairs, (8, 0)]), NOT_CBOR),
        ("missing key", put(pairs[:7]), NOT_CBOR),
        ("tagged", b"\xd9\xd9\xf7" + put(pairs), NOT_CBOR),
    ):
        yield Case(label, victim, setup.write(assemble(body, forged)), CONTENT, trials(says.format("tail"), OPEN_FROM, INSPECT))
    recipients = b"\x9f" + b"".join(map(cbor, tail[1])) + b"\xff"
    says = NOT_CBOR.format("recipients")
    forged = setup.write(rebuilt(victim, k1=Raw(recipients)))
    yield Case("indefinite array", victim, forged, CONTENT, trials(says, OPEN_FROM, INSPECT))


@attack("oversized-length", "storage", "sealed-artifact 3")
def oversized_length(setup: Setup) -> Cases:
    """Every limit is exceeded by one."""
    victim = setup.sealed()
    _, body, tail = parts(victim)
    one = tail[1][0]
    many = [[*one[:3], hashlib.sha256(bytes([i // 256, i % 256])).digest(), *one[4:]] for i in range(1025)]
    signature = tail[4]
    for what, size, limit, changes in (
        ("header", 1025, 1024, {"k0": bytes(1025)}),
        ("number of recipients", 1025, 1024, {"k1": many}),
        ("publisher part", (1 << 20) + 1, 1 << 20, {"k2": bytes((1 << 20) + 1)}),
        ("recipient part", 1025, 1024, {"k5": bytes(1025)}),
        ("signature", 32769, 32768, {"k4": [*signature[:2], bytes(32769)]}),
    ):
        says = f"{what} of {size} exceeds the limit of {limit}"
        yield Case(what, victim, setup.write(rebuilt(victim, **changes)), CONTENT, trials(says, *ALL))
    # The file must have the length in its footer, so it is sparse.
    huge = setup.write(body)
    with huge.open("r+b") as file:
        file.seek(len(body) + MAX_TAIL + 1)
        file.write(b"CSMT\0\1\0\0" + len(body).to_bytes(8) + (MAX_TAIL + 1).to_bytes(4) + bytes(12))
    says = f"tail length of {MAX_TAIL + 1} exceeds the limit of {MAX_TAIL}"
    yield Case("tail", victim, huge, CONTENT, trials(says, INSPECT, OPEN_FROM))


@attack("footer", "storage", "sealed-artifact 6")
def footer(setup: Setup) -> Cases:
    """Offsets that wrap, overlap the body or point outside the file, and another version."""
    victim = setup.sealed()
    data = victim.read_bytes()
    body, tail = parts(victim)[1], data[len(parts(victim)[1]) : -32]

    def ended(version: int, offset: int, length: int) -> bytes:
        head = b"CSMT" + version.to_bytes(2) + b"\0\0" + offset.to_bytes(8) + length.to_bytes(4)
        return data[:-32] + head + hashlib.sha256(head + tail).digest()[:12]

    no_footer = "not a sealed artifact, or its end is damaged or missing: no valid footer"
    for label, forged, says in (
        ("offset wraps", ended(1, 2**64 - 1, len(tail)), no_footer),
        ("length wraps", ended(1, len(body), 2**32 - 1), no_footer),
        ("tail is the whole file", ended(1, 0, len(data) - 32), no_footer),
        ("version 2", ended(2, len(body), len(tail)), "format version 2 is not supported; this program reads version 1"),
        ("version 0", ended(0, len(body), len(tail)), no_footer),
    ):
        yield Case(label, victim, setup.write(forged), CONTENT, trials(says, *ALL))


@attack("header-disagrees", "storage", "sealed-artifact 5.1, 7")
def header_disagrees(setup: Setup) -> Cases:
    """A header that does not match what it describes, or that nobody signed."""
    victim = setup.sealed()
    artifact, _, tail = parts(victim)
    h = artifact.header
    fields = h.fields()
    assert cbor(fields) == tail[0]
    malformed = "malformed artifact: "
    for label, change, says in (
        ("segment size", {2: 2 * h.segment}, f"{malformed}128 bytes of segment hashes, expected 64"),
        ("segment size of 2^63", {2: 2**63}, f"{malformed}segment size {2**63} is not a power of two from 65536 to 16777216"),
        ("body of 2^64-1", {4: 2**64 - 1}, f"number of segments of {-(-(2**64 - 1 - 74) // (h.segment + 32))} exceeds the limit of 8388608"),
        ("body that ends inside a segment's overhead", {4: h.body - 8}, f"{malformed}body length {h.body - 8} is impossible for the segment size"),
        ("hash without hashes of its length", {3: 2}, f"{malformed}128 bytes of segment hashes, expected 192"),
        ("unknown hash", {3: 3}, "unknown suite hash 3"),
        ("version 2", {0: 2}, "format version 2 is not supported; this program reads version 1"),
        ("escape sequence in the content type", {6: "a/\x1b[2J"}, f"{malformed}content type is not `type/subtype` in printable ASCII"),
        ("revision 0", {8: 0}, f"{malformed}revisions start at 1"),
        ("key id of 31 bytes", {7: bytes(31)}, f"{malformed}key id of 31 bytes, expected 32"),
        ("unknown key", {10: 0}, NOT_CBOR.format("header")),
        ("an ignored key with a list", {64: []}, NOT_CBOR.format("header")),
        ("an owner", {9: bytes(32)}, "the owner's signed recipient list is missing"),
    ):
        yield Case(label, victim, setup.write(rebuilt(victim, k0=cbor(fields | change))), CONTENT, trials(says, *ALL))
    for label, change in {"another id": {1: bytes(16)}, "older": {5: 1}, "a revision": {8: 1}, "another content type": {6: "application/vnd.casemate.manifest"}}.items():
        yield Case(label, victim, setup.write(rebuilt(victim, k0=cbor(fields | change))), CONTENT, FORGED_ROOT)
    other = parts(setup.sealed("other"))[2]
    yield Case("of another artifact", victim, setup.write(rebuilt(victim, k0=other[0])), CONTENT, FORGED_ROOT)


@attack("hash-list-changed", "storage", "sealed-artifact 5.3")
def hash_list_changed(setup: Setup) -> Cases:
    """Hashes of other segments, or the wrong number of hashes."""
    victim = setup.sealed()
    hashes = parts(victim)[2][3]
    flipped = bytes([hashes[0] ^ 1]) + hashes[1:]
    yield Case("one bit", victim, setup.write(rebuilt(victim, k3=flipped)), CONTENT, FORGED_ROOT)
    other = parts(setup.sealed("other"))[2][3]
    yield Case("of another artifact", victim, setup.write(rebuilt(victim, k3=other)), CONTENT, FORGED_ROOT)
    for label, changed in {"none": b"", "one too few": hashes[32:], "one too many": hashes + hashes[:32]}.items():
        says = f"malformed artifact: {len(changed)} bytes of segment hashes, expected 128"
        yield Case(label, victim, setup.write(rebuilt(victim, k3=changed)), CONTENT, trials(says, *ALL))


@attack("publisher-part-changed", "storage", "sealed-artifact 5.3, 5.5")
def publisher_part_changed(setup: Setup) -> Cases:
    """The signed name and metadata are changed, cut, or replaced by those of another artifact with the same recipients."""
    victim, other = setup.sealed(), parts(setup.sealed("other"))[2]
    for label, changed in damaged(parts(victim)[2][2], other[2]).items():
        yield Case(label, victim, setup.write(rebuilt(victim, k2=changed)), CONTENT, FORGED_ROOT)


@attack("recipient-part-changed", "storage", "sealed-artifact 5.6")
def recipient_part_changed(setup: Setup) -> Cases:
    """The data that binds the recipients to the artifact key is changed, cut, or replaced by that of another artifact with the same recipients."""
    victim, other = setup.sealed(), parts(setup.sealed("other"))[2]
    for label, changed in damaged(parts(victim)[2][5], other[5]).items():
        yield Case(label, victim, setup.write(rebuilt(victim, k5=changed)), CONTENT, trials(REJECTED, *OPENERS))
    forged = setup.write(rebuilt(victim, k1=other[1], k5=other[5]))
    yield Case("of another artifact, with its recipients", victim, forged, CONTENT, trials(REJECTED, *OPENERS))


def damaged(part: bytes, other: bytes) -> dict[str, bytes]:
    """Return variants of an encrypted part, each changed in a different place."""
    return {
        "one bit": part[:40] + bytes([part[40] ^ 1]) + part[41:],
        "salt": bytes([part[0] ^ 1]) + part[1:],
        "cut": part[:-1],
        "shorter than a tag": part[:40],
        "empty": b"",
        "of another artifact": other,
    }
