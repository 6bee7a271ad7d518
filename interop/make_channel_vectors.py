"""Writes `vectors/channel.json`: a roster and a channel between two of its members, made by the second implementation.

usage: make_channel_vectors.py FILE
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from artifact_vector import stream
from channel import GENERATION, KeyShare, Roster, answer, establish, hello, key_of
from sealed_writer import KeyFile, new_signing_key
from standards import SIGNATURES, Signature

SUITES = {suite.oid: suite for suite in SIGNATURES.values() if isinstance(suite, Signature)}
#: Sequence number, content and associated data: the first messages, and those around a change of the key.
MESSAGES = [
    (0, b"", b""),
    (1, b"gradient", b"layer 0"),
    (2, bytes(range(256)), b"x" * 1024),
    (GENERATION - 1, b"last of a generation", b""),
    (GENERATION, b"first of the next", b""),
    (2 * GENERATION, b"another generation", b"layer 1"),
]


def member(label: str, oid: str) -> KeyFile:
    return new_signing_key(SUITES[oid], stream(f"channel {label}"))


def main() -> None:
    owner = member("owner", "1.3.6.1.5.5.7.6.49")
    members = {"server": member("server", "1.3.6.1.5.5.7.6.49"), "trainer-1": member("trainer", "1.3.6.1.5.5.7.6.48")}
    roster = Roster(bytes(range(16)), 4, 1_800_000_000, 1_800_086_400, members)
    share = KeyShare(stream("channel share")(32))
    first = hello(roster, "trainer-1", "server", stream("channel hello")(32), share)
    secret, second = answer(roster, "server", first, stream("channel answer")(32), share.public())
    channel = establish(secret, first, second)
    messages = [
        {
            "sequence": sequence,
            "content": content.hex(),
            "associated": associated.hex(),
            "from_initiator": channel.initiator.seal(sequence, content, associated).hex(),
            "from_responder": channel.responder.seal(sequence, content, associated).hex(),
        }
        for sequence, content, associated in MESSAGES
    ]
    document = {
        "signer": key_of(owner).hex(),
        "roster": roster.signed(owner).hex(),
        "initiator": "trainer-1",
        "responder": "server",
        "signing_seed": members["trainer-1"].secret[0].hex(),
        "signing_scalar": members["trainer-1"].secret[1].hex(),
        "share_seed": share.seed.hex(),
        "hello": first.hex(),
        "answer": second.hex(),
        "finish": channel.finish(members["trainer-1"], first, second).hex(),
        "id": channel.id.hex(),
        "messages": messages,
    }
    Path(sys.argv[1]).write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
