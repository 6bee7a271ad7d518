"""Second implementation of `spec/training.md`: rosters, and both ends of a channel."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from sealed_writer import KeyFile, cbor, sign
from standards import KEMS, Signature, exporter, spki

GENERATION = 65_536
SUITE = KEMS[(0x647A, 1, 2)]


def h(*parts: bytes) -> bytes:
    return hashlib.sha384(b"".join(parts)).digest()


def key_of(member: KeyFile) -> bytes:
    assert isinstance(member.suite, Signature)
    return spki(member.suite.oid, member.public)


class Roster(NamedTuple):
    """Section 2."""

    job: bytes
    epoch: int
    created: int
    expires: int
    members: dict[str, KeyFile]

    def encode(self) -> bytes:
        members = [[name, key_of(member)] for name, member in sorted(self.members.items())]
        return cbor({0: 1, 1: self.job, 2: self.epoch, 3: self.created, 4: self.expires, 5: members})

    def signed(self, signer: KeyFile) -> bytes:
        encoded = self.encode()
        return cbor([encoded, sign(signer, encoded, b"casemate/v1/train-roster")])


class KeyShare(NamedTuple):
    """An initiator's key pair for one handshake, from the 32-byte seed of X-Wing."""

    seed: bytes

    def parts(self) -> tuple[bytes, bytes]:
        full = hashlib.shake_256(self.seed).digest(96)
        return full[:64], full[64:]

    def public(self) -> bytes:
        return SUITE.public(*self.parts())


def signed_message(key: KeyFile, prefix: bytes, body: bytes) -> bytes:
    signature = sign(key, prefix + body, b"casemate/v1/train-handshake")
    return body + len(signature).to_bytes(4) + signature


def hello(roster: Roster, initiator: str, responder: str, nonce: bytes, share: KeyShare) -> bytes:
    names = b"".join(bytes([len(name)]) + name.encode() for name in (initiator, responder))
    return b"\x01\x01" + h(roster.encode()) + names + nonce + share.public()


def info(hello_: bytes) -> bytes:
    return b"casemate/v1/train-channel\0" + h(hello_)


def encapsulate(public: bytes) -> tuple[bytes, bytes]:
    """Return the shared secret and `enc`."""
    post, point = public[: SUITE.mlkem_ek], public[SUITE.mlkem_ek :]
    secret, ct = mlkem.MLKEM768PublicKey.from_public_bytes(post).encapsulate()
    ephemeral = x25519.X25519PrivateKey.generate()
    agreed = ephemeral.exchange(x25519.X25519PublicKey.from_public_bytes(point))
    share = ephemeral.public_key().public_bytes_raw()
    return hashlib.sha3_256(secret + agreed + share + point + SUITE.label).digest(), ct + share


def answer(roster: Roster, responder: str, hello_: bytes, nonce: bytes, public: bytes) -> tuple[bytes, bytes]:
    """Return the shared secret and the answer."""
    secret, enc = encapsulate(public)
    body = b"\x01\x02" + nonce + enc
    return secret, signed_message(roster.members[responder], b"\x02" + h(hello_), body)


def expand(chain: bytes, label: bytes, length: int) -> bytes:
    return HKDFExpand(hashes.SHA384(), length, label).derive(chain)


class Direction:
    """One direction: derives the keys of every generation from its first chain."""

    def __init__(self, number: int, channel: bytes, chain: bytes) -> None:
        self.number, self.channel, self.chain = number, channel, chain

    def key(self, generation: int) -> AESGCM:
        chain = self.chain
        for _ in range(generation):
            chain = expand(chain, b"casemate/v1/train-next", 48)
        return AESGCM(expand(chain, b"casemate/v1/train-key", 32))

    def _bound(self, sequence: int, associated: bytes) -> tuple[bytes, bytes]:
        number = sequence.to_bytes(8)
        return bytes(4) + number, bytes([self.number]) + self.channel + number + associated

    def seal(self, sequence: int, content: bytes, associated: bytes = b"") -> bytes:
        nonce, aad = self._bound(sequence, associated)
        return sequence.to_bytes(8) + self.key(sequence // GENERATION).encrypt(nonce, content, aad)

    def open(self, message: bytes, associated: bytes = b"") -> bytes:
        sequence = int.from_bytes(message[:8])
        nonce, aad = self._bound(sequence, associated)
        return self.key(sequence // GENERATION).decrypt(nonce, message[8:], aad)


class Established(NamedTuple):
    """What both ends derive (section 3.1)."""

    id: bytes
    initiator: Direction
    responder: Direction
    finish_key: AESGCM

    def finish(self, initiator: KeyFile, hello_: bytes, answer_: bytes) -> bytes:
        signature = sign(initiator, b"\x03" + h(hello_) + h(answer_), b"casemate/v1/train-handshake")
        return b"\x01\x03" + self.finish_key.encrypt(bytes(12), signature, self.id)

    def signature_in(self, finish: bytes) -> bytes:
        return self.finish_key.decrypt(bytes(12), finish[2:], self.id)


def establish(secret: bytes, hello_: bytes, answer_: bytes) -> Established:
    transcript = h(b"casemate/v1/train-channel\0", h(hello_), h(answer_))
    both = exporter(SUITE.triple, secret, info(hello_), b"casemate/v1/train-channel\0" + transcript, 96)
    channel = transcript[:32]
    finish_key = AESGCM(expand(both[:48], b"casemate/v1/train-finish", 32))
    return Established(channel, Direction(1, channel, both[:48]), Direction(2, channel, both[48:]), finish_key)
