"""Attacks by storage or network, which change bytes without knowing a key."""

from __future__ import annotations

from judge import INSPECT, OPEN_ANYONES, OPEN_FROM, REWRAP, VERIFY, Case, Cases, Promise, attack, trials
from victim import CONTENT, OTHER_CONTENT, SEGMENT, Setup, parts, rebuilt

NO_FOOTER = "not a sealed artifact, or its end is damaged or missing: no valid footer"
ALL = (OPEN_FROM, OPEN_ANYONES, VERIFY, INSPECT, REWRAP)
# The commands that read the content. A rewrap does not, so it can process a file whose content was changed.
CONTENT_READERS = (OPEN_ANYONES, VERIFY)
EITHER = "segment 0 was changed | segment 1 was changed"
WHOLE = SEGMENT + 32  # an encrypted segment
FIRST = 74  # offset of the first segment


def changed(data: bytes, at: int, new: bytes) -> bytes:
    """Return a copy with bytes replaced."""
    return data[:at] + new + data[at + len(new) :]


@attack("truncate", "storage", "sealed-artifact 6, 7.1")
def truncate(setup: Setup) -> Cases:
    """The file ends early: in the body, in the tail, in the footer, or at byte 0."""
    victim = setup.sealed()
    data = victim.read_bytes()
    body = parts(victim)[0].header.body
    for label, length in {
        "in the body": FIRST + WHOLE + 1000,
        "after the body": body,
        "in the tail": len(data) - 1000,
        "without the footer": len(data) - 32,
        "by one byte": len(data) - 1,
        "to less than a footer": 31,
        "to nothing": 0,
    }.items():
        yield Case(label, victim, setup.write(data[:length]), CONTENT, trials(NO_FOOTER, *ALL))


@attack("truncate-whole-segments", "storage", "sealed-artifact 5.1, 6")
def truncate_whole_segments(setup: Setup) -> Cases:
    """The last segments are removed and the footer is repaired."""
    victim = setup.sealed()
    body = parts(victim)[1]
    for label, length in {"one segment": FIRST + 3 * WHOLE, "all segments": FIRST, "one byte": len(body) - 1}.items():
        forged = setup.write(rebuilt(victim, body=body[:length]))
        yield Case(label, victim, forged, CONTENT, trials("malformed artifact: tail begins before the body ends", *ALL))


@attack("extend", "storage", "sealed-artifact 8", Promise.CONTAINED)
def extend(setup: Setup) -> Cases:
    """Bytes after the footer or before the tail belong to no content; they are ignored and reported."""
    victim = setup.sealed()
    data = victim.read_bytes()
    body = parts(victim)[1]
    for label, forged in {
        "after the footer": data + b"PK\x05\x06" + bytes(96),
        "a torn footer": data + data[-32:-1] + bytes(69),
        "in the gap": rebuilt(victim, body=body + b"x" * 100),
    }.items():
        note = "an unfinished rewrap left 100 bytes"
        reports = trials(note, OPEN_FROM, VERIFY, code=0) + trials("leftover    100 B", INSPECT, code=0)
        yield Case(label, victim, setup.write(forged), CONTENT, reports)


@attack("extend-past-candidates", "storage", "sealed-artifact 8")
def extend_past_candidates(setup: Setup) -> Cases:
    """More false footers than a reader checks, so a search must stop."""
    victim = setup.sealed()
    data = victim.read_bytes() + (b"CSMT" + bytes(28)) * 32
    yield Case("32 magics", victim, setup.write(data), CONTENT, trials(NO_FOOTER, *ALL))


@attack("extend-with-segment", "storage", "sealed-artifact 4, 5.3")
def extend_with_segment(setup: Setup) -> Cases:
    """One more segment at the end of the body."""
    victim = setup.sealed()
    artifact, body, tail = parts(victim)
    added = body[FIRST : FIRST + WHOLE]
    longer = body + added
    header = tail[0].replace(len(body).to_bytes(4), len(longer).to_bytes(4))
    assert header != tail[0]
    hashes = tail[3] + artifact.header.hashed("casemate/v1/artifact-segment", added)
    malformed = "malformed artifact: {} bytes of segment hashes, expected {}"
    for label, forged, says in (
        ("its length", rebuilt(victim, body=longer, k0=header), trials(malformed.format(128, 160), *ALL)),
        ("its hash", rebuilt(victim, body=longer, k3=hashes), trials(malformed.format(160, 128), *ALL)),
        ("both", rebuilt(victim, body=longer, k0=header, k3=hashes), FORGED_ROOT),
    ):
        yield Case(label, victim, setup.write(forged), CONTENT, says)


