"""Writes `vectors/all-reduce.json`: reductions of three ranks, by the second implementation.

usage: make_all_reduce_vectors.py FILE
"""

from __future__ import annotations

import hashlib
import json
import struct
import sys
from pathlib import Path
from typing import Any

import all_reduce
from all_reduce import Session
from artifact_vector import stream

#: What the vectors are, in the caller's words.
LABEL = b"bucket 0"
NAMES = ["berlin", "lima", "osaka"]
#: Reductions as their number, lanes, number of values, and the exponent of their size.
CASES = [(0, 2, 9001, 0), (1, 3, 13_000, -9), (281_474_976_710_655, 2, 1, 100), (7, 3, 2, -139)]


def values(rank: int, count: int, size: int) -> list[float]:
    """Return numbers that 32-bit floating point has: a formula instead of megabytes."""
    return [((rank * 7919 + at * 104_729) % 2003 - 1001) / 1024 * 2.0**size for at in range(count)]


def digest(form: str, numbers: list[float] | list[int]) -> str:
    return hashlib.sha384(struct.pack(f"<{len(numbers)}{form}", *numbers)).hexdigest()


def reduction(session: Session, number: int, lanes: int, count: int, size: int) -> dict[str, Any]:
    vectors = [values(rank, count, size) for rank in range(3)]
    shared = max(map(all_reduce.exponent, vectors))
    ranks, masked = [], []
    for rank, vector in enumerate(vectors):
        made = all_reduce.mask(session, number, rank, all_reduce.words_of(vector, lanes, 3, shared), lanes)
        masked.append(made.words)
        announced = all_reduce.announcement(vector, lanes, LABEL)
        ranks.append(
            {
                "announcement": session.message(number, rank, 1, announced).hex(),
                "masked": digest("Q", made.words),
                "tags": session.message(number, rank, 2, made.tags).hex(),
                "result": session.message(number, rank, 3, b"\1").hex(),
            }
        )
    summed = [sum(column) % all_reduce.WORD for column in zip(*masked, strict=True)]
    means = all_reduce.mean(session, number, summed, count, lanes, shared)
    return {"number": number, "lanes": lanes, "count": count, "size": size, "ranks": ranks, "mean": digest("f", means)}


def main() -> None:
    roster = stream("all-reduce roster")(48)
    parts = [stream(f"all-reduce part {rank}")(32) for rank in range(3)]
    exports = [stream(f"all-reduce export {rank}")(48) for rank in range(3)]
    sessions = []
    for mode, cases in (("pairs", CASES), ("group", CASES[:1])):
        session = Session.of(roster, NAMES, mode, parts, exports)
        sessions.append({"mode": mode, "reductions": [reduction(session, *case) for case in cases]})
    vector = {
        "names": NAMES,
        "roster_digest": roster.hex(),
        "parts": [part.hex() for part in parts],
        "exports": [export.hex() for export in exports],
        "sessions": sessions,
    }
    Path(sys.argv[1]).write_text(json.dumps(vector, indent=1) + "\n")


if __name__ == "__main__":
    main()
