"""The vectors of secure aggregation, recomputed from the reader's secrets."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag

import aggregate
from aggregate import MASK, OWN, Client, Policy, Round, combine, quantise, split, stream
from channel import KeyShare
from sealed_writer import KeyFile
from standards import SIGNATURES

VECTOR = json.loads((Path(__file__).parents[1] / "vectors/aggregate.json").read_text())
READER = 1


def of(name: str) -> bytes:
    return bytes.fromhex(VECTOR[name])


def reader() -> Client:
    policy = Policy(b"", 2100, 20, 23, 1_500_000_000, 40, 3, 5, 0, 667, b"")
    signature = next(suite for suite in SIGNATURES.values() if suite.oid == "1.3.6.1.5.5.7.6.48")
    key = KeyFile(signature, b"", (of("signing_seed"), of("signing_scalar")))  # type: ignore[arg-type]
    return Client(Round(policy, of("context")), READER, key, *map(bytes.fromhex, VECTOR["drawn"]))


def sealed() -> dict[int, bytes]:
    body = of("inbox")[3 + 6 + 2 :]
    size = len(body) // 2
    return {int.from_bytes(row[:2]): row[2:] for row in (body[:size], body[size:])}


def test_the_masked_update_follows_from_the_secrets() -> None:
    client = reader()
    mask_key, channel_key = (client.round.key(seed) for seed in (client.mask, client.channel))
    assert mask_key.public() == of("mask_key")
    assert channel_key.public() == of("channel_key")
    parts = {}
    for sender, part in sealed().items():
        shares, edge = part[: aggregate.SEALED_SHARES], part[aggregate.SEALED_SHARES :]
        opened = client.round.open("share", sender, READER, channel_key, shares)
        for kind, share, at in ((MASK, opened[:32], 0), (OWN, opened[32:], 48)):
            commitment = edge[aggregate.SEALED_EDGE :][at : at + 48]
            assert client.round.commitment(kind, sender, READER, share) == commitment
        assert opened[32:].hex() == VECTOR["revealed"][str(sender)]
        parts[sender] = client.round.open("edge", sender, READER, mask_key, edge[: aggregate.SEALED_EDGE])
        with pytest.raises(InvalidTag):
            client.round.open("edge", sender + 1, READER, mask_key, edge[: aggregate.SEALED_EDGE])
    values = struct.unpack("<2100f", of("values"))
    levels = quantise(client.round.policy, values, VECTOR["weight"], of("rounding"))
    assert client.masked(levels, parts) == of("vector")


def test_any_three_shares_restore_the_secret() -> None:
    shamir = VECTOR["shamir"]
    shares = dict(enumerate(map(bytes.fromhex, shamir["shares"]), 1))
    secret = bytes.fromhex(shamir["secret"])
    for places in ((1, 2, 3), (5, 3, 1), (2, 4, 5)):
        assert combine({place: shares[place] for place in places}) == secret
    assert combine({place: shares[place] for place in (1, 2)}) != secret
    assert split(secret, [bytes(64)], 3) == [secret] * 3


def test_rounding_is_unbiased_and_the_stream_is_a_counter() -> None:
    policy = Policy(b"", 1, 4, 6, 10**9, 1, 3, 3, 0, 667, b"")
    levels = quantise(policy, [0.1] * 20_000, 1, bytes(32))[:-1]
    assert set(levels) == {8, 9}
    assert abs(sum(levels) / len(levels) - 1.1 * 7.5) < 0.02
    assert stream(bytes(32), 8)[4:] != stream(bytes(32), 8)[:4]
    assert KeyShare(bytes(32)).public() != KeyShare(bytes([1]) * 32).public()
