"""Runs every attack as a test.

    CASEMATE_BIN=/path/to/casemate pytest attacks
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from catalogue import ATTACKS
from judge import Judge, Report
from victim import Setup, workplace


@pytest.fixture(scope="session")
def reports(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[Report]]]:
    """Run the selected attacks, two at a time in one setup."""
    binary = os.environ.get("CASEMATE_BIN")
    if not binary:
        pytest.exit("set CASEMATE_BIN to the path of the casemate program", 2)
    names = [item.callspec.params["name"] for item in request.session.items if item.originalname == test_attack.__name__]
    with tempfile.TemporaryDirectory(prefix="attacks-", dir=workplace()) as root, ThreadPoolExecutor(2) as pool:
        judge = Judge(Setup(Path(binary), Path(root)))
        yield {name: pool.submit(judge.judge, ATTACKS[name]) for name in names}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("name", ATTACKS)
def test_attack(reports: dict[str, Future[Report]], name: str) -> None:
    """The answer is the specified one, and the twin opens. A known gap must be open; a fix must remove its mark."""
    report = reports[name].result()
    assert not report.broken
    assert bool(report.problems) == report.attack.gap, report.problems


def test_the_readme_lists_every_attack() -> None:
    """Each row has the file, the attacker and the section of the specification."""
    text = Path(__file__).with_name("README.md").read_text()
    for name, attack in ATTACKS.items():
        row = next((line for line in text.splitlines() if line.startswith(f"| `{name}`: ")), "")
        assert f"| {attack.attacker} | `{attack.file}` |" in row and row.endswith(f"| {attack.spec} |"), name
