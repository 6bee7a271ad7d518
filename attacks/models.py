"""Hostile model files, sealed by anybody to the victim, who inspects them with `inspect --model`."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from typing import Any

from answers import DANGEROUS, DANGEROUS_JSON
from judge import MODEL, MODEL_JSON, Case, Cases, Promise, attack, trials
from victim import Setup

TOUCH = b"cos\nsystem\n(S'touch ran'\ntR."


CALLED_DANGEROUS = trials(DANGEROUS, MODEL, code=0) + trials(DANGEROUS_JSON, MODEL_JSON, code=0)


def safetensors(json: bytes, data: bytes = b"") -> bytes:
    """Return a header with its length, followed by data."""
    return len(json).to_bytes(8, "little") + json + data


def gguf(tensors: int, pairs: int, rest: bytes = b"") -> bytes:
    """Return a version 3 file with these counts."""
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, pairs) + rest


def listed(*lists: tuple[int, int]) -> bytes:
    """Return one pair whose value is a nested list with these types and counts."""
    return struct.pack("<Q", 1) + b"a" + struct.pack("<I", 9) + b"".join(struct.pack("<IQ", kind, count) for kind, count in lists)


def zipped(name: str, content: bytes, method: int = zipfile.ZIP_STORED, more: tuple[str, bytes] | None = None) -> bytes:
    """Return a zip with one entry, or two."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr(name, content)
        if more:
            archive.writestr(*more)
    return file.getvalue()


