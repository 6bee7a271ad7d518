"""Writes `vectors/aggregate.json`: a round of three clients, of which the second implementation is two.

The third is the implementation that reads the vectors: its secrets are given, its masked update is expected, and what the others sealed for it is made.

usage: make_aggregate_vectors.py FILE
"""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path

import aggregate
from aggregate import Client, Round, policy_for
from artifact_vector import stream
from channel import KeyShare, Roster, key_of
from make_channel_vectors import member
from sealed_writer import KeyFile

LENGTH = 2100
NAMES = ("berlin", "lima", "osaka")
#: The client that reads the vectors.
READER = 1


def shares_of(client: Client, label: str) -> dict[int, bytes]:
    """Share both seeds of a client among the two others; two shares are needed."""
    coefficients = [stream(f"aggregate {label} polynomial")(64)]
    others = [at for at in range(3) if at != client.at]
    return dict(zip(others, aggregate.split(client.mask + client.own, coefficients, 2), strict=True))


def policy_of(roster: Roster, aggregator: KeyShare) -> aggregate.Policy:
    return policy_for(
        roster,
        aggregator,
        length=LENGTH,
        bits=20,
        ring_bits=23,
        clip_nano=1_500_000_000,
        weight_max=40,
        cohort_min=3,
        cohort_max=5,
        neighbours=0,
        threshold=667,
    )


def main() -> None:
    owner = member("owner", "1.3.6.1.5.5.7.6.49")
    keys: dict[str, KeyFile] = {name: member(name, "1.3.6.1.5.5.7.6.48") for name in NAMES}
    roster = Roster(bytes(range(16)), 4, 1_800_000_000, 1_800_086_400, keys)
    aggregator = KeyShare(stream("aggregate aggregator")(32))
    policy = policy_of(roster, aggregator)
    model = stream("aggregate model")(48)
    round_ = Round.of(policy, 9, model)
    clients = []
    for at, name in enumerate(NAMES):
        seeds = [stream(f"aggregate {name} {seed}")(32) for seed in ("mask", "own", "channel")]
        clients.append(Client(round_, at, keys[name], *seeds))
    reader, others = clients[READER], [client for client in clients if client.at != READER]
    public = {client.at: tuple(round_.key(seed).public() for seed in (client.mask, client.channel)) for client in clients}
    shares = {client.at: shares_of(client, NAMES[client.at]) for client in others}
    sealed = {}
    for client in others:
        to = {at: keys for at, keys in public.items() if at != client.at}
        sealed[client.at] = client.entries(to, shares[client.at])[READER]  # type: ignore[arg-type]
    values = [((at * 7919) % 4001 - 2000) / 1100 for at in range(LENGTH)]
    raw = struct.pack(f"<{LENGTH}f", *values)
    rounding = stream("aggregate rounding")(32)
    levels = aggregate.quantise(policy, struct.unpack(f"<{LENGTH}f", raw), 17, rounding)
    parts = {client.at: round_.edge_part(client.mask, READER) for client in others}
    survivors = aggregate.members(6, [0, 1, 2])
    # Signatures are random, so the reader's advertisement is part of the vector too.
    cohort = aggregate.cohort([client.advertisement() for client in clients])
    signatures = {client.at: client.agreement(cohort, [0, 1, 2], survivors)[3 + 48 + 2 * 48 :] for client in others}
    # What client 0 reveals: its shares of the self seeds of both others.
    held = {
        client.at: (aggregate.OWN, shares_of(client, NAMES[client.at])[0][32:]) for client in clients[1:]
    }
    transcript = aggregate.transcript_of(cohort, [0, 1, 2])
    document = {
        "signer": key_of(owner).hex(),
        "roster": roster.signed(owner).hex(),
        "policy": policy.signed(owner).hex(),
        "aggregator_seed": aggregator.seed.hex(),
        "round": 9,
        "model": model.hex(),
        "context": round_.ctx.hex(),
        "name": NAMES[READER],
        "signing_seed": keys[NAMES[READER]].secret[0].hex(),
        "signing_scalar": keys[NAMES[READER]].secret[1].hex(),
        "drawn": [seed.hex() for seed in (reader.mask, reader.own, reader.channel)],
        "mask_key": public[READER][0].hex(),
        "channel_key": public[READER][1].hex(),
        "cohort": cohort.hex(),
        "inbox": aggregate.inbox([0, 1, 2], sealed).hex(),
        "values": raw.hex(),
        "weight": 17,
        "rounding": rounding.hex(),
        "vector": reader.masked(levels, parts).hex(),
        "survivors": survivors.hex(),
        "agreements": aggregate.agreements(signatures).hex(),
        "reveal": others[0].reveal(aggregator.public(), held, transcript, survivors).hex(),  # type: ignore[arg-type]
        "held": {str(at): share.hex() for at, (_, share) in held.items()},
        "transcript": transcript.hex(),
        "revealed": {str(at): shares[at][READER][32:].hex() for at in shares},
        "shamir": {
            "secret": (others[0].mask + others[0].own).hex(),
            "needed": 3,
            "shares": [
                share.hex()
                for share in aggregate.split(
                    others[0].mask + others[0].own, [stream(f"aggregate shamir {power}")(64) for power in (1, 2)], 5
                )
            ],
        },
    }
    Path(sys.argv[1]).write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
