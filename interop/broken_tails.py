"""Vectors whose tail violates sections 5 to 5.8 of `spec/sealed-artifact.md`. The checksum in the footer is always correct."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from artifact_vector import KEM, KEY, OTHER_KEM, OTHER_SIGN, SIGN, SIGNER, flip, made, stream
from sealed_writer import Raw, cbor, cbor_head, seal

Map = dict[int, Any]
Cases = Iterator[tuple[str, bytes]]
P256_PRIME = 2**256 - 2**224 + 2**192 + 2**96 - 1


def put(pairs: list[tuple[Any, Any]], head: bytes | None = None) -> bytes:
    """Encode a map in the given order."""
    return (head or cbor_head(5, len(pairs))) + b"".join(cbor(k) + cbor(v) for k, v in pairs)


def maps(last: int, unknown: int) -> Iterator[tuple[str, str, Callable[[Map], bytes]]]:
    """Yield the same map, or nearly the same, in other encodings. The correct entries come first where possible."""
    yield "head-long", "map head not in its shortest form", lambda m: put([*m.items()], cbor_head(5, len(m), 1))
    yield "indefinite", "map of indefinite length", lambda m: put([*m.items()], b"\xbf") + b"\xff"
    yield "keys-unsorted", "map keys not in ascending order", lambda m: put([(1, m[1]), (0, m[0]), *[*m.items()][2:]])
    yield "key-twice", "a key twice", lambda m: put([*m.items(), (last, m[last])])
    yield "key-unknown", "an unknown key", lambda m: put([*m.items(), (unknown, 0)])
    yield "key-other", "an unknown key in place of the last", lambda m: put([*[*m.items()][:-1], (unknown, m[last])])
    yield "head-more", "a map that says it has one entry more than follow", lambda m: put([*m.items()], cbor_head(5, len(m) + 1))
    yield "key-missing", "the last key missing", lambda m: put([*m.items()][:-1])
    yield "key-long", "a key not in its shortest form", lambda m: put([(Raw(b"\x18\0"), m[0]), *[*m.items()][1:]])
    yield "byte-after", "a byte after the item", lambda m: put([*m.items()]) + b"\0"
    yield "tagged", "self-described CBOR", lambda m: b"\xd9\xd9\xf7" + put([*m.items()])


def tails() -> Cases:
    """Section 5."""
    for name, what, form in maps(7, 8):
        yield made(f"tail-{name}", "malformed", f"section 5: {what}", edit=form)

    def hashes(form: Callable[[bytes], bytes]) -> Callable[[Map], Map]:
        return lambda t: t | {3: Raw(form(t[3]))}

    for width in (2, 4, 8):
        long = hashes(lambda h, width=width: cbor_head(2, len(h), width) + h)
        yield made(f"tail-length-in-{width}-bytes", "malformed", "section 5: a length not in its shortest form", edit=long)
    chunked = hashes(lambda h: b"\x5f" + cbor(h) + b"\xff")
    yield made("tail-string-indefinite", "malformed", "section 5: byte string of indefinite length", edit=chunked)
    text = hashes(lambda h: cbor("a" * len(h)))
    yield made("tail-text-for-bytes", "malformed", "section 5: text where a byte string belongs", edit=text)
    past = hashes(lambda h: cbor_head(2, 2**64 - 1) + h)
    yield made("tail-length-past-end", "malformed", "section 5: a byte string longer than the tail", edit=past)
    yield made("tail-cut", "malformed", "section 5: the item ends too early", edit=lambda t: cbor(t)[:-1])
    yield made("tail-empty", "malformed", "section 5: no item", edit=lambda t: b"")
    listed = lambda t: t | {1: Raw(b"\x9f" + cbor(t[1][0]) + b"\xff")}  # noqa: E731
    yield made("tail-array-indefinite", "malformed", "section 5: array of indefinite length", edit=listed)
    hashed = {"none": lambda h: b"", "two": lambda h: h + h, "short": lambda h: h[:-1]}
    for name, change in hashed.items():
        yield made(f"hashes-{name}", "malformed", "section 5.3: one hash for each segment", edit=lambda t, c=change: t | {3: c(t[3])})
    comment = "section 5.4: null, or an array of three"
    yield made("signature-undefined", "malformed", comment, edit=lambda t: t | {4: Raw(b"\xf7")})
    yield made("signature-two", "malformed", comment, signed=SIGNER, edit=lambda t: t | {4: t[4][:2]})
    short = lambda t: t | {4: [t[4][0], t[4][1][:-1], t[4][2]]}  # noqa: E731
    yield made("signature-key-id-short", "malformed", "section 5.4: key id", signed=SIGNER, edit=short)
    comment = "section 5.4: an unknown suite is refused, though no signer is asked for"
    for name, oid in (("unknown", "1.3.6.1.4.1.32473.2"), ("unknown-long", "1.3" + ".6" * 100), ("no-oid", "mldsa65-ed25519")):
        yield made(f"signature-suite-{name}", "unknown-suite", comment, signed=SIGNER, edit=lambda t, o=oid: t | {4: [o, *t[4][1:]]})
    comment = "section 3: signature of 32,769 bytes"
    yield made("signature-32769", "limit", comment, signed=SIGNER, edit=lambda t: t | {4: [*t[4][:2], bytes(32769)]})


def headers() -> Cases:
    """Section 5.1. Everything else matches the modified header."""
    for name, what, form in maps(6, 10):  # keys 7 to 9 are optional, 10 to 12 reserved
        yield made(f"header-{name}", "malformed", f"section 5.1: {what}", edit_header=form)

    def case(name: str, expect: str, comment: str, at: int, value: object, **more: Any) -> tuple[str, bytes]:
        return made(f"header-{name}", expect, f"section {comment}", edit_header=lambda h: h | {at: value}, **more)

    yield case("version-2", "unsupported-version", "5.1: version 2", 0, 2)
    yield case("version-0", "unsupported-version", "5.1: version 0", 0, 0)
    yield case("version-long", "malformed", "5.1: version not in its shortest form", 0, Raw(b"\x18\1"))
    yield case("id-15", "malformed", "5.1: artifact id of 15 bytes", 1, bytes(15))
    for size in (1 << 15, 98304, 1 << 25):
        comment = f"3 and 9: segment size {size} is malformed"
        yield made(f"header-segment-size-{size}", "malformed", f"section {comment}", segment=size)
    yield case("segment-size-0", "malformed", "3 and 9: segment size 0 is malformed", 2, 0)
    yield case("hash-3", "unknown-suite", "5.1: hash 3", 3, 3)
    for length in (0, 73, 105):
        yield case(f"body-{length}", "malformed", "5.1: body length too small for any content", 4, length)
    yield case("body-segment-33", "malformed", "5.1: a segment and one byte of the next, which no content has", 4, 74 + 65536 + 33)
    yield case("created-negative", "malformed", "5.1: created is a uint", 5, Raw(b"\x20"))
    for name, value in {
        "empty": "", "no-slash": "text", "no-type": "/plain", "no-subtype": "text/", "control": "text/pl\x1fain",
        "delete": "text/plain\x7f", "not-ascii": "text/plaïn",
    }.items():  # fmt: skip
        yield made(f"content-type-{name}", "malformed", "section 5.1: type/subtype in 0x20 to 0x7e", content_type=value)
    yield case("content-type-no-utf8", "malformed", "5.1: content type is no UTF-8", 6, Raw(cbor_head(3, 3) + b"a/\xff"))
    yield made("content-type-256", "limit", "section 3: content type of 256 bytes", content_type="a/" + "b" * 254)
    yield made("header-1025", "limit", "section 3: header of 1,025 bytes, by its content type", content_type="a/" + "b" * 972)


def optional_keys() -> Cases:
    """Keys 7 and 8 of the header (section 5.1). The artifacts are unsigned, so only the encoding is wrong."""
    key_id = SIGNER.key_id
    for name, what, value in (
        ("short", "31 bytes", key_id[:-1]),
        ("long", "33 bytes", key_id + b"\0"),
        ("empty", "no bytes", b""),
        ("text", "text", "a" * 32),
        ("int", "a number", 0),
        ("null", "null: it would have to be left out", Raw(b"\xf6")),
        ("list", "a list of one", [key_id]),
        ("length-long", "a length not in its shortest form", Raw(cbor_head(2, 32, 2) + key_id)),
        ("indefinite", "a byte string of indefinite length", Raw(b"\x5f" + cbor(key_id) + b"\xff")),
        ("length-past-end", "longer than the header", Raw(cbor_head(2, 2**64 - 1) + key_id)),
    ):
        yield made(f"publisher-{name}", "malformed", f"section 5.1: publisher is {what}", publisher=value)
    for name, what, value in (
        ("0", "0, and revisions start at 1", 0),
        ("negative", "a negative number", Raw(b"\x20")),
        ("text", "text", "1"),
        ("bytes", "a byte string", b"\1"),
        ("null", "null: it would have to be left out", None),
        ("float", "a float", Raw(b"\xf9\x3c\0")),
        ("long", "not in its shortest form", Raw(b"\x18\1")),
        ("large", "2^64, a tagged byte string", Raw(b"\xc2\x49\1" + bytes(8))),
    ):
        yield made(f"revision-{name}", "malformed", f"section 5.1: revision is {what}", revision=value, publisher=key_id)

    def case(name: str, comment: str, form: Callable[[list[tuple[Any, Any]]], bytes], expect: str = "malformed") -> tuple[str, bytes]:
        change = lambda h: form([*h.items()])  # noqa: E731
        return made(f"header-{name}", expect, f"section {comment}", edit_header=change, publisher=key_id, revision=1)

    yield case("revision-first", "5.1: key 8 before key 7", lambda p: put([*p[:7], p[8], p[7]]))
    yield case("publisher-first", "5.1: key 7 before key 0", lambda p: put([p[7], *p[:7], p[8]]))
    yield case("publisher-twice", "5.1: key 7 twice", lambda p: put([*p[:8], p[7]]))
    yield case("publisher-twice-of-ten", "5.1: key 7 twice, and key 8", lambda p: put([*p[:8], *p[7:]]))
    yield case("revision-twice", "5.1: key 8 twice", lambda p: put([*p[:7], p[8], p[8]]))
    for key in (10, 11, 12, 13, 63):
        yield case(f"key-{key}", f"5.1: the unknown key {key} after all others", lambda p, key=key: put([*p, (key, 0)]))
    yield case("key-10-for-8", "5.1: the reserved key 10 in place of key 8", lambda p: put([*p[:8], (10, 1)]))
    yield case("ignored-unsorted", "5: keys 65 and 64, in this order", lambda p: put([*p, (65, 0), (64, 0)]))
    yield case("ignored-twice", "5: key 64 twice", lambda p: put([*p, (64, 0), (64, 0)]))
    yield case("ignored-first", "5: key 64 before key 8", lambda p: put([*p[:8], (64, 0), p[8]]))
    yield case("ignored-long", "5: a value not in its shortest form", lambda p: put([*p, (64, Raw(b"\x18\1"))]))
    for name, what, value in (("map", "a map", {}), ("array", "an array", []), ("null", "null", None), ("tag", "a tag", Raw(b"\xc1\0"))):
        yield case(f"ignored-{name}", f"5.1: the value of key 64 is {what}", lambda p, value=value: put([*p, (64, value)]))
    yield case("key-minus-1", "5.1: a negative key after all others", lambda p: put([*p[:8], (Raw(b"\x20"), 1)]))
    yield case("content-type-missing", "5.1: key 6 missing, keys 7 and 8 there", lambda p: put([*p[:6], *p[7:]]))
    yield case("publisher-key-long", "5: key 7 not in its shortest form", lambda p: put([*p[:7], (Raw(b"\x18\7"), p[7][1]), p[8]]))
    yield case("revision-key-long", "5: key 8 not in its shortest form", lambda p: put([*p[:8], (Raw(b"\x18\10"), 1)]))
    yield case("head-nine", "5.1: a map that says it has nine entries, and eight follow", lambda p: put(p[:8], cbor_head(5, 9)))
    yield case("head-eight", "5.1: a map that says it has eight entries, and nine follow", lambda p: put(p, cbor_head(5, 8)))
    yield case("head-seven", "5.1: a map that says it has seven entries, and eight follow", lambda p: put(p[:8], cbor_head(5, 7)))
    later = "unsupported-version"
    yield case("version-2-ten", "9: version 2 comes before the number of keys: ten", lambda p: put([(0, 2), *p[1:], (10, 0)]), later)
    yield case("version-2-six", "9: version 2 comes before the number of keys: six", lambda p: put([(0, 2), *p[1:6]]), later)


def replaced(at: int, change: Callable[[Any], Any]) -> Callable[[list[list[Any]]], list[list[Any]]]:
    """Return a function that changes one element of the first recipient."""
    return lambda found: [[*found[0][:at], change(found[0][at]), *found[0][at + 1 :]], *found[1:]]


def entries() -> Cases:
    """Section 5.2. The recipient part is bound to the modified recipients, unless the comment says otherwise."""

    def case(name: str, expect: str, comment: str, change: Callable[[Any], Any], **more: Any) -> tuple[str, bytes]:
        return made(f"recipient-{name}", expect, f"section {comment}", edit_entries=change, **more)

    yield made("recipients-none", "malformed", "section 5.2: an array of 1 to 1,024", edit_entries=lambda e: [])
    yield case("twice", "malformed", "5.2: the same recipient twice", lambda e: [*e, *e])
    comment = "5.2: one key id under two suites"
    both = {"to": [KEY, KEM["mlkem768-p256"]], "keys": [KEY]}
    yield case("key-id-twice", "malformed", comment, lambda e: [e[0], [*e[1][:3], e[0][3], *e[1][4:]]], **both)
    yield case("five", "malformed", "5.2: an array of five", lambda e: [e[0][:5]])
    yield case("seven", "malformed", "5.2: an array of seven", lambda e: [[*e[0], 0]])
    more = lambda e: [Raw(cbor_head(4, 7) + cbor(e[0])[1:])]  # noqa: E731
    yield case("head-seven", "malformed", "5.2: an array that says it has seven elements, and six follow", more)
    yield case("kem-unknown", "unknown-suite", "5.2: KEM 0x0020", replaced(0, lambda _: 0x20))
    comment = "5.2: a triple that is not known, and too large for 16 bits"
    yield case("kem-large", "unknown-suite", comment, replaced(0, lambda _: 0x1647A))
    yield case("kdf-unknown", "unknown-suite", "5.2: known KEM, other KDF", replaced(1, lambda _: 2))
    yield case("aead-unknown", "unknown-suite", "5.2: known KEM, other AEAD", replaced(2, lambda _: 3))
    yield case("kem-long", "malformed", "5: KEM not in its shortest form", replaced(0, lambda _: Raw(b"\x1a\0\0\x64\x7a")))
    yield case("key-id-short", "malformed", "5.2: key id of 31 bytes", replaced(3, lambda v: v[:-1]))
    for at, name in ((4, "enc"), (5, "ct")):
        yield case(f"{name}-short", "malformed", f"5.2: {name} of another length", replaced(at, lambda v: v[:-1]))
        yield case(f"{name}-long", "malformed", f"5.2: {name} of another length", replaced(at, lambda v: v + b"\0"))
    reject = "7, step 5: one error for all"
    yield case("ct-flipped", "rejected", f"{reject}: ct", replaced(5, lambda v: flip(v, 0)))
    yield case("ct-tag-flipped", "rejected", f"{reject}: tag of ct", replaced(5, lambda v: flip(v, 47)))
    for name, key in KEM.items():
        yield case(f"enc-{name}-mlkem-flipped", "rejected", f"{reject}: ML-KEM part of enc", replaced(4, lambda v: flip(v, 9)), to=[key])
        if key.suite.point:  # type: ignore[union-attr]
            comment = f"{reject}: classical part of enc"
            yield case(f"enc-{name}-classical-flipped", "rejected", comment, replaced(4, lambda v: flip(v, -2)), to=[key])
    high = "the bit of the X25519 share that X25519 ignores and the combiner hashes"
    yield case("enc-high-bit", "rejected", f"5.2: {high}", replaced(4, lambda v: flip(v, -1, 0x80)))

    def negated(enc: bytes) -> bytes:
        return enc[:-32] + (P256_PRIME - int.from_bytes(enc[-32:])).to_bytes(32)

    comment = "5.2: the other point with the same x, which gives the same secret and is hashed"
    yield case("enc-negated", "rejected", comment, replaced(4, negated), to=[KEM["mlkem768-p256"]])
    for name, first in (("hybrid", 6), ("infinity", 0)):
        comment = f"{reject}: P-256 share begins with {first}"
        change = replaced(4, lambda v, f=first: v[:1088] + bytes([f]) + v[1089:])
        yield case(f"enc-point-{name}", "rejected", comment, change, to=[KEM["mlkem768-p256"]])
    strange = lambda e: [[*e[1][:3], e[0][3], *e[1][4:]]]  # noqa: E731
    comment = f"{reject}: the key id over an encapsulation to another key of the suite"
    yield case("key-id-of-another", "rejected", comment, strange, to=[KEY, OTHER_KEM], keys=[KEY])
    comment = f"{reject}: the key id over an encapsulation of another suite"
    yield case("suite-not-the-keys", "rejected", comment, strange, to=[KEY, KEM["mlkem768-p256"]], keys=[KEY])
    kept: Map = {}
    seal(b"other", [KEY, OTHER_KEM], None, random=stream("another artifact"), edit=lambda t: kept.update(t) or t)
    yield case("of-another-artifact", "rejected", f"{reject}: HPKE info has another header", lambda e: [kept[1][0]])
    bound = "section 5.6: the recipient part is bound to the recipients"
    yield made("recipient-added", "rejected", f"{bound}: one added", edit=lambda t: t | {1: [*t[1], kept[1][1]]})
    yield made("recipient-dropped", "rejected", f"{bound}: one dropped", to=[KEY, OTHER_KEM], keys=[KEY], edit=lambda t: t | {1: t[1][:1]})
    yield made("recipients-exchanged", "rejected", f"{bound}: another order", to=[KEY, OTHER_KEM], edit=lambda t: t | {1: t[1][::-1]})
    changed = lambda t: t | {1: [t[1][0], [*t[1][1][:5], flip(t[1][1][5], 0)]]}  # noqa: E731
    yield made("recipient-changed", "rejected", f"{bound}: another's ct changed", to=[KEY, OTHER_KEM], keys=[KEY], edit=changed)


def privates() -> Cases:
    """Sections 5.5 and 5.6."""
    signed = {"signed": SIGNER, "trusted": SIGNER}
    for name, at in (("salt", 0), ("ciphertext", 32), ("tag", -1)):
        change = lambda part, at=at: flip(part, at)  # noqa: E731
        yield made(f"publisher-part-{name}-flipped", "rejected", f"section 5.5: {name}", edit_publisher_part=change)
        after = lambda t, at=at: t | {2: flip(t[2], at)}  # noqa: E731
        comment = f"section 5.3: the {name} of the publisher part changed after it was signed"
        yield made(f"publisher-part-{name}-signed", "bad-signature", comment, edit=after, **signed)
        edit = lambda t, at=at: t | {5: flip(t[5], at)}  # noqa: E731
        yield made(f"recipient-part-{name}-flipped", "rejected", f"section 5.6: {name}", edit=edit, **signed)
    for length in (0, 31, 47):
        comment = f"section 7, step 5: {length} bytes are too few for salt and tag"
        cut = lambda part, n=length: part[:n]  # noqa: E731
        yield made(f"publisher-part-{length}-bytes", "rejected", comment, edit_publisher_part=cut)
        yield made(f"recipient-part-{length}-bytes", "rejected", comment, edit=lambda t, n=length: t | {5: t[5][:n]})
    changed = lambda t: t | {7: t[7] + b"\0"}  # noqa: E731
    comment = "section 5.3: the public part changed after it was signed"
    yield made("public-part-signed", "bad-signature", comment, edit=changed, public=b"for everybody", **signed)
    comment = "section 3: recipient part of 1,025 bytes"
    yield made("recipient-part-1025", "limit", comment, edit=lambda t: t | {5: bytes(1025)})
    for name, what, plain in (
        ("not-empty", "an entry", cbor({0: 0})),
        ("long", "a head not in its shortest form", b"\xb8\0"),
        ("array", "an array", cbor([])),
        ("byte-after", "a byte after the item", cbor({}) + b"\0"),
        ("no-item", "nothing", b""),
    ):
        yield made(f"recipient-part-{name}", "malformed", f"section 5.6, authenticated: {what}", bound=plain)
    comment = "section 5.5: another's publisher part under the same header"
    other: Map = {}
    seal(b"hello", [KEY], None, random=stream("another artifact"), edit=lambda t: other.update(t) or t)
    yield made("publisher-part-of-another", "rejected", comment, edit_publisher_part=lambda _: other[2])
    yield made("recipient-part-of-another", "rejected", "section 5.6: of another artifact", edit=lambda t: t | {5: other[5]})
    good: Map = {0: "n", 1: 5, 2: {}}
    for name, what, form in maps(2, 3):
        yield made(f"private-{name}", "malformed", f"section 5.5, authenticated: {what}", private=form(good))
    for name, what, plain in (
        ("length-wrong", "another content length than the header's", good | {1: 6}),
        ("name-bytes", "name is a byte string", good | {0: b"n"}),
        ("name-no-utf8", "name is no UTF-8", good | {0: Raw(b"\x61\xff")}),
        ("metadata-unsorted", "names in order of length last", good | {2: Raw(put([("aa", ""), ("b", "")]))}),
        ("metadata-twice", "a name twice", good | {2: Raw(put([("a", "1"), ("a", "2")]))}),
        ("metadata-value-int", "value is no text", good | {2: {"a": 1}}),
        ("metadata-indefinite", "map of indefinite length", good | {2: Raw(put([("a", "")], b"\xbf") + b"\xff")}),
        ("metadata-count", "more entries announced than there are", good | {2: Raw(put([("a", "")], cbor_head(5, 2**64 - 1)))}),
    ):
        yield made(f"private-{name}", "malformed", f"section 5.5, authenticated: {what}", private=cbor(plain))
    yield made("private-name-4097", "limit", "section 5.5: name of 4,097 bytes", name="n" * 4097)


OWNER, DELEGATE = SIGN["mldsa65-p384"], OTHER_SIGN
UNTIL = 1_800_000_000


def owners() -> Cases:
    """Section 5.7."""
    owned: Map = {"owner": OWNER}
    delegated: Map = owned | {"delegation": (DELEGATE, (UNTIL, 5)), "epoch": 5}
    yield made("owner", "success", "section 5.7: signed by the owner", **owned)
    for name, key in SIGN.items():
        yield made(f"owner-{name}", "success", f"section 5.7: {name}", owner=key, signed=SIGNER, trusted=SIGNER)
    yield made("owner-epoch-largest", "success", "section 5.7: epoch is a uint", epoch=2**64 - 1, **owned)
    yield made("owner-delegate", "success", "section 5.7: by a delegate, on the last date and at the last epoch", **delegated)

    def case(name: str, expect: str, comment: str, change: Callable[[Any], Any], base: Map = owned, **more: Any) -> tuple[str, bytes]:
        return made(f"owner-{name}", expect, f"section {comment}", edit=lambda t: t | {6: change(t[6])}, **base, **more)

    yield case("list-missing", "owner", "5.7: the list is missing", lambda _: None)
    comment = "section 5.7: a list, and no owner in the header"
    kept: Map = {}
    seal(b"hello", [KEY], None, random=stream("owner"), owner=OWNER, edit=lambda t: kept.update(t) or t)
    yield made("owner-list-unasked", "malformed", comment, edit=lambda t: t | {6: kept[6]})
    yield made("owner-other", "owner", "section 5.7: the list is by another owner than the header's", owner_id=SIGNER.key_id, **owned)
    yield case("key-of-a-recipient", "owner", "5.7: the owner's key is no signing key", lambda v: [*v[:2], KEY.public, *v[3:]])
    yield case("epoch-changed", "owner", "5.7: another epoch than was signed", lambda v: [v[0] + 1, *v[1:]])
    yield case("date-changed", "owner", "5.7: another date than was signed", lambda v: [v[0], v[1] + 1, *v[2:]])
    yield case("signature-flipped", "owner", "5.7: signature", lambda v: [*v[:4], flip(v[4], 40)])
    yield case("of-another", "owner", "5.7: of another artifact", lambda _: kept[6])
    yield case("epoch-0", "malformed", "5.7: epochs start at 1", lambda v: [0, *v[1:]])
    yield case("four", "malformed", "5.7: an array of four", lambda v: v[:4])
    yield case("six", "malformed", "5.7: an array of six", lambda v: [*v, 0])
    yield case("key-8193", "limit", "3: a public key of 8,193 bytes", lambda v: [*v[:2], bytes(8193), *v[3:]])
    yield case("signature-32769", "limit", "3: signature of 32,769 bytes", lambda v: [*v[:4], bytes(32769)])
    yield made("owner-context", "owner", "section 5.7: signed for another context", list_context=b"casemate/v1/artifact", **owned)
    yield made("owner-header", "owner", "section 5.7: signed for another header", edit_list=lambda m: flip(m, 0), **owned)
    yield made("owner-recipients", "owner", "section 5.7: signed for other recipients", edit_list=lambda m: flip(m, 64), **owned)
    added = lambda t: t | {1: t[1][:1]}  # noqa: E731
    yield made("owner-recipient-dropped", "owner", "section 5.7: a recipient dropped", to=[KEY, OTHER_KEM], keys=[KEY], edit=added, **owned)
    late = delegated | {"date": UNTIL + 1}
    yield made("owner-delegate-late", "owner", "section 5.7: a delegate's list dated after the delegation", **late)
    yield made("owner-delegate-epoch", "owner", "section 5.7: a delegate's list past the last epoch", **(delegated | {"epoch": 6}))
    forged = {"edit_delegation": lambda m: flip(m, 64)}
    yield made("owner-delegate-forged", "owner", "section 5.7: a delegation that the owner did not sign", **delegated, **forged)
    comment = "5.7: a delegate's list without the delegation"
    yield case("delegate-alone", "owner", comment, lambda v: [*v[:3], None, v[4]], delegated)
    comment = "5.7: the owner's list under a delegation to another key"
    yield case("delegate-not-signed", "owner", comment, lambda v: [*v[:3], v[3], kept[6][4]], delegated)
    yield case("delegation-three", "malformed", "5.7: a delegation of three", lambda v: [*v[:3], v[3][:3], v[4]], delegated)
