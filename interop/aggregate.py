"""Second implementation of `spec/secure-aggregation.md`: a client, and what both sides derive."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

import channel
from channel import SUITE, KeyShare, Roster, h
from sealed_writer import KeyFile, cbor, encapsulate, sign
from standards import key_schedule, spki

MASK, OWN, OWN_WHOLE = 1, 2, 3
SEALED_SHARES, SEALED_EDGE = SUITE.enc + 80, SUITE.enc + 48


class Policy(NamedTuple):
    """Section 2."""

    roster: bytes
    length: int
    bits: int
    ring_bits: int
    clip_nano: int
    weight_max: int
    cohort_min: int
    cohort_max: int
    neighbours: int
    threshold: int
    aggregator: bytes

    def encode(self) -> bytes:
        return cbor({0: 1} | dict(enumerate(self, 1)) | {12: []})

    def signed(self, signer: KeyFile) -> bytes:
        encoded = self.encode()
        return cbor([encoded, sign(signer, encoded, b"casemate/v1/aggregate-policy")])


def u16(number: int) -> bytes:
    return number.to_bytes(2)


def sized(part: bytes) -> bytes:
    return len(part).to_bytes(4) + part


class Round(NamedTuple):
    """Section 3."""

    policy: Policy
    ctx: bytes

    @classmethod
    def of(cls, policy: Policy, number: int, model: bytes) -> Round:
        return cls(policy, h(b"casemate/v1/aggregate\0", h(policy.encode()), number.to_bytes(8), model))

    def info(self, label: str, *parts: bytes) -> bytes:
        return f"casemate/v1/aggregate-{label}\0".encode() + self.ctx + b"".join(parts)

    def expand(self, secret: bytes, label: str, *parts: bytes) -> bytes:
        return HKDFExpand(hashes.SHA384(), 32, self.info(label, *parts)).derive(secret)

    def key(self, seed: bytes) -> KeyShare:
        return KeyShare(self.expand(seed, "key"))

    def edge_part(self, mask_seed: bytes, to: int) -> bytes:
        return self.expand(mask_seed, "edge", u16(to))

    def pair(self, lower: int, a: bytes, higher: int, b: bytes) -> bytes:
        return self.expand(a + b, "pair", u16(lower), u16(higher))

    def commitment(self, kind: int, of: int, holder: int, share: bytes) -> bytes:
        return h(self.info("commitment", bytes([kind]), u16(of), u16(holder)), share)

    def seal(self, label: str, sender: int, to: int, public: bytes, plain: bytes) -> bytes:
        key = KeyFile(SUITE, public, (b"", b""))
        return b"".join(encapsulate(key, self.info(label, u16(sender), u16(to)), plain))

    def open(self, label: str, sender: int, to: int, key: KeyShare, sealed: bytes) -> bytes:
        info = self.info(label, u16(sender), u16(to))
        return SUITE.open_base(*key.parts(), sealed[: SUITE.enc], info, sealed[SUITE.enc :])


def gf_multiply(a: int, b: int) -> int:
    """Multiply in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1."""
    product = 0
    while b:
        if b & 1:
            product ^= a
        a = (a << 1) ^ (0x11B if a & 0x80 else 0)
        b >>= 1
    return product


def split(secret: bytes, polynomials: Sequence[bytes], holders: int) -> list[bytes]:
    """Share `secret`; `polynomials` are the coefficients from the first power on, each as long as the secret."""
    shares = []
    for x in range(1, holders + 1):
        share = bytes(len(secret))
        for coefficients in (*reversed(polynomials), secret):
            share = bytes(gf_multiply(value, x) ^ other for value, other in zip(share, coefficients, strict=True))
        shares.append(share)
    return shares


def combine(shares: dict[int, bytes]) -> bytes:
    """Restore a secret from shares by place: Lagrange interpolation at 0."""
    inverse = {a: b for a in range(1, 256) for b in range(1, 256) if gf_multiply(a, b) == 1}
    secret = bytes(len(next(iter(shares.values()))))
    for x, share in shares.items():
        weight = 1
        for other in shares:
            if other != x:
                weight = gf_multiply(weight, gf_multiply(other, inverse[other ^ x]))
        secret = bytes(a ^ gf_multiply(b, weight) for a, b in zip(secret, share, strict=True))
    return secret


def stream(key: bytes, count: int) -> list[int]:
    """Section 5: words of AES-256-CTR over zeros."""
    data = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor().update(bytes(4 * count))
    return [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)]


def quantise(policy: Policy, values: Sequence[float], weight: int, rounding: bytes) -> list[int]:
    clip, most = policy.clip_nano / 1e9, 2**policy.bits - 1
    words = stream(rounding, len(values))
    levels = []
    for value, word in zip(values, words, strict=True):
        clipped = max(-clip, min(clip, value)) * (weight / policy.weight_max)
        levels.append(min(round((clipped + clip) * (most / (2 * clip)) + (word / 2**32 - 0.5)), most))
    return [*levels, weight]


def pack(values: Sequence[int], bits: int) -> bytes:
    number = 0
    for at, value in enumerate(values):
        number |= (value & ((1 << bits) - 1)) << (at * bits)
    return number.to_bytes((len(values) * bits + 7) // 8, "little")


class Client(NamedTuple):
    """One client's secrets and keys in a round."""

    round: Round
    at: int
    key: KeyFile
    mask: bytes
    own: bytes
    channel: bytes

    def head(self, step: int) -> bytes:
        return bytes([step]) + u16(self.at) + self.round.ctx

    def signed(self, message: bytes) -> bytes:
        return message + sign(self.key, message, b"casemate/v1/aggregate-message")

    def advertisement(self) -> bytes:
        return self.signed(self.head(1) + b"".join(self.round.key(seed).public() for seed in (self.mask, self.channel)))

    def entries(self, keys: dict[int, tuple[bytes, bytes]], shares: dict[int, bytes]) -> dict[int, bytes]:
        """What is sealed for each holder; `keys` are the holders' mask and channel keys."""
        entries = {}
        for holder, (mask_key, channel_key) in sorted(keys.items()):
            share = shares[holder]
            entries[holder] = (
                self.round.seal("share", self.at, holder, channel_key, share)
                + self.round.seal("edge", self.at, holder, mask_key, self.round.edge_part(self.mask, holder))
                + self.round.commitment(MASK, self.at, holder, share[:32])
                + self.round.commitment(OWN, self.at, holder, share[32:])
            )
        return entries

    def shares_message(self, entries: dict[int, bytes]) -> bytes:
        commitment = self.round.commitment(OWN_WHOLE, self.at, self.at, self.own)
        parts = [u16(holder) + sealed for holder, sealed in entries.items()]
        return self.signed(self.head(3) + commitment + u16(len(parts)) + b"".join(parts))

    def masked(self, levels: Sequence[int], parts: dict[int, bytes]) -> bytes:
        """The masked vector in a complete graph; `parts` are the others' parts of the secrets of edges."""
        ring = self.round.policy.ring_bits
        total = list(levels)

        def add(key: bytes, sign_: int) -> None:
            for at, word in enumerate(stream(key, len(total))):
                total[at] = (total[at] + sign_ * word) % 2**ring

        add(self.round.expand(self.own, "self"), 1)
        for other, theirs in parts.items():
            mine = self.round.edge_part(self.mask, other)
            if self.at < other:
                add(self.round.pair(self.at, mine, other, theirs), 1)
            else:
                add(self.round.pair(other, theirs, self.at, mine), -1)
        return pack(total, ring)

    def agreement(self, cohort_: bytes, members_: Sequence[int], survivors: bytes) -> bytes:
        return self.signed(self.head(7) + transcript_of(cohort_, members_) + h(survivors))

    def reveal(self, aggregator: bytes, shares: dict[int, tuple[int, bytes]], transcript: bytes, survivors: bytes) -> bytes:
        """Seal and sign the kind and the share of each other client."""
        rows = [u16(of) + bytes([kind]) + share for of, (kind, share) in shares.items()]
        secret, enc = channel.encapsulate(aggregator)
        key, nonce = key_schedule(SUITE.triple, secret, self.round.info("reveal", u16(self.at)))
        sealed = enc + AESGCM(key).encrypt(nonce, u16(len(rows)) + b"".join(rows), h(survivors))
        signature = sign(self.key, self.head(9) + transcript + sealed, b"casemate/v1/aggregate-message")
        return self.head(9) + sized(signature) + sealed


def cohort(advertisements: Sequence[bytes]) -> bytes:
    return b"\x02" + u16(len(advertisements)) + b"".join(map(sized, advertisements))


def members(step: int, list_: Sequence[int]) -> bytes:
    return bytes([step]) + u16(len(list_)) + b"".join(map(u16, list_))


def transcript_of(cohort_: bytes, members_: Sequence[int]) -> bytes:
    return h(h(cohort_), members(0, members_)[1:])


def inbox(list_: Sequence[int], sealed: dict[int, bytes]) -> bytes:
    return members(4, list_) + u16(len(sealed)) + b"".join(u16(sender) + part for sender, part in sealed.items())


def agreements(signatures: dict[int, bytes]) -> bytes:
    return b"\x08" + u16(len(signatures)) + b"".join(u16(at) + sized(one) for at, one in signatures.items())


def policy_for(roster: Roster, aggregator: KeyShare, **parameters: int) -> Policy:
    return Policy(h(roster.encode()), aggregator=spki(SUITE.oid, aggregator.public()), **parameters)
