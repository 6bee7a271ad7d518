"""Runs the commands of the object store guide against the S3 server."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from bucket import Store

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "object-stores.md"


def script() -> str:
    """Return every `sh` block, in order."""
    inside, lines = False, ["set -eu"]
    for line in GUIDE.read_text().splitlines():
        if line.startswith("```"):
            inside = line == "```sh"
        elif inside:
            lines.append(line)
    return "\n".join(lines)


def test_every_command_does_what_it_says(store: Store, tmp_path: Path) -> None:
    binary = Path(os.environ["CASEMATE_BIN"]).resolve()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "casemate").symlink_to(binary)
    _, environment = store.command()
    environment |= {"PATH": f"{tmp_path / 'bin'}:{environment['PATH']}", "CASEMATE_HOME": str(tmp_path / "home")}
    work = tmp_path / "work"
    work.mkdir()
    done = subprocess.run(["sh", "-c", script()], cwd=work, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "rewrapped 7 objects" in done.stderr
