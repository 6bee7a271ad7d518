"""`casemate.torch.scan_pickle` compared with pickletools, picklescan and fickling."""

import collections
import io
import os
import pickle
import pickletools
import random
import subprocess

import casemate.torch
import numpy as np
import pytest


class Call:
    """An object that is pickled as a call."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


GOOD = [
    {"a": [1, 2.5, None, True], "b": ("x" * 300, b"y", 1 << 80)},
    collections.OrderedDict(w=1),
    {1, 2, 3},
    complex(1, 2),
    bytearray(b"abc"),
]
BAD = [
    Call(os.system, "true"),
    Call(eval, "1"),
    Call(exec, "pass"),
    Call(subprocess.check_output, ["true"]),
    Call(__import__, "os"),
    {"w": [1, {"deep": Call(os.system, "true")}]},
    np.arange(3),
    os.path.join,
]
#: Handwritten: INST, OBJ, names from the memo, a quoted name, several pickles in a row, no end.
WRITTEN = [
    b"(S'true'\nios\nsystem\n.",
    b"(cos\nsystem\nS'true'\no.",
    b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x93.",
    b"\x80\x04\x8c\x02os\x94\x8c\x06system\x940h\x00h\x01\x93.",
    b"S'os'\nS\"system\"\n\x93.",
    b"\x80\x02K\x01.\x80\x02cos\nsystem\n.",
    b"\x80\x02cos\nsystem\nU\x04true\x85R",
    b"cbuiltins\ngetattr\n(cos\npath\nS'join'\ntR.",
]


def corpus():
    rows = [pickle.dumps(one, protocol) for one in GOOD + BAD for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    rows += [row[:-1] + b"b0" + row for row in rows] + WRITTEN
    rows += [pickletools.optimize(row) for row in rows if parsed(row) is not None]
    return rows


def mutated(rows, count, seed):
    """Yield pickles with bytes changed, removed and recombined, deterministically."""
    chance = random.Random(seed)
    for _ in range(count):
        row = bytearray(chance.choice(rows))
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(row))
            kind = chance.randrange(4)
            if kind == 0:
                row[at] = chance.randrange(256)
            elif kind == 1:
                row[at:at] = chance.choice(rows)[:-1]
            elif kind == 2:
                del row[at : at + chance.randint(1, 8)]
            else:
                row[at:at] = chance.choice([b"0", b"2", b"h\x00", b"q\x01", b"\x94", b"(", b"\x93", b"cos\nsystem\n"])
            row = row or bytearray(b".")
        yield bytes(row)


def parsed(row):
    """Return the operations as parsed by CPython's pickletools, or ``None`` if it cannot parse them."""
    try:
        return list(pickletools.genops(row))
    except Exception:
        return None


def scanned(row):
    try:
        return casemate.torch.scan_pickle(row)
    except ValueError:
        return None


class Imports(pickle.Unpickler):
    """Loads a pickle with CPython's C unpickler without importing anything: it records names and returns a harmless class."""

    def __init__(self, row):
        super().__init__(io.BytesIO(row))
        self.names = []

    def find_class(self, module, name):
        self.names.append(f"{module} {name}")
        return type("Stub", (dict,), {"__init__": lambda self, *_, **__: None, "__setstate__": lambda *_: None})

    def persistent_load(self, _):
        return None


def loaded(row):
    """Return every name that CPython imports before it finishes or fails."""
    reader = Imports(row)
    try:
        reader.load()
    except Exception:
        pass
    return reader.names


def plain(names):
    """Return the names that pickletools left unchanged: it decodes escapes in names, but CPython's unpicklers do not."""
    return {name for name in names if name.isascii() and name.isprintable() and "\\" not in name}


ROWS = corpus()
ALL = ROWS + list(mutated(ROWS, 6000, seed=1))