class Runs:
    """An object that runs a command when unpickled; the command creates a file."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.system, ("touch ran",)


def tensor(name: str, start: int, end: int) -> str:
    """Return the header entry of a byte tensor."""
    return f'"{name}":{{"dtype":"U8","shape":[{end - start}],"data_offsets":[{start},{end}]}}'


def looked_at(setup: Setup, good: bytes, cases: dict[str, tuple[bytes, str]]) -> Cases:
    """Seal each file with a small segment size, with a good file of the format as the twin."""
    honest = setup.write(setup.seal(good))
    for label, (content, says) in cases.items():
        yield Case(label, honest, setup.write(setup.seal(content)), good, trials(says, MODEL))


@attack("safetensors-bomb", "anybody", "SECURITY: model header")
def safetensors_bomb(setup: Setup) -> Cases:
    """A header made to exhaust or confuse the parser: lengths, nesting, counts, overlaps."""
    bad = "not well-formed safetensors: "
    length, json = bad + "the header's length is impossible", bad + "the header cannot be read: "
    field = "unknown field `{}`, expected one of `dtype`, `shape`, `data_offsets` at line 1 column {}"
    shape, gap = bad + "a tensor has an invalid shape or invalid offsets", bad + "tensors leave a gap or overlap"
    size, end = bad + "the size of a tensor does not match its shape", bad + "the data does not end where the file ends"
    empty = ",".join(tensor(str(i), 0, 0) for i in range((1 << 20) + 1))
    yield from looked_at(setup, safetensors(f"{{{tensor('a', 0, 4)}}}".encode(), bytes(4)), {
        "header of 2^63 bytes": ((2**63).to_bytes(8, "little") + b"{}", length),
        "header of 2^64-1 bytes": ((2**64 - 1).to_bytes(8, "little") + b"{}", length),
        "header past the end": ((1000).to_bytes(8, "little") + b"{}", length),
        "nested objects": (safetensors(b'{"a":' * 200_000), json + field.format("a", 9)),
        "a name of a megabyte": (safetensors(b'{"a":{"' + b"n" * (1 << 20) + b'":1}}'), json + "unknown field `" + "n" * 185),
        "nested lists": (safetensors(b'{"a":{"dtype":"F32","shape":' + b"[" * 200_000), json + "invalid type: sequence, expected u64 at line 1 column 29"),
        "a name twice": (safetensors(f"{{{tensor('a', 0, 4)},{tensor('a', 0, 4)}}}".encode(), bytes(4)), json + "a name occurs twice at line 1 column 56"),
        "unknown field": (safetensors(b'{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"x":0}}'), json + field.format("x", 55)),
        "overlap": (safetensors(f"{{{tensor('a', 0, 4)},{tensor('b', 2, 6)}}}".encode(), bytes(6)), gap),
        "gap": (safetensors(f"{{{tensor('a', 2, 4)}}}".encode(), bytes(4)), gap),
        "shape of 2^128 elements": (safetensors(b'{"a":{"dtype":"U8","shape":[18446744073709551615,18446744073709551615],"data_offsets":[0,1]}}', b"x"), size),
        "offset of 2^64-1": (safetensors(b'{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,18446744073709551615]}}', bytes(4)), size),
        "offsets the wrong way round": (safetensors(b'{"a":{"dtype":"U8","shape":[4],"data_offsets":[4,0]}}', bytes(4)), shape),
        "65 dimensions": (safetensors(b'{"a":{"dtype":"U8","shape":[' + b"1," * 64 + b'1],"data_offsets":[0,1]}}', b"x"), shape),
        "bytes after": (safetensors(b"{}", b"x"), end),
        "2^20 + 1 tensors": (safetensors(f"{{{empty}}}".encode()), "the header exceeds the limit for tensors"),
    })  # fmt: skip


@attack("gguf-bomb", "anybody", "SECURITY: model header")
def gguf_bomb(setup: Setup) -> Cases:
    """Unbounded counts, strings and nested lists."""
    many = "the header exceeds the limit for {}"
    cut = "not well-formed gguf: the header ends too early"
    yield from looked_at(setup, gguf(0, 0), {
        "2^64-1 tensors": (gguf(2**64 - 1, 0), many.format("tensors or pairs")),
        "2^64-1 pairs": (gguf(0, 2**64 - 1), many.format("tensors or pairs")),
        "2^20 tensors that do not follow": (gguf(1 << 20, 0), cut),
        "text of 2^64-1 bytes": (gguf(0, 1, struct.pack("<Q", 2**64 - 1)), many.format("texts")),
        "list of 2^64-1 numbers": (gguf(0, 1, listed((4, 2**64 - 1))), cut),
        "list of 2^64-1 lists": (gguf(0, 1, listed((9, 2**64 - 1), *[(0, 0)] * 1000)), cut),
        "nested lists": (gguf(0, 1, listed(*[(9, 1)] * 100)), many.format("nested lists")),
        "2^32-1 dimensions": (gguf(1, 0, struct.pack("<Q", 1) + b"a" + b"\xff" * 4), many.format("dimensions")),
    })  # fmt: skip


#: The pickle appears to import only what weights import, but CPython imports `codecs`.
FRAMED = b"\x80\x04\x95" + struct.pack("<Q", 2) + b"c_codecs\nencode\n."


@attack("pickle-bomb", "anybody", "SECURITY: model header, pickle")
def pickle_bomb(setup: Setup) -> Cases:
    """Pickles that would exhaust a scan, end early, or hide in a zip that loaders read differently."""
    bad, many = "not well-formed pickle: ", "the header exceeds the limit for {}"
    zip_ = "not well-formed pytorch: {}"
    good, evil = zipped("a/data.pkl", b"\x80\x02N."), zipped("a/data.pkl", b"\x80\x02" + TOUCH)
    (list_len,) = struct.unpack("<I", good[-10:-6])
    longer = good[:-10] + struct.pack("<I", list_len + 1) + good[-6:]
    other = zipped("a/dbta.pkl", b"\x80\x02N.", more=("a/data.pkl", b"\x80\x02N."))
    twice = other.replace(b"a/dbta.pkl", b"a/data.pkl")
    yield from looked_at(setup, pickle.dumps([1]), {
        "2^22 operations": (b"\x80\x04" + b"N0" * (1 << 21) + b"N.", many.format("operations")),
        "2^20 + 1 memorised values": (b"\x80\x04N" + b"\x94" * ((1 << 20) + 1) + b".", many.format("memorised values")),
        "text of 2^64-1 bytes": (b"\x80\x04\x8d" + b"\xff" * 8 + b".", bad + "it ends without a final operation"),
        "cut after the call": (b"\x80\x02" + TOUCH[:-1], bad + "it ends without a final operation"),
        "a name that the reader in C takes from behind a frame": (FRAMED, bad + "an operation extends beyond its frame"),
        "unknown operation after the call": (b"\x80\x02" + TOUCH[:-1] + b"\xff", bad + "unknown operation"),
        "deflated": (zipped("a/data.pkl", b"\x80\x02N." + bytes(1 << 20), zipfile.ZIP_DEFLATED), zip_.format("an entry is compressed")),
        "two zips": (good + evil, zip_.format("there are bytes before the zip")),
        "a zip within the other's data": (good[:-22] + evil, zip_.format("there are bytes before the zip")),
        "a list that begins earlier by its length": (longer, zip_.format("its end record and its central directory disagree")),
        "another name in the local header": (good.replace(b"a/data.pkl", b"a/dbta.pkl", 1), zip_.format("an entry has a second name")),
        "two entries of one name": (twice, zip_.format("two entries have the same name")),
    })  # fmt: skip


@attack("pickle-named", "anybody", "SECURITY: model header, pickle", Promise.CONTAINED)
def pickle_named(setup: Setup) -> Cases:
    """A pickle that runs a command; it is reported, however it is written, and does not run."""
    good = pickle.dumps([1])
    honest = setup.write(setup.seal(good))
    for label, content in {
        "protocol 0": pickle.dumps(Runs(), 0),
        "protocol 2": pickle.dumps(Runs(), 2),
        "protocol 5": pickle.dumps(Runs(), 5),
        "a second one": pickle.dumps(1, 2) + b"\x80\x02" + TOUCH,
        "a name by number": b"\x80\x02\x82\x01)R.",
        "a name that is made": b"\x80\x04\x8c\x02os\x8c\x06system0\x8c\x06system\x93)R.",
        "a name from the memo": b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94NNh\0h\x01\x93)R.",
        "in a zip": zipped("a/data.pkl", b"\x80\x02" + TOUCH),
        "beside the expected name": zipped("a/constants.pkl", b"\x80\x02" + TOUCH),
        "after a polite beginning": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n" + TOUCH,
    }.items():
        yield Case(label, honest, setup.write(setup.seal(content)), good, CALLED_DANGEROUS)


@attack("pickle-unnamed", "anybody", "SECURITY: model header, pickle", Promise.CONTAINED)
def pickle_unnamed(setup: Setup) -> Cases:
    """A pickle without magic, on which the scan gives up after an import and a call; it is reported anyway."""
    good = pickle.dumps([1], 0)
    honest = setup.write(setup.seal(good))
    for label, content in {
        "a long line before": b"S'" + b"a" * 5000 + b"'\n0" + TOUCH,
        "an unknown operation after": TOUCH[:-1] + b"\xff",
        "cut after the call": TOUCH[:-1],
        "more operations before than are looked at": b"N0" * (1 << 21) + TOUCH,
    }.items():
        yield Case(label, honest, setup.write(setup.seal(content)), good, CALLED_DANGEROUS)


@attack("model-names", "anybody", "SECURITY: model header", Promise.CONTAINED)
def model_names(setup: Setup) -> Cases:
    """Names with terminal control sequences, which are shown escaped."""
    good = safetensors(f"{{{tensor('a', 0, 4)}}}".encode(), bytes(4))
    honest = setup.write(setup.seal(good))
    hostile = safetensors(("{" + tensor("\\u001b[2J", 0, 4) + "}").encode(), bytes(4))
    yield Case("tensor", honest, setup.write(setup.seal(hostile)), good, trials("\\u{1b}[2J  U8", MODEL, code=0))
    value = safetensors(b'{"__metadata__":{"a":"\\u001b]0;x\\u0007"}}')
    yield Case("metadata", honest, setup.write(setup.seal(value)), good, trials("a = \\u{1b}]0;x\\u{7}", MODEL, code=0))
