"""The examples in the guides run unchanged."""

from pathlib import Path

import pytest

GUIDES = Path(__file__).parents[3] / "docs/guides"


@pytest.mark.parametrize(("guide", "least"), [("python.md", 8), ("checkpoints.md", 6), ("encrypt-gradients.md", 3), ("masked-ddp.md", 1), ("private-federated-learning.md", 4), ("sealed-data.md", 3)])
def test_every_example_of_the_guide_runs(guide, least, tmp_path, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    blocks = (GUIDES / guide).read_text().split("```python\n")[1:]
    names: dict[str, object] = {}
    for number, block in enumerate(blocks):
        code = block.split("```")[0]
        exec(compile(code, f"{guide} block {number + 1}", "exec"), names)  # noqa: S102
    assert len(blocks) >= least
