"""The guide's examples run as they stand."""

from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[3] / "docs/guides/python.md"


def test_every_example_of_the_guide_runs(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    blocks = GUIDE.read_text().split("```python\n")[1:]
    names: dict[str, object] = {}
    for number, block in enumerate(blocks):
        code = block.split("```")[0]
        exec(compile(code, f"guide block {number + 1}", "exec"), names)  # noqa: S102
    assert len(blocks) >= 7