SIGNATURE = "the publisher's signature does not verify"
REJECTED = "authentication failed: wrong key, or the artifact was changed"
# Commands that verify the signature fail there; the others fail because the header is bound to the artifact key.
FORGED_ROOT = trials(SIGNATURE, OPEN_FROM, VERIFY) + trials(REJECTED, OPEN_ANYONES)


@attack("swap-segments", "storage", "sealed-artifact 5.3")
def swap_segments(setup: Setup) -> Cases:
    """Two segments are swapped, with and without their hashes."""
    victim = setup.sealed()
    artifact, body, _ = parts(victim)
    first, second = body[FIRST : FIRST + WHOLE], body[FIRST + WHOLE : FIRST + 2 * WHOLE]
    swapped = changed(body, FIRST, second + first)
    yield Case("segments", victim, setup.write(rebuilt(victim, body=swapped)), CONTENT, trials(EITHER, *CONTENT_READERS))
    size = artifact.header.hash_size
    hashes = artifact.hashes[size : 2 * size] + artifact.hashes[:size] + artifact.hashes[2 * size :]
    forged = setup.write(rebuilt(victim, body=swapped, k3=hashes))
    yield Case("segments and hashes", victim, forged, CONTENT, FORGED_ROOT)


@attack("splice-segment", "storage", "sealed-artifact 5.3")
def splice_segment(setup: Setup) -> Cases:
    """A segment from another artifact with the same publisher, recipients and position."""
    victim, other = setup.sealed(), setup.sealed("other")
    donor = other.read_bytes()[FIRST : FIRST + WHOLE]
    body = changed(parts(victim)[1], FIRST, donor)
    yield Case("segment", victim, setup.write(rebuilt(victim, body=body)), CONTENT, trials("segment 0 was changed", *CONTENT_READERS))
    artifact = parts(victim)[0]
    hashed = artifact.header.hashed("casemate/v1/artifact-segment", donor)
    forged = setup.write(rebuilt(victim, body=body, k3=hashed + artifact.hashes[32:]))
    yield Case("segment and hash", victim, forged, CONTENT, FORGED_ROOT)
    # The whole body of the other artifact, with this artifact's tail.
    whole = parts(other)[1]
    yield Case("whole body", victim, setup.write(rebuilt(victim, body=whole)), CONTENT, FORGED_ROOT)
    forged = setup.write(rebuilt(victim, body=whole[:FIRST] + parts(victim)[1][FIRST:]))
    yield Case("start of the body", victim, forged, CONTENT, FORGED_ROOT)


@attack("flip", "storage", "sealed-artifact 4, 5.3")
def flip(setup: Setup) -> Cases:
    """One bit is flipped in the content, or in the bytes that protect it."""
    victim = setup.sealed()
    data = victim.read_bytes()
    for label, at, says in (
        ("prefix of segment 0", FIRST, "segment 0 was changed"),
        ("nonce of segment 1", FIRST + WHOLE + 4, "segment 1 was changed"),
        ("ciphertext of segment 2", FIRST + 2 * WHOLE + 500, "segment 2 was changed"),
        ("tag of the last", parts(victim)[0].header.body - 1, "segment 3 was changed"),
    ):
        forged = setup.write(changed(data, at, bytes([data[at] ^ 1])))
        yield Case(label, victim, forged, CONTENT, trials(says, *CONTENT_READERS))
    for label, at in {"FLOE nonce": 10, "FLOE tag": 73}.items():
        yield Case(label, victim, setup.write(changed(data, at, bytes([data[at] ^ 1]))), CONTENT, FORGED_ROOT)
    says = "malformed artifact: body parameters differ from the header"
    for label, at in {"FLOE algorithm": 0, "FLOE segment length": 5, "FLOE nonce length": 9}.items():
        yield Case(label, victim, setup.write(changed(data, at, bytes([data[at] ^ 1]))), CONTENT, trials(says, *ALL))


@attack("replace-by-other-file", "storage", "sealed-artifact 1", Promise.NOT_PROMISED)
def replace_by_other_file(setup: Setup) -> Cases:
    """Another artifact of the same publisher takes its place; only its id, or a manifest, would reveal it."""
    yield Case("another file", setup.sealed(), setup.sealed("other"), CONTENT, trials("opened", OPEN_FROM, code=0), opens_to=OTHER_CONTENT)
