"""Every attack as a test.

    CASEMATE_BIN=/path/to/casemate pytest attacks
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from catalogue import ATTACKS
from judge import Judge
from victim import House


@pytest.fixture(scope="session")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    """One house for all attacks."""
    binary = os.environ.get("CASEMATE_BIN")
    if not binary:
        pytest.exit("CASEMATE_BIN does not name the casemate program", 2)
    return Judge(House(Path(binary), tmp_path_factory.mktemp("attacks")))


@pytest.mark.parametrize("name", ATTACKS)
def test_attack(judge: Judge, name: str) -> None:
    """It is answered as the specification says, and its twin opens."""
    assert not judge.judge(ATTACKS[name]).problems
