"""The channel vectors, recomputed from the initiator's secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag

from channel import SUITE, KeyShare, establish

VECTOR = json.loads((Path(__file__).parents[1] / "vectors/channel.json").read_text())


def of(name: str) -> bytes:
    return bytes.fromhex(VECTOR[name])


def test_the_initiator_derives_what_the_responder_did() -> None:
    seed, scalar = KeyShare(of("share_seed")).parts()
    enc = of("answer")[2 + 32 :][: SUITE.enc]
    channel = establish(SUITE.decapsulate(seed, scalar, enc), of("hello"), of("answer"))
    assert channel.id == of("id")
    assert len(channel.signature_in(of("finish"))) == len(of("finish")) - 18
    for message in VECTOR["messages"]:
        content, associated = bytes.fromhex(message["content"]), bytes.fromhex(message["associated"])
        for direction, name in ((channel.initiator, "from_initiator"), (channel.responder, "from_responder")):
            sealed = bytes.fromhex(message[name])
            assert direction.seal(message["sequence"], content, associated) == sealed
            assert direction.open(sealed, associated) == content
            with pytest.raises(InvalidTag):
                direction.open(sealed, associated + b"x")
