"""What a sealed model came from, stated in Python and checked by the command."""

import json
import os
import random
import subprocess
from pathlib import Path

import casemate
import pytest
from casemate import lineage


@pytest.fixture
def job(tmp_path):
    make = casemate.PrivateKey.generate
    opener, publisher = make("mlkem768-x25519"), make("mldsa65-ed25519")
    writing = {"to": opener.public_key, "sign": publisher}
    reading = {"keys": opener, "signer": publisher.public_key}
    (tmp_path / "data").mkdir()
    (tmp_path / "data/train.csv").write_text("1,2\n")
    casemate.seal_folder(tmp_path / "data", tmp_path / "data.sealed", **writing)
    casemate.seal(tmp_path / "data/train.csv", tmp_path / "file.sealed", **writing)
    (tmp_path / "src/lib").mkdir(parents=True)
    (tmp_path / "src/lib/a.py").write_text("a")
    (tmp_path / "src/lib-b.py").write_text("b")
    (tmp_path / "model").mkdir()
    (tmp_path / "model/weights").write_bytes(b"w")
    return tmp_path, writing, reading


def sealed(job, **statement):
    folder, writing, reading = job
    lineage.write(folder / "model", **statement)
    casemate.seal_folder(folder / "model", folder / "model.sealed", force=True, **writing)
    return casemate.open_folder(folder / "model.sealed", **reading)


def test_a_statement_is_read_as_it_was_written(job):
    folder, _, reading = job
    data = casemate.open_folder(folder / "data.sealed", **reading)
    sources = [
        lineage.of(data, role="data", name="digits"),
        lineage.of(casemate.inspect(folder / "file.sealed"), role="data", name="a file"),
        lineage.of_files(folder / "src", role="code", name="trainer"),
        lineage.of_files(folder / "src/lib-b.py", role="code", name="one file"),
    ]
    found = lineage.read(sealed(job, sources=sources, step=7, parent=data))
    assert found == lineage.Lineage(sources, 7, {"folder": data.id, "revision": 1, "root": data.root})
    assert lineage.read(data) is None
    printed = subprocess.run(
        "find . -type f -printf '%P\\0' | LC_ALL=C sort -z | xargs -0 sha384sum | sha384sum",
        shell=True, cwd=folder / "src", capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert sources[2].reference["sha384"] == printed.stdout[:96]


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ({"more": 1}, "unknown names"),
        ({"casemate-lineage": 2}, "another version"),
        ({"step": -1}, "-1 is out of range"),
        ({"step": True}, "must be an integer from 0"),
        ({"sources": [{"role": "data", "name": "x"}]}, "not one with"),
        ({"sources": [{"role": "Data", "name": "x", "sha384": "0" * 96}]}, "role 'Data'"),
        ({"sources": [{"role": "data", "name": "a\nb", "sha384": "0" * 96}]}, "control character"),
        ({"sources": [{"role": "data", "name": "x", "sha384": "0" * 95}]}, "96 hexadecimal digits"),
        ({"sources": [{"role": "data", "name": "x", "sha384": "A" * 96}]}, "96 hexadecimal digits"),
        ({"sources": [{"role": "data", "name": "x", "folder": "0" * 32, "revision": 0, "root": "0" * 64}]}, "revision 0"),
        ({"sources": "none"}, "not valid"),
        ({"sources": [1]}, "not valid"),
        ({"parent": {"sha384": "0" * 96}}, "a parent is a version"),
        ({"parent": 3}, "not valid"),
    ],
)
def test_statements_that_break_a_rule_are_refused(job, statement, error):
    folder, writing, reading = job
    text = json.dumps({"casemate-lineage": 1, "sources": [], **statement})
    (folder / "model" / lineage.NAME).write_text(text)
    casemate.seal_folder(folder / "model", folder / "model.sealed", **writing)
    with pytest.raises(casemate.CasemateError, match=error):
        lineage.read(casemate.open_folder(folder / "model.sealed", **reading))


