"""Second implementation of `spec/masked-all-reduce.md`, from the session's parts on."""

from __future__ import annotations

import hashlib
import hmac
import math
import struct
from collections.abc import Sequence
from typing import NamedTuple

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

PRIME = 2**61 - 1
WORD = 2**64
MODES = {"pairs": 1, "group": 2}
BITS = {2: 32, 3: 21}
#: Words of which a tag has one term.
BLOCK = 1024


def extract(salt: bytes, secret: bytes) -> bytes:
    return hmac.digest(salt, secret, "sha384")


def expand(secret: bytes, label: str, suffix: bytes, length: int) -> bytes:
    info = b"casemate/v1/all-reduce-" + label.encode() + b"\0" + suffix
    return HKDFExpand(hashes.SHA384(), length, info).derive(secret)


def stream(key: bytes, words: int) -> list[int]:
    encryptor = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()
    return list(struct.unpack(f"<{words}Q", encryptor.update(bytes(8 * words))))


class Session(NamedTuple):
    """Section 2: what all ranks know, and each edge's secret."""

    transcript: bytes
    group: bytes
    edges: list[bytes]

    @classmethod
    def of(cls, roster: bytes, names: Sequence[str], mode: str, parts: Sequence[bytes], exports: Sequence[bytes]) -> Session:
        """`exports` are those of the channels to rank 0, 1, ... from the rank before it."""
        listed = b"".join(bytes([len(name)]) + name.encode() for name in names)
        head = b"casemate/v1/all-reduce\0" + bytes([MODES[mode]]) + roster + len(names).to_bytes(2)
        transcript = hashlib.sha384(head + listed).digest()
        group = extract(transcript, b"".join(parts))
        if mode == "pairs":
            edges = [extract(group, export) for export in exports]
        else:
            edges = [expand(group, "edge", edge.to_bytes(2), 48) for edge in range(len(names))]
        return cls(transcript, group, edges)

    def message(self, number: int, rank: int, step: int, content: bytes) -> bytes:
        key = expand(self.group, "sender", number.to_bytes(8) + rank.to_bytes(2), 32)
        return AESGCM(key).encrypt(bytes(11) + bytes([step]), content, self.transcript)


def exponent(values: Sequence[float]) -> int:
    if not all(map(math.isfinite, values)):
        return 32767
    largest = max(map(abs, values))
    return math.frexp(largest)[1] if largest else -32768


def announcement(values: Sequence[float], lanes: int, label: bytes) -> bytes:
    head = exponent(values).to_bytes(2, signed=True) + bytes([lanes]) + len(values).to_bytes(8)
    return head + hashlib.sha384(label).digest()


def used_bits(ranks: int, lanes: int) -> int:
    return BITS[lanes] - (ranks - 1).bit_length()


def words_of(values: Sequence[float], lanes: int, ranks: int, shared: int) -> list[int]:
    bits = used_bits(ranks, lanes)
    half = 2.0 ** (bits - 1)
    # Rounding of a double to an integer is to the nearest, and of halves to even.
    levels = [min(max(round(value * 2.0 ** (bits - 1 - shared) + half), 1), 2**bits - 1) for value in values]
    groups = [levels[at : at + lanes] for at in range(0, len(levels), lanes)]
    return [sum(level << (BITS[lanes] * lane) for lane, level in enumerate(group)) for group in groups]


def lanes_of(words: Sequence[int], lanes: int) -> list[int]:
    width = BITS[lanes]
    return [word >> (width * lane) & (2**width - 1) for word in words for lane in range(lanes)]


def tags(key: bytes, words: Sequence[int], lanes: int) -> list[int]:
    each = 2 + BLOCK * lanes
    numbers = stream(key, 2 * each)
    found = []
    for which in range(2):
        # One word after each point is not used.
        point, factors = numbers[each * which] % PRIME, numbers[each * which + 2 : each * (which + 1)]
        products = (
            pow(point, at // (BLOCK * lanes) + 1, PRIME) * factors[at % (BLOCK * lanes)] * lane
            for at, lane in enumerate(lanes_of(words, lanes))
        )
        found.append(sum(products) % PRIME)
    return found


class Masked(NamedTuple):
    words: list[int]
    tags: bytes


def mask(session: Session, number: int, rank: int, words: Sequence[int], lanes: int) -> Masked:
    """Sections 3.1 and 3.2: what a rank hands to the library, and what it sends to the others."""
    ranks, count, at = len(session.edges), len(words), number.to_bytes(8)
    after = (rank + 1) % ranks
    even = count + count % 2
    plus = stream(expand(session.edges[rank], "mask", at, 32), even + 2)
    minus = stream(expand(session.edges[after], "mask", at, 32), even + 2)
    output = stream(expand(session.group, "output", at, 32), count) if rank == 0 else [0] * count
    masked = [(word + plus[j] - minus[j] + output[j]) % WORD for j, word in enumerate(words)]
    own = tags(expand(session.group, "tag", at, 32), words, lanes)
    sent = [(tag + plus[even + which] - minus[even + which]) % PRIME for which, tag in enumerate(own)]
    return Masked(masked, b"".join(tag.to_bytes(8) for tag in sent))


def mean(session: Session, number: int, summed: Sequence[int], length: int, lanes: int, shared: int) -> list[float]:
    ranks = len(session.edges)
    output = stream(expand(session.group, "output", number.to_bytes(8), 32), len(summed))
    words = [(word - mask_) % WORD for word, mask_ in zip(summed, output, strict=True)]
    bits = used_bits(ranks, lanes)
    sums = lanes_of(words, lanes)[:length]
    step = 2.0 ** (shared - bits + 1) / ranks
    return [(q - ranks * 2 ** (bits - 1)) * step for q in sums]
