"""The vectors of masked all-reduce, made again, and what the masks and tags of the second implementation promise."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import all_reduce
import make_all_reduce_vectors
from all_reduce import PRIME, WORD, Session
from artifact_vector import stream

VECTORS = Path(__file__).parents[1] / "vectors/all-reduce.json"


def session(mode: str) -> Session:
    parts, exports = ([stream(f"test {kind} {rank}")(size) for rank in range(4)] for kind, size in (("part", 32), ("export", 48)))
    return Session.of(bytes(48), ["a", "b", "c", "d"], mode, parts, exports)


def test_the_generator_makes_the_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["make", str(tmp_path / "made.json")])
    make_all_reduce_vectors.main()
    assert (tmp_path / "made.json").read_text() == VECTORS.read_text()


@pytest.mark.parametrize("mode", ["pairs", "group"])
@pytest.mark.parametrize("count", [1, 1025, 3000])
@pytest.mark.parametrize("lanes", [2, 3])
def test_masks_cancel_and_tags_add_up(mode: str, count: int, lanes: int) -> None:
    four = session(mode)
    values = [[(rank * 7 + at * 13) % 101 - 50.0 for at in range(count * lanes)] for rank in range(4)]
    words = [all_reduce.words_of(one, lanes, 4, 6) for one in values]
    masked = [all_reduce.mask(four, 3, rank, words[rank], lanes) for rank in range(4)]
    output = stream_of_output(four, 3, count)
    summed = [sum(column) % WORD for column in zip(*(one.words for one in masked), strict=True)]
    plain = [sum(column) for column in zip(*words, strict=True)]
    assert [(word - mask) % WORD for word, mask in zip(summed, output, strict=True)] == plain
    assert summed != plain
    key = all_reduce.expand(four.group, "tag", (3).to_bytes(8), 32)
    wanted = all_reduce.tags(key, plain, lanes)
    for which in range(2):
        sent = [int.from_bytes(one.tags[8 * which : 8 * which + 8]) for one in masked]
        assert sum(sent) % PRIME == wanted[which]
    # Also a change that is none modulo the tags' modulus.
    plain[count - 1] += PRIME if lanes == 2 else 1
    assert all_reduce.tags(key, plain, lanes)[0] != wanted[0]


def stream_of_output(four: Session, number: int, count: int) -> list[int]:
    return all_reduce.stream(all_reduce.expand(four.group, "output", number.to_bytes(8), 32), count)


def test_modes_numbers_and_ranks_have_masks_of_their_own() -> None:
    seen = set()
    for mode in ("pairs", "group"):
        for number in (0, 1):
            for rank in range(4):
                seen.add(tuple(all_reduce.mask(session(mode), number, rank, [0] * 4, 2).words))
    assert len(seen) == 16