def test_names_that_occur_twice_and_long_statements_are_refused(job):
    folder, writing, reading = job
    for text, error in [
        ('{"casemate-lineage": 1, "sources": [], "step": 1, "step": 2}', "a name occurs twice"),
        (" " * (1 << 20) + "{}", "more than the 1048576"),
    ]:
        (folder / "model" / lineage.NAME).write_text(text)
        casemate.seal_folder(folder / "model", folder / "model.sealed", force=True, **writing)
        with pytest.raises(casemate.CasemateError, match=error):
            lineage.read(casemate.open_folder(folder / "model.sealed", **reading))


def test_links_and_special_files_have_no_digest(job):
    folder, _, _ = job
    (folder / "src/link").symlink_to("lib-b.py")
    with pytest.raises(casemate.CasemateError, match="it is a link or a special file"):
        lineage.of_files(folder / "src", role="code", name="x")
    (folder / "src/link").unlink()
    os.mkfifo(folder / "src/pipe")
    with pytest.raises(casemate.CasemateError, match="it is a link or a special file"):
        lineage.of_files(folder / "src", role="code", name="x")
    for path in (folder / "src/pipe", folder / "src/link2"):
        (folder / "src/link2").unlink(missing_ok=True)
        (folder / "src/link2").symlink_to(folder / "src/lib")
        with pytest.raises(casemate.CasemateError, match="it is a link or a special file"):
            lineage.of_files(path, role="code", name="x")
    with pytest.raises(casemate.CasemateError, match="use fewer or shorter names"):
        lineage.write(folder / "model", sources=[lineage.Source("data", "😀" * 256, {"sha384": "0" * 96})] * 1024)
    (folder / "model" / lineage.NAME).unlink(missing_ok=True)
    (folder / "model" / lineage.NAME).symlink_to(folder / "elsewhere")
    with pytest.raises(OSError, match=lineage.NAME):
        lineage.write(folder / "model")
    assert not (folder / "elsewhere").exists()
    with pytest.raises(TypeError, match=r"casemate\.inspect"):
        lineage.of(folder, role="data", name="x")


def mutated(value, chance):
    """Return a value of which some parts are of another type."""
    if chance.random() < 0.15:
        return chance.choice([None, True, -1, 1.5, 2**80, "", "x", "0" * 64, [], {}, [[]], {"a": 1}])
    if isinstance(value, dict):
        return {name if chance.random() > 0.05 else name + "x": mutated(one, chance) for name, one in value.items()}
    if isinstance(value, list):
        return [mutated(one, chance) for one in value]
    return value


VECTORS = json.loads((Path(__file__).parents[3] / "vectors/lineage.json").read_text())


@pytest.mark.parametrize("case", VECTORS, ids=[case["what"] for case in VECTORS])
def test_statements_are_valid_for_every_implementation_or_for_none(case):
    content = bytes.fromhex(case["hex"])
    if case["valid"]:
        lineage.decode(content)
    else:
        with pytest.raises(casemate.CasemateError, match="is not valid|must|source|role|revision|parent"):
            lineage.decode(content)


def test_any_json_is_a_statement_or_an_error_of_ours():
    valid = {
        "casemate-lineage": 1,
        "step": 3,
        "parent": {"folder": "0" * 32, "revision": 2, "root": "0" * 64},
        "sources": [{"role": "data", "name": "x", "sha384": "0" * 96}, {"role": "code", "name": "y", "artifact": "0" * 32, "root": "0" * 96}],
    }
    chance, accepted = random.Random(5), 0
    for _ in range(3000):
        text = json.dumps(mutated(valid, chance)).encode()
        if chance.random() < 0.1:
            text = text[: chance.randrange(len(text))] + bytes([chance.randrange(256)])
        try:
            lineage.decode(text)
            accepted += 1
        except casemate.CasemateError:
            pass
    assert 0 < accepted < 1500