def test_every_import_of_cpython_is_listed_or_reported_as_computed():
    imports = refused = 0
    for row in ALL:
        found, names = scanned(row), set(loaded(row))
        if found is None:
            # Not well-formed in its whole length. As a model file, it is scanned up to the error.
            refused += 1
            continue
        imports += len(names)
        missing = names - set(found.imports)
        assert not missing or found.computed_names, (row, missing)
    assert imports > 1000 and refused < len(ALL) * 0.8


def test_pickles_that_pickletools_parses_are_parsed():
    for row in ALL:
        operations = parsed(row)
        if operations is None:
            continue
        found = scanned(row)
        if found is None:
            # It ignores frames, takes a name from an empty stack, and stops after the first of several pickles.
            first = [operation.name for operation, _, _ in operations[:2]]
            rest = row[operations[-1][2] + 1 :]
            assert b"\x95" in row or "STACK_GLOBAL" in first or rest.startswith(b"\x80"), row
            continue
        names = {argument for operation, argument, _ in operations if operation.name in ("GLOBAL", "INST")}
        assert plain(names) <= set(found.imports), row


def test_a_name_from_beyond_a_frame_is_refused():
    # The frame ends after the underscore, which the C unpickler loses; pickletools sees a name that weights need.
    row = b"\x80\x04\x95" + (2).to_bytes(8, "little") + b"c_codecs\nencode\n."
    assert loaded(row) == ["codecs encode"]
    assert [argument for _, argument, _ in parsed(row)][2] == "_codecs encode"
    with pytest.raises(ValueError, match="an operation extends beyond its frame"):
        casemate.torch.scan_pickle(row)
    for one in GOOD + BAD:
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            assert scanned(pickle.dumps(one, protocol)), one


def test_findings_of_other_scanners_are_found():
    from picklescan.scanner import GenOpsError, _list_globals

    for row in ALL:
        found = scanned(row)
        if found is None:
            continue
        try:
            names = _list_globals(io.BytesIO(row))
        except GenOpsError as error:
            names = error.globals or set()
        except Exception:
            continue
        missing = plain(" ".join(name) for name in names if "unknown" not in name) - set(found.imports)
        assert not missing or found.computed_names or found.unread, (row, missing)


def test_pickles_that_fickling_calls_unsafe_are_dangerous():
    from fickling.analysis import Severity, check_safety
    from fickling.fickle import Pickled

    unsafe = 0
    for row in ROWS + ALL[len(ROWS) : len(ROWS) + 500]:
        found = scanned(row)
        if found is None:
            continue
        try:
            verdict = check_safety(Pickled.load(row)).severity
        except Exception:
            continue
        # It treats any import outside the standard library as unsafe, including those that weights need.
        if verdict >= Severity.LIKELY_UNSAFE and set(found.imports) - {"_codecs encode"}:
            unsafe += 1
            assert found.dangerous or not found.suspicious, (row, verdict)
    assert unsafe > 50


@pytest.mark.parametrize("one", GOOD)
def test_what_weights_need_is_not_dangerous(one):
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert not scanned(pickle.dumps(one, protocol)).dangerous


@pytest.mark.parametrize("one", BAD)
def test_calls_are_dangerous(one):
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert scanned(pickle.dumps(one, protocol)).dangerous


def test_torch_files_are_scanned_completely(tmp_path):
    torch = pytest.importorskip("torch")
    for zipped in [True, False]:
        torch.save({"w": torch.ones(3)}, tmp_path / "good", _use_new_zipfile_serialization=zipped)
        good = casemate.torch.scan_pickle((tmp_path / "good").read_bytes())
        assert not good.dangerous and not good.unread, good
        torch.save({"w": torch.ones(3), "x": Call(os.system, "true")}, tmp_path / "bad", _use_new_zipfile_serialization=zipped)
        bad = casemate.torch.scan_pickle((tmp_path / "bad").read_bytes())
        assert bad.dangerous and bad.suspicious == ["posix system"]
    assert "unread=True" in repr(casemate.torch.scan_pickle(pickle.dumps(1) + b"more"))
    with pytest.raises(TypeError):
        casemate.torch.scan_pickle("path.pt")
