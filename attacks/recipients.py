"""Attacks on the list of recipients: added, dropped, duplicated, downgraded, replayed, and two keys for one artifact."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from bytes_attacks import ALL, REJECTED, SIGNATURE
from judge import INSPECT, OPEN, OPEN_ANYONES, OPEN_FROM, REWRAP, VERIFY, Case, Cases, Promise, attack, trials
from sealed_reader import hkdf384, sha384
from sealed_writer import HKDFExpand, assemble, cbor, encapsulate, footer, hashes
from tail_attacks import OPENERS
from victim import CONTENT, Setup, copy, parts, rebuilt

NO_KEY = "no private key in the key store opens this artifact"


def without_bob(setup: Setup) -> tuple[Path, Path]:
    """Return a file before and after the program removed bob."""
    before = setup.sealed()
    after = setup.fresh() / "model.sealed"
    copy(before, after)
    setup.ok("alice", "rewrap", after, "--remove", "@bob", "--signer", "@publisher")
    return before, after


@attack("duplicate-recipient", "storage", "sealed-artifact 5.2")
def duplicate_recipient(setup: Setup) -> Cases:
    """A key id occurs twice, so two readers could use different entries."""
    victim = setup.sealed()
    alice, bob = parts(victim)[2][1]
    says = f"malformed artifact: recipient {alice[3].hex()} is listed twice"
    for label, entries in {"the same": [alice, bob, alice], "another's under it": [alice, [*bob[:3], alice[3], *bob[4:]]]}.items():
        yield Case(label, victim, setup.write(rebuilt(victim, k1=entries)), CONTENT, trials(says, *ALL))


@attack("change-recipients", "storage", "sealed-artifact 5.2, 5.5")
def change_recipients(setup: Setup) -> Cases:
    """Someone without the artifact key adds, drops, changes or reorders recipients."""
    victim = setup.sealed()
    alice, bob = parts(victim)[2][1]
    stranger = [*bob[:3], os.urandom(32), *bob[4:]]
    for label, entries in {
        "added": [alice, bob, stranger],
        "dropped": [alice],
        "another's key id": [alice, stranger],
        "another's ciphertext": [alice, [*bob[:5], bytes(48)]],
        "other order": [bob, alice],
        "own ciphertext": [[*alice[:5], bytes(48)], bob],
        "of another artifact": parts(setup.sealed("other"))[2][1],
    }.items():
        yield Case(label, victim, setup.write(rebuilt(victim, k1=entries)), CONTENT, trials(REJECTED, *OPENERS))
    forged = setup.write(rebuilt(victim, k1=[]))
    yield Case("all dropped", victim, forged, CONTENT, trials("malformed artifact: recipients is not the expected CBOR structure", *ALL))


@attack("recipients-as-shown", "storage", "sealed-artifact 5.6", Promise.NOT_PROMISED)
def recipients_as_shown(setup: Setup) -> Cases:
    """Without a private key, a changed recipient list cannot be detected: `inspect` shows it and `verify` accepts it."""
    victim = setup.sealed()
    alice, bob = parts(victim)[2][1]
    forged = setup.write(rebuilt(victim, k1=[alice, bob, [*bob[:3], b"\xaa" * 32, *bob[4:]]]))
    yield Case("inspect", victim, forged, CONTENT, trials(f"recipient   {'aa' * 32} mlkem768-x25519", INSPECT, code=0))


@attack("downgrade-recipient-suite", "storage", "sealed-artifact 5.2")
def downgrade_recipient_suite(setup: Setup) -> Cases:
    """A recipient's entry names a classical, weaker or unknown suite."""
    victim = setup.sealed()
    alice, bob = parts(victim)[2][1]
    length = "malformed artifact: encapsulated key of 1665 bytes, expected {}"
    for label, triple, says in (
        ("X25519 alone", [0x20, 1, 2], "unknown suite HPKE 0020,0001,0002"),
        ("P-384 alone", [0x11, 2, 2], "unknown suite HPKE 0011,0002,0002"),
        ("AES-128", [0x51, 2, 1], "unknown suite HPKE 0051,0002,0001"),
        ("export only", [0x51, 2, 0xFFFF], "unknown suite HPKE 0051,0002,ffff"),
        ("HKDF-SHA256", [0x51, 1, 2], "unknown suite HPKE 0051,0001,0002"),
        ("a number that wraps", [0x10051, 2, 2], "unknown suite HPKE 10051,0002,0002"),
        ("ML-KEM alone", [0x42, 2, 2], length.format(1568)),
        ("experimental", [0xFE51, 2, 2], length.format(1600)),
    ):
        forged = setup.write(rebuilt(victim, k1=[[*triple, *alice[3:]], bob]))
        yield Case(label, victim, forged, CONTENT, trials(says, *ALL))
    # The length of the other suite, with the ML-KEM part of the real one.
    entry = [0x42, 2, 2, alice[3], alice[4][:1568], alice[5]]
    forged = setup.write(rebuilt(victim, k1=[entry, bob]))
    yield Case("ML-KEM half alone", victim, forged, CONTENT, trials(REJECTED, *OPENERS))


