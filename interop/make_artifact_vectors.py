"""Writes `vectors/artifact/*.vector`: sealed artifacts that are valid, or break one rule of `spec/sealed-artifact.md`.

usage: make_artifact_vectors.py FOLDER
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from artifact_vector import KEM, KEY, OTHER_KEM, OTHER_SIGN, SIGN, SIGNER, content, flip, made, stream
from broken_tails import entries, headers, optional_keys, owners, privates, tails
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from sealed_writer import assemble, footer, seal, segment_form

SEGMENT = 65536
STORED = SEGMENT + 32  # with prefix, nonce and tag
P384_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973
ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493
Cases = Iterator[tuple[str, bytes]]


def right() -> Cases:
    """Artifacts that open."""
    for name, key in KEM.items():
        yield made(f"kem-{name}", "success", f"section 5.2: {name}", to=[key])
    for name, key in SIGN.items():
        yield made(f"sign-{name}", "success", f"section 5.4: {name}", signed=key, trusted=key)
    for hash_, name in ((1, "blake3"), (2, "sha384")):
        options = {"hash": hash_, "signed": SIGNER, "trusted": SIGNER}
        yield made(f"hash-{name}", "success", f"section 5.3: {name}, one segment", **options)
        yield made(f"hash-{name}-two-segments", "success", f"section 5.3: {name}, segment + 1 bytes", content(SEGMENT + 1), **options)
    yield made("content-empty", "success", "section 2: no content is one segment", b"")
    yield made("content-one-byte", "success", "section 2: one byte", b"\0")
    yield made("content-one-segment", "success", "section 2: exactly one segment", content(SEGMENT))
    yield made("segment-size-largest", "success", "section 3: segment size 16,777,216", segment=1 << 24)
    yield made("recipients-five", "success", "section 5.2: each of five keys opens", to=[*KEM.values()])
    yield made("content-type-255", "success", "section 3: content type of 255 bytes", content_type="a/" + "b" * 253)
    yield made("content-type-parameter", "success", "section 5.1: spaces are allowed", content_type="text/plain; charset=utf-8")
    yield made("created-largest", "success", "section 5.1: created is a uint", created=2**64 - 1)
    yield made("private-name-4096", "success", "section 5.5: name of 4,096 bytes", name="n" * 4096, show=True)
    yield made("private-name-empty", "success", "section 5.5: the name may be empty", name="", show=True)
    metadata = {"": "no name", "b": "2", "aa": "1", "ü": "ß", "z" * 24: ""}
    comment = "section 5.5: metadata names in bytewise order of their encoding, so shorter ones first"
    yield made("private-metadata", "success", comment, name="../modèle.onnx", metadata=metadata, show=True)
    yield made("signer-not-asked", "success", "section 7, step 4: signed, opened without a signer", signed=SIGNER)
    comment = "section 7, step 4: a wrong signature is not looked at without a signer"
    yield made("signature-not-asked", "success", comment, signed=SIGNER, edit=signature(lambda s: flip(s, 0)))
    yield made("revision", "success", "section 5.1: publisher and revision", revision=1, signed=SIGNER, trusted=SIGNER)
    yield made("revision-largest", "success", "section 5.1: revision is a uint", revision=2**64 - 1, signed=SIGNER, trusted=SIGNER)
    yield made("revision-without-publisher", "success", "section 5.1: each of keys 7 and 8 can be left out alone", revision=7)
    comment = "section 5.4: the header names a publisher, nobody signed, and no signer is asked for"
    yield made("publisher-not-signed", "success", comment, publisher=SIGNER.key_id)
    for name, what, value in (("uint", "a number", 2**64 - 1), ("bytes", "bytes", bytes(9)), ("text", "text", "später")):
        yield made(f"header-ignored-{name}", "success", f"section 5.1: a key from 64 on is ignored, {what}", unknown={64: value, 2**64 - 1: 0})
    comment = "section 5.8: a public part, which the signature covers"
    yield made("public-part", "success", comment, public=b"for everybody", signed=SIGNER, trusted=SIGNER)
    yield made("recipient-other", "no-recipient", "section 9: the key is no recipient", to=[KEY], keys=[OTHER_KEM])


def signature(change: Callable[[bytes], bytes]) -> Callable[[dict[int, Any]], dict[int, Any]]:
    """Return a function that changes the signature in the tail."""
    return lambda tail: tail | {4: [*tail[4][:2], change(tail[4][2])]}


def other_s(signature_: bytes) -> bytes:
    """Replace `s` of the ECDSA half with `-s`."""
    r, s = decode_dss_signature(signature_[3309:])
    return signature_[:3309] + encode_dss_signature(r, P384_ORDER - s)


def large_s(signature_: bytes) -> bytes:
    """Replace `S` of the Ed25519 half with an unreduced value."""
    return signature_[:-32] + (int.from_bytes(signature_[-32:], "little") + ED25519_ORDER).to_bytes(32, "little")


def signatures() -> Cases:
    """Section 5.4."""
    signed = {"signed": SIGNER, "trusted": SIGNER}
    yield made("unsigned", "unsigned", "section 5.4: a signer is asked for", trusted=SIGNER)
    comment = "section 5.4: the header names the signer who is asked for, and nobody signed"
    yield made("unsigned-publisher-named", "unsigned", comment, publisher=SIGNER.key_id, trusted=SIGNER)
    for name, key in (("key", OTHER_SIGN), ("suite", SIGN["mldsa87"])):
        comment = f"section 5.4: sealed and signed by another {name} than is asked for"
        yield made(f"signer-other-{name}", "other-signer", comment, signed=key, trusted=SIGNER)
    for name, cut in (("mldsa87-p384", 4627), ("mldsa65-ed25519", 3309), ("mldsa65-p384", 3309)):
        asked = {"signed": SIGN[name], "trusted": SIGN[name]}
        half = "section 5.4: both halves must hold"
        yield made(f"signature-{name}-mldsa-flipped", "bad-signature", half, edit=signature(lambda s: flip(s, 40)), **asked)
        # The last byte: of the ECDSA half's `s`, of the Ed25519 half's `S`.
        change = signature(lambda s, name=name: flip(s, len(s) - (20 if "25519" in name else 1)))
        yield made(f"signature-{name}-classical-flipped", "bad-signature", half, edit=change, **asked)
        yield made(f"signature-{name}-mldsa-only", "bad-signature", half, edit=signature(lambda s, cut=cut: s[:cut]), **asked)
    asked = {"signed": SIGN["mldsa87"], "trusted": SIGN["mldsa87"]}
    yield made("signature-mldsa87-flipped", "bad-signature", "section 5.4", edit=signature(lambda s: flip(s, 40)), **asked)
    yield made("signature-empty", "bad-signature", "section 5.4", edit=signature(lambda s: b""), **signed)
    comment = "section 5.4: a byte after the signature"
    yield made("signature-byte-after", "bad-signature", comment, edit=signature(lambda s: s + b"\0"), **signed)
    comment = "section 5.4: the Ed25519 half with the group's order added to S, which RFC 8032 refuses"
    yield made("signature-ed25519-large-s", "bad-signature", comment, edit=signature(large_s), **signed)
    asked = {"signed": SIGN["mldsa65-p384"], "trusted": SIGN["mldsa65-p384"]}
    comment = "section 5.4: the ECDSA half changed into the other valid one"
    yield made("signature-ecdsa-other-s", "success", comment, edit=signature(other_s), **asked)
    comment = "section 5.4: the ECDSA half in BER, its length not in the shortest form"
    ber = signature(lambda s: s[:3310] + b"\x81" + s[3310:])
    yield made("signature-ecdsa-ber", "bad-signature", comment, edit=ber, **asked)
    comment = "section 5.4: the suite must be the OID of the signer's SPKI"
    other = lambda t: t | {4: [SIGN["mldsa65-p384"].suite.oid, *t[4][1:]]}  # noqa: E731
    yield made("signature-suite-not-the-keys", "bad-signature", comment, edit=other, **signed)
    comment = "section 5.4: the key id of the signer over a signature by another key"
    forged = lambda t: t | {4: [t[4][0], SIGNER.key_id, t[4][2]]}  # noqa: E731
    asked = {"signed": OTHER_SIGN, "publisher": SIGNER.key_id, "trusted": SIGNER}
    yield made("signature-forged", "bad-signature", comment, edit=forged, **asked)
    yield made("signature-context", "bad-signature", "section 5.4: signed for another context", context=b"casemate/v1/roster", **signed)
    yield made("signature-root", "bad-signature", "section 5.4: signed for another root", edit_message=lambda m: flip(m, 48), **signed)
    old = hashlib.sha384(b"another header").digest()
    comment = "section 5.4: a header that was not signed, all else made for it"
    yield made("signature-header", "bad-signature", comment, edit_message=lambda m: old + m[48:], **signed)


def publishers() -> Cases:
    """Section 5.4: the signature must be by the key in the header. The signatures themselves are all valid."""
    for name, key in (("key", OTHER_SIGN), ("suite", SIGN["mldsa87"])):
        for who, trusted in (("", SIGNER), ("-trusted", key), ("-not-asked", None)):
            label = f"publisher-other-{name}{who}"
            comment = f"section 5.4: signed by another {name} than the header names"
            yield made(label, "malformed", comment, signed=key, publisher=SIGNER.key_id, trusted=trusted)
    comment = "section 5.4: signed under a header without key 7"
    for who, trusted in (("", SIGNER), ("-not-asked", None)):
        yield made(f"publisher-missing{who}", "malformed", comment, signed=SIGNER, publisher=None, trusted=trusted)
    comment = "section 5.4: signed under a header with key 8 and without key 7"
    yield made("publisher-missing-revision", "malformed", comment, signed=SIGNER, publisher=None, trusted=SIGNER, revision=1)
    comment = "section 5.4: the publisher's signature under another key id"
    renamed = lambda t: t | {4: [t[4][0], OTHER_SIGN.key_id, t[4][2]]}  # noqa: E731
    yield made("signature-key-id-other", "malformed", comment, signed=SIGNER, trusted=SIGNER, edit=renamed)


def body() -> Cases:
    """Section 4, and the hashes of section 5.3."""
    signed: dict[str, Any] = {"signed": SIGNER, "trusted": SIGNER}
    three = content(2 * SEGMENT + 1)

    def swapped(whole: bytes) -> bytes:
        return whole[:74] + whole[74 + STORED : 74 + 2 * STORED] + whole[74 : 74 + STORED] + whole[74 + 2 * STORED :]

    yield made("segments-swapped", "segment-hash", "section 5.3: two segments exchanged", three, change=swapped, **signed)
    for name, at in (("prefix", 0), ("nonce", 4), ("ciphertext", 16), ("tag", 36)):
        comment = f"section 5.3: a bit of the segment's {name} changed"
        yield made(f"segment-{name}-flipped", "segment-hash", comment, change=lambda w, at=at: flip(w, 74 + at), **signed)
    other = seal(b"other", [KEY], SIGNER, random=stream("another artifact"))
    comment = "section 5.3: the segment of another artifact"
    yield made("segment-of-another", "segment-hash", comment, change=lambda w: w[:74] + other[74:111] + w[111:], **signed)
    genuine = "section 4: with right hash and signature, as only a sealer can"
    for name, form in (
        ("final-flag", lambda i, n, _: (segment_form(i, n, True)[0], segment_form(i, n, False)[1])),
        ("final-prefix", lambda i, n, _: (segment_form(i, n, False)[0], segment_form(i, n, True)[1])),
        ("not-final", lambda i, n, _: segment_form(i, n, False)),
        ("length-prefix", lambda i, n, final: segment_form(i, n + 1, final)),
        ("number", lambda i, n, final: segment_form(i + 1, n, final)),
    ):
        yield made(f"segment-{name}-wrong", "rejected", f"{genuine}: {name}", segment_form=form, **signed)
    wrong = lambda s: [flip(s[0], len(s[0]) - 1)]  # noqa: E731
    yield made("segment-tag-wrong", "rejected", f"{genuine}: tag", edit_segments=wrong, **signed)
    comment = "section 4: the FLOE header tag, with a signature over it"
    yield made("floe-tag-changed", "rejected", comment, edit_floe=lambda f: flip(f, 73), **signed)
    for name, at in (("aead", 0), ("kdf", 1), ("segment-length", 3), ("iv-length", 9)):
        comment = f"section 7, step 3: FLOE parameters that are not the header's ({name}), with a signature over them"
        yield made(f"floe-{name}-changed", "malformed", comment, edit_floe=lambda f, at=at: flip(f, at), **signed)
    comment = "section 5.1: the body of no content length, an empty segment after a full one"

    def longer(fields: dict[int, Any]) -> dict[int, Any]:
        return fields | {4: fields[4] + 32}

    changes = {"edit_header": longer, "edit_segments": lambda s: [*s, bytes(32)]}
    yield made("body-empty-last-segment", "malformed", comment, content(SEGMENT), **changes)


def refit(start: int, value: bytes) -> Callable[[bytes], bytes]:
    """Return a function that changes bytes of the footer and recomputes its checksum."""

    def change(whole: bytes) -> bytes:
        old = whole[-32:]
        offset, length = int.from_bytes(old[8:16]), int.from_bytes(old[16:20])
        head = old[:start] + value + old[start + len(value) : 20]
        return whole[:-32] + head + hashlib.sha256(head + whole[offset : offset + length]).digest()[:12]

    return change


def footers() -> Cases:
    """Section 6."""
    none = "no-footer"
    for name, end in (("empty", 0), ("half", 800), ("footer", -32), ("one-byte", -1)):
        yield made(f"cut-{name}", none, "section 9: cut short", change=lambda w, end=end: w[:end])
    yield made("footer-only", none, "section 6: the offset is not in the file", change=lambda w: w[-32:])
    yield made("footer-magic", none, "section 6: magic CSMU", change=refit(0, b"CSMU"))
    yield made("footer-reserved", none, "section 6: bytes 6 and 7 not zero", change=refit(7, b"\1"))
    yield made("footer-version-0", none, "section 6: version 0 is no footer", change=refit(4, bytes(2)))
    for version in (2, 256):
        comment = f"section 7, step 1: version {version} and offsets that add up"
        yield made(f"footer-version-{version}", "unsupported-version", comment, change=refit(4, version.to_bytes(2)))

    def fields(offset: int, length: int) -> Callable[[bytes], bytes]:
        def change(whole: bytes) -> bytes:
            old = int.from_bytes(whole[-24:-16]), int.from_bytes(whole[-16:-12])
            return refit(8, (old[0] + offset).to_bytes(8) + (old[1] + length).to_bytes(4))(whole)

        return change

    yield made("footer-offset", none, "section 6: offset too small by one", change=fields(-1, 0))
    yield made("footer-length", none, "section 6: length too small by one", change=fields(0, -1))
    wrapped = lambda w: refit(8, (len(w) - 32 - 0xFFFFFFFF + 2**64).to_bytes(8) + b"\xff" * 4)(w)  # noqa: E731
    yield made("footer-sum-wraps", none, "section 6: offsets that add up modulo 2^64 only", change=wrapped)
    for name, at in (("checksum", -1), ("tail", -100)):
        yield made(f"footer-{name}-flipped", none, f"section 6: a bit of the {name} changed", change=lambda w, at=at: flip(w, at))
    comment = "section 6: the tail begins before the body ends"
    yield made("tail-in-body", "malformed", comment, change=lambda w: assemble(w[:110], w[111:-32]))


def rewrapped() -> Cases:
    """Section 8: states of an unfinished rewrap from the recipient KEY to OTHER_KEM."""
    label = "rewrap"
    kept: dict[int, Any] = {}
    old = seal(b"hello", [KEY], SIGNER, random=stream(label), edit=lambda tail: kept.update(tail) or tail)
    # The same stream and publisher, so the same body; the signature is one of many possible.
    same: dict[str, Any] = {"random": stream(label), "publisher": SIGNER.key_id}
    new = seal(b"hello", [OTHER_KEM], None, salt=stream("salt")(32), edit=lambda tail: tail | {2: kept[2], 4: kept[4]}, **same)
    assert old[:111] == new[:111]
    start, tail = old[:111], new[111:-32]
    place = max(len(old), 111 + len(tail) + 32)
    first = old + bytes(place - len(old)) + tail + footer(tail, place)
    second = start + tail + footer(tail, 111) + first[111 + len(tail) + 32 :]
    zeroed = new + bytes((len(second) - len(new)) // 2) + second[len(new) + (len(second) - len(new)) // 2 :]

    def case(name: str, expect: str, comment: str, whole: bytes, leftover: int | None, key: Any = OTHER_KEM) -> tuple[str, bytes]:
        asked = {"trusted": SIGNER, "to": [KEY], "keys": [key], "leftover": leftover}
        return made(name, expect, f"section 8: {comment}", change=lambda _: whole, **asked)

    yield case("rewrap-done", "success", "a finished rewrap", new, 0)
    yield case("rewrap-old-key", "no-recipient", "a recipient that was dropped", new, None, KEY)
    yield case("rewrap-begun", "success", "cut during step 1, the old state", first[:-20], place + len(tail) + 12 - len(old), KEY)
    yield case("rewrap-step-1", "success", "after step 1, a gap with the old tail in it", first, place - 111)
    yield case("rewrap-step-2", "success", "after step 2, the same tail twice", second, place - 111)
    yield case("rewrap-step-3", "success", "during step 3, zeros and the rest of a tail after the footer", zeroed, len(zeroed) - len(new))
    yield case("gap", "success", "what is in a gap is ignored", assemble(start, tail, b"CSMT" * 40), 160)
    yield case("after-one-byte", "success", "a byte after the footer", new + b"\0", 1)
    for count, expect in ((31, "success"), (32, "no-footer")):
        comment, after = f"{count} false candidates before the true one, at most 32 in all", b"CSMT" * count + bytes(28)
        yield case(f"after-{count}-candidates", expect, comment, new + after, len(after) if expect == "success" else None)
    later = refit(4, b"\0\2")(new + new[111:-32] + footer(new[111:-32], len(new))) + b"\0"
    yield case("after-version-2", "success", "a candidate of another version is no valid footer", later, len(later) - len(new))
    other = tail + b"\0"
    whole = old + other + footer(other, len(old)) + b"\0"
    longest = (1 << 28) + (1 << 27)
    several = b"".join(b"CSMT\0\1\0\0" + (len(new) + 32 * i - longest + 2**64).to_bytes(9)[1:] + longest.to_bytes(4) + bytes(12) for i in range(2))
    yield case("after-offsets-below-zero", "success", "candidates whose tail would begin before the file", new + several + b"\0", 65)
    yield case("after-malformed", "malformed", "the first candidate whose checksum is right decides", whole, None, KEY)


def main() -> None:
    """Write every file."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    seen: set[str] = set()
    for group in (right, signatures, publishers, body, footers, rewrapped, tails, headers, optional_keys, entries, privates, owners):
        for name, file in group():
            assert name not in seen, name
            seen.add(name)
            (folder / f"{name}.vector").write_bytes(file)
    print(f"{len(seen)} vectors, {sum(f.stat().st_size for f in folder.glob('*.vector'))} bytes")


if __name__ == "__main__":
    main()