@attack("two-keys-for-one-artifact", "publisher", "sealed-artifact 4, 5.2")
def two_keys_for_one_artifact(setup: Setup) -> Cases:
    """A publisher gives two recipients different artifact keys, so that they would read different content; FLOE's tag commits to one key."""
    honest = setup.write(setup.seal(to=("alice", "bob")))
    other, seen = os.urandom(32), {}

    def remember(header: dict[int, object]) -> dict[int, object]:
        seen["header"] = sha384(cbor(header))
        return header

    def for_bob(entries: list[list[Any]]) -> list[list[Any]]:
        info = b"casemate/v1/artifact-key\0" + seen["header"]
        return [entries[0], [*entries[1][:4], *encapsulate(setup.kem["bob"], info, other)]]

    def tag_of_the_other(floe: bytes) -> bytes:
        key = hkdf384(b"", other, b"casemate/v1/artifact-body")
        return floe[:42] + HKDFExpand(hashes.SHA384(), 32, floe[:42] + b"HEADER_TAG:" + seen["header"]).derive(key)

    for label, options, owner in (("the tag of one", {}, "bob"), ("the tag of the other", {"edit_floe": tag_of_the_other}, "alice")):
        forged = setup.write(setup.seal(to=("alice", "bob"), edit_header=remember, edit_entries=for_bob, **options))
        yield Case(label, honest, forged, CONTENT, trials(REJECTED, *OPENERS), owner=owner)


@attack("removed-recipient", "past recipient", "sealed-artifact 8")
def removed_recipient(setup: Setup) -> Cases:
    """A removed recipient opens the current file, mixes old parts into it, or searches it for the old tail."""
    before, after = without_bob(setup)
    old = parts(before)[2]
    yield Case("as it is", before, after, CONTENT, trials(NO_KEY, OPEN, code=4), owner="bob")
    assert all(entry[4][:64] not in after.read_bytes() for entry in old[1] if entry[3] == setup.kem["bob"].key_id)
    entries = setup.write(rebuilt(after, k1=old[1]))
    yield Case("old recipients", before, entries, CONTENT, trials(REJECTED, OPEN, OPEN_ANYONES), owner="bob")
    yield Case("old recipients, for the others", after, entries, CONTENT, trials(REJECTED, OPEN, OPEN_ANYONES))
    bound = setup.write(rebuilt(after, k5=old[5]))
    yield Case("old recipient part", after, bound, CONTENT, trials(REJECTED, OPEN, OPEN_ANYONES))
    # The newest complete tail applies, wherever an older one is.
    data, body = after.read_bytes(), parts(after)[1]
    gap = before.read_bytes()[len(body) :]
    shifted = data[len(body) : -32]
    forged = setup.write(body + gap + shifted + footer(shifted, len(body) + len(gap)))
    yield Case("old tail before the new one", before, forged, CONTENT, trials(NO_KEY, OPEN, code=4), owner="bob")


@attack("replay-old-tail", "past recipient", "sealed-artifact 8, SECURITY", Promise.NOT_PROMISED)
def replay_old_tail(setup: Setup) -> Cases:
    """A removed recipient with write access restores the old tail; the artifact key never changed, so it opens, but only to the same content."""
    before, after = without_bob(setup)
    body = parts(before)[1]
    tail = before.read_bytes()[len(body) : -32]
    data = after.read_bytes()
    appended = setup.write(data + tail + footer(tail, len(data)))
    note = trials("an unfinished rewrap left", OPEN_FROM, VERIFY, code=0)
    yield Case("old tail appended, for the others", after, appended, CONTENT, note)
    opens = trials("opened", OPEN_FROM, code=0)
    yield Case("old tail appended", after, appended, CONTENT, opens, owner="bob", twin_owner="alice")
    yield Case("old file put back", after, before, CONTENT, opens, owner="bob", twin_owner="alice")


@attack("other-tail", "storage", "sealed-artifact 5.3, 6")
def other_tail(setup: Setup) -> Cases:
    """A second footer points to the tail of another artifact."""
    victim, other = setup.sealed(), setup.sealed("other")
    body = parts(other)[1]
    tail = other.read_bytes()[len(body) : -32]
    data = victim.read_bytes()
    forged = setup.write(data + tail + footer(tail, len(data)))
    yield Case("appended", victim, forged, CONTENT, trials(SIGNATURE, OPEN_FROM, VERIFY, REWRAP) + trials(REJECTED, OPEN_ANYONES))
    malformed = setup.write(data + b"\xa5" + footer(b"\xa5", len(data)))
    says = "malformed artifact: tail is not the expected CBOR structure"
    yield Case("malformed, before a good one", victim, malformed, CONTENT, trials(says, *ALL))
    empty = setup.write(assemble(data, b""))
    yield Case("empty, before a good one", victim, empty, CONTENT, trials(says, *ALL))
